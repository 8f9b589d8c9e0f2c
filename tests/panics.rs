//! A panic of a plugin is a refusal or a line in the log, wherever it comes; in a thread of a plugin that comes
//! along the thread goes on where it was, nothing is lost, and status tells of it.

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::cluster::logged;
use crate::harness::{Client, PATIENCE, Server, Wire, own_program};
use crate::receiver::Receiver;

async fn start(config: &str) -> Server {
    Server::start_program(own_program(), config).await
}

/// A plugin of the namespace `notes`.
fn plugin(name: &str, settings: &str) -> String {
    format!("[[namespaces.notes.plugins]]\nuse = \"{name}\"\n{settings}\n")
}

/// Fails unless the status has just this warning.
async fn warned(client: &mut Client, thread: &str, times: u32, slipped: &str) {
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    let warning = status["namespaces"][0]["warnings"][0].as_str().expect("a warning");
    let words =
        format!("the thread {thread} panicked, {times} times by now: it slips at {slipped};");
    assert!(warning.contains(&words), "{words}: {status}");
}

async fn gone(client: &mut Client, key: &str) {
    client.event(|event| event["type"] == "delete" && event["key"] == key).await;
}

#[tokio::test]
async fn an_index_whose_thread_panics_still_has_every_write_that_was_answered() {
    let index = "[namespaces.notes.plugins.indexes]\nby_author = { path = \"/author\" }";
    let server = start(&plugin("slippery_index", index)).await;
    let mut client = server.client().await;
    for key in ["before", "slip/changes", "slip/list"] {
        client.put("notes", key, json!({"author": "ana"})).await;
    }
    let query =
        json!({"query": {"ns": "notes", "index": "by_author", "eq": "ana", "wait_ms": 60_000}});
    let mut names = Vec::new();
    let until = Instant::now() + PATIENCE;
    while names != ["before", "slip/changes", "slip/list"] {
        assert!(Instant::now() < until, "{names:?}");
        // While the thread has fallen a query is refused, and says why.
        let answer = client.try_ask(query.clone()).await.expect("an answer");
        let items = answer["ok"]["items"].as_array().cloned().unwrap_or_default();
        names = items.iter().map(|item| item["name"].as_str().unwrap_or("").to_owned()).collect();
        let refused = &answer["error"]["code"];
        assert!(refused.is_null() || refused == "index_behind", "{answer}");
    }
    warned(&mut client, "index notes", 2, "list").await;
    let asked = json!({"ns": "notes", "plugin": "slippery_index", "op": "indexes"});
    let index = client.ok(json!({"plugin": asked})).await["items"][0].take();
    assert_eq!((&index["ready"], &index["stuck"]), (&json!(true), &Json::Null), "{index}");
}

#[tokio::test]
async fn a_webhook_whose_thread_or_delivery_panics_still_tells_everything() {
    let mut receiver = Receiver::start().await;
    let target = format!(
        "[namespaces.notes.plugins.targets.crm]\nurl = \"{}\"\ninitial = true",
        receiver.url()
    );
    let server = start(&plugin("slippery_webhook", &target)).await;
    let mut client = server.client().await;
    for (key, times, method) in [("slip/changes", 1, "changes"), ("slip/shown", 2, "shown")] {
        client.put("notes", key, json!(1)).await;
        client.put("notes", &format!("behind {key}"), json!(1)).await;
        let mut missing = vec![key.to_owned(), format!("behind {key}")];
        while !missing.is_empty() {
            let event = receiver.take().await;
            missing.retain(|key| *key != event["subject"]);
        }
        warned(&mut client, "webhook notes", times, method).await;
    }
}

#[tokio::test]
async fn expiry_whose_thread_panics_still_deletes_what_has_ended() {
    let server = start(&plugin("slippery_expiry", "after = \"1ms\"")).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes"}})).await;
    for (key, times, method) in [("slip/changes", 1, "changes"), ("slip/list", 2, "list")] {
        client.put("notes", key, json!(1)).await;
        gone(&mut client, key).await;
        warned(&mut client, "expiry notes", times, method).await;
    }
}

#[tokio::test]
async fn a_timer_of_a_script_runs_on_after_a_panic() {
    let script = "kb.every(\"1s\", function() kb.put(\"notes\", \"tick\", 1) end)";
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tick.luau"), script).expect("written");
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\nscripts = {:?}\n", folder.path());
    let lua = plugin("slippery_lua", "scripts = [\"tick.luau\"]\ntime_limit_ms = 5000");
    let server = start(&format!("{config}{lua}")).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes", "initial": true}})).await;
    assert_eq!(client.change().await["key"], "tick");
    assert!(server.log().contains("timer of 1s: a panic"), "{}", server.log());
}

