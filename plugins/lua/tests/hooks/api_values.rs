//! `ev.value`: reading, changing, iterating and replacing values of every kind.

use keepboth_core::value::{Kind, Value};
use serde_json::json;

use crate::harness::*;

#[test]
fn members_are_read_and_written_in_place() {
    let body =
        "v.sum = v.a + v.b.c[2] v.b.c[1] = v.text .. '!' v.gone = nil v.b.new = {deep = {1, 2}}";
    let out = run(body, json!({"a": 1, "b": {"c": [0, 2.5]}, "text": "hi", "gone": true}));
    let expected = json!({
        "a": 1, "b": {"c": ["hi!", 2.5], "new": {"deep": [1, 2]}}, "text": "hi", "sum": 3.5
    });
    assert_eq!(out, Ok(expected));
}

#[test]
fn whole_numbers_are_written_as_integers() {
    assert_eq!(run("v.n = 10 / 2 v.x = 0.5", json!({})), Ok(json!({"n": 5, "x": 0.5})));
    assert_eq!(run("v.big = 2^53", json!({})), Ok(json!({"big": 9_007_199_254_740_992_i64})));
}

#[test]
fn arrays_grow_shrink_and_refuse_holes() {
    assert_eq!(run("v[#v + 1] = 'x' v[1] = nil", json!([1, 2])), Ok(json!([2, "x"])));
    assert_eq!(run("return #v", json!([1, 2])), Ok(json!(2)));
    assert_eq!(run("return #v", json!({"a": 1})), Ok(json!(0)));
    assert_eq!(
        fails("v[4] = 1", json!([1])),
        "value[4]: the array has 1 items; the next one is [2]"
    );
    assert_eq!(
        fails("v[0] = 1", json!([1])),
        "value[0]: the array has 1 items; the next one is [2]"
    );
    assert_eq!(fails("v.x = 1", json!([1])), "value.x: the keys of an array are whole numbers");
    assert_eq!(fails("v[1] = 1", json!({})), "value[1]: the keys of an object are texts");
    assert_eq!(run("return {v[9] == nil, v.x == nil}", json!([1])), Ok(json!([true, true])));
}

#[test]
fn null_is_kb_null_and_not_nil() {
    let out = run("return {v.n == kb.null, v.none == nil, tostring(v.n)}", json!({"n": null}));
    assert_eq!(out, Ok(json!([true, true, "null"])));
    assert_eq!(run("v.n = kb.null", json!({"n": 1})), Ok(json!({"n": null})));
}

#[test]
fn iteration_is_in_the_order_of_keys() {
    let tree = json!({"b": 1, "a": 2, "é": 3, "A": 4});
    for how in ["v", "pairs(v)"] {
        let body = format!("local t = {{}} for k, x in {how} do t[#t+1] = k .. x end return t");
        assert_eq!(run(&body, tree.clone()), Ok(json!(["A4", "a2", "b1", "é3"])), "{how}");
    }
    for how in ["v", "pairs(v)", "ipairs(v)"] {
        let body = format!("local t = {{}} for i, x in {how} do t[i] = x * 2 end return t");
        assert_eq!(run(&body, json!([1, 2])), Ok(json!([2, 4])), "{how}");
    }
    let removing = "for k, x in v do v.b = nil v.new = 1 end";
    assert_eq!(run(removing, json!({"a": 1, "b": 2})), Ok(json!({"a": 1, "new": 1})));
    assert_eq!(
        run("local t = {} for k, x in pairs({7}) do t[k] = x end return t", json!({})),
        Ok(json!([7]))
    );
}

#[test]
fn a_part_is_a_place_and_assigning_it_copies() {
    let body = "v.copy = v.a v.a.x = 2 return nil";
    assert_eq!(run(body, json!({"a": {"x": 1}})), Ok(json!({"a": {"x": 2}, "copy": {"x": 1}})));
    let words = fails("local a = v.a v.a = 1 return a.x", json!({"a": {"x": 1}}));
    assert_eq!(words, "value.a is not there any more");
    assert_eq!(run("v.self = v", json!({"a": 1})), Ok(json!({"a": 1, "self": {"a": 1}})));
}

