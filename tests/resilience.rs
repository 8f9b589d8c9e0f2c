//! What goes wrong around a server: slow, silent and vanishing clients and nodes, stops in the middle of work.

use std::fmt::Write as _;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use keepboth_core::wire::Message as Wire;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::bad_peers::Peer;
use crate::harness::{PATIENCE, Server};

const NOTES: &str = "[namespaces.notes]\n";

fn mesh(peers: &[String]) -> String {
    format!(
        "[mesh]\ndev = true\npeers = {peers:?}\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n{NOTES}"
    )
}

/// A configuration with one script of the test's own.
fn scripted(limits: &str, namespaces: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[limits]\n{limits}\n{namespaces}[[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"own.luau\"]\ntime_limit_ms = 5000\n"
    )
}

fn script(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
    std::fs::write(folder.join("scripts/own.luau"), text).expect("a script");
}

fn put(key: &str, value: Json) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_limit_of_frames_for_clients_does_not_keep_nodes_apart() {
    let b = Server::start(&format!("[limits]\nframe_bytes_max = \"8 KiB\"\n{NOTES}")).await;
    let a = Server::start(&mesh(&[b.url()])).await;
    let mut at_a = a.client().await;
    for n in 0..4 {
        at_a.put("notes", &format!("k{n}"), json!("x".repeat(60_000))).await;
    }
    b.until("notes", "synced").await;
    a.until("notes", "synced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hooks_write_after_an_answer_is_there_after_a_stop() {
    let slow = "kb.namespace():on_put(function(ev) for i = 1, 100000 do end end)";
    let audit = "[[namespaces.notes.plugins]]\nuse = \"audit\"\nto = \"trail\"\n";
    // A busy machine must not stop a script that is no test of the time limit.
    let lua = "[[namespaces.trail.plugins]]\nuse = \"lua\"\nscripts = [\"own.luau\"]\ntime_limit_ms = 5000\n";
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nshutdown_grace = \"1m\"\n{NOTES}{audit}[namespaces.trail]\n{lua}"
    );
    let mut server = Server::start_with(&config, |folder| script(folder, slow)).await;
    let mut client = server.client().await;
    let mut last = 0;
    for n in 0..500 {
        last = client.ask(put(&format!("k{n}"), json!(n))).await;
    }
    assert!(client.answer(last).await["error"].is_null());
    assert_eq!(server.stop().await, Some(0));
    server.go_on().await;
    let trail = server.client().await.objects("trail").await;
    assert_eq!(trail.as_object().map(serde_json::Map::len), Some(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_long_for_room_does_not_end_its_connection() {
    // It runs until its limit stops it: on every machine that takes longer than three pings.
    let slow = "kb.namespace():on_put(function(ev) while ev.key == 'slow' do end end)";
    let config = scripted("queue_writes_max = 1\nping_every = \"1s\"", NOTES);
    let config = config.replace("time_limit_ms = 5000", "time_limit_ms = 2500");
    let server = Server::start_with(&config, |folder| script(folder, slow)).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        // So that no answer to an early ping is still to be read later.
        client.ok(json!({"status": {}})).await;
    }
    for _ in 0..2 {
        client.ask(put("slow", json!(1))).await;
    }
    let last = client.ask(put("last", json!(1))).await;
    assert_eq!(client.answer(last).await["error"], Json::Null);
    assert_eq!(client.get("notes", "last").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_do_not_pile_up() {
    let server = Server::start(NOTES).await;
    let mut other = server.client().await;
    for n in 0..8 {
        other.put("notes", &format!("k{n}"), json!("x".repeat(60_000))).await;
    }
    let mut deaf = server.client().await;
    for _ in 0..1_000 {
        deaf.ask(json!({"list": {"ns": "notes", "values": true}})).await;
    }
    for n in 0..300 {
        other.put("notes", "other", json!(n)).await;
    }
    let carried_out = figure(&server, "keepboth_requests_total{method=\"list\"}").await;
    assert!(carried_out < 500, "{carried_out} answers of 256 KiB wait for one client");
    for id in 1..=1_000 {
        assert!(deaf.answer(id).await["error"].is_null());
    }
}

/// A figure of /metrics.
#[tokio::test(flavor = "multi_thread")]
async fn others_hear_of_the_write_of_a_client_that_does_not_read_its_answers() {
    let server = Server::start(NOTES).await;
    let mut watcher = server.client().await;
    for n in 0..8 {
        watcher.put("notes", &format!("k{n}"), json!("x".repeat(60_000))).await;
    }
    watcher.ok(json!({"watch": {"ns": "notes"}})).await;
    // The kernel keeps little of what it does not read.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let tcp = socket.connect(server.address()).await.expect("connected");
    let opened = tokio_tungstenite::client_async(server.url(), tcp).await;
    let (mut client, _) = opened.expect("a connection");
    for id in 1..=14 {
        let list = json!({"id": id, "list": {"ns": "notes", "values": true}});
        client.feed(Message::text(list.to_string())).await.expect("sent");
    }
    client.flush().await.expect("sent");
    // The first answer has come, the others wait for who does not read them.
    client.next().await.expect("an answer").expect("an answer");
    let mut put = put("k", json!("news"));
    put["id"] = 15.into();
    client.send(Message::text(put.to_string())).await.expect("sent");
    // Long before the server gives the client up.
    let heard = watcher.event(|event| event["key"] == "k");
    timeout(PATIENCE / 3, heard).await.expect("the news in time");
}

async fn figure(server: &Server, name: &str) -> u64 {
    let text = http(server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let line = text.lines().find(|line| line.starts_with(name)).expect(name);
    line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect(line)
}

/// What comes until the server closes.
async fn http(server: &Server, request: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    let read = timeout(PATIENCE, socket.read_to_string(&mut text)).await;
    let _ = read.expect("an end in time");
    text
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_request_is_closed() {
    let server = Server::start(&format!("[limits]\nhello_within = \"2s\"\n{NOTES}")).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        assert_eq!(http(&server, beginning).await, "", "{beginning:?}");
    }
    assert!(http(&server, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("ok\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_lagged_behind_learns_the_state_of_the_store() {
    let mut b = Server::start(NOTES).await;
    let limits = "[limits]\nin_flight_max = 8\n";
    let config = format!("{limits}{}[namespaces.bulk]\n", mesh(&[b.url()]));
    let a = Server::start(&config).await;
    let (mut slow, mut writer) = (a.client().await, a.client().await);
    writer.put("notes", "first", json!(1)).await;
    a.until("notes", "synced").await;
    for namespace in ["notes", "bulk"] {
        slow.ok(json!({"watch": {"ns": namespace}})).await;
    }
    let big = "x".repeat(60_000);
    for n in 0..400 {
        writer.put("bulk", &format!("k{n}"), json!(big)).await;
    }
    // Nothing gets through to the slow one any more; this is the last that its watch takes up.
    writer.put("notes", "second", json!(1)).await;
    a.until("notes", "synced").await;
    b.kill().await;
    a.until("notes", "not_synced").await;
    for n in 0..400 {
        writer.put("notes", "k", json!(n)).await;
    }
    writer.put("notes", "end", json!(1)).await;
    let mut told = json!("synced");
    loop {
        let event = slow.event(|event| !event.is_null()).await;
        if event["type"] == "state" && event["ns"] == "notes" {
            told = event["state"].clone();
        }
        if event["key"] == "end" && event["value"] == 1 {
            // What was missed is told between this and the next.
            writer.put("notes", "end", json!(2)).await;
        } else if event["key"] == "end" {
            break;
        }
    }
    assert_eq!(told, "not_synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_whose_hook_had_no_turn_is_merged_after_the_next_start() {
    let mut b = Server::start(NOTES).await;
    b.client().await.put("notes", "k", json!({"side": 1})).await;
    let mut peer = Peer::greeted(&b).await;
    peer.say(crate::bad_peers::live(crate::bad_peers::event(keepboth_core::value::Value::string(
        "2",
    ))))
    .await;
    while !matches!(peer.hear().await.expect("an answer"), Wire::Ack { .. }) {}
    let refusal = b.client().await.error(json!({"get": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(refusal["code"], "in_conflict", "{refusal}");
    b.stop().await;
    script(b.folder.path(), "kb.namespace():on_conflict(function(c) return \"merged\" end)");
    std::fs::write(b.config(), scripted("", NOTES)).expect("a config");
    b.go_on().await;
    let mut client = b.client().await;
    client.ok(json!({"watch": {"ns": "notes", "initial": true}})).await;
    let merged = client.event(|event| event["type"] == "put").await;
    assert_eq!((&merged["key"], &merged["value"]), (&json!("k"), &json!("merged")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_http_but_no_websocket_is_named_once_in_the_log_and_in_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let server = Server::start(&mesh(std::slice::from_ref(&url))).await;
    for _ in 0..3 {
        let (mut socket, _) = listener.accept().await.expect("a dialler");
        let mut head = [0; 4_096];
        let _ = socket.read(&mut head).await.expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        socket.write_all(answer).await.expect("sent");
    }
    let status = server.client().await.ok(json!({"status": {"ns": "notes"}})).await;
    let peer = &status["namespaces"][0]["peers"][0];
    assert_eq!((&peer["url"], &peer["connected"]), (&json!(url), &json!(false)), "{status}");
    assert!(peer["error"].as_str().expect("an error").contains("200 OK"), "{status}");
    assert_eq!(server.log().matches("200 OK").count(), 1, "{}", server.log());
}

#[tokio::test]
async fn a_peer_that_is_cut_off_in_the_middle_of_talking_is_told_why() {
    let server = Server::start(NOTES).await;
    for _ in 0..10 {
        let mut peer = Peer::greeted(&server).await;
        for _ in 0..50 {
            if peer.0.send(Message::binary(vec![0xff; 100_000])).await.is_err() {
                break;
            }
        }
        assert_eq!(peer.refusal().await.0, "bad_frame");
    }
}

#[tokio::test]
async fn a_peer_cannot_forge_lines_of_the_log() {
    let server = Server::start(NOTES).await;
    let mut peer = Peer::greeted(&server).await;
    let message = format!("no\nFORGED \u{1b}[31m{}", "x".repeat(100_000));
    peer.say(Wire::Refused { code: "no\nFORGED".into(), message }).await;
    peer.0.send(Message::text("the end")).await.expect("sent");
    assert!(peer.ended().await);
    let mut log = String::new();
    write!(log, "{}", server.log()).expect("a text");
    assert!(log.contains("FORGED"), "{log}");
    assert!(log.lines().all(|line| !line.starts_with("FORGED") && line.len() < 2_000), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_waits_for_another_node_is_answered_when_the_server_stops() {
    let mut server = Server::start(NOTES).await;
    let (mut client, mut peer) = (server.client().await, Peer::greeted(&server).await);
    client.put("notes", "k", json!(1)).await;
    let acks = json!({"ns": "notes", "key": "k", "within_ms": 60_000});
    let asked = loop {
        let asked = client.ask(json!({"acks": acks.clone()})).await;
        // Until the peer has entered, nobody asks it.
        let answer =
            async { while !matches!(peer.hear().await.expect("a question"), Wire::Ask { .. }) {} };
        tokio::select! {
            () = answer => break asked,
            _ = client.answer(asked) => {}
        }
    };
    let (code, answer) = tokio::join!(server.stop(), client.answer(asked));
    assert_eq!(code, Some(0));
    assert_eq!(answer["ok"]["everywhere"], false, "{answer}");
    let Message::Close(Some(close)) = client.message().await else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_without_end_does_not_keep_a_server_that_is_to_stop() {
    let mut server = Server::start(NOTES).await;
    let pipe = server.folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let target = "url = \"http://127.0.0.1:1\"\nsecret_file = \"pipe\"\n";
    server.rewrite(&format!(
        "{NOTES}[[namespaces.notes.plugins]]\nuse = \"webhook\"\n[namespaces.notes.plugins.targets.t]\n{target}"
    ));
    server.hang_up().await;
    // It is open for writing once the server reads it.
    let opened =
        tokio::task::spawn_blocking(move || std::fs::File::options().write(true).open(pipe));
    let _open = timeout(PATIENCE, opened).await.expect("read in time").expect("a task");
    assert_eq!(timeout(PATIENCE, server.stop()).await.expect("an end"), Some(0));
}
