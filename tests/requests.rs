//! What a client can ask for, with plain JSON frames.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Client, Server};

const CONFIG: &str = "[namespaces.notes]\n[namespaces.other]\n";

async fn client() -> (Server, Client) {
    let server = Server::start(CONFIG).await;
    let client = server.client().await;
    (server, client)
}

#[tokio::test]
async fn hello_tells_who_the_server_is_and_what_it_allows() {
    let (_server, mut client) = client().await;
    let hello = client.ok(json!({"hello": {"client": "anna"}})).await;
    assert_eq!(hello["server"], "keepboth");
    assert_eq!(hello["protocol"], 1);
    assert_eq!(hello["namespaces"], json!(["notes", "other"]));
    assert_eq!(hello["limits"]["value_bytes_max"], 65_536);
    assert_eq!(hello["node"].as_str().expect("a node").len(), 64);
}

#[tokio::test]
async fn what_is_put_is_got_and_what_is_deleted_is_gone() {
    let (_server, mut client) = client().await;
    let value = json!({"b": [1, 2.5, null], "a": "ключ"});
    let put = client.put("notes", "k", value.clone()).await;
    let got = client.ok(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(
        (&got["value"], &got["version"], &got["name"]),
        (&value, &put["version"], &json!("k"))
    );
    client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    let gone = client.error(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(gone["code"], "not_found");
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_was() {
    let (_server, mut client) = client().await;
    for (at, value) in [
        json!("text"),
        json!(1.5),
        json!(-7),
        json!(null),
        json!(true),
        json!([1, [2]]),
        json!({"$bytes": "AAEC"}),
        json!({"$cbor": "wRpRS2ew"}),
        json!({"$number": "NaN"}),
        json!({"$json": {"$bytes": 5}}),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("k{at}");
        client.put("notes", &key, value.clone()).await;
        assert_eq!(client.get("notes", &key).await, value);
    }
}

#[tokio::test]
async fn a_condition_guards_against_lost_updates() {
    let (_server, mut client) = client().await;
    let put = |value: u64, if_version| json!({"put": {"ns": "notes", "key": "k", "value": value, "if_version": if_version}});
    let first = client.ok(put(1, json!(null))).await;
    assert_eq!(client.error(put(2, json!(null))).await["code"], "version_mismatch");
    let second = client.ok(put(2, first["version"].clone())).await;
    let stale = client.error(put(3, first["version"].clone())).await;
    assert_eq!(
        (&stale["code"], &stale["version"]),
        (&json!("version_mismatch"), &second["version"])
    );
    assert_eq!(client.get("notes", "k").await, 2);
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let (_server, mut client) = client().await;
    client.put("notes", "there", json!(1)).await;
    let ops = json!([
        {"put": {"key": "a", "value": 1}},
        {"put": {"key": "a", "value": 2}},
        {"delete": {"key": "there"}},
    ]);
    let done = client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    assert_eq!(done["results"].as_array().expect("results").len(), 3);
    assert_eq!(client.get("notes", "a").await, 2);

    let ops = json!([{"put": {"key": "b", "value": 1}}, {"delete": {"key": "there"}}]);
    let refused = client.error(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    assert_eq!(refused["code"], "not_found");
    assert!(refused["message"].as_str().expect("words").contains("operation 1"), "{refused}");
    assert_eq!(
        client.error(json!({"get": {"ns": "notes", "key": "b"}})).await["code"],
        "not_found"
    );
}

#[tokio::test]
async fn lists_are_in_order_by_prefix_and_page_by_page() {
    let (_server, mut client) = client().await;
    for key in ["b/2", "a", "b/1", "b/3", "c"] {
        client.put("notes", key, json!(key)).await;
    }
    let list = |after: serde_json::Value| {
        let mut list = json!({"list": {"ns": "notes", "prefix": "b/", "limit": 2, "values": true}});
        if !after.is_null() {
            list["list"]["after"] = after;
        }
        list
    };
    let first = client.ok(list(json!(null))).await;
    let second = client.ok(list(first["next"].clone())).await;
    let names = |page: &serde_json::Value| {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["value"].as_str().expect("a value").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["b/1".into(), "b/2".into()], vec!["b/3".into()])
    );
    assert!(second["next"].is_null());
}

#[tokio::test]
async fn history_keeps_every_version_and_revert_brings_one_back() {
    let (_server, mut client) = client().await;
    let mut versions = Vec::new();
    for n in 1..=3 {
        versions.push(client.put("notes", "k", json!(n)).await["version"].clone());
    }
    let history = client.ok(json!({"history": {"ns": "notes", "key": "k"}})).await;
    let listed: Vec<_> = history["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|v| v["version"].clone())
        .collect();
    assert_eq!(listed, versions.iter().rev().cloned().collect::<Vec<_>>());
    let old = json!({"get_version": {"ns": "notes", "key": "k", "version": versions[0]}});
    assert_eq!(client.ok(old).await["value"], 1);
    client.ok(json!({"revert": {"ns": "notes", "key": "k", "version": versions[0]}})).await;
    assert_eq!(client.get("notes", "k").await, 1);
}

#[tokio::test]
async fn the_trash_keeps_what_was_deleted_until_it_is_restored() {
    let (_server, mut client) = client().await;
    client.put("notes", "k", json!("precious")).await;
    client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    let trash = client.ok(json!({"trash": {"ns": "notes"}})).await;
    assert_eq!(trash["items"][0]["key"], "k");
    client.ok(json!({"restore": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(client.get("notes", "k").await, "precious");
    let trash = client.ok(json!({"trash": {"ns": "notes"}})).await;
    assert_eq!(trash["items"], json!([]));
    let again = client.error(json!({"restore": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(again["code"], "not_found");
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let (_server, mut client) = client().await;
    client.put("notes", "k", json!(1)).await;
    assert_eq!(
        client.error(json!({"get": {"ns": "other", "key": "k"}})).await["code"],
        "not_found"
    );
    let status = client.ok(json!({"status": {}})).await;
    let states: Vec<_> = status["namespaces"]
        .as_array()
        .expect("namespaces")
        .iter()
        .map(|ns| (ns["name"].clone(), ns["state"].clone()))
        .collect();
    assert_eq!(states, [(json!("notes"), json!("not_synced")), (json!("other"), json!("empty"))]);
}

#[tokio::test]
async fn pipelined_writes_to_one_key_apply_in_order() {
    let (_server, mut client) = client().await;
    let mut last = 0;
    for n in 0..500 {
        last = client.ask(json!({"put": {"ns": "notes", "key": "k", "value": n}})).await;
    }
    client.answer(last).await;
    assert_eq!(client.get("notes", "k").await, 499);
    let history = client.ok(json!({"history": {"ns": "notes", "key": "k", "limit": 1000}})).await;
    assert_eq!(history["versions"].as_array().expect("versions").len(), 500);
}

#[tokio::test]
async fn each_of_thousands_of_requests_that_come_together_is_answered() {
    // No ping wakes a connection that was forgotten.
    let server = Server::start(&format!("[limits]\nping_every = \"1h\"\n{CONFIG}")).await;
    let mut client = server.client().await;
    for round in 0..3 {
        let ids = round * 2_000 + 1..=(round + 1) * 2_000;
        let put = |id| {
            let key = format!("k{}", id % 100);
            json!({"id": id, "put": {"ns": "notes", "key": key, "value": "x".repeat(500)}})
        };
        client.send_together(ids.clone().map(|id| put(id).to_string())).await;
        let mut missing: BTreeSet<u64> = ids.collect();
        while !missing.is_empty() {
            let answer = client.frame().await;
            assert!(answer.get("ok").is_some(), "{answer}");
            assert!(missing.remove(&answer["id"].as_u64().expect("an id")), "{answer}");
        }
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let mut server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    for n in 0..200 {
        client.put("notes", &format!("k{n}"), json!(n)).await;
    }
    server.kill().await;
    server.go_on().await;
    let mut client = server.client().await;
    for n in 0..200 {
        assert_eq!(client.get("notes", &format!("k{n}")).await, n);
    }
}

#[tokio::test]
async fn a_stopped_server_answers_what_is_under_way_and_ends_with_0() {
    let mut server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let ids = client.ask(json!({"put": {"ns": "notes", "key": "k", "value": 1}})).await;
    client.answer(ids).await;
    assert_eq!(server.stop().await, Some(0));
    let message = client.message().await;
    assert!(
        matches!(&message, tokio_tungstenite::tungstenite::Message::Close(Some(close)) if u16::from(close.code) == 4000),
        "{message:?}"
    );
}

#[tokio::test]
async fn messagepack_says_the_same_as_json() {
    use tokio_tungstenite::tungstenite::Message;
    let server = Server::start(CONFIG).await;
    let mut client = Client::connect(&server.url(), Some("keepboth.v1.msgpack")).await;
    let frame = json!({"id": 1, "put": {"ns": "notes", "key": "k", "value": {"a": [1, "x"]}}});
    client.send(Message::binary(rmp_serde::to_vec_named(&frame).expect("MessagePack"))).await;
    let Message::Binary(bytes) = client.message().await else { panic!("not binary") };
    let answer: serde_json::Value = rmp_serde::from_slice(&bytes).expect("MessagePack");
    assert_eq!((&answer["id"], &answer["ok"]["key"]), (&json!(1), &json!("k")));
    let mut other = server.client().await;
    assert_eq!(other.get("notes", "k").await, json!({"a": [1, "x"]}));
}

#[tokio::test]
async fn a_page_of_long_keys_is_cut_so_that_its_frame_holds_it() {
    let (_server, mut client) = client().await;
    // Each control character takes six bytes in JSON.
    let keys: Vec<String> = (0..400).map(|n| format!("{}{n:03}", "\u{1}".repeat(1_000))).collect();
    for keys in keys.chunks(80) {
        let ops = keys.iter().map(|key| json!({"put": {"key": key, "value": 1}}));
        client.ok(json!({"batch": {"ns": "notes", "ops": ops.collect::<Vec<_>>()}})).await;
    }
    assert_eq!(whole(&mut client, "list").await, keys);
    for keys in keys.chunks(80) {
        let ops = keys.iter().map(|key| json!({"delete": {"key": key}}));
        client.ok(json!({"batch": {"ns": "notes", "ops": ops.collect::<Vec<_>>()}})).await;
    }
    assert_eq!(whole(&mut client, "trash").await, keys);
}

/// The keys of all pages, of which none is larger than a frame may be.
async fn whole(client: &mut Client, method: &str) -> Vec<String> {
    let (mut keys, mut after, mut pages) = (Vec::new(), serde_json::Value::Null, 0);
    loop {
        let mut frame = json!({"id": 1_000, method: {"ns": "notes", "limit": 1_000}});
        if !after.is_null() {
            frame[method]["after"] = after.take();
        }
        client.send_text(&frame.to_string()).await;
        let message = client.message().await.into_text().expect("text");
        assert!(message.len() <= 1_048_576, "{} bytes", message.len());
        let answer: serde_json::Value = serde_json::from_str(&message).expect("JSON");
        let items = answer["ok"]["items"].as_array().unwrap_or_else(|| panic!("{message:.500}"));
        keys.extend(items.iter().map(|item| item["key"].as_str().expect("a key").to_owned()));
        after = answer["ok"]["next"].clone();
        pages += 1;
        if after.is_null() {
            assert!(pages > 1, "they fit into one page");
            return keys;
        }
    }
}
