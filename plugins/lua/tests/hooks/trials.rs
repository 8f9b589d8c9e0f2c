//! Scripts on trial and the tests of scripts: what they tell, and what a failing one means.

use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::Source;
use keepboth_core::value::Value;
use keepboth_lua::trial::{Event, Trial};
use keepboth_lua::{Hook, Level, run_tests};
use serde_json::json;

use crate::harness::*;

const GUARDED: &str = "kb.namespace():on_put(function(ev)
    if ev.value.bad then kb.reject('BAD', 'no') end ev.value.seen = kb.options.mark end)";

fn tests_of(script: &str, tests: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let scripts = Scripts::new(&[("a.luau", script), ("a_test.luau", tests)]);
    let tested = run_tests(&site(scripts.0.path()), "a.luau")?;
    Ok(tested.into_iter().map(|test| (test.name, test.failed)).collect())
}

fn trial(source: &str) -> Trial {
    let scripts = Scripts::new(&[("a.luau", source)]);
    let settings = json!({"scripts": ["a.luau"], "time_limit_ms": 5_000});
    Trial::new(&site(scripts.0.path()), settings).unwrap_or_else(|e| panic!("{e:?}"))
}

#[test]
fn each_test_is_told_with_its_name_and_why_it_failed() {
    let tests = "test('passes', function() equal(hooks.put({ value = {} }).value, {}) end)
test('differs', function()
    equal(hooks.put({ value = { a = 1 } }).value, { a = 2 })
end)
test('fails', function() error('on purpose') end)";
    let tested = tests_of(GUARDED, tests).expect("tests");
    assert_eq!(
        tested,
        [
            ("passes".to_owned(), None),
            (
                "differs".to_owned(),
                Some("scripts/a_test.luau:3: expected {a: 2}, found {a: 1} | equal(hooks.put({ value = { a = 1 } }).value, { a = 2 })".to_owned())
            ),
            (
                "fails".to_owned(),
                Some("scripts/a_test.luau:5: on purpose | test('fails', function() error('on purpose') end)".to_owned())
            ),
        ]
    );
}

#[test]
fn every_test_begins_with_a_fresh_script_and_an_empty_store() {
    let script = "local n = 0 kb.namespace():on_put(function(ev) n += 1
        return {n, kb.options.mark == nil, kb.get('notes', 'k') == nil} end)";
    let tests = "for _, name in { 'one', 'two' } do test(name, function()
        equal(hooks.put({ value = 1 }).value, { 1, true, true })
        hooks.store({ key = 'k', value = 5 })
        equal(hooks.put({ value = 1 }).value, { 2, true, false })
        hooks.load({ options = { mark = 1 } })
        equal(hooks.put({ value = 1 }).value, { 1, false, true })
    end) end";
    let tested = tests_of(script, tests).expect("tests");
    assert_eq!(tested, [("one".to_owned(), None), ("two".to_owned(), None)]);
}

#[test]
fn equal_compares_content_and_nothing_else() {
    let tests = "test('alike', function()
        equal(nil, nil) equal({}, kb.array()) equal({ b = 1, a = { kb.null } }, { a = { kb.null }, b = 1 })
        equal(buffer.fromstring('x'), buffer.fromstring('x')) equal(kb.cbor.set({ 1, 2 }), kb.cbor.set({ 2, 1 }))
    end)
    for i, pair in { { 1, '1' }, { { 1 }, { 1, 2 } }, { kb.null, {} }, { 'a', buffer.fromstring('a') } } do
        test('differs ' .. i, function() equal(pair[1], pair[2]) end)
    end
    test('nil', function() equal(nil, false) end)";
    let tested = tests_of(GUARDED, tests).expect("tests");
    assert_eq!(tested.len(), 6);
    for (name, failed) in tested {
        assert_eq!(failed.is_none(), name == "alike", "{name}: {failed:?}");
    }
}

#[test]
fn a_test_that_asks_for_what_there_is_not_says_so() {
    for (call, words) in [
        ("hooks.putt({})", "hooks has no \"putt\" (did you mean \"put\"?)"),
        (
            "hooks.put({ vaule = 1 })",
            "hooks.put: its argument has no \"vaule\" (did you mean \"value\"?)",
        ),
        ("hooks.put({})", "hooks.put: value is missing"),
        ("hooks.put({ value = 1, key = '' })", "hooks.put: key: the key is empty"),
        ("hooks.put({ value = 1, source = 'moon' })", "hooks.put: source has no \"moon\""),
        ("hooks.tick({ every = '1h' })", "hooks.tick: the script has no timer of \"1h\""),
        ("hooks.load({ options = 5 })", "hooks.load: invalid type: integer `5`, expected a map"),
        ("hooks.conflict({ sides = { print } })", "hooks.conflict: a side: JSON has no function"),
        ("kb.put('a', 'b', 1)", "kb in tests has no \"put\""),
        ("hooks.state({ before = 'x', now = 'synced' })", "hooks.state: before is \"empty\""),
    ] {
        let tests = format!("local kb = kb test('t', function() {call} end)");
        let (_, failed) = tests_of(GUARDED, &tests).expect("tests").remove(0);
        let failed = failed.unwrap_or_else(|| panic!("{call} passed"));
        assert!(failed.contains(words), "{call}: {failed}");
    }
}

#[test]
fn a_file_of_tests_that_cannot_be_run_is_a_mistake() {
    let mistake = |tests| tests_of(GUARDED, tests).expect_err("a mistake");
    assert_eq!(
        mistake("-- nothing"),
        "scripts/a_test.luau: has no test; write test(\"what it does\", function() … end)"
    );
    assert!(mistake("test('a'").starts_with("scripts/a_test.luau:1: Expected ')'"));
    assert!(
        mistake("test('a', 5)")
            .starts_with("scripts/a_test.luau:1: test: expected a function, found integer")
    );
    assert!(mistake("for i = 1, 2 do test('a', print) end").contains("two tests are called \"a\""));
}

