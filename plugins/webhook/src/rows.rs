//! The rows of the table. Each begins with a letter and the name of its target with a NUL behind it.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | a place | `p`, target | store, epoch and sequence up to which the target has read the feed |
//! | what waits | `q`, target, key | sequence, attempts, when it is due |
//! | what is dead | `d`, target, sequence | attempts, when it died, length of the key, key, why |

use keepboth_core::ids::StoreId;

use crate::queue::Waiting;

/// The letters of the rows.
pub const DEAD: u8 = b'd';
/// See [`DEAD`].
pub const PLACE: u8 = b'p';
/// See [`DEAD`].
pub const WAITING: u8 = b'q';
/// All of them.
pub const LETTERS: [u8; 3] = [DEAD, PLACE, WAITING];

/// The key of a row.
pub fn key(letter: u8, target: &str, rest: &[u8]) -> Vec<u8> {
    [&[letter][..], target.as_bytes(), &[0], rest].concat()
}

/// The target of a row, and what stands behind it in its key.
pub fn take_apart(key: &[u8]) -> Option<(&str, &[u8])> {
    let end = key.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(key.get(1..end)?).ok()?, &key[end + 1..]))
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*number)
}

/// Up to where a target has read the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The store whose feed it is.
    pub store: StoreId,
    /// The store's epoch.
    pub epoch: u64,
    /// The sequence of the last change that it has read.
    pub sequence: u64,
}

impl Place {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        [&self.store.0[..], &self.epoch.to_be_bytes(), &self.sequence.to_be_bytes()].concat()
    }

    /// Reads the value of its row.
    pub fn decode(mut bytes: &[u8]) -> Option<Place> {
        let bytes = &mut bytes;
        let store = StoreId(number(bytes)?);
        let (epoch, sequence) = (number(bytes)?, number(bytes)?);
        let place = Place {
            store,
            epoch: u64::from_be_bytes(epoch),
            sequence: u64::from_be_bytes(sequence),
        };
        bytes.is_empty().then_some(place)
    }
}

impl Waiting {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        let Waiting { sequence, attempts, due } = self;
        [&sequence.to_be_bytes()[..], &attempts.to_be_bytes(), &due.to_be_bytes()].concat()
    }

    /// Reads the value of its row.
    pub fn decode(mut bytes: &[u8]) -> Option<Waiting> {
        let bytes = &mut bytes;
        let waiting = Waiting {
            sequence: u64::from_be_bytes(number(bytes)?),
            attempts: u32::from_be_bytes(number(bytes)?),
            due: u64::from_be_bytes(number(bytes)?),
        };
        bytes.is_empty().then_some(waiting)
    }
}

/// An event that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The key.
    pub key: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub at: u64,
    /// Why.
    pub why: String,
}

impl Dead {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        // A key is far below 64 KiB.
        let length = u16::try_from(self.key.len()).unwrap_or(u16::MAX);
        let (attempts, at) = (self.attempts.to_be_bytes(), self.at.to_be_bytes());
        let numbers = [&attempts[..], &at, &length.to_be_bytes()].concat();
        [&numbers[..], self.key.as_bytes(), self.why.as_bytes()].concat()
    }

    /// Reads the value of its row.
    pub fn decode(mut bytes: &[u8]) -> Option<Dead> {
        let bytes = &mut bytes;
        let (attempts, at) = (number(bytes)?, number(bytes)?);
        let length = usize::from(u16::from_be_bytes(number(bytes)?));
        let (key, why) = bytes.split_at_checked(length)?;
        Some(Dead {
            attempts: u32::from_be_bytes(attempts),
            at: u64::from_be_bytes(at),
            key: String::from_utf8(key.to_vec()).ok()?,
            why: String::from_utf8(why.to_vec()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_their_bytes() {
        let place = Place { store: StoreId([7; 16]), epoch: 2, sequence: u64::MAX };
        assert_eq!(Place::decode(&place.encode()), Some(place));
        let waiting = Waiting { sequence: 5, attempts: 3, due: 1_700_000_000_000 };
        assert_eq!(Waiting::decode(&waiting.encode()), Some(waiting));
        let dead = Dead { key: "é/1".into(), attempts: 1, at: 9, why: "it answered 400".into() };
        assert_eq!(Dead::decode(&dead.encode()), Some(dead));
        for bytes in [&[][..], &[1; 7], &[0xff; 100]] {
            assert_eq!(
                (Place::decode(bytes), Waiting::decode(bytes), Dead::decode(bytes)),
                (None, None, None)
            );
        }
        assert_eq!(take_apart(&key(WAITING, "crm", b"a\0b")), Some(("crm", &b"a\0b"[..])));
    }
}
