//! Frames between JSON trees and WebSocket messages.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

use super::error::ClientError;
use crate::protocol::{Format, Tree, read_message_pack};

/// A value may be 64 levels deep; frames around it need some more.
const FRAME_DEPTH_MAX: usize = 100;

/// The message of a frame. Bytes and the like stand in it as the JSON escapes, in both formats.
pub(super) fn message(format: Format, frame: &Json) -> Result<Message, ClientError> {
    match format {
        Format::Json => Ok(Message::text(frame.to_string())),
        Format::MessagePack => {
            let bytes = rmp_serde::to_vec(frame);
            bytes.map(Message::binary).map_err(|e| ClientError::Protocol(e.to_string()))
        }
    }
}

/// The frame in a message; None for a message that only keeps the connection alive.
pub(super) fn frame(message: &Message) -> Result<Option<Map<String, Json>>, ClientError> {
    let tree = match message {
        Message::Text(text) => serde_json::from_str(text.as_str())
            .map_err(|e| ClientError::Protocol(format!("a frame is not JSON: {e}")))?,
        Message::Binary(bytes) => {
            let tree = read_message_pack(bytes, FRAME_DEPTH_MAX);
            escaped(tree.map_err(|e| ClientError::Protocol(e.message))?)
        }
        _ => return Ok(None),
    };
    match tree {
        Json::Object(members) => Ok(Some(members)),
        _ => Err(ClientError::Protocol("a frame is no object".into())),
    }
}

/// What JSON cannot hold becomes the escapes of JSON frames.
fn escaped(tree: Tree) -> Json {
    match tree {
        Tree::Json(json) => json,
        Tree::Bytes(bytes) => json!({"$bytes": BASE64.encode(bytes)}),
        Tree::Float(n) if n.is_nan() => json!({"$number": "NaN"}),
        Tree::Float(n) => json!({"$number": if n > 0.0 { "Infinity" } else { "-Infinity" }}),
        Tree::List(items) => items.into_iter().map(escaped).collect(),
        Tree::Map(members) => {
            let member = |(name, tree): (String, Tree)| match (name.as_str(), tree) {
                ("$cbor", Tree::Bytes(item)) => (name, BASE64.encode(item).into()),
                (_, tree) => (name, escaped(tree)),
            };
            Json::Object(members.into_iter().map(member).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_from_message_pack_are_the_escapes_of_json() {
        let pack =
            b"\x83\xa1a\xc4\x02\x00\x01\xa1b\x81\xa5$cbor\xc4\x01\x05\xa1c\xca\x7f\x80\x00\x00";
        let members = frame(&Message::binary(&pack[..])).expect("frame").expect("members");
        let expected =
            json!({"a": {"$bytes": "AAE="}, "b": {"$cbor": "BQ=="}, "c": {"$number": "Infinity"}});
        assert_eq!(Json::Object(members), expected);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for message in [Message::text("{"), Message::text("[]"), Message::binary(&b"\xc1"[..])] {
            assert!(frame(&message).is_err(), "{message:?}");
        }
        assert_eq!(frame(&Message::Ping(Default::default())), Ok(None));
    }
}
