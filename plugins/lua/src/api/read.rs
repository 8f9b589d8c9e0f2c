//! `kb.get`, `kb.list`: what stands in the store of this node.

use std::sync::Arc;

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::Host;
use keepboth_core::refusal::Code;
use mlua::{Function, Lua, LuaString, Table, Value};

use crate::fault::raise;
use crate::hook::Hook;
use crate::node::lend_more;
use crate::state::Shared;
use crate::words::no_such_name;

/// Objects of a page, if the script does not say how many.
const PAGE: usize = 100;
/// Most objects of a page.
const PAGE_MAX: usize = 1_000;
/// Most reads of one call: each holds what it gave until the call is over.
const READS_MAX: usize = 1_000;

/// `kb.get`.
pub fn get(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (ns, key): (LuaString, LuaString)| {
        let fail = |words: String| raise(lua, format!("kb.get: {words}"));
        let host = host(&state).map_err(fail)?;
        let namespace = Namespace::new(&ns.to_string_lossy()).map_err(|e| fail(e.message))?;
        let name = Name::new(&key.to_string_lossy()).map_err(|e| fail(e.message))?;
        match host.get(&namespace, &name) {
            Ok(None) => Ok((Value::Nil, Value::Nil)),
            Ok(Some(value)) => {
                state.borrow_mut().build(value.as_bytes().len()).map_err(fail)?;
                Ok((lend_more(lua, &state, value)?, Value::Nil))
            }
            Err(refusal) if refusal.code == Code::InConflict => {
                let addresses = lua.create_table()?;
                for address in &refusal.addresses {
                    addresses.raw_push(address.to_string())?;
                }
                Ok((Value::Nil, Value::Table(addresses)))
            }
            Err(refusal) => Err(fail(refusal.message)),
        }
    })
}

/// `kb.list`.
pub fn list(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(
        move |lua, (ns, prefix, options): (LuaString, Option<LuaString>, Option<Table>)| {
            let fail = |words: String| raise(lua, format!("kb.list: {words}"));
            let host = host(&state).map_err(fail)?;
            let namespace = Namespace::new(&ns.to_string_lossy()).map_err(|e| fail(e.message))?;
            let prefix = prefix.map_or_else(String::new, |prefix| prefix.to_string_lossy());
            let (after, limit) = options.map_or(Ok((None, PAGE)), page_of).map_err(fail)?;
            let page = host.list(&namespace, &prefix, after.as_ref(), limit);
            let page = page.map_err(|e| fail(e.message))?;
            let items = lua.create_table_with_capacity(page.items.len(), 0)?;
            for item in page.items {
                state.borrow_mut().build(item.value.as_bytes().len()).map_err(fail)?;
                let entry = lua.create_table_with_capacity(0, 4)?;
                entry.raw_set("name", item.name.to_string())?;
                entry.raw_set("key", item.key.as_str())?;
                entry.raw_set("version", item.version.to_string())?;
                entry.raw_set("value", lend_more(lua, &state, item.value)?)?;
                items.raw_push(entry)?;
            }
            let next = page.next.map(|key| lua.create_string(key.as_str())).transpose()?;
            Ok((items, next.map_or(Value::Nil, Value::String)))
        },
    )
}

fn page_of(options: Table) -> Result<(Option<Key>, usize), String> {
    let (mut after, mut limit) = (None, PAGE);
    for pair in options.pairs::<Value, Value>() {
        let (name, value) = pair.map_err(|e| e.to_string())?;
        let name = name.as_string().map_or_else(String::new, LuaString::to_string_lossy);
        match (name.as_str(), &value) {
            ("after", Value::String(key)) => {
                after = Some(Key::new(&key.to_string_lossy()).map_err(|e| e.message)?);
            }
            ("limit", Value::Integer(n)) if (1..=PAGE_MAX as i64).contains(n) => {
                limit = *n as usize;
            }
            ("limit", _) => return Err(format!("limit is a whole number of 1 to {PAGE_MAX}")),
            ("after", _) => return Err("after is a key".into()),
            (name, _) => return Err(no_such_name("its options", name, &["after", "limit"])),
        }
    }
    Ok((after, limit))
}

/// The server, for a call that may read. Counts the call's reads.
fn host(state: &Shared) -> Result<Arc<dyn Host>, String> {
    let mut state = state.borrow_mut();
    match state.hook() {
        None => return Err("a script reads in its hooks, not while it is loaded".into()),
        Some(Hook::OnConflict) => {
            let words = "on_conflict sees its argument alone, or nodes would merge differently";
            return Err(words.into());
        }
        Some(_) => {}
    }
    state.reads += 1;
    if state.reads > READS_MAX {
        return Err(format!("{READS_MAX} reads in one call are the limit"));
    }
    state.host.get().cloned().ok_or_else(|| "the server has not started this plugin".into())
}
