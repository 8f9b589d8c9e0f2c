//! Scripts that mean harm: each ends in its clear error, and the next good call works.

use serde_json::json;

use crate::harness::*;

/// Runs a bad body on `{"bad":true}` and then a good call on the same worker; the words of the
/// first one.
pub fn survives(body: &str) -> String {
    survives_with(body, json!({"memory_limit": 4_194_304}))
}

fn survives_with(body: &str, settings: serde_json::Value) -> String {
    let source = format!(
        "kb.namespace():on_put(function(ev)\nif ev.value.bad then\n{body}\nend\nev.value.good = true\nend)"
    );
    let mut worker = worker_with(&source, settings);
    let words = refused(&mut *worker, json!({"bad": true}));
    let good = put(&mut *worker, json!({"n": 1}));
    assert_eq!(good.expect("the next call works"), json!({"n": 1, "good": true}), "{words}");
    words
}

pub fn stopped_by_time(body: &str) {
    let words = survives_with(body, json!({"time_limit_ms": 40, "memory_limit": 4_194_304}));
    assert!(words.ends_with("took longer than 40 ms and was stopped"), "{words}");
    assert!(words.starts_with("hook failed: scripts/a.luau:"), "{words}");
}

pub fn stopped_by_memory(body: &str) {
    let words = survives_with(body, json!({"time_limit_ms": 5_000, "memory_limit": 4_194_304}));
    assert!(words.ends_with("needed more than 4 MiB and was stopped"), "{words}");
}

pub fn fails_with(body: &str, end: &str) {
    let words = survives(body);
    assert!(words.contains(end), "{words}");
    assert!(!words.contains("0x"), "{words}");
}

#[test]
fn hostile_a_loop_is_stopped() {
    stopped_by_time("while true do end");
}

#[test]
fn hostile_a_loop_in_pcall_is_stopped() {
    stopped_by_time("while true do pcall(function() while true do end end) end");
}

#[test]
fn hostile_a_caught_time_limit_still_refuses() {
    stopped_by_time("pcall(function() while true do end end)");
}

#[test]
fn hostile_nested_pcalls_that_all_go_on_are_stopped() {
    stopped_by_time("local function f() pcall(f) pcall(f) while true do end end f()");
}

#[test]
fn hostile_a_loop_in_an_xpcall_handler_is_stopped() {
    stopped_by_time("xpcall(error, function() while true do end end)");
}

#[test]
fn hostile_a_pattern_bomb_is_stopped() {
    stopped_by_time("string.find(string.rep('a', 200000), string.rep('a-', 30) .. 'b')");
}

#[test]
fn hostile_a_loop_of_coroutines_is_stopped() {
    stopped_by_time(
        "while true do local co = coroutine.create(function() while true do coroutine.yield() end end)
         for i = 1, 100 do coroutine.resume(co) end end",
    );
}

#[test]
fn hostile_a_loop_inside_a_coroutine_is_stopped() {
    stopped_by_time("coroutine.resume(coroutine.create(function() while true do end end))");
    stopped_by_time("pcall(coroutine.wrap(function() while true do end end))");
}

#[test]
fn hostile_a_metatable_that_loops_is_stopped() {
    stopped_by_time(
        "local t = setmetatable({}, {__index = function() while true do end end}) local x = t.a",
    );
    stopped_by_time(
        "local t = setmetatable({}, {__eq = function() while true do end end}) local x = t == setmetatable({}, getmetatable(t))",
    );
}

#[test]
fn hostile_gsub_with_a_looping_callback_is_stopped() {
    stopped_by_time("string.gsub('abc', '.', function() while true do end end)");
}

#[test]
fn hostile_a_comparator_that_loops_is_stopped() {
    stopped_by_time("table.sort({3, 2, 1}, function() while true do end end)");
}

#[test]
fn hostile_a_decision_of_merge3_that_loops_is_stopped() {
    stopped_by_time("kb.merge3({a=1}, {a=2}, {a=3}, function() while true do end end)");
}

#[test]
fn hostile_a_plain_search_of_long_texts_is_refused() {
    let body = "local s = string.rep('a', 1000000) string.find(s, string.rep('a', 500000) .. 'b', 1, true)";
    fails_with(
        body,
        "scripts/a.luau:3 (on_put, namespace notes, key \"a\"): string.find: the texts are too long to be searched",
    );
    fails_with(
        "string.split(string.rep('a', 1000000), string.rep('a', 500000) .. 'b')",
        "string.split: the texts are too long to be searched",
    );
}

