//! RESP, the protocol of Redis.

use super::{Heard, line, number, push_number, refused};
use crate::cli::exit::Failure;

/// What checks and changes a value before it is set: the work that schema and hook do here.
pub const FUNCTION: &str = include_str!("../peers/put.redis.lua");

/// Appends a command of these words.
pub fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'*');
    push_number(words.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    for word in words {
        out.push(b'$');
        push_number(word.len() as u64, out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first answer.
pub fn hear(bytes: &[u8], answered: &mut u64) -> Result<Option<Heard>, Failure> {
    let Some((head, start)) = line(bytes) else { return Ok(None) };
    let wrong = || refused("Redis", head);
    let bytes = match head.split_first() {
        Some((b'+' | b':', _)) => start,
        Some((b'$', length)) => {
            let length: usize = number(length).ok_or_else(wrong)?;
            let end = start + length + 2;
            if bytes.len() < end {
                return Ok(None);
            }
            end
        }
        _ => return Err(wrong()),
    };
    *answered += 1;
    Ok(Some(Heard { bytes, id: Some(*answered) }))
}
