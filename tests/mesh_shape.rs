//! The shapes of a mesh: who finds whom, how many links that makes, and what gets through where not all can meet.

use serde_json::json;
use tokio::net::TcpListener;

use crate::cluster::{NOTES, alike, connected, logged, mesh, status, until};
use crate::harness::{Server, Wire};

/// A node that is found nowhere but where its peers are told.
const HIDDEN: &str = "dev = true\nadvertise = []\n";
const OPEN: &str = "dev = true\n";

/// A node that dials these.
async fn node(peers: &[&Server], rest: &str) -> Server {
    let peers: Vec<String> = peers.iter().map(|peer| peer.url()).collect();
    Server::start(&mesh(&peers, &format!("{rest}{NOTES}"))).await
}

/// Five nodes, each of which dials the one before it.
async fn chain(rest: &str) -> Vec<Server> {
    let mut nodes: Vec<Server> = Vec::new();
    for n in 0..5 {
        let before: Vec<&Server> = nodes.last().into_iter().collect();
        let next = node(&before, rest).await;
        nodes.push(next);
        assert_eq!(nodes.len(), n + 1);
    }
    nodes
}

async fn linked(servers: &[Server], wanted: &[usize]) {
    for (server, wanted) in servers.iter().zip(wanted) {
        let what = format!("{wanted} links of {}", server.url());
        until(&mut server.client().await, &what, |status| connected(status) == *wanted).await;
    }
}

