//! `kb.json`, `kb.hash`, `kb.array`, `kb.table`: what a script computes on values.

use keepboth_core::json;
use keepboth_core::limits::figure;
use mlua::{Lua, LuaString, Table, Value};

use crate::fault::raise;
use crate::misfit::TEXT_BYTES_MAX;
use crate::tree::{Kit, to_json, to_lua};

/// `kb.json.encode`.
pub fn encode(lua: &Lua, value: Value) -> mlua::Result<LuaString> {
    let tree = to_json(lua, &value, || "value".into()).map_err(|e| raise(lua, e))?;
    lua.create_string(json::canonical(&tree))
}

/// `kb.json.decode`.
pub fn decode(lua: &Lua, text: LuaString) -> mlua::Result<Value> {
    let text = text.as_bytes();
    if text.len() > TEXT_BYTES_MAX {
        let (size, limit) = (figure(text.len()), figure(TEXT_BYTES_MAX));
        return Err(raise(lua, format!("kb.json.decode: {size} bytes, the limit is {limit}")));
    }
    let tree = json::parse(&text).map_err(|e| raise(lua, format!("kb.json.decode: {e}")))?;
    to_lua(lua, &Kit::of(lua)?, &tree)
}

/// `kb.hash`.
pub fn hash(lua: &Lua, value: Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(blake3::hash(&text.as_bytes()).to_hex().to_string()),
        Value::Buffer(buffer) => Ok(blake3::hash(&buffer.to_vec()).to_hex().to_string()),
        other => {
            let words = format!("kb.hash: a text or a buffer, not {}", other.type_name());
            Err(raise(lua, words))
        }
    }
}

/// `kb.array`.
pub fn array(lua: &Lua, table: Option<Table>) -> mlua::Result<Table> {
    let kit = Kit::of(lua)?;
    let table = match table {
        Some(table) => table,
        None => lua.create_table()?,
    };
    if table.is_readonly() || table.metatable().is_some_and(|m| m != kit.array) {
        return Err(raise(lua, "kb.array: the table is read-only or has a metatable of its own"));
    }
    kit.mark(&table)?;
    Ok(table)
}

/// `kb.table`.
pub fn table(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let tree = to_json(lua, &value, || "value".into()).map_err(|e| raise(lua, e))?;
    to_lua(lua, &Kit::of(lua)?, &tree)
}
