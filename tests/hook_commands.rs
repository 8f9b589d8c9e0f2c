//! `keepboth hook`: the tools of those who write scripts, as the real program has them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::harness::{PATIENCE, Server, program, project};

/// A command's end.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

fn hook(folder: &Path, words: &[&str]) -> Ended {
    let output = Command::new(program()).arg("hook").args(words).current_dir(folder).output();
    ended(output.expect("the program"))
}

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    Ended { code, out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        save(folder.path(), name, text);
    }
    folder
}

fn save(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn a_new_script_is_sound_passes_its_test_and_overwrites_nothing() {
    let folder = folder(&[]);
    let here = folder.path();
    let new = hook(here, &["new", "titles"]);
    assert_eq!(new.code, 0, "{}", new.err);
    let files = ["titles.luau", "titles_test.luau", "kb.d.luau", ".luaurc"];
    assert_eq!(new.out, files.map(|name| format!("scripts/{name}\n")).concat());
    assert_eq!(read(here, "scripts/kb.d.luau"), read(&project(), "scripts/kb.d.luau"));
    assert_eq!(hook(here, &["check", "scripts/titles.luau"]).code, 0);
    let test = hook(here, &["test"]);
    assert_eq!((test.code, test.err.as_str()), (0, "2 tests, 0 failed\n"), "{}", test.out);

    save(here, "scripts/titles.luau", "-- mine");
    save(here, "scripts/.luaurc", "{}");
    let again = hook(here, &["new", "titles"]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(again.err.contains("scripts/titles.luau is there already"), "{}", again.err);
    assert_eq!(
        hook(here, &["--json", "new", "other"]).json()["written"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(read(here, "scripts/titles.luau"), "-- mine");
    assert_eq!(read(here, "scripts/.luaurc"), "{}");
}

#[test]
fn all_mistakes_are_told_with_their_places_and_the_line() {
    let bad = "kb.rejct('A')\n\tlocal x = kb.log.warning\nlocal y = +";
    let folder = folder(&[("bad.luau", bad), ("s/own.luau", "kb.every('1h', print)")]);
    let check = hook(folder.path(), &["check", "bad.luau", "none.luau", "s/own.luau"]);
    assert_eq!(check.code, 78);
    for part in [
        "bad.luau:1:4: error: kb has no \"rejct\" (did you mean \"reject\"?)",
        "bad.luau:2:19: error: kb.log has no \"warning\"",
        "bad.luau:3:11: error: Expected identifier",
        " 3 | local y = +\n   |           ^\n",
        "none.luau: error: there is no such file",
    ] {
        assert!(check.err.contains(part), "{part:?} in\n{}", check.err);
    }
    assert!(
        check.out.contains("s/own.luau  1     every  every 1h, on the elected node"),
        "{}",
        check.out
    );
    let json = hook(folder.path(), &["--json", "check", "bad.luau"]).json();
    assert_eq!(json["ok"], false);
    let last = &json["errors"][2];
    assert_eq!(
        (&last["file"], &last["line"], &last["column"]),
        (&json!("bad.luau"), &json!(3), &json!(11))
    );
    assert_eq!(last["source"], "local y = +");
}

#[test]
fn every_script_that_comes_along_passes_its_tests_by_the_command() {
    let test = hook(&project(), &["test", "--tap"]);
    assert_eq!(test.code, 0, "{}", test.out);
    assert!(test.out.starts_with("TAP version 14\n1.."), "{}", test.out);
    assert!(!test.out.contains("not ok"), "{}", test.out);
}

const COPIER: &str = "kb.namespace():after_put(function(ev)
    kb.log.warn('copied', ev.key)
    kb.put('copies', ev.key, { by = ev.actor, value = ev.value })
end)";
const COPIER_TEST: &str = "test('copies', function()
    snapshot(hooks.after_put({ key = 'k', actor = 'ada', value = 1 }))
end)
test('fails', function() equal(1, 2) end)";

#[test]
fn tests_are_told_to_people_tap_and_junit_and_a_failure_is_exit_code_1() {
    let folder = folder(&[
        ("a.luau", COPIER),
        ("a_test.luau", COPIER_TEST.replace("equal(1, 2)", "equal('<1>', 2)").as_str()),
    ]);
    let here = folder.path();
    let test = hook(here, &["test", "a.luau", "--update", "--junit", "out.xml"]);
    assert_eq!(test.code, 1, "{}", test.err);
    assert!(test.out.contains("  ok    copies ("), "{}", test.out);
    assert!(test.out.contains("  FAIL  fails ("), "{}", test.out);
    assert!(test.out.contains("        a_test.luau:4: expected 2, found \"<1>\""), "{}", test.out);
    assert!(test.err.contains("stored a_test.snap.json\n2 tests, 1 failed"), "{}", test.err);
    let xml = read(here, "out.xml");
    assert!(xml.contains("<testsuites tests=\"2\" failures=\"1\">"), "{xml}");
    assert!(xml.contains("found &quot;&lt;1&gt;&quot;"), "{xml}");
    let tap = hook(here, &["test", "a_test.luau", "--tap"]).out;
    assert!(tap.contains("ok 1 - a.luau: copies\nnot ok 2 - a.luau: fails\n  ---\n"), "{tap}");
    let lines = hook(here, &["test", "--json"]).out;
    let first: Json = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["name"], &first["ok"]), (&json!("copies"), &json!(true)));
}

