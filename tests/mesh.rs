//! Nodes: they find each other by configuration, exchange, disagree, and end with the same.

use serde_json::{Value as Json, json};

use crate::cluster::{connected, until};
use crate::harness::{Client, Server, Wire};

const NOTES: &str = "[namespaces.notes]\n";
/// A node that is dialled where its peers are told, and nowhere else.
const HIDDEN: &str = "[mesh]\ndev = true\nadvertise = []\n[namespaces.notes]\n";

fn mesh(peers: &[String]) -> String {
    format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\ncompare_every = \"1s\"\n{NOTES}"
    )
}

/// Two nodes, the first of which dials the second through a wire.
async fn pair() -> (Server, Server, Wire) {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(HIDDEN).await;
    wire.lead_to(b.address());
    let a = Server::start(&mesh(&[format!("ws://{}", wire.address)])).await;
    (a, b, wire)
}

async fn synced(servers: &[&Server]) {
    for server in servers {
        server.until("notes", "synced").await;
    }
}

/// Cuts the wire, and waits until both sides have noticed.
async fn part(wire: &Wire, sides: [&Server; 2]) {
    wire.cut();
    for side in sides {
        side.until("notes", "not_synced").await;
    }
}

/// Two nodes that are parted and have both changed `k`.
async fn disagreeing() -> (Server, Server, Wire) {
    let (a, b, wire) = pair().await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "k", json!("base")).await;
    synced(&[&a, &b]).await;
    part(&wire, [&a, &b]).await;
    at_a.put("notes", "k", json!("from a")).await;
    at_b.put("notes", "k", json!("from b")).await;
    (a, b, wire)
}

