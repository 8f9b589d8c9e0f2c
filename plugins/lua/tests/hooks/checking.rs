//! What is told of a script before it is used: every mistake with its place, every hook with where it runs.

use keepboth_lua::{Checked, Hook, check};
use serde_json::json;

use crate::harness::*;

fn checked(source: &str) -> Checked {
    let scripts = Scripts::new(&[("a.luau", source)]);
    check(&site(scripts.0.path()), "a.luau", json!({}))
}

fn places(checked: &Checked) -> Vec<(Option<usize>, Option<usize>, &str)> {
    let mistakes = checked.mistakes.iter();
    mistakes.map(|m| (m.line, m.column, m.source.as_deref().unwrap_or_default())).collect()
}

#[test]
fn all_mistakes_are_told_with_line_column_and_the_line_itself() {
    let found = checked("kb.rejct('A')\nlocal x = kb.log.warning\n\tlocal y = +");
    assert_eq!(
        places(&found),
        [
            (Some(1), Some(4), "kb.rejct('A')"),
            (Some(2), Some(18), "local x = kb.log.warning"),
            (Some(3), Some(12), "\tlocal y = +"),
        ],
        "{:?}",
        found.mistakes
    );
    assert!(found.mistakes[0].message.contains("did you mean \"reject\""), "{found:?}");
    assert!(found.hooks.is_empty());
}

#[test]
fn texts_nested_into_each_other_without_end_are_a_mistake_and_no_crash() {
    let nested = "`{".repeat(131_000);
    let look = move || {
        for source in
            [format!("local s = {nested}"), format!("local s = `{{ --[[ {nested} ]] 1}}`")]
        {
            let _ = checked(&source);
        }
        mistake(&format!("local s = {nested}"))
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(look).expect("a thread");
    let words = thread.join().expect("an answer");
    assert!(words.starts_with("scripts/a.luau:1: "), "{words}");
}

#[test]
fn what_is_seen_when_a_script_is_loaded_is_told_with_its_place() {
    let found = checked("local here = kb.namespace()\nhere:on_putt(function() end)");
    assert_eq!(places(&found), [(Some(2), Some(6), "here:on_putt(function() end)")]);
    let found = checked("error('set options')");
    assert_eq!(found.mistakes[0].message, "set options");
    let found = checked("local x = 1");
    assert_eq!(found.mistakes[0].line, None);
    assert!(found.mistakes[0].message.contains("registers no hook"), "{found:?}");
}

#[test]
fn a_file_that_is_none_or_settings_that_are_wrong_are_told_without_a_place() {
    let scripts = Scripts::new(&[("a.luau", "kb.every('1h', print)")]);
    let found = check(&site(scripts.0.path()), "b.luau", json!({}));
    assert!(found.mistakes[0].message.contains("there is no such file"), "{found:?}");
    let found = check(&site(scripts.0.path()), "a.luau", json!({"time_limit_ms": 0}));
    assert_eq!(found.mistakes[0].message, "/time_limit_ms 0 ms; it is 1 to 10,000 ms");
}

#[test]
fn a_sound_script_tells_its_hooks() {
    let found = checked(
        "local here = kb.namespace()\nhere:on_put(print)\nhere:after_put(print, { on = 'both' })\nkb.every('1h', print)",
    );
    assert!(found.mistakes.is_empty(), "{found:?}");
    let hooks: Vec<(Hook, u32)> =
        found.hooks.iter().map(|hook| (hook.declared.hook, hook.declared.line)).collect();
    assert_eq!(hooks, [(Hook::OnPut, 2), (Hook::AfterPut, 3), (Hook::Timer, 4)]);
}
