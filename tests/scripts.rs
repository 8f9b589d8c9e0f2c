//! Scripts on running servers: taken up when they are saved, kept out when they are broken, alone in
//! their harm, told of what peers wrote, and at work at times of their own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout};

use crate::cluster::logged;
use crate::harness::{Client, PATIENCE, Server, program};

fn config(server: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[namespaces.trail]\n[namespaces.notes]\n\
         [[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"own.luau\"]\n\
         time_limit_ms = 5000\n{more}\n"
    )
}

fn save(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
    std::fs::write(folder.join("scripts").join(name), text).expect("a script");
}

/// A script that marks each value on its way in and each after it.
fn marker(mark: &str) -> String {
    format!(
        "local here = kb.namespace()
         here:on_put(function(ev) ev.value.before = \"{mark}\" end)
         here:after_put(function(ev)
           kb.put(\"trail\", ev.key, {{ before = ev.value.before, after = \"{mark}\" }})
         end)"
    )
}

async fn watching(first: &str) -> (Server, Client) {
    let config = config("watch = true", "");
    let server = Server::start_with(&config, |folder| save(folder, "own.luau", first)).await;
    let client = server.client().await;
    (server, client)
}

/// Puts one value after the other until a look says that it is enough.
async fn until(client: &mut Client, mut enough: impl FnMut(&Json) -> bool) {
    let started = Instant::now();
    for n in 0.. {
        let key = format!("k{n:06}");
        client.put("notes", &key, json!({})).await;
        if enough(&client.get("notes", &key).await) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "nothing has changed after {n} writes");
    }
}

#[tokio::test]
async fn a_saved_script_is_taken_up_and_no_write_is_half_old_half_new() {
    let (server, mut client) = watching(&marker("old")).await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "trail"}})).await;
    client.put("notes", "first", json!({})).await;
    assert_eq!(client.get("notes", "first").await["before"], "old");
    save(server.folder.path(), "own.luau", &marker("new"));
    until(&mut client, |value| value["before"] == "new").await;
    client.put("notes", "last", json!({})).await;
    loop {
        let event = watcher.change().await;
        assert_eq!(event["value"]["before"], event["value"]["after"], "{event}");
        if event["key"] == "last" {
            break;
        }
    }
    let said = "scripts or schemas were saved; namespaces changed: notes";
    logged(&server, said).await;
}

#[tokio::test]
async fn a_saved_script_that_is_broken_is_kept_out_with_the_reason() {
    let (server, mut client) = watching(&marker("old")).await;
    save(server.folder.path(), "own.luau", "kb.namespace():on_put(function(ev)\n  if\nend)");
    until(&mut client, |_| server.log().contains("of what was saved was not taken")).await;
    assert!(server.log().contains("scripts/own.luau:3: "), "{}", server.log());
    client.put("notes", "k", json!({})).await;
    assert_eq!(client.get("notes", "k").await["before"], "old");
    let warnings = |status: Json| status["warnings"].clone();
    let ended = Instant::now() + PATIENCE;
    let found = loop {
        let found = warnings(client.ok(json!({"status": {}})).await);
        if !found.is_null() {
            break found;
        }
        assert!(Instant::now() < ended, "what was not taken is not warned of");
        tokio::task::yield_now().await;
    };
    let told = "what was saved is not in force, its old version is: scripts/own.luau:3: ";
    assert!(found[0].as_str().is_some_and(|words| words.starts_with(told)), "{found}");
    std::fs::remove_file(server.folder.path().join("scripts/own.luau")).expect("removed");
    until(&mut client, |_| server.log().contains("own.luau: there is no such file")).await;
    client.put("notes", "k", json!({})).await;
    assert_eq!(client.get("notes", "k").await["before"], "old");
    save(server.folder.path(), "own.luau", &marker("new"));
    until(&mut client, |value| value["before"] == "new").await;
    let ended = Instant::now() + PATIENCE;
    while !warnings(client.ok(json!({"status": {}})).await).is_null() {
        assert!(Instant::now() < ended, "what is taken again is not warned of");
        tokio::task::yield_now().await;
    }
    server.rewrite("[server]\nlisten = 5\n");
    client.error(json!({"reload": {}})).await;
    let told = "the configuration that was read last has mistakes and is not in force: keepboth check tells them";
    assert_eq!(warnings(client.ok(json!({"status": {}})).await), json!([told]));
    server.rewrite(&config("watch = true", ""));
    client.ok(json!({"reload": {}})).await;
    assert!(warnings(client.ok(json!({"status": {}})).await).is_null());
}