#[test]
fn equal_parts_are_equal() {
    let body = "return {v.a == v.b, v.a == v.c, v.a ~= v.a}";
    let out = run(body, json!({"a": {"x": [1]}, "b": {"x": [1]}, "c": {"x": [2]}}));
    assert_eq!(out, Ok(json!([true, false, false])));
}

#[test]
fn empty_tables_are_objects_unless_they_were_arrays() {
    let body = "v.o = {} v.a = kb.array({}) v.b = kb.array() v.same = v.list v.t = kb.table(v.list)
        v.d = kb.json.decode('[]')";
    let out = run(body, json!({"list": []})).expect("put");
    assert_eq!(out, json!({"list": [], "o": {}, "a": [], "b": [], "same": [], "t": [], "d": []}));
}

#[test]
fn tables_that_are_no_json_are_refused_with_their_place() {
    for (table, words) in [
        ("{x = {1, 2, y = 3}}", "value.t.x: a table with both items and members"),
        ("{1, nil, 3}", "value.t: a table with holes"),
        ("{[2] = 1}", "value.t: a table with holes or with both items and members"),
        ("{[true] = 1}", "value.t: a key that is a boolean"),
        ("{['a b'] = {print}}", "value.t[\"a b\"][1]: JSON has no function"),
        ("{1/0}", "value.t[1]: JSON has no inf"),
        ("0/0", "value.t: JSON has no NaN"),
        ("'\\xff'", "value.t: a text that is not UTF-8"),
        ("buffer.create(1)", "value.t: JSON has no bytes inside"),
        ("coroutine.create(print)", "value.t: JSON has no thread"),
    ] {
        let found = fails(&format!("v.t = {table}"), json!({}));
        assert!(found.starts_with(words), "{table}: {found}");
    }
}

#[test]
fn metatables_are_not_asked_when_a_table_becomes_json() {
    let body = "v.t = setmetatable({a = 1}, {__index = error, __iter = error, __len = error})";
    assert_eq!(run(body, json!({})), Ok(json!({"t": {"a": 1}})));
}

#[test]
fn the_value_is_replaced_by_assigning_or_returning() {
    assert_eq!(run("ev.value = {new = v.a}", json!({"a": 1})), Ok(json!({"new": 1})));
    assert_eq!(run("return {new = v.a}", json!({"a": 1})), Ok(json!({"new": 1})));
    assert_eq!(
        run("ev.value = {x = 1} ev.value.y = 2 return ev.value", json!(1)),
        Ok(json!({"x": 1, "y": 2}))
    );
    assert_eq!(run("return v.a", json!({"a": {"b": 1}})), Ok(json!({"b": 1})));
    let words = fails("ev.value = nil", json!(1));
    assert_eq!(words, "ev.value: a put has a value; JSON's null is kb.null");
}

#[test]
fn a_value_that_is_only_read_is_not_changed() {
    let mut worker = worker("kb.namespace():on_put(function(ev) local x = ev.value.a end)");
    let value = Value::json(&json!({"a": {"b": 1}}));
    assert_eq!(put_value(&mut *worker, value.clone()), Ok(value));
}

