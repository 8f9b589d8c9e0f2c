//! Values with what JSON does not have: read, changed where they stand, made and written back.

use keepboth_core::value::{Kind, Value};
use serde_json::json;

use crate::harness::*;

/// `{"born": 0("2024-01-01T00:00:00Z"), "big": 2(h'010000000000000000'), "raw": h'00ff',
/// "tags": 258([1, 2]), 5: "five", "list": [1, {"a": undefined}]}`, each key and value by itself.
fn rich() -> Value {
    let mut bytes = vec![0xa6];
    for part in [
        &b"\x64born\xc0\x742024-01-01T00:00:00Z"[..],
        b"\x63big\xc2\x49\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x63raw\x42\x00\xff",
        b"\x64tags\xd9\x01\x02\x82\x01\x02",
        b"\x05\x64five",
        b"\x64list\x82\x01\xa1\x61a\xf7",
    ] {
        bytes.extend_from_slice(part);
    }
    Value::cbor(&bytes).expect("cbor")
}

fn on_rich(body: &str) -> Value {
    let source = format!("kb.namespace():on_put(function(ev) local v = ev.value\n{body}\nend)");
    put_value(&mut *worker(&source), rich()).unwrap_or_else(|e| panic!("{body}: {}", e.message))
}

fn fails_on_rich(body: &str) -> String {
    let source = format!("kb.namespace():on_put(function(ev) local v = ev.value\n{body}\nend)");
    let refusal = put_value(&mut *worker(&source), rich()).expect_err("refused");
    without_line(&refusal.message)
}

#[test]
fn every_part_can_be_read() {
    let body = "return {typeof(v), typeof(v.born), v.born.ms, tostring(v.born), typeof(v.big),
        tostring(v.big), v.big:number(), buffer.len(v.raw), typeof(v.tags), v.tags:has(2),
        v.tags:has(3), #v.tags, v[5], v.list[1], typeof(v.list[2].a), v.none == nil, #v.list}";
    let expected = json!([
        "cbor",
        "date",
        1_704_067_200_000_i64,
        "2024-01-01T00:00:00Z",
        "integer",
        "18446744073709551616",
        18_446_744_073_709_551_616.0,
        2,
        "set",
        true,
        false,
        2,
        "five",
        1,
        "undefined",
        true,
        2
    ]);
    assert_eq!(on_rich(body), Value::json(&expected));
    let body = "local out = {} for k, x in v do table.insert(out, tostring(k)) end
        for x in v.tags do table.insert(out, x) end return out";
    assert_eq!(
        on_rich(body),
        Value::json(&json!(["5", "big", "raw", "born", "list", "tags", 1, 2]))
    );
}

#[test]
fn a_value_that_is_only_read_is_not_changed() {
    for body in ["local x = v.born", "return v", "ev.value = v", "for k, x in v do local y = x end"]
    {
        assert_eq!(on_rich(body), rich(), "{body}");
    }
}

#[test]
fn a_number_that_is_written_back_is_the_same_item() {
    for number in [
        &b"\x18\x2a"[..],
        b"\x1b\x00\x03\x8d\x7e\xa4\xc6\x80\x01",
        b"\x1b\x00\x20\x00\x00\x00\x00\x00\x00",
        b"\x1b\x00\x20\x00\x00\x00\x00\x00\x01",
        b"\xfb\x43\x41\xc3\x79\x37\xe0\x80\x00",
        b"\xfb\xc3\x41\xc3\x79\x37\xe0\x80\x00",
        b"\xf9\x80\x00",
        b"\xf9\x3e\x00",
    ] {
        let bytes = [&b"\xa2\x61a\xf7\x61x"[..], number].concat();
        let value = Value::cbor(&bytes).expect("cbor");
        let source = "kb.namespace():on_put(function(ev) ev.value.x = ev.value.x end)";
        let put = put_value(&mut *worker(source), value.clone()).expect("put");
        assert_eq!(put, value, "{number:02x?}");
    }
}

#[test]
fn parts_are_changed_where_they_stand() {
    let changed = on_rich(
        "v.born = kb.cbor.date(1000) v.big = kb.cbor.int('-99999999999999999999') v.raw = nil
         v.tags:add('new') v.tags:remove(1) v.tags:add(2) v[5] = v.list v.list[2].a = {b = kb.null} v.list[3] = 7",
    );
    let expected = "local out = ev.value return {tostring(out), out.list == out[5]}";
    let source = format!("kb.namespace():on_put(function(ev) {expected} end)");
    let shown = put_value(&mut *worker(&source), changed.clone()).expect("put");
    assert_eq!(
        shown.to_json(),
        Some(json!([
            "{[5]: [1, {a: undefined}], big: -99999999999999999999, born: 1970-01-01T00:00:01Z, list: [1, {a: {b: null}}, 7], tags: set(2, \"new\")}",
            false
        ]))
    );
    assert_eq!(changed.kind(), Kind::Cbor);
    assert_eq!(Value::from_canonical(Kind::Cbor, changed.as_bytes().clone()), Ok(changed));
}

