//! The rows of the table, which all begin with a letter and the id of their index.
//!
//! | row | key | value |
//! | --- | --- | --- |
//! | an entry | `e`, id, scalar, name of the object | its version, and its key if the name is an address |
//! | what a key has | `k`, id, key | its entries, each from the scalar on and with its length before it |
//! | a place | `p`, id | store, epoch and sequence up to which the index has followed, and its number of entries |

use keepboth_core::ids::StoreId;

/// The letters of the rows.
pub const ENTRY: u8 = b'e';
/// See [`ENTRY`].
pub const KEY: u8 = b'k';
/// See [`ENTRY`].
pub const PLACE: u8 = b'p';

/// The key of a row.
pub fn key(letter: u8, id: &[u8; 8], rest: &[u8]) -> Vec<u8> {
    [&[letter][..], id, rest].concat()
}

/// How far an index has followed, and how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The store whose feed it is.
    pub store: StoreId,
    /// The store's epoch.
    pub epoch: u64,
    /// The sequence of the last change that is in the index.
    pub sequence: u64,
    /// The entries.
    pub entries: u64,
}

impl Place {
    /// The value of its row.
    pub fn encode(&self) -> Vec<u8> {
        let numbers = [self.epoch, self.sequence, self.entries].map(u64::to_be_bytes);
        [&self.store.0[..], &numbers.concat()].concat()
    }

    /// Reads the value of its row.
    pub fn decode(bytes: &[u8]) -> Option<Place> {
        let (store, rest) = bytes.split_first_chunk()?;
        let number = |at: usize| {
            let bytes = rest.get(at * 8..at * 8 + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        let place = Place {
            store: StoreId(*store),
            epoch: number(0)?,
            sequence: number(1)?,
            entries: number(2)?,
        };
        (rest.len() == 24).then_some(place)
    }
}

/// Entries one after another, each with its length.
pub fn join<'a>(entries: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut joined = Vec::new();
    for entry in entries {
        // An entry is a scalar and a name, so far below 64 KiB.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        joined.extend(length.to_be_bytes());
        joined.extend_from_slice(entry);
    }
    joined
}

/// The entries again; None if it is no list of entries.
pub fn split(mut joined: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while !joined.is_empty() {
        let (length, rest) = joined.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        joined = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_their_bytes() {
        let place = Place { store: StoreId([7; 16]), epoch: 1, sequence: u64::MAX, entries: 3 };
        assert_eq!(Place::decode(&place.encode()), Some(place));
        assert_eq!(Place::decode(&place.encode()[1..]), None);
        let entries = vec![b"one".to_vec(), Vec::new(), vec![0; 1_600]];
        assert_eq!(split(&join(&entries)), Some(entries));
        assert_eq!(split(&[0, 2, 1]), None);
    }
}