#[test]
fn every_kind_of_value_is_readable_and_writable() {
    let echo = "kb.namespace():on_put(function(ev) ev.value = ev.value end)";
    let double = "kb.namespace():on_put(function(ev) ev.value = ev.value .. ev.value end)";
    let cbor = Value::cbor(&[0xc2, 0x41, 1]).or_else(|_| Value::cbor(&[0xf7])).expect("cbor");
    for value in [
        Value::string("text"),
        Value::number(1.5),
        Value::number(f64::NAN),
        Value::number(-0.0),
        Value::bytes(vec![0, 255]),
        cbor.clone(),
        Value::json(&json!(true)),
        Value::json(&json!(null)),
        Value::json(&json!([1])),
    ] {
        assert_eq!(put_value(&mut *worker(echo), value.clone()), Ok(value));
    }
    let doubled = put_value(&mut *worker(double), Value::string("ab"));
    assert_eq!(doubled, Ok(Value::string("abab")));
    let half = "kb.namespace():on_put(function(ev) return ev.value / 2 end)";
    assert_eq!(put_value(&mut *worker(half), Value::number(3.0)), Ok(Value::number(1.5)));
    let first = "kb.namespace():on_put(function(ev) return buffer.readu8(ev.value, 0) end)";
    assert_eq!(put_value(&mut *worker(first), Value::bytes(vec![7])), Ok(Value::number(7.0)));
    let opaque = "kb.namespace():on_put(function(ev) return kb.cbor.encode(ev.value) end)";
    let bytes = put_value(&mut *worker(opaque), cbor.clone()).expect("bytes");
    assert_eq!((bytes.kind(), bytes.as_bytes()), (Kind::Bytes, cbor.as_bytes()));
    let number = put_value(&mut *worker("kb.namespace():on_put(function() return 0/0 end)"), cbor);
    assert!(number.expect("put").to_number().is_some_and(f64::is_nan));
}

#[test]
fn an_event_tells_who_when_and_what() {
    let body = "return {ev.namespace, ev.key, ev.actor, ev.timestamp, ev.depth}";
    assert_eq!(run(body, json!({})), Ok(json!(["notes", "a", "ada", NOW, 0])));
    let words = fails("return ev.kye", json!({}));
    assert_eq!(
        words,
        "ev has no \"kye\" (did you mean \"key\"?); it has: actor, depth, key, namespace, old, source, timestamp, value"
    );
    assert_eq!(fails("ev.key = 'b'", json!({})), "ev.key is read-only; on_put may change ev.value");
}

#[test]
fn several_handlers_run_in_order_and_see_the_changes_before_them() {
    let source = "local here = kb.namespace('notes')
        here:on_put(function(ev) ev.value.a = 1 end)
        here:on_put(function(ev) return {was = ev.value.a} end)
        here:on_put(function(ev) ev.value.last = ev.value.was + 1 end)";
    assert_eq!(put(&mut *worker(source), json!({})), Ok(json!({"was": 1, "last": 2})));
}

#[test]
fn several_scripts_run_in_the_order_of_the_settings() {
    let add = |s: &str| format!("kb.namespace():on_put(function(ev) return ev.value .. '{s}' end)");
    let scripts = Scripts::new(&[("x.luau", &add("x")), ("y.luau", &add("y"))]);
    let plugin =
        scripts.build(json!({"scripts": ["y.luau", "x.luau"]})).unwrap_or_else(|e| panic!("{e:?}"));
    let mut worker = plugin.worker().expect("worker");
    assert_eq!(put(&mut *worker, json!("")), Ok(json!("yx")));
}

#[test]
fn a_value_that_was_replaced_can_be_put_back() {
    // {"a": undefined, "x": 5}
    let earlier = Value::cbor(b"\xa2\x61a\xf7\x61x\x05").expect("cbor");
    for last in ["ev.value = was", "return was"] {
        let source = format!(
            "kb.namespace():on_put(function(ev)
                local was = ev.value was.x = 6 ev.value = kb.cbor.make({{a = 1}}) {last}
            end)"
        );
        let put = put_value(&mut *worker(&source), earlier.clone()).expect("put");
        assert_eq!(put, Value::cbor(b"\xa2\x61a\xf7\x61x\x06").expect("cbor"), "{last}");
    }
}

#[test]
fn a_whole_value_kept_from_an_earlier_event_is_refused() {
    let source = "local kept
        kb.namespace():on_put(function(ev) if kept then ev.value = kept end kept = ev.value end)";
    let cbor = |text: &[u8]| Value::cbor(text).expect("cbor");
    for values in [
        [Value::json(&json!({"n": 1})), Value::json(&json!({"n": 2}))],
        [cbor(b"\xa1\x61a\xf7"), cbor(b"\xa1\x61b\xf7")],
    ] {
        let mut worker = worker(source);
        let [first, second] = values;
        put_value(&mut *worker, first).expect("kept");
        let refusal = put_value(&mut *worker, second).expect_err("refused");
        assert!(refusal.message.contains("this event is over"), "{refusal}");
    }
}
