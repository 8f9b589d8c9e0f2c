//! One script in one VM: loaded with its hooks, called under its limits.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::Draft;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaString, Table, Value};

use crate::api::{self, named};
use crate::event::Event;
use crate::fault::{Fault, explain, raise};
use crate::limit::Limits;
use crate::sandbox;
use crate::script::Script;
use crate::settings::Settings;
use crate::state::{Ended, Hook, Rejection, Shared, State, Subject};
use crate::tree::Kit;

type Handlers = [Vec<Function>; Hook::ALL.len()];

/// A loaded script.
pub struct Vm {
    handlers: Handlers,
    state: Shared,
    limits: Rc<Limits>,
    chunk: Rc<str>,
    lua: Lua,
}

/// Why a call gave no result.
pub enum Failed {
    /// The script refused the write.
    Rejected(Rejection),
    /// The script failed, or was stopped.
    Fault(Fault),
}

/// What a call came to.
pub struct Called<R> {
    /// What it returned.
    pub result: Result<R, Failed>,
    /// The values that were lent and the writes that were asked for.
    pub ended: Ended,
    /// Whether the VM must not be used again.
    pub spoiled: bool,
}

impl Vm {
    /// Runs the script's top level once, under the limits, and keeps the hooks it registers.
    pub fn load(script: &Script, namespace: &Namespace, settings: &Settings) -> Result<Vm, Fault> {
        let fault = |error: mlua::Error| explain(&error, &script.chunk);
        let lua = sandbox::lua().map_err(fault)?;
        let limits =
            Limits::set(&lua, settings.time_limit_ms, settings.memory_limit).map_err(fault)?;
        let state: Shared = Rc::new(RefCell::new(State::new(settings.memory_limit)));
        let call = limits.start();
        state.borrow_mut().begin(None, Vec::new());
        let loaded = fill(&lua, &state, &limits, script, (namespace, settings));
        state.borrow_mut().end();
        match (limits.end(call), loaded) {
            (Some(stopped), _) => {
                let (place, words) = limits.words(stopped);
                Err(Fault { place, words, memory: false })
            }
            (None, Err(error)) => match fault(error) {
                f if f.memory => Err(out_of_memory(f, &limits)),
                f => Err(f),
            },
            (None, Ok(handlers)) => {
                Ok(Vm { handlers, state, limits, chunk: (&*script.chunk).into(), lua })
            }
        }
    }

    /// Whether the script registered this hook.
    pub fn has(&self, hook: Hook) -> bool {
        !self.handlers[hook as usize].is_empty()
    }

    /// The event of the running call.
    pub fn event(&self) -> mlua::Result<Value> {
        self.lua.create_userdata(Event::new(&self.state)).map(Value::UserData)
    }

    /// The VM itself and the state of its running call.
    pub fn inner(&self) -> (&Lua, &Shared) {
        (&self.lua, &self.state)
    }

    /// Calls the handlers of the subject's hook in their order. `argument` makes what they are
    /// given, `each` takes what one returned; a Some ends the call.
    pub fn call<R>(
        &self,
        subject: Subject,
        roots: Vec<Draft>,
        argument: impl FnOnce(&Vm) -> mlua::Result<Value>,
        each: impl Fn(&Vm, Value) -> Result<Option<R>, String>,
    ) -> Called<Option<R>> {
        let handlers = &self.handlers[subject.hook as usize];
        let call = self.limits.start();
        self.state.borrow_mut().begin(Some(subject), roots);
        let run = || {
            let argument = argument(self)?;
            for handler in handlers {
                let returned: Value = handler.call(&argument)?;
                if returned.is_nil() {
                    continue;
                }
                if let Some(result) = each(self, returned).map_err(mlua::Error::runtime)? {
                    return Ok(Some(result));
                }
            }
            Ok(None)
        };
        let result = run();
        let mut ended = self.state.borrow_mut().end();
        let stopped = self.limits.end(call);
        let rejection = ended.rejection.take();
        let mut spoiled = stopped.is_some();
        let result = match (rejection, stopped, result) {
            (Some(rejection), ..) => Err(Failed::Rejected(rejection)),
            (None, Some(stopped), _) => {
                let (place, words) = self.limits.words(stopped);
                Err(Failed::Fault(Fault { place, words, memory: false }))
            }
            (None, None, Err(error)) => {
                let fault = explain(&error, &self.chunk);
                spoiled = fault.memory;
                Err(Failed::Fault(match fault {
                    f if f.memory => out_of_memory(f, &self.limits),
                    f => f,
                }))
            }
            (None, None, Ok(value)) => Ok(value),
        };
        Called { result, ended, spoiled }
    }
}

