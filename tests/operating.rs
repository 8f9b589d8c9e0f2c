//! What operators do with a mesh: they invite, admit and remove nodes, ask where a version is, have writes
//! wait for other nodes, judge what is hidden, and purge what was deleted.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::harness::{Client, PATIENCE, Server, Wire, program};

const SOON: &str = "ping_every = \"100ms\"\nstall_after = \"300ms\"\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\ncompare_every = \"1s\"\n";
const NOTES: &str = "[namespaces.notes]\n[namespaces.alone]\nreplicate = false\n";
const SCHEMA: &str = "[namespaces.notes]\n[[namespaces.notes.plugins]]\nuse = \"schema\"\nbind = { \"note/*\" = \"note.schema.json\" }\n";

/// A node of a mesh that admits whoever is on this machine.
fn dev(peers: &[String], namespaces: &str) -> String {
    format!("[mesh]\ndev = true\nadvertise = []\npeers = {peers:?}\n{SOON}{namespaces}")
}

/// A node of a mesh that admits nobody by itself.
fn strict() -> String {
    format!("[mesh]\n{SOON}{NOTES}")
}

/// Two nodes that are synced; the first dials the second through a wire.
async fn pair(more_of_b: &str) -> (Server, Server, Wire) {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&dev(&[], more_of_b)).await;
    wire.lead_to(b.address());
    let a = Server::start(&dev(&[format!("ws://{}", wire.address)], NOTES)).await;
    let mut at_a = a.client().await;
    at_a.put("notes", "first", json!(0)).await;
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    (a, b, wire)
}

async fn id(server: &Server) -> String {
    let status = server.client().await.ok(json!({"status": {}})).await;
    status["node"].as_str().expect("a node").to_owned()
}

fn code(error: &Json) -> &str {
    error["code"].as_str().expect("a code")
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

/// Asks until this is true of the answer. What it waits for is told to nobody.
async fn ask_until(client: &mut Client, frame: Json, wanted: impl Fn(&Json) -> bool) -> Json {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.ok(frame.clone()).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "{frame} is still answered with {answer}");
        tokio::task::yield_now().await;
    }
}

/// A command's end: exit code, stdout, stderr.
async fn run(url: &str, command: &[&str]) -> (i32, String, String) {
    let output = Command::new(program()).args(["--url", url]).args(command).output();
    let output = timeout(PATIENCE, output).await.expect("an end in time");
    let Output { status, stdout, stderr } = output.expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

async fn metrics(server: &Server) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(server.address()).await.expect("connected");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut text = String::new();
    socket.read_to_string(&mut text).await.expect("read");
    text
}

/// A server that joins a mesh with an invitation.
struct Joining {
    url: String,
    _child: Child,
}

