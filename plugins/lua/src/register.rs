//! What a script registers while it is loaded: hooks on its namespace, and timers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use keepboth_core::name::Namespace;
use mlua::{Function, Lua, LuaString, Table, Value};

use crate::fault::{line, raise};
use crate::hook::{Declared, Every, Hook, On};
use crate::named::named;

use crate::words::{no_such_name, one_line};

/// Most timers of one script.
pub const TIMERS_MAX: usize = 16;
/// The shortest and the longest time between two calls of a timer.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(366 * 86_400));

/// A declared hook and its function.
pub struct Handler {
    /// How it was declared.
    pub declared: Declared,
    /// What is called.
    pub function: Function,
}

/// The hooks that a script registers; open while it is loaded.
pub struct Registry {
    namespace: Namespace,
    open: Cell<bool>,
    handlers: RefCell<Vec<Handler>>,
}

impl Registry {
    /// An open registry of a script that is bound to this namespace.
    pub fn new(namespace: &Namespace) -> Rc<Registry> {
        let (open, handlers) = (Cell::new(true), RefCell::default());
        Rc::new(Registry { namespace: namespace.clone(), open, handlers })
    }

    /// Ends registration; what was registered, in its order.
    pub fn close(&self) -> Vec<Handler> {
        self.open.set(false);
        self.handlers.take()
    }

    fn add(&self, declared: Declared, handler: Value) -> Result<(), String> {
        let what = if declared.timer.is_some() { "kb.every" } else { declared.hook.as_str() };
        let Value::Function(function) = handler else {
            return Err(not_a_function(what, &handler));
        };
        if !self.open.get() {
            let words = "hooks are registered while the script is loaded, not by a hook";
            return Err(format!("{what}: {words}"));
        }
        let mut handlers = self.handlers.borrow_mut();
        let timers = handlers.iter().filter(|h| h.declared.timer.is_some()).count();
        if declared.timer.is_some() && timers == TIMERS_MAX {
            return Err(format!("kb.every: a script has at most {TIMERS_MAX} timers"));
        }
        handlers.push(Handler { declared, function });
        Ok(())
    }
}

/// The function `kb.namespace`.
pub fn namespace(lua: &Lua, registry: &Rc<Registry>) -> mlua::Result<Function> {
    let registry = registry.clone();
    lua.create_function(move |lua, name: Option<LuaString>| {
        let name =
            name.map_or_else(|| registry.namespace.to_string(), |name| name.to_string_lossy());
        if let Err(refusal) = Namespace::new(&name) {
            return Err(raise(lua, format!("kb.namespace: {}", refusal.message)));
        }
        table(lua, &registry, &name)
    })
}

fn table(lua: &Lua, registry: &Rc<Registry>, name: &str) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for hook in Hook::ALL {
        let bound = &registry.namespace;
        let wrong = (name != bound.as_str()).then(|| {
            let hook = hook.as_str();
            format!("{name}:{hook}: this script is bound to namespace {bound}, not to {name}")
        });
        let registry = registry.clone();
        let register =
            lua.create_function(move |lua, (_, handler, options): (Value, Value, Value)| {
                let add = || {
                    wrong.clone().map_or(Ok(()), Err)?;
                    let on = on(hook, &options)?;
                    let declared = Declared { hook, on, line: line(lua), timer: None };
                    registry.add(declared, handler)
                };
                add().map_err(|e| raise(lua, e))
            })?;
        table.raw_set(hook.as_str(), register)?;
    }
    named(lua, "a namespace", table)
}

/// The function `kb.every`.
pub fn every(lua: &Lua, registry: &Rc<Registry>) -> mlua::Result<Function> {
    let registry = registry.clone();
    lua.create_function(move |lua, (text, handler, options): (LuaString, Value, Value)| {
        let add = || {
            let text = text.to_string_lossy();
            let period = period(&text)?;
            let everywhere = match option("kb.every", &options)?.as_deref() {
                None | Some("elected") => false,
                Some("every") => true,
                Some(other) => {
                    let other = one_line(other, 40);
                    return Err(format!(
                        "kb.every: on = {other:?}; it is \"elected\" or \"every\""
                    ));
                }
            };
            let timer = Some(Every { period, text: text.clone(), everywhere });
            let declared = Declared { hook: Hook::Timer, on: On::Local, line: line(lua), timer };
            registry.add(declared, handler)
        };
        add().map_err(|e| raise(lua, e))
    })
}

fn on(hook: Hook, options: &Value) -> Result<On, String> {
    let name = hook.as_str();
    let Some(text) = option(name, options)? else { return Ok(On::Local) };
    let Some(on) = On::ALL.into_iter().find(|on| on.as_str() == text) else {
        let text = one_line(&text, 40);
        return Err(format!("{name}: on = {text:?}; it is \"local\", \"replicated\" or \"both\""));
    };
    if on != On::Local && !hook.may_follow_peers() {
        return Err(format!(
            "{name}: on = {text:?}, but it runs for what this node does alone; after_put and after_delete may follow what peers wrote"
        ));
    }
    Ok(on)
}

/// The member `on` of a table of options, the only one that there is.
fn option(function: &str, options: &Value) -> Result<Option<String>, String> {
    let options = match options {
        Value::Nil => return Ok(None),
        Value::Table(options) => options,
        other => {
            let kind = other.type_name();
            return Err(format!("{function}: options are a table like {{ on = … }}, not a {kind}"));
        }
    };
    let mut on = None;
    let read = options.for_each(|key: Value, value: Value| {
        match (key.as_string().map(LuaString::to_string_lossy).as_deref(), &value) {
            (Some("on"), Value::String(text)) => on = Some(Ok(text.to_string_lossy())),
            (Some("on"), other) => {
                on = Some(Err(format!("{function}: on is a text, not a {}", other.type_name())));
            }
            (name, _) => {
                let name = name.unwrap_or("a key that is no text");
                on = Some(Err(no_such_name(&format!("the options of {function}"), name, &["on"])));
                return Err(mlua::Error::runtime("stop"));
            }
        }
        Ok(())
    });
    drop(read);
    on.transpose()
}

/// `90s`, `5m`, `1h` or `7d` as a time.
fn period(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let text = one_line(text, 40);
        format!("kb.every: {text:?} is no time; write a whole number and s, m, h or d, like \"1h\"")
    };
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let count = digits.parse::<u64>().ok().filter(|_| plain).ok_or_else(wrong)?;
    let period = Duration::from_secs(count.saturating_mul(unit));
    if period < EVERY.0 || period > EVERY.1 {
        return Err(format!("kb.every: {text:?}; it is 1s to 366d"));
    }
    Ok(period)
}

fn not_a_function(what: &str, found: &Value) -> String {
    let found = found.type_name();
    if what == "kb.every" {
        return format!(
            "kb.every: expected a function, found {found}; write kb.every(\"1h\", function() ... end)"
        );
    }
    format!(
        "{what}: expected a function, found {found}; write here:{what}(function(ev) ... end), with a colon"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(period("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(period("7d"), Ok(Duration::from_secs(604_800)));
        for text in ["", "h", "1", "1.5h", "-1s", "+1s", " 1s", "1 s", "1w", "é"] {
            assert!(period(text).is_err_and(|e| e.contains("is no time")), "{text}");
        }
        for text in ["0s", "367d", "99999999999999999d"] {
            assert!(period(text).is_err_and(|e| e.ends_with("it is 1s to 366d")), "{text}");
        }
    }
}
