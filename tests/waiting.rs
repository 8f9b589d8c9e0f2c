//! Whoever waits for a plugin is woken, whatever becomes of it, and where too many wait it is said.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::harness::{Client, Server, own_program};
use crate::receiver::Receiver;

const INDEX: &str = "[[namespaces.notes.plugins]]\nuse = \"slippery_index\"\n\
    [namespaces.notes.plugins.indexes]\nby_n = { path = \"/n\" }\n";

/// The folder of a plugin of the namespace `notes`.
fn folder(server: &Server, plugin: &str) -> PathBuf {
    server.folder.path().join("data/plugins/notes").join(plugin)
}

/// A server that starts with this file in the plugin's folder, once it was stopped.
async fn start_with(config: &str, plugin: &str, prepare: impl FnOnce(PathBuf)) -> Server {
    let mut server = Server::start_program(own_program(), "[namespaces.notes]\n").await;
    assert_eq!(server.stop().await, Some(0));
    let folder = folder(&server, plugin);
    std::fs::create_dir_all(&folder).expect("a folder");
    prepare(folder);
    server.rewrite(config);
    server.go_on().await;
    server
}

fn hold(folder: PathBuf) {
    std::fs::write(folder.join("hold"), "").expect("written");
}

/// Asks for all that the index has; the answer is waited for elsewhere.
async fn query(client: &mut Client) -> u64 {
    client.ask(json!({"query": {"ns": "notes", "index": "by_n", "wait_ms": 60_000}})).await
}

#[tokio::test]
async fn who_asks_an_index_before_its_table_is_open_is_answered_when_it_is() {
    let server = start_with(INDEX, "slippery_index", hold).await;
    let mut client = server.client().await;
    client.put("notes", "a", json!({"n": 1})).await;
    let mut other = server.client().await;
    let (first, second) = (query(&mut client).await, query(&mut other).await);
    let none = json!({"query": {"ns": "notes", "index": "by_n", "wait_ms": 0}});
    let error = client.error(none).await;
    assert_eq!(error["code"], "index_behind");
    assert_eq!(error["message"], "the index by_n is not there: its table is not open yet");
    std::fs::remove_file(folder(&server, "slippery_index").join("hold")).expect("removed");
    for answer in [client.answer(first).await, other.answer(second).await] {
        assert_eq!(answer["ok"]["items"][0]["name"], "a", "{answer}");
    }
}

#[tokio::test]
async fn who_waits_for_an_index_that_is_taken_away_is_told_so_at_once() {
    let server = start_with(INDEX, "slippery_index", hold).await;
    let mut client = server.client().await;
    client.put("notes", "a", json!({"n": 1})).await;
    let id = query(&mut client).await;
    // It is under way when one that came after it is answered.
    let none = json!({"query": {"ns": "notes", "index": "by_n", "wait_ms": 0}});
    let error = client.error(none).await;
    assert!(error["message"].as_str().is_some_and(|m| m.ends_with("not open yet")), "{error}");
    server.rewrite("[namespaces.notes]\n");
    let mut other = server.client().await;
    let reload = other.ask(json!({"reload": {}})).await;
    let answer = client.answer(id).await;
    assert_eq!(answer["error"]["code"], "shutting_down", "{answer}");
    std::fs::remove_file(folder(&server, "slippery_index").join("hold")).expect("removed");
    assert!(other.answer(reload).await["ok"].is_object());
}

#[tokio::test]
async fn an_index_whose_table_cannot_be_opened_says_why_to_who_asks_and_in_the_status() {
    let blocked = |folder: PathBuf| {
        std::fs::create_dir(folder.join("table.redb")).expect("a folder in its place");
    };
    let server = start_with(INDEX, "slippery_index", blocked).await;
    let mut client = server.client().await;
    let id = query(&mut client).await;
    let error = client.answer(id).await["error"].take();
    assert_eq!(error["code"], "index_behind", "{error}");
    let words = error["message"].as_str().expect("words");
    assert!(words.starts_with("the index by_n is not there: "), "{words}");
    assert!(words.contains("table.redb"), "{words}");
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    let warning = status["namespaces"][0]["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("slippery_index: there are no indexes: "), "{status}");
}

/// A target of webhooks.
fn target(plugin: &str, receiver: &Receiver, more: &str) -> String {
    format!(
        "[[namespaces.notes.plugins]]\nuse = \"{plugin}\"\n[namespaces.notes.plugins.targets.crm]\n\
         url = \"{}\"\ninitial = true\n{more}\n",
        receiver.url()
    )
}

#[tokio::test]
async fn more_questions_than_a_target_takes_are_refused_and_the_others_answered() {
    let receiver = Receiver::start().await;
    let config = target("slippery_webhook", &receiver, "");
    let server = Server::start_program(own_program(), &config).await;
    let mut client = server.client().await;
    let targets = json!({"plugin": {"ns": "notes", "plugin": "slippery_webhook", "op": "targets"}});
    while client.try_ask(targets.clone()).await.expect("an answer")["ok"].is_null() {
        tokio::task::yield_now().await;
    }
    hold(folder(&server, "slippery_webhook"));
    client.put("notes", "hang", json!(1)).await;
    // Each asks until one is refused: of 17, when the delivery hangs and 16 wait.
    let (released, mut asking) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for _ in 0..17 {
        let (mut client, targets, released) =
            (server.client().await, targets.clone(), released.clone());
        asking.spawn(async move {
            loop {
                let answer = client.try_ask(targets.clone()).await.expect("an answer");
                if answer["ok"].is_null() || released.load(Ordering::SeqCst) {
                    return answer;
                }
            }
        });
    }
    let refused = asking.join_next().await.expect("one of them").expect("no panic");
    assert_eq!(refused["error"]["code"], "overloaded", "{refused}");
    assert_eq!(refused["error"]["message"], "16 questions wait for the target crm");
    released.store(true, Ordering::SeqCst);
    std::fs::remove_file(folder(&server, "slippery_webhook").join("hold")).expect("removed");
    while let Some(answer) = asking.join_next().await {
        let answer = answer.expect("no panic");
        assert!(answer["ok"]["items"].is_array(), "{answer}");
    }
}

#[tokio::test]
async fn more_keys_than_may_wait_for_a_target_are_all_told_once_it_answers() {
    const KEYS: usize = 10_500;
    let mut receiver = Receiver::start().await;
    let server =
        Server::start(&target("webhook", &receiver, "concurrency = 16\nanswer_within = \"10m\""))
            .await;
    let mut client = server.client().await;
    for batch in 0..KEYS / 500 {
        let op =
            |n: usize| json!({"put": {"key": format!("k/{:05}", batch * 500 + n), "value": n}});
        let ops: Vec<Json> = (0..500).map(op).collect();
        client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    }
    let targets = json!({"plugin": {"ns": "notes", "plugin": "webhook", "op": "targets"}});
    loop {
        let answer = client.try_ask(targets.clone()).await.expect("an answer");
        let target = &answer["ok"]["items"][0];
        if target["waiting"] == 10_000 {
            assert!(
                target["at"].as_u64() < target["of"].as_u64(),
                "the feed keeps the rest: {target}"
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut told = BTreeSet::new();
    while told.len() < KEYS {
        told.insert(receiver.take().await["subject"].as_str().expect("a key").to_owned());
    }
}
