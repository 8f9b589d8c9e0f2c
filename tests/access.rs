//! Who may connect and do what, once a plugin of the server says who clients are.

use serde_json::{Value as Json, json};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, PATIENCE, Server, own_program};

/// Tokens: `all` may do everything, `anna` reads and writes below `a/` in notes, `bert` only reads notes.
const TOKENS: &str = r#"
all = [["*", "", "read", "write", "delete", "resolve", "admin"]]
anna = [["notes", "a/", "read", "write"]]
bert = [["notes", "", "read"]]
"#;
const NAMESPACES: &str = "[namespaces.notes]\n[namespaces.other]\n";

async fn start(more: &str) -> Server {
    let config = format!(
        "[[plugins]]\nuse = \"doorman\"\nbanned = \"https://bad.example\"\n[plugins.tokens]\n{TOKENS}{more}{NAMESPACES}"
    );
    Server::start_program(own_program(), &config).await
}

/// A client that has shown this token in its hello.
async fn client(server: &Server, token: &str) -> Client {
    let mut client = server.client().await;
    client.ok(json!({"hello": {"client": "whoever", "token": token}})).await;
    client
}

fn put(key: &str) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": 1}})
}

#[tokio::test]
async fn whoever_shows_no_token_or_a_wrong_one_may_do_nothing() {
    let server = start("").await;
    let mut nobody = server.client().await;
    for frame in [put("a/1"), json!({"status": {}}), json!({"hello": {}}), json!({"reload": {}})] {
        let error = nobody.error(frame).await;
        assert_eq!(error["code"], "unauthenticated", "{error}");
    }
    let error = nobody.error(json!({"hello": {"token": "wrong"}})).await;
    assert_eq!(error["code"], "unauthenticated");
    assert!(
        error["hint"].is_string() || error["message"].as_str().expect("words").contains("token")
    );
    let error = nobody.error(json!({"hello": {"token": "panic"}})).await;
    assert_eq!(error["code"], "hook_failed", "a panic lets nobody in");
    assert_eq!(nobody.error(put("a/1")).await["code"], "unauthenticated");
    nobody.ok(json!({"hello": {"token": "anna"}})).await;
    nobody.ok(put("a/1")).await;
}

#[tokio::test]
async fn everybody_may_do_what_is_granted_to_who_has_no_token() {
    let server = start("\"\" = [[\"notes\", \"open/\", \"read\"]]\n").await;
    let mut nobody = server.client().await;
    assert_eq!(
        nobody.ok(json!({"list": {"ns": "notes", "prefix": "open/"}})).await["items"],
        json!([])
    );
    assert_eq!(nobody.error(put("open/1")).await["code"], "forbidden");
}

