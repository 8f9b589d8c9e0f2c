//! All mistakes of a script, each with its place, and the hooks of one that has none.

use keepboth_core::plugin::Site;
use serde_json::{Value as Json, json};

use crate::scan;
use crate::script::{compile, read_text};
use crate::trial::{Registered, Trial};

/// A mistake in a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its line, from 1; None if it is about the whole.
    pub line: Option<usize>,
    /// Its place in the line in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, and what would be right where that is known.
    pub message: String,
    /// The line itself.
    pub source: Option<String>,
}

/// A script that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// All mistakes, in the order of their lines.
    pub mistakes: Vec<Mistake>,
    /// Its hooks and timers, if it has no mistake.
    pub hooks: Vec<Registered>,
}

/// Reads, compiles and loads a script, by its name in the scripts folder, with these settings besides
/// `scripts`. Its tests are not run. What is seen only when the script runs is told if nothing else is
/// wrong.
pub fn check(site: &Site, script: &str, mut settings: Json) -> Checked {
    let source = match read_text(&site.scripts, script) {
        Ok(source) => source,
        Err(message) => {
            let mistake = Mistake { line: None, column: None, message, source: None };
            return Checked { mistakes: vec![mistake], hooks: Vec::new() };
        }
    };
    let unknown = scan::unknown_names(&source).into_iter();
    let mut mistakes: Vec<Mistake> =
        unknown.map(|u| at(&source, Some(u.line), Some(u.column), u.words)).collect();
    if let Err(words) = compile(&source) {
        mistakes.push(placed(&source, &words));
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    let mut hooks = Vec::new();
    if mistakes.is_empty() {
        settings["scripts"] = json!([script]);
        let chunk = format!("scripts/{script}:");
        match Trial::new(site, settings) {
            Ok(trial) => hooks = trial.hooks(),
            Err(all) => mistakes.extend(all.iter().map(|mistake| {
                let words = mistake.message.strip_prefix(&chunk).unwrap_or(&mistake.message);
                match mistake.pointer.starts_with("/scripts") {
                    true => placed(&source, words),
                    false => at(&source, None, None, format!("{} {words}", mistake.pointer)),
                }
            })),
        }
    }
    Checked { mistakes, hooks }
}

/// A mistake of the form `LINE: words | the line`.
fn placed(source: &str, text: &str) -> Mistake {
    let numbered = text.split_once(": ");
    let numbered = numbered.and_then(|(n, words)| Some((n.trim().parse::<usize>().ok()?, words)));
    let Some((number, words)) = numbered else {
        return at(source, None, None, text.trim().to_owned());
    };
    let words = words.split_once(" | ").map_or(words, |(words, _)| words);
    at(source, Some(number), None, words.to_owned())
}

fn at(source: &str, line: Option<usize>, column: Option<usize>, message: String) -> Mistake {
    let text = line.and_then(|n| source.lines().nth(n.checked_sub(1)?));
    let column = column.or_else(|| text.map(|text| column_of(text, &message)));
    Mistake { line, column, message, source: text.map(str::to_owned) }
}

/// Where in a line the message points: to what it quotes, or else to where the line begins.
fn column_of(line: &str, message: &str) -> usize {
    let quoted = message.split(['\'', '"']).skip(1).step_by(2);
    let named = quoted.filter(|word| !word.is_empty()).find_map(|word| line.find(word));
    let bytes = named.unwrap_or_else(|| line.len() - line.trim_start().len());
    line[..bytes].chars().count() + 1
}
