//! What a failing script means for the write, by `on_failure`.

use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use serde_json::json;

use crate::harness::*;

const FAILING: &str = "kb.namespace():on_put(function(ev)
    ev.value.half = true
    ev.value.none.x = 1
end)";

#[test]
fn a_failing_script_refuses_the_write() {
    let mut worker = worker(FAILING);
    let refusal = put(&mut *worker, json!({"a": 1})).expect_err("refused");
    assert_eq!(refusal.code, Code::HookFailed);
    assert_eq!(
        &*refusal.message,
        "hook failed: scripts/a.luau:3 (on_put, namespace notes, key \"a\"): attempt to index nil with 'x' | ev.value.none.x = 1"
    );
}

#[test]
fn with_pass_the_write_goes_on_as_it_was_before_the_failing_script() {
    let first = "kb.namespace():on_put(function(ev) ev.value.first = 1 end)";
    let last = "kb.namespace():on_put(function(ev) ev.value.last = 1 end)";
    let scripts = Scripts::new(&[("1.luau", first), ("2.luau", FAILING), ("3.luau", last)]);
    let settings = json!({"scripts": ["1.luau", "2.luau", "3.luau"], "on_failure": "pass"});
    let plugin = scripts.build(settings).unwrap_or_else(|e| panic!("{e:?}"));
    let mut worker = plugin.worker().expect("worker");
    let out = put(&mut *worker, json!({"a": 1}));
    assert_eq!(out, Ok(json!({"a": 1, "first": 1, "last": 1})));
}

#[test]
fn with_pass_a_limit_passes_and_a_rejection_does_not() {
    let source = "kb.namespace():on_put(function(ev)
        if ev.value.loop then ev.value.x = 1 while true do end end kb.reject('NO', 'no') end)";
    let mut worker = worker_with(source, json!({"on_failure": "pass", "time_limit_ms": 20}));
    assert_eq!(put(&mut *worker, json!({"loop": true})), Ok(json!({"loop": true})));
    let refusal = put(&mut *worker, json!({})).expect_err("refused");
    assert_eq!(refusal.code, Code::HookRefused);
}

#[test]
fn with_pass_a_delete_goes_on() {
    let source = "kb.namespace():on_delete(function(ev) error('no') end)";
    assert_eq!(delete(&mut *worker_with(source, json!({"on_failure": "pass"})), "a"), Ok(()));
    let refusal = delete(&mut *worker(source), "a").expect_err("refused");
    assert_eq!(refusal.code, Code::HookFailed);
}

#[test]
fn after_hooks_of_other_scripts_run_in_spite_of_a_failure() {
    let scripts = Scripts::new(&[
        (
            "bad.luau",
            "kb.namespace():after_put(function(ev) kb.delete('notes', 'x') error('bad') end)",
        ),
        ("good.luau", "kb.namespace():after_put(function(ev) kb.delete('notes', 'y') end)"),
    ]);
    let plugin = scripts.build(json!({"scripts": ["bad.luau", "good.luau"]}));
    let mut worker = plugin.unwrap_or_else(|e| panic!("{e:?}")).worker().expect("worker");
    let (writes, result) = after(&mut *worker, "a", Some(Value::string("v")));
    assert_eq!(
        without_line(&result.expect_err("failed").0),
        "hook failed: scripts/bad.luau:1 (after_put, namespace notes, key \"a\"): bad"
    );
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].name.to_string(), "y");
}

#[test]
fn a_value_survives_the_failure_of_its_script() {
    let mut worker = worker(FAILING);
    let mut put = a_put("a", Value::json(&json!({"a": 1})));
    worker.before_put(&mut put).expect_err("refused");
    assert!(put.draft.into_value().to_json().is_some(), "the value is back in the put");
}

#[test]
fn a_vm_that_hit_a_limit_is_made_anew_without_its_globals() {
    let source = "count = 0 kb.namespace():on_put(function(ev)
        count += 1 if ev.value == 'loop' then while true do end end return count end)";
    let mut worker = worker_with(source, json!({"time_limit_ms": 20}));
    assert_eq!(put(&mut *worker, json!("x")), Ok(json!(1)));
    assert_eq!(put(&mut *worker, json!("x")), Ok(json!(2)));
    put(&mut *worker, json!("loop")).expect_err("stopped");
    assert_eq!(put(&mut *worker, json!("x")), Ok(json!(1)));
}

