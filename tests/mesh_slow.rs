//! Peers that are slow, stuck or silent: named within seconds, in nobody's way, cut off, and whole again later.

use futures_util::StreamExt;
use keepboth_core::value::Value;
use keepboth_core::wire::Message as Wire;
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::bad_peers::{self, Peer};
use crate::cluster::{NOTES, alike, connected, logged, mesh, status, until};
use crate::harness::{Client, PATIENCE, Server};

/// A mesh that loses its patience soon.
fn impatient(peers: &[String]) -> String {
    let rest = "dev = true\nping_every = \"100ms\"\nstall_after = \"300ms\"\ncut_after = \"3s\"\n";
    mesh(peers, &format!("outbox_bytes_max = \"1 MiB\"\n{rest}{NOTES}"))
}

/// What may wait for a peer before live events are left to repair.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

/// The first characters of a node's id, by which reasons and logs name it.
async fn short_name(server: &Server) -> String {
    let status = server.client().await.ok(json!({"status": {}})).await;
    status["node"].as_str().expect("a node id")[..8].to_owned()
}

fn short_name_of_raw_peer() -> String {
    bad_peers::key().id().to_string()[..8].to_owned()
}

/// True if the status names this peer as stalled.
fn names(peer: &str) -> impl Fn(&Json) -> bool {
    let words = format!("peer {peer} is stalled: ");
    move |status| status["reason"].as_str().is_some_and(|reason| reason.contains(&words))
}

/// Bytes that waited for this peer when its link ended, once the log tells of that.
async fn waiting(server: &Server, peer: &str) -> usize {
    let (end, mut client) = (Instant::now() + PATIENCE, server.client().await);
    let line = loop {
        let log = server.log();
        let mut lines = log.lines();
        if let Some(line) = lines.find(|line| line.contains("link ended") && line.contains(peer)) {
            break line.to_owned();
        }
        assert!(Instant::now() < end, "no end of a link: {log}");
        client.ok(json!({"status": {}})).await;
    };
    let (_, figure) = line.split_once("waiting=").unwrap_or_else(|| panic!("{line}"));
    let digits = figure.chars().take_while(|c| !c.is_whitespace()).filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap_or_else(|_| panic!("{line}"))
}

/// True if this peer is told of and connected no more.
fn is_cut(peer: &str) -> impl Fn(&Json) -> bool {
    move |status| {
        let peers = status["peers"].as_array().expect("peers");
        let named = |p: &&Json| p["node"].as_str().is_some_and(|node| node.starts_with(peer));
        peers.iter().find(named).is_some_and(|p| p["connected"] == false)
    }
}