#[tokio::test]
async fn every_request_needs_its_right_on_the_keys_that_it_is_about() {
    let server = start("").await;
    let (mut all, mut anna, mut bert) = (
        client(&server, "all").await,
        client(&server, "anna").await,
        client(&server, "bert").await,
    );
    let version = anna.ok(put("a/1")).await["version"].clone();
    all.ok(put("b/1")).await;
    let error = anna.error(put("b/1")).await;
    assert_eq!(error["code"], "forbidden");
    assert_eq!(error["message"], "this needs the right write on \"b/1\" in the namespace notes");
    let at = |method: &str, more: Json| {
        let mut arguments = json!({"ns": "notes"});
        for (name, value) in more.as_object().expect("arguments") {
            arguments[name] = value.clone();
        }
        json!({method: arguments})
    };
    let batch = json!([{"put": {"key": "a/2", "value": 1}}, {"delete": {"key": "a/1"}}]);
    let conflict = json!({"key": "a/1", "value": 2});
    for frame in [
        at("get", json!({"key": "b/1"})),
        at("history", json!({"key": "b/1"})),
        at("get_version", json!({"key": "b/1", "version": version})),
        at("acks", json!({"key": "b/1"})),
        at("conflict", json!({"key": "b/1"})),
        at("list", json!({})),
        at("list", json!({"prefix": "a"})),
        at("watch", json!({})),
        at("watch", json!({"prefix": "b/"})),
        at("conflicts", json!({})),
        at("trash", json!({})),
        at("schema_report", json!({})),
        at("query", json!({"index": "by"})),
        at("plugin", json!({"plugin": "index", "op": "indexes"})),
        at("delete", json!({"key": "a/1"})),
        at("resolve", conflict),
        at("batch", json!({"ops": batch})),
        at("revert", json!({"key": "b/1", "version": version})),
        at("restore", json!({"key": "b/1"})),
        at("purge", json!({"key": "a/1"})),
        at("judge", json!({"key": "a/1", "version": version, "verdict": "admit"})),
        at("quarantine", json!({})),
        at("quarantine_retry", json!({})),
        at("hook_log", json!({})),
        json!({"get": {"ns": "notes", "key": "ab".repeat(32)}}),
        json!({"get": {"ns": "other", "key": "a/1"}}),
        json!({"list": {"ns": "nowhere"}}),
        json!({"status": {"ns": "other"}}),
        json!({"ns_info": {"ns": "other"}}),
        json!({"ns_add": {"ns": "new"}}),
        json!({"ns_rm": {"ns": "new"}}),
        json!({"reload": {}}),
        json!({"peers": {}}),
        json!({"peer_invite": {}}),
        json!({"peer_add": {"node": "ab".repeat(32)}}),
        json!({"peer_rm": {"node": "ab".repeat(32)}}),
    ] {
        let error = anna.error(frame.clone()).await;
        assert_eq!(error["code"], "forbidden", "{frame}: {error}");
        assert!(error["message"].as_str().expect("words").contains("needs the right"), "{error}");
    }
    assert_eq!(
        anna.error(at("get", json!({"key": "a/2"}))).await["code"],
        "not_found",
        "no part of the batch"
    );
    anna.ok(at("get", json!({"key": "a/1"}))).await;
    anna.ok(at("revert", json!({"key": "a/1", "version": version}))).await;
    anna.ok(at("list", json!({"prefix": "a/"}))).await;
    bert.ok(at("list", json!({}))).await;
    bert.ok(at("conflicts", json!({}))).await;
    let asked = bert.error(at("query", json!({"index": "by"}))).await;
    assert_eq!(asked["code"], "not_found", "it may ask: {asked}");
    let asked = bert.error(at("plugin", json!({"plugin": "index", "op": "indexes"}))).await;
    assert_eq!(asked["code"], "forbidden", "that is for operators: {asked}");
    assert_eq!(bert.error(put("a/1")).await["code"], "forbidden");
    all.ok(json!({"peers": {}})).await;
    all.ok(json!({"ns_add": {"ns": "new"}})).await;
}

#[tokio::test]
async fn an_address_is_held_against_the_key_whose_history_it_belongs_to() {
    let server = start("").await;
    let (mut all, mut anna) = (client(&server, "all").await, client(&server, "anna").await);
    for key in ["a/1", "b/1"] {
        all.ok(put(key)).await;
    }
    let hash = |key| keepboth_core::name::Key::new(key).expect("a key").hash();
    let addresses = [hash("a/1"), hash("b/1")];
    let name = |hash: &[u8; 16]| format!("{}{}", keepboth_core::ids::hex(hash), "00".repeat(16));
    let get = |hash: &[u8; 16]| json!({"get": {"ns": "notes", "key": name(hash)}});
    assert_eq!(anna.error(get(&addresses[0])).await["code"], "not_found", "it may ask");
    assert_eq!(anna.error(get(&addresses[1])).await["code"], "forbidden", "it may not even ask");
}

#[tokio::test]
async fn a_watch_below_a_granted_prefix_tells_of_nothing_else() {
    let server = start("").await;
    let (mut all, mut anna) = (client(&server, "all").await, client(&server, "anna").await);
    anna.ok(json!({"watch": {"ns": "notes", "prefix": "a/"}})).await;
    all.ok(put("b/1")).await;
    all.ok(put("a/1")).await;
    assert_eq!(anna.change().await["key"], "a/1");
}