#[test]
fn what_came_of_an_event_is_held_against_the_snapshot_until_it_is_accepted() {
    let test = COPIER_TEST.split("\ntest('fails'").next().expect("a test");
    let folder = folder(&[("a.luau", COPIER), ("a_test.luau", test)]);
    let here = folder.path();
    let missing = hook(here, &["test", "a.luau"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.out.contains("no snapshot is stored; keepboth hook test --update"),
        "{}",
        missing.out
    );
    assert_eq!(hook(here, &["test", "a.luau", "--update"]).code, 0);
    assert_eq!(hook(here, &["test", "a.luau"]).code, 0);
    let stored: Json = serde_json::from_str(&read(here, "a_test.snap.json")).expect("JSON");
    assert_eq!(stored["copies"]["log"], json!([{"level": "warn", "text": "copied k"}]));
    save(here, "a.luau", &COPIER.replace("ev.actor", "'me'"));
    let other = hook(here, &["test", "a.luau"]);
    assert_eq!(other.code, 1);
    assert!(other.out.contains(".writes[1].value.by was \"ada\", is \"me\""), "{}", other.out);
    assert_eq!(hook(here, &["test", "a.luau", "--update"]).code, 0);
    assert_eq!(hook(here, &["test", "a.luau"]).code, 0);
}

#[test]
fn a_dry_run_shows_the_value_the_refusal_the_writes_and_what_was_logged() {
    let script = "local here = kb.namespace()
        here:on_put(function(ev)
            print('was', ev.old)
            if ev.value.bad then kb.reject('BAD', 'not so') end
            if ev.value.broken then error('oh') end
            ev.value.by = ev.actor
            ev.value.mark = kb.options.mark
        end)
        here:on_conflict(function(c) return kb.merge3(c.base, c.sides[1].value, c.sides[2].value) end)
        here:on_state(function(ev) kb.log.info(ev.before, ev.now) end)
        kb.every('1h', function(ev) kb.delete('notes', 'old') end)";
    let folder = folder(&[("a.luau", script), ("copier.luau", COPIER)]);
    let here = folder.path();
    let put = |value, more: &[&str]| {
        hook(here, &[&["--json", "run", "a.luau", "on_put", "notes/k", value], more].concat())
    };
    let done = put("{\"a\":1}", &["--actor", "ada", "--old", "7", "--options", "{\"mark\":2}"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let told = done.json();
    assert_eq!(told["value"], json!({"a": 1, "by": "ada", "mark": 2}));
    assert_eq!(told["log"], json!([{"level": "info", "text": "was 7"}]));
    assert!(told["took_us"].as_f64().is_some_and(|us| us > 0.0), "{told}");
    let refused = put("{\"bad\":true}", &[]);
    assert_eq!((refused.code, &refused.json()["refused"]["code"]), (7, &json!("BAD")));
    let failed = put("{\"broken\":true}", &[]);
    assert_eq!(failed.code, 1);
    assert!(
        failed.out.contains("a.luau:5 (on_put, namespace notes, key \\\"k\\\"): oh"),
        "{}",
        failed.out
    );
    let sides = "{\"base\":{\"a\":1},\"sides\":[{\"a\":2},{\"a\":1,\"b\":3}]}";
    let merged = hook(here, &["--json", "run", "a.luau", "on_conflict", "notes/k", sides]);
    assert_eq!(merged.json()["value"], json!({"a": 2, "b": 3}));
    let state = hook(
        here,
        &["run", "a.luau", "on_state", "notes", "{\"before\":\"empty\",\"now\":\"synced\"}"],
    );
    assert!(state.out.contains("info     a.luau:10: empty synced"), "{}", state.out);
    let tick = hook(here, &["run", "a.luau", "every", "notes", "1h"]);
    assert!(tick.out.contains("delete   notes/old"), "{}", tick.out);
    let copied = hook(here, &["run", "copier.luau", "after_put", "notes/k", "5", "--actor", "ada"]);
    assert!(
        copied.out.contains("put      copies/k {\"by\":\"ada\",\"value\":5}"),
        "{}",
        copied.out
    );
    let none = hook(here, &["run", "a.luau", "on_delete", "notes/k"]);
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("a.luau has no on_delete; it has on_put, on_conflict, on_state, every"),
        "{}",
        none.err
    );
}

#[test]
fn a_bench_measures_each_hook_and_a_put_without_a_script() {
    let words = ["--json", "bench", "scripts/stamp.luau", "--calls", "20"];
    let row = hook(&project(), &words).json();
    assert_eq!((&row["hook"], &row["failed"]), (&json!("on_put"), &json!(0)));
    for figure in ["p50_us", "p99_us", "no_script_us", "ratio"] {
        assert!(row[figure].as_f64().is_some_and(|us| us > 0.0), "{figure}: {row}");
    }
    assert!(row["p99_us"].as_f64() >= row["p50_us"].as_f64(), "{row}");
}

fn config(more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[namespaces.notes]\n[[namespaces.notes.plugins]]\nuse = \"lua\"\n\
         scripts = [\"own.luau\"]\ntime_limit_ms = 5000\n{more}\n"
    )
}

async fn start(script: &str, more: &str) -> Server {
    Server::start_with(&config(more), |folder| save(folder, "scripts/own.luau", script)).await
}

fn asks(server: &Server, words: &[&str]) -> Ended {
    let mut command = Command::new(program());
    command.args(["--url", &server.url()]).args(words).current_dir(server.folder.path());
    ended(command.output().expect("the program"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_script_is_held_against_what_has_been() {
    let script =
        "kb.namespace():on_put(function(ev) ev.value.n = (ev.old and ev.old.n or 0) + 1 end)";
    let server = start(script, "").await;
    let mut client = server.client().await;
    for key in ["a", "a", "b"] {
        client.put("notes", key, json!({"key": key})).await;
    }
    client.put("notes", "c", json!({})).await;
    client.ok(json!({"delete": {"ns": "notes", "key": "c"}})).await;
    let same = asks(&server, &["hook", "replay", "scripts/own.luau", "notes"]);
    assert_eq!(
        (same.code, same.out.as_str(), same.err.as_str()),
        (0, "", "3 events, 0 would differ\n")
    );
    let changed = "local here = kb.namespace()
        here:on_put(function(ev) ev.value.n = (ev.old and ev.old.n or 0) + 10 end)
        here:on_delete(function(ev) kb.reject('KEPT') end)";
    save(server.folder.path(), "new.luau", changed);
    let differs = asks(&server, &["hook", "replay", "new.luau", "notes"]);
    assert_eq!((differs.code, differs.err.as_str()), (1, "3 events, 3 would differ\n"));
    for part in [
        "put notes/a ",
        "  - value.n  2\n  + value.n  11\n",
        "  - value.n  1\n  + value.n  10\n",
        "delete notes/c ",
        "+ refused  {\"code\":\"KEPT\"",
    ] {
        assert!(differs.out.contains(part), "{part:?} in\n{}", differs.out);
    }
    let against = [
        "--json",
        "hook",
        "replay",
        "new.luau",
        "notes",
        "--against",
        "scripts/own.luau",
        "--last",
        "2",
    ];
    let against = asks(&server, &against);
    let lines: Vec<Json> =
        against.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 1, "only the delete is among the last two changes: {}", against.out);
    assert_eq!(lines[0]["differences"][0]["path"], ".refused");
    assert_eq!(client.get("notes", "a").await["n"], 2, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scripts_say_and_how_they_fail_is_shown_and_followed() {
    let script = "kb.namespace():on_put(function(ev)
            print('seen', ev.key)
            if ev.value.bad then error('oh no') end
        end)";
    let server = start(script, "").await;
    let mut client = server.client().await;
    client.put("notes", "a", json!({})).await;
    client.error(json!({"put": {"ns": "notes", "key": "b", "value": {"bad": true}}})).await;
    let log = asks(&server, &["hook", "log", "notes"]);
    let lines: Vec<&str> = log.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}{}", log.out, log.err);
    assert!(lines[0].ends_with("INFO  scripts/own.luau:2 seen a"), "{}", lines[0]);
    assert!(
        lines[2].contains("ERROR scripts/own.luau:3 hook failed: ") && lines[2].contains("oh no"),
        "{}",
        lines[2]
    );
    let last = asks(&server, &["--json", "hook", "log", "notes", "-n", "1"]).json();
    assert_eq!((&last["number"], &last["level"]), (&json!(3), &json!("error")));

    let mut follow = tokio::process::Command::new(program())
        .args(["--url", &server.url(), "--json", "hook", "log", "-f", "notes", "-n", "1"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program");
    let mut lines = BufReader::new(follow.stdout.take().expect("stdout")).lines();
    let first = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("read");
    assert!(first.expect("a line").contains("\"number\":3"));
    client.put("notes", "c", json!({})).await;
    let next = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("read");
    let next: Json = serde_json::from_str(&next.expect("a line")).expect("JSON");
    assert_eq!((&next["number"], &next["text"]), (&json!(4), &json!("seen c")));
}

#[tokio::test]
async fn the_log_of_scripts_keeps_a_thousand_lines_and_counts_what_is_gone() {
    let script = "kb.namespace():on_put(function(ev) for n = 1, 30 do print(ev.key, n) end end)";
    let server = start(script, "").await;
    let mut client = server.client().await;
    // Within the burst that a script may log at once.
    for n in 0..21 {
        client.put("notes", &format!("k{n}"), json!({})).await;
    }
    let log = client.ok(json!({"hook_log": {"ns": "notes", "after": 0, "limit": 1000}})).await;
    assert_eq!((&log["dropped"], &log["next"]), (&json!(0), &json!(630)));
    let page = client.ok(json!({"hook_log": {"ns": "notes", "after": 600, "limit": 2}})).await;
    assert_eq!((&page["lines"][0]["number"], &page["next"]), (&json!(601), &json!(602)));
    let unknown = client.error(json!({"hook_log": {"ns": "nowhere"}})).await;
    assert_eq!(unknown["code"], "unknown_namespace");
    let none = client.ok(json!({"hook_log": {"ns": "notes", "after": 630, "wait_ms": 1}})).await;
    assert_eq!((&none["lines"], &none["next"]), (&json!([]), &json!(630)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_switched_off_stands_out_in_the_status_and_each_hook_in_the_metrics() {
    let script = "local here = kb.namespace()
        here:on_put(function(ev) error('no') end)
        here:on_delete(function(ev) end)";
    let server = start(script, "on_failure = \"disable\"\ndisable_after = 2").await;
    let mut client = server.client().await;
    assert!(asks(&server, &["status"]).err.is_empty());
    for _ in 0..2 {
        client.error(json!({"put": {"ns": "notes", "key": "a", "value": 1}})).await;
    }
    let status = asks(&server, &["status"]);
    assert_eq!(status.code, 0);
    let warning = "WARNING: notes: lua: scripts/own.luau is switched off: it failed 2 times or more, one after the other; writes pass WITHOUT it until it works again";
    assert!(status.err.contains(warning), "{}", status.err);
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    assert_eq!(status["namespaces"][0]["warnings"].as_array().map(Vec::len), Some(1));
    let hooks = status["namespaces"][0]["hooks"].as_array().expect("hooks");
    let [point, hook] = &hooks[..] else { panic!("{status}") };
    assert_eq!((&point["plugin"], &point["hook"]), (&json!("lua"), &json!("before_put")));
    let expected = json!({"plugin": "lua", "script": "scripts/own.luau", "hook": "on_put",
        "calls": 2, "errors": 2, "p50_ns": hook["p50_ns"], "p99_ns": hook["p99_ns"]});
    assert_eq!(*hook, expected);
    assert!(
        hook["p50_ns"].as_u64() >= Some(1) && hook["p99_ns"].as_u64() >= hook["p50_ns"].as_u64()
    );
    let shown = asks(&server, &["status", "notes"]).out;
    let line = shown.lines().find(|line| line.ends_with("scripts/own.luau")).expect("a line");
    assert!(line.starts_with("notes      lua     on_put") && line.contains("s "), "{shown}");
    let metrics = server.get("/metrics", &[]).await;
    let label = "{namespace=\"notes\",plugin=\"lua\",script=\"scripts/own.luau\",hook=\"on_put\"}";
    for line in [
        format!("keepboth_hook_seconds_count{label} 2"),
        format!("keepboth_hook_errors_total{label} 2"),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    let log = asks(&server, &["hook", "log", "notes"]).out;
    assert!(log.contains("ERROR scripts/own.luau scripts/own.luau is switched off"), "{log}");
    save(server.folder.path(), "scripts/own.luau", "kb.namespace():on_put(function(ev) end)");
    client.ok(json!({"reload": {}})).await;
    assert!(asks(&server, &["status"]).err.is_empty(), "a new script has a new chance");
}
