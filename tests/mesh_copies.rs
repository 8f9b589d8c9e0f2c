//! Data folders that were copied, put back or damaged: nothing is lost, and nobody is mistaken for another.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::{
    NOTES, alike, copy_data, give_key, id, logged, members, mesh, quiet, start, status, until,
};
use crate::harness::{PATIENCE, Server, program};

/// A server on a copy of another one's data folder.
async fn copy_of(server: &Server, config: &str) -> Server {
    Server::start_with(config, |folder| copy_data(server.folder.path(), folder)).await
}

const TWIN: &str = "a copy of this node runs elsewhere";

async fn serves(server: &Server) {
    let mut client = server.client().await;
    for n in 0..10 {
        let key = format!("served by {}", server.url());
        client.put("notes", &key, json!(n)).await;
        assert_eq!(client.get("notes", &key).await, n);
    }
    assert_eq!(client.get("notes", "before").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_dials_the_original_is_found_out_by_both_and_both_go_on_serving() {
    let mut a = start(1, &quiet(NOTES)).await;
    a.client().await.put("notes", "before", json!(1)).await;
    a.stop().await;
    a.go_on().await;
    // The original runs: what is copied is the folder of a stopped node, as a backup is.
    let stopped = TempDir::new().expect("a folder");
    a.stop().await;
    copy_data(a.folder.path(), stopped.path());
    a.go_on().await;
    let config = mesh(&[a.url()], NOTES);
    let copy = Server::start_with(&config, |folder| copy_data(stopped.path(), folder)).await;
    for server in [&a, &copy] {
        logged(server, TWIN).await;
    }
    for server in [&a, &copy] {
        serves(server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_meets_its_original_only_by_others_is_found_out_by_both() {
    let b = start(2, &mesh(&[], &format!("{}{NOTES}", members(&[1])))).await;
    let config = mesh(&[b.url()], &format!("advertise = []\n{}{NOTES}", members(&[2])));
    let mut a = start(1, &config).await;
    a.client().await.put("notes", "before", json!(1)).await;
    alike(&[&a, &b], |objects| objects["before"][1] == 1).await;
    a.stop().await;
    let copy = copy_of(&a, &config).await;
    a.go_on().await;
    for server in [&a, &copy] {
        logged(server, TWIN).await;
    }
    for server in [&a, &b, &copy] {
        serves(server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_the_folder_of_another_node_becomes_a_store_of_its_own() {
    let mut a = start(1, &quiet(&format!("{}{NOTES}", members(&[2])))).await;
    let mut at_a = a.client().await;
    for n in 0..20 {
        at_a.put("notes", &format!("k{n}"), json!(n)).await;
    }
    let store = status(&mut at_a, "notes").await["store"].clone();
    a.stop().await;
    a.go_on().await;
    let config = mesh(&[a.url()], &format!("{}{NOTES}", members(&[1])));
    a.stop().await;
    let file = a.folder.path().join("data/notes.redb");
    let b = Server::start_with(&config, |folder| {
        give_key(folder, 2);
        fs::copy(&file, folder.join("data/notes.redb")).expect("a copy");
    })
    .await;
    let (mut at_b, own) = (b.client().await, status(&mut b.client().await, "notes").await);
    assert_ne!(own["store"], store, "two nodes never write as one");
    assert_eq!(own["objects"], 20);
    assert!(b.log().contains("WARN"), "{}", b.log());
    // Both write before they meet, the one as the other would have.
    for n in 0..5 {
        at_b.put("notes", &format!("b{n}"), json!(n)).await;
        at_b.put("notes", &format!("k{n}"), json!("b")).await;
    }
    a.rewrite(&mesh(&[b.url()], &format!("{}{NOTES}", members(&[2]))));
    a.go_on().await;
    let mut at_a = a.client().await;
    assert_eq!(status(&mut at_a, "notes").await["store"], store, "the original stays itself");
    at_a.put("notes", "a", json!(1)).await;
    let objects = alike(&[&a, &b], |o| o["b4"].is_array() && o["a"].is_array()).await;
    assert_eq!(objects.as_object().map(serde_json::Map::len), Some(26));
    assert_eq!(objects["k4"][1], "b");
    for server in [&a, &b] {
        server.until("notes", "synced").await;
    }
}

async fn epoch(server: &Server) -> u64 {
    let info = server.client().await.ok(json!({"ns_info": {"ns": "notes"}})).await;
    info["epoch"].as_u64().expect("an epoch")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_put_back_from_a_backup_gets_its_lost_writes_and_a_new_epoch() {
    let b = start(2, &quiet(&format!("{}{NOTES}", members(&[1])))).await;
    let mut a = start(1, &mesh(&[b.url()], &format!("{}{NOTES}", members(&[2])))).await;
    let backup = TempDir::new().expect("a folder");
    a.client().await.put("notes", "old", json!(0)).await;
    alike(&[&a, &b], |objects| objects["old"][1] == 0).await;
    a.stop().await;
    copy_data(a.folder.path(), backup.path());
    a.go_on().await;
    let mut at_a = a.client().await;
    for n in 1..=10 {
        at_a.put("notes", "old", json!(n)).await;
        at_a.put("notes", &format!("new{n}"), json!(n)).await;
    }
    let before = alike(&[&a, &b], |objects| objects["new10"].is_array()).await;
    let epoch_before = epoch(&a).await;
    a.kill().await;
    copy_data(backup.path(), a.folder.path());
    a.go_on().await;
    // It writes before it has heard what it has lost, or after: neither may cost anything.
    let mut at_a = a.client().await;
    at_a.put("notes", "since", json!(1)).await;
    let after = alike(&[&a, &b], |o| o["since"].is_array() && o["new10"].is_array()).await;
    for (name, object) in before.as_object().expect("objects") {
        assert_eq!(&after[name], object, "{name}");
    }
    let mut client = a.client().await;
    until(&mut client, "synced", |status| status["state"] == "synced").await;
    assert!(epoch(&a).await > epoch_before, "{}", a.log());
    // The new life writes on, and its writes arrive.
    client.put("notes", "old", json!("last")).await;
    alike(&[&a, &b], |objects| objects["old"][1] == "last").await;
    assert_eq!(epoch(&b).await, 1);
}

/// Starts a server that must not start: its exit code and what it says.
async fn refuses(config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    let output = command.args(["serve", "--config"]).arg(config).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.expect("an end in time").expect("a program");
    assert!(output.stdout.is_empty(), "it has said that it listens");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_key_or_list_of_members_stops_the_start_and_is_left_as_it_is() {
    let mut server = start(1, &quiet(&format!("{}{NOTES}", members(&[2])))).await;
    server.client().await.put("notes", "k", json!(1)).await;
    server.stop().await;
    let data = server.folder.path().join("data");
    let whole = fs::read(data.join("mesh.json")).expect("a file");
    let names: Vec<_> =
        fs::read_dir(&data).expect("a folder").map(|e| e.expect("e").path()).collect();
    let cut = whole[..whole.len() / 2].to_vec();
    let strange =
        String::from_utf8_lossy(&whole).replace(&id(2).to_string(), "nobody").into_bytes();
    let short = vec![1; 31];
    for (file, damaged) in [
        ("mesh.json", cut),
        ("mesh.json", strange),
        ("mesh.json", Vec::new()),
        ("node.key", short),
        ("node.key", Vec::new()),
    ] {
        let path = data.join(file);
        let good = fs::read(&path).expect("a file");
        fs::write(&path, &damaged).expect("damaged");
        let (code, words) = refuses(&server.config()).await;
        assert_eq!(code, Some(1), "{words}");
        assert!(words.starts_with("cannot start: ") && words.contains(file), "{words}");
        assert_eq!(words.trim().lines().count(), 1, "{words}");
        assert_eq!(fs::read(&path).expect("a file"), damaged, "{file} is left as it is");
        let now: Vec<_> =
            fs::read_dir(&data).expect("a folder").map(|e| e.expect("e").path()).collect();
        assert_eq!(now.len(), names.len(), "{now:?}");
        fs::write(&path, good).expect("mended");
    }
    server.go_on().await;
    assert_eq!(server.client().await.get("notes", "k").await, 1);
    let status = status(&mut server.client().await, "notes").await;
    assert_eq!(status["peers"][0]["node"], id(2).to_string(), "the members are there: {status:#}");
}