#[test]
fn a_value_is_made_of_a_table() {
    let made = on_rich(
        "return kb.cbor.make({at = kb.cbor.date(1500), n = kb.cbor.int('123456789012345678901'),
            raw = buffer.fromstring('x'), tags = kb.cbor.set({'b', 'a', 'b'}), [7] = {1, 2}, u = kb.cbor.undefined,
            t = kb.cbor.tag(32, 'https://example.org')})",
    );
    let mut expected = vec![0xa7];
    for part in [
        &b"\x07\x82\x01\x02"[..],
        b"\x61n\xc2\x49\x06\xb1\x4e\x9f\x81\x2f\x36\x6c\x35",
        b"\x61t\xd8\x20\x73https://example.org",
        b"\x61u\xf7",
        b"\x62at\xc1\xf9\x3e\x00",
        b"\x63raw\x41x",
        b"\x64tags\xd9\x01\x02\x82\x61a\x61b",
    ] {
        expected.extend_from_slice(part);
    }
    assert_eq!(made, Value::cbor(&expected).expect("cbor"));
}

#[test]
fn bytes_are_decoded_and_encoded() {
    let body = "local bytes = kb.cbor.encode({1, 'x'}) return {buffer.len(bytes), kb.cbor.decode(bytes)[2]}";
    assert_eq!(on_rich(body), Value::json(&json!([4, "x"])));
    let body = "return kb.cbor.encode(v) ";
    assert_eq!(on_rich(body).as_bytes(), rich().as_bytes());
    let words = fails_on_rich("kb.cbor.decode(buffer.fromstring('\\xff'))");
    assert!(words.contains("kb.cbor.decode: cbor, byte 0"), "{words}");
}

#[test]
fn dates_and_integers_are_compared() {
    let body = "local d, i = kb.cbor.date, kb.cbor.int
        return {d(1) < d(2), d(2) <= d(1), d(5) == d(5), i('99999999999999999999') > i('18446744073709551616'),
        i('-99999999999999999999') < i('-18446744073709551616'), i('99999999999999999999') == i('99999999999999999999'), i('5') == 5}";
    assert_eq!(on_rich(body), Value::json(&json!([true, false, true, true, true, true, true])));
}

#[test]
fn what_is_no_cbor_is_refused_with_its_place() {
    for (body, words) in [
        ("v.x = print", "value.x: CBOR has no function"),
        ("v.x = {a = {print}}", "value.x.a[1]: CBOR has no function"),
        ("v.list[5] = 1", "value[5]: the array has 2 items; the next one is [3]"),
        ("v[{}] = 1", "a key that is a table"),
        ("v.x = '\\xff'", "value.x: a text that is not UTF-8; bytes are a buffer"),
        ("local t = {} t.t = t v.x = t", "value.x.t: a table that contains itself"),
        ("for i = 1, 100 do v.x = v end", "value.x: more than 64 levels"),
        (
            "return {v.born}",
            "ev.value[1]: JSON has no such part; make the whole value with kb.cbor.make",
        ),
        ("kb.cbor.int('1.5')", "kb.cbor.int: not a whole number in decimal"),
        ("kb.cbor.date(0/0)", "kb.cbor.date: NaN is no time"),
        ("kb.cbor.tag(-1, 1)", "kb.cbor.tag: -1 is no tag"),
        ("kb.cbor.set(5)", "kb.cbor.set: a list of items, not 5"),
        ("return kb.cbor.tag(5, 1).nope", "a tagged item has no \"nope\""),
        ("return ev", "ev.value: an event is no value"),
    ] {
        let found = fails_on_rich(body);
        assert!(found.contains(words), "{body}: {found}");
    }
}

#[test]
fn a_cbor_value_is_read_only_after_the_write_and_over_with_its_call() {
    let mut worker = worker("kb.namespace():after_put(function(ev) ev.value.x = 1 end)");
    let (_, result) = after(&mut *worker, "a", Some(rich()));
    assert!(result.is_err_and(|e| e.0.contains("the value is read-only in after_put")));
    let source = "local kept kb.namespace():on_put(function(ev)
        if kept then return kept.list end kept = ev.value end)";
    let mut worker = self::worker(source);
    put_value(&mut *worker, rich()).expect("kept");
    let refusal = put_value(&mut *worker, rich()).expect_err("over");
    assert!(refusal.message.contains("this event is over"), "{}", refusal.message);
}

#[test]
fn a_conflict_of_cbor_values_is_merged_by_hand() {
    let source = "kb.namespace():on_conflict(function(c)
        local tags = kb.cbor.set({})
        for _, side in c.sides do for tag in side.value.tags do tags:add(tag) end end
        return kb.cbor.make({tags = tags, latest = c.sides[2].value.born}) end)";
    let mut worker = worker(source);
    let merged = worker.conflict(&a_conflict(None, vec![rich(), rich()])).expect("merged");
    let shown = "kb.namespace():on_put(function(ev) return tostring(ev.value) end)";
    let shown = put_value(&mut *self::worker(shown), merged.expect("a value")).expect("put");
    assert_eq!(shown, Value::string("{tags: set(1, 2), latest: 2024-01-01T00:00:00Z}"));
}