#[test]
fn a_key_with_control_characters_makes_one_line() {
    let mut worker = worker("kb.namespace():on_put(function(ev) error('bad\\27[31m') end)");
    let mut put = a_put("k\ney", Value::string("x"));
    let refusal = worker.before_put(&mut put).expect_err("refused");
    assert!(refusal.message.contains("key \"k\\ney\"): bad\\u{1b}[31m"), "{}", refusal.message);
}

/// A worker whose metrics can be read.
fn watched(
    source: &str,
    settings: serde_json::Value,
) -> (Box<dyn keepboth_core::plugin::Worker>, std::sync::Arc<keepboth_lua::Memory>) {
    let scripts = Scripts::new(&[("a.luau", source)]);
    let plugin = scripts.build(settings).unwrap_or_else(|e| panic!("{e:?}"));
    let memory = std::sync::Arc::new(keepboth_lua::Memory::new(namespace()));
    plugin.start(memory.clone()).expect("started");
    (plugin.worker().expect("worker"), memory)
}

#[test]
fn with_disable_a_script_that_keeps_failing_is_switched_off_and_the_metrics_tell() {
    let settings = json!({"scripts": ["a.luau"], "on_failure": "disable", "disable_after": 3});
    let (mut worker, metrics) = watched(FAILING, settings);
    for _ in 0..3 {
        assert_eq!(metrics.gauged("scripts_off"), None);
        let refusal = put(&mut *worker, json!({"a": 1})).expect_err("refused");
        assert_eq!(refusal.code, Code::HookFailed);
    }
    assert_eq!(metrics.gauged("scripts_off"), Some(1));
    let warning = "scripts/a.luau is switched off: it failed 3 times or more, one after the other; writes pass WITHOUT it until it works again";
    assert_eq!(metrics.warnings(), [warning], "the status says so too");
    // Each failed trial keeps it off for twice as long, so sooner or later a write meets it off.
    let passed = (0..20).find_map(|_| put(&mut *worker, json!({"a": 1})).ok());
    assert_eq!(passed, Some(json!({"a": 1})), "as it was before the script");
    assert_eq!(metrics.counted("events_unguarded"), 1);
    assert!(metrics.counted("on_put_failed") >= 3);
}

#[test]
fn with_disable_failures_that_are_not_one_after_the_other_switch_nothing_off() {
    let source = "kb.namespace():on_put(function(ev) if ev.value.bad then error('no') end end)";
    let settings = json!({"scripts": ["a.luau"], "on_failure": "disable", "disable_after": 2});
    let (mut worker, metrics) = watched(source, settings);
    for _ in 0..5 {
        put(&mut *worker, json!({"bad": true})).expect_err("refused");
        put(&mut *worker, json!({})).expect("put");
    }
    assert_eq!((metrics.gauged("scripts_off"), metrics.counted("on_put_failed")), (None, 5));
}

#[test]
fn with_disable_a_rejection_is_no_failure() {
    let source = "kb.namespace():on_put(function(ev) kb.reject('NO') end)";
    let settings = json!({"scripts": ["a.luau"], "on_failure": "disable", "disable_after": 1});
    let (mut worker, metrics) = watched(source, settings);
    for _ in 0..5 {
        assert_eq!(put(&mut *worker, json!({})).expect_err("refused").code, Code::HookRefused);
    }
    assert_eq!((metrics.gauged("scripts_off"), metrics.counted("on_put_failed")), (None, 0));
}

#[test]
fn with_disable_a_conflict_is_always_shown() {
    let source = "local here = kb.namespace()
        here:on_put(function(ev) error('no') end)
        here:on_conflict(function(c) return 'merged' end)";
    let settings = json!({"scripts": ["a.luau"], "on_failure": "disable", "disable_after": 1});
    let (mut worker, metrics) = watched(source, settings);
    put(&mut *worker, json!({})).expect_err("refused");
    assert_eq!(metrics.gauged("scripts_off"), Some(1));
    let merged = conflict(&mut *worker, json!(1), &[json!(2), json!(3)]);
    assert_eq!(merged, Some(json!("merged")));
}

#[test]
fn with_pass_writes_that_went_by_are_counted() {
    let settings = json!({"scripts": ["a.luau"], "on_failure": "pass"});
    let (mut worker, metrics) = watched(FAILING, settings);
    put(&mut *worker, json!({})).expect("passed");
    assert_eq!(metrics.counted("events_unguarded"), 1);
}
