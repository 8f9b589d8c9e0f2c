//! A script's file: read once, checked, and compiled to what every VM loads.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use keepboth_core::limits::figure;
use mlua::Error;
use mlua::chunk::Compiler;

use crate::order::ordered;
use crate::scan;
use crate::words::one_line;

/// Most bytes of a script.
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;
/// Most bytes of a line that stands behind an error.
const LINE_BYTES_MAX: usize = 120;

/// A script that has been read and compiled.
#[derive(Clone)]
pub struct Script {
    /// Its name in messages: `scripts/NAME`.
    pub chunk: Arc<str>,
    /// What the VMs load; made here, never read from a file.
    pub bytecode: Arc<[u8]>,
    /// The text that was read.
    pub source: Arc<str>,
}

impl Script {
    /// Reads a file of the scripts folder. An error names the script, and the line where there is one.
    pub fn read(folder: &Path, name: &str) -> Result<Script, String> {
        let chunk = format!("scripts/{}", one_line(name, 200));
        let source = read_text(folder, name).map_err(|words| format!("{chunk}: {words}"))?;
        if let Some(unknown) = scan::unknown_names(&source).first() {
            return Err(format!("{chunk}:{}: {}", unknown.line, unknown.words));
        }
        let bytecode = compile(&source).map_err(|words| format!("{chunk}:{words}"))?;
        Ok(Script { chunk: chunk.into(), bytecode: bytecode.into(), source: source.into() })
    }

    /// The line that a place names, to stand behind an error; nothing if it names none of this script.
    pub fn line_of(&self, place: &str) -> String {
        let rest = place.strip_prefix(&*self.chunk).and_then(|rest| rest.strip_prefix(':'));
        let number = rest.and_then(|number| number.parse::<usize>().ok());
        let line = number.and_then(|n| self.source.lines().nth(n.checked_sub(1)?));
        let line = line.map(str::trim).filter(|line| !line.is_empty());
        line.map_or_else(String::new, |line| format!(" | {}", one_line(line, LINE_BYTES_MAX)))
    }
}

/// The bytecode of a script, its loops as [`ordered`] reads them, or `LINE: words`.
pub fn compile(source: &str) -> Result<Vec<u8>, String> {
    let compile = |source: &str| Compiler::new().compile(source);
    let plain = compile(source).map_err(|error| match error {
        Error::SyntaxError { message, .. } => one_line(&message, 500),
        other => format!(" {other}"),
    })?;
    // What is sound stays sound, whatever `ordered` makes of it.
    Ok(compile(&ordered(source)).unwrap_or(plain))
}

/// The text of a file of the scripts folder, at most [`SCRIPT_BYTES_MAX`].
pub fn read_text(folder: &Path, name: &str) -> Result<String, String> {
    let path = inside(folder, name)?;
    let file = File::open(&path).map_err(|e| e.to_string())?;
    let state = || {
        let state = file.metadata().map_err(|e| e.to_string())?;
        Ok((state.len(), state.modified().ok()))
    };
    let bytes = unchanged(&file, state)?;
    if bytes.len() > SCRIPT_BYTES_MAX {
        return Err(format!("more than {} bytes; split it", figure(SCRIPT_BYTES_MAX)));
    }
    // Bytecode starts with its version or an escape and has zeros, text has neither; it could crash a VM.
    let control = |b: &u8| *b < b' ' && !b.is_ascii_whitespace();
    if bytes.first().is_some_and(control) || bytes.contains(&0) {
        return Err("bytecode; only the text of a script is run".into());
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        format!("not UTF-8 at byte {} (line {line})", figure(at))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// All bytes, up to the limit and one more; refused if the file's state is another one afterwards.
fn unchanged<S: PartialEq>(
    file: impl Read,
    state: impl Fn() -> Result<S, String>,
) -> Result<Vec<u8>, String> {
    let (before, mut bytes) = (state()?, Vec::new());
    file.take(SCRIPT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if state()? != before {
        return Err("changed while it was read; have it read again when it is saved".into());
    }
    Ok(bytes)
}

/// The file's true path, if it is a regular file inside the folder.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !plain || name.chars().any(char::is_control) || name.len() > 200 {
        return Err("not the name of a file in the scripts folder".into());
    }
    let folder = fs::canonicalize(folder)
        .map_err(|e| format!("the scripts folder {} cannot be read: {e}", folder.display()))?;
    let path = fs::canonicalize(folder.join(name)).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no such file in {}", folder.display()),
        _ => e.to_string(),
    })?;
    if !path.starts_with(&folder) {
        return Err("a link out of the scripts folder; copy the file there".into());
    }
    if !fs::metadata(&path).map_err(|e| e.to_string())?.is_file() {
        return Err("not a regular file".into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let size = Cell::new(5);
        let grows = || Ok::<i32, String>(size.replace(size.get() + 1));
        let words = unchanged(&b"hello"[..], grows).expect_err("refused");
        assert!(words.starts_with("changed while it was read"), "{words}");
        assert_eq!(unchanged(&b"hello"[..], || Ok(5)), Ok(b"hello".to_vec()));
    }
}
