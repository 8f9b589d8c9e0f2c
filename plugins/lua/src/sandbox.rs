//! A VM in which a script can do nothing but compute and ask `kb`.

use std::rc::Rc;
use std::sync::OnceLock;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use crate::api;
use crate::fault::explain;
use crate::limit::Limits;
use crate::line::Level;
use crate::log;
use crate::tree::Kit;

/// What Luau brings and scripts do not get: loading code, other environments, the collector, the
/// clock, randomness. `os` and `debug` are not even loaded.
const REMOVED: [&str; 8] = [
    "collectgarbage",
    "gcinfo",
    "getfenv",
    "loadstring",
    "newproxy",
    "require",
    "setfenv",
    "_VERSION",
];
const REMOVED_MATH: [&str; 2] = ["random", "randomseed"];
const PRELUDE: &str = include_str!("prelude.luau");

/// An empty VM with the libraries that are safe.
pub fn lua() -> mlua::Result<Lua> {
    let safe = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::BUFFER
        | StdLib::VECTOR;
    Lua::new_with(safe, LuaOptions::default())
}

/// Takes away what is not for scripts, wraps what could escape, adds `kb`, and makes all read-only.
/// With `fixed`, a loop whose order depends on addresses is an error.
pub fn close(
    lua: &Lua,
    kit: &Kit,
    limits: &Rc<Limits>,
    chunk: &str,
    kb: Value,
    fixed: bool,
) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in REMOVED {
        globals.raw_set(name, Value::Nil)?;
    }
    let math: Table = globals.raw_get("math")?;
    for name in REMOVED_MATH {
        math.raw_set(name, Value::Nil)?;
    }
    globals.raw_set("print", log::function(lua, &kit.state, Level::Info)?)?;
    run_prelude(lua, limits, chunk, fixed)?;
    globals.raw_set("kb", kb)?;
    lua.sandbox(true)
}

/// The prelude, compiled once for the process: every conflict has a VM of its own.
fn prelude() -> mlua::Result<&'static [u8]> {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(compiled) = COMPILED.get() {
        return Ok(compiled);
    }
    // Without line numbers its errors carry no place, and the script's own line is found instead.
    let compiled = Compiler::new().set_debug_level(0).compile(PRELUDE)?;
    Ok(COMPILED.get_or_init(|| compiled))
}

fn run_prelude(lua: &Lua, limits: &Rc<Limits>, chunk: &str, fixed: bool) -> mlua::Result<()> {
    let prelude = lua.load(prelude()?).set_name("=keepboth").set_mode(ChunkMode::Binary);
    let host = api::host(lua, caught(lua, limits, chunk)?)?;
    let wrapped: Table = prelude.call((host, fixed))?;
    let globals = lua.globals();
    wrapped.for_each(|library: String, functions: Table| {
        let target = match library.as_str() {
            "globals" => globals.clone(),
            name => globals.raw_get::<Table>(name)?,
        };
        functions.for_each(|name: String, function: Function| target.raw_set(name, function))
    })
}

/// What a script gets when it catches an error: a text. The memory limit is not caught but stops it.
fn caught(lua: &Lua, limits: &Rc<Limits>, chunk: &str) -> mlua::Result<Function> {
    let (limits, chunk) = (limits.clone(), chunk.to_owned());
    lua.create_function(move |lua, error: Value| {
        let fault = match &error {
            Value::Error(error) => explain(error, &chunk),
            Value::String(_) => return Err(limits.stop_for_memory(lua)),
            _ => return Ok(error),
        };
        if fault.memory {
            return Err(limits.stop_for_memory(lua));
        }
        let text = fault.place.map_or(fault.words.clone(), |at| format!("{at}: {}", fault.words));
        lua.create_string(text).map(Value::String)
    })
}
