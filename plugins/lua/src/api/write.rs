//! `kb.reject`, `kb.put`, `kb.delete`: what a hook does to writes.

use keepboth_core::limits::figure;
use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::Effect;
use mlua::{Function, Lua, LuaString, Value};

use crate::event::may_write;
use crate::fault::{place, raise};
use crate::state::{Rejection, Shared};
use crate::tree::to_stored;
use crate::words::one_line;

/// Most writes that one call asks for.
const EFFECTS_MAX: usize = 1_000;
/// Most bytes of a script's own code in a rejection.
const CODE_BYTES_MAX: usize = 64;
/// Most bytes of a script's words in a rejection.
const MESSAGE_BYTES_MAX: usize = 500;

/// `kb.reject`.
pub fn reject(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (code, message): (LuaString, Option<LuaString>)| {
        let code = one_line(&code.to_string_lossy(), CODE_BYTES_MAX);
        let message = message.map_or_else(|| code.clone(), |m| m.to_string_lossy());
        let mut state = state.borrow_mut();
        match state.hook().map(|hook| hook.as_str()) {
            Some("on_put" | "on_delete") => {}
            Some(hook) => {
                let words = format!("kb.reject: {hook} cannot refuse; on_put and on_delete can");
                return Err::<(), _>(raise(lua, words));
            }
            None => return Err(raise(lua, "kb.reject: no hook runs, so nothing can be refused")),
        }
        let message = one_line(&message, MESSAGE_BYTES_MAX);
        let place = place(lua).unwrap_or_default();
        let error = mlua::Error::runtime(format!("rejected: {message}"));
        state.rejection.get_or_insert(Rejection { code, message, place });
        Err(error)
    })
}

/// `kb.put`.
pub fn put(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (ns, key, value): (LuaString, LuaString, Value)| {
        // Nil is refused, or a typo in a field's name would delete.
        if value.is_nil() {
            return Err(raise(lua, "kb.put: the value is nil; kb.delete deletes"));
        }
        let value = to_stored(lua, &value, "value").map_err(|e| raise(lua, e))?.into_stored();
        effect(lua, &state, "kb.put", (ns, key), Some(value))
    })
}

/// `kb.delete`.
pub fn delete(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (ns, key): (LuaString, LuaString)| {
        effect(lua, &state, "kb.delete", (ns, key), None)
    })
}

fn effect(
    lua: &Lua,
    state: &Shared,
    function: &str,
    (ns, key): (LuaString, LuaString),
    value: Option<keepboth_core::value::Value>,
) -> mlua::Result<()> {
    let fail = |words: String| raise(lua, format!("{function}: {words}"));
    let (ns, key) = (ns.to_string_lossy(), key.to_str()?);
    let namespace = Namespace::new(&ns).map_err(|e| fail(e.message.to_string()))?;
    let name = Name::new(&key).map_err(|e| fail(e.message.to_string()))?;
    let mut state = state.borrow_mut();
    if !may_write(&state) {
        return Err(fail("writes are asked for in after_put, after_delete and timers only".into()));
    }
    if state.effects.len() == EFFECTS_MAX {
        return Err(fail(format!("{} writes for one event are the limit", figure(EFFECTS_MAX))));
    }
    let bytes = value.as_ref().map_or(0, |v| v.as_bytes().len());
    state.build(bytes).map_err(fail)?;
    state.effects.push(Effect { namespace, name, value });
    Ok(())
}
