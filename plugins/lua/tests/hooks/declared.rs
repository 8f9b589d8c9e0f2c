//! What a script declares: for which writes a hook runs, timers, and what an event tells.

use keepboth_core::ids::NodeId;
use keepboth_core::plugin::{
    Before, Done, Draft, Origin, Points, Put, Source, StateChange, Worker,
};
use keepboth_core::plugin::{Delete, Level};
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use keepboth_lua::trial::{Event, Trial};
use serde_json::json;

use crate::harness::*;

const ECHO: &str = "local here = kb.namespace()
    here:after_put(function(ev) kb.put('log', 'local', ev.source) end)
    here:after_put(function(ev) kb.put('log', 'replicated', ev.source) end, { on = 'replicated' })
    here:after_put(function(ev) kb.put('log', 'both', ev.source) end, { on = 'both' })
    here:after_delete(function(ev) kb.put('log', 'deleted', ev.source) end, { on = 'both' })";

fn done(source: Source, value: Option<Value>) -> Done {
    let change = if value.is_some() { Change::Put } else { Change::Delete };
    Done {
        namespace: namespace(),
        name: keepboth_core::name::Name::Key(key("a")),
        key: key("a"),
        version: version(7),
        change,
        value,
        origin: Origin::new(source, "ada", NOW),
        before: Before::nothing(),
    }
}

fn written(worker: &mut dyn Worker, done: &Done) -> Vec<String> {
    let mut writes = Vec::new();
    worker.after(done, &mut writes).expect("no failure");
    writes.iter().map(|write| write.name.to_string()).collect()
}

#[test]
fn an_after_hook_runs_for_the_writes_that_it_declares() {
    let mut worker = worker(ECHO);
    let value = || Some(Value::number(1.0));
    assert_eq!(written(&mut *worker, &done(Source::Client, value())), ["local", "both"]);
    assert_eq!(written(&mut *worker, &done(Source::Hook, value())), ["local", "both"]);
    let peer = Source::Peer(NodeId([1; 32]));
    assert_eq!(written(&mut *worker, &done(peer, value())), ["replicated", "both"]);
    assert_eq!(written(&mut *worker, &done(peer, None)), ["deleted"]);
}

#[test]
fn only_what_is_declared_is_asked_for() {
    let points = |source: &str| {
        let scripts = Scripts::new(&[("a.luau", source)]);
        let plugin = scripts.build(json!({"scripts": ["a.luau"]}));
        plugin.unwrap_or_else(|e| panic!("{e:?}")).points()
    };
    let both = Points { after: true, after_replicated: true, ..Points::default() };
    assert_eq!(points(ECHO), both);
    let replicated = "kb.namespace():after_put(print, { on = 'replicated' })";
    assert_eq!(points(replicated), Points { after_replicated: true, ..Points::default() });
    assert_eq!(points("kb.every('1h', print)"), Points::default());
}

#[test]
fn a_hook_that_cannot_follow_peers_is_refused_with_what_can() {
    for hook in ["on_put", "on_delete", "on_conflict", "on_state"] {
        for on in ["replicated", "both"] {
            let words = mistake(&format!("kb.namespace():{hook}(print, {{ on = '{on}' }})"));
            assert_eq!(
                words,
                format!(
                    "scripts/a.luau:1: {hook}: on = \"{on}\", but it runs for what this node does alone; after_put and after_delete may follow what peers wrote"
                )
            );
        }
        let local = format!("kb.namespace():{hook}(print, {{ on = 'local' }})");
        assert!(Scripts::new(&[("a.luau", &local)]).build(json!({"scripts": ["a.luau"]})).is_ok());
    }
}

#[test]
fn options_of_a_hook_that_are_wrong_are_told() {
    for (call, words) in [
        (
            ":after_put(print, { on = 'peers' })",
            "after_put: on = \"peers\"; it is \"local\", \"replicated\" or \"both\"",
        ),
        (
            ":after_put(print, { no = 1 })",
            "the options of after_put has no \"no\" (did you mean \"on\"?); it has: on",
        ),
        (
            ":after_put(print, 'both')",
            "after_put: options are a table like { on = … }, not a string",
        ),
        (":after_put(print, { on = 1 })", "after_put: on is a text, not a integer"),
    ] {
        let found = mistake(&format!("kb.namespace(){call}"));
        assert_eq!(found, format!("scripts/a.luau:1: {words}"), "{call}");
    }
    for (call, words) in [
        (
            "'1 hour', print",
            "kb.every: \"1 hour\" is no time; write a whole number and s, m, h or d, like \"1h\"",
        ),
        ("'0s', print", "kb.every: \"0s\"; it is 1s to 366d"),
        (
            "'1h'",
            "kb.every: expected a function, found nil; write kb.every(\"1h\", function() ... end)",
        ),
        (
            "'1h', print, { on = 'local' }",
            "kb.every: on = \"local\"; it is \"elected\" or \"every\"",
        ),
    ] {
        assert_eq!(mistake(&format!("kb.every({call})")), format!("scripts/a.luau:1: {words}"));
    }
    let many = "for i = 1, 17 do kb.every('1h', print) end";
    assert_eq!(mistake(many), "scripts/a.luau:1: kb.every: a script has at most 16 timers");
    let late = "kb.namespace():on_put(function() kb.every('1h', print) end)";
    let words = refused(&mut *worker(late), json!(1));
    assert!(words.contains("kb.every: hooks are registered while the script is loaded"), "{words}");
}

