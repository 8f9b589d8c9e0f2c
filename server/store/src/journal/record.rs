//! The form of a journal: a first block that says whose it is, then records, each from the start of a block.
//!
//! A block has 512 bytes, so that no write touches the block of a record that is durable. The first has
//! the words `keepboth journal`, the version of this form (4), the store (16), the run (16) and the hash
//! of these (32). A record has the hash of all that follows of it (32), the run (16), the generation (8),
//! its number in the generation from 0 (8), 1 if all before it was durable when it was written (1), the
//! length of its rows (4), the rows ([`crate::rows`]), and zeros up to the end of its block. Hashes are
//! BLAKE3. A journal is written from its start again in each generation; what still stands there of an
//! earlier one is told by its number.

use std::ops::Range;

use keepboth_core::ids::StoreId;

use crate::layout::{BadRow, Reader, Writer};
use crate::word::Run;

/// What a record begins at a multiple of.
pub const BLOCK: usize = 512;
/// Bytes of a record before its rows.
const HEAD: usize = 32 + 16 + 8 + 8 + 1 + 4;
const MAGIC: &[u8; 16] = b"keepboth journal";
const VERSION: [u8; 4] = 1_u32.to_be_bytes();

/// The first block.
pub fn first(store: &StoreId, run: &Run) -> Vec<u8> {
    let mut block = Writer::default();
    block.bytes(MAGIC).bytes(&VERSION).bytes(&store.0).bytes(run);
    let hash = blake3::hash(&block.0);
    block.bytes(hash.as_bytes());
    block.0.resize(BLOCK, 0);
    block.0
}

/// What the first block says: the store and the run.
pub fn read_first(block: &[u8]) -> Result<(StoreId, Run), BadRow> {
    let mut read = Reader(block);
    if read.array()? != *MAGIC {
        return Err(BadRow("no journal"));
    }
    if read.array()? != VERSION {
        return Err(BadRow("in a form that this server does not know"));
    }
    let said = (read.store()?, read.array()?);
    let hashed = block.len() - read.0.len();
    if read.array()? != *blake3::hash(&block[..hashed]).as_bytes() {
        return Err(BadRow("damaged at its start"));
    }
    Ok(said)
}

/// What a record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub run: Run,
    pub generation: u64,
    pub number: u64,
    /// True if all before it was durable when it was written.
    pub follows: bool,
}

/// Makes the record of these rows.
pub fn encode(head: &Head, rows: &[u8], into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(&[0; 32]);
    into.extend_from_slice(&head.run);
    into.extend_from_slice(&head.generation.to_be_bytes());
    into.extend_from_slice(&head.number.to_be_bytes());
    into.push(head.follows.into());
    // A group has some megabytes.
    into.extend_from_slice(&(rows.len() as u32).to_be_bytes());
    into.extend_from_slice(rows);
    let hash = blake3::hash(&into[32..]);
    into[..32].copy_from_slice(hash.as_bytes());
    into.resize(into.len().next_multiple_of(BLOCK), 0);
}

/// The record of this run that stands here, and where its rows stand, if it is whole.
fn decode(bytes: &[u8], at: usize, run: &Run) -> Option<(Head, Range<usize>)> {
    let mut read = Reader(bytes.get(at..)?);
    let hash: [u8; 32] = read.array().ok()?;
    let head = Head {
        run: read.array().ok().filter(|of| of == run)?,
        generation: read.u64().ok()?,
        number: read.u64().ok()?,
        follows: read.u8().ok()? == 1,
    };
    let rows = read.sized().ok()?;
    let rows = at + HEAD..at + HEAD + rows.len();
    let whole = hash == *blake3::hash(&bytes[at + 32..rows.end]).as_bytes();
    whole.then_some((head, rows))
}

/// Why the records of a journal cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTail {
    /// The database is older than its journal.
    #[error("it goes on from a later state than that of the database, which is an older copy")]
    Later,
    /// A record is damaged that was durable.
    #[error("its record {number} at byte {at} is damaged, and later ones are whole")]
    Damaged {
        /// The record's number.
        number: u64,
        /// Where it stands.
        at: usize,
    },
}

