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

#[test]
fn a_loop_whose_order_depends_on_addresses_is_refused_in_a_conflict_and_nowhere_else() {
    let keyed =
        "local function keyed() return { [{}] = 1, [print] = 2 } end local here = kb.namespace()";
    for body in [
        "for k, v in keyed() do end",
        "for k, v in pairs(keyed()) do end",
        "for k, v in next, keyed() do end",
        "local k = next(keyed())",
        "for k, v in setmetatable(keyed(), {}) do end",
        "table.foreach(keyed(), print)",
    ] {
        let script = format!("{keyed} here:on_conflict(function(c) {body} return 1 end)");
        let mut worker = worker(&script);
        let failure = worker.conflict(&a_conflict(None, vec![Value::string("x")]));
        let failure = failure.expect_err(body).0;
        let words = "as key has another order on each node; on_conflict must not depend on it";
        assert!(
            failure.contains(words) && failure.contains("scripts/a.luau:1 "),
            "{body}: {failure}"
        );
        let script = format!("{keyed} here:on_put(function(ev) {body} return 1 end)");
        assert_eq!(put(&mut *self::worker(&script), json!({})), Ok(json!(1)), "{body}");
    }
    let at_the_top = format!("{keyed} for k in keyed() do end here:on_conflict(function(c) end)");
    let scripts = Scripts::new(&[("a.luau", &at_the_top)]);
    let mistakes = scripts.build(json!({"scripts": ["a.luau"]})).err().expect("a mistake");
    assert!(mistakes[0].message.contains("another order on each node"), "{mistakes:?}");
}

#[test]
fn loops_whose_order_is_that_of_their_keys_run_in_a_conflict() {
    let script = "kb.namespace():on_conflict(function(c)
        local sum = 0
        for _, x in { 1, 2, a = 3, [true] = 4, [0.5] = 5 } do sum += x end
        for _, x in pairs({ 10 }) do sum += x end
        for _, x in ipairs({ 100 }) do sum += x end
        for _, x in setmetatable({ [{}] = 1 }, { __iter = function() return next, { 1000 } end }) do sum += x end
        for k, x in c.sides[1].value do sum += x end
        local n = 0
        for x in function() n += 1 return if n < 3 then n else nil end do sum += x end
        return sum
    end)";
    let merged = conflict(&mut *worker(script), json!({}), &[json!({"a": 10000}), json!({})]);
    assert_eq!(merged, Some(json!(11128)));
}
