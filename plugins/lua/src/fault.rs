//! What went wrong in a script: where, and in which words.

use mlua::{Error, Lua};

use crate::words::one_line;

/// Most bytes of a script's words in a message.
const WORDS_MAX: usize = 500;
/// Levels of the stack that are searched for the script's line.
const LEVELS_MAX: usize = 20;
/// What Luau says when the memory limit is reached.
pub const NO_MEMORY: &str = "not enough memory";

/// The kinds of Lua values that Luau shows by their address.
const KINDS: [&str; 5] = ["table", "function", "userdata", "thread", "buffer"];

/// An error of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `scripts/NAME:LINE`, if the script was running.
    pub place: Option<String>,
    /// What happened.
    pub words: String,
    /// Whether the memory limit was the cause.
    pub memory: bool,
}

/// An error to raise from Rust with the line of the script that called.
pub fn raise(lua: &Lua, words: impl AsRef<str>) -> Error {
    let words = words.as_ref();
    match place(lua) {
        Some(place) => Error::RuntimeError(format!("{place}: {words}")),
        None => Error::RuntimeError(words.to_owned()),
    }
}

/// The line of the script that runs now, as `scripts/NAME:LINE`.
pub fn place(lua: &Lua) -> Option<String> {
    here(lua, |script, line| format!("{script}:{line}"))
}

/// The number of the line of the script that runs now; 0 if it is unknown.
pub fn line(lua: &Lua) -> u32 {
    here(lua, |_, line| u32::try_from(line).unwrap_or(0)).unwrap_or(0)
}

fn here<R>(lua: &Lua, tell: impl Fn(&str, usize) -> R) -> Option<R> {
    for level in 0..LEVELS_MAX {
        let here = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let script = source.short_src.as_deref().filter(|s| s.starts_with("scripts/"));
            Some(tell(script?, debug.current_line()?))
        });
        if let Some(found) = here? {
            return Some(found);
        }
    }
    None
}

/// Takes an error apart. `chunk` is the script's name, `scripts/NAME`.
pub fn explain(error: &Error, chunk: &str) -> Fault {
    let (mut error, mut trace) = (error, "");
    while let Error::CallbackError { traceback, cause } = error {
        (error, trace) = (cause, traceback);
    }
    let text = match error {
        Error::RuntimeError(text) | Error::MemoryError(text) => text.clone(),
        Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let (words, trace) = text.split_once("\nstack traceback:\n").unwrap_or((&text, trace));
    let memory = matches!(error, Error::MemoryError(_)) || words.ends_with(NO_MEMORY);
    let (mut place, mut rest) = (None, words);
    // A text that was caught and raised again has several places; the innermost is the cause.
    while let Some((inner, words)) = leading_place(rest, chunk) {
        (place, rest) = (Some(inner), words);
    }
    if place.is_some() && chunk.starts_with(rest) && !rest.is_empty() {
        rest = "an error too deep in nested calls to be told; a call that calls itself?";
    }
    Fault { place: place.or_else(|| first_place(trace, chunk)), words: tidy(rest), memory }
}

/// `scripts/NAME:12: words` as its two parts.
fn leading_place<'a>(text: &'a str, chunk: &str) -> Option<(String, &'a str)> {
    let rest = text.strip_prefix(chunk)?.strip_prefix(':')?;
    let (line, words) = rest.split_once(':')?;
    let line: u32 = line.parse().ok()?;
    Some((format!("{chunk}:{line}"), words.trim_start()))
}

/// The innermost line of the script in a stack trace.
fn first_place(trace: &str, chunk: &str) -> Option<String> {
    trace.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix(chunk)?.strip_prefix(':')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0).then(|| format!("{chunk}:{}", &rest[..digits]))
    })
}

fn tidy(words: &str) -> String {
    // What `error` is given when it is no text ends up here as its type and address.
    if let Some((kind, address)) = words.split_once(": 0x")
        && KINDS.contains(&kind)
        && address.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return format!("an error that is a {kind}; give error() a text");
    }
    match words {
        "" | "nil" => "an error without words".into(),
        words => one_line(words, WORDS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_comes_from_the_message_or_else_from_the_trace() {
        let chunk = "scripts/a.luau";
        let error =
            Error::runtime("scripts/a.luau:12: bad\nstack traceback:\nscripts/a.luau:3 in f");
        let fault = explain(&error, chunk);
        assert_eq!((fault.place.as_deref(), &*fault.words), (Some("scripts/a.luau:12"), "bad"));
        let error = Error::runtime("bad: worse\nstack traceback:\n[C] in ?\nscripts/a.luau:3 in f");
        let fault = explain(&error, chunk);
        assert_eq!(
            (fault.place.as_deref(), &*fault.words),
            (Some("scripts/a.luau:3"), "bad: worse")
        );
    }

    #[test]
    fn an_address_is_never_shown() {
        let fault = explain(&Error::runtime("table: 0x00007f12"), "scripts/a.luau");
        assert_eq!(fault.words, "an error that is a table; give error() a text");
        assert_eq!(explain(&Error::runtime("id: 0x12"), "scripts/a.luau").words, "id: 0x12");
    }
}
