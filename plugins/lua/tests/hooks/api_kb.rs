//! `kb`: reject, json, hash, merge3, options, put and delete, and what libraries give.

use keepboth_core::plugin::{Effect, Level, StateChange, Worker};
use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

use crate::harness::*;

fn returns(expression: &str) -> Json {
    run(&format!("return {expression}"), json!({})).unwrap_or_else(|e| panic!("{}", e.message))
}

#[test]
fn reject_refuses_with_code_words_and_line() {
    let refusal = run("\nkb.reject('TITLE_REQUIRED', 'title is required')", json!({}));
    let refusal = refusal.expect_err("refused");
    assert_eq!(refusal.code, Code::HookRefused);
    assert_eq!(refusal.reason.as_deref(), Some("TITLE_REQUIRED"));
    assert_eq!(&*refusal.message, "title is required (scripts/a.luau:3)");
    let refusal = run("kb.reject('ALONE')", json!({})).expect_err("refused");
    assert_eq!(&*refusal.message, "ALONE (scripts/a.luau:2)");
}

#[test]
fn on_delete_refuses_and_has_no_value() {
    let source = "kb.namespace():on_delete(function(ev)
        if ev.key == 'keep' then kb.reject('KEPT', 'no') end
        if ev.key == 'value' then return ev.value end end)";
    let mut worker = worker(source);
    assert_eq!(delete(&mut *worker, "other"), Ok(()));
    let refusal = delete(&mut *worker, "keep").expect_err("refused");
    assert_eq!((refusal.code, &*refusal.message), (Code::HookRefused, "no (scripts/a.luau:2)"));
    let refusal = delete(&mut *worker, "value").expect_err("no value");
    assert!(refusal.message.contains("ev has no \"value\""), "{}", refusal.message);
    assert!(refusal.message.contains("(on_delete, namespace notes, key \"value\")"));
}

#[test]
fn reject_in_a_hook_that_cannot_refuse_is_an_error() {
    let mut worker = worker("kb.namespace():after_put(function() kb.reject('NO') end)");
    let failure = after(&mut *worker, "a", Some(Value::string("x"))).1.expect_err("failed");
    assert!(failure.0.contains("kb.reject: after_put cannot refuse"), "{failure}");
}

#[test]
fn json_is_encoded_in_its_canonical_form() {
    assert_eq!(
        returns("kb.json.encode({b = {1, 2.5}, a = kb.null, ['é'] = 'x'})"),
        json!("{\"a\":null,\"b\":[1,2.5],\"é\":\"x\"}")
    );
    assert_eq!(
        run("return kb.json.encode(v)", json!({"b": 1, "a": []})),
        Ok(json!("{\"a\":[],\"b\":1}"))
    );
    assert_eq!(returns("kb.json.decode(' {\"a\": [1, null, {}]} ')"), json!({"a": [1, null, {}]}));
    assert_eq!(returns("kb.json.decode('[1,2]')[2]"), json!(2));
    assert_eq!(fails("kb.json.encode({0/0})", json!({})), "value[1]: JSON has no NaN");
    assert_eq!(
        fails("kb.json.decode('{\"a\":1,\"a\":2}')", json!({})),
        "kb.json.decode: duplicate key \"a\" at line 1 column 10"
    );
    let words = fails("kb.json.decode(string.rep(' ', 300000))", json!({}));
    assert_eq!(words, "kb.json.decode: 300,000 bytes, the limit is 262,144");
}

#[test]
fn hash_is_blake3_in_hex() {
    let hex = blake3::hash(b"abc").to_hex().to_string();
    assert_eq!(returns("kb.hash('abc')"), json!(hex));
    assert_eq!(returns("kb.hash(buffer.fromstring('abc'))"), json!(hex));
    assert_eq!(fails("kb.hash(1)", json!({})), "kb.hash: a text or a buffer, not integer");
}

#[test]
fn table_makes_a_plain_copy() {
    let body = "local t = kb.table(v.list) table.insert(t, 3) table.sort(t, function(a, b) return a > b end)
        v.list = t";
    assert_eq!(run(body, json!({"list": [1, 2]})), Ok(json!({"list": [3, 2, 1]})));
}

#[test]
fn options_are_read_only_and_as_configured() {
    let source = "kb.namespace():on_put(function(ev) return {kb.options.a.b[1], kb.options.none == nil} end)";
    let mut good = worker_with(source, json!({"options": {"a": {"b": ["x"]}}}));
    assert_eq!(put(&mut *good, json!(1)), Ok(json!(["x", true])));
    let source = "kb.namespace():on_put(function(ev) kb.options.a.b[1] = 2 end)";
    let mut bad = worker_with(source, json!({"options": {"a": {"b": ["x"]}}}));
    assert!(refused(&mut *bad, json!(1)).contains("attempt to modify a readonly table"));
}

