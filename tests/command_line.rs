//! The command line against a real server: stdout is data, stderr is talk, the exit code says how it ended.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

use crate::harness::{Server, Wire, program, project};

const CONFIG: &str = "[namespaces.notes]\n";

/// A command's end.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    Ended { code, out: text(output.stdout), err: text(output.stderr) }
}

fn run(url: &str, words: &[&str]) -> Ended {
    let output = Command::new(program()).args(["--url", url]).args(words).output();
    ended(output.expect("the program"))
}

fn run_with(url: &str, words: &[&str], input: &str) -> Ended {
    let mut child = Command::new(program())
        .args(["--url", url])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("written");
    ended(child.wait_with_output().expect("an end"))
}

fn check(config: &Path) -> Ended {
    let output = Command::new(program()).args(["check", "--config"]).arg(config).output();
    ended(output.expect("the program"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_put_got_listed_and_removed() {
    let server = Server::start(CONFIG).await;
    let url = server.url();
    let put = run(&url, &["put", "notes/a/1", "{\"n\": 1}"]);
    assert_eq!(put.code, 0, "{}", put.err);
    let get = run(&url, &["get", "notes/a/1"]);
    assert_eq!((get.code, get.out.trim()), (0, "{\"n\":1}"));
    assert_eq!(run_with(&url, &["put", "notes/a/2", "-", "--string"], "plain text").code, 0);
    assert_eq!(run(&url, &["get", "notes/a/2"]).out.trim_end(), "plain text");
    let list = run(&url, &["--json", "ls", "notes/a/"]);
    let keys: Vec<Json> = list
        .out
        .lines()
        .map(|l| serde_json::from_str::<Json>(l).expect("JSON")["key"].clone())
        .collect();
    assert_eq!(keys, [json!("a/1"), json!("a/2")]);
    assert_eq!(run(&url, &["rm", "notes/a/1"]).code, 0);
    let gone = run(&url, &["get", "notes/a/1"]);
    assert_eq!((gone.code, gone.out.as_str()), (5, ""));
    assert!(gone.err.contains("a/1"), "{}", gone.err);
    assert!(run(&url, &["trash", "ls", "notes"]).out.contains("a/1"));
    assert_eq!(run(&url, &["trash", "restore", "notes/a/1"]).code, 0);
    assert_eq!(run(&url, &["get", "notes/a/1"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_revert_go_back_in_time() {
    let server = Server::start(CONFIG).await;
    let url = server.url();
    for n in ["1", "2"] {
        assert_eq!(run(&url, &["put", "notes/k", n]).code, 0);
    }
    let history = run(&url, &["--json", "history", "notes/k"]);
    let versions: Vec<Json> =
        history.out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(versions.len(), 2);
    let first = versions[1]["version"].as_str().expect("a version");
    assert_eq!(run(&url, &["get", "notes/k", "--version", first]).out.trim(), "1");
    assert_eq!(run(&url, &["revert", "notes/k", first]).code, 0);
    assert_eq!(run(&url, &["get", "notes/k"]).out.trim(), "1");
    let stale = run(&url, &["put", "notes/k", "3", "--if-version", first]);
    assert_eq!(stale.code, 6, "{}", stale.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_listed_shown_and_resolved() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(CONFIG).await;
    wire.lead_to(b.address());
    let a = Server::start(&format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = [\"ws://{}\"]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n{CONFIG}",
        wire.address
    ))
    .await;
    assert_eq!(run(&a.url(), &["put", "notes/k", "0"]).code, 0);
    b.until("notes", "synced").await;
    wire.cut();
    a.until("notes", "not_synced").await;
    b.until("notes", "not_synced").await;
    assert_eq!(run(&a.url(), &["put", "notes/k", "1"]).code, 0);
    assert_eq!(run(&b.url(), &["put", "notes/k", "2"]).code, 0);
    wire.mend();
    a.until("notes", "synced").await;

    let get = run(&a.url(), &["get", "notes/k"]);
    assert_eq!((get.code, get.out.as_str()), (6, ""));
    let list = run(&a.url(), &["--json", "conflict", "ls", "notes"]);
    let conflict: Json = serde_json::from_str(list.out.trim()).expect("JSON");
    let sides = conflict["sides"].as_array().expect("sides");
    for side in sides {
        assert!(get.err.contains(side["address"].as_str().expect("an address")), "{}", get.err);
    }
    let show = run(&a.url(), &["--json", "conflict", "show", "notes/k"]);
    let shown: Json = serde_json::from_str(show.out.trim()).expect("JSON");
    assert_eq!(shown["base"]["value"], 0);
    let address = sides[0]["address"].as_str().expect("an address");
    assert_eq!(run(&a.url(), &["conflict", "resolve", "notes/k", "--side", address]).code, 0);
    b.until("notes", "synced").await;
    a.until("notes", "synced").await;
    let (at_a, at_b) = (run(&a.url(), &["get", "notes/k"]), run(&b.url(), &["get", "notes/k"]));
    assert_eq!((at_a.code, &at_a.out), (0, &at_b.out));
    assert_eq!(run(&a.url(), &["conflict", "resolve", "notes/k", "--side", address]).code, 6);
    let status = run(&a.url(), &["status"]);
    assert!(status.out.contains("synced"), "{}", status.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported() {
    let (one, other) = (Server::start(CONFIG).await, Server::start(CONFIG).await);
    let lines: String =
        (0..500).map(|n| format!("{{\"key\":\"k{n:03}\",\"value\":{{\"n\":{n}}}}}\n")).collect();
    let import = run_with(&one.url(), &["import", "notes", "-"], &lines);
    assert_eq!(import.code, 0, "{}", import.err);
    let export = run(&one.url(), &["export", "notes"]);
    assert_eq!(export.out.lines().count(), 500);
    assert_eq!(run_with(&other.url(), &["import", "notes", "-"], &export.out).code, 0);
    let (mut a, mut b) = (one.client().await, other.client().await);
    let values = |objects: Json| -> Vec<Json> {
        objects.as_object().expect("objects").values().map(|v| v[1].clone()).collect()
    };
    assert_eq!(values(a.objects("notes").await), values(b.objects("notes").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_exit_codes_and_words() {
    let server = Server::start(CONFIG).await;
    let url = server.url();
    for (words, code, part) in [
        (&["get", "nowhere/k"][..], 5, "nowhere"),
        (&["get", "notes"], 2, "NAMESPACE/KEY"),
        (&["put", "notes/k", "{not json"], 7, "--string"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["conflict", "show", "notes/k"], 6, "conflict"),
        (&["get", "notes/k", "--version", "xyz"], 2, "64"),
    ] {
        let ended = run(&url, words);
        assert!(
            ended.code == code || (code == 7 && ended.code == 2),
            "{words:?}: {} {}",
            ended.code,
            ended.err
        );
        assert!(ended.err.contains(part), "{part:?} in {}", ended.err);
    }
    let nobody = run("ws://127.0.0.1:1", &["get", "notes/k"]);
    assert_eq!(nobody.code, 9);
    assert!(nobody.err.contains("is the server running?"), "{}", nobody.err);
    let json = run(&url, &["--json", "get", "notes/none"]);
    let error: Json = serde_json::from_str(json.err.trim()).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["exit"]), (&json!("not_found"), &json!(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_checks_itself() {
    let output = Command::new(program()).arg("demo").output().expect("the program");
    let ended = ended(output);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    for step in [
        "three nodes run",
        "are cut",
        "the same two objects",
        "one object again",
        "everything agreed",
    ] {
        assert!(ended.out.contains(step), "{step:?} in {}", ended.out);
    }
}

#[test]
fn a_server_for_trying_out_listens_to_no_other_machine_either() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut serve = Command::new(program());
        serve.args(["serve", "--dev", "--data", "data", "--listen", address]);
        let served = ended(serve.current_dir(folder.path()).output().expect("the program"));
        assert_eq!(served.code, 78, "{address}: {}", served.err);
        assert!(served.err.starts_with(address), "{}", served.err);
        for part in ["read and write everything", "127.0.0.1", "server.insecure = true"] {
            assert!(served.err.contains(part), "{part:?} in {}", served.err);
        }
        assert!(!folder.path().join("data").exists(), "nothing was opened");
    }
}

/// Writes a config with mistakes and gives what `check` and `serve` say of it.
fn refused(config: &str, more: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in more {
        std::fs::create_dir_all(folder.path().join(name).parent().expect("a parent"))
            .expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).expect("a config");
    let checked = check(&file);
    assert_eq!(checked.code, 78, "{}{}", checked.out, checked.err);
    let served = Command::new(program()).args(["serve", "--config"]).arg(&file).output();
    let served = ended(served.expect("the program"));
    assert_eq!(served.code, 78, "serve refuses it too: {}", served.err);
    assert!(!folder.path().join("data").exists(), "nothing was opened");
    checked.err
}

#[test]
fn a_config_with_mistakes_is_refused_with_every_place_and_what_would_be_right() {
    let words = refused(
        "[server]\nlisten = \"127.0.0.1:0\"\nlogg = \"info\"\n\n[limits]\nvalue_bytes_max = \"1 MiB\"\n\n[mesh]\npeers = [\"http://x\"]\n\n[[namespaces.notes.plugins]]\nuse = \"lau\"\n",
        &[],
    );
    for part in [
        "config.toml:3:1",
        "logg",
        "did you mean",
        "config.toml:6:",
        "64 KiB",
        "config.toml:9:",
        "ws://",
        "config.toml:12:",
        "lua",
    ] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    let words = refused("[server\nlisten = 5\n", &[]);
    assert!(words.contains("config.toml:1:8"), "{words}");
    let words = refused("[server]\nlisten = \"0.0.0.0:7400\"\n", &[]);
    assert!(words.contains("insecure"), "{words}");
}

#[test]
fn a_schema_that_does_not_compile_is_named_with_its_place() {
    let config =
        "[[namespaces.notes.plugins]]\nuse = \"schema\"\nbind = { \"*\" = \"bad.schema.json\" }\n";
    let words = refused(config, &[("schemas/bad.schema.json", "{\"type\": \"strnig\"}")]);
    for part in ["config.toml:3:", "bad.schema.json", "strnig"] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    let remote = "{\"$ref\": \"https://example.org/schema.json\"}";
    let words = refused(config, &[("schemas/bad.schema.json", remote)]);
    assert!(words.contains("remote $ref is refused"), "{words}");
    let words = refused(&config.replace("bad.", "../bad."), &[("bad.schema.json", "{}")]);
    assert!(words.contains("schemas"), "{words}");
}

#[test]
fn a_broken_script_is_named_with_its_line() {
    let config = "[[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"bad.luau\"]\n";
    for (script, part) in [
        ("local x = \n\nfunction(", "bad.luau:3"),
        ("while true do end", "1,000 ms"),
        ("while true do pcall(function() while true do end end) end", "1,000 ms"),
        ("kb.namespace():on_putt(function() end)", "on_put"),
        ("local x = 1", "registers no hook"),
    ] {
        let words = refused(config, &[("scripts/bad.luau", script)]);
        assert!(words.contains(part) && words.contains("config.toml:3:"), "{part:?} in {words}");
    }
}

#[test]
fn the_example_configuration_is_sound() {
    let ended = check(&project().join("config.example.toml"));
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_do_not_share_a_data_folder() {
    let server = Server::start(CONFIG).await;
    let output = Command::new(program()).args(["serve", "--config"]).arg(server.config()).output();
    let ended = ended(output.expect("the program"));
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("notes") && ended.err.contains("another process"), "{}", ended.err);
}
