//! A disk that takes no more writes while a server runs: they are refused and say why, what was answered is read,
//! operators see it, and all goes on when the disk does, plugins with rows of their own as well.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::harness::{Client, PATIENCE, Server, program};
use crate::receiver::Receiver;

const NOTES: &str = "[namespaces.notes]\n";
/// After this time plugins make durable what they have written.
const DURABLE_WITHIN: Duration = Duration::from_secs(1);

/// A program that starts a server to which a write that the system refuses for the file's size is an error as any
/// other, and not its end.
fn program_that_survives(folder: &Path) -> PathBuf {
    let path = folder.join("keepboth-surviving");
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec {} \"$@\"\n", program().display());
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("a script");
    path
}

/// What `prlimit` says of the server, or what went wrong.
fn limit(server: &Server, words: &[&str]) -> Result<String, String> {
    let process = server.process().to_string();
    let mut command = Command::new("prlimit");
    let output = command.args(["--pid", &process]).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("prlimit: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
/// From now on the system refuses the server every write behind the first byte of a file; gives the limit of before.
/// None, with a word on stderr, where this machine does not do so.
fn refuse_writes(server: &Server) -> Option<String> {
    let before = limit(server, &["--fsize", "--noheadings", "--raw", "--output=SOFT"]);
    let limited = before.and_then(|before| limit(server, &["--fsize=1:"]).map(|_| before));
    match limited {
        Ok(before) => Some(before),
        Err(why) => {
            eprintln!("skipped: no disk can be made to fail here: {why}");
            None
        }
    }
}

/// The system does so no more; waits until the server has noticed, though nobody writes.
async fn take_writes(server: &Server, before: &str) {
    limit(server, &[&format!("--fsize={before}:")]).expect("it was limited as well");
    let noticed = async { while !is_writable(server).await {} };
    timeout(PATIENCE, noticed).await.expect("noticed");
}

fn put(key: &str) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": key}})
}

async fn warnings(client: &mut Client) -> Json {
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    status["namespaces"][0]["warnings"].clone()
}

async fn is_writable(server: &Server) -> bool {
    let metrics = server.metrics().await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("keepboth_writable{namespace=\"notes\"} "));
    line.expect("the metric") == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_writes_is_read_and_is_written_to_once_it_takes_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program_that_survives(folder.path());
    let mut server = Server::start_program(&program, NOTES).await;
    let mut client = server.client().await;
    client.ok(put("before")).await;
    assert!(is_writable(&server).await);
    let Some(before) = refuse_writes(&server) else { return };

    for key in ["at once", "after it"] {
        let error = client.error(put(key)).await;
        assert_eq!(error["code"], "store_failed", "{error}");
    }
    assert_eq!(client.get("notes", "before").await, "before");
    let warned = warnings(&mut client).await;
    assert!(warned[0].as_str().is_some_and(|words| words.starts_with("store: ")), "{warned}");
    assert!(!is_writable(&server).await);

    take_writes(&server, &before).await;
    client.ok(put("again")).await;
    assert_eq!(warnings(&mut client).await, Json::Null);

    server.kill().await;
    server.go_on().await;
    let mut client = server.client().await;
    for key in ["before", "again"] {
        assert_eq!(client.get("notes", key).await, key);
    }
    let error = client.error(json!({"get": {"ns": "notes", "key": "after it"}})).await;
    assert_eq!(error["code"], "not_found");
    assert_eq!(server.stop().await, Some(0));
}

/// Takes all that a receiver hears, and tells the keys.
fn hear(mut receiver: Receiver) -> mpsc::UnboundedReceiver<String> {
    let (sender, keys) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let heard = receiver.next().await;
            if sender.send(heard.key().to_owned()).is_err() {
                return;
            }
            heard.answer(200);
        }
    });
    keys
}

async fn told(keys: &mut mpsc::UnboundedReceiver<String>, key: &str) {
    while keys.recv().await.expect("a webhook that goes on") != key {}
}

/// The first object that the index has for this number, once it goes on.
async fn found(client: &mut Client, n: usize) -> String {
    let query = json!({"query": {"ns": "notes", "index": "by_n", "eq": n, "wait_ms": 1_000}});
    loop {
        let answer = client.try_ask(query.clone()).await.expect("an answer");
        match answer["ok"]["items"][0]["name"].as_str() {
            Some(name) => return name.to_owned(),
            None => {
                let code = answer["error"]["code"].as_str().expect("an error");
                assert!(matches!(code, "index_behind" | "store_failed"), "{answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_and_a_webhook_whose_disk_takes_no_writes_go_on_once_it_takes_them_again() {
    let receiver = Receiver::start().await;
    let config = format!(
        "[[namespaces.notes.plugins]]\nuse = \"index\"\n\
         [namespaces.notes.plugins.indexes]\nby_n = {{ path = \"/n\" }}\n\
         [[namespaces.notes.plugins]]\nuse = \"webhook\"\n\
         [namespaces.notes.plugins.targets.crm]\nurl = \"{}\"\n",
        receiver.url()
    );
    let mut keys = hear(receiver);
    let folder = tempfile::tempdir().expect("a folder");
    let program = program_that_survives(folder.path());
    let server = Server::start_program(&program, &config).await;
    let mut client = server.client().await;
    let mut n = 0;
    // The indexes do not go on, or there are none: once their table is to be opened again.
    for words in ["index: the", "webhook: nothing is told"] {
        let fails = async {
            loop {
                n += 1;
                let key = format!("k{n}");
                client.put("notes", &key, json!({"n": n})).await;
                match words.starts_with("index") {
                    true => assert_eq!(found(&mut client, n).await, key),
                    false => told(&mut keys, &key).await,
                }
                // Unless what the plugin wrote is durable by now, it fails.
                let before = refuse_writes(&server)?;
                let until = Instant::now() + 3 * DURABLE_WITHIN;
                let mut failed = false;
                while !failed && Instant::now() < until {
                    failed = warnings(&mut client).await.to_string().contains(words);
                }
                take_writes(&server, &before).await;
                if failed {
                    return Some(());
                }
            }
        };
        let fails = timeout(PATIENCE, fails).await;
        if fails.expect(words).is_none() {
            return;
        }
    }

    client.put("notes", "again", json!({"n": 0})).await;
    let again = timeout(PATIENCE, found(&mut client, 0)).await;
    assert_eq!(again.expect("the index goes on"), "again");
    timeout(PATIENCE, told(&mut keys, "again")).await.expect("the webhook goes on");
    let well = async { while warnings(&mut client).await != Json::Null {} };
    timeout(PATIENCE, well).await.expect("nothing is left to warn of");
}
