//! A node that is put back from an old backup while the others never missed it.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{copy_data, members, mesh, quiet, start, until};
use crate::harness::Client;

/// Forgets what was deleted soon, but not what a member may still need.
const FORGETFUL: &str = "[namespaces.notes]\ntrash = { keep = \"100ms\", forget = \"200ms\" }\n";

async fn delete(client: &mut Client, key: &str) {
    client.ok(json!({"delete": {"ns": "notes", "key": key}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_put_back_from_an_old_backup_brings_nothing_back_that_was_deleted_and_forgotten_since()
 {
    let a = start(1, &quiet(&format!("{}{FORGETFUL}", members(&[2])))).await;
    let mut b = start(2, &mesh(&[a.url()], &format!("{}{FORGETFUL}", members(&[1])))).await;
    let mut at_a = a.client().await;
    for key in ["deleted", "changed", "stays"] {
        at_a.put("notes", key, json!("old")).await;
    }
    for server in [&a, &b] {
        until(&mut server.client().await, "all", |s| s["keys"] == 3 && s["state"] == "synced")
            .await;
    }
    b.stop().await;
    let backup = TempDir::new().expect("a folder");
    copy_data(b.folder.path(), backup.path());

    // Both go on, and both forget.
    b.go_on().await;
    until(&mut at_a, "synced", |status| status["state"] == "synced").await;
    at_a.put("notes", "stays", json!("newer")).await;
    delete(&mut at_a, "deleted").await;
    // When another delete is forgotten, nothing at all is left of the first ones.
    for _ in 0..2 {
        until(&mut at_a, "forgotten", |s| s["keys"] == 2 && s["state"] == "synced").await;
        at_a.put("notes", "later", json!(1)).await;
        delete(&mut at_a, "later").await;
    }
    until(&mut at_a, "forgotten", |s| s["keys"] == 2 && s["state"] == "synced").await;

    // A disk dies. What stands in the backup is all that node 2 knows, but for what it writes now.
    b.kill().await;
    fs::remove_dir_all(b.folder.path().join("data")).expect("the disk is gone");
    copy_data(backup.path(), b.folder.path());
    b.rewrite(&quiet(&format!("{}{FORGETFUL}", members(&[1]))));
    b.go_on().await;
    let mut at_b = b.client().await;
    at_b.put("notes", "changed", json!("meanwhile")).await;
    assert_eq!(at_b.get("notes", "deleted").await, "old");
    b.rewrite(&mesh(&[a.url()], &format!("{}{FORGETFUL}", members(&[1]))));
    at_b.ok(json!({"reload": {}})).await;
    for (server, client) in [(&a, &mut at_a), (&b, &mut at_b)] {
        let wanted = |s: &serde_json::Value| s["state"] == "synced" && s["objects"] == 2;
        let status = until(client, "two objects", wanted).await;
        assert_eq!(status["conflicts"], 0, "{}", server.log());
        assert_eq!(client.get("notes", "changed").await, "meanwhile");
        assert_eq!(client.get("notes", "stays").await, "newer");
        let gone = client.error(json!({"get": {"ns": "notes", "key": "deleted"}})).await;
        assert_eq!(gone["code"], "not_found");
    }
    assert!(b.log().contains("put back from a backup"), "{}", b.log());
}
