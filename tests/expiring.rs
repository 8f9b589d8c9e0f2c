//! What has an end goes at its time, on all nodes alike; what lives on lives on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use crate::cluster::{self, NOTES, alike, members, mesh, quiet, until};
use crate::harness::{Client, Server};

const EXPIRY: &str = "[[namespaces.notes.plugins]]\nuse = \"expiry\"\n";
const FIELD: &str = "field = \"expires_at\"\nttl_field = \"ttl\"\n";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a time")
}

async fn gone(client: &mut Client, key: &str) {
    let event = client.event(|event| event["type"] == "delete" && event["key"] == key);
    event.await;
}

/// The names of all objects.
async fn names(client: &mut Client) -> Vec<String> {
    client.objects("notes").await.as_object().expect("objects").keys().cloned().collect()
}

#[tokio::test]
async fn an_object_goes_when_its_time_is_over_and_not_before() {
    let server = Server::start(&format!("{EXPIRY}{FIELD}")).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes"}})).await;
    let later = now() + 86_400_000;
    for (key, value) in [
        ("for ever", json!({"a": 1})),
        ("tomorrow", json!({"expires_at": later})),
        ("in an hour", json!({"ttl": "1h"})),
        ("not a map", json!(7)),
        ("over", json!({"expires_at": "2001-01-01T00:00:00Z"})),
        ("over too", json!({"ttl": 1, "expires_at": later})),
    ] {
        client.put("notes", key, value).await;
    }
    gone(&mut client, "over").await;
    gone(&mut client, "over too").await;
    let left = ["for ever", "in an hour", "not a map", "tomorrow"];
    assert_eq!(names(&mut client).await, left);
    let trash = client.ok(json!({"trash": {"ns": "notes"}})).await;
    assert_eq!(trash["items"].as_array().map(Vec::len), Some(2), "they can be restored: {trash}");
}

#[tokio::test]
async fn an_object_that_is_written_again_before_its_end_lives_on() {
    let server = Server::start(&format!("{EXPIRY}{FIELD}")).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes"}})).await;
    let soon = now() + 1_500;
    client.put("notes", "renewed", json!({"expires_at": soon})).await;
    client.put("notes", "left", json!({"expires_at": soon})).await;
    client.put("notes", "renewed", json!({"expires_at": soon + 86_400_000})).await;
    gone(&mut client, "left").await;
    assert!(now() >= soon, "not before its time");
    // Of the same end and judged before, had it not been renewed.
    client.put("notes", "last", json!({"expires_at": 1})).await;
    gone(&mut client, "last").await;
    assert_eq!(names(&mut client).await, ["renewed"]);
}

#[tokio::test]
async fn keys_and_the_namespace_say_how_long_objects_last() {
    let settings = "after = \"1ms\"\nkeys = { \"keep/*\" = \"never\", \"day/*\" = \"1d\" }\n";
    let server = Server::start(&format!("{EXPIRY}{settings}")).await;
    let mut client = server.client().await;
    client.ok(json!({"watch": {"ns": "notes"}})).await;
    for key in ["keep/1", "day/1", "other"] {
        client.put("notes", key, json!(1)).await;
    }
    gone(&mut client, "other").await;
    assert_eq!(names(&mut client).await, ["day/1", "keep/1"]);
}

#[tokio::test]
async fn a_restart_misses_nothing() {
    let mut server = Server::start(NOTES).await;
    let mut client = server.client().await;
    client.put("notes", "over", json!({"expires_at": 1})).await;
    client.put("notes", "stays", json!({})).await;
    assert_eq!(server.stop().await, Some(0));
    server.rewrite(&format!("{EXPIRY}{FIELD}"));
    server.go_on().await;
    let mut client = server.client().await;
    until(&mut client, "what is over goes", |status| status["objects"] == 1).await;
    assert_eq!(names(&mut client).await, ["stays"]);
}

#[tokio::test]
async fn many_that_end_at_once_go_while_others_write() {
    let server = Server::start(&format!("{EXPIRY}{FIELD}per_second = 1000000\n")).await;
    let mut client = server.client().await;
    for hundred in 0..20 {
        let put = |n| json!({"put": {"key": format!("{hundred}/{n}"), "value": {"expires_at": 1}}});
        let ops: Vec<Json> = (0..100).map(put).collect();
        client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    }
    for n in 0..50 {
        client.put("notes", &format!("mine/{n}"), json!({})).await;
    }
    let status = until(&mut client, "all of them go", |status| status["objects"] == 50).await;
    assert_eq!(status["conflicts"], 0);
}

/// A page of deletes: key and version.
async fn deletes(client: &mut Client) -> Json {
    let trash = client.ok(json!({"trash": {"ns": "notes"}})).await;
    let items = trash["items"].as_array().expect("items").iter();
    let id = |item: &Json| item["version"].as_str().expect("a version").to_owned();
    items.map(|item| json!([item["key"], id(item)])).collect()
}