#[test]
fn merge3_takes_changes_and_leaves_clashes() {
    assert_eq!(
        returns("kb.merge3({a=1,b=1,c=1}, {a=2,b=1,c=1}, {a=1,b=1,d={}})"),
        json!({"a": 2, "b": 1, "d": {}})
    );
    assert_eq!(returns("kb.merge3({a=1}, {a=2}, {a=3}) == nil"), json!(true));
    assert_eq!(returns("kb.merge3(nil, {a=1}, {b=2})"), json!({"a": 1, "b": 2}));
    assert_eq!(returns("kb.merge3({a=1}, {}, {a=1, b=kb.array()})"), json!({"b": []}));
    let decided = "kb.merge3({n={x=1}}, {n={x=5}}, {n={x=3}}, function(path, base, a, b) return path .. base + a + b end)";
    assert_eq!(returns(decided), json!({"n": {"x": "n.x9"}}));
    assert_eq!(returns("kb.merge3({a=1}, {a=2}, {a=3}, function() end) == nil"), json!(true));
    assert_eq!(returns("kb.merge3('x', 'x', 'y')"), json!("y"));
    assert_eq!(returns("kb.merge3(nil, buffer.create(1), {}) == nil"), json!(true));
    assert_eq!(
        fails("kb.merge3({a=1}, {a=2}, {a=3}, function() return print end)", json!({})),
        "the decision on \"a\": JSON has no function"
    );
}

#[test]
fn after_hooks_ask_for_writes() {
    let source = "local here = kb.namespace()
        here:after_put(function(ev)
            kb.put('other', ev.key .. '/' .. ev.version, {v = ev.value.x, part = ev.value.part, who = ev.actor})
            kb.put('other', 'text', 'hello') kb.delete('notes', 'b') end)
        here:after_delete(function(ev) kb.put('other', ev.key, ev.version) end)";
    let mut worker = worker(source);
    let value = Value::json(&json!({"x": 1, "part": [2]}));
    let (writes, result) = after(&mut *worker, "k", Some(value));
    assert_eq!(result, Ok(()));
    let hex = version(7).to_string();
    let tree = json!({"v": 1, "part": [2], "who": "ada"});
    assert_eq!(
        writes,
        [
            effect("other", &format!("k/{hex}"), Some(Value::json(&tree))),
            effect("other", "text", Some(Value::string("hello"))),
            effect("notes", "b", None),
        ]
    );
    let (writes, _) = after(&mut *worker, "k", None);
    assert_eq!(writes, [effect("other", "k", Some(Value::string(hex)))]);
}

fn effect(namespace: &str, name: &str, value: Option<Value>) -> Effect {
    Effect {
        namespace: keepboth_core::name::Namespace::new(namespace).expect("namespace"),
        name: keepboth_core::name::Name::new(name).expect("name"),
        value,
    }
}

#[test]
fn values_are_read_only_after_a_write() {
    for body in ["ev.value.x = 1", "ev.value = 1"] {
        let mut worker = worker(&format!("kb.namespace():after_put(function(ev) {body} end)"));
        let (_, result) = after(&mut *worker, "a", Some(Value::json(&json!({}))));
        let words = result.expect_err("read-only").0;
        assert!(
            words.contains("the value is read-only in after_put; only on_put changes it"),
            "{words}"
        );
    }
}

#[test]
fn writes_are_for_after_hooks_only_and_bounded() {
    let words = "kb.put: writes are asked for in after_put, after_delete and timers only";
    assert_eq!(fails("kb.put('notes', 'b', 1)", json!({})), words);
    assert!(
        fails("kb.delete('notes', 'b')", json!({})).starts_with("kb.delete: writes are asked for")
    );
    for (call, words) in [
        ("kb.put('No!', 'b', 1)", "kb.put: \"No!\" is not a namespace's name"),
        ("kb.put('notes', '', 1)", "kb.put: the key is empty"),
        ("kb.put('notes', 'b', nil)", "kb.put: the value is nil; kb.delete deletes"),
        ("kb.put('notes', 'b', {print})", "value[1]: JSON has no function"),
        (
            "for i = 1, 2000 do kb.delete('notes', 'b') end",
            "kb.delete: 1,000 writes for one event are the limit",
        ),
    ] {
        let mut worker = worker(&format!("kb.namespace():after_put(function(ev) {call} end)"));
        let (writes, result) = after(&mut *worker, "a", Some(Value::string("x")));
        assert!(result.as_ref().is_err_and(|f| f.0.contains(words)), "{call}: {result:?}");
        assert_eq!(writes, [], "a hook that fails asks for nothing");
    }
}

