//! The argument of a hook: an event of a put or delete, or a conflict.

use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Conflict, StateChange};
use mlua::{AnyUserData, Lua, MetaMethod, Table, UserData, UserDataMethods, Value};

use crate::fault::raise;
use crate::held::Part;
use crate::hook::Hook;
use crate::lent::Node;
use crate::limit::Limits;
use crate::node::{lend, lend_more};
use crate::state::{Shared, State};
use crate::subject::Subject;
use crate::tree::{Whole, to_stored};
use crate::words::no_such_name;

/// What `ev` is in a script.
pub struct Event {
    state: Shared,
    epoch: u64,
}

impl Event {
    /// The event of the call that runs now.
    pub fn new(state: &Shared) -> Event {
        Event { state: state.clone(), epoch: state.borrow().epoch }
    }

    fn get(&self, lua: &Lua, field: &str) -> mlua::Result<Value> {
        let state = self.state.borrow();
        state.live(self.epoch).map_err(|e| raise(lua, e))?;
        let Some(subject) = &state.subject else { return Ok(Value::Nil) };
        let text = |text: &str| Limits::text(lua, text.as_bytes());
        match (field, subject.origin()) {
            ("key", _) => text(subject.key().map_or("", Key::as_str)),
            ("namespace", _) => text(subject.namespace().as_str()),
            ("actor", Some(origin)) => text(&origin.actor),
            ("source", Some(origin)) => text(origin.source.as_str()),
            ("timestamp", Some(origin)) => Ok(Value::Number(origin.now as f64)),
            ("depth", Some(origin)) => Ok(Value::Integer(origin.depth.into())),
            ("version", _) if subject.version().is_some() => {
                text(&subject.version().map(ToString::to_string).unwrap_or_default())
            }
            ("value", _) if has_value(subject.hook) => {
                drop(state);
                self.value(lua)
            }
            ("old", _) => {
                let subject = subject.clone();
                drop(state);
                self.old(lua, &subject)
            }
            (other, _) => Err(raise(lua, no_such_name("ev", other, &fields(subject)))),
        }
    }

    /// The value before the write, read from the store when the script first asks for it.
    fn old(&self, lua: &Lua, subject: &Subject) -> mlua::Result<Value> {
        if let Some(old) = &self.state.borrow().old {
            return Ok(old.clone());
        }
        let old = subject.old().map_err(|e| raise(lua, format!("ev.old: {}", e.message)))?;
        let old = old.map_or(Ok(Value::Nil), |old| lend_more(lua, &self.state, old))?;
        self.state.borrow_mut().old = Some(old.clone());
        Ok(old)
    }

    /// The value; its proxy is made once a call.
    fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        if let Some(first) = &self.state.borrow().first {
            return Ok(Value::UserData(first.clone()));
        }
        let value = lend(lua, &self.state, 0)?;
        if let Value::UserData(data) = &value {
            self.state.borrow_mut().first = Some(data.clone());
        }
        Ok(value)
    }

    fn set(&self, lua: &Lua, field: &str, value: &Value) -> Result<(), String> {
        let hook = {
            let state = self.state.borrow();
            state.live(self.epoch)?;
            state.hook()
        };
        match field {
            "value" if hook == Some(Hook::OnPut) => replace(lua, &self.state, value),
            "value" if hook.is_some_and(has_value) => self.state.borrow_mut().writable(0).map(drop),
            other => Err(format!("ev.{other} is read-only; on_put may change ev.value")),
        }
    }
}

/// Replaces the value of a put by one from the script.
pub fn replace(lua: &Lua, state: &Shared, value: &Value) -> Result<(), String> {
    if let Value::UserData(data) = value
        && stands_there(state, data)
    {
        return Ok(());
    }
    if value.is_nil() {
        return Err("ev.value: a put has a value; JSON's null is kb.null".into());
    }
    let whole = to_stored(lua, value, "ev.value")?;
    let mut state = state.borrow_mut();
    (state.first, state.item, state.item_changed) = (None, None, false);
    let draft = state.writable(0)?;
    match whole {
        Whole::Tree(tree) => draft.set_tree(tree),
        Whole::Stored(value) => draft.set(value),
    }
    Ok(())
}

/// Whether this proxy is the whole of the value that the running put lends, as it is now.
fn stands_there(state: &Shared, data: &AnyUserData) -> bool {
    if let Ok(node) = data.borrow::<Node>() {
        return node.is_whole() && node.with(|_| ()).is_ok();
    }
    let Ok(part) = data.borrow::<Part>() else { return false };
    let whole = part.is_whole() && part.guard.read().is_ok();
    whole && state.borrow().item.as_ref().is_some_and(|item| item.is_same(&part.item))
}

fn has_value(hook: Hook) -> bool {
    matches!(hook, Hook::OnPut | Hook::AfterPut)
}

fn fields(subject: &Subject) -> Vec<&'static str> {
    let mut fields = vec!["actor", "depth", "key", "namespace", "old", "source", "timestamp"];
    if has_value(subject.hook) {
        fields.push("value");
    }
    if subject.version().is_some() {
        fields.push("version");
    }
    fields
}

impl UserData for Event {
    fn add_fields<F: mlua::UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "event");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, event, field: mlua::LuaString| {
            event.get(lua, &field.to_str()?)
        });
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |lua, event, (field, value): (mlua::LuaString, Value)| {
                event.set(lua, &field.to_str()?, &value).map_err(|e| raise(lua, e))
            },
        );
        methods.add_meta_method(MetaMethod::ToString, |_, event, ()| {
            let state = event.state.borrow();
            Ok(match state.subject.as_ref().map(|s| (s.hook.as_str(), s.key())) {
                Some((hook, Some(key))) => format!("{hook} event of {key}"),
                Some((hook, None)) => format!("{hook} event"),
                None => "event that is over".to_owned(),
            })
        });
    }
}

/// The argument of `on_conflict`. The values are lent in the order base (if any), sides.
pub fn conflict(lua: &Lua, state: &Shared, conflict: &Conflict) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("namespace", conflict.namespace.as_str())?;
    table.raw_set("key", conflict.key.as_str())?;
    let first = usize::from(conflict.base.is_some());
    if conflict.base.is_some() {
        table.raw_set("base", lend(lua, state, 0)?)?;
    }
    let sides = lua.create_table_with_capacity(conflict.sides.len(), 0)?;
    for (i, side) in conflict.sides.iter().enumerate() {
        let entry = lua.create_table()?;
        entry.raw_set("version", side.version.to_string())?;
        entry.raw_set("address", side.address.to_string())?;
        entry.raw_set("value", lend(lua, state, first + i)?)?;
        entry.set_readonly(true);
        sides.raw_set(i + 1, entry)?;
    }
    sides.set_readonly(true);
    table.raw_set("sides", sides)?;
    table.set_readonly(true);
    Ok(table)
}

/// The argument of `on_state`.
pub fn state(lua: &Lua, change: &StateChange) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("namespace", change.namespace.as_str())?;
    table.raw_set("before", change.before.as_str())?;
    table.raw_set("now", change.now.as_str())?;
    table.raw_set("reason", &*change.reason)?;
    table.set_readonly(true);
    Ok(table)
}

/// The argument of a timer.
pub fn timer(lua: &Lua, namespace: &Namespace, now: u64) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("namespace", namespace.as_str())?;
    table.raw_set("timestamp", now as f64)?;
    table.set_readonly(true);
    Ok(table)
}

/// Whether a hook runs that may write elsewhere.
pub fn may_write(state: &State) -> bool {
    matches!(state.hook(), Some(Hook::AfterPut | Hook::AfterDelete | Hook::Timer))
}