/// Where the rows of this generation's records stand, in order. What was cut off while it was written
/// is left out.
pub fn tail(bytes: &[u8], run: &Run, generation: u64) -> Result<Vec<Range<usize>>, BadTail> {
    let (mut found, mut at) = (Vec::new(), BLOCK);
    while let Some((head, rows)) = decode(bytes, at, run) {
        if (head.generation, head.number) != (generation, found.len() as u64) {
            break;
        }
        at = rows.end.next_multiple_of(BLOCK);
        found.push(rows);
    }
    let number = found.len() as u64;
    for block in (at..bytes.len()).step_by(BLOCK) {
        let Some((head, _)) = decode(bytes, block, run) else { continue };
        if head.generation > generation {
            return Err(BadTail::Later);
        }
        if head.generation == generation && head.number > number && head.follows {
            return Err(BadTail::Damaged { number, at });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = [7; 16];

    /// A journal of records with these generations, numbers and rows.
    fn journal(records: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut record) = (first(&StoreId([1; 16]), &RUN), Vec::new());
        for (generation, number, rows) in records {
            let (generation, number) = (*generation, *number);
            encode(&Head { run: RUN, generation, number, follows: true }, rows, &mut record);
            bytes.extend_from_slice(&record);
        }
        bytes
    }

    fn rows(bytes: &[u8], generation: u64) -> Result<Vec<&[u8]>, BadTail> {
        Ok(tail(bytes, &RUN, generation)?.into_iter().map(|rows| &bytes[rows]).collect())
    }

    #[test]
    fn the_first_block_says_whose_it_is_unless_any_byte_of_it_is_wrong() {
        let block = first(&StoreId([1; 16]), &RUN);
        assert_eq!(read_first(&block), Ok((StoreId([1; 16]), RUN)));
        for at in 0..16 + 4 + 16 + 16 + 32 {
            let mut wrong = block.clone();
            wrong[at] ^= 1;
            assert!(read_first(&wrong).is_err(), "byte {at}");
            assert!(read_first(&block[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn records_of_the_generation_are_found_and_those_of_earlier_ones_are_not() {
        let bytes = journal(&[(3, 0, b"a"), (3, 1, &[9; 2_000]), (2, 2, b"old"), (2, 3, b"old")]);
        assert_eq!(rows(&bytes, 3).expect("whole"), [&b"a"[..], &[9; 2_000]]);
        assert_eq!(rows(&bytes, 4).expect("whole"), Vec::<&[u8]>::new());
        assert_eq!(rows(&bytes, 2), Err(BadTail::Later));
        assert_eq!(tail(&bytes, &[8; 16], 3), Ok(vec![]), "of another run");
    }

    #[test]
    fn a_last_record_cut_short_or_changed_anywhere_is_left_out() {
        let whole = journal(&[(1, 0, b"a"), (1, 1, &[9; 700])]);
        let last = 2 * BLOCK;
        for at in last..last + HEAD + 700 {
            assert_eq!(rows(&whole[..at], 1).expect("one").len(), 1, "cut at {at}");
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(rows(&wrong, 1).expect("one").len(), 1, "byte {at}");
        }
    }

    #[test]
    fn a_damaged_record_before_one_that_follows_it_is_an_error() {
        let whole = journal(&[(1, 0, b"a"), (1, 1, b"b"), (1, 2, b"c")]);
        for at in 2 * BLOCK..2 * BLOCK + HEAD + 1 {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            let damaged = BadTail::Damaged { number: 1, at: 2 * BLOCK };
            assert_eq!(rows(&wrong, 1), Err(damaged), "byte {at}");
        }
    }

    #[test]
    fn after_records_that_were_not_durable_nothing_proves_damage() {
        let (mut bytes, mut record) = (journal(&[(1, 0, b"a"), (1, 1, b"b")]), Vec::new());
        encode(&Head { run: RUN, generation: 1, number: 2, follows: false }, b"c", &mut record);
        bytes.extend_from_slice(&record);
        bytes[2 * BLOCK] ^= 1;
        assert_eq!(rows(&bytes, 1), Ok(vec![&b"a"[..]]));
    }
}