/// Writes until the status is as wanted: every write must be answered.
async fn write_until(client: &mut Client, wanted: impl Fn(&Json) -> bool) -> (Json, u64) {
    let end = Instant::now() + PATIENCE;
    for n in 0.. {
        client.put("notes", "busy", json!(n)).await;
        let status = status(client, "notes").await;
        if wanted(&status) {
            return (status, n);
        }
        assert!(Instant::now() < end, "{status:#}");
    }
    unreachable!("there are numbers enough")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_is_named_and_cut_while_others_go_on_and_catches_up_later() {
    let a = Server::start(&impatient(&[])).await;
    let b = Server::start(&impatient(&[a.url()])).await;
    let c = Server::start(&impatient(&[a.url()])).await;
    let (stuck, mut at_a, mut at_c) = (short_name(&b).await, a.client().await, c.client().await);
    at_a.put("notes", "k", json!("before")).await;
    alike(&[&a, &b, &c], |objects| objects["k"][1] == "before").await;
    until(&mut at_a, "two links", |status| connected(status) == 2).await;
    until(&mut at_c, "two links", |status| connected(status) == 2).await;

    b.signal("STOP").await;
    at_c.ok(json!({"watch": {"ns": "notes"}})).await;
    let (status, _) = write_until(&mut at_a, names(&stuck)).await;
    let reason = status["reason"].as_str().expect("a reason");
    assert!(reason.contains(" events behind since ") && reason.contains("blocked on"), "{reason}");
    // The healthy node hears of each write at once, stuck neighbour or not.
    for n in 0..100 {
        let put = at_a.put("notes", "through", json!(n)).await;
        at_c.event(|event| event["version"] == put["version"]).await;
    }
    let (status, _) = write_until(&mut at_a, is_cut(&stuck)).await;
    assert!(status["peers"].as_array().is_some_and(|peers| peers.len() == 2), "{status:#}");
    logged(&a, "no progress for").await;
    assert!(a.log().contains("stalled: it waits for"), "{}", a.log());
    until(&mut at_a, "the others agree", |status| status["state"] == "synced").await;
    for n in 0..50 {
        at_c.put("notes", &format!("c{n}"), json!(n)).await;
    }

    b.signal("CONT").await;
    alike(&[&a, &b, &c], |o| o["c49"].is_array() && o["through"][1] == 99).await;
    for server in [&a, &b, &c] {
        let mut client = server.client().await;
        let whole = |status: &Json| status["state"] == "synced" && connected(status) == 2;
        until(&mut client, "synced", whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_is_named_and_cut_and_others_hear_all_at_once() {
    // Before anything waits for the peer, the kernel takes up some megabytes.
    let patient = impatient(&[]).replace("cut_after = \"3s\"", "cut_after = \"15s\"");
    let server = Server::start(&patient).await;
    let other = Server::start(&impatient(&[server.url()])).await;
    let (mut client, raw) = (server.client().await, short_name_of_raw_peer());
    let mut at_other = other.client().await;
    until(&mut client, "a link", |status| connected(status) == 1).await;
    let mut peer = Peer::greeted(&server).await;
    until(&mut client, "two links", |status| connected(status) == 2).await;
    at_other.ok(json!({"watch": {"ns": "notes", "values": false}})).await;
    let mut named = false;
    let big = "x".repeat(60_000);
    let end = Instant::now() + PATIENCE;
    for n in 0.. {
        let key = format!("k{}", n % 10);
        let put = client.put("notes", &key, json!([n, big])).await;
        at_other.event(|event| event["version"] == put["version"]).await;
        // It lives, and says so; but it takes nothing.
        let _ = peer.0.get_mut().write_all(&[0x89, 0x80, 0, 0, 0, 0]).await;
        let status = status(&mut client, "notes").await;
        named |= names(&raw)(&status);
        if is_cut(&raw)(&status) {
            break;
        }
        assert!(Instant::now() < end, "{status:#}");
    }
    assert!(named, "it was cut and never named");
    // While it reads nothing, what waits for it only grows: it is largest when the link ends.
    let (waits, one) = (waiting(&server, &raw).await, 64 * 1024 + 1_024);
    assert!(waits > one, "{waits} bytes waited");
    assert!(waits <= OUTBOX_BYTES_MAX + one, "{waits} bytes waited");
    alike(&[&server, &other], |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_acknowledges_nothing_is_named_for_that_and_cut() {
    let server = Server::start(&impatient(&[])).await;
    let other = Server::start(&impatient(&[server.url()])).await;
    let (mut client, raw) = (server.client().await, short_name_of_raw_peer());
    until(&mut client, "a link", |status| connected(status) == 1).await;
    let mut peer = Peer::greeted(&server).await;
    // It reads all and answers pings.
    let reading = tokio::spawn(async move {
        let (mut live, mut close) = (0, None);
        while let Ok(Some(Ok(message))) = timeout(PATIENCE, peer.0.next()).await {
            match message {
                tokio_tungstenite::tungstenite::Message::Binary(bytes) => {
                    let message = Wire::decode(&bytes).expect("a message");
                    live += usize::from(matches!(message, Wire::Live { .. }));
                }
                tokio_tungstenite::tungstenite::Message::Close(frame) => close = frame,
                _ => {}
            }
        }
        (live, close)
    });
    until(&mut client, "two links", |status| connected(status) == 2).await;
    // For a moment it may be another reason.
    let for_that = |status: &Json| {
        let reason = status["reason"].as_str().expect("a reason");
        names(&raw)(status) && reason.contains("blocked on an acknowledgement")
    };
    write_until(&mut client, for_that).await;
    write_until(&mut client, is_cut(&raw)).await;
    let (live, close) = reading.await.expect("a reader");
    assert!(live > 0 && close.is_some(), "{live} {close:?}");
    logged(&server, "it waited for an acknowledgement").await;
    client.put("notes", "end", json!(1)).await;
    alike(&[&server, &other], |objects| objects["end"][1] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_a_byte_now_and_then_is_no_living_peer() {
    let server = Server::start(&impatient(&[])).await;
    let (mut client, raw) = (server.client().await, short_name_of_raw_peer());
    client.put("notes", "k", json!(1)).await;
    let mut peer = Peer::greeted(&server).await;
    until(&mut client, "a link", |status| connected(status) == 1).await;
    // The frame whose bytes these are never ends.
    let event = bad_peers::live(bad_peers::event(Value::string("never whole"))).encode();
    let mut bytes = vec![0x82, 0xff];
    bytes.extend((event.len() as u64 + 100_000).to_be_bytes());
    bytes.extend([0; 4]);
    let mut bytes = bytes.into_iter().chain(event).chain(std::iter::repeat(0));
    let (mut named, end) = (false, Instant::now() + PATIENCE);
    loop {
        let status = status(&mut client, "notes").await;
        let reason = status["reason"].as_str().expect("a reason");
        named |= names(&raw)(&status) && reason.contains("the peer says nothing");
        if is_cut(&raw)(&status) {
            break;
        }
        assert!(Instant::now() < end, "{status:#}");
        let _ = peer.0.get_mut().write_all(&[bytes.next().expect("a byte")]).await;
    }
    assert!(named, "it was cut and never named");
    logged(&server, "it waited for a sign of life").await;
    assert!(peer.ended().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_greets_is_closed() {
    let config = format!("[limits]\nhello_within = \"2s\"\n{}", impatient(&[]));
    let server = Server::start(&config).await;
    let peer = Peer::connect(&server).await;
    assert!(peer.ended().await);
    logged(&server, "did not greet in time").await;
}
