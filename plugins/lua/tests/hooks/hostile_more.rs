//! More scripts that mean harm, by what they abuse: metatables, libraries, coroutines, `kb` itself.

use serde_json::json;

use crate::hostile::{fails_with, stopped_by_memory, stopped_by_time};

#[test]
fn hostile_metatables_in_a_circle_are_an_error() {
    fails_with(
        "local a, b = {}, {} setmetatable(a, {__index = b}) setmetatable(b, {__index = a}) local x = a.x",
        "'__index' chain too long; possible loop",
    );
    fails_with(
        "local a, b = {}, {} setmetatable(a, {__newindex = b}) setmetatable(b, {__newindex = a}) a.x = 1",
        "'__newindex' chain too long; possible loop",
    );
}

#[test]
fn hostile_every_metamethod_that_loops_is_stopped() {
    let loops = "function() while true do end end";
    for (method, act) in [
        ("__call", "t()"),
        ("__concat", "local x = t .. ''"),
        ("__len", "local x = #t"),
        ("__unm", "local x = -t"),
        ("__add", "local x = t + 1"),
        ("__lt", "local x = t < t"),
        ("__newindex", "t.x = 1"),
        ("__iter", "for k in t do end"),
        ("__tostring", "local x = tostring(t)"),
        ("__tostring", "print(tostring(t))"),
    ] {
        stopped_by_time(&format!("local t = setmetatable({{}}, {{{method} = {loops}}}) {act}"));
    }
}

#[test]
fn hostile_a_call_that_calls_itself_through_a_metatable_is_an_error() {
    fails_with(
        "local t = {} setmetatable(t, {__call = function(t) return t() + 1 end}) t()",
        "overflow",
    );
}

#[test]
fn hostile_a_finalizer_never_runs() {
    fails_with(
        "for i = 1, 10000 do setmetatable({}, {__gc = function() while true do end end}) end error('done')",
        "done",
    );
}

#[test]
fn hostile_weak_tables_keep_nothing_alive_and_break_nothing() {
    fails_with(
        "local t = setmetatable({}, {__mode = 'kv'}) for i = 1, 10000 do t[{}] = {} end error('done')",
        "done",
    );
}

#[test]
fn hostile_a_tostring_that_returns_no_text_is_an_error() {
    fails_with(
        "tostring(setmetatable({}, {__tostring = function() return {} end}))",
        "'__tostring' must return a string",
    );
}

#[test]
fn hostile_a_guarded_metatable_stays_guarded() {
    fails_with("setmetatable(setmetatable({}, {__metatable = false}), {})", "protected metatable");
    fails_with(
        "getmetatable(kb.array()).__index = print",
        "attempt to index string with '__index'",
    );
}

#[test]
fn hostile_globals_are_no_way_to_other_scripts() {
    fails_with("_G.string = {} error(tostring(string.rep('x', 2)))", "readonly");
    fails_with("setmetatable(_G, {__index = print})", "readonly");
}

#[test]
fn hostile_coroutines_in_coroutines_are_an_error() {
    fails_with("local function f() coroutine.wrap(f)() end f()", "overflow");
}

