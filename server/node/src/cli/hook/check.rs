//! `hook check`: every mistake of scripts, and which hooks the sound ones have.

use std::path::PathBuf;

use keepboth_lua::{Checked, Mistake, check};
use serde_json::{Value as Json, json};

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, printable, talk};
use super::super::table::Table;
use super::{Ground, Named, name_of};

/// Which scripts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 0 if all is well, 78 if not. Tests are not run: keepboth hook test does that.

Examples:
  keepboth hook check scripts/guard.luau
  keepboth hook check scripts/outbox.luau --options '{\"to\":\"outbox\",\"url\":\"https://example.org\"}'"
)]
pub struct Check {
    /// The scripts
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    ground: Ground,
}

/// Tells every mistake, and the hooks of scripts without one.
pub fn run(args: &Check, json: bool) -> Result<(), Failure> {
    let mut checked = Vec::new();
    for file in &args.files {
        let file = Named::of(file)?;
        let site = file.site(&args.ground.namespace);
        let found = check(&site, &file.name, args.ground.options.settings());
        checked.push((file, found));
    }
    let mut out = Out::new(json);
    let mistakes: usize = checked.iter().map(|(_, found)| found.mistakes.len()).sum();
    if json {
        out.json(&as_json(&checked))?;
    } else {
        let all =
            checked.iter().flat_map(|(file, found)| found.mistakes.iter().map(move |m| (file, m)));
        all.for_each(|(file, mistake)| talk(&printable(&in_words(file, mistake))));
        if checked.iter().any(|(_, found)| !found.hooks.is_empty()) {
            table(&checked).write(&mut out, "")?;
        }
    }
    out.flush()?;
    if mistakes > 0 { Err(Failure::quiet(Exit::Config)) } else { Ok(()) }
}

fn table(checked: &[(Named, Checked)]) -> Table {
    let mut table = Table::new(&["SCRIPT", "LINE", "HOOK", "RUNS"]);
    for (file, found) in checked {
        for hook in &found.hooks {
            let line = hook.declared.line.to_string();
            let (hook, runs) = (name_of(&hook.declared), hook.declared.runs());
            table.row([file.path().as_str(), &line, hook, &runs]);
        }
    }
    table
}

/// As compilers write it, with the line and a mark under the place.
fn in_words(file: &Named, mistake: &Mistake) -> String {
    let path = file.path();
    let message = file.here(&mistake.message);
    let (Some(line), Some(column)) = (mistake.line, mistake.column) else {
        return format!("{path}: error: {message}");
    };
    let source = mistake.source.as_deref().unwrap_or_default();
    // Tabs stay tabs, so that the mark stands where the place does.
    let before = source.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' });
    let (number, before) = (line.to_string(), before.collect::<String>());
    let empty = " ".repeat(number.len());
    format!("{path}:{line}:{column}: error: {message}\n {number} | {source}\n {empty} | {before}^")
        .replace('\t', "    ")
}

fn as_json(checked: &[(Named, Checked)]) -> Json {
    let errors = checked.iter().flat_map(|(file, found)| {
        found.mistakes.iter().map(|mistake| {
            json!({
                "file": file.path(),
                "line": mistake.line,
                "column": mistake.column,
                "message": file.here(&mistake.message),
                "source": mistake.source,
            })
        })
    });
    let hooks = checked.iter().flat_map(|(file, found)| {
        found.hooks.iter().map(|hook| {
            json!({
                "file": file.path(),
                "line": hook.declared.line,
                "hook": name_of(&hook.declared),
                "runs": hook.declared.runs(),
            })
        })
    });
    let errors: Vec<Json> = errors.collect();
    json!({"ok": errors.is_empty(), "errors": errors, "hooks": hooks.collect::<Vec<Json>>()})
}
