//! What plugins are promised: a life from start to stop, a host to work with, and the story of each write.

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::harness::{Client, PATIENCE, Server, Wire, check_config, own_program, run_own};

const NAMESPACES: &str =
    "[namespaces.trail]\nreplicate = false\n[namespaces.mirror]\nreplicate = false\n";

/// A namespace `notes` with a probe of these settings, and two without plugins.
fn with_probe(settings: &str) -> String {
    format!("[[namespaces.notes.plugins]]\nuse = \"probe\"\n{settings}\n{NAMESPACES}")
}

async fn start(settings: &str) -> (Server, Client) {
    let server = Server::start_program(own_program(), &with_probe(settings)).await;
    let client = server.client().await;
    (server, client)
}

/// What the probe of a namespace wrote down of its life.
fn life(server: &Server, namespace: &str) -> Vec<String> {
    let file = server.folder.path().join("data/plugins").join(namespace).join("probe/life");
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

async fn life_until(server: &Server, namespace: &str, last: &str) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let lines = life(server, namespace);
        if lines.last().is_some_and(|line| line == last) {
            return lines;
        }
        assert!(Instant::now() < until, "{last:?} does not come: {lines:?}");
        tokio::task::yield_now().await;
    }
}

/// The entries of the trail once there are so many.
async fn trail(server: &Server, count: usize) -> Vec<Json> {
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "trail", "initial": true}})).await;
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.push(watcher.change().await["value"].take());
    }
    entries.sort_by_key(|entry| entry["key"].to_string() + entry["source"].as_str().unwrap_or(""));
    entries
}

/// The settings of a node of a mesh that dials these.
fn mesh(peers: &str) -> String {
    format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n"
    )
}

fn put(key: &str, value: Json) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": value}})
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

#[tokio::test]
async fn a_plugin_is_started_once_and_drained_and_stopped_when_another_takes_its_place() {
    let both = |word: &str| {
        format!(
            "{}[[namespaces.still.plugins]]\nuse = \"probe\"\nword = \"still\"\n",
            with_probe(&format!("word = \"{word}\""))
        )
    };
    let mut server = Server::start_program(own_program(), &both("a")).await;
    assert_eq!(life(&server, "notes"), ["start \"a\""]);
    let mut client = server.client().await;
    client.ok(put("k", json!({"n": 1}))).await;
    server.rewrite(&both("b"));
    let changed = client.ok(json!({"reload": {}})).await;
    assert_eq!(changed["namespaces_changed"], json!(["notes"]));
    client.ok(put("k", json!({"n": 2}))).await;
    let expected = ["start \"a\"", "start \"b\"", "drain \"a\"", "stop \"a\""];
    assert_eq!(life_until(&server, "notes", "stop \"a\"").await, expected);
    assert_eq!(server.stop().await, Some(0));
    assert_eq!(life(&server, "notes")[4..], ["drain \"b\"", "stop \"b\""]);
    assert_eq!(life(&server, "still"), ["start \"still\"", "drain \"still\"", "stop \"still\""]);
}

#[tokio::test]
async fn the_plugins_of_a_namespace_that_goes_are_stopped() {
    let (server, mut client) = start("word = \"a\"").await;
    server.rewrite(NAMESPACES);
    let changed = client.ok(json!({"reload": {}})).await;
    assert_eq!(changed["namespaces_removed"], json!(["notes"]));
    assert_eq!(life(&server, "notes"), ["start \"a\"", "drain \"a\"", "stop \"a\""]);
}

#[tokio::test]
async fn a_plugin_that_does_not_start_ends_the_start_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n{}", with_probe("fails = true"));
    std::fs::write(&file, config).expect("written");
    assert_eq!(run_own(&["check"], &file).await.0, 0, "check configures and starts nothing");
    assert!(!folder.path().join("data").exists());
    let (code, text) = run_own(&["serve"], &file).await;
    assert_eq!(code, 78, "{text}");
    assert!(
        text.contains("config.toml:4:7: error: the plugin probe cannot start: it does not want to"),
        "{text}"
    );
}

