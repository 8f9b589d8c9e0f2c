//! `schema test`: the tests that stand in schema files, told in the form of TAP.

use keepboth_schema::vectors::{self, Vector};
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, printable, talk};
use super::check;
use super::{Files, Named};

pub const HELP: &str = "A schema file says in itself what it accepts and what it refuses:

  \"examples\": [VALUE, …]                                       values that pass, also in inner schemas
  \"x-keepboth-allowed\": [{\"old\": VALUE, \"new\": VALUE}, …]      steps that pass
  \"x-keepboth-refused\": [{\"new\": VALUE, \"because\": TEXT}, …]   refused with TEXT in the message; \"old\" too

Exit code 0 if all hold, 1 if not, 78 if a file is no sound schema.";

/// Runs all tests of all files.
pub fn run(files: &Files, json: bool) -> Result<(), Failure> {
    let mut tried = Vec::new();
    for file in files.named()? {
        let vectors = vectors::run(&file.folder(), &file.name);
        let vectors = vectors.map_err(|faults| check::failure(&file, &faults))?;
        tried.push((file, vectors));
    }
    let mut out = Out::new(json);
    for line in if json { as_json(&tried) } else { tap(&tried) } {
        out.line(&line)?;
    }
    out.flush()?;
    let all = || tried.iter().flat_map(|(_, vectors)| vectors);
    let failed = all().filter(|vector| vector.outcome.is_err()).count();
    let count = all().count();
    let tests = if count == 1 { "test" } else { "tests" };
    talk(&format!("{count} {tests}, {failed} failed"));
    if failed == 0 { Ok(()) } else { Err(Failure::quiet(Exit::Failure)) }
}

/// Version 14 of the Test Anything Protocol.
fn tap(tried: &[(Named, Vec<Vector>)]) -> Vec<String> {
    let count: usize = tried.iter().map(|(_, vectors)| vectors.len().max(1)).sum();
    let mut lines = vec!["TAP version 14".to_owned(), format!("1..{count}")];
    let mut number = 0;
    for (file, vectors) in tried {
        if vectors.is_empty() {
            number += 1;
            lines
                .push(format!("ok {number} - {} # SKIP it has no tests", file.path_of(&file.name)));
        }
        for vector in vectors {
            number += 1;
            let ok = if vector.outcome.is_ok() { "ok" } else { "not ok" };
            lines.push(format!("{ok} {number} - {}", title(file, vector)));
            if let Err(words) = &vector.outcome {
                let message = Json::from(printable(words));
                lines.extend([
                    "  ---".to_owned(),
                    format!("  message: {message}"),
                    "  ...".to_owned(),
                ]);
            }
        }
    }
    lines
}

fn title(file: &Named, vector: &Vector) -> String {
    let (path, at) = (file.path_of(&vector.file), vector.place);
    let should = if vector.passes { "passes" } else { "is refused" };
    // A # would begin a directive.
    let pointer = vector.pointer.replace('#', "\\#");
    format!("{path}:{}:{} {pointer} {should}", at.line, at.column)
}

fn as_json(tried: &[(Named, Vec<Vector>)]) -> Vec<String> {
    let one = |file: &Named, vector: &Vector| {
        json!({
            "file": file.path_of(&vector.file),
            "line": vector.place.line,
            "column": vector.place.column,
            "pointer": vector.pointer,
            "passes": vector.passes,
            "ok": vector.outcome.is_ok(),
            "message": vector.outcome.as_ref().err(),
        })
    };
    let all = tried.iter().flat_map(|(file, all)| all.iter().map(|v| one(file, v).to_string()));
    all.collect()
}