#[tokio::test]
async fn hello_and_status_tell_of_the_namespaces_that_one_may_know() {
    let server = start("").await;
    let mut anna = server.client().await;
    let hello = anna.ok(json!({"hello": {"token": "anna"}})).await;
    assert_eq!(hello["namespaces"], json!(["notes"]));
    let status = anna.ok(json!({"status": {}})).await;
    assert_eq!(status["namespaces"].as_array().map(Vec::len), Some(1), "{status}");
    let hello = client(&server, "all").await.ok(json!({"hello": {}})).await;
    assert_eq!(hello["namespaces"], json!(["notes", "other"]));
}

#[tokio::test]
async fn a_token_comes_as_a_header_as_a_subprotocol_or_in_message_pack() {
    let server = start("").await;
    let protocol = "keepboth.v1.json, keepboth.token.anna";
    let mut browser = Client::connect(&server.url(), Some(protocol)).await;
    browser.ok(put("a/1")).await;
    let url = server.url();
    let refused = Client::try_connect(
        &url,
        Some("keepboth.v1.json, keepboth.token.wrong"),
        std::path::Path::new("/nowhere"),
    );
    assert!(refused.await.err().expect("refused").contains("401"));
    let mut packed = Client::connect(&server.url(), Some("keepboth.v1.msgpack")).await;
    let hello = json!({"id": 1, "hello": {"token": "anna"}});
    packed.send(Message::binary(rmp_serde::to_vec_named(&hello).expect("packed"))).await;
    let Message::Binary(answer) = packed.message().await else { panic!("no MessagePack") };
    let answer: Json = rmp_serde::from_slice(&answer).expect("an answer");
    assert_eq!(answer["ok"]["namespaces"], json!(["notes"]));
}

#[tokio::test]
async fn metrics_want_the_right_admin_and_health_wants_nothing() {
    let server = start("").await;
    assert!(server.get("/metrics", &[]).await.starts_with("HTTP/1.1 401"));
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    assert!(server.get("/metrics", &[&bearer("wrong")]).await.starts_with("HTTP/1.1 401"));
    let answer = server.get("/metrics", &[&bearer("bert")]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("needs the right admin"), "{answer}");
    assert!(server.get("/metrics", &[&bearer("all")]).await.starts_with("HTTP/1.1 200"));
    assert!(server.get("/healthz", &[]).await.starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz", &[]).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_gate_turns_away_whom_it_does_not_want_before_there_is_a_connection() {
    let server = start("").await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Authorization: Bearer wrong",
    ];
    let answer = server.get("/", &upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("nobody here knows this token"));
    let answer = server.get("/metrics", &["Origin: https://bad.example"]).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("that page is not welcome"));
    let answer = server.get("/metrics", &["Origin: https://panic.example"]).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "a panic lets nobody in either: {answer}");
    assert!(answer.contains("plugin doorman panicked"), "{answer}");
}

#[tokio::test]
async fn who_came_in_by_old_rules_shows_anew_who_he_is_and_watches_end_with_the_connection() {
    let server = start("").await;
    let (mut anna, mut all) = (client(&server, "anna").await, client(&server, "all").await);
    anna.ok(json!({"watch": {"ns": "notes", "prefix": "a/"}})).await;
    let same = all.ok(json!({"reload": {}})).await;
    assert_eq!(same["plugins_changed"], json!([]), "the same rules disturb nobody");
    anna.ok(put("a/1")).await;
    let tokens = TOKENS.replace("anna", "anne");
    server.rewrite(&format!(
        "[[plugins]]\nuse = \"doorman\"\n[plugins.tokens]\n{tokens}{NAMESPACES}"
    ));
    // Its own answer may be lost with the connection that it ends.
    all.ask(json!({"reload": {}})).await;
    assert!(anna.ended().await);
    let error = server.client().await.error(json!({"hello": {"token": "anna"}})).await;
    assert_eq!(error["code"], "unauthenticated");
    client(&server, "anne").await.ok(put("a/2")).await;
}

