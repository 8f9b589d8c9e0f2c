//! A client against a server of a few lines.

use futures_util::{SinkExt, StreamExt};
use keepboth_core::ids::{StoreId, VersionId};
use keepboth_core::name::{Key, Name};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::{Client, ClientError, Push};
use crate::protocol::{
    Answer, Call, Cursor, Format, Object, decode_request, encode_answer, encode_end, encode_live,
};

/// Listens, and serves one connection. Gives the URL.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("accept");
        serve(socket).await
    });
    format!("ws://{address}")
}

// The library fixes the form of the callback.
#[allow(clippy::result_large_err)]
async fn serve(socket: TcpStream) {
    let mut format = Format::Json;
    let agree = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let name = request.headers()["Sec-WebSocket-Protocol"].clone();
        format = name.to_str().ok().and_then(Format::from_subprotocol).unwrap_or_default();
        response.headers_mut().insert("Sec-WebSocket-Protocol", name);
        Ok(response)
    };
    let mut socket = accept_hdr_async(socket, agree).await.expect("handshake");
    let mut held = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        let bytes = message.into_data();
        let Ok(request) = decode_request(format, &bytes) else { continue };
        let id = Some(request.id);
        match request.call {
            // Answered in reverse order, two by two.
            Call::Get { key, .. } => {
                held.push((id, object(&key)));
                let due = held.len() == 2 || matches!(&held[..], [(_, Err(_))]);
                while let Some((id, answer)) = held.pop_if(|_| due) {
                    send(&mut socket, format, |out| encode_answer(format, id, &answer, out)).await;
                }
            }
            Call::Watch { .. } => {
                let answer = Ok(Answer::Watch { sub: 4 });
                let cursor = Cursor { store: StoreId([1; 16]), epoch: 1, sequence: 2 };
                let end = Refusal::new(Code::Overloaded, "full");
                send(&mut socket, format, |out| encode_answer(format, id, &answer, out)).await;
                send(&mut socket, format, |out| encode_live(format, 4, &cursor, out)).await;
                send(&mut socket, format, |out| encode_end(format, 4, &end, out)).await;
            }
            _ => {
                let frame = CloseFrame { code: 4000.into(), reason: "bye".into() };
                socket.close(Some(frame)).await.expect("close");
            }
        }
    }
}

fn object(name: &Name) -> Result<Answer, Refusal> {
    if name.to_string() == "none" {
        return Err(Refusal::not_found("none"));
    }
    Ok(Answer::Object(Object {
        key: Key::new(&name.to_string())?,
        name: name.clone(),
        version: VersionId([1; 32]),
        value: Value::bytes(name.to_string().into_bytes()),
        timestamp: 0,
        origin: StoreId([1; 16]),
    }))
}

async fn send(
    socket: &mut WebSocketStream<TcpStream>,
    format: Format,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let mut out = Vec::new();
    write(&mut out);
    let message = match format {
        Format::Json => Message::text(String::from_utf8(out).expect("text")),
        Format::MessagePack => Message::binary(out),
    };
    socket.send(message).await.expect("send");
}

fn get(key: &str) -> serde_json::Value {
    json!({"ns": "n", "key": key})
}

#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    for format in Format::ALL {
        let client = Client::connect(&server().await, format).await.expect("connect");
        let (one, two) = (client.ask("get", get("a")).await, client.ask("get", get("b")).await);
        let (one, two) = (one.expect("asked").answer().await, two.expect("asked").answer().await);
        assert_eq!(one.expect("answer")["value"], json!({"$bytes": "YQ=="}), "{format:?}");
        assert_eq!(two.expect("answer")["value"], json!({"$bytes": "Yg=="}), "{format:?}");
        let Err(ClientError::Refused(refused)) = client.call("get", get("none")).await else {
            panic!("not refused");
        };
        assert_eq!(refused.to_string(), "there is no object \"none\" [not_found]");
    }
}

#[tokio::test]
async fn a_watch_misses_nothing_that_follows_its_answer() {
    for format in Format::ALL {
        let client = Client::connect(&server().await, format).await.expect("connect");
        let mut pushes = client.watch(json!({"ns": "n"})).await.expect("watch");
        let cursor = format!("{}.1.2", StoreId([1; 16]));
        assert_eq!(pushes.next().await, Some(Push::Live { cursor }));
        let Some(Push::End(refused)) = pushes.next().await else { panic!("no end") };
        assert!(refused.retry);
        assert_eq!(pushes.next().await, None);
    }
}

#[tokio::test]
async fn a_closed_connection_says_why() {
    let client = Client::connect(&server().await, Format::Json).await.expect("connect");
    let error = client.call("status", json!({})).await.expect_err("closed");
    assert_eq!(error.to_string(), "the connection is closed (4000): bye");
    assert!(error.reconnect());
    assert_eq!(client.call("status", json!({})).await, Err(error));
}

#[tokio::test]
async fn where_nobody_listens_is_said_with_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let url = format!("ws://{}", listener.local_addr().expect("address"));
    drop(listener);
    for url in [url.as_str(), "http://x", "nonsense"] {
        let error = Client::connect(url, Format::Json).await.expect_err("unreachable");
        assert!(matches!(&error, ClientError::Unreachable { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot connect to {url}: ")), "{error}");
    }
}