#[test]
fn a_script_whose_tests_fail_is_not_run() {
    let tests =
        "test('marks', function() equal(hooks.put({ value = {} }).value, { seen = 1 }) end)";
    let scripts = Scripts::new(&[("a.luau", GUARDED), ("a_test.luau", tests)]);
    let mistakes = scripts.build(json!({"scripts": ["a.luau"]})).err().expect("a mistake");
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].pointer, "/scripts/0");
    let words = "scripts/a.luau: 1 of 1 tests failed: \"marks\": scripts/a_test.luau:1: expected {seen: 1}, found {}";
    assert!(mistakes[0].message.starts_with(words), "{}", mistakes[0].message);
    let good = "test('passes', function() equal(hooks.put({ value = {} }).ok, true) end)";
    std::fs::write(scripts.0.path().join("a_test.luau"), good).expect("file");
    assert!(scripts.build(json!({"scripts": ["a.luau"]})).is_ok());
}

#[test]
fn a_trial_tells_value_refusal_log_and_time() {
    let mut trial = trial(
        "kb.namespace():on_put(function(ev) print('saw', ev.key, ev.source)
        if ev.old == 1 then kb.reject('AGAIN') end ev.value.n += 1 end)",
    );
    let mut event = Event::new(key("k"));
    event.source = Source::Hook;
    let outcome = trial.put(&event, Value::json(&json!({"n": 1})));
    assert_eq!(outcome.value.and_then(|v| v.to_json()), Some(json!({"n": 2})));
    assert_eq!((outcome.log[0].level, &*outcome.log[0].text), (Level::Info, "saw k hook"));
    assert_eq!(outcome.log[0].at, "scripts/a.luau:1");
    event.old = Some(Value::number(1.0));
    let outcome = trial.put(&event, Value::json(&json!({"n": 1})));
    let refusal = outcome.refused.expect("refused");
    assert_eq!(refusal.reason.as_deref(), Some("AGAIN"));
    assert!(outcome.value.is_none() && outcome.failed.is_none());
}

#[test]
fn a_trial_lists_hooks_with_lines_and_runs_timers() {
    let source = "local here = kb.namespace()
here:after_put(function(ev) kb.put('other', ev.key, ev.value) end, { on = 'both' })
kb.every('90s', function(ev) kb.put('other', 'tick', ev.timestamp) end, { on = 'every' })";
    let mut trial = trial(source);
    let hooks = trial.hooks();
    let told: Vec<(Hook, &str, u32)> =
        hooks.iter().map(|h| (h.declared.hook, h.declared.on.as_str(), h.declared.line)).collect();
    assert_eq!(told, [(Hook::AfterPut, "both", 2), (Hook::Timer, "local", 3)]);
    let timer = hooks[1].declared.timer.as_ref().expect("a timer");
    assert_eq!((timer.text.as_str(), timer.period.as_secs(), timer.everywhere), ("90s", 90, true));
    let outcome = trial.timer(&hooks[1], 5_000);
    assert_eq!(outcome.writes.len(), 1);
    let (other, tick) = (Namespace::new("other").expect("name"), Name::new("tick").expect("name"));
    use keepboth_core::plugin::Host;
    assert_eq!(trial.memory().get(&other, &tick), Ok(Some(Value::number(5_000.0))));
}

#[test]
fn a_file_of_tests_that_is_no_proper_file_is_told() {
    let outside = Scripts::new(&[("a_test.luau", "test('t', print)")]);
    for (make, words) in [
        (
            &(|path: &std::path::Path| {
                std::os::unix::fs::symlink(outside.0.path().join("a_test.luau"), path)
            }) as &dyn Fn(&std::path::Path) -> std::io::Result<()>,
            "scripts/a_test.luau: a link out of the scripts folder; copy the file there",
        ),
        (
            &|path| std::fs::write(path, b"-- x\n\xff"),
            "scripts/a_test.luau: not UTF-8 at byte 5 (line 2)",
        ),
        (&|path| std::fs::create_dir(path), "scripts/a_test.luau: not a regular file"),
        (
            &|path| std::os::unix::fs::symlink("nowhere", path),
            "scripts/a_test.luau: there is no such file in ",
        ),
    ] {
        let scripts = Scripts::new(&[("a.luau", GUARDED)]);
        make(&scripts.0.path().join("a_test.luau")).expect("made");
        let mistakes = scripts.build(json!({"scripts": ["a.luau"]})).err().expect("a mistake");
        assert!(mistakes[0].message.starts_with(words), "{}", mistakes[0].message);
    }
}

#[test]
fn a_script_that_vanishes_goes_on_where_it_is_loaded_and_is_told_when_it_is_read() {
    let scripts = Scripts::new(&[("a.luau", GUARDED)]);
    let settings = json!({"scripts": ["a.luau"], "options": {"mark": 7}, "time_limit_ms": 5_000});
    let plugin = scripts.build(settings.clone()).unwrap_or_else(|e| panic!("{e:?}"));
    std::fs::remove_file(scripts.0.path().join("a.luau")).expect("removed");
    let mut worker = plugin.worker().expect("a worker of the script that was read");
    assert_eq!(put(&mut *worker, json!({})), Ok(json!({"seen": 7})));
    let mistakes = scripts.build(settings).err().expect("a mistake");
    assert!(mistakes[0].message.starts_with("scripts/a.luau: there is no such file in "));
}