/// `keepboth serve --join`, with its data in this folder.
fn join_command(folder: &Path, join: &str, token: &str) -> Command {
    std::fs::write(folder.join("config.toml"), strict()).expect("a config");
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
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let mut child = join_command(folder, join, token).stderr(log).spawn().expect("a server");
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
    assert_eq!(at_a.get("notes", "k").await, 1);

    let (exit, out, _) = run(&a.url(), &["peer", "ls"]).await;
    let of_b = at_b.ok(json!({"status": {}})).await["node"].as_str().expect("a node").to_owned();
    assert_eq!((exit, out.lines().next()), (0, Some(of_b.as_str())));
    for words in ["link       up since", "round trip", "software   keepboth/", "notes: agrees"] {
        assert!(out.contains(words), "{out} lacks {words}");
    }
    let (_, out, _) = run(&a.url(), &["peer", "ls", "--json"]).await;
    assert_eq!(serde_json::from_str::<Json>(&out).expect("JSON")["node"], of_b.as_str());
    let text = metrics(&a).await;
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
        let output = join_command(folder.path(), "ws://127.0.0.1:9", token).output();
        let output = timeout(PATIENCE, output).await.expect("an end in time").expect("the program");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(78), "{token}: {said}");
        assert!(said.contains("not an invitation"), "{token}: {said}");
    }
    let mut command = join_command(folder.path(), "ws://127.0.0.1:9", &whole);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_write_can_wait_until_all_have_it() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, of_b) = (a.client().await, id(&b).await);
    let there = json!({"nodes": [of_b], "missing": [], "enough": true});
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}});
    let put = at_a.ok(put).await;
    assert_eq!(put["reached"], there);
    assert_eq!(b.client().await.get("notes", "k").await, 1);
    let revert = json!({"ns": "notes", "key": "k", "version": put["version"], "wait": 1});
    for frame in [
        json!({"batch": {"ns": "notes", "ops": [{"put": {"key": "k", "value": 2}}], "wait": 1}}),
        json!({"revert": revert}),
        json!({"delete": {"ns": "notes", "key": "k", "wait": "all"}}),
        json!({"restore": {"ns": "notes", "key": "k", "wait": "all"}}),
    ] {
        assert_eq!(at_a.ok(frame).await["reached"], there);
    }
    let plain = at_a.put("notes", "k", json!(5)).await;
    assert!(plain["reached"].is_null());
    let more = json!({"put": {"ns": "notes", "key": "k", "value": 6, "wait": 2, "wait_ms": 50}});
    let more = at_a.ok(more).await;
    assert_eq!(more["reached"]["enough"], false, "there are not so many: {more}");
    for (wait, ms) in [(json!(0), 1), (json!("none"), 1), (json!("all"), 60_001), (json!(1), 0)] {
        let put = json!({"ns": "notes", "key": "none", "value": 1, "wait": wait, "wait_ms": ms});
        assert_eq!(code(&at_a.error(json!({"put": put})).await), "bad_request");
    }
    let unshared = json!({"put": {"ns": "alone", "key": "none", "value": 1, "wait": "all"}});
    let error = at_a.error(unshared).await;
    assert!(code(&error) == "bad_request" && words(&error).contains("not shared"), "{error}");
    let get = json!({"get": {"ns": "alone", "key": "none"}});
    assert_eq!(code(&at_a.error(get).await), "not_found", "nothing was written");
    let refused =
        json!({"put": {"ns": "notes", "key": "k", "value": 1, "if_version": null, "wait": 1}});
    assert_eq!(code(&at_a.error(refused).await), "version_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_in_vain_is_answered_in_time_and_holds_up_no_other() {
    let (a, b, wire) = pair(NOTES).await;
    let (mut at_a, of_b, url) = (a.client().await, id(&b).await, a.url());
    let old = at_a.ok(json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}})).await;
    wire.cut();
    a.until("notes", "not_synced").await;
    let put = json!({"ns": "notes", "key": "k", "value": 2, "wait": "all", "wait_ms": 2_000});
    let waiting = at_a.ask(json!({"put": put})).await;
    let get = at_a.ask(json!({"get": {"ns": "notes", "key": "first"}})).await;
    // The first frame that comes is not the one that was asked for first.
    let first = at_a.frame().await;
    assert_eq!(first["id"], get, "{first}");
    let answer = at_a.answer(waiting).await;
    let reached = json!({"nodes": [], "missing": [of_b], "enough": false});
    assert_eq!(answer["ok"]["reached"], reached);
    let new = answer["ok"]["version"].clone();

    let acks = json!({"acks": {"ns": "notes", "key": "k"}});
    let now = at_a.ok(acks.clone()).await;
    assert_eq!((&now["version"], &now["everywhere"]), (&new, &json!(false)));
    let unknown = json!({"node": of_b, "why": "it is not connected"});
    assert_eq!(now["members"], json!([unknown]));
    let before = json!({"acks": {"ns": "notes", "key": "k", "version": old["version"]}});
    let before = at_a.ok(before).await;
    assert_eq!(
        (&before["everywhere"], &before["members"][0]["held"]),
        (&json!(true), &json!(true))
    );

    let words = ["put", "notes/k", "3", "--wait", "1", "--wait-for", "50ms"];
    let (exit, out, err) = run(&url, &words).await;
    assert_eq!((exit, out.trim().len()), (10, 64), "{err}");
    assert!(err.contains("0 of 1 other nodes") && err.contains(&of_b), "{err}");
    let (exit, out, _) = run(&url, &["acks", "notes/k", "--within", "1s"]).await;
    assert!(exit == 10 && out.contains("is not known to be everywhere"), "{exit} {out}");
    assert!(out.contains("unknown  it is not connected"), "{out}");

    wire.mend();
    a.until("notes", "synced").await;
    let mended = at_a.ok(acks).await;
    assert_eq!(mended["everywhere"], true, "{mended}");
    assert_eq!(mended["members"], json!([{"node": of_b, "held": true, "why": "it says so"}]));
    let (exit, out, _) = run(&url, &["acks", "notes/k"]).await;
    assert!(exit == 0 && out.contains("is everywhere"), "{exit} {out}");
    let (exit, out, _) = run(&url, &["rm", "notes/k", "--wait", "all"]).await;
    assert_eq!((exit, out.trim().len()), (0, 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_or_a_client_that_leaves_waits_for_nobody() {
    let (mut a, _b, wire) = pair(NOTES).await;
    wire.cut();
    a.until("notes", "not_synced").await;
    let put = json!({"ns": "notes", "key": "k", "value": 1, "wait": "all", "wait_ms": 60_000});
    let (mut stays, mut leaves) = (a.client().await, a.client().await);
    leaves.ask(json!({"put": put})).await;
    drop(leaves);
    let waiting = stays.ask(json!({"put": put})).await;
    let get = json!({"history": {"ns": "notes", "key": "k"}});
    let both = |answer: &Json| answer["versions"].as_array().is_some_and(|v| v.len() == 2);
    let mut reader = a.client().await;
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = reader.ask(get.clone()).await;
        if both(&reader.answer(asked).await["ok"]) {
            break;
        }
        assert!(Instant::now() < until, "the writes are not done");
    }
    let begun = Instant::now();
    let (answer, exit) = tokio::join!(stays.answer(waiting), a.stop());
    assert_eq!(answer["ok"]["reached"]["enough"], false, "{answer}");
    assert_eq!(exit, Some(0));
    assert!(begun.elapsed().as_secs() < 9, "the stop took {:?}", begun.elapsed());
}

#[tokio::test]
async fn alone_everywhere_is_here_and_what_is_unknown_is_said_to_be() {
    let a = Server::start(&strict()).await;
    let mut client = a.client().await;
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}});
    let put = client.ok(put).await;
    assert_eq!(put["reached"], json!({"nodes": [], "missing": [], "enough": true}));
    let of = |key: &str, version: Option<&str>| {
        let mut acks = json!({"ns": "notes", "key": key, "within_ms": 100});
        if let Some(version) = version {
            acks["version"] = json!(version);
        }
        json!({"acks": acks})
    };
    let acks = client.ok(of("k", None)).await;
    assert_eq!((&acks["version"], &acks["members"]), (&put["version"], &json!([])));
    assert_eq!(acks["everywhere"], true);
    let (nowhere, wrong) = ("ab".repeat(32), "xyz");
    assert_eq!(code(&client.error(of("none", None)).await), "not_found");
    assert_eq!(code(&client.error(of("k", Some(&nowhere))).await), "not_found");
    assert_eq!(code(&client.error(of(&nowhere, None)).await), "not_found");
    assert_eq!(code(&client.error(of("k", Some(wrong))).await), "bad_request");
    let deleted = client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(client.ok(of("k", None)).await["version"], deleted["version"]);
    assert_eq!(run(&a.url(), &["acks", "notes/none"]).await.0, 5);

    // A member that was never heard of may have the namespace as well.
    client.ok(json!({"peer_add": {"node": nowhere}})).await;
    let acks = client.ok(of("k", None)).await;
    assert_eq!((&acks["everywhere"], &acks["members"][0]["held"]), (&json!(false), &Json::Null));
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all", "wait_ms": 1}});
    assert_eq!(client.ok(put).await["reached"]["missing"], json!([nowhere]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_refuses_is_listed_and_judged() {
    let (a, b, _wire) = pair(SCHEMA).await;
    let (mut at_a, mut at_b, url) = (a.client().await, b.client().await, b.url());
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    let mut put = Vec::new();
    for key in ["note/1", "note/2"] {
        let frame =
            json!({"ns": "notes", "key": key, "value": {"text": "no title"}, "wait": "all"});
        let answer = at_a.ok(json!({"put": frame})).await;
        assert_eq!(answer["reached"]["enough"], true, "it is acknowledged: {answer}");
        put.push(answer["version"].as_str().expect("a version").to_owned());
    }
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    let get = json!({"get": {"ns": "notes", "key": "note/1"}});
    assert_eq!(code(&at_b.error(get.clone()).await), "not_found");
    let page = at_b.ok(json!({"quarantine": {"ns": "notes", "limit": 1}})).await;
    let item = &page["items"][0];
    assert_eq!((&item["key"], &item["version"]), (&json!("note/1"), &json!(put[0])));
    assert_eq!((&item["code"], &item["from"]), (&json!("schema_refused"), &json!(id(&a).await)));
    assert_eq!((&item["kind"], &item["change"]), (&json!("json"), &json!("put")));
    let rest = json!({"quarantine": {"ns": "notes", "after": page["next"]}});
    let rest = at_b.ok(rest).await;
    assert_eq!((&rest["items"][0]["key"], &rest["next"]), (&json!("note/2"), &Json::Null));
    let status = at_b.ok(json!({"status": {"ns": "notes"}})).await;
    assert_eq!(status["namespaces"][0]["quarantined"], 2);
    assert_eq!(status["namespaces"][0]["reason"], "all connected peers agree");
    assert!(metrics(&b).await.contains("keepboth_quarantined{namespace=\"notes\"} 2"));
    let peers = at_a.ok(json!({"peers": {}})).await;
    assert_eq!(peers["items"][0]["namespaces"][0]["policy_differs"], json!(["schema"]));
    let (_, out, _) = run(&url, &["quarantine", "ls", "notes"]).await;
    assert!(out.contains("note/1") && out.contains("[schema_refused]"), "{out}");
    let (_, out, _) = run(&url, &["quarantine", "retry", "notes"]).await;
    assert_eq!(out.trim(), "admitted 0, held 2");

    let admitted = run(&url, &["quarantine", "admit", "notes/note/1", &put[0]]).await;
    assert_eq!((admitted.0, admitted.1.trim()), (0, put[0].as_str()), "{}", admitted.2);
    let event = at_b.event(|event| event["key"] == "note/1").await;
    assert_eq!(event["version"], json!(put[0]));
    assert_eq!(at_b.get("notes", "note/1").await, json!({"text": "no title"}));
    let report = json!({"schema_report": {"ns": "notes"}});
    let unfit = ask_until(&mut at_b, report, |report| report["unfit"] == 1).await;
    assert_eq!(unfit["items"][0]["key"], "note/1", "what was admitted still breaks the schema");
    let discard = ["quarantine", "discard", "notes/note/2", &put[1]];
    assert_eq!(run(&url, &discard).await.0, 2, "nobody said yes");
    assert_eq!(run(&url, &[&discard[..], &["--yes"]].concat()).await.0, 0);
    assert_eq!(run(&url, &[&discard[..], &["--yes"]].concat()).await.0, 5, "it is done already");
    let gone = json!({"get": {"ns": "notes", "key": "note/2"}});
    assert_eq!(code(&at_b.error(gone).await), "not_found");
    assert_eq!(at_a.get("notes", "note/2").await, json!({"text": "no title"}));
    a.until("notes", "synced").await;
    for (key, version) in [("note/1", &put[0]), ("none", &put[0]), ("note/1", &"ab".repeat(32))] {
        let judge = json!({"ns": "notes", "key": key, "version": version, "verdict": "admit"});
        assert_eq!(code(&at_b.error(json!({"judge": judge})).await), "not_found", "{key}");
    }
    let page = at_b.ok(json!({"quarantine": {"ns": "notes"}})).await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_looked_at_again_when_the_rules_change_and_at_the_start() {
    let (a, mut b, wire) = pair(SCHEMA).await;
    let mut at_a = a.client().await;
    let put = |key: &str, value: Json| json!({"put": {"ns": "notes", "key": key, "value": value, "wait": "all"}});
    at_a.ok(put("note/1", json!({"text": "no title"}))).await;
    let mut at_b = b.client().await;
    let quarantined =
        |count: u64| move |answer: &Json| answer["namespaces"][0]["quarantined"] == count;
    let status = json!({"status": {"ns": "notes"}});
    ask_until(&mut at_b, status.clone(), quarantined(1)).await;
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    b.rewrite(&dev(&[], "[namespaces.notes]\n"));
    at_b.ok(json!({"reload": {}})).await;
    let event = at_b.event(|event| event["key"] == "note/1").await;
    assert_eq!(event["value"], json!({"text": "no title"}));
    ask_until(&mut at_b, status.clone(), quarantined(0)).await;

    let small = |bytes: u32| format!("[namespaces.notes]\nvalue_bytes_max = {bytes}\n");
    b.rewrite(&dev(&[], &small(20)));
    at_b.ok(json!({"reload": {}})).await;
    a.until("notes", "synced").await;
    at_a.ok(put("long", json!("x".repeat(100)))).await;
    at_a.ok(put("longer", json!("x".repeat(300)))).await;
    ask_until(&mut at_b, status.clone(), quarantined(2)).await;
    b.kill().await;
    b.rewrite(&dev(&[], &small(200)));
    b.go_on().await;
    wire.lead_to(b.address());
    let mut at_b = b.client().await;
    ask_until(&mut at_b, status.clone(), quarantined(1)).await;
    assert_eq!(at_b.get("notes", "long").await, json!("x".repeat(100)));
    assert!(b.log().contains("quarantine: 1 versions were admitted, 1 stay hidden"), "{}", b.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_refuses_is_admitted_one_by_one_when_there_is_room() {
    let bound = |objects: u32| format!("[namespaces.notes]\nobjects_max = {objects}\n");
    let (a, b, _wire) = pair(&bound(1)).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for key in ["k1", "k2", "k3"] {
        at_a.ok(json!({"put": {"ns": "notes", "key": key, "value": 1, "wait": "all"}})).await;
    }
    let status = json!({"status": {"ns": "notes"}});
    let counts = |objects: u64, quarantined: u64| {
        move |answer: &Json| {
            let ns = &answer["namespaces"][0];
            ns["objects"] == objects && ns["quarantined"] == quarantined
        }
    };
    ask_until(&mut at_b, status.clone(), counts(1, 3)).await;
    b.rewrite(&dev(&[], &bound(3)));
    at_b.ok(json!({"reload": {}})).await;
    ask_until(&mut at_b, status.clone(), counts(3, 1)).await;
    let retried = at_b.ok(json!({"quarantine_retry": {"ns": "notes"}})).await;
    assert_eq!((&retried["admitted"], &retried["held"]), (&json!(0), &json!(1)));
    at_b.ok(json!({"delete": {"ns": "notes", "key": "first"}})).await;
    let retried = at_b.ok(json!({"quarantine_retry": {"ns": "notes"}})).await;
    assert_eq!((&retried["admitted"], &retried["held"]), (&json!(1), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_key_is_gone_everywhere_at_once() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, mut at_b, url) = (a.client().await, b.client().await, a.url());
    at_a.put("notes", "k", json!("a secret")).await;
    let purge = |key: &str| json!({"purge": {"ns": "notes", "key": key}});
    for key in ["k", "none", "first"] {
        let error = at_a.error(purge(key)).await;
        assert_eq!(code(&error), "not_found");
        assert!(words(&error).contains("in the trash"), "{error}");
    }
    let address = purge(&"ab".repeat(32));
    assert_eq!(code(&at_a.error(address).await), "reserved_key");
    at_a.ok(json!({"delete": {"ns": "notes", "key": "k", "wait": "all"}})).await;
    let trash = json!({"trash": {"ns": "notes"}});
    assert_eq!(at_b.ok(trash.clone()).await["items"][0]["key"], "k");
    assert_eq!(run(&url, &["trash", "purge", "notes/k"]).await.0, 2, "nobody said yes");
    assert_eq!(run(&url, &["trash", "purge", "notes/k", "--yes"]).await.0, 0);
    for client in [&mut at_a, &mut at_b] {
        let empty = |answer: &Json| answer["items"] == json!([]);
        ask_until(client, trash.clone(), empty).await;
        let restore = json!({"restore": {"ns": "notes", "key": "k"}});
        assert_eq!(code(&client.error(restore).await), "not_found");
    }
    a.until("notes", "synced").await;
    assert_eq!(run(&url, &["trash", "purge", "notes/k", "--yes"]).await.0, 5, "it is gone");
    at_a.ok(json!({"put": {"ns": "notes", "key": "k", "value": "anew", "wait": "all"}})).await;
    assert_eq!(at_b.get("notes", "k").await, "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stands_still_is_named_everywhere() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, of_b) = (a.client().await, id(&b).await);
    b.signal("STOP").await;
    at_a.put("notes", "k", json!(1)).await;
    let stalled = |answer: &Json| answer["items"][0]["stalled"]["behind"] == 1;
    let peers = ask_until(&mut at_a, json!({"peers": {}}), stalled).await;
    let stall = &peers["items"][0]["stalled"];
    assert!(stall["blocked_on"].is_string() && stall["since"].is_u64(), "{stall}");
    let shown = |answer: &Json| {
        let ns = &answer["namespaces"][0];
        ns["peers"][0]["stalled"]["behind"] == 1
    };
    let status = ask_until(&mut at_a, json!({"status": {"ns": "notes"}}), shown).await;
    let reason = status["namespaces"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("is stalled: 1 events behind since"), "{reason}");
    assert!(reason.contains("blocked on"), "{reason}");
    let (_, out, _) = run(&a.url(), &["peer", "ls"]).await;
    assert!(out.contains("stalled    1 events behind since"), "{out}");
    let text = metrics(&a).await;
    for line in [
        format!("keepboth_peer_stalled{{node=\"{}\"}} 1", &of_b[..8]),
        format!("keepboth_peer_behind{{node=\"{}\"}} 1", &of_b[..8]),
    ] {
        assert!(text.contains(&line), "{text} lacks {line}");
    }
    b.signal("CONT").await;
    a.until("notes", "synced").await;
    let fine = |answer: &Json| answer["items"][0]["stalled"].is_null();
    ask_until(&mut at_a, json!({"peers": {}}), fine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_node_is_found_out_and_said_loudly() {
    let b = Server::start(&dev(&[], NOTES)).await;
    let a = Server::start(&dev(&[b.url()], NOTES)).await;
    a.until("notes", "empty").await;
    let mut at_a = a.client().await;
    at_a.put("notes", "k", json!(1)).await;
    a.until("notes", "synced").await;
    let key = a.folder.path().join("data/node.key");
    let copy = Server::start_with(&dev(&[b.url()], NOTES), |folder| {
        std::fs::create_dir(folder.join("data")).expect("a folder");
        std::fs::copy(&key, folder.join("data/node.key")).expect("a copy");
    })
    .await;
    assert_eq!(id(&a).await, id(&copy).await);
    let mut at_copy = copy.client().await;
    let until = Instant::now() + PATIENCE;
    let found = loop {
        let [here, there] = [&mut at_a, &mut at_copy];
        let both = [here.ok(json!({"status": {}})).await, there.ok(json!({"status": {}})).await];
        if let Some(at) = both.iter().position(|status| status["twin"] == true) {
            break [&a, &copy][at];
        }
        assert!(Instant::now() < until, "nobody noticed the copy");
    };
    let status = found.client().await.ok(json!({"status": {}})).await;
    assert!(status["warning"].as_str().expect("words").contains("A COPY OF THIS NODE"), "{status}");
    let hello = found.client().await.ok(json!({"hello": {}})).await;
    assert_eq!(hello["twin"], true);
    let (_, _, talk) = run(&found.url(), &["status"]).await;
    assert!(talk.contains("A COPY OF THIS NODE RUNS ELSEWHERE"), "{talk}");
    assert!(found.log().contains("a copy of this node runs elsewhere"), "{}", found.log());
}
