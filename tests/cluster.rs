//! What tests of several nodes share: nodes with known keys, and waiting for what they show.

use std::path::Path;

use keepboth_core::identity::NodeKey;
use keepboth_core::ids::NodeId;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::harness::{Client, PATIENCE, Server};

pub const NOTES: &str = "[namespaces.notes]\n";

/// A mesh in which lost links come back at once. What follows stands in `[mesh]` too.
pub fn mesh(peers: &[String], rest: &str) -> String {
    format!(
        "[mesh]\npeers = {peers:?}\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\ncompare_every = \"1s\"\n{rest}"
    )
}

/// A node that is dialled where its peers are told, and dials nobody.
pub fn quiet(rest: &str) -> String {
    mesh(&[], &format!("advertise = []\n{rest}"))
}

/// The id of the node whose key is made of this number.
pub fn id(seed: u8) -> NodeId {
    NodeKey::from_seed(&[seed; 32]).id()
}

/// These nodes, as a configuration admits them.
pub fn members(seeds: &[u8]) -> String {
    seeds.iter().map(|seed| format!("[[mesh.members]]\nnode = \"{}\"\n", id(*seed))).collect()
}

/// A server whose key is made of this number.
pub async fn start(seed: u8, config: &str) -> Server {
    Server::start_with(config, |folder| give_key(folder, seed)).await
}

/// Puts a key into the data folder of a server.
pub fn give_key(folder: &Path, seed: u8) {
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    std::fs::write(folder.join("data/node.key"), [seed; 32]).expect("a key");
}

/// Copies the data folder of a server into another folder.
pub fn copy_data(from: &Path, to: &Path) {
    let to = to.join("data");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).expect("a folder");
    for entry in std::fs::read_dir(from.join("data")).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a kind").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

/// The status of one namespace.
pub async fn status(client: &mut Client, namespace: &str) -> Json {
    let mut status = client.ok(json!({"status": {"ns": namespace}})).await;
    status["namespaces"][0].take()
}

/// Asks for the status of `notes` again and again until it is as wanted.
pub async fn until(client: &mut Client, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = status(client, "notes").await;
        if wanted(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{what}: {status:#}");
    }
}

/// The peers of a status that are connected.
pub fn connected(status: &Json) -> usize {
    let peers = status["peers"].as_array().expect("peers");
    peers.iter().filter(|peer| peer["connected"] == true).count()
}

/// Waits until the log of a server holds these words.
pub async fn logged(server: &Server, words: &str) {
    let (end, mut client) = (Instant::now() + PATIENCE, server.client().await);
    while !server.log().contains(words) {
        assert!(Instant::now() < end, "no {words:?} in {}", server.log());
        client.ok(json!({"status": {}})).await;
    }
}

/// Waits until all servers show the same objects of `notes`, and these are as wanted; gives them.
pub async fn alike(servers: &[&Server], wanted: impl Fn(&Json) -> bool) -> Json {
    let end = Instant::now() + PATIENCE;
    let mut clients = Vec::new();
    for server in servers {
        clients.push(server.client().await);
    }
    loop {
        let mut shown = Vec::new();
        for client in &mut clients {
            shown.push(client.objects("notes").await);
        }
        if shown.windows(2).all(|two| two[0] == two[1]) && wanted(&shown[0]) {
            return shown.remove(0);
        }
        assert!(Instant::now() < end, "they show different things: {shown:#?}");
    }
}
