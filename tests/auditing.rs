//! The audit trail in a file: whole lines, within its bounds, and nothing lost in silence.

use std::path::Path;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::cluster::logged;
use crate::harness::{Client, PATIENCE, Server, check_config};

const AUDIT: &str = "[[namespaces.notes.plugins]]\nuse = \"audit\"\n";

/// The lines of a file that are entries.
fn entries(file: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the last entry is of this key.
async fn entries_until(client: &mut Client, file: &Path, key: &str) -> Vec<Json> {
    let until = Instant::now() + PATIENCE;
    loop {
        let entries = entries(file);
        if entries.last().is_some_and(|entry| entry["key"] == key) {
            return entries;
        }
        assert!(Instant::now() < until, "no entry of {key}: {entries:?}");
        client.ok(json!({"status": {}})).await;
    }
}

#[tokio::test]
async fn every_write_leaves_a_line_and_full_files_are_put_aside() {
    let bounds = "bytes_max = 4096, files_max = 2";
    let server =
        Server::start(&format!("{AUDIT}file = {{ path = \"audit.jsonl\", {bounds} }}\n")).await;
    let mut client = server.client().await;
    client.ok(json!({"hello": {"client": "ana"}})).await;
    for n in 0..100 {
        client.put("notes", &format!("note/{n:02}"), json!(n)).await;
    }
    client.ok(json!({"delete": {"ns": "notes", "key": "note/99"}})).await;
    let file = server.folder.path().join("audit.jsonl");
    let until = Instant::now() + PATIENCE;
    let last = loop {
        let last = entries(&file).pop().unwrap_or_default();
        if last["change"] == "delete" {
            break last;
        }
        assert!(Instant::now() < until, "the delete does not come");
        client.ok(json!({"status": {}})).await;
    };
    assert_eq!((&last["actor"], &last["key"]), (&json!("ana"), &json!("note/99")));
    let aside = |number: u32| server.folder.path().join(format!("audit.jsonl.{number}"));
    assert!(!aside(3).exists(), "the oldest went");
    let mut kept = Vec::new();
    for file in [&aside(2), &aside(1), &file] {
        let text = std::fs::read_to_string(file).expect("a file");
        assert!(text.len() <= 4_096 && text.ends_with('\n'), "{} bytes", text.len());
        assert_eq!(text.lines().count(), entries(file).len(), "each line is an entry");
        kept.extend(entries(file));
    }
    let expected = (0..=99).map(|n| format!("note/{n:02}")).chain(["note/99".into()]);
    let expected: Vec<String> = expected.collect();
    let found: Vec<&str> = kept.iter().filter_map(|entry| entry["key"].as_str()).collect();
    assert_eq!(found, expected[expected.len() - found.len()..], "in order and without a gap");
    assert!(found.len() > 20);
}

#[tokio::test]
async fn a_line_that_a_power_cut_took_half_of_spoils_no_other() {
    let config = format!("{AUDIT}file = {{ path = \"audit.jsonl\", sync = false }}\n");
    let mut server = Server::start(&config).await;
    let file = server.folder.path().join("audit.jsonl");
    let mut client = server.client().await;
    client.put("notes", "before", json!(1)).await;
    entries_until(&mut client, &file, "before").await;
    server.kill().await;
    let text = std::fs::read_to_string(&file).expect("a file") + "{\"actor\":\"an";
    std::fs::write(&file, text).expect("written");
    server.go_on().await;
    let mut client = server.client().await;
    client.put("notes", "behind", json!(1)).await;
    let entries = entries_until(&mut client, &file, "behind").await;
    assert_eq!(entries.len(), 2);
}

#[tokio::test]
async fn an_entry_that_cannot_be_written_stands_in_the_log_and_is_counted() {
    let server = Server::start(&format!("{AUDIT}file = {{ path = \"/dev/full\" }}\n")).await;
    let mut client = server.client().await;
    for key in ["one", "two"] {
        client.put("notes", key, json!(1)).await;
        logged(&server, &format!("\"key\":\"{key}\"")).await;
    }
    assert!(server.log().contains("cannot write to /dev/full"), "{}", server.log());
    let metrics = server.get("/metrics", &[]).await;
    let lost = metrics.lines().find(|line| line.contains("entries_lost"));
    assert!(lost.is_some_and(|line| line.ends_with(" 2")), "{lost:?}");
}

#[tokio::test]
async fn settings_of_one_file_hold_after_a_reload_and_two_namespaces_may_share_it() {
    let plugin = |namespace: &str, sync: bool| {
        format!(
            "[[namespaces.{namespace}.plugins]]\nuse = \"audit\"\nfile = {{ path = \"a.jsonl\", sync = {sync} }}\n"
        )
    };
    let config = |sync| format!("{}{}", plugin("notes", sync), plugin("other", sync));
    let server = Server::start(&config(true)).await;
    let file = server.folder.path().join("a.jsonl");
    let mut client = server.client().await;
    client.put("notes", "one", json!(1)).await;
    entries_until(&mut client, &file, "one").await;
    server.rewrite(&config(false));
    client.ok(json!({"reload": {}})).await;
    client.put("other", "two", json!(1)).await;
    let entries = entries_until(&mut client, &file, "two").await;
    let namespaces: Vec<&Json> = entries.iter().map(|entry| &entry["namespace"]).collect();
    assert_eq!(namespaces, ["notes", "other"]);
}

#[tokio::test]
async fn two_trails_of_a_namespace_in_one_place_are_a_mistake_with_its_place() {
    let both = |one: &str, other: &str| format!("{AUDIT}{one}\n{AUDIT}{other}\n");
    let file =
        |path: &str, bytes: u64| format!("file = {{ path = \"{path}\", bytes_max = {bytes} }}");
    for (config, told) in [
        (
            both(&file("a.jsonl", 4096), &file("./a.jsonl", 9999)),
            "config.toml:6:17: error: the file ",
        ),
        (
            both("", "to = \"trail\""),
            "config.toml:6:6: error: the namespace trail is given to \"audit\"",
        ),
    ] {
        let (code, text) = check_config(&config).await;
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(told) && text.contains("twice here"), "{told}: {text}");
    }
    let (code, text) = check_config(&both(&file("a.jsonl", 4096), &file("b.jsonl", 4096))).await;
    assert_eq!(code, 0, "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_had_ends_the_start_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    for (setting, said) in [
        ("file = { path = \"no/audit.jsonl\" }", "No such file or directory"),
        ("to = \"trail\"\nfile = { path = \"a\" }", "either to or file"),
        ("file = { path = \"a\", bytes_max = 1 }", "bytes_max"),
    ] {
        let server = "[server]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(&config, format!("{server}{AUDIT}{setting}\n")).expect("written");
        let mut command = tokio::process::Command::new(crate::harness::program());
        let output = command.args(["serve", "--config"]).arg(&config).output().await.expect("run");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(said) && text.contains("config.toml:"), "{text}");
    }
}