#[test]
fn hostile_a_move_of_countless_items_is_refused() {
    fails_with("table.move({}, 1, 2^31 - 1, 1)", "table.move: too many items at once");
}

#[test]
fn hostile_a_string_bomb_is_stopped() {
    stopped_by_memory("local s = 'x' while true do s = s .. s end");
    stopped_by_memory("string.rep('x', 2^30)");
}

#[test]
fn hostile_a_table_bomb_is_stopped() {
    stopped_by_memory("local t = {} while true do t[#t + 1] = {} end");
    stopped_by_memory("table.create(2^26, 0)");
    stopped_by_memory("buffer.create(2^29)");
}

#[test]
fn hostile_a_caught_memory_limit_still_refuses() {
    stopped_by_memory("pcall(string.rep, 'x', 2^30)");
    stopped_by_memory("while true do pcall(string.rep, 'x', 2^30) end");
    stopped_by_memory("xpcall(string.rep, function() return 'fine' end, 'x', 2^30)");
    stopped_by_memory("coroutine.resume(coroutine.create(function() string.rep('x', 2^30) end))");
    stopped_by_memory("pcall(coroutine.wrap(function() string.rep('x', 2^30) end))");
}

#[test]
fn hostile_values_built_outside_the_vm_are_bounded_too() {
    let body = "local s = string.rep('x', 200000) for i = 1, 1e9 do ev.value[tostring(i)] = s end";
    let words = survives_with(body, json!({"time_limit_ms": 5_000, "memory_limit": 4_194_304}));
    assert!(words.ends_with("this call built more than 4 MiB of values"), "{words}");
}

#[test]
fn hostile_deep_recursion_is_an_error() {
    fails_with("local function f() return 1 + f() end f()", "stack overflow");
    fails_with(
        "local t = {} setmetatable(t, {__index = function(t, k) return t[k .. 'x'] end}) local x = t.a",
        "overflow",
    );
    fails_with("local function f(s) return string.gsub('a', 'a', f) end f()", "overflow");
    fails_with(
        "local function f() kb.merge3({a=1}, {a=2}, {a=3}, f) end f()",
        "called in a decision",
    );
    fails_with("local function f() assert(pcall(f)) end f()", "too deep in nested calls");
}

