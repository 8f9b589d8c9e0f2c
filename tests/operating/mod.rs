//! What operators do with a mesh: they invite, admit and remove nodes, ask where a version is, have writes
//! wait for other nodes, judge what is hidden, and purge what was deleted.

use std::process::Output;

use serde_json::{Value as Json, json};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::harness::{Client, PATIENCE, Server, Wire, program};

/// Invitations, admission, removal.
mod joining;
/// What other nodes have.
mod waiting;
/// Quarantine and purging.
mod hidden;
/// What has to be noticed.
mod seeing;

const SOON: &str = "ping_every = \"100ms\"\nstall_after = \"300ms\"\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\ncompare_every = \"1s\"\n";
const NOTES: &str = "[namespaces.notes]\n[namespaces.alone]\nreplicate = false\n";
const SCHEMA: &str = "[namespaces.notes]\n[[namespaces.notes.plugins]]\nuse = \"schema\"\nbind = { \"note/*\" = \"note.schema.json\" }\n";

/// A node of a mesh that admits whoever is on this machine.
fn dev(peers: &[String], namespaces: &str) -> String {
    format!("[mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\n{SOON}{namespaces}")
}

/// A node of a mesh that admits nobody by itself.
fn strict() -> String {
    format!("[mesh]\n{SOON}{NOTES}")
}

/// Two nodes that are synced; the first dials the second through a wire.
async fn pair(more_of_b: &str) -> (Server, Server, Wire) {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&dev(&[], more_of_b)).await;
    wire.lead_to(b.address());
    let a = Server::start(&dev(&[format!("ws://{}", wire.address)], NOTES)).await;
    let mut at_a = a.client().await;
    at_a.put("notes", "first", json!(0)).await;
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    (a, b, wire)
}

async fn id(server: &Server) -> String {
    let status = server.client().await.ok(json!({"status": {}})).await;
    status["node"].as_str().expect("a node").to_owned()
}

fn code(error: &Json) -> &str {
    error["code"].as_str().expect("a code")
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

/// Asks until this is true of the answer. What it waits for is told to nobody.
async fn ask_until(client: &mut Client, frame: Json, wanted: impl Fn(&Json) -> bool) -> Json {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.ok(frame.clone()).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "{frame} is still answered with {answer}");
        tokio::task::yield_now().await;
    }
}

/// Waits until an object of `notes` has come to this node. That two nodes agree does not say so: it is true of
/// what one has heard of the other, and the newest write may be under way.
async fn come(client: &mut Client, key: &str, value: Json) {
    let came = |page: &Json| {
        let mut items = page["items"].as_array().expect("items").iter();
        items.any(|item| item["name"] == key && item["value"] == value)
    };
    ask_until(client, json!({"list": {"ns": "notes", "values": true}}), came).await;
}

/// A command's end: exit code, stdout, stderr.
async fn run(url: &str, command: &[&str]) -> (i32, String, String) {
    let output = Command::new(program()).args(["--url", url]).args(command).output();
    let output = timeout(PATIENCE, output).await.expect("an end in time");
    let Output { status, stdout, stderr } = output.expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}
