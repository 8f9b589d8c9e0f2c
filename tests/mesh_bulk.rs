//! Much at once: a node that takes thousands of objects, a key with many versions, a key with many sides.

use std::net::SocketAddr;

use keepboth_core::hash;
use keepboth_core::ids::StoreId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::Message;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bad_peers::{self, Peer};
use crate::cluster::{connected, mesh, status, until};
use crate::harness::{Client, PATIENCE, Server, Wire};

/// A namespace that keeps every version.
const NOTES: &str = "[namespaces.notes]\nhistory = { values = 5000, records = 5000 }\n";
const OBJECTS: u64 = 5_000;
const VALUE_BYTES: u64 = 1_024;

fn config(peers: &[String]) -> String {
    mesh(peers, &format!("dev = true\nadvertise = []\n{NOTES}"))
}

/// A relay that counts what comes back to whoever dials, and lets no more through than it is told.
struct Meter {
    address: SocketAddr,
    /// Bytes that came back, all connections together.
    passed: watch::Receiver<u64>,
    /// So many may.
    most: watch::Sender<u64>,
}

impl Meter {
    async fn start(target: SocketAddr, most: u64) -> Meter {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (count, passed) = watch::channel(0);
        let (most, bound) = watch::channel(most);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else { continue };
                let (mut from_near, to_near) = near.into_split();
                let (from_far, mut to_far) = far.into_split();
                let back = come_back(from_far, to_near, count.clone(), bound.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
                        () = back => {}
                    }
                });
            }
        });
        Meter { address, passed, most }
    }

    /// Waits until it holds back what comes next.
    async fn is_full(&mut self) {
        let most = *self.most.borrow();
        let full = self.passed.wait_for(|passed| *passed >= most);
        timeout(PATIENCE, full).await.expect("so many bytes in time").expect("a meter");
    }

    fn passed(&self) -> u64 {
        *self.passed.borrow()
    }
}

async fn come_back(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    count: watch::Sender<u64>,
    mut bound: watch::Receiver<u64>,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let room = {
            let most = bound.wait_for(|most| *count.borrow() < *most).await;
            let Ok(most) = most else { return };
            (*most - *count.borrow()).min(bytes.len() as u64) as usize
        };
        let Ok(read @ 1..) = from.read(&mut bytes[..room]).await else { return };
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        count.send_modify(|passed| *passed += read as u64);
    }
}

