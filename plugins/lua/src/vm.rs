//! One script in one VM: loaded with its hooks, called under its limits.

use std::cell::RefCell;
use std::rc::Rc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::Draft;
use mlua::chunk::ChunkMode;
use mlua::{Lua, Value};

use crate::api::{self, Making};
use crate::event::Event;
use crate::fault::{Fault, explain};
use crate::hook::Declared;
use crate::limit::Limits;
use crate::register::{Handler, Registry};
use crate::sandbox;
use crate::script::Script;
use crate::settings::Settings;
use crate::state::{Ended, HostSlot, Kept, Rejection, Shared, State};
use crate::subject::Subject;
use crate::tree::{Kit, bytes_in_vm};

/// More than what the VM takes for all that a script finds in it, besides its options.
const SETUP_BYTES: usize = 512 * 1024;

/// What a script stands on.
pub struct Ground {
    /// The namespace that it is bound to.
    pub namespace: Namespace,
    /// The settings.
    pub settings: Settings,
    /// The server.
    pub host: HostSlot,
    /// Who keeps the lines that are logged, instead of the server's log.
    pub kept: Option<Kept>,
}

/// A loaded script.
pub struct Vm {
    handlers: Vec<Handler>,
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
    pub fn load(script: &Script, ground: &Ground) -> Result<Vm, Fault> {
        Vm::load_as(script, ground, false)
    }

    /// The same for a conflict, where nothing may depend on this node: a loop whose order does is an error.
    pub fn load_for_conflict(script: &Script, ground: &Ground) -> Result<Vm, Fault> {
        Vm::load_as(script, ground, true)
    }

    fn load_as(script: &Script, ground: &Ground, fixed: bool) -> Result<Vm, Fault> {
        let settings = &ground.settings;
        let fault = |error: mlua::Error| explain(&error, &script.chunk);
        let lua = sandbox::lua().map_err(fault)?;
        let limits =
            Limits::set(&lua, settings.time_limit_ms, settings.memory_limit).map_err(fault)?;
        let state: Shared = Rc::new(RefCell::new(State::new(
            settings.memory_limit,
            ground.host.clone(),
            ground.kept.clone(),
        )));
        let call = limits.start_loading();
        state.borrow_mut().begin(None, Vec::new());
        let loaded = fill(&lua, &state, &limits, script, ground, fixed);
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

    /// What the script registered, in its order.
    pub fn declared(&self) -> impl Iterator<Item = &Declared> {
        self.handlers.iter().map(|handler| &handler.declared)
    }

    /// The event of the running call.
    pub fn event(&self) -> mlua::Result<Value> {
        Limits::proxy(&self.lua, Event::new(&self.state)).map(Value::UserData)
    }

    /// The VM itself and the state of its running call.
    pub fn inner(&self) -> (&Lua, &Shared) {
        (&self.lua, &self.state)
    }

    /// Calls the handlers that the subject is meant for, in their order. `argument` makes what they are
    /// given, `each` takes what one returned; a Some ends the call.
    pub fn call<R>(
        &self,
        subject: &Rc<Subject>,
        roots: Vec<Draft>,
        argument: impl FnOnce(&Vm) -> mlua::Result<Value>,
        each: impl Fn(&Vm, Value) -> Result<Option<R>, String>,
    ) -> Called<Option<R>> {
        let handlers = self.handlers.iter().enumerate();
        let handlers = handlers.filter(|(at, handler)| subject.is_for(*at, &handler.declared));
        let call = self.limits.start();
        self.state.borrow_mut().begin(Some(subject.clone()), roots);
        let run = || {
            let argument = argument(self)?;
            for (_, handler) in handlers {
                let returned: Value = handler.function.call(&argument)?;
                if returned.is_nil() {
                    continue;
                }
                if let Some(result) = each(self, returned).map_err(mlua::Error::runtime)? {
                    return Ok(Some(result));
                }
            }
            Ok(None)
        };
        let result = run().and_then(|result| {
            self.state.borrow_mut().settle().map_err(mlua::Error::runtime)?;
            Ok(result)
        });
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
    ground: &Ground,
    fixed: bool,
) -> mlua::Result<Vec<Handler>> {
    let kit = Kit::new(lua, state)?;
    lua.set_app_data(kit.clone());
    let registry = Registry::new(&ground.namespace);
    let making = Making { lua, kit: &kit, options: &ground.settings.options, registry: &registry };
    let options = making.options.values().map(bytes_in_vm).sum::<usize>();
    Limits::made(lua, SETUP_BYTES + options, || {
        let kb = api::make(&making)?;
        sandbox::close(lua, &kit, limits, &script.chunk, kb, fixed)
    })?;
    let chunk = lua.load(&*script.bytecode).set_name(format!("={}", script.chunk));
    let main = chunk.set_mode(ChunkMode::Binary).into_function()?;
    main.call::<()>(())?;
    Ok(registry.close())
}
