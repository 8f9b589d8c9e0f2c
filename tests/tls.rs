//! TLS: clients and nodes over wss, certificates that are renewed, and whoever cannot speak it.

use std::path::Path;
use std::process::{Command, Output};

use keepboth_core::wire::{Message as Wire, SUBPROTOCOL};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::bad_peers::{self, Peer, prove_on};
use crate::cluster::{connected, status};
use crate::harness::{Client, PATIENCE, Server, program, secure};

const NOTES: &str = "[namespaces.notes]\n";
const TLS: &str = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";

/// Puts a certificate for this machine, signed by itself, and its key into a folder.
fn make(folder: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

async fn secured(config: &str) -> Server {
    Server::start_with(&format!("{TLS}{config}"), make).await
}

/// A second node that dials this one.
async fn dialling(other: &Server, mesh: &str, prepare: impl FnOnce(&Path)) -> Server {
    let url = other.url();
    let pauses = "reconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n";
    let config = format!("[mesh]\ndev = true\npeers = [{url:?}]\n{pauses}{mesh}{NOTES}");
    Server::start_with(&config, prepare).await
}

/// Runs the program with a system that trusts this certificate only.
fn run(system: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.env_remove("KEEPBOTH_CA").env_remove("SSL_CERT_DIR").env("SSL_CERT_FILE", system);
    command.args(words).output().expect("the program")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_wss_puts_and_gets() {
    let server = secured(NOTES).await;
    let (url, ca) = (server.url(), server.folder.path().join("cert.pem"));
    assert!(url.starts_with("wss://"), "{url}");
    let mut client = server.client().await;
    client.put("notes", "k", json!("x".repeat(60_000))).await;
    assert_eq!(client.get("notes", "k").await, "x".repeat(60_000));
    let named = ca.to_str().expect("a path");
    let put = run(Path::new("/nowhere"), &["--url", &url, "--ca", named, "put", "notes/l", "1"]);
    assert!(put.status.success(), "{}", text(&put.stderr));
    let mut command = Command::new(program());
    command.env("KEEPBOTH_CA", &ca).args(["--url", &url, "get", "notes/l"]);
    assert_eq!(text(&command.output().expect("the program").stdout).trim(), "1");
    // The system's own authorities do as well.
    let get = run(&ca, &["--url", &url, "get", "notes/l"]);
    assert_eq!(text(&get.stdout).trim(), "1", "{}", text(&get.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_trust_the_certificate_says_how_to() {
    let (server, other) = (secured(NOTES).await, tempfile::tempdir().expect("a folder"));
    make(other.path());
    let url = server.url();
    for (system, said) in [
        (other.path().join("cert.pem"), "is not signed with its key"),
        (other.path().join("none.pem"), "this system names no authorities for certificates"),
    ] {
        let get = run(&system, &["--url", &url, "get", "notes/k"]);
        let words = text(&get.stderr);
        assert_eq!(get.status.code(), Some(9), "{words}");
        assert!(words.contains(said) && words.contains("--ca FILE"), "{words}");
    }
    let get = run(Path::new("/nowhere"), &["--url", &url, "--ca", "none.pem", "get", "notes/k"]);
    let words = text(&get.stderr);
    assert!(words.contains("cannot read the authorities' certificates none.pem"), "{words}");
    assert!(!words.contains("is the server running"), "{words}");
    let watch = run(&other.path().join("cert.pem"), &["--url", &url, "watch", "notes"]);
    assert!(text(&watch.stderr).contains("--ca FILE"), "{}", text(&watch.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_over_wss_end_alike() {
    let b = secured(NOTES).await;
    let mut at_b = b.client().await;
    at_b.put("notes", "early", json!("from b")).await;
    let a = dialling(&b, "", |_| {}).await;
    let mut at_a = a.client().await;
    a.until("notes", "synced").await;
    at_a.put("notes", "late", json!("x".repeat(60_000))).await;
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    let objects = at_a.objects("notes").await;
    assert_eq!(objects["early"][1], "from b");
    assert_eq!(objects, at_b.objects("notes").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_authorities_of_its_own_connects_to_whom_they_signed_only() {
    let b = secured(NOTES).await;
    let signed = b.folder.path().join("cert.pem");
    let copy = |folder: &Path| {
        std::fs::copy(&signed, folder.join("ca.pem")).expect("copied");
    };
    b.client().await.put("notes", "k", json!(1)).await;
    let a = dialling(&b, "ca = \"ca.pem\"\n", copy).await;
    a.until("notes", "synced").await;

    let strange = |folder: &Path| {
        make(folder);
        std::fs::rename(folder.join("cert.pem"), folder.join("ca.pem")).expect("renamed");
    };
    let c = dialling(&b, "ca = \"ca.pem\"\n", strange).await;
    let mut at_c = c.client().await;
    let tried = async {
        loop {
            let status = at_c.ok(json!({"status": {}})).await;
            if status.to_string().contains("the server's certificate names an authority") {
                return;
            }
        }
    };
    timeout(PATIENCE, tried).await.expect("refused with words");
    // What its file says later holds for the next attempt.
    copy(c.folder.path());
    c.hang_up().await;
    c.until("notes", "synced").await;
}

/// A peer over TLS that has said nothing yet, and what binds its connection (RFC 9266).
async fn peer_over_tls(server: &Server) -> (Peer<TlsStream<TcpStream>>, [u8; 32]) {
    let tcp = TcpStream::connect(server.address()).await.expect("a connection");
    let ca = server.folder.path().join("cert.pem");
    let stream = secure("127.0.0.1", tcp, &ca).await.expect("a TLS connection");
    let (session, context) = (stream.get_ref().1, Some([].as_slice()));
    let binding = session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", context);
    let mut request = server.url().into_client_request().expect("a URL");
    let protocol = SUBPROTOCOL.parse().expect("a header");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let opened = tokio_tungstenite::client_async(request, stream).await;
    (Peer(opened.expect("a WebSocket").0), binding.expect("a binding"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_signs_another_binding_than_that_of_its_connection_is_refused() {
    let member = format!("[mesh]\n[[mesh.members]]\nnode = \"{}\"\n", bad_peers::key().id());
    let server = secured(&format!("{member}{NOTES}")).await;
    let (_, of_another) = peer_over_tls(&server).await;
    // As without TLS; and as on another connection, whose bytes somebody passes on.
    for binding in [[0; 32], of_another] {
        let (mut peer, own) = peer_over_tls(&server).await;
        assert_ne!(own, binding);
        let answerer = peer.nonce().await;
        peer.say(prove_on(&bad_peers::key(), answerer, binding)).await;
        assert_eq!(peer.refusal().await.0, "not_a_member");
        assert!(peer.ended().await);
    }
    let (mut peer, own) = peer_over_tls(&server).await;
    let answerer = peer.nonce().await;
    peer.say(prove_on(&bad_peers::key(), answerer, own)).await;
    assert!(matches!(peer.hear().await, Some(Wire::Prove(_))));
    assert!(matches!(peer.hear().await, Some(Wire::Hello(_))));
    peer.say(bad_peers::hello()).await;
    // It is asked in turn, as a member is.
    while connected(&status(&mut server.client().await, "notes").await) == 0 {
        assert!(peer.hear().await.is_some(), "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_serves_new_connections_and_leaves_open_ones_alone() {
    let server = secured(NOTES).await;
    let (url, folder) = (server.url(), server.folder.path());
    let old = folder.join("old.pem");
    std::fs::copy(folder.join("cert.pem"), &old).expect("copied");
    let mut open = server.client().await;
    open.put("notes", "k", json!(1)).await;

    make(folder);
    server.hang_up().await;
    let renewed =
        async { while Client::try_connect(&url, None, &folder.join("cert.pem")).await.is_err() {} };
    timeout(PATIENCE, renewed).await.expect("the new certificate");
    assert!(Client::try_connect(&url, None, &old).await.is_err(), "the old one is served no more");
    assert_eq!(open.get("notes", "k").await, 1);
    open.put("notes", "k", json!(2)).await;
    assert_eq!(server.client().await.get("notes", "k").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_certificate_keeps_the_old_one() {
    let server = secured(NOTES).await;
    let folder = server.folder.path();
    let old = folder.join("old.pem");
    std::fs::copy(folder.join("cert.pem"), &old).expect("copied");
    // A new certificate whose key did not come with it.
    let key = std::fs::read(folder.join("key.pem")).expect("a key");
    make(folder);
    std::fs::write(folder.join("key.pem"), key).expect("written");
    server.hang_up().await;
    let told = async {
        while !server.log().contains("the new one was not taken") {
            Client::try_connect(&server.url(), None, &old).await.expect("the old certificate");
        }
    };
    timeout(PATIENCE, told).await.expect("told why");
    assert!(server.log().contains("does not fit the certificate"), "{}", server.log());
    let mut client = Client::try_connect(&server.url(), None, &old).await.expect("a connection");
    client.put("notes", "k", json!(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_is_refused_leaves_the_certificate_as_it_was() {
    let server = secured(NOTES).await;
    let folder = server.folder.path();
    let old = folder.join("old.pem");
    std::fs::copy(folder.join("cert.pem"), &old).expect("copied");
    let mut client = server.client().await;
    make(folder);
    // Found only when the plugin starts, after all files were read.
    let audit = "[[namespaces.notes.plugins]]\nuse = \"audit\"\n";
    let nowhere = format!("{TLS}{NOTES}{audit}file = {{ path = \"nowhere/a.jsonl\" }}\n");
    server.rewrite(&nowhere);
    assert_eq!(client.error(json!({"reload": {}})).await["code"], "bad_config");
    Client::try_connect(&server.url(), None, &old).await.expect("the old certificate");
    std::fs::create_dir(folder.join("nowhere")).expect("a folder");
    client.ok(json!({"reload": {}})).await;
    Client::try_connect(&server.url(), None, &folder.join("cert.pem")).await.expect("the new one");
    assert!(Client::try_connect(&server.url(), None, &old).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_in_the_handshake_hold_up_nobody() {
    let server = secured(&format!("[limits]\nhello_within = \"2s\"\n{NOTES}")).await;
    let mut silent = Vec::new();
    for n in 0..100 {
        let mut tcp = TcpStream::connect(server.address()).await.expect("a connection");
        // The beginning of a TLS record, or nothing at all.
        tcp.write_all(&b"\x16\x03\x01\x02\x00"[..n % 6]).await.expect("sent");
        silent.push(tcp);
    }
    server.client().await.put("notes", "k", json!(1)).await;
    for mut tcp in silent {
        let ended = timeout(PATIENCE, tcp.read(&mut [0; 64])).await.expect("an end in time");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_words_to_a_tls_port_are_answered_with_what_would_be_right() {
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nlog = \"info,keepboth=debug\"\n";
    let server = Server::start_with(&format!("{server}{TLS}{NOTES}"), make).await;
    let plain = server.url().replace("wss://", "ws://");
    let get = run(Path::new("/nowhere"), &["--url", &plain, "get", "notes/k"]);
    let words = text(&get.stderr);
    assert_eq!(get.status.code(), Some(9), "{words}");
    assert!(words.contains("this port speaks TLS only: use wss://"), "{words}");
    let mut tcp = TcpStream::connect(server.address()).await.expect("a connection");
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    assert!(server.log().contains("no TLS connection: this is no TLS"), "{}", server.log());
    assert!(server.log().contains("DEBUG"), "{}", server.log());
    server.client().await.put("notes", "k", json!(1)).await;

    let untold = Server::start(NOTES).await;
    let secure = untold.url().replace("ws://", "wss://");
    let get = run(&server.folder.path().join("cert.pem"), &["--url", &secure, "get", "notes/k"]);
    assert!(text(&get.stderr).contains("use ws://"), "{}", text(&get.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_served_and_warned_of() {
    let expired = |folder: &Path| {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("sound");
        params.not_after = rcgen::date_time_ymd(2020, 2, 29);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        std::fs::write(folder.join("cert.pem"), made.pem()).expect("written");
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
    };
    let server = Server::start_with(&format!("{TLS}{NOTES}"), expired).await;
    assert!(server.log().contains("the certificate expired on 2020-02-29"), "{}", server.log());
    let ca = server.folder.path().join("cert.pem");
    let get = run(&ca, &["--url", &server.url(), "get", "notes/k"]);
    let words = text(&get.stderr);
    assert!(words.contains("the server's certificate expired on 2020-02-29"), "{words}");
}

#[test]
fn check_tells_where_a_certificate_is_faulty() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, TLS).expect("written");
    let named = config.to_str().expect("a path");
    for command in ["check", "serve"] {
        let check = run(Path::new("/nowhere"), &[command, "--config", named]);
        let words = text(&check.stderr);
        assert_eq!(check.status.code(), Some(78), "{words}");
        for said in
            ["config.toml:2:8: error: cannot read the certificate", "config.toml:3:7: error: "]
        {
            assert!(words.contains(said), "{words}\nlacks\n{said}");
        }
    }
    make(folder.path());
    assert!(run(Path::new("/nowhere"), &["check", "--config", named]).status.success());
}
