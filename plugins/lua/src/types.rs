//! `kb.d.luau`: what editors know of `kb` and of hooks, from the tables that register them.

use std::fmt::Write;

use crate::api::{ENTRIES, Entry, Is};
use crate::hook::Hook;

/// What the functions are about.
const BEFORE: &str = include_str!("types.luau");
/// What tests have.
const AFTER: &str = include_str!("types.after.luau");

/// The text of `.luaurc`: what editors and linters hold against scripts.
pub const EDITOR_SETTINGS: &str = include_str!("luaurc.json");

/// The text of `kb.d.luau`.
pub fn definitions() -> String {
    let mut out = BEFORE.to_owned();
    out.push_str("\nexport type Namespace = {\n");
    for hook in Hook::ALL {
        let options = if hook.may_follow_peers() {
            "{ on: (\"local\" | \"replicated\" | \"both\")? }"
        } else {
            "{ on: \"local\"? }"
        };
        let (name, handler, about) = (hook.as_str(), hook.handler(), hook.about());
        line(&mut out, 1, &format!("-- {about}"));
        let kind = format!("(self: Namespace, handler: {handler}, options: {options}?) -> ()");
        line(&mut out, 1, &format!("{name}: {kind},"));
    }
    out.push_str("}\n\ndeclare kb: {\n");
    entries(&mut out, ENTRIES, 1);
    out.push_str("}\n");
    out.push_str(AFTER);
    out
}

fn entries(out: &mut String, all: &[Entry], depth: usize) {
    for Entry { name, about, is } in all {
        if !about.is_empty() {
            line(out, depth, &format!("-- {about}"));
        }
        match is {
            Is::Thing(kind, _) => line(out, depth, &format!("{name}: {kind},")),
            Is::Table(_, inner) => {
                line(out, depth, &format!("{name}: {{"));
                entries(out, inner, depth + 1);
                line(out, depth, "},");
            }
        }
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{}{text}", "\t".repeat(depth));
}