/// A port that nobody listens on.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_that_know_one_member_each_become_a_full_mesh() {
    let nodes = chain(OPEN).await;
    linked(&nodes, &[4; 5]).await;
    for (n, server) in nodes.iter().enumerate() {
        server.client().await.put("notes", &format!("k{n}"), json!(n)).await;
    }
    let all: Vec<&Server> = nodes.iter().collect();
    alike(&all, |objects| objects.as_object().map(serde_json::Map::len) == Some(5)).await;
    linked(&nodes, &[4; 5]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_dial_each_other_at_once_keep_one_link_and_go_on_with_it() {
    let (to_a, to_b) = (Wire::start().await.expect("a wire"), Wire::start().await.expect("a wire"));
    let dials = |wire: &Wire| mesh(&[format!("ws://{}", wire.address)], &format!("{OPEN}{NOTES}"));
    let (a, b) = (Server::start(&dials(&to_b)).await, Server::start(&dials(&to_a)).await);
    to_a.lead_to(a.address());
    to_b.lead_to(b.address());
    // The more often they meet, the more likely it is that they do so at the same moment.
    for round in 0..10 {
        let servers = [&a, &b];
        for server in servers {
            until(&mut server.client().await, "one link", |status| connected(status) == 1).await;
        }
        a.client().await.put("notes", "a", json!(round)).await;
        b.client().await.put("notes", "b", json!(round)).await;
        alike(&servers, |o| o["a"][1] == round && o["b"][1] == round).await;
        if round % 2 == 0 {
            to_a.cut();
            to_b.cut();
            to_a.mend();
            to_b.mend();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_its_own_address_says_so_once_and_goes_on() {
    let (listen, other) = (format!("127.0.0.1:{}", free_port().await), node(&[], HIDDEN).await);
    let peers = [format!("ws://{listen}"), other.url()];
    let config = mesh(&peers, &format!("{OPEN}{NOTES}"));
    let server = Server::start(&format!("[server]\nlisten = {listen:?}\n{config}")).await;
    let words = "this is the node itself, which it will not dial";
    logged(&server, words).await;
    let mut client = server.client().await;
    client.put("notes", "k", json!(1)).await;
    alike(&[&server, &other], |objects| objects["k"][1] == 1).await;
    let status = until(&mut client, "one link", |status| connected(status) == 1).await;
    assert_eq!(server.log().matches(words).count(), 1, "{}", server.log());
    assert!(!server.log().contains("a copy of this node"), "{}", server.log());
    let said = status["peers"].as_array().expect("peers").iter();
    let said = said.filter(|peer| peer["url"] == peers[0].as_str()).collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "{status:#}");
    assert_eq!(said[0]["error"], "this node has dialled itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_line_of_five_what_one_end_writes_is_live_at_the_other() {
    let nodes = chain(HIDDEN).await;
    linked(&nodes, &[1, 2, 2, 2, 1]).await;
    let (mut first, mut middle, mut last) =
        (nodes[0].client().await, nodes[2].client().await, nodes[4].client().await);
    last.ok(json!({"watch": {"ns": "notes"}})).await;
    for n in 0..20 {
        let put = first.put("notes", "k", json!(n)).await;
        let seen = last.event(|event| event["version"] == put["version"]).await;
        assert_eq!(seen["value"], n);
    }
    let all: Vec<&Server> = nodes.iter().collect();
    alike(&all, |objects| objects["k"][1] == 19).await;
    for n in 0..10 {
        middle.put("notes", &format!("m{n}"), json!(n)).await;
        first.put("notes", &format!("f{n}"), json!(n)).await;
        last.put("notes", &format!("l{n}"), json!(n)).await;
    }
    middle.put("notes", "k", json!("from the middle")).await;
    alike(&all, |objects| objects.as_object().map(serde_json::Map::len) == Some(31)).await;
    first.ok(json!({"delete": {"ns": "notes", "key": "l0"}})).await;
    last.ok(json!({"delete": {"ns": "notes", "key": "f0"}})).await;
    middle.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    let objects = alike(&all, |o| ["l0", "f0", "k"].iter().all(|name| o[name].is_null())).await;
    assert_eq!(objects.as_object().map(serde_json::Map::len), Some(28));
    for server in &nodes {
        server.until("notes", "synced").await;
    }
    linked(&nodes, &[1, 2, 2, 2, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_a_line_that_disagree_end_with_the_same_conflict_everywhere() {
    let nodes = chain(HIDDEN).await;
    linked(&nodes, &[1, 2, 2, 2, 1]).await;
    // Whoever is first has not heard of the other: nothing orders the two.
    let (mut first, mut last) = (nodes[0].client().await, nodes[4].client().await);
    let put = |value: &str| json!({"put": {"ns": "notes", "key": "k", "value": value}});
    for n in 0..20 {
        let key = format!("k{n}");
        let put = |value: &str| json!({"put": {"ns": "notes", "key": key, "value": value}});
        let (one, two) = (first.ask(put("one")).await, last.ask(put("two")).await);
        assert!(first.answer(one).await["error"].is_null());
        assert!(last.answer(two).await["error"].is_null());
    }
    first.ok(put("the end")).await;
    let all: Vec<&Server> = nodes.iter().collect();
    let objects = alike(&all, |objects| objects["k"][1] == "the end").await;
    for server in &nodes {
        server.until("notes", "synced").await;
    }
    assert_eq!(objects, alike(&all, |_| true).await);
    let conflicts = status(&mut first, "notes").await["conflicts"].clone();
    assert_eq!(status(&mut last, "notes").await["conflicts"], conflicts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_while_others_wrote_gets_everything_when_it_comes_back() {
    let mut nodes = chain(OPEN).await;
    linked(&nodes, &[4; 5]).await;
    let mut client = nodes[0].client().await;
    client.put("notes", "k", json!("before")).await;
    client.put("notes", "gone", json!(1)).await;
    let all: Vec<&Server> = nodes.iter().collect();
    alike(&all, |objects| objects["gone"][1] == 1).await;
    nodes[4].kill().await;
    linked(&nodes[..4], &[3; 4]).await;
    for n in 0..100 {
        let mut client = nodes[n % 4].client().await;
        client.put("notes", &format!("k{n}"), json!("x".repeat(1_000))).await;
    }
    client.put("notes", "k", json!("after")).await;
    client.ok(json!({"delete": {"ns": "notes", "key": "gone"}})).await;
    nodes[4].go_on().await;
    let all: Vec<&Server> = nodes.iter().collect();
    let objects = alike(&all, |o| o["k99"].is_array() && o["k"][1] == "after").await;
    assert_eq!(objects.as_object().map(serde_json::Map::len), Some(101));
    linked(&nodes, &[4; 5]).await;
    for server in &nodes {
        server.until("notes", "synced").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_that_come_at_run_time_are_exchanged() {
    let nodes = chain(HIDDEN).await;
    linked(&nodes, &[1, 2, 2, 2, 1]).await;
    let (mut first, mut last) = (nodes[0].client().await, nodes[4].client().await);
    first.ok(json!({"ns_add": {"ns": "late"}})).await;
    first.put("late", "k", json!(1)).await;
    for server in &nodes[1..] {
        server.client().await.ok(json!({"ns_add": {"ns": "late"}})).await;
    }
    last.ok(json!({"watch": {"ns": "late", "initial": true}})).await;
    last.event(|event| event["key"] == "k").await;
    last.put("late", "back", json!(2)).await;
    first.ok(json!({"watch": {"ns": "late", "initial": true}})).await;
    first.event(|event| event["key"] == "back").await;
    for server in &nodes {
        server.until("late", "synced").await;
    }
    // What was there before has not suffered.
    first.put("notes", "k", json!(1)).await;
    let all: Vec<&Server> = nodes.iter().collect();
    alike(&all, |objects| objects["k"][1] == 1).await;
}