#[tokio::test]
async fn a_reload_in_which_a_plugin_does_not_start_changes_nothing_and_says_why() {
    let (server, mut client) = start("word = \"a\"").await;
    let new = "[[namespaces.new.plugins]]\nuse = \"probe\"\nword = \"new\"\n";
    server.rewrite(&format!("{new}{}", with_probe("word = \"b\"\nfails = true")));
    let error = client.error(json!({"reload": {}})).await;
    assert_eq!(error["code"], "bad_config");
    assert!(
        words(&error).contains("the plugin probe cannot start: it does not want to"),
        "{error}"
    );
    assert!(words(&error).contains("use = \"probe\""), "it shows the place: {error}");
    assert_eq!(life(&server, "notes"), ["start \"a\""], "the old one stays");
    assert_eq!(life(&server, "new"), ["start \"new\"", "drain \"new\"", "stop \"new\""]);
    client.ok(put("k", json!({"n": 1}))).await;
    let gone = client.error(json!({"list": {"ns": "new"}})).await;
    assert_eq!(gone["code"], "unknown_namespace");
    server.rewrite(&with_probe("word = \"c\""));
    client.ok(json!({"reload": {}})).await;
    assert!(life_until(&server, "notes", "stop \"a\"").await.contains(&"start \"c\"".to_owned()));
}

#[tokio::test]
async fn hooks_are_told_the_old_value_and_where_a_write_comes_from() {
    let (server, mut client) = start("trail = \"trail\"").await;
    client.ok(json!({"hello": {"client": "anna"}})).await;
    client.ok(put("k", json!({"n": 1}))).await;
    assert_eq!(client.get("notes", "k").await, json!({"n": 1, "was": null}));
    client.ok(put("k", json!({"n": 2}))).await;
    assert_eq!(client.get("notes", "k").await, json!({"n": 2, "was": 1}));
    client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    let entries = trail(&server, 3).await;
    let mut old: Vec<String> = entries.iter().map(|entry| entry["old"].to_string()).collect();
    old.sort();
    assert_eq!(old, ["1", "2", "null"]);
    assert!(entries.iter().all(|e| e["source"] == "client" && e["actor"] == "anna"), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_hooks_hear_of_what_peers_send_live_with_the_peer_as_its_source() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&format!("{}[namespaces.notes]\n", mesh(""))).await;
    wire.lead_to(b.address());
    let config = format!(
        "{}{}",
        mesh(&format!("\"ws://{}\"", wire.address)),
        with_probe("trail = \"trail\"")
    );
    let a = Server::start_program(own_program(), &config).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.ok(put("here", json!({"n": 1}))).await;
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    at_b.ok(put("there", json!({"n": 7}))).await;
    at_b.ok(put("there", json!({"n": 8}))).await;
    let entries = trail(&a, 3).await;
    let told = |entry: &Json| format!("{} {} {}", entry["key"], entry["source"], entry["old"]);
    let mut told: Vec<String> = entries.iter().map(told).collect();
    told.sort();
    let expected = ["\"here\" \"client\" null", "\"there\" \"peer\" 7", "\"there\" \"peer\" null"];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_a_plugin_does_not_admit_is_told_as_held() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&format!("{}[namespaces.notes]\n", mesh(""))).await;
    wire.lead_to(b.address());
    b.client().await.ok(put("k", json!({"n": 1}))).await;
    let peers = mesh(&format!("\"ws://{}\"", wire.address));
    let config = format!("{peers}{}", with_probe("word = \"a\"\nrefuses = true"));
    let a = Server::start_program(own_program(), &config).await;
    life_until(&a, "notes", "held k hook_refused").await;
    assert_eq!(a.client().await.objects("notes").await, json!({}));
}

