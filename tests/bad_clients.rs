//! Bad input of clients: each gets its clear error, is counted, and the server goes on.

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Client, Server};

const CONFIG: &str = "[namespaces.notes]\n[namespaces.small]\nvalue_bytes_max = \"1 KiB\"\n";

/// Sends a text and gives the error that comes back.
async fn refused(client: &mut Client, text: &str) -> Json {
    client.send_text(text).await;
    let mut frame = client.frame().await;
    assert!(frame["error"].is_object(), "{text}: {frame}");
    frame["error"].take()
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

async fn goes_on(client: &mut Client) {
    client.put("notes", "after", json!(1)).await;
    assert_eq!(client.get("notes", "after").await, 1);
}

#[tokio::test]
async fn malformed_frames_are_refused_with_code_and_place() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    for (text, code, part) in [
        ("", "bad_frame", "line 1 column 0"),
        ("hello", "bad_frame", "line 1 column 1"),
        ("{\"id\":1,", "bad_frame", "line 1 column 8"),
        ("[1]", "bad_frame", "object"),
        ("{\"id\":1}", "bad_frame", "method"),
        ("{\"get\":{\"ns\":\"notes\",\"key\":\"k\"}}", "bad_frame", "id"),
        ("{\"id\":-1,\"status\":{}}", "bad_frame", "id"),
        ("{\"id\":1,\"id\":2,\"status\":{}}", "bad_value", "duplicate key \"id\""),
        ("{\"id\":1,\"gett\":{}}", "unknown_method", "get"),
        ("{\"id\":1,\"get\":{\"ns\":\"notes\"}}", "bad_request", "key"),
        ("{\"id\":1,\"get\":{\"ns\":\"notes\",\"key\":5}}", "bad_request", "key"),
        ("{\"id\":1,\"get\":{\"ns\":\"notes\",\"key\":\"k\",\"kee\":1}}", "bad_request", "kee"),
        ("{\"id\":1,\"get\":{\"ns\":\"No!\",\"key\":\"k\"}}", "unknown_namespace", "No!"),
        ("{\"id\":1,\"get\":{\"ns\":\"nowhere\",\"key\":\"k\"}}", "unknown_namespace", "nowhere"),
        ("{\"id\":1,\"get\":{\"ns\":\"notes\",\"key\":\"\"}}", "bad_key", "1,024"),
        ("{\"id\":1,\"get\":{\"ns\":\"notes\",\"key\":\"a\\u0000b\"}}", "bad_key", "NUL at byte 1"),
        ("{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\"}}", "bad_request", "value"),
        (
            "{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\",\"value\":1,\"if_version\":\"x\"}}",
            "bad_request",
            "if_version",
        ),
        (
            "{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\",\"value\":{\"a\":1,\"a\":2}}}",
            "bad_value",
            "duplicate key \"a\"",
        ),
        (
            "{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\",\"value\":9007199254740993}}",
            "bad_value",
            "9007199254740993",
        ),
        (
            "{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\",\"value\":1e400}}",
            "bad_value",
            "number out of range",
        ),
        (
            "{\"id\":1,\"put\":{\"ns\":\"notes\",\"key\":\"k\",\"value\":{\"$what\":1}}}",
            "bad_value",
            "$what",
        ),
    ] {
        let error = refused(&mut client, text).await;
        assert_eq!(error["code"], code, "{text}: {error}");
        assert!(
            words(&error).contains(part) || error["hint"].to_string().contains(part),
            "{part:?} in {error}"
        );
    }
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let put = format!("{{\"id\":1,\"put\":{{\"ns\":\"notes\",\"key\":\"k\",\"value\":{deep}}}}}");
    assert!(words(&refused(&mut client, &put).await).contains("levels"));
    goes_on(&mut client).await;
    let metrics = http(&server, "/metrics").await;
    assert!(metrics.contains("keepboth_refused_total{code=\"bad_frame\"}"), "{metrics}");
    assert_eq!(server.log().matches("bad frame").count(), 1, "one client fills no log");
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_with_limit_size_and_stage() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let put =
        |ns: &str, bytes: usize| json!({"put": {"ns": ns, "key": "k", "value": "x".repeat(bytes)}});
    client.ok(put("notes", 65_536)).await;
    let error = client.error(put("notes", 65_537)).await;
    assert_eq!(error["code"], "value_too_large");
    assert_eq!(
        words(&error),
        "value is 65,537 bytes in the client's frame, the limit is 65,536 bytes"
    );
    assert_eq!(
        client.get("notes", "k").await.as_str().expect("text").len(),
        65_536,
        "nothing was written"
    );
    let error = client.error(put("small", 1_025)).await;
    assert!(words(&error).ends_with("the limit is 1,024 bytes"), "{error}");
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_and_a_huge_one_ends_the_connection() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let pad = "x".repeat(1_100_000);
    let error =
        refused(&mut client, &format!("{{\"id\":1,\"status\":{{}},\"pad\":\"{pad}\"}}")).await;
    assert_eq!(error["code"], "frame_too_large");
    assert!(words(&error).contains("the limit is 1,048,576 bytes"), "{error}");
    goes_on(&mut client).await;
    // The server does not read it to its end, so that sending may fail before the close frame is seen.
    client.send_whatever_comes(&"x".repeat(1_200_000)).await;
    assert!(client.ended().await, "the connection ends");
    goes_on(&mut server.client().await).await;
}