#[test]
fn texts_of_values_are_readable_and_never_addresses() {
    assert_eq!(returns("tostring({b = 1, a = {true, 'x'}})"), json!("{a: [true, \"x\"], b: 1}"));
    assert_eq!(returns("tostring(print)"), json!("function"));
    assert_eq!(returns("tostring(kb.null) .. tostring(nil) .. tostring(1.5)"), json!("nullnil1.5"));
    assert_eq!(returns("string.format('%s|%5.1f|%q', {1}, 2.25, 'q')"), json!("[1]|  2.2|\"q\""));
    assert_eq!(run("return `{v}|{v.a}`", json!({"a": [1]})), Ok(json!("{\"a\":[1]}|[1]")));
    assert_eq!(
        returns("tostring(setmetatable({}, {__tostring = function() return 'mine' end}))"),
        json!("mine")
    );
    assert_eq!(returns("tostring(buffer.create(3))"), json!("buffer of 3 bytes"));
}

#[test]
fn a_caught_error_is_a_text_with_its_place() {
    let body = "local ok, e = pcall(function() ev.nope = 1 end) return {ok, e}";
    let words = "scripts/a.luau:2: ev.nope is read-only; on_put may change ev.value";
    assert_eq!(run(body, json!({})), Ok(json!([false, words])));
    let body = "local ok, e = pcall(error, {code = 5}) return {ok, e.code}";
    assert_eq!(run(body, json!({})), Ok(json!([false, 5])));
    let body = "return {select('#', pcall(function() return 1, nil, nil end)), (select(2, xpcall(error, function(e) return e .. '!' end, 'x')))}";
    assert_eq!(run(body, json!({})), Ok(json!([4, "x!"])));
}

#[test]
fn coroutines_work_inside_a_hook() {
    let body = "local t = {} for x in coroutine.wrap(function() for i = 1, 3 do
        pcall(coroutine.yield, i) end end) do t[#t+1] = x end return t";
    assert_eq!(run(body, json!({})), Ok(json!([1, 2, 3])));
}

#[test]
fn the_libraries_that_are_wrapped_still_do_their_work() {
    assert_eq!(returns("{string.find('abcabc', 'c', 4)}"), json!([6, 6]));
    assert_eq!(returns("{('a.b'):find('.', 1, true)}"), json!([2, 2]));
    assert_eq!(returns("('a,b'):split(',')"), json!(["a", "b"]));
    assert_eq!(returns("('a,b'):split()"), json!(["a", "b"]));
    assert_eq!(returns("table.move({1,2,3}, 2, 3, 1)"), json!([2, 3, 3]));
    assert_eq!(returns("table.move({1,2,3}, 2, 3, 1, {})"), json!([2, 3]));
    let words = fails("string.find()", json!({}));
    assert_eq!(words, "invalid argument #1 to 'find' (string expected, got nil)");
}

#[test]
fn on_state_is_told_what_was_what_is_and_why() {
    let source = "kb.namespace():on_state(function(ev)
        if ev.now == 'synced' then kb.put('x', 'y', 1) end
        error(ev.namespace .. ': ' .. ev.before .. ' -> ' .. ev.now .. ', ' .. ev.reason) end)";
    let mut worker = worker(source);
    let told = |worker: &mut dyn Worker, now| {
        let (before, reason) = (Level::Empty, "no peer is connected".to_owned());
        let change = StateChange { namespace: namespace(), before, now, reason };
        without_line(&worker.state(&change).expect_err("the script fails").0)
    };
    let words = told(&mut *worker, Level::NotSynced);
    let place = "hook failed: scripts/a.luau:3 (on_state, namespace notes): ";
    assert_eq!(words, format!("{place}notes: empty -> not_synced, no peer is connected"));
    let words = told(&mut *worker, Level::Synced);
    assert!(words.contains("asked for in after_put, after_delete and timers only"), "{words}");
}

#[test]
fn a_fingerprint_tells_of_script_and_settings() {
    let print = |source: &str, settings: Json| {
        let scripts = Scripts::new(&[("a.luau", source)]);
        scripts.build(settings).unwrap_or_else(|e| panic!("{e:?}")).fingerprint()
    };
    let source = "kb.namespace():on_put(function() end)";
    let plain = json!({"scripts": ["a.luau"]});
    let same = print(source, plain.clone());
    assert_eq!(same, print(source, plain.clone()));
    assert_ne!(same, print(&format!("{source} "), plain));
    assert_ne!(same, print(source, json!({"scripts": ["a.luau"], "options": {"a": 1}})));
}