#[test]
fn an_event_tells_the_source_and_the_value_before() {
    let source = "local here = kb.namespace()
        here:on_put(function(ev) return {ev.source, ev.old and ev.old.n or 'none'} end)
        here:on_delete(function(ev) if ev.old.n > 1 then kb.reject('TOO_MUCH') end end)
        here:after_put(function(ev) kb.put('log', 'old', ev.old) end)";
    let scripts = Scripts::new(&[("a.luau", source)]);
    let settings = json!({"scripts": ["a.luau"], "time_limit_ms": 5_000});
    let mut trial =
        Trial::new(&site(scripts.0.path()), settings).unwrap_or_else(|e| panic!("{e:?}"));
    let mut event = Event::new(key("a"));
    let json_of = |value: Option<Value>| value.and_then(|v| v.to_json());
    let value = || Value::number(1.0);
    assert_eq!(json_of(trial.put(&event, value()).value), Some(json!(["client", "none"])));
    event.old = Some(Value::json(&json!({"n": 5})));
    assert_eq!(json_of(trial.put(&event, value()).value), Some(json!(["client", 5])));
    assert_eq!(trial.delete(&event).refused.and_then(|r| r.reason).as_deref(), Some("TOO_MUCH"));
    let outcome = trial.after(&event, Some(value()));
    assert_eq!(outcome.writes[0].value, Some(Value::json(&json!({"n": 5}))));
}

#[test]
fn the_old_value_cannot_be_changed() {
    let source = "kb.namespace():on_put(function(ev) ev.old.n = 1 end)";
    let mut put =
        Put { draft: Draft::new(Value::number(1.0), None), ..a_put("a", Value::number(1.0)) };
    let memory = keepboth_lua::Was(Value::json(&json!({"n": 5})));
    put.before = Before::of(std::sync::Arc::new(memory));
    let refusal = worker(source).before_put(&mut put).expect_err("read-only");
    assert!(
        refusal.message.contains("the value is read-only; only ev.value changes"),
        "{}",
        refusal.message
    );
}

