//! Snapshots in tests of scripts: stored when they are accepted, held against what is found.

use std::fs;

use keepboth_lua::{Suite, run_suite};
use serde_json::{Value as Json, json};

use crate::harness::*;

const SCRIPT: &str = "kb.namespace():after_put(function(ev)
    kb.log.info('copied', ev.key) kb.put('copies', ev.key, { by = ev.actor, value = ev.value }) end)";
const TESTS: &str = "test('copies', function()
    snapshot(hooks.after_put({ key = 'k', actor = 'ada', value = { n = 1 } }))
    snapshot(kb.cbor.make({ at = kb.cbor.date(0), bytes = buffer.fromstring('hi') }))
end)";

fn run(scripts: &Scripts, update: bool) -> Suite {
    run_suite(&site(scripts.0.path()), "a.luau", update).expect("tests that run")
}

fn accept(scripts: &Scripts) -> Json {
    let (file, text) = run(scripts, true).snapshots.expect("something new");
    assert_eq!(file, "a_test.snap.json");
    fs::write(scripts.0.path().join(file), &text).expect("written");
    serde_json::from_str(&text).expect("JSON")
}

fn failure(scripts: &Scripts) -> String {
    run(scripts, false).tests.remove(0).failed.expect("a failure")
}

#[test]
fn what_an_event_came_to_is_stored_and_then_held_against() {
    let scripts = Scripts::new(&[("a.luau", SCRIPT), ("a_test.luau", TESTS)]);
    assert!(failure(&scripts).contains("no snapshot is stored; keepboth hook test --update"));
    let stored = accept(&scripts);
    let write =
        json!({"namespace": "copies", "key": "k", "value": {"by": "ada", "value": {"n": 1}}});
    assert_eq!(stored["copies"]["writes"], json!([write]));
    assert_eq!(stored["copies"]["log"], json!([{"level": "info", "text": "copied k"}]));
    assert_eq!(stored["copies #2"]["bytes"], json!({"$bytes": "6869"}));
    let suite = run(&scripts, false);
    assert_eq!((suite.tests[0].failed.as_deref(), suite.unused), (None, 0));
    assert_eq!(run(&scripts, true).snapshots, None, "nothing is new");
}

#[test]
fn what_differs_is_named_with_its_place() {
    let scripts = Scripts::new(&[("a.luau", SCRIPT), ("a_test.luau", TESTS)]);
    accept(&scripts);
    fs::write(scripts.0.path().join("a.luau"), SCRIPT.replace("ev.actor", "'x'")).expect("written");
    let words = failure(&scripts);
    let place = "a_test.luau:2: not as in the snapshot: .writes[1].value.by was \"ada\", is \"x\";";
    assert!(words.contains(place), "{words}");
    fs::write(scripts.0.path().join("a_test.snap.json"), "[").expect("written");
    let words = run_suite(&site(scripts.0.path()), "a.luau", false).expect_err("refused");
    assert!(words.starts_with("scripts/a_test.snap.json: EOF while parsing"), "{words}");
}

#[test]
fn accepting_keeps_what_belongs_to_failed_tests_and_drops_what_no_test_takes() {
    let scripts = Scripts::new(&[("a.luau", SCRIPT), ("a_test.luau", TESTS)]);
    let stored = accept(&scripts);
    let failing = format!(
        "{}\ntest('other', function() snapshot(1) end)",
        TESTS.replace("end)", "error('no') end)")
    );
    fs::write(scripts.0.path().join("a_test.luau"), failing).expect("written");
    let mut both = stored;
    both["other"] = json!(1);
    assert_eq!(accept(&scripts), both);
    fs::write(scripts.0.path().join("a_test.luau"), "test('other', function() snapshot(1) end)")
        .expect("written");
    assert_eq!(run(&scripts, false).unused, 2);
    assert_eq!(accept(&scripts), json!({"other": 1}));
}
