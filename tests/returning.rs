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
    b.until("notes", "synced").await;
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