#[tokio::test]
async fn a_plugin_follows_the_feed_from_a_thread_of_its_own_and_goes_on_after_a_restart() {
    let (mut server, mut client) = start("mirror = \"mirror\"").await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "mirror"}})).await;
    client.ok(put("a", json!({"n": 1}))).await;
    assert_eq!(watcher.change().await["value"]["n"], 1);
    client.ok(json!({"delete": {"ns": "notes", "key": "a"}})).await;
    assert_eq!(watcher.change().await["type"], "delete");
    server.stop().await;
    let place = server.folder.path().join("data/plugins/notes/probe/place");
    assert_eq!(std::fs::read_to_string(place).expect("a place"), "2");
    server.go_on().await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    watcher.ok(json!({"watch": {"ns": "mirror"}})).await;
    client.ok(put("b", json!({"n": 3}))).await;
    let event = watcher.change().await;
    assert_eq!((&event["key"], &event["value"]["n"]), (&json!("b"), &json!(3)));
    let history = client.ok(json!({"history": {"ns": "mirror", "key": "a"}})).await;
    assert_eq!(history["versions"].as_array().map(Vec::len), Some(2), "nothing was copied twice");
}

#[tokio::test]
async fn a_hook_may_read_by_the_host_and_may_not_wait_for_a_write() {
    let (_server, mut client) = start("word = \"a\"").await;
    let error = client.error(put("wait", json!(1))).await;
    assert_eq!(error["code"], "hook_failed");
    assert!(words(&error).contains("a hook may not write"), "{error}");
    client.ok(put("deep", json!("first"))).await;
    client.ok(put("deep", json!("second"))).await;
    let value = client.get("notes", "deep").await;
    assert_eq!(value, json!({"read": {"read": null}}));
}

#[tokio::test]
async fn a_panic_of_a_plugin_is_a_refusal_and_all_calls_are_counted() {
    let (server, mut client) = start("mirror = \"mirror\"").await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "mirror"}})).await;
    let error = client.error(put("panic", json!(1))).await;
    assert_eq!(error["code"], "hook_failed");
    assert!(words(&error).contains("plugin probe panicked: a key makes it panic"), "{error}");
    client.ok(put("k", json!({"n": 1}))).await;
    watcher.change().await;
    // The plugin counts after what it wrote is durable.
    let copied =
        "keepboth_plugin_count_total{namespace=\"notes\",plugin=\"probe\",name=\"copied\"} 1";
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = server.get("/metrics", &[]).await;
        if text.contains(copied) {
            break text;
        }
        assert!(Instant::now() < until, "{copied}: {text}");
    };
    let label = "{namespace=\"notes\",plugin=\"probe\",point=\"before_put\"}";
    for line in [
        format!("keepboth_plugin_seconds_count{label} 2"),
        format!("keepboth_plugin_errors_total{label} 1"),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(text.contains("keepboth_plugin_seconds_bucket{le=\""), "{text}");
}

#[tokio::test]
async fn a_thread_of_a_plugin_that_panics_is_started_again_and_log_and_status_tell_of_it() {
    let (mut server, mut client) = start("mirror = \"mirror\"").await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "mirror"}})).await;
    client.ok(put("slip", json!({"n": 1}))).await;
    assert_eq!(watcher.change().await["key"], "slip", "it goes on where it was");
    let told =
        "the thread mirror panicked, 1 times by now: it slips; each time it is started again";
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    assert_eq!(status["namespaces"][0]["warnings"], json!([format!("probe: {told}")]));
    assert!(server.log().contains(told), "{}", server.log());
    let text = server.get("/metrics", &[]).await;
    let count =
        "keepboth_plugin_count_total{namespace=\"notes\",plugin=\"probe\",name=\"panics\"} 1";
    assert!(text.contains(count), "{text}");
    assert_eq!(server.stop().await, Some(0));
}

#[tokio::test]
async fn a_plugin_that_panics_before_it_runs_ends_the_start_with_its_place() {
    for (step, told) in [
        ("make", "config.toml:4:7: error: the plugin probe panicked when it was made: "),
        ("points", "config.toml:4:7: error: plugin probe panicked: "),
        ("fingerprint", "config.toml:4:7: error: plugin probe panicked: "),
        ("start", "config.toml:4:7: error: the plugin probe cannot start: plugin probe panicked: "),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let settings = with_probe(&format!("panics = \"{step}\""));
        let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n{settings}");
        std::fs::write(&file, config).expect("written");
        let (code, text) = run_own(&["serve"], &file).await;
        assert_eq!(code, 78, "{step}: {text}");
        assert!(text.contains(told) && text.contains("it does so at this step"), "{step}: {text}");
        let checked = if step == "start" { 0 } else { 78 };
        assert_eq!(run_own(&["check"], &file).await.0, checked, "{step}");
    }
}

