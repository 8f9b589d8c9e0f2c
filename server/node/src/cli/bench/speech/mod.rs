//! What the servers that are measured speak: requests are appended as bytes, answers are told apart and
//! looked at no closer than their success asks for, so that every server has the same lean client.

use crate::cli::exit::{Exit, Failure};

/// Frames of WebSocket.
pub mod frames;
/// Keepboth's own protocol.
mod keepboth;
/// Redis.
pub mod redis;
/// NATS with JetStream.
pub mod nats;
/// Tarantool.
pub mod tarantool;

/// The first whole message in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// How many bytes it takes.
    pub bytes: usize,
    /// The id of the request that it answers; None for anything else.
    pub id: Option<u64>,
}

/// A protocol, with what must be remembered of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tongue {
    /// JSON in frames of WebSocket.
    Keepboth,
    /// Answers come in the order of requests: so many have come.
    Redis(u64),
    /// Answers come on subjects that end with the id.
    Nats,
    /// A greeting comes first; true if it has come.
    Tarantool(bool),
}

impl Tongue {
    /// What a client says first.
    pub fn hello(self) -> &'static [u8] {
        match self {
            Tongue::Nats => nats::HELLO,
            _ => b"",
        }
    }

    /// True if each request is a frame of its own on a WebSocket, and each frame that comes a message:
    /// then its length stands before it, in four bytes. Otherwise frames carry a stream.
    pub fn in_frames(self) -> bool {
        self == Tongue::Keepboth
    }

    /// From now on ids count from 1 again. Nothing must be under way.
    pub fn begin(&mut self) {
        if let Tongue::Redis(answered) = self {
            *answered = 0;
        }
    }

    /// The first message of these bytes; None if it is not whole yet. A refusal is an error.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Option<Heard>, Failure> {
        match self {
            Tongue::Keepboth => keepboth::hear(bytes),
            Tongue::Redis(answered) => redis::hear(bytes, answered),
            Tongue::Nats => nats::hear(bytes),
            Tongue::Tarantool(greeted) => tarantool::hear(bytes, greeted),
        }
    }
}

/// The line at the start of these bytes, without its end, and how many bytes it takes with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}

/// A decimal number.
fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a decimal number.
pub fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// The failure that an answer is.
fn refused(who: &str, answer: &[u8]) -> Failure {
    let start = &answer[..answer.len().min(300)];
    Failure::new(Exit::Failure, format!("{who} answered {}", String::from_utf8_lossy(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shorter part of these bytes is no message yet.
    fn only_whole(tongue: Tongue, bytes: &[u8]) {
        for end in 0..bytes.len() {
            let heard = tongue.clone().hear(&bytes[..end]);
            assert_eq!(heard, Ok(None), "{tongue:?}, {end} of {bytes:?}");
        }
    }

    fn hears(mut tongue: Tongue, bytes: &[u8], id: Option<u64>) {
        only_whole(tongue, bytes);
        let more = [bytes, b"more"].concat();
        let heard = tongue.hear(&more).expect("an answer");
        assert_eq!(heard, Some(Heard { bytes: bytes.len(), id }), "{bytes:?}");
    }

    fn framed(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn answers_are_told_from_other_words_and_refusals() {
        hears(Tongue::Keepboth, &framed(r#"{"id":12,"ok":{}}"#), Some(12));
        hears(Tongue::Keepboth, &framed(r#"{"sub":1,"event":{}}"#), None);
        assert!(Tongue::Keepboth.hear(&framed(r#"{"id":12,"error":{}}"#)).is_err());

        hears(Tongue::Redis(4), b"+OK\r\n", Some(5));
        hears(Tongue::Redis(0), b"$2\r\nab\r\n", Some(1));
        assert!(Tongue::Redis(0).hear(b"-ERR no\r\n").is_err());
        assert!(Tongue::Redis(0).hear(b"$-1\r\n").is_err(), "what is not there is no answer");

        hears(Tongue::Nats, b"INFO {}\r\n", None);
        hears(Tongue::Nats, b"MSG _INBOX.b.7 1 9\r\n{\"seq\":1}\r\n", Some(7));
        hears(Tongue::Nats, b"HMSG _INBOX.b.8 1 12 14\r\nNATS/1.0\r\n\r\nab\r\n", Some(8));
        assert!(Tongue::Nats.hear(b"-ERR 'no'\r\n").is_err());
        let missing = b"HMSG _INBOX.b.8 1 26 26\r\nNATS/1.0 404 Not Found\r\n\r\n\r\n";
        assert!(Tongue::Nats.hear(missing).is_err());
        let failed = b"MSG _INBOX.b.7 1 22\r\n{\"error\":{\"code\":503}}\r\n";
        assert!(Tongue::Nats.hear(failed).is_err());

        hears(Tongue::Tarantool(false), &[b' '; 128], None);
        let answer = b"\xce\x00\x00\x00\x06\x82\x00\x00\x01\x09\x80";
        hears(Tongue::Tarantool(true), answer, Some(9));
        let failed = b"\xce\x00\x00\x00\x08\x82\x00\xcd\x80\x0a\x01\x09\x80";
        assert!(Tongue::Tarantool(true).hear(failed).is_err());
    }

    #[test]
    fn numbers_are_written_whole() {
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            let mut out = Vec::new();
            push_number(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
