//! `kb.log` and `print`: lines in the server's log, with script and line, cut and counted.

use mlua::{Function, Lua, MultiValue, Table};

use crate::fault::place;
use crate::show::{LINE_BYTES_MAX, show_all};
use crate::state::Shared;
use crate::words::one_line;

/// Most lines that one call logs; what is more is dropped with a word.
pub const LINES_MAX: usize = 32;

/// The level of a line.
#[derive(Clone, Copy)]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The table of `kb.log`.
pub fn log_functions(lua: &Lua, state: &Shared) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("debug", function(lua, state, Level::Debug)?)?;
    table.raw_set("info", function(lua, state, Level::Info)?)?;
    table.raw_set("warn", function(lua, state, Level::Warn)?)?;
    table.raw_set("error", function(lua, state, Level::Error)?)?;
    Ok(table)
}

/// The function `print`.
pub fn print(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    function(lua, state, Level::Info)
}

fn function(lua: &Lua, state: &Shared, level: Level) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, values: MultiValue| {
        let lines = {
            let mut state = state.borrow_mut();
            state.lines += 1;
            state.lines
        };
        if lines > LINES_MAX {
            return Ok(());
        }
        let at = place(lua).unwrap_or_default();
        emit(level, &at, &one_line(&show_all(values.iter()), LINE_BYTES_MAX));
        if lines == LINES_MAX {
            emit(Level::Warn, &at, "further lines of this call are dropped");
        }
        Ok(())
    })
}

fn emit(level: Level, at: &str, line: &str) {
    match level {
        Level::Debug => tracing::debug!(target: "keepboth::script", at, "{line}"),
        Level::Info => tracing::info!(target: "keepboth::script", at, "{line}"),
        Level::Warn => tracing::warn!(target: "keepboth::script", at, "{line}"),
        Level::Error => tracing::error!(target: "keepboth::script", at, "{line}"),
    }
}