#[test]
fn hostile_a_crowd_of_coroutines_is_stopped() {
    stopped_by_memory(
        "local t = {} while true do local co = coroutine.create(function() coroutine.yield() end)
         coroutine.resume(co) t[#t + 1] = co end",
    );
}

#[test]
fn hostile_a_coroutine_kept_from_an_earlier_call_finds_its_event_over() {
    let source = "local kept
        kb.namespace():on_put(function(ev)
            if not kept then
                kept = coroutine.wrap(function(ev) coroutine.yield() ev.value.x = 1 end) kept(ev)
            else kept() end
        end)";
    let mut worker = crate::harness::worker(source);
    crate::harness::put(&mut *worker, json!({})).expect("kept");
    let words = crate::harness::refused(&mut *worker, json!({}));
    assert!(words.contains("this event is over"), "{words}");
}

#[test]
fn hostile_a_coroutine_that_closes_itself_is_an_error() {
    fails_with("local co co = coroutine.wrap(function() co() end) co()", "cannot resume");
}

#[test]
fn hostile_a_format_of_huge_width_is_an_error() {
    fails_with("string.format('%1000000d', 1)", "invalid");
}

#[test]
fn hostile_too_many_results_are_an_error() {
    fails_with("local x = select('#', table.unpack({}, 1, 2^30))", "too many results to unpack");
}

#[test]
fn hostile_a_growing_replacement_is_stopped() {
    stopped_by_memory("local s = 'aa' while true do s = string.gsub(s, 'a', 'aa') end");
}

#[test]
fn hostile_joins_packs_and_copies_are_stopped() {
    stopped_by_memory(
        "local t = table.create(10000, string.rep('x', 10000)) local s = table.concat(t)",
    );
    stopped_by_memory(
        "local t = table.create(10000, 1) local all = {} while true do all[#all + 1] = table.clone(t) end",
    );
    stopped_by_memory(
        "local all = {} while true do all[#all + 1] = string.pack('s4', string.rep('x', 100000)) end",
    );
    stopped_by_memory("local all = {} while true do all[#all + 1] = buffer.create(100000) end");
    stopped_by_memory("local function f(...) return f(1, 2, 3, 4, 5, 6, 7, 8, ...) end f()");
}

#[test]
fn hostile_work_inside_libraries_is_stopped() {
    stopped_by_time("local s = string.rep('x', 10000) while true do string.reverse(s) end");
    stopped_by_time("local t = table.create(1000, 1) while true do table.concat(t) end");
    stopped_by_time("local t = table.create(10000, 1) while true do table.sort(t) end");
    stopped_by_time("while true do string.match(string.rep('x', 1000), '.-.-.-y') end");
    stopped_by_time(
        "for m in string.gmatch(string.rep('x', 1000000), '.') do pcall(string.gsub, string.rep('x', 1000), '.-.-y', '') end",
    );
}

#[test]
fn hostile_an_error_in_an_error_handler_is_an_error() {
    fails_with(
        "local _, e = xpcall(error, function() error('again') end) error(e)",
        "error in error handling",
    );
    stopped_by_memory("local function f() xpcall(error, f) f() end f()");
}

#[test]
fn hostile_an_error_of_a_cyclic_table_shows_no_address() {
    fails_with("local t = {} t.t = t error(t)", "an error that is a table; give error() a text");
}

#[test]
fn hostile_a_log_of_a_huge_table_is_cut() {
    fails_with(
        "local t = table.create(100000, {1, 2, 3}) kb.log.info(t, t, t) error('done')",
        "done",
    );
}

#[test]
fn hostile_work_inside_kb_is_stopped() {
    stopped_by_time("local s = string.rep('x', 1000000) while true do kb.hash(s) end");
    for call in ["kb.json.encode(t)", "kb.merge3(t, t, {})", "kb.table(t)", "kb.cbor.make(t)"] {
        let body = format!(
            "local t = {{}} for i = 1, 1000 do t['k' .. i] = i end while true do {call} end"
        );
        fails_with(&body, "this call built more than 4 MiB of values");
    }
}

#[test]
fn hostile_json_that_is_too_deep_or_long_is_an_error() {
    fails_with("kb.json.decode(string.rep('[', 100000))", "kb.json.decode: ");
    fails_with("kb.json.decode('\"' .. string.rep('x', 300000) .. '\"')", "the limit is 262,144");
}

#[test]
fn hostile_cbor_that_promises_too_much_is_an_error() {
    fails_with(
        "kb.cbor.decode(buffer.fromstring('\\x9b\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff'))",
        "kb.cbor.decode: cbor, byte",
    );
    fails_with(
        "kb.cbor.decode(buffer.fromstring(string.rep('\\x81', 1000) .. '\\x01'))",
        "more than 64 levels",
    );
    fails_with(
        "kb.cbor.decode(buffer.fromstring(string.rep('\\xc1', 1000) .. '\\x01'))",
        "more than 64 levels",
    );
    fails_with("kb.cbor.int(string.rep('9', 100000))", "a whole number of more than 1024 digits");
}

#[test]
fn hostile_a_set_that_grows_without_end_is_stopped() {
    stopped_by_time("local s = kb.cbor.set({}) for i = 1, 1e9 do s:add(i) end");
}

#[test]
fn hostile_a_value_that_grows_while_it_is_read_comes_to_an_end() {
    fails_with(
        "ev.value.list = {1} for i, x in ev.value.list do ev.value.list[i + 1] = x end error('done')",
        "done",
    );
}

#[test]
fn hostile_raw_access_to_what_is_lent_is_an_error() {
    fails_with("rawset(ev, 'key', 'other')", "table expected");
    fails_with("rawset(ev.value, 'x', 1)", "table expected");
    fails_with("rawget(kb.cbor.date(0), 'ms')", "table expected");
}

#[test]
fn hostile_a_decision_that_fails_leaves_merging_usable() {
    fails_with(
        "pcall(kb.merge3, {a=1}, {a=2}, {a=3}, error) local x = kb.merge3({a=1}, {a=2}, {a=1}) error('done ' .. x.a)",
        "done 2",
    );
}

#[test]
fn hostile_text_that_is_not_utf8_is_told_everywhere() {
    fails_with("ev.value['\\xff'] = 1", "a key that is not UTF-8");
    fails_with("error('\\xff\\xfe bad')", "bad");
    fails_with("kb.log.info('\\xff') kb.json.encode('\\xff')", "a text that is not UTF-8");
}

#[test]
fn hostile_what_parts_and_loops_hold_outside_the_vm_counts_as_its_memory() {
    let wide = "for i = 1, 2000 do ev.value['key' .. i] = i end";
    stopped_by_memory(&format!(
        "{wide} local t = {{}} while true do t[#t + 1] = pairs(ev.value) end"
    ));
    let long = "local k = string.rep('k', 60000) ev.value[k] = {x = {y = {}}}";
    stopped_by_memory(&format!(
        "{long} local t = {{}} while true do t[#t + 1] = ev.value[k].x.y end"
    ));
    stopped_by_memory(&format!(
        "{long} local t = {{}} while true do pcall(function() t[#t + 1] = ev.value[k] end) end"
    ));
    let list = "local l = {} for i = 1, 10000 do l[i] = i end local c = kb.cbor.make({l = l, s = kb.cbor.set(l)})";
    stopped_by_memory(&format!("{list} local t = {{}} while true do t[#t + 1] = pairs(c.l) end"));
    stopped_by_memory(&format!(
        "{list} local t = {{}} while true do
            local co = coroutine.create(function() for x in c.s do coroutine.yield() end end)
            coroutine.resume(co) t[#t + 1] = co
        end"
    ));
}

#[test]
fn what_loops_and_parts_held_is_free_again_when_they_are_over() {
    let source = "kb.namespace():on_put(function(ev)
        for i = 1, 2000 do ev.value['key' .. i] = {x = i} end
        local k = string.rep('k', 60000) ev.value[k] = {}
        for i = 1, 500 do
            for k, x in ev.value do local y = x.x break end
            local y = ev.value[k]
        end
        return {}
    end)";
    let mut worker = crate::harness::worker_with(source, json!({"memory_limit": 4_194_304}));
    for _ in 0..3 {
        crate::harness::put(&mut *worker, json!({})).expect("put");
    }
}

#[test]
fn hostile_texts_of_a_value_that_are_kept_count_as_memory() {
    let source = "local kept = {}
    kb.namespace():on_put(function(ev)
        for k, x in ev.value do table.insert(kept, x) end
        ev.value.kept = #kept
    end)";
    let mut worker = crate::harness::worker_with(source, json!({"memory_limit": 4_194_304}));
    let large: serde_json::Map<String, serde_json::Value> =
        (0..90).map(|n| (format!("m{n}"), json!(format!("{n} ").repeat(20_000)))).collect();
    let words = crate::harness::refused(&mut *worker, json!(large));
    assert!(words.ends_with("needed more than 4 MiB and was stopped"), "{words}");
    let next = crate::harness::put(&mut *worker, json!({"text": "small"}));
    assert_eq!(next.expect("in a new VM"), json!({"text": "small", "kept": 1}));
}

#[test]
fn hostile_tables_of_json_that_are_kept_count_as_memory() {
    let items = |count: usize| format!("'[' .. string.rep('{{}},', {count}) .. '1]'");
    let many = items(1_000);
    stopped_by_memory(&format!(
        "local kept = {{}} while true do table.insert(kept, kb.json.decode({many})) end"
    ));
    let one = items(80_000);
    stopped_by_memory(&format!("local kept = kb.json.decode({one})"));
}
