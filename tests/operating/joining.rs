//! Nodes are invited, admitted and removed.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::*;

/// A server that joins a mesh with an invitation.
struct Joining {
    url: String,
    _child: Child,
}

/// `keepboth serve --join`, with its data in this folder.
fn join_command(folder: &Path, join: &str, token: &str, config: &str) -> Command {
    std::fs::write(folder.join("config.toml"), config).expect("a config");
    std::fs::write(folder.join("invitation"), token).expect("an invitation");
    let mut command = Command::new(program());
    command
        .current_dir(folder)
        .args(["serve", "--json", "--config", "config.toml", "--listen", "127.0.0.1:0"])
        .args(["--join", join, "--token-file", "invitation"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Joining {
    async fn start(folder: &Path, join: &str, token: &str) -> Joining {
        Joining::start_with(folder, join, token, &strict()).await
    }

    async fn start_with(folder: &Path, join: &str, token: &str, config: &str) -> Joining {
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let mut command = join_command(folder, join, token, config);
        let mut child = command.stderr(log).spawn().expect("a server");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a start in time");
        let line = line.expect("a line").expect("a server that starts");
        let started: Json = serde_json::from_str(&line).expect("JSON");
        Joining { url: started["url"].as_str().expect("a URL").to_owned(), _child: child }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.url, None).await
    }
}

async fn invitation(server: &Server, arguments: Json) -> String {
    let invited = server.client().await.ok(json!({"peer_invite": arguments})).await;
    invited["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_node_joins_and_both_list_each_other() {
    let a = Server::start(&strict()).await;
    let (exit, token, talk) = run(&a.url(), &["peer", "invite", "--expires", "1h"]).await;
    assert_eq!((exit, token.lines().count()), (0, 1), "{talk}");
    assert!(token.starts_with("keepboth-invite-") && talk.contains("until"), "{token}{talk}");
    let folder = tempfile::tempdir().expect("a folder");
    let b = Joining::start(folder.path(), &a.url(), &token).await;
    let mut at_b = b.client().await;
    at_b.put("notes", "k", json!(1)).await;
    let settled = |answer: &Json| {
        let member = &answer["items"][0];
        member["namespaces"][0]["agrees"] == true && member["round_trip_us"].is_u64()
    };
    let mut at_a = a.client().await;
    for client in [&mut at_a, &mut at_b] {
        let peers = ask_until(client, json!({"peers": {}}), settled).await;
        let member = &peers["items"][0];
        assert_eq!((&member["admitted"], &member["connected"]), (&json!(true), &json!(true)));
        assert!(member["agent"].as_str().expect("an agent").starts_with("keepboth/"), "{member}");
        assert!(member["connected_since"].as_u64().expect("a time") > 1_700_000_000_000);
        assert_eq!(member["namespaces"].as_array().expect("namespaces").len(), 1, "{member}");
        assert!(peers["next"].is_null());
    }
    come(&mut at_a, "k", json!(1)).await;

    let (exit, out, _) = run(&a.url(), &["peer", "ls"]).await;
    let of_b = at_b.ok(json!({"status": {}})).await["node"].as_str().expect("a node").to_owned();
    assert_eq!((exit, out.lines().next()), (0, Some(of_b.as_str())));
    for words in ["link       up since", "round trip", "software   keepboth/", "notes: agrees"] {
        assert!(out.contains(words), "{out} lacks {words}");
    }
    let (_, out, _) = run(&a.url(), &["peer", "ls", "--json"]).await;
    assert_eq!(serde_json::from_str::<Json>(&out).expect("JSON")["node"], of_b.as_str());
    let text = a.metrics().await;
    let short = &of_b[..8];
    for line in [
        format!("keepboth_peer_connected{{node=\"{short}\"}} 1"),
        format!("keepboth_peer_stalled{{node=\"{short}\"}} 0"),
        format!("keepboth_peer_behind{{node=\"{short}\"}} 0"),
        format!("keepboth_peer_round_trip_seconds{{node=\"{short}\"}} "),
    ] {
        assert!(text.contains(&line), "{text} lacks {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_to_one_of_two_namespaces_sees_that_one() {
    let spaces = format!("[namespaces.secret]\n{}", strict());
    let a = Server::start(&spaces).await;
    let (exit, token, talk) = run(&a.url(), &["peer", "invite", "--namespaces", "notes"]).await;
    assert_eq!(exit, 0, "{talk}");
    let folder = tempfile::tempdir().expect("a folder");
    let b = Joining::start_with(folder.path(), &a.url(), &token, &spaces).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for namespace in ["secret", "notes"] {
        at_a.put(namespace, "k", json!("from a")).await;
        at_b.put(namespace, "own", json!("from b")).await;
    }
    let settled = |answer: &Json| answer["items"][0]["namespaces"][0]["agrees"] == true;
    for client in [&mut at_a, &mut at_b] {
        let peers = ask_until(client, json!({"peers": {}}), settled).await;
        let shared = peers["items"][0]["namespaces"].as_array().expect("namespaces");
        let names: Vec<&Json> = shared.iter().map(|shared| &shared["ns"]).collect();
        assert_eq!(names, ["notes"], "{peers}");
        come(client, "k", json!("from a")).await;
        come(client, "own", json!("from b")).await;
    }
    let get = |key: &str| json!({"get": {"ns": "secret", "key": key}});
    assert_eq!(code(&at_b.error(get("k")).await), "not_found");
    assert_eq!(code(&at_a.error(get("own")).await), "not_found");
    let granted = &at_a.ok(json!({"peers": {}})).await["items"][0]["granted"];
    assert_eq!(granted, &json!(["notes"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_without_an_invitation_or_nowhere_is_told() {
    for (words, said) in [
        (&["--join", "ws://127.0.0.1:9"][..], "--token-file <FILE>"),
        (&["--token-file", "invitation"], "--join <URL>"),
        (&["--join", "127.0.0.1:9", "--token-file", "x"], "for instance \"ws://10.0.0.2:7400\""),
        (&["--join", "http://a:9", "--token-file", "x"], "is not the WebSocket URL of a node"),
    ] {
        let output = Command::new(program()).arg("serve").args(words).output();
        let output = timeout(PATIENCE, output).await.expect("an end in time").expect("the program");
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(said), "{words:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_used_invitation_is_refused_and_says_why() {
    let a = Server::start(&strict()).await;
    let token = invitation(&a, json!({})).await;
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let first = Joining::start(folders[0].path(), &a.url(), &token).await;
    let connected = |answer: &Json| answer["items"][0]["connected"] == true;
    ask_until(&mut first.client().await, json!({"peers": {}}), connected).await;
    let second = Joining::start(folders[1].path(), &a.url(), &token).await;
    let told = |answer: &Json| answer["items"][0]["error"].is_string();
    let peers = ask_until(&mut second.client().await, json!({"peers": {}}), told).await;
    let error = peers["items"][0]["error"].as_str().expect("an error");
    assert!(error.contains("unknown here, used, or has expired"), "{error}");
    assert_eq!(peers["items"][0]["admitted"], false);
    let (_, out, _) = run(&second.url, &["peer", "ls"]).await;
    assert!(out.starts_with("nobody has answered yet\n  link       down"), "{out}");
    let known = a.client().await.ok(json!({"peers": {}})).await;
    assert_eq!(known["items"].as_array().expect("members").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_at_the_wrong_node_or_where_nobody_is_says_so_and_joins_nothing() {
    let (a, other) = (Server::start(&strict()).await, Server::start(&strict()).await);
    let token = invitation(&a, json!({})).await;
    let nobody = "ws://127.0.0.1:1";
    let elsewhere = "is meant for another node than the one that answers here";
    for (url, said) in [(other.url(), elsewhere), (nobody.to_owned(), nobody)] {
        let folder = tempfile::tempdir().expect("a folder");
        let b = Joining::start(folder.path(), &url, &token).await;
        let told = |answer: &Json| answer["items"][0]["error"].is_string();
        let peers = ask_until(&mut b.client().await, json!({"peers": {}}), told).await;
        let error = peers["items"][0]["error"].as_str().expect("an error");
        assert!(error.contains(said), "{error}");
        assert_ne!(peers["items"][0]["admitted"], true, "{peers}");
    }
    for server in [&a, &other] {
        assert_eq!(server.client().await.ok(json!({"peers": {}})).await["items"], json!([]));
    }
    // The invitation was not used up by that.
    let folder = tempfile::tempdir().expect("a folder");
    let b = Joining::start(folder.path(), &a.url(), &token).await;
    let connected = |answer: &Json| answer["items"][0]["connected"] == true;
    ask_until(&mut b.client().await, json!({"peers": {}}), connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_admits_nobody() {
    let mut a = Server::start(&strict()).await;
    let token = invitation(&a, json!({"expires_ms": 60_000})).await;
    a.kill().await;
    let file = a.folder.path().join("data/mesh.json");
    let mut kept: Json =
        serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    kept["invites"][0]["expires"] = json!(1);
    std::fs::write(&file, kept.to_string()).expect("written");
    a.go_on().await;
    let folder = tempfile::tempdir().expect("a folder");
    let b = Joining::start(folder.path(), &a.url(), &token).await;
    let told = |answer: &Json| answer["items"][0]["error"].is_string();
    let peers = ask_until(&mut b.client().await, json!({"peers": {}}), told).await;
    let error = peers["items"][0]["error"].as_str().expect("an error");
    assert!(error.contains("has expired"), "{error}");
    let known = a.client().await.ok(json!({"peers": {}})).await;
    assert_eq!(known["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_invitation_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = format!("keepboth-invite-{}", "A".repeat(86));
    for token in ["", "hello", &whole[..50], &whole.replace('A', "!")] {
        let output = join_command(folder.path(), "ws://127.0.0.1:9", token, &strict()).output();
        let output = timeout(PATIENCE, output).await.expect("an end in time").expect("the program");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(78), "{token}: {said}");
        assert!(said.contains("not an invitation"), "{token}: {said}");
    }
    let mut command = join_command(folder.path(), "ws://127.0.0.1:9", &whole, &strict());
    std::fs::remove_file(folder.path().join("invitation")).expect("removed");
    let output = timeout(PATIENCE, command.output()).await.expect("an end in time");
    let output = output.expect("the program");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_admitted_and_removed_by_their_ids_and_nonsense_is_refused() {
    let a = Server::start(&strict()).await;
    let (mut client, url, own) = (a.client().await, a.url(), id(&a).await);
    let other = "ab".repeat(32);
    let node = |id: &str| json!({"node": id});
    assert_eq!(code(&client.error(json!({"peer_rm": node(&other)})).await), "not_found");
    for frame in [json!({"peer_add": node(&own)}), json!({"peer_rm": node(&own)})] {
        let error = client.error(frame).await;
        assert_eq!(code(&error), "bad_request");
        assert!(words(&error).contains("no member of its own list"), "{error}");
    }
    for frame in [
        json!({"peer_add": node("xyz")}),
        json!({"peer_add": node(&other.to_uppercase())}),
        json!({"peer_add": {"node": other, "namespaces": "notes"}}),
        json!({"peer_invite": {"expires_ms": 0}}),
        json!({"peer_invite": {"expires_ms": 2_592_000_001_u64}}),
    ] {
        assert_eq!(code(&client.error(frame).await), "bad_request");
    }
    let added = client.ok(json!({"peer_add": {"node": other, "namespaces": ["notes"]}})).await;
    assert_eq!(added["added"], true);
    let again = client.ok(json!({"peer_add": {"node": other, "namespaces": ["notes"]}})).await;
    assert_eq!(again["added"], false);
    let third = "cd".repeat(32);
    assert_eq!(run(&url, &["peer", "add", &third]).await.0, 0);
    let page = client.ok(json!({"peers": {"limit": 1}})).await;
    let member = &page["items"][0];
    assert_eq!((&member["node"], &member["granted"]), (&json!(other), &json!(["notes"])));
    assert_eq!((&member["connected"], &page["next"]), (&json!(false), &json!(other)));
    let rest = client.ok(json!({"peers": {"after": page["next"]}})).await;
    assert_eq!(rest["items"][0]["node"], third.as_str());
    assert!(rest["items"][0]["granted"].is_null() && rest["next"].is_null());

    assert_eq!(run(&url, &["peer", "rm", &other]).await.0, 2, "nobody said yes");
    assert_eq!(run(&url, &["peer", "rm", &other, "--yes"]).await.0, 0);
    assert_eq!(client.ok(json!({"peer_rm": node(&other)})).await["removed"], false);
    assert_eq!(run(&url, &["peer", "rm", &"ef".repeat(32), "--yes"]).await.0, 5);
    assert_eq!(run(&url, &["peer", "rm", "ef", "--yes"]).await.0, 2);
    assert_eq!(client.ok(json!({"peers": {}})).await["items"][0]["admitted"], false);
    let (_, out, _) = run(&url, &["peer", "ls"]).await;
    assert!(out.contains("link       removed from the mesh"), "{out}");
}
