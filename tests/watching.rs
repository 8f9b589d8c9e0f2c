//! Watches: what is there, a mark, then every change; and going on after a break with nothing lost.

use serde_json::{Value as Json, json};

use crate::harness::{Client, Server};

const CONFIG: &str = "[namespaces.notes]\n";

#[tokio::test]
async fn a_watch_gives_what_is_there_then_a_mark_then_changes() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    client.put("notes", "a", json!(1)).await;
    client.put("notes", "b", json!(2)).await;
    let watch = client.ok(json!({"watch": {"ns": "notes", "initial": true}})).await;
    let (a, b, live) = (client.push().await, client.push().await, client.push().await);
    assert_eq!(
        (&a["sub"], &a["event"]["key"], &a["event"]["value"]),
        (&watch["sub"], &json!("a"), &json!(1))
    );
    assert_eq!(b["event"]["key"], "b");
    assert!(live["live"]["cursor"].is_string(), "{live}");
    client.put("notes", "c", json!(3)).await;
    let c = client.change().await;
    assert_eq!((&c["type"], &c["value"]), (&json!("put"), &json!(3)));
    client.ok(json!({"delete": {"ns": "notes", "key": "c"}})).await;
    assert_eq!(client.change().await["type"], "delete");
}

#[tokio::test]
async fn a_watch_resumes_from_its_cursor_with_nothing_lost_or_doubled() {
    let server = Server::start(CONFIG).await;
    let mut writer = server.client().await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "notes"}})).await;
    assert!(watcher.push().await["live"].is_object());
    writer.put("notes", "seen", json!(0)).await;
    let cursor = watcher.change().await["cursor"].clone();
    drop(watcher);
    for n in 0..50 {
        writer.put("notes", &format!("k{}", n % 10), json!(n)).await;
    }
    let mut again = server.client().await;
    again.ok(json!({"watch": {"ns": "notes", "cursor": cursor}})).await;
    let mut told: Vec<(String, Json)> = Vec::new();
    loop {
        let frame = again.push().await;
        if frame["live"].is_object() {
            break;
        }
        let event = &frame["event"];
        told.push((event["key"].as_str().expect("a key").to_owned(), event["value"].clone()));
    }
    let expected: Vec<(String, Json)> =
        (40..50).map(|n| (format!("k{}", n % 10), json!(n))).collect();
    assert_eq!(told, expected, "each key once, with its latest value");
    writer.put("notes", "next", json!(1)).await;
    assert_eq!(again.change().await["key"], "next");
}

#[tokio::test]
async fn a_watch_of_a_prefix_hears_of_nothing_else() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes", "prefix": "a/"}})).await;
    assert!(client.push().await["live"].is_object());
    client.put("notes", "b/1", json!(1)).await;
    client.put("notes", "a/1", json!(1)).await;
    assert_eq!(client.change().await["key"], "a/1");
}

#[tokio::test]
async fn a_watch_that_ended_is_silent() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let first = client.ok(json!({"watch": {"ns": "notes"}})).await;
    assert!(client.push().await["live"].is_object());
    client.ok(json!({"unwatch": first.clone()})).await;
    let second = client.ok(json!({"watch": {"ns": "notes"}})).await;
    assert!(client.push().await["live"].is_object());
    client.put("notes", "k", json!(1)).await;
    loop {
        let frame = client.push().await;
        assert_eq!(frame["sub"], second["sub"]);
        if frame["event"]["key"] == "k" {
            break;
        }
    }
    assert_eq!(client.error(json!({"unwatch": first})).await["code"], "not_found");
}

#[tokio::test]
async fn a_cursor_of_another_store_is_refused_with_advice() {
    let (one, other) = (Server::start(CONFIG).await, Server::start(CONFIG).await);
    let mut client = one.client().await;
    client.ok(json!({"watch": {"ns": "notes"}})).await;
    let cursor = client.push().await["live"]["cursor"].clone();
    let mut elsewhere = other.client().await;
    let refused = elsewhere.error(json!({"watch": {"ns": "notes", "cursor": cursor}})).await;
    assert_eq!(refused["code"], "bad_cursor");
    assert!(refused["hint"].is_string());
}

#[tokio::test]
async fn a_slow_watcher_misses_no_last_state_and_holds_up_nobody() {
    let server = Server::start(CONFIG).await;
    let mut slow = server.client().await;
    slow.ok(json!({"watch": {"ns": "notes"}})).await;
    let mut writer = server.client().await;
    let big = "x".repeat(30_000);
    for round in 0..20 {
        let mut last = 0;
        for n in 0..100 {
            let value = json!({"round": round, "pad": big});
            let put = json!({"put": {"ns": "notes", "key": format!("k{n}"), "value": value}});
            last = writer.ask(put).await;
        }
        writer.answer(last).await;
    }
    // 60 MB were written while nobody read the watch; now it is read to its end.
    let mut latest = std::collections::BTreeMap::new();
    while latest.values().filter(|round| **round == 19).count() < 100 {
        let event = slow.event(|event| event["type"] == "put").await;
        let key = event["key"].as_str().expect("a key").to_owned();
        let round = event["value"]["round"].as_u64().expect("a round");
        let before = latest.insert(key, round);
        assert!(before.is_none_or(|before| before < round), "in order and not twice");
    }
}

#[tokio::test]
async fn many_watches_are_refused_at_the_limit() {
    let server = Server::start("[limits]\nwatches_max = 2\n[namespaces.notes]\n").await;
    let mut client: Client = server.client().await;
    for _ in 0..2 {
        client.ok(json!({"watch": {"ns": "notes"}})).await;
    }
    let refused = client.error(json!({"watch": {"ns": "notes"}})).await;
    assert_eq!(refused["code"], "too_many_watches");
}

#[tokio::test]
async fn watches_that_the_server_has_ended_leave_room_for_others() {
    let server = Server::start("[limits]\nwatches_max = 2\n[namespaces.notes]\n").await;
    let mut client = server.client().await;
    for _ in 0..3 {
        client.ok(json!({"ns_add": {"ns": "mine"}})).await;
        client.ok(json!({"watch": {"ns": "mine"}})).await;
        client.ok(json!({"ns_rm": {"ns": "mine"}})).await;
        while client.push().await["end"].is_null() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_watch_comes_after_the_answer_to_unwatch() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let put = |n: usize| json!({"put": {"key": format!("k{n}"), "value": n}});
    let puts: Vec<Json> = (0..1_000).map(put).collect();
    client.ok(json!({"batch": {"ns": "notes", "ops": puts}})).await;
    for _ in 0..100 {
        let watch = client.ok(json!({"watch": {"ns": "notes", "initial": true}})).await;
        // It is in the midst of telling.
        assert_eq!(client.push().await["sub"], watch["sub"]);
        let unwatch = client.ask(json!({"unwatch": watch})).await;
        let get = client.ask(json!({"get": {"ns": "notes", "key": "k1"}})).await;
        client.answer(unwatch).await;
        client.forget_pushed();
        client.answer(get).await;
        client.ok(json!({"get": {"ns": "notes", "key": "k2"}})).await;
        assert_eq!(client.forget_pushed(), 0);
    }
}