#[tokio::test]
async fn a_gate_that_does_not_start_leaves_the_old_one_at_its_place() {
    let server = start("").await;
    let mut all = client(&server, "all").await;
    server.rewrite(&format!("[[plugins]]\nuse = \"doorman\"\nfails = true\n{NAMESPACES}"));
    let error = all.error(json!({"reload": {}})).await;
    assert_eq!(error["code"], "bad_config");
    assert!(error["message"].as_str().expect("words").contains("the doorman is ill"), "{error}");
    assert_eq!(server.client().await.error(put("a/1")).await["code"], "unauthenticated");
}

#[tokio::test]
async fn no_reload_lets_everybody_in_where_everybody_reaches_the_server() {
    let gate = format!("[[plugins]]\nuse = \"doorman\"\n[plugins.tokens]\n{TOKENS}");
    let at = |server: &str, gate: &str| format!("[server]\n{server}\n{gate}{NAMESPACES}");
    let everywhere = "listen = \"0.0.0.0:0\"";
    let server = Server::start_program(own_program(), &at(everywhere, &gate)).await;
    let mut all = client(&server, "all").await;
    // It goes on listening where it was started, whatever the file says.
    for other in ["listen = \"127.0.0.1:0\"", "", "listen = \"0.0.0.0:0\"\ninsecure = true"] {
        server.rewrite(&at(other, ""));
        let error = all.error(json!({"reload": {}})).await;
        assert_eq!(error["code"], "bad_config", "{other}: {error}");
        let words = error["message"].as_str().expect("words");
        assert!(words.contains(&server.address().to_string()), "{words}");
        assert!(words.contains("keep a plugin in [[plugins]]"), "{words}");
        let refused = server.client().await.error(put("a/1")).await;
        assert_eq!(refused["code"], "unauthenticated", "{other}");
    }
    server.rewrite(&at("listen = \"127.0.0.1:0\"", &gate));
    all.ok(json!({"reload": {}})).await;
}

#[tokio::test]
async fn the_command_shows_the_token_of_a_file_or_of_the_environment() {
    let server = start("").await;
    let file = server.folder.path().join("token");
    std::fs::write(&file, "anna\n").expect("written");
    let run = async |arguments: &[&str], token: Option<&str>| {
        let mut command = Command::new(own_program());
        command.args(["--url", &server.url()]).args(arguments).env_remove("KEEPBOTH_TOKEN");
        if let Some(token) = token {
            command.env("KEEPBOTH_TOKEN", token);
        }
        let output = timeout(PATIENCE, command.output()).await.expect("in time").expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let path = file.display().to_string();
    let (code, text) = run(&["put", "notes/a/1", "1", "--token-file", &path], None).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(run(&["get", "notes/a/1"], Some("anna")).await.0, Some(0));
    let (code, text) = run(&["get", "notes/b/1"], Some("anna")).await;
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("[forbidden]"), "{text}");
    let (code, text) = run(&["get", "notes/a/1"], None).await;
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("[unauthenticated]") && text.contains("--token-file"), "{text}");
    let (code, text) = run(&["get", "notes/a/1"], Some("wrong")).await;
    assert_eq!(code, Some(3), "{text}");
}

#[tokio::test]
async fn a_server_may_be_reached_by_others_once_a_plugin_says_who_clients_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let check = async |gate: &str| {
        let config = format!("[server]\nlisten = \"0.0.0.0:7400\"\n{gate}{NAMESPACES}");
        std::fs::write(&file, config).expect("written");
        let output = Command::new(own_program()).args(["check", "--config"]).arg(&file).output();
        let output = output.await.expect("run");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let gate = "[[plugins]]\nuse = \"doorman\"\n";
    let (code, text) = check(&format!("{gate}tokens = {{ a = [] }}\n")).await;
    assert_eq!(code, Some(0), "{text}");
    for gate in ["", gate] {
        let (code, text) = check(gate).await;
        assert_eq!(code, Some(78));
        assert!(
            text.contains(":2:10: error: listening on 0.0.0.0:7400 would let everyone"),
            "{text}"
        );
        assert_eq!(text.matches("would let everyone").count(), 1, "{text}");
    }
}
