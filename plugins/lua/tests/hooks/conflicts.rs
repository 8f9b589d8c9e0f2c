//! `on_conflict`: what it is given, what it may return.

use keepboth_core::value::Value;
use serde_json::json;

use crate::harness::*;

#[test]
fn a_conflict_shows_key_base_and_sides() {
    let source = "kb.namespace():on_conflict(function(c)
        return {c.key, c.namespace, c.base.n, #c.sides, c.sides[2].value.n, c.sides[2].version, #c.sides[1].address}
    end)";
    let mut worker = worker(source);
    let out = conflict(&mut *worker, json!({"n": 1}), &[json!({"n": 2}), json!({"n": 3})]);
    assert_eq!(out, Some(json!(["a", "notes", 1, 2, 3, version(1).to_string(), 64])));
}

#[test]
fn nil_keeps_all_and_the_first_value_merges() {
    let source = "local here = kb.namespace()
        here:on_conflict(function(c) return nil end)
        here:on_conflict(function(c) if c.base == nil then return 'first' end end)
        here:on_conflict(function(c) if c.base == nil then return 'second' end end)";
    let mut worker = worker(source);
    assert_eq!(conflict(&mut *worker, json!(null), &[json!(1), json!(2)]), Some(json!("first")));
    assert_eq!(conflict(&mut *worker, json!(1), &[json!(1), json!(2)]), None);
}

#[test]
fn a_side_is_returned_as_it_is_whatever_its_kind() {
    let mut worker = worker("kb.namespace():on_conflict(function(c) return c.sides[2].value end)");
    for value in [
        Value::bytes(vec![1, 2]),
        Value::string("x"),
        Value::number(f64::INFINITY),
        Value::json(&json!({"a": [1]})),
        Value::cbor(&[0xf7]).expect("undefined"),
    ] {
        let sides = vec![Value::string("one"), value.clone()];
        assert_eq!(worker.conflict(&a_conflict(None, sides)), Ok(Some(value)));
    }
}

#[test]
fn nothing_in_a_conflict_can_be_changed() {
    for body in ["c.sides[1].value.x = 1", "c.sides[1] = nil", "c.key = 1", "c.sides[1].value = 1"]
    {
        let mut worker = worker(&format!("kb.namespace():on_conflict(function(c) {body} end)"));
        let sides = vec![Value::json(&json!({})), Value::json(&json!([]))];
        let words = worker.conflict(&a_conflict(None, sides)).expect_err(body).0;
        assert!(words.contains("read-only") || words.contains("readonly"), "{words}");
    }
}

#[test]
fn a_failure_is_told_with_its_place() {
    let mut worker = worker("kb.namespace():on_conflict(function(c)\nreturn c.base.x end)");
    let failure = worker.conflict(&a_conflict(None, vec![Value::string("x")])).expect_err("failed");
    assert_eq!(
        without_line(&failure.0),
        "hook failed: scripts/a.luau:2 (on_conflict, namespace notes, key \"a\"): attempt to index nil with 'x'"
    );
    let mut worker = self::worker("kb.namespace():on_conflict(function(c) return {print} end)");
    let failure = worker.conflict(&a_conflict(None, vec![Value::string("x")])).expect_err("failed");
    assert!(failure.0.contains("the merged value[1]: JSON has no function"), "{failure}");
}
