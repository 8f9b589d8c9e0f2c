//! IPROTO, the protocol of Tarantool: MessagePack with a length before it.

use rmp::{decode, encode};

use super::{Heard, refused};
use crate::cli::exit::Failure;

/// Bytes that the server says first.
const GREETING: usize = 128;
/// The keys of headers and bodies, and the request, that are used.
const REQUEST: u64 = 0x00;
const SYNC: u64 = 0x01;
const SPACE: u64 = 0x10;
const TUPLE: u64 = 0x21;
const REPLACE: u64 = 0x03;

/// Appends a put of a key and a value, both texts, into this space.
pub fn put(space: u64, id: u64, key: &str, value: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0xce, 0, 0, 0, 0]);
    // Writing into memory does not fail.
    let _ = request(space, id, key, value, out);
    let length = (out.len() - start - 5) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

fn request(
    space: u64,
    id: u64,
    key: &str,
    value: &str,
    out: &mut Vec<u8>,
) -> Result<(), encode::ValueWriteError> {
    encode::write_map_len(out, 2)?;
    encode::write_uint(out, REQUEST)?;
    encode::write_uint(out, REPLACE)?;
    encode::write_uint(out, SYNC)?;
    encode::write_uint(out, id)?;
    encode::write_map_len(out, 2)?;
    encode::write_uint(out, SPACE)?;
    encode::write_uint(out, space)?;
    encode::write_uint(out, TUPLE)?;
    encode::write_array_len(out, 2)?;
    encode::write_str(out, key)?;
    encode::write_str(out, value)
}

/// The greeting, or the first answer.
pub fn hear(bytes: &[u8], greeted: &mut bool) -> Result<Option<Heard>, Failure> {
    if !*greeted {
        *greeted = bytes.len() >= GREETING;
        return Ok(greeted.then_some(Heard { bytes: GREETING, id: None }));
    }
    let Some((&[mark, length @ ..], rest)) = bytes.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(length) as usize;
    let Some(message) = rest.get(..length) else { return Ok(None) };
    match header(message) {
        Some((0, id)) if mark == 0xce => Ok(Some(Heard { bytes: 5 + length, id: Some(id) })),
        _ => Err(refused("Tarantool", message)),
    }
}

/// Status and id.
fn header(mut message: &[u8]) -> Option<(u64, u64)> {
    let (mut status, mut id) = (None, None);
    for _ in 0..decode::read_map_len(&mut message).ok()? {
        let key: u64 = decode::read_int(&mut message).ok()?;
        let value: u64 = decode::read_int(&mut message).ok()?;
        match key {
            REQUEST => status = Some(value),
            SYNC => id = Some(value),
            _ => {}
        }
    }
    Some((status?, id?))
}