async fn addresses(client: &mut Client, key: &str) -> Json {
    let refusal = client.error(json!({"get": {"ns": "notes", "key": key}})).await;
    assert_eq!(refusal["code"], "in_conflict", "{refusal}");
    refusal["addresses"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_writes_the_other_shows() {
    let (a, b, _wire) = pair().await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    let put = at_a.put("notes", "k", json!({"n": 1})).await;
    let event = at_b.change().await;
    assert_eq!((&event["key"], &event["version"]), (&json!("k"), &put["version"]));
    assert_eq!(at_b.get("notes", "k").await, json!({"n": 1}));
    at_b.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    synced(&[&a, &b]).await;
    let gone = at_a.error(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(gone["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_edits_keep_both_under_the_same_names_everywhere() {
    let (a, b, wire) = disagreeing().await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    wire.mend();
    synced(&[&a, &b]).await;

    let names = addresses(&mut at_a, "k").await;
    assert_eq!(names, addresses(&mut at_b, "k").await);
    let objects = at_a.objects("notes").await;
    assert_eq!(objects, at_b.objects("notes").await);
    let mut values: Vec<_> = names
        .as_array()
        .expect("addresses")
        .iter()
        .map(|name| objects[name.as_str().expect("a name")][1].clone())
        .collect();
    values.sort_by_key(Json::to_string);
    assert_eq!(values, [json!("from a"), json!("from b")]);

    let conflict = at_a.ok(json!({"conflict": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(conflict["base"]["value"], "base");
    let resolve = json!({"resolve":
        {"ns": "notes", "key": "k", "value": "from both", "if_conflict": conflict["id"]}});
    at_a.ok(resolve.clone()).await;
    synced(&[&a, &b]).await;
    assert_eq!(at_b.get("notes", "k").await, "from both");
    // A former address still means what its line became.
    let former = names[0].as_str().expect("an address");
    assert_eq!(at_b.get("notes", former).await, "from both");
    assert_eq!(at_a.error(resolve).await["code"], "no_conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_told_once_to_the_watchers_of_each_node() {
    let (a, b, wire) = disagreeing().await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for client in [&mut at_a, &mut at_b] {
        client.ok(json!({"watch": {"ns": "notes"}})).await;
    }
    wire.mend();
    synced(&[&a, &b]).await;
    at_a.put("notes", "end", json!(1)).await;
    let mut ids = Vec::new();
    for client in [&mut at_a, &mut at_b] {
        let mut conflicts = 0;
        loop {
            let event = client.change().await;
            match event["type"].as_str() {
                Some("conflict") => {
                    conflicts += 1;
                    assert_eq!(event["sides"].as_array().expect("sides").len(), 2);
                    ids.push(event["id"].clone());
                }
                _ if event["key"] == "end" => break,
                _ => {}
            }
        }
        assert_eq!(conflicts, 1);
    }
    assert_eq!(ids[0], ids[1], "equal events have equal ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_at_a_key_in_conflict_starts_anew_and_loses_nothing() {
    let (a, b, wire) = pair().await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "other", json!("zero")).await;
    synced(&[&a, &b]).await;
    part(&wire, [&a, &b]).await;
    at_a.put("notes", "k", json!("one")).await;
    at_b.put("notes", "k", json!("two")).await;
    wire.mend();
    synced(&[&a, &b]).await;
    at_b.put("notes", "k", json!("three")).await;
    synced(&[&a, &b]).await;
    let objects = at_a.objects("notes").await;
    assert_eq!(objects, at_b.objects("notes").await);
    assert_eq!(objects["k"][1], "three");
    let mut values: Vec<String> =
        objects.as_object().expect("objects").values().map(|v| v[1].to_string()).collect();
    values.sort();
    assert_eq!(values, ["\"one\"", "\"three\"", "\"two\"", "\"zero\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_node_takes_everything_and_a_restarted_one_what_it_missed() {
    let mut b = Server::start(HIDDEN).await;
    let mut at_b = b.client().await;
    for n in 0..300 {
        at_b.put("notes", &format!("k{n}"), json!(n)).await;
    }
    for n in 0..100 {
        at_b.put("notes", &format!("k{n}"), json!("again")).await;
    }
    let mut a = Server::start(&mesh(&[b.url()])).await;
    a.until("notes", "synced").await;
    let mut at_a = a.client().await;
    assert_eq!(at_a.objects("notes").await, at_b.objects("notes").await);
    a.stop().await;
    at_b.put("notes", "later", json!(1)).await;
    a.go_on().await;
    a.until("notes", "synced").await;
    let mut at_a = a.client().await;
    assert_eq!(at_a.get("notes", "later").await, 1);
    b.kill().await;
    a.until("notes", "not_synced").await;
    assert_eq!(at_a.get("notes", "k5").await, "again", "a node alone goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_in_a_line_agree() {
    let c = Server::start(HIDDEN).await;
    let b = Server::start(&mesh(&[c.url()])).await;
    let a = Server::start(&mesh(&[b.url()])).await;
    synced_or_empty(&[&a, &b, &c]).await;
    let (mut at_a, mut at_c) = (a.client().await, c.client().await);
    at_c.ok(json!({"watch": {"ns": "notes"}})).await;
    at_a.put("notes", "k", json!("through b")).await;
    assert_eq!(at_c.change().await["value"], "through b");
    synced(&[&a, &b, &c]).await;
}

async fn synced_or_empty(servers: &[&Server]) {
    for server in servers {
        let mut client = server.client().await;
        let status = client.ok(json!({"status": {}})).await;
        assert_eq!(status["namespaces"][0]["state"], "empty");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_dial_each_other_keep_one_link() {
    let (to_a, to_b) = (Wire::start().await.expect("a wire"), Wire::start().await.expect("a wire"));
    let a = Server::start(&mesh(&[format!("ws://{}", to_b.address)])).await;
    let b = Server::start(&mesh(&[format!("ws://{}", to_a.address)])).await;
    to_a.lead_to(a.address());
    to_b.lead_to(b.address());
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for n in 0..20 {
        at_a.put("notes", &format!("a{n}"), json!(n)).await;
        at_b.put("notes", &format!("b{n}"), json!(n)).await;
    }
    synced(&[&a, &b]).await;
    assert_eq!(at_a.objects("notes").await, at_b.objects("notes").await);
    until(&mut at_a, "one link", |status| connected(status) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_only_one_node_has_stays_there() {
    let b = Server::start(
        "[namespaces.notes]\n[namespaces.mine]\n[namespaces.secret]\nreplicate = false\n",
    )
    .await;
    let a = Server::start(&format!("{}[namespaces.secret]\n", mesh(&[b.url()]))).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_b.put("mine", "k", json!(1)).await;
    at_b.put("secret", "k", json!(1)).await;
    at_b.put("notes", "k", json!(1)).await;
    a.until("notes", "synced").await;
    let refused = at_a.error(json!({"get": {"ns": "mine", "key": "k"}})).await;
    assert_eq!(refused["code"], "unknown_namespace");
    let refused = at_a.error(json!({"get": {"ns": "secret", "key": "k"}})).await;
    assert_eq!(refused["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_and_their_reasons_are_told() {
    let (a, b, wire) = pair().await;
    let mut at_a = a.client().await;
    at_a.ok(json!({"watch": {"ns": "notes"}})).await;
    at_a.put("notes", "k", json!(1)).await;
    let state = |wanted: &'static str| {
        move |event: &Json| event["type"] == "state" && event["state"] == wanted
    };
    let event = at_a.event(state("synced")).await;
    assert_eq!(event["peers"][0]["agrees"], true);
    wire.cut();
    let event = at_a.event(state("not_synced")).await;
    assert_eq!(event["before"], "synced");
    assert_eq!(event["reason"], "no peer is connected");
    drop(b);
}
