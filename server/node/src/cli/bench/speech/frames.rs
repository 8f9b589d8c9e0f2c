//! Frames of WebSocket for a client that wants to be no part of what it measures: its mask is zero, which
//! the protocol allows and which leaves the bytes as they are.

use super::Tongue;
use crate::cli::exit::{Exit, Failure};

/// A frame that carries text.
pub const TEXT: u8 = 1;
/// A frame that carries bytes.
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// What begins a WebSocket; any key will do.
const KEY: &str = "a2VlcGJvdGgtYmVuY2gtMQ==";

/// The request that opens a WebSocket at this address.
pub fn handshake(host: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// How many bytes the answer to the handshake takes; None if it is not whole yet.
pub fn opened(answer: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(Some(end + 4)),
        false => Err(super::refused("the server", answer)),
    }
}

/// Appends a whole frame of a client.
pub fn wrap(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | kind);
    match payload.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Takes whole frames of a server out of `raw`: what they carry goes to `inbox`, with its length before it
/// if each is a message; answers to pings go to `pongs`.
pub fn unwrap(
    raw: &mut Vec<u8>,
    tongue: Tongue,
    inbox: &mut Vec<u8>,
    pongs: &mut Vec<u8>,
) -> Result<(), Failure> {
    let mut taken = 0;
    while let Some((kind, payload, end)) = first(&raw[taken..]) {
        match kind {
            0..=BINARY => {
                if tongue.in_frames() {
                    inbox.extend_from_slice(&(payload.len() as u32).to_le_bytes());
                }
                inbox.extend_from_slice(payload);
            }
            PING => wrap(PONG, payload, pongs),
            CLOSE => {
                let words = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                let words = format!("the server closed the connection: {words}");
                return Err(Failure::new(Exit::Failure, words));
            }
            _ => {}
        }
        taken += end;
    }
    raw.drain(..taken);
    Ok(())
}

/// Kind, payload, and how many bytes it all takes.
fn first(raw: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[head, length], rest) = raw.split_first_chunk::<2>()?;
    let (length, head_bytes) = match length & 0x7f {
        126 => (u16::from_be_bytes(*rest.first_chunk()?) as usize, 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, 10),
        length => (length as usize, 2),
    };
    let end = head_bytes + length;
    Some((head & 0x0f, raw.get(head_bytes..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a server sends it: without a mask.
    fn unmasked(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        wrap(kind, payload, &mut frame);
        let head = frame.len() - payload.len();
        frame.drain(head - 4..head);
        frame[1] &= 0x7f;
        frame
    }

    #[test]
    fn frames_of_every_size_come_through_however_they_are_cut() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            let frame = unmasked(BINARY, &payload);
            for cut in [0, 1, 2, 3, frame.len() - 1, frame.len()] {
                let (mut raw, mut inbox, mut pongs) = (Vec::new(), Vec::new(), Vec::new());
                for part in [&frame[..cut.min(frame.len())], &frame[cut.min(frame.len())..]] {
                    raw.extend_from_slice(part);
                    unwrap(&mut raw, Tongue::Nats, &mut inbox, &mut pongs).expect("frames");
                }
                assert_eq!((inbox.len(), raw.len(), pongs.len()), (size, 0, 0), "{size} at {cut}");
            }
        }
    }

    #[test]
    fn pings_are_answered_and_an_end_is_told() {
        let (mut inbox, mut pongs) = (Vec::new(), Vec::new());
        let mut raw = [unmasked(PING, b"hi"), unmasked(TEXT, b"{}")].concat();
        unwrap(&mut raw, Tongue::Keepboth, &mut inbox, &mut pongs).expect("frames");
        assert_eq!(inbox, b"\x02\0\0\0{}");
        assert_eq!(pongs, b"\x8a\x82\0\0\0\0hi");
        let mut raw = unmasked(CLOSE, b"\x03\xe8bye");
        let end = unwrap(&mut raw, Tongue::Keepboth, &mut inbox, &mut pongs);
        assert!(end.expect_err("an end").message.ends_with(": bye"));
    }
}