#[tokio::test]
async fn a_saved_script_whose_test_fails_is_kept_out() {
    let (server, mut client) = watching(&marker("old")).await;
    let test = "test(\"marks\", function()\n  equal(hooks.put({ value = {} }).value.before, \"old\")\nend)";
    save(server.folder.path(), "own_test.luau", test);
    save(server.folder.path(), "own.luau", &marker("new"));
    until(&mut client, |_| server.log().contains("of what was saved was not taken")).await;
    let why =
        "1 of 1 tests failed: \"marks\": scripts/own_test.luau:2: expected \"old\", found \"new\"";
    assert!(server.log().contains(why), "{}", server.log());
    client.put("notes", "k", json!({})).await;
    assert_eq!(client.get("notes", "k").await["before"], "old");
}

#[tokio::test]
async fn a_saved_script_that_is_broken_keeps_out_only_itself() {
    let mark = |member: &str, mark: &str| {
        format!("kb.namespace():on_put(function(ev) ev.value.{member} = \"{mark}\" end)")
    };
    let config = config(
        "watch = true",
        "[[namespaces.more.plugins]]\nuse = \"lua\"\nscripts = [\"more.luau\"]\ntime_limit_ms = 5000",
    )
    .replace("[\"own.luau\"]", "[\"own.luau\", \"other.luau\", \"third.luau\"]");
    let server = Server::start_with(&config, |folder| {
        for name in ["own", "other", "third", "more"] {
            save(folder, &format!("{name}.luau"), &mark(name, "old"));
        }
    })
    .await;
    let (folder, mut client) = (server.folder.path(), server.client().await);
    save(folder, "own.luau", "kb.namespace():on_put(function(ev)\n  if\nend)");
    save(folder, "third_test.luau", "test(\"t\", function() error(\"no\") end)");
    save(folder, "third.luau", &mark("third", "new"));
    save(folder, "more.luau", &mark("more", "new"));
    save(folder, "other.luau", &mark("other", "new"));
    until(&mut client, |value| value["other"] == "new").await;
    client.put("notes", "k", json!({})).await;
    let expected = json!({"own": "old", "other": "new", "third": "old"});
    assert_eq!(client.get("notes", "k").await, expected);
    client.put("more", "k", json!({})).await;
    assert_eq!(client.get("more", "k").await["more"], "new", "other namespaces go on too");
    let log = server.log();
    for told in ["of what was saved was not taken", "scripts/own.luau:3: ", "third_test.luau:1: no"]
    {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(!log.contains("scripts/other.luau"), "{log}");
    save(folder, "own.luau", &mark("own", "new"));
    until(&mut client, |value| value["own"] == "new").await;
}

#[test]
fn a_script_that_a_namespace_has_twice_is_a_mistake_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    save(folder.path(), "own.luau", "kb.every(\"1h\", print)");
    let twice = "[[namespaces.notes.plugins]]\nuse = \"lua\"\ntime_limit_ms = 5\nscripts = [\"own.luau\"]\n";
    let elsewhere = twice.replace("notes", "more");
    let path = folder.path().join("config.toml");
    for (more, code) in [(&*elsewhere, 0), (twice, 78)] {
        std::fs::write(&path, config("", more)).expect("a config");
        let mut check = Command::new(program());
        let out = check.arg("check").arg("--config").arg(&path).output().expect("run");
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{text}");
        let told = "config.toml:13:12: error: the script own.luau is given to \"lua\" twice here";
        assert_eq!(text.contains(told), code == 78, "{text}");
    }
}

