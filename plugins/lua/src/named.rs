//! Tables that a script can only read, with an error that lists their names for any other one.

use mlua::{Lua, LuaString, Table, Value};

use crate::fault::raise;
use crate::words::no_such_name;

/// Makes a table read-only; a name that it does not have is an error that lists those it has.
pub fn named(lua: &Lua, owner: &'static str, table: Table) -> mlua::Result<Table> {
    let mut names = Vec::new();
    table.for_each(|name: String, _: Value| {
        names.push(name);
        Ok(())
    })?;
    names.sort();
    let meta = lua.create_table()?;
    let unknown = lua.create_function(move |lua, (_, name): (Value, LuaString)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Err::<Value, _>(raise(lua, no_such_name(owner, &name.to_string_lossy(), &names)))
    })?;
    meta.raw_set("__index", unknown)?;
    meta.raw_set("__metatable", false)?;
    meta.set_readonly(true);
    table.set_metatable(Some(meta))?;
    table.set_readonly(true);
    Ok(table)
}

/// Makes a table and all tables in it read-only.
pub fn freeze(value: &Value) -> mlua::Result<()> {
    let Value::Table(table) = value else { return Ok(()) };
    table.for_each(|_: Value, member: Value| freeze(&member))?;
    table.set_readonly(true);
    Ok(())
}
