//! `kb.log` and `print`: lines in the server's log, with script and line, cut and counted.

use std::sync::PoisonError;
use std::time::Instant;

use mlua::{Function, Lua, MultiValue};

use crate::fault::place;
use crate::line::{Level, Line, Turn};
use crate::show::{LINE_BYTES_MAX, show_all};
use crate::state::Shared;
use crate::words::one_line;

/// Most lines that one call logs; what is more is dropped with a word.
pub const LINES_MAX: usize = 32;

/// A function that logs its arguments with this level.
pub fn function(lua: &Lua, state: &Shared, level: Level) -> mlua::Result<Function> {
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
        let text = one_line(&show_all(values.iter()), LINE_BYTES_MAX);
        write(&state, Line { level, at: at.clone(), text });
        if lines == LINES_MAX {
            let text = "further lines of this call are dropped".into();
            write(&state, Line { level: Level::Warn, at, text });
        }
        Ok(())
    })
}

/// Keeps the line for whoever listens to this VM; else it goes to the server's log.
fn write(state: &Shared, line: Line) {
    let mut state = state.borrow_mut();
    if let Some(kept) = &state.kept {
        return kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    let Turn::Log(dropped) = state.rate.take(Instant::now()) else { return };
    let host = state.host.get().cloned();
    drop(state);
    let say = |line: &Line| {
        emit(line);
        if let Some(host) = &host {
            host.log(line);
        }
    };
    if dropped > 0 {
        let text = format!("{dropped} lines before this one are dropped: too many at once");
        say(&Line { level: Level::Warn, at: line.at.clone(), text });
    }
    say(&line);
}

fn emit(Line { level, at, text }: &Line) {
    match level {
        Level::Debug => tracing::debug!(target: "keepboth::script", at, "{text}"),
        Level::Info => tracing::info!(target: "keepboth::script", at, "{text}"),
        Level::Warn => tracing::warn!(target: "keepboth::script", at, "{text}"),
        Level::Error => tracing::error!(target: "keepboth::script", at, "{text}"),
    }
}