/// Puts all objects, some hundreds at a time.
async fn fill(client: &mut Client) {
    let keys: Vec<u64> = (0..OBJECTS).collect();
    for some in keys.chunks(200) {
        let mut asked = Vec::new();
        for n in some {
            let value = format!("{n:0width$}", width = VALUE_BYTES as usize);
            let put = json!({"put": {"ns": "notes", "key": format!("k{n}"), "value": value}});
            asked.push(client.ask(put).await);
        }
        for id in asked {
            let answer = client.answer(id).await;
            assert!(answer["error"].is_null(), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_that_is_cut_goes_on_where_it_was_and_holds_up_no_write() {
    let (full, half) = (OBJECTS * VALUE_BYTES, OBJECTS * VALUE_BYTES / 2);
    let b = Server::start(&config(&[])).await;
    let mut at_b = b.client().await;
    fill(&mut at_b).await;
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    let wire = Wire::start().await.expect("a wire");
    wire.lead_to(b.address());
    let mut meter = Meter::start(wire.address, half).await;
    let a = Server::start(&config(&[format!("ws://{}", meter.address)])).await;
    let mut at_a = a.client().await;

    // The bulk stands still half way: a write does not wait for its end.
    meter.is_full().await;
    at_a.put("notes", "urgent", json!("now")).await;
    let event = at_b.event(|event| event["key"] == "urgent").await;
    assert_eq!(event["value"], "now");
    assert!(meter.passed() <= half, "the bulk went on meanwhile");

    wire.cut();
    until(&mut at_a, "cut", |status| connected(status) == 0).await;
    // The store keeps the order: with this it has all that came before the cut.
    at_a.put("notes", "later", json!("alone")).await;
    let kept = status(&mut at_a, "notes").await["objects"].as_u64().expect("a number") - 2;
    assert!(kept > 0 && kept < OBJECTS, "{kept} objects came");
    let before = meter.passed();
    meter.most.send_replace(u64::MAX);
    wire.mend();
    let whole = |status: &Json| status["objects"] == OBJECTS + 2 && status["state"] == "synced";
    until(&mut at_a, "all", whole).await;
    assert_eq!(at_a.objects("notes").await, at_b.objects("notes").await);
    // What is not a value (keys, versions, what is compared) is less than half of it again.
    let (again, missing) = (meter.passed() - before, full - kept * VALUE_BYTES);
    assert!(again >= missing, "{again} bytes for {missing} that were missing");
    assert!(again < missing + missing / 2, "{again} bytes for {missing} that were missing");
}

/// All versions of a key, in an order of their own.
async fn history(client: &mut Client, key: &str) -> Vec<Json> {
    let (mut versions, mut after) = (Vec::new(), Json::Null);
    loop {
        let mut ask = json!({"history": {"ns": "notes", "key": key}});
        if !after.is_null() {
            ask["history"]["after"] = after;
        }
        let mut page = client.ok(ask).await;
        versions.append(page["versions"].as_array_mut().expect("versions"));
        after = page["next"].take();
        if after.is_null() {
            versions.sort_by_key(|version| version["version"].to_string());
            return versions;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_thousand_versions_has_the_same_history_at_an_empty_node() {
    let b = Server::start(&config(&[])).await;
    let mut at_b = b.client().await;
    for n in 0..1_000 {
        at_b.put("notes", "k", json!(n)).await;
    }
    let a = Server::start(&config(&[b.url()])).await;
    a.until("notes", "synced").await;
    let mut at_a = a.client().await;
    let versions = history(&mut at_b, "k").await;
    assert_eq!(versions.len(), 1_000);
    assert_eq!(history(&mut at_a, "k").await, versions);
    assert_eq!(at_a.get("notes", "k").await, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_hundred_sides_has_the_same_sides_at_an_empty_node() {
    let b = Server::start(&config(&[])).await;
    let mut at_b = b.client().await;
    let mut peer = Peer::greeted(&b).await;
    let (namespace, key) = (Namespace::new("notes"), Key::new("k").expect("a key"));
    let side = |n: u8| {
        let value = Value::number(f64::from(n));
        let version = Version::first(&key, hash::data_hash(&value), 1, StoreId([n; 16]));
        Event::new(key.clone(), version, Some(value))
    };
    let events: Vec<Event> = (0..100).map(side).collect();
    let (namespace, maker) = (namespace.expect("a name"), bad_peers::key().id());
    peer.say(Message::Live { namespace, sequence: 1, root: None, maker, events: events.into() })
        .await;
    let sides = |status: &Json| status["objects"] == 100;
    until(&mut at_b, "a hundred sides", sides).await;
    drop(peer);

    let a = Server::start(&config(&[b.url()])).await;
    a.until("notes", "synced").await;
    let mut at_a = a.client().await;
    let versions = history(&mut at_b, "k").await;
    assert_eq!(versions.len(), 100);
    assert!(versions.iter().all(|version| version["head"] == true), "{versions:?}");
    assert_eq!(history(&mut at_a, "k").await, versions);
    let objects = at_a.objects("notes").await;
    assert_eq!(objects.as_object().map(serde_json::Map::len), Some(100));
    assert_eq!(objects, at_b.objects("notes").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_whose_answer_is_no_frame_is_refused_with_the_limit_and_the_link_goes_on() {
    const SIDES: usize = 6_000;
    let server = Server::start(&config(&[])).await;
    let mut client = server.client().await;
    let mut peer = Peer::greeted(&server).await;
    let (namespace, key) =
        (Namespace::new("notes").expect("a name"), Key::new("k").expect("a key"));
    let side = |n: usize| {
        let value = Value::number(n as f64);
        let version = Version::first(&key, hash::data_hash(&value), 1, StoreId([9; 16]));
        Event::new(key.clone(), version, Some(value))
    };
    let events: Vec<Event> = (0..SIDES).map(side).collect();
    let maker = bad_peers::key().id();
    for (sequence, events) in (1..).zip(events.chunks(1_000)) {
        let (namespace, events) = (namespace.clone(), events.to_vec());
        peer.say(Message::Live { namespace, sequence, root: None, maker, events: events.into() })
            .await;
    }
    until(&mut client, "all sides", |status| status["objects"] == SIDES).await;

    client.put("notes", "later", json!("beside it")).await;
    for ask in [
        json!({"conflict": {"ns": "notes", "key": "k"}}),
        json!({"conflicts": {"ns": "notes"}}),
        json!({"list": {"ns": "notes", "values": true}}),
    ] {
        let error = client.error(ask).await;
        assert_eq!(error["code"], "frame_too_large", "{error}");
        assert!(error["message"].as_str().expect("words").contains("1,048,576"), "{error}");
    }
    // All sides can be got nonetheless, pages go on behind them, and an event names some of them.
    let error = client.error(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(error["code"], "in_conflict");
    let addresses = error["addresses"].as_array().expect("addresses").clone();
    assert_eq!(addresses.len(), SIDES);
    let last = addresses[SIDES - 1].as_str().expect("an address");
    assert!(client.get("notes", last).await.is_number());
    let page = client.ok(json!({"list": {"ns": "notes", "after": "k"}})).await;
    assert_eq!(page["items"][0]["name"], "later");
    client.ok(json!({"watch": {"ns": "notes", "initial": true}})).await;
    let event = client.event(|event| event["type"] == "conflict").await;
    assert_eq!(event["sides"].as_array().map(Vec::len), Some(1_500), "{}", event["type"]);

    // And another node takes them all up.
    drop(peer);
    let other = Server::start(&config(&[server.url()])).await;
    other.until("notes", "synced").await;
    let mut at_other = other.client().await;
    until(&mut at_other, "all sides", |status| status["objects"] == SIDES + 1).await;
    let error = at_other.error(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(error["addresses"].as_array(), Some(&addresses));
}
