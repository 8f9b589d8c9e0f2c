//! Deletes are forgotten in their time, and who was away for too long brings nothing back unseen.

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::harness::{Client, PATIENCE, Server};

/// A node that forgets fast, and holds no place for one that is silent for a second.
fn config(peers: &[String]) -> String {
    format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\nexpire = \"1s\"\n\
         reconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\ncompare_every = \"1s\"\n\
         [namespaces.notes]\ntrash = {{ keep = \"100ms\", forget = \"200ms\" }}\n"
    )
}

/// Asks for the status until it is as wanted.
async fn until(client: &mut Client, wanted: impl Fn(&Json) -> bool) -> Json {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut status = client.ok(json!({"status": {"ns": "notes"}})).await;
        let status = status["namespaces"][0].take();
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < end, "not in time: {status}");
    }
}

async fn delete(client: &mut Client, key: &str) {
    client.ok(json!({"delete": {"ns": "notes", "key": key}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_all_members_have_is_forgotten_everywhere() {
    let b = Server::start(&config(&[])).await;
    let a = Server::start(&config(&[b.url()])).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "stays", json!(1)).await;
    at_a.put("notes", "goes", json!(1)).await;
    // It may be called synced before the last put is on its way.
    until(&mut at_b, |s| s["keys"] == 2 && s["state"] == "synced").await;
    delete(&mut at_b, "goes").await;
    for client in [&mut at_a, &mut at_b] {
        let status = until(client, |s| s["keys"] == 1 && s["state"] == "synced").await;
        assert_eq!((&status["trash"], &status["objects"]), (&json!(0), &json!(1)));
    }
    // It may be written anew, as if it had never been.
    at_b.put("notes", "goes", json!("again")).await;
    a.until("notes", "synced").await;
    until(&mut at_a, |s| s["keys"] == 2).await;
    assert_eq!(at_a.get("notes", "goes").await, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_too_long_brings_back_its_changes_and_nothing_that_was_deleted() {
    let mut b = Server::start(&config(&[])).await;
    let a = Server::start(&config(&[b.url()])).await;
    let mut at_a = a.client().await;
    for key in ["deleted", "changed", "stays"] {
        at_a.put("notes", key, json!("old")).await;
    }
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    b.stop().await;
    a.until("notes", "not_synced").await;
    for key in ["deleted", "changed"] {
        delete(&mut at_a, key).await;
    }
    at_a.put("notes", "stays", json!("newer")).await;
    // B is not waited for: nothing is left of what was deleted.
    until(&mut at_a, |status| status["keys"] == 1).await;
    // When another delete is forgotten, nothing at all is left of the first ones.
    for _ in 0..2 {
        at_a.put("notes", "later", json!(1)).await;
        delete(&mut at_a, "later").await;
        until(&mut at_a, |status| status["keys"] == 1).await;
    }

    // B goes on alone, and one of its objects changes.
    b.go_on().await;
    let mut at_b = b.client().await;
    at_b.put("notes", "changed", json!("meanwhile")).await;
    b.rewrite(&config(&[a.url()]));
    at_b.ok(json!({"reload": {}})).await;
    for (server, client) in [(&a, &mut at_a), (&b, &mut at_b)] {
        let status = until(client, |s| s["state"] == "synced" && s["objects"] == 2).await;
        assert_eq!(status["conflicts"], 0, "{}", server.log());
        assert_eq!(client.get("notes", "changed").await, "meanwhile");
        assert_eq!(client.get("notes", "stays").await, "newer");
        let gone = client.error(json!({"get": {"ns": "notes", "key": "deleted"}})).await;
        assert_eq!(gone["code"], "not_found");
    }
    assert!(b.log().contains("this node was away"), "{}", b.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lay_in_the_trash_of_a_node_that_was_away_is_forgotten_there_too_when_it_comes_back() {
    let a = Server::start(&config(&[])).await;
    // B keeps its own trash for long.
    let patient = config(&[a.url()]).replace("forget = \"200ms\"", "forget = \"1d\"");
    let mut b = Server::start(&patient).await;
    let mut at_a = a.client().await;
    for key in ["deleted", "stays"] {
        at_a.put("notes", key, json!(1)).await;
    }
    a.until("notes", "synced").await;
    // A delete that both have, and that A forgets when B is away for too long.
    a.rewrite(&config(&[]).replace("forget = \"200ms\"", "forget = \"1d\""));
    at_a.ok(json!({"reload": {}})).await;
    delete(&mut at_a, "deleted").await;
    let in_trash = |s: &Json| s["state"] == "synced" && s["trash"] == 1 && s["objects"] == 1;
    until(&mut b.client().await, in_trash).await;
    until(&mut at_a, in_trash).await;
    b.stop().await;
    a.rewrite(&config(&[]));
    at_a.ok(json!({"reload": {}})).await;
    until(&mut at_a, |status| status["keys"] == 1).await;
    // When another delete is forgotten, nothing at all is left of the first ones.
    for later in ["one", "two"] {
        at_a.put("notes", later, json!(1)).await;
        delete(&mut at_a, later).await;
        until(&mut at_a, |status| status["keys"] == 1).await;
    }
    b.go_on().await;
    for client in [&mut at_a, &mut b.client().await] {
        let alike = |s: &Json| s["state"] == "synced" && s["keys"] == 1 && s["trash"] == 0;
        until(client, |s| s["peers"][0]["connected"] == true && alike(s)).await;
    }
    assert!(b.log().contains("this node was away"), "{}", b.log());
}

/// How many records of a key are kept, and how many of them with their value.
async fn kept(client: &mut Client, namespace: &str) -> (usize, usize) {
    let ask = json!({"history": {"ns": namespace, "key": "k", "limit": 1000}});
    let page = client.ok(ask).await;
    let versions = page["versions"].as_array().expect("versions");
    (versions.len(), versions.iter().filter(|version| version["kind"].is_string()).count())
}

/// What stays of many updates: five records, the newest two with their values, and that of the first
/// version, which the line begins with.
const KEPT: (usize, usize) = (6, 2);

async fn until_kept(client: &mut Client, namespace: &str, wanted: (usize, usize)) {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = kept(client, namespace).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < end, "{namespace}: {found:?} are kept, not {wanted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_stay_until_a_node_that_is_away_has_them_and_then_go() {
    // Retention looks as often as the shortest of these times wants.
    let rules =
        "history = { values = 2, records = 5 }\ntrash = { keep = \"100ms\", forget = \"200ms\" }\n";
    let config = |peers: &[String]| {
        format!(
            "[mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\nreconnect_min = \"20ms\"\n\
             reconnect_max = \"100ms\"\ncompare_every = \"1s\"\n[namespaces.notes]\n{rules}\
             [namespaces.alone]\nreplicate = false\n{rules}"
        )
    };
    let a = Server::start(&config(&[])).await;
    let mut b = Server::start(&config(&[a.url()])).await;
    let mut at_a = a.client().await;
    for n in 0..10 {
        at_a.put("notes", "k", json!(n)).await;
    }
    until_kept(&mut at_a, "notes", KEPT).await;
    until_kept(&mut b.client().await, "notes", KEPT).await;
    a.until("notes", "synced").await;
    b.stop().await;
    a.until("notes", "not_synced").await;
    for n in 10..20 {
        at_a.put("notes", "k", json!(n)).await;
    }
    // Where nobody is waited for, retention has looked again and again meanwhile.
    for _ in 0..3 {
        for n in 0..10 {
            at_a.put("alone", "k", json!(n)).await;
        }
        until_kept(&mut at_a, "alone", KEPT).await;
    }
    let (records, values) = kept(&mut at_a, "notes").await;
    assert!(records >= 10 && values >= 10, "{records} records and {values} values are kept");

    b.go_on().await;
    let mut at_b = b.client().await;
    for (server, client) in [(&a, &mut at_a), (&b, &mut at_b)] {
        server.until("notes", "synced").await;
        until_kept(client, "notes", KEPT).await;
        assert_eq!(client.get("notes", "k").await, 19);
    }
}