#[tokio::test]
async fn a_batch_whose_answer_would_be_no_frame_is_refused_before_it_is_done() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let ops = |count: usize| {
        let put = |n: usize| json!({"put": {"key": format!("{n:01000}"), "value": n}});
        json!({"batch": {"ns": "notes", "ops": (0..count).map(put).collect::<Vec<_>>()}})
    };
    let error = client.error(ops(500)).await;
    assert_eq!(error["code"], "batch_too_large");
    assert!(words(&error).contains("answer may take"), "{error}");
    assert!(words(&error).contains("1,048,576"), "{error}");
    assert_eq!(client.objects("notes").await, json!({}));
    let done = client.ok(ops(400)).await;
    assert_eq!(done["results"].as_array().map(Vec::len), Some(400));
}

#[tokio::test]
async fn an_oversized_key_and_batch_are_refused() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let error = client.error(json!({"get": {"ns": "notes", "key": "k".repeat(1_025)}})).await;
    assert_eq!(
        (&error["code"], words(&error)),
        (&json!("bad_key"), "the key is 1,025 bytes, the limit is 1,024 bytes")
    );
    let ops: Vec<Json> =
        (0..1_001).map(|n| json!({"put": {"key": format!("k{n}"), "value": n}})).collect();
    let error = client.error(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    assert_eq!(error["code"], "batch_too_large");
    assert_eq!(client.objects("notes").await, json!({}), "nothing half written");
}

#[tokio::test]
async fn a_reserved_name_is_explained() {
    let server = Server::start(CONFIG).await;
    let mut client = server.client().await;
    let name = "ab".repeat(32);
    let error = client.error(json!({"put": {"ns": "notes", "key": name, "value": 1}})).await;
    assert_eq!(error["code"], "not_found");
    assert!(error["hint"].as_str().expect("a hint").contains("prefix"), "{error}");
    let create = json!({"put": {"ns": "notes", "key": name, "value": 1, "if_version": null}});
    assert_eq!(client.error(create).await["code"], "reserved_key");
}

#[tokio::test]
async fn text_that_is_not_utf_8_ends_the_connection_alone() {
    let server = Server::start(CONFIG).await;
    let mut socket = TcpStream::connect(server.address()).await.expect("a connection");
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("sent");
    // A masked text frame of two bytes, with a mask of zeros.
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]).await.expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an end");
    let close = answer.windows(2).any(|pair| pair == 1007_u16.to_be_bytes());
    assert!(close, "close code 1007 in {answer:?}");
    goes_on(&mut server.client().await).await;
}

#[tokio::test]
async fn a_binary_frame_of_json_is_read_and_nonsense_messagepack_refused() {
    let server = Server::start(CONFIG).await;
    let mut client = Client::connect(&server.url(), Some("keepboth.v1.msgpack")).await;
    for bytes in [&[0xc1][..], &[0x93, 1, 2, 3], &[0x81, 0xa2, b'i', b'd', 1], b"hello"] {
        client.send(Message::binary(bytes.to_vec())).await;
        let Message::Binary(answer) = client.message().await else { panic!("not binary") };
        let answer: Json = rmp_serde::from_slice(&answer).expect("MessagePack");
        assert_eq!(answer["error"]["code"], "bad_frame", "{bytes:?}: {answer}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_turned_away() {
    let server = Server::start(CONFIG).await;
    let mut request = server.url().into_client_request().expect("a URL");
    request.headers_mut().insert("Origin", "https://evil.example".parse().expect("a header"));
    let error = tokio_tungstenite::connect_async(request).await.expect_err("refused");
    assert!(error.to_string().contains("403"), "{error}");
}

#[tokio::test]
async fn more_connections_than_allowed_are_turned_away() {
    let server = Server::start(&format!("[limits]\nconnections_max = 1\n{CONFIG}")).await;
    let _first = server.client().await;
    let error = tokio_tungstenite::connect_async(server.url()).await.expect_err("refused");
    assert!(error.to_string().contains("503"), "{error}");
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_kept() {
    let server = Server::start(&format!("[limits]\nhello_within = \"2s\"\n{CONFIG}")).await;
    let mut client = server.client().await;
    let Message::Close(Some(close)) = client.message().await else { panic!("not closed") };
    assert_eq!(u16::from(close.code), 4501);
}

#[tokio::test]
async fn a_client_that_asks_for_nothing_is_not_kept_whatever_else_it_says() {
    let server = Server::start(&format!("[limits]\nhello_within = \"2s\"\n{CONFIG}")).await;
    let mut client = server.client().await;
    client.send_whatever_comes("{}").await;
    let close = loop {
        match client.message().await {
            Message::Close(close) => break close.expect("a reason"),
            refused => assert!(refused.to_string().contains("bad_frame"), "{refused}"),
        }
    };
    assert_eq!(u16::from(close.code), 4501);
    assert!(close.reason.contains("no request within"), "{}", close.reason);
}

/// A plain GET; head and body.
async fn http(server: &Server, path: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).await.expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn health_readiness_and_metrics_stand_on_the_same_port() {
    let server = Server::start(CONFIG).await;
    server.client().await.put("notes", "k", json!(1)).await;
    assert!(http(&server, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(http(&server, "/readyz").await.ends_with("ready\n"));
    let metrics = http(&server, "/metrics").await;
    for line in [
        "keepboth_objects{namespace=\"notes\"} 1",
        "keepboth_requests_total{method=\"put\"} 1",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let plain = http(&server, "/").await;
    assert!(plain.starts_with("HTTP/1.1 426") && plain.contains("WebSocket"), "{plain}");
}
