//! The protocol of NATS, and of its key-value buckets: streams of JetStream with one message a subject.

use super::{Heard, line, number, push_number, refused};
use crate::cli::exit::Failure;

/// Says who we are, and where answers go.
pub const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
    \"no_responders\":true}\r\nSUB _INBOX.b.* 1\r\n";
/// The bucket.
const BUCKET: &str = r#"{"name":"KV_bench","subjects":["$KV.bench.>"],"storage":"file",
    "max_msgs_per_subject":1,"discard":"new","allow_direct":true,"num_replicas":1}"#;

/// Appends the request to make the bucket.
pub fn make_bucket(id: u64, out: &mut Vec<u8>) {
    publish(&["$JS.API.STREAM.CREATE.KV_bench"], id, BUCKET.as_bytes(), out);
}

/// Appends a put.
pub fn put(id: u64, key: &str, value: &[u8], out: &mut Vec<u8>) {
    publish(&["$KV.bench.", key], id, value, out);
}

/// Appends a get.
pub fn get(id: u64, key: &str, out: &mut Vec<u8>) {
    publish(&["$JS.API.DIRECT.GET.KV_bench.$KV.bench.", key], id, b"", out);
}

fn publish(subject: &[&str], id: u64, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"PUB ");
    subject.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.extend_from_slice(b" _INBOX.b.");
    push_number(id, out);
    out.push(b' ');
    push_number(payload.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The first word of the server. Its pings are passed over: it ends a connection after two, and they are
/// hours apart.
pub fn hear(bytes: &[u8]) -> Result<Option<Heard>, Failure> {
    let Some((head, start)) = line(bytes) else { return Ok(None) };
    let wrong = || refused("NATS", head);
    let mut words = head.split(|byte| *byte == b' ');
    match words.next() {
        Some(b"MSG" | b"HMSG") => {}
        Some(b"-ERR") | None => return Err(wrong()),
        Some(_) => return Ok(Some(Heard { bytes: start, id: None })),
    }
    let id = words.next().and_then(|subject| number(subject.strip_prefix(b"_INBOX.b.")?));
    let length: usize = words.next_back().and_then(number).ok_or_else(wrong)?;
    let Some(message) = bytes.get(start..start + length) else { return Ok(None) };
    if bytes.len() < start + length + 2 {
        return Ok(None);
    }
    // A status after the version says that there is no value.
    if message.starts_with(b"NATS/1.0 ") || message.starts_with(br#"{"error""#) || id.is_none() {
        return Err(refused("NATS", message));
    }
    // Answers of the stream's own interface name their type first.
    if message.starts_with(br#"{"type""#) && message.windows(8).any(|part| part == br#""error":"#) {
        return Err(refused("NATS", message));
    }
    Ok(Some(Heard { bytes: start + length + 2, id }))
}