#[test]
fn a_server_does_not_start_with_a_script_that_is_broken_or_fails_its_test() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.toml"), config("", "")).expect("a config");
    let serve = || {
        let path = folder.path().join("config.toml");
        let mut serve = Command::new(program());
        let out = serve.arg("serve").arg("--config").arg(path).output().expect("run");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for (script, test, words) in [
        ("local x = \n", None, "scripts/own.luau:2: "),
        ("while true do end", None, "scripts/own.luau:1: took longer than 5,000 ms"),
        (
            "kb.every('1h', print)",
            Some("test('t', function() error('no') end)"),
            "1 of 1 tests failed",
        ),
    ] {
        save(folder.path(), "own.luau", script);
        if let Some(test) = test {
            save(folder.path(), "own_test.luau", test);
        }
        let (exit, told) = serve();
        assert_eq!(exit, Some(78), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn while_a_script_loops_other_namespaces_do_all_their_writes() {
    let script = "kb.namespace():on_put(function(ev) while true do pcall(function() while true do end end) end end)";
    let mut config = config("", "");
    config = config.replace("time_limit_ms = 5000", "time_limit_ms = 10000");
    let server = Server::start_with(&config, |folder| save(folder, "own.luau", script)).await;
    let (mut slow, mut quick) = (server.client().await, server.client().await);
    slow.ask(json!({"put": {"ns": "notes", "key": "k", "value": {}}})).await;
    for n in 0..40 {
        quick.put("trail", &format!("k{n}"), json!(n)).await;
    }
    let answer = timeout(Duration::ZERO, slow.frame()).await;
    assert!(answer.is_err(), "40 writes are done while one hook still runs: {answer:?}");
}

#[tokio::test]
async fn hooks_are_told_what_peers_write_if_they_declare_it_and_nothing_of_repair_and_recovery() {
    let script = "local here = kb.namespace()
        here:after_put(function(ev) kb.put('seen', ev.key .. '/' .. ev.source, ev.value) end, { on = 'both' })
        here:after_put(function(ev) kb.put('seen', ev.key .. '/local', ev.source) end)";
    let b = "[mesh]\ndev = true\n[namespaces.notes]\n";
    let b = Server::start(b).await;
    for n in 0..100 {
        b.client().await.put("notes", &format!("before/{n}"), json!(0)).await;
    }
    let a = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[mesh]\ndev = true\npeers = [\"{}\"]\n[namespaces.seen]\n[namespaces.notes]\n\
         [[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"own.luau\"]\ntime_limit_ms = 5000\n",
        b.url()
    );
    let mut a = Server::start_with(&a, |folder| save(folder, "own.luau", script)).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "here", json!(1)).await;
    a.until("notes", "synced").await;
    let mut watcher = a.client().await;
    watcher.ok(json!({"watch": {"ns": "seen"}})).await;
    at_b.put("notes", "there", json!(2)).await;
    let event = watcher.event(|event| event["key"] == "there/peer").await;
    assert_eq!(event["value"], 2);
    let mut keys: Vec<String> =
        at_a.objects("seen").await.as_object().expect("objects").keys().cloned().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["here/client", "here/local", "there/peer"],
        "nothing of what was there before"
    );
    assert_eq!(at_a.objects("notes").await.as_object().map(|all| all.len()), Some(102));
    a.kill().await;
    a.go_on().await;
    let mut at_a = a.client().await;
    let mut watcher = a.client().await;
    watcher.ok(json!({"watch": {"ns": "seen"}})).await;
    at_a.put("notes", "again", json!(3)).await;
    watcher.event(|event| event["key"] == "again/local").await;
    for key in keys {
        let history = at_a.ok(json!({"history": {"ns": "seen", "key": key}})).await;
        assert_eq!(history["versions"].as_array().map(Vec::len), Some(1), "{key} once: {history}");
    }
}

#[tokio::test]
async fn a_script_is_loaded_once_for_its_thread_and_again_after_it_hit_a_limit() {
    let script = "print('loaded')
        kb.namespace():on_put(function(ev) while ev.key == 'loop' do end end)";
    let config = config("", "").replace("time_limit_ms = 5000", "time_limit_ms = 2000");
    let server = Server::start_with(&config, |folder| save(folder, "own.luau", script)).await;
    let mut client = server.client().await;
    let loaded = async |client: &mut Client| {
        let log = json!({"hook_log": {"ns": "notes", "after": 0, "limit": 1000}});
        let log = client.ok(log).await;
        let lines = log["lines"].as_array().expect("lines").iter();
        lines.filter(|line| line["text"] == "loaded").count()
    };
    client.put("notes", "first", json!(0)).await;
    let first = loaded(&mut client).await;
    for n in 0..100 {
        client.put("notes", &format!("k{n}"), json!(n)).await;
    }
    assert_eq!(loaded(&mut client).await, first);
    let error = client.error(json!({"put": {"ns": "notes", "key": "loop", "value": 1}})).await;
    assert_eq!(error["code"], "hook_failed", "{error}");
    client.put("notes", "last", json!(0)).await;
    assert_eq!(loaded(&mut client).await, first + 1);
}

#[tokio::test]
async fn a_timer_runs_and_reads_and_writes() {
    let script = "kb.namespace():on_delete(print)
        kb.every('1s', function(ev)
            local items = kb.list('notes', 'count/')
            local last = kb.get('trail', 'count')
            kb.put('trail', 'count', { objects = #items, turns = (last and last.turns or 0) + 1 })
        end, { on = 'every' })";
    let server =
        Server::start_with(&config("", ""), |folder| save(folder, "own.luau", script)).await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    watcher.ok(json!({"watch": {"ns": "trail"}})).await;
    client.put("notes", "count/1", json!(1)).await;
    client.put("notes", "count/2", json!(1)).await;
    let event = watcher.event(|event| event["value"]["objects"] == 2).await;
    let turns = event["value"]["turns"].as_u64().expect("a count");
    watcher.event(|event| event["value"]["turns"] == turns + 1).await;
}