#[test]
fn hostile_deep_calls_through_the_host_fit_a_small_stack() {
    let deep = || {
        fails_with("local function f() return string.gsub('a', 'a', f) end f()", "overflow");
        fails_with(
            "local function f() return tostring(setmetatable({}, {__tostring = f})) end f()",
            "overflow",
        );
        let table = "local t = {} for i = 1, 60 do t = {t} end";
        let body =
            format!("{table} kb.merge3({{a=1}}, {{a=t}}, {{a={{t}}}}, function() return t end)");
        let words = survives(&format!("{body} error('done')"));
        assert!(words.ends_with("done"), "{words}");
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(deep).expect("thread");
    thread.join().expect("no overflow");
}

#[test]
fn hostile_error_objects_that_loop_are_stopped() {
    stopped_by_time("error(setmetatable({}, {__tostring = function() while true do end end}))");
}

#[test]
fn hostile_error_objects_show_no_address() {
    fails_with("error({})", "an error that is a table; give error() a text");
    fails_with("error(print)", "an error that is a function; give error() a text");
    fails_with("error()", "an error without words");
}

#[test]
fn hostile_a_huge_error_message_is_cut() {
    let words = survives("error(string.rep('long\\n', 100000))");
    assert!(words.len() < 700 && words.ends_with('…') && !words.contains('\n'), "{words}");
}

#[test]
fn hostile_libraries_cannot_be_poisoned() {
    for body in [
        "string.format = nil",
        "math.floor = function() return 1 end",
        "kb.reject = function() end",
        "kb.log.info = nil",
        "kb.options.x = 1",
        "_G.tostring = nil",
        "rawset(kb, 'reject', nil)",
        "getmetatable('').__index = {}",
        "getmetatable('').__index.find = nil",
        "table.insert(kb.options, 1)",
    ] {
        fails_with(body, "readonly");
    }
    fails_with("setmetatable(kb, {})", "protected metatable");
    fails_with("setmetatable(ev, {})", "table expected");
    fails_with("getmetatable(ev).x = 1", "attempt to index boolean with 'x'");
}

#[test]
fn hostile_what_loads_code_or_looks_outside_is_not_there() {
    for name in [
        "require",
        "loadstring",
        "load",
        "dofile",
        "getfenv",
        "setfenv",
        "newproxy",
        "os",
        "io",
        "debug",
        "collectgarbage",
        "gcinfo",
        "package",
        "math.random",
        "math.randomseed",
    ] {
        let body = format!("if {name} ~= nil then kb.reject('THERE') end error('not there')");
        fails_with(&body, "not there");
    }
}

#[test]
fn hostile_an_event_kept_after_its_call_is_over() {
    let source = "local kept, value, part
        kb.namespace():on_put(function(ev)
            if ev.key == 'a' and not kept then kept = ev value = ev.value part = ev.value.part return end
            if ev.key == 'ev' then return kept.key end
            if ev.key == 'value' then value.x = 1 end
            if ev.key == 'part' then return part.x end
            if ev.key == 'for' then for k in value do end end
            if ev.key == 'len' then return #part end
        end)";
    let mut worker = worker(source);
    put(&mut *worker, json!({"part": {"x": 1}})).expect("kept");
    for key in ["ev", "value", "part", "for", "len"] {
        let mut put = a_put(key, keepboth_core::value::Value::json(&json!({"other": 1})));
        let refusal = worker.before_put(&mut put).expect_err(key);
        assert!(refusal.message.contains("this event is over"), "{key}: {}", refusal.message);
        assert!(refusal.message.contains("scripts/a.luau:"), "{key}: {}", refusal.message);
        assert_eq!(put.draft.into_value().to_json(), Some(json!({"other": 1})));
    }
}

#[test]
fn hostile_a_yield_out_of_the_hook_is_an_error() {
    fails_with("coroutine.yield()", "attempt to yield");
    fails_with("table.sort({3, 2, 1}, function() coroutine.yield() end)", "attempt to yield");
    fails_with("kb.merge3({a=1}, {a=2}, {a=3}, coroutine.yield)", "attempt to yield");
}

#[test]
fn hostile_a_bad_comparator_is_an_error() {
    fails_with(
        "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end)",
        "invalid order function for sorting",
    );
}

#[test]
fn hostile_a_rejection_cannot_be_taken_back() {
    let words = survives("pcall(kb.reject, 'NO', 'never') ev.value.bad = nil return {}");
    assert_eq!(words, "never (scripts/a.luau:3)");
}

#[test]
fn hostile_a_flood_of_lines_ends() {
    stopped_by_time("while true do print('flood') end");
}

#[test]
fn hostile_values_that_are_no_json_are_refused() {
    fails_with("local t = {} t.t = t ev.value.x = t", "value.x.t: a table that contains itself");
    fails_with("local t = {} for i = 1, 100 do t = {t} end ev.value.x = t", "more than 64 levels");
    fails_with("ev.value.x = {a = {0, 0/0}}", "value.x.a[2]: JSON has no NaN");
    fails_with("ev.value.x = {f = print}", "value.x.f: JSON has no function");
    fails_with("local t = table.create(70000, 1) ev.value.x = t", "more than 65,536 items");
}

#[test]
fn hostile_a_value_nested_into_itself_without_end_is_refused() {
    fails_with("for i = 1, 100000 do ev.value.x = ev.value end", "value.x: more than 64 levels");
    fails_with("for i = 1, 100000 do ev.value = {ev.value} end", "more than 64 levels");
    fails_with(
        "local part = ev.value for i = 1, 100000 do part.x = {} part = part.x end",
        ".x: more than 64 levels",
    );
    fails_with("local t = {} for i = 1, 100000 do t = kb.table({t}) end", "more than 64 levels");
}

#[test]
fn hostile_a_top_level_that_loops_is_a_mistake() {
    let words = mistake("local x = 1\nwhile true do end");
    assert_eq!(words, "scripts/a.luau:2: took longer than 1,000 ms and was stopped");
    let words = mistake("kb.namespace():on_put(print)\nlocal s = string.rep('x', 2^30)");
    assert_eq!(words, "scripts/a.luau: needed more than 16 MiB and was stopped");
}