#[tokio::test]
async fn nodes_that_are_apart_make_the_same_delete_and_are_quiet_afterwards() {
    let both = members(&[1, 2]);
    let plain = |peers: &[String]| format!("{}{both}{NOTES}", mesh(peers, ""));
    let expiring = |mesh: String| format!("{mesh}{both}{EXPIRY}{FIELD}");
    let mut a = cluster::start(1, &plain(&[])).await;
    let mut b = cluster::start(2, &plain(&[a.url()])).await;
    let over = json!({"expires_at": 1});
    let mut client = a.client().await;
    for key in ["one", "two", "stays"] {
        let value = if key == "stays" { json!({}) } else { over.clone() };
        client.put("notes", key, value).await;
    }
    alike(&[&a, &b], |objects| objects.as_object().is_some_and(|o| o.len() == 3)).await;
    for server in [&mut a, &mut b] {
        assert_eq!(server.stop().await, Some(0));
    }
    // Apart, with a conflict whose sides both have ended.
    for (server, side) in [(&mut a, "a"), (&mut b, "b")] {
        server.rewrite(&format!("{}{both}{NOTES}", quiet("")));
        server.go_on().await;
        let value = json!({"expires_at": 1, "side": side});
        server.client().await.put("notes", "torn", value).await;
        assert_eq!(server.stop().await, Some(0));
    }
    let mut made = Vec::new();
    for server in [&mut a, &mut b] {
        server.rewrite(&expiring(quiet("")));
        server.go_on().await;
        let mut client = server.client().await;
        until(&mut client, "what is over goes", |status| status["objects"] == 1).await;
        let mut items = deletes(&mut client).await;
        items.as_array_mut().expect("items").retain(|item| item[0] != "torn");
        made.push(items);
    }
    assert_eq!(made[0], made[1], "the same deletes");
    assert_eq!(made[0].as_array().map(Vec::len), Some(2));
    assert_eq!(b.stop().await, Some(0));
    b.rewrite(&expiring(mesh(&[a.url()], "")));
    b.go_on().await;
    for server in [&a, &b] {
        server.until("notes", "synced").await;
        let mut client = server.client().await;
        let status = cluster::status(&mut client, "notes").await;
        assert_eq!((&status["objects"], &status["conflicts"]), (&json!(1), &json!(0)), "{status}");
        let history = client.ok(json!({"history": {"ns": "notes", "key": "one"}})).await;
        assert_eq!(history["versions"].as_array().map(Vec::len), Some(2), "one delete: {history}");
    }
}

#[tokio::test]
async fn a_put_elsewhere_at_the_same_time_wins_over_the_end() {
    let both = members(&[1, 2]);
    let mut a = cluster::start(1, &format!("{}{both}{NOTES}", mesh(&[], ""))).await;
    let mut b = cluster::start(2, &format!("{}{both}{NOTES}", mesh(&[a.url()], ""))).await;
    a.client().await.put("notes", "k", json!({"expires_at": 1})).await;
    alike(&[&a, &b], |objects| objects["k"].is_array()).await;
    for server in [&mut a, &mut b] {
        assert_eq!(server.stop().await, Some(0));
        server.rewrite(&format!("{}{both}{NOTES}", quiet("")));
    }
    b.go_on().await;
    b.client().await.put("notes", "k", json!({"renewed": true})).await;
    assert_eq!(b.stop().await, Some(0));
    a.rewrite(&format!("{}{both}{EXPIRY}{FIELD}", quiet("")));
    a.go_on().await;
    let mut client = a.client().await;
    until(&mut client, "it goes here", |status| status["objects"] == 0).await;
    b.rewrite(&format!("{}{both}{EXPIRY}{FIELD}", mesh(&[a.url()], "")));
    b.go_on().await;
    let objects = alike(&[&a, &b], |objects| objects["k"].is_array()).await;
    assert_eq!(objects["k"][1], json!({"renewed": true}));
}

#[tokio::test]
async fn a_value_whose_end_cannot_be_read_is_refused_in_words() {
    let server = Server::start(&format!("{EXPIRY}{FIELD}")).await;
    let mut client = server.client().await;
    let put = json!({"put": {"ns": "notes", "key": "k", "value": {"expires_at": "tomorrow"}}});
    let error = client.error(put).await;
    assert_eq!(error["code"], "hook_refused");
    let words = error["message"].as_str().expect("words");
    assert!(words.starts_with("expires_at is \"tomorrow\", not a time like \"2026-"), "{words}");
}

#[tokio::test]
async fn mistakes_in_the_settings_are_told_with_their_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    for (settings, said) in [
        ("", "nothing ever ends: set after, keys, field or ttl_field"),
        (
            "after = \"soon\"",
            "config.toml:3:9: error: \"soon\": a period is a whole number and its unit",
        ),
        ("after = \"0s\"", "objects last at least 1ms"),
        ("keys = { \"a/*\" = \"1\" }", "config.toml:3:18: error: \"1\": a period is"),
        ("field = \"x\"\nttl_field = \"x\"", "config.toml:4:13: error: field has the same name"),
        ("after = \"1d\"\nper_second = 0", "config.toml:4:14"),
    ] {
        std::fs::write(&file, format!("{EXPIRY}{settings}\n")).expect("written");
        let mut command = tokio::process::Command::new(crate::harness::program());
        let output = command.args(["check", "--config"]).arg(&file).output().await.expect("run");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(said), "{said}: {text}");
    }
}