fn out_of_memory(fault: Fault, limits: &Limits) -> Fault {
    let (_, words) = limits.words(crate::limit::Stopped::Memory);
    Fault { words, ..fault }
}

fn fill(
    lua: &Lua,
    state: &Shared,
    limits: &Rc<Limits>,
    script: &Script,
    (namespace, settings): (&Namespace, &Settings),
) -> mlua::Result<Handlers> {
    let array = lua.create_table()?;
    array.raw_set("__metatable", "array")?;
    array.set_readonly(true);
    let kit = Kit { state: state.clone(), array };
    lua.set_app_data(kit.clone());
    let registry = Rc::new(Registry { open: Cell::new(true), handlers: RefCell::default() });
    let function = namespace_function(lua, &registry, namespace)?;
    let kb = api::make(lua, &kit, &settings.options, function)?;
    sandbox::close(lua, &kit, limits, &script.chunk, kb)?;
    let chunk = lua.load(&*script.bytecode).set_name(format!("={}", script.chunk));
    let main = chunk.set_mode(ChunkMode::Binary).into_function()?;
    main.call::<()>(())?;
    registry.open.set(false);
    Ok(registry.handlers.take())
}

/// The hooks that a script registers while it is loaded.
struct Registry {
    open: Cell<bool>,
    handlers: RefCell<Handlers>,
}

fn namespace_function(
    lua: &Lua,
    registry: &Rc<Registry>,
    bound: &Namespace,
) -> mlua::Result<Function> {
    let (registry, bound) = (registry.clone(), bound.clone());
    lua.create_function(move |lua, name: Option<LuaString>| {
        let name = name.map_or_else(|| bound.to_string(), |name| name.to_string_lossy());
        if let Err(refusal) = Namespace::new(&name) {
            return Err(raise(lua, format!("kb.namespace: {}", refusal.message)));
        }
        namespace_table(lua, &registry, &bound, &name)
    })
}

fn namespace_table(
    lua: &Lua,
    registry: &Rc<Registry>,
    bound: &Namespace,
    name: &str,
) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for hook in Hook::ALL {
        let wrong = (name != bound.as_str()).then(|| {
            format!(
                "{name}:{}: this script is bound to namespace {bound}, not to {name}",
                hook.as_str()
            )
        });
        let registry = registry.clone();
        let register = lua.create_function(move |lua, (_, handler): (Value, Value)| {
            match (&wrong, handler) {
                (Some(wrong), _) => Err(raise(lua, wrong)),
                (None, Value::Function(handler)) if registry.open.get() => {
                    registry.handlers.borrow_mut()[hook as usize].push(handler);
                    Ok(())
                }
                (None, Value::Function(_)) => {
                    let words = "hooks are registered while the script is loaded, not by a hook";
                    Err(raise(lua, format!("{}: {words}", hook.as_str())))
                }
                (None, other) => Err(raise(lua, not_a_function(hook, &other))),
            }
        })?;
        table.raw_set(hook.as_str(), register)?;
    }
    named(lua, "a namespace", table)
}

fn not_a_function(hook: Hook, found: &Value) -> String {
    let hook = hook.as_str();
    format!(
        "{hook}: expected a function, found {}; write here:{hook}(function(ev) ... end), with a colon",
        found.type_name()
    )
}
