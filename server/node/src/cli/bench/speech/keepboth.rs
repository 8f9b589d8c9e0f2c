//! Answers of Keepboth in JSON, each with its length before it as frames give it.

use super::{Heard, number, refused};
use crate::cli::exit::Failure;

/// The first frame.
pub fn hear(bytes: &[u8]) -> Result<Option<Heard>, Failure> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let bytes = 4 + length;
    // What is pushed has no id.
    let Some(rest) = frame.strip_prefix(br#"{"id":"#) else {
        return Ok(Some(Heard { bytes, id: None }));
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, rest) = rest.split_at(digits);
    match (number(id), rest.starts_with(br#","ok":"#)) {
        (id @ Some(_), true) => Ok(Some(Heard { bytes, id })),
        _ => Err(refused("the server", frame)),
    }
}