#[test]
fn hooks_read_the_store_of_their_node_and_conflicts_do_not() {
    let source = "local here = kb.namespace()
        here:on_put(function(ev)
            local one, none = kb.get('notes', 'a'), kb.get('notes', 'nothing')
            local page, next = kb.list('notes', 'a', { limit = 2 })
            local rest = kb.list('notes', 'a', { after = next })
            return {one.n, none == nil, #page, page[1].key, page[2].value.n, next, rest[1].key, #rest}
        end)
        here:on_conflict(function(c) return kb.get('notes', 'a') end)";
    let scripts = Scripts::new(&[("a.luau", source)]);
    let settings = json!({"scripts": ["a.luau"], "time_limit_ms": 5_000});
    let mut trial =
        Trial::new(&site(scripts.0.path()), settings).unwrap_or_else(|e| panic!("{e:?}"));
    for (name, n) in [("a", 1), ("ab", 2), ("ac", 3), ("b", 4)] {
        let name = keepboth_core::name::Name::Key(key(name));
        trial.memory().set(&namespace(), &name, Some(Value::json(&json!({"n": n}))));
    }
    let value =
        trial.put(&Event::new(key("x")), Value::number(1.0)).value.and_then(|v| v.to_json());
    assert_eq!(value, Some(json!([1, true, 2, "a", 2, "ab", "ac", 1])));
    let outcome = trial.conflict(&key("a"), None, vec![Value::number(1.0), Value::number(2.0)]);
    let words = outcome.failed.expect("refused");
    assert!(words.contains("kb.get: on_conflict sees its argument alone"), "{words}");
}

#[test]
fn reading_is_bounded_and_its_mistakes_are_told() {
    for (call, words) in [
        ("kb.get('No!', 'a')", "kb.get: \"No!\" is not a namespace's name"),
        ("kb.get('notes', '')", "kb.get: the key is empty"),
        ("kb.list('notes', '', { limit = 1001 })", "kb.list: limit is a whole number of 1 to 1000"),
        ("kb.list('notes', '', { aftr = 'x' })", "kb.list: its options has no \"aftr\""),
        (
            "for i = 1, 2000 do kb.get('notes', 'a') end",
            "kb.get: 1000 reads in one call are the limit",
        ),
    ] {
        let source = format!("kb.namespace():on_put(function(ev) {call} end)");
        let scripts = Scripts::new(&[("a.luau", &source)]);
        let settings = json!({"scripts": ["a.luau"], "time_limit_ms": 5_000});
        let mut trial =
            Trial::new(&site(scripts.0.path()), settings).unwrap_or_else(|e| panic!("{e:?}"));
        let outcome = trial.put(&Event::new(key("a")), Value::number(1.0));
        let found = outcome.fault().unwrap_or_default().to_owned();
        assert!(found.contains(words), "{call}: {found}");
    }
    let words = mistake("kb.get('notes', 'a')");
    assert_eq!(
        words,
        "scripts/a.luau:1: kb.get: a script reads in its hooks, not while it is loaded"
    );
    assert!(
        fails("kb.get('notes', 'a')", json!({})).contains("the server has not started this plugin")
    );
}

#[test]
fn a_conflict_hook_remembers_nothing_from_other_calls() {
    let source = "local n = 0 counter = 0
        kb.namespace():on_put(function(ev) n += 1 counter += 1 end)
        kb.namespace():on_conflict(function(c) n += 1 counter += 1 return {n, counter} end)";
    let mut worker = worker(source);
    for _ in 0..3 {
        put(&mut *worker, json!(1)).expect("put");
        let merged = conflict(&mut *worker, json!(1), &[json!(2), json!(3)]);
        assert_eq!(merged, Some(json!([1, 1])), "every conflict is seen by a fresh script");
    }
}

#[test]
fn a_conflict_hook_cannot_reach_clock_chance_or_node() {
    for what in [
        "os",
        "io",
        "debug",
        "math.random",
        "math.randomseed",
        "gcinfo",
        "collectgarbage",
        "c.timestamp",
        "c.node",
        "c.actor",
    ] {
        let source =
            format!("kb.namespace():on_conflict(function(c) return {{{what} == nil}} end)");
        let merged = conflict(&mut *worker(&source), json!(1), &[json!(2), json!(3)]);
        assert_eq!(merged, Some(json!([true])), "{what}");
    }
    for (what, words) in [
        ("kb.get('notes', 'a')", "on_conflict sees its argument alone"),
        ("kb.list('notes')", "on_conflict sees its argument alone"),
        (
            "kb.put('notes', 'a', 1)",
            "writes are asked for in after_put, after_delete and timers only",
        ),
        ("kb.reject('NO')", "on_conflict cannot refuse"),
        ("kb.every('1h', print)", "hooks are registered while the script is loaded"),
    ] {
        let mut worker = worker(&format!("kb.namespace():on_conflict(function(c) {what} end)"));
        let sides = vec![Value::number(1.0), Value::number(2.0)];
        let failure = worker.conflict(&a_conflict(None, sides)).expect_err(what);
        assert!(failure.0.contains(words), "{what}: {failure}");
    }
    let shown = "kb.namespace():on_conflict(function(c)
        return tostring(c.sides) .. tostring(print) .. tostring(coroutine.create(print)) end)";
    let merged = conflict(&mut *worker(shown), json!(1), &[json!(2), json!(3)]).expect("text");
    assert!(!merged.as_str().expect("text").contains("0x"), "{merged}");
}

#[test]
fn state_and_delete_hooks_still_have_their_fields() {
    let mut told = worker("kb.namespace():on_state(function(ev) error(ev.now) end)");
    let change = StateChange {
        namespace: namespace(),
        before: Level::Empty,
        now: Level::Synced,
        reason: String::new(),
    };
    assert!(told.state(&change).expect_err("told").0.contains(": synced"));
    let mut asked = worker("kb.namespace():on_delete(function(ev) kb.reject(ev.actor) end)");
    let delete = Delete {
        namespace: namespace(),
        name: keepboth_core::name::Name::Key(key("a")),
        key: key("a"),
        origin: origin(),
        before: Before::nothing(),
    };
    assert_eq!(asked.before_delete(&delete).expect_err("refused").reason.as_deref(), Some("ada"));
}