#[tokio::test]
async fn who_is_revoked_is_sent_away_although_the_thread_that_sees_it_panicked_before() {
    let server = start("[[plugins]]\nuse = \"slippery_auth\"\ntokens = \"tokens.json\"\n").await;
    let file = server.folder.path().join("tokens.json");
    let token = |words: &[&str]| {
        let mut command = std::process::Command::new(own_program());
        let output = command.arg("token").args(words).arg("--tokens").arg(&file).output();
        String::from_utf8(output.expect("the program").stdout).expect("text").trim().to_owned()
    };
    let root = token(&["new", "root", "--grant", "all:*"]);
    let anna = token(&["new", "anna", "--grant", "all:*"]);
    let mut operator = server.client().await;
    operator.ok(json!({"hello": {"token": root}})).await;
    let mut inside = server.client().await;
    inside.ok(json!({"hello": {"token": anna}})).await;
    // Nobody shows a token from here on: so it is the thread that comes upon the file, and falls.
    token(&["new", "ben", "--grant", "read:notes"]);
    let until = Instant::now() + PATIENCE;
    loop {
        let status = operator.ok(json!({"status": {}})).await;
        let words = "slippery_auth: the thread auth panicked, 1 times by now: it slips at warn;";
        if status["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|warning| warning.as_str().is_some_and(|warning| warning.starts_with(words)))
        {
            break;
        }
        assert!(Instant::now() < until, "{status}");
        tokio::task::yield_now().await;
    }
    token(&["revoke", "anna"]);
    let until = Instant::now() + PATIENCE;
    let error = loop {
        let answer = inside.try_ask(json!({"status": {}})).await.expect("an answer");
        if answer["ok"].is_null() {
            break answer;
        }
        assert!(Instant::now() < until, "{answer}");
        tokio::task::yield_now().await;
    };
    assert_eq!(error["error"]["message"], "your token was revoked");
}

/// A plugin that panics at these points.
fn faller(at: &[&str]) -> String {
    plugin("faller", &format!("at = {at:?}"))
}

/// The settings of a node of a mesh that dials these.
fn mesh(peers: &str) -> String {
    format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n"
    )
}

fn said(at: &str) -> String {
    format!("plugin faller panicked: it falls at {at}")
}

#[tokio::test]
async fn a_panic_before_a_write_refuses_it_and_one_after_it_or_at_the_end_is_logged() {
    for (at, request) in [
        ("before_put", json!({"put": {"ns": "notes", "key": "k", "value": 2}})),
        ("before_delete", json!({"delete": {"ns": "notes", "key": "k"}})),
    ] {
        let mut server = start("[namespaces.notes]\n").await;
        server.client().await.put("notes", "k", json!(1)).await;
        server.rewrite(&faller(&[at]));
        let mut client = server.client().await;
        client.ok(json!({"reload": {}})).await;
        for _ in 0..2 {
            let error = client.error(request.clone()).await;
            assert_eq!(error["code"], "hook_failed", "{error}");
            assert_eq!(error["message"], said(at));
        }
        assert_eq!(client.get("notes", "k").await, 1);
        assert_eq!(server.stop().await, Some(0));
    }
    let mut server = start(&faller(&["after", "state", "drain", "stop"])).await;
    server.client().await.put("notes", "k", json!(1)).await;
    logged(&server, &format!("after hook: {}", said("after"))).await;
    logged(&server, &format!("state hook: {}", said("state"))).await;
    assert_eq!(server.client().await.get("notes", "k").await, 1);
    assert_eq!(server.stop().await, Some(0));
    for at in ["drain", "stop"] {
        assert!(server.log().contains(&said(at)), "{}", server.log());
    }
    let server = start(&faller(&["before_put", "worker"])).await;
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1}});
    let error = server.client().await.error(put).await;
    let told = format!("plugin faller cannot start: {}", said("worker"));
    assert_eq!((&error["code"], &error["message"]), (&json!("hook_failed"), &json!(told)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_over_what_a_peer_sent_hides_it_and_one_over_a_conflict_keeps_both_sides() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&format!("{}[namespaces.notes]\n", mesh(""))).await;
    wire.lead_to(b.address());
    b.client().await.put("notes", "k", json!("b")).await;
    let peers = mesh(&format!("\"ws://{}\"", wire.address));
    let a = start(&format!("{peers}{}", faller(&["admit", "quarantine"]))).await;
    logged(&a, &format!("quarantine hook: {}", said("quarantine"))).await;
    let mut client = a.client().await;
    assert_eq!(client.objects("notes").await, json!({}));
    let hidden = client.ok(json!({"quarantine": {"ns": "notes"}})).await;
    assert_eq!(hidden["items"][0]["key"], "k", "{hidden}");
    assert!(hidden.to_string().contains(&said("admit")), "{hidden}");

    let wire = Wire::start().await.expect("a wire");
    let peers = mesh(&format!("\"ws://{}\"", wire.address));
    let c = start(&format!("{peers}{}", faller(&["conflict"]))).await;
    c.client().await.put("notes", "k", json!("c")).await;
    wire.lead_to(b.address());
    logged(&c, &format!("conflict hook: {}; all sides are kept", said("conflict"))).await;
    let conflicts = c.client().await.ok(json!({"conflicts": {"ns": "notes"}})).await;
    assert_eq!(conflicts["items"][0]["key"], "k", "{conflicts}");
}