#[tokio::test]
async fn a_plugin_answers_what_operators_ask_and_whatever_goes_wrong_is_told() {
    let (server, mut client) = start("word = \"a\"").await;
    let ask = |ns: &str, plugin: &str, op: &str| json!({"plugin": {"ns": ns, "plugin": plugin, "op": op, "arguments": {"n": [1, null]}}});
    let answer = client.ok(ask("notes", "probe", "echo")).await;
    assert_eq!(answer, json!({"word": "a", "told": {"n": [1, null]}}));
    for (question, code, told) in [
        (ask("notes", "probe", "refuse"), "not_found", "nothing of that here"),
        (ask("notes", "probe", "panic"), "hook_failed", "a question makes it panic"),
        (ask("notes", "probe", "much"), "frame_too_large", "the limit is 1,040,384 bytes"),
        (ask("notes", "probe", "dance"), "not_found", "probe has no answer to \"dance\""),
        (ask("notes", "probo", "echo"), "not_found", "has no plugin \"probo\""),
        (ask("nowhere", "probe", "echo"), "unknown_namespace", "no namespace \"nowhere\""),
        (json!({"query": {"ns": "notes", "index": "x"}}), "not_found", "has no indexes"),
    ] {
        let error = client.error(question).await;
        assert_eq!(error["code"], code, "{error}");
        assert!(words(&error).contains(told), "{error}");
    }
    let text = server.get("/metrics", &[]).await;
    let label = "{namespace=\"notes\",plugin=\"probe\",point=\"answer\"}";
    assert!(text.contains(&format!("keepboth_plugin_errors_total{label} 2")), "{text}");
}

#[tokio::test]
async fn plugins_in_a_wrong_place_or_twice_are_told_with_line_and_column() {
    let probe = "[[namespaces.notes.plugins]]\nuse = \"probe\"\nword = \"a\"\n";
    let doorman = "[[plugins]]\nuse = \"doorman\"\n";
    for (config, told) in [
        (
            format!("{probe}{probe}"),
            "config.toml:5:7: error: \"probe\" is used twice here with the same settings",
        ),
        (
            format!("{doorman}{doorman}banned = \"x\"\n"),
            "config.toml:4:7: error: \"doorman\" is used twice here",
        ),
        (
            "[[plugins]]\nuse = \"probe\"\n".into(),
            "config.toml:2:7: error: \"probe\" is for a namespace: use it in [[namespaces.NAME.plugins]]",
        ),
        (
            probe.replace("probe", "doorman").replace("word = \"a\"", ""),
            "config.toml:2:7: error: \"doorman\" is for the server as a whole: use it in [[plugins]]",
        ),
        (probe.replace("probe", "prob"), "config.toml:2:7: error: there is no plugin \"prob\""),
        (
            probe.replace("word", "wort"),
            "config.toml:3:1: error: unknown key \"wort\" in [[namespaces.notes.plugins]]",
        ),
        (
            "[[plugins]]\nuse = \"doorman\"\nbaned = \"x\"\n".into(),
            "config.toml:3:1: error: unknown key \"baned\" in [[plugins]]",
        ),
        ("[[plugins]]\nuse = 5\n".into(), "config.toml:2:7: error: use is a text in quotes, not 5"),
        (
            "[[plugins]]\nuse = \"doorman\"\ntokens = { a = [[\"*\"]] }\n".into(),
            "config.toml:3:16: error: a grant is a list of texts",
        ),
    ] {
        let (code, text) = check_config(&config).await;
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
    let (code, text) = check_config(&format!("{probe}{}", probe.replace("\"a\"", "\"b\""))).await;
    assert_eq!(code, 0, "a plugin that may stand there several times does: {text}");
}
