//! A disk that takes no more writes while a server runs: they are refused and say why, what was answered is read,
//! operators see it, and all goes on when the disk does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::harness::{Client, PATIENCE, Server, program};

const NOTES: &str = "[namespaces.notes]\n";

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

/// From now on the system refuses the server every write behind the first byte of a file; gives the limit of before.
fn refuse_writes(server: &Server) -> Result<String, String> {
    let before = limit(server, &["--fsize", "--noheadings", "--raw", "--output=SOFT"])?;
    limit(server, &["--fsize=1:"])?;
    Ok(before)
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

#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know")]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_writes_is_read_and_is_written_to_once_it_takes_them_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program_that_survives(folder.path());
    let mut server = Server::start_program(&program, NOTES).await;
    let mut client = server.client().await;
    client.ok(put("before")).await;
    assert!(is_writable(&server).await);
    let before = match refuse_writes(&server) {
        Ok(before) => before,
        Err(why) => {
            eprintln!("skipped: no disk can be made to fail here: {why}");
            return;
        }
    };

    for key in ["at once", "after it"] {
        let error = client.error(put(key)).await;
        assert_eq!(error["code"], "store_failed", "{error}");
    }
    assert_eq!(client.get("notes", "before").await, "before");
    let warned = warnings(&mut client).await;
    assert!(warned[0].as_str().is_some_and(|words| words.starts_with("store: ")), "{warned}");
    assert!(!is_writable(&server).await);

    limit(&server, &[&format!("--fsize={before}:")]).expect("it was limited as well");
    let noticed = async { while !is_writable(&server).await {} };
    timeout(PATIENCE, noticed).await.expect("noticed, though nobody writes");
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
