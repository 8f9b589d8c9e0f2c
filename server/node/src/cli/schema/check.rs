//! `schema check`: every mistake of schema files and of what they refer to.

use keepboth_schema::{Fault, Schema};
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, printable, talk};
use super::{Files, Named};

/// Reports every mistake, those of a file that several refer to once.
pub fn run(files: &Files, json: bool) -> Result<(), Failure> {
    let mut told: Vec<(String, Fault)> = Vec::new();
    let files = files.named()?;
    for file in &files {
        let faults = Schema::load(&file.folder(), &file.name).err().unwrap_or_default();
        for fault in faults.into_iter().map(|fault| (file.path_of(&fault.file), fault)) {
            if !told.contains(&fault) {
                told.push(fault);
            }
        }
    }
    if json {
        let mut out = Out::new(json);
        let errors: Vec<Json> = told.iter().map(|(path, fault)| as_json(path, fault)).collect();
        out.json(&json!({"ok": errors.is_empty(), "errors": errors}))?;
        out.flush()?;
    } else {
        told.iter().for_each(|(path, fault)| talk(&printable(&in_words(path, fault))));
        talk(&summary(files.len(), told.len()));
    }
    if told.is_empty() { Ok(()) } else { Err(Failure::quiet(Exit::Config)) }
}

fn summary(files: usize, mistakes: usize) -> String {
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match mistakes {
        0 => format!("{}, no mistakes", plural(files, "file")),
        n => format!("{} in {}", plural(n, "mistake"), plural(files, "file")),
    }
}

/// As compilers write it.
pub fn in_words(path: &str, fault: &Fault) -> String {
    let place = fault.place.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
    let pointer =
        if fault.pointer.is_empty() { String::new() } else { format!("{}: ", fault.pointer) };
    format!("{path}{place}: error: {pointer}{}", fault.message)
}

fn as_json(path: &str, fault: &Fault) -> Json {
    json!({
        "file": path,
        "line": fault.place.map(|place| place.line),
        "column": fault.place.map(|place| place.column),
        "pointer": fault.pointer,
        "message": fault.message,
    })
}

/// All that is wrong with a file that cannot be used, as a failure.
pub fn failure(file: &Named, faults: &[Fault]) -> Failure {
    let told = faults.iter().map(|fault| in_words(&file.path_of(&fault.file), fault));
    Failure::new(Exit::Config, told.collect::<Vec<_>>().join("\n"))
}
