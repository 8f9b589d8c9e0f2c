//! The form of a journal: two files, each with a first block that says whose it is, then records, each from
//! the start of a block.
//!
//! A block has 512 bytes, so that no write touches the block of a record that is durable. The first has
//! the words `keepboth journal`, the version of this form (4), the store (16), the run (16) and the checksum
//! of these (16). A record has the checksum of all that follows of it (16), the run (16), the generation (8),
//! its number in the run from 0 (8), 1 if all before it was durable when it was written (1), the
//! length of its rows (4), the rows ([`crate::rows`]), and zeros up to the end of its block. Checksums are
//! XXH3 with 128 bits, big-endian: they find what was cut off or damaged, and nobody can make a value that
//! would be taken for a record, since nobody is told the run. Even generations stand in the first file and odd ones in the second, each from its start: what
//! still stands there of an earlier one is told by its generation. A generation begins when all of the one
//! before is durable.

use std::ops::Range;

use keepboth_core::ids::StoreId;
use twox_hash::XxHash3_128;

use crate::journal::half;
use crate::layout::{BadRow, Reader, Writer};
use crate::rows::FREE;
use crate::word::{Run, Word};

/// What a record begins at a multiple of.
pub const BLOCK: usize = 512;
/// Bytes of a record before its rows.
pub const HEAD: usize = SUM + 16 + 8 + 8 + 1 + 4;
/// Bytes of a checksum.
const SUM: usize = 16;
const _: () = assert!(HEAD == FREE);
const MAGIC: &[u8; 16] = b"keepboth journal";
const VERSION: [u8; 4] = 2_u32.to_be_bytes();

fn checksum(bytes: &[u8]) -> [u8; SUM] {
    XxHash3_128::oneshot(bytes).to_be_bytes()
}

/// The first block.
pub fn first(store: &StoreId, run: &Run) -> Vec<u8> {
    let mut block = Writer::default();
    block.bytes(MAGIC).bytes(&VERSION).bytes(&store.0).bytes(run);
    let sum = checksum(&block.0);
    block.bytes(&sum);
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
    let summed = block.len() - read.0.len();
    if read.array()? != checksum(&block[..summed]) {
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

/// Makes the record of rows in the place where they stand, behind [`HEAD`] free bytes.
pub fn encode(head: &Head, record: &mut Vec<u8>) {
    let mut said = Writer::default();
    said.bytes(&head.run).u64(head.generation).u64(head.number).u8(head.follows.into());
    // A group has some megabytes.
    said.length(record.len() - HEAD);
    record[SUM..HEAD].copy_from_slice(&said.0);
    let sum = checksum(&record[SUM..]);
    record[..SUM].copy_from_slice(&sum);
    record.resize(record.len().next_multiple_of(BLOCK), 0);
}

/// The record of this run that stands here, and where its rows stand, if it is whole.
fn decode(bytes: &[u8], at: usize, run: &Run) -> Option<(Head, Range<usize>)> {
    let mut read = Reader(bytes.get(at..)?);
    let sum: [u8; SUM] = read.array().ok()?;
    let head = Head {
        run: read.array().ok().filter(|of| of == run)?,
        generation: read.u64().ok()?,
        number: read.u64().ok()?,
        follows: read.u8().ok()? == 1,
    };
    let rows = read.sized().ok()?;
    let rows = at + HEAD..at + HEAD + rows.len();
    let whole = sum == checksum(&bytes[at + SUM..rows.end]);
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
        /// The file, and where the record stands in it.
        file: usize,
        at: usize,
    },
}

/// Where rows stand: in which file, and where there.
pub type Rows = (usize, Range<usize>);

/// Where the rows of the records stand that a database lacks which says this. What was cut off while it
/// was written is left out.
pub fn tail(files: [&[u8]; 2], word: &Word) -> Result<Vec<Rows>, BadTail> {
    let generations = [word.generation, word.generation.saturating_add(1)];
    let (mut found, mut ends, mut file) = (Vec::new(), [BLOCK; 2], half(word.generation));
    // The database may have the first ones, and then it does not matter whether they are whole.
    let mut next = None;
    for generation in generations {
        let at = half(generation);
        while let Some((head, rows)) = decode(files[at], ends[at], &word.run) {
            let fits = next.map_or(head.number <= word.number, |next| head.number == next);
            if head.generation != generation || !fits {
                break;
            }
            (ends[at], file) = (rows.end.next_multiple_of(BLOCK), at);
            next = Some(head.number + 1);
            if head.number >= word.number {
                found.push((at, rows));
            }
        }
        next = next.max(Some(word.number));
    }
    let (number, at) = (next.unwrap_or(word.number), ends[file]);
    for (bytes, end) in files.into_iter().zip(ends) {
        for block in (end..bytes.len()).step_by(BLOCK) {
            let Some((head, _)) = decode(bytes, block, &word.run) else { continue };
            if head.generation > generations[1] {
                return Err(BadTail::Later);
            }
            let needed = head.generation >= word.generation && head.number >= number;
            if needed && head.follows {
                return Err(BadTail::Damaged { number, file, at });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = [7; 16];
    /// Rows of a record: its generation, its number, itself.
    type Record<'r> = (u64, u64, &'r [u8]);

    fn record(generation: u64, number: u64, follows: bool, rows: &[u8]) -> Vec<u8> {
        let mut record = [&[0; HEAD], rows].concat();
        encode(&Head { run: RUN, generation, number, follows }, &mut record);
        record
    }

    /// A file of records.
    fn file(records: &[Record<'_>]) -> Vec<u8> {
        let mut bytes = first(&StoreId([1; 16]), &RUN);
        for (generation, number, rows) in records {
            bytes.extend_from_slice(&record(*generation, *number, true, rows));
        }
        bytes
    }

    /// The rows that a database lacks which has so many of this generation.
    fn rows(files: [&[u8]; 2], generation: u64, number: u64) -> Result<Vec<&[u8]>, BadTail> {
        let word = Word { run: RUN, generation, number, lossy: false };
        Ok(tail(files, &word)?.into_iter().map(|(file, rows)| &files[file][rows]).collect())
    }

    #[test]
    fn the_first_block_says_whose_it_is_unless_any_byte_of_it_is_wrong() {
        let block = first(&StoreId([1; 16]), &RUN);
        assert_eq!(read_first(&block), Ok((StoreId([1; 16]), RUN)));
        for at in 0..16 + 4 + 16 + 16 + SUM {
            let mut wrong = block.clone();
            wrong[at] ^= 1;
            assert!(read_first(&wrong).is_err(), "byte {at}");
            assert!(read_first(&block[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn records_of_two_generations_are_found_and_those_of_earlier_ones_are_not() {
        let odd = file(&[(3, 5, b"a"), (3, 6, &[9; 2_000]), (1, 2, b"old")]);
        let even = file(&[(4, 7, b"b"), (2, 3, b"old"), (2, 4, b"old")]);
        let all = |generation, number| rows([&even, &odd], generation, number);
        assert_eq!(all(3, 5).expect("whole"), [&b"a"[..], &[9; 2_000], b"b"]);
        assert_eq!(all(3, 6).expect("whole"), [&[9; 2_000][..], b"b"]);
        assert_eq!(all(3, 7).expect("whole"), [&b"b"[..]]);
        assert_eq!(all(3, 8).expect("whole"), Vec::<&[u8]>::new());
        assert_eq!(all(4, 7).expect("whole"), [&b"b"[..]]);
        assert_eq!(all(2, 3), Err(BadTail::Later));
        let other = Word { run: [8; 16], generation: 3, number: 5, lossy: false };
        assert_eq!(tail([&even, &odd], &other), Ok(vec![]), "of another run");
    }

    #[test]
    fn a_last_record_cut_short_or_changed_anywhere_is_left_out() {
        for odd in [&[][..], &[(1, 1, &[9; 700][..])]] {
            let even: &[Record<'_>] = &[(0, 0, b"a"), (0, 1, &[9; 700])];
            let (even, odd) = (file(&even[..2 - odd.len()]), file(odd));
            let two = rows([&even, &odd], 0, 0).expect("whole").len();
            assert_eq!(two, 2);
            let (last, start) = if odd.len() > BLOCK { (&odd, BLOCK) } else { (&even, 2 * BLOCK) };
            for at in start..start + HEAD + 700 {
                let mut wrong = last.clone();
                wrong[at] ^= 1;
                for broken in [&last[..at], &wrong] {
                    let files = match odd.len() > BLOCK {
                        true => [&even[..], broken],
                        false => [broken, &odd],
                    };
                    assert_eq!(rows(files, 0, 0).expect("one").len(), 1, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_damaged_record_before_one_that_follows_it_is_an_error_in_the_same_and_in_the_next_file() {
        let records: [Record<'_>; 4] = [(0, 0, b"a"), (0, 1, b"b"), (0, 2, b"c"), (1, 3, b"d")];
        let odd = file(&records[3..]);
        for (even, odd) in
            [(file(&records[..3]), first(&StoreId([1; 16]), &RUN)), (file(&records[..2]), odd)]
        {
            for at in 2 * BLOCK..2 * BLOCK + HEAD + 1 {
                let mut wrong = even.clone();
                wrong[at] ^= 1;
                let damaged = BadTail::Damaged { number: 1, file: 0, at: 2 * BLOCK };
                assert_eq!(rows([&wrong, &odd], 0, 0), Err(damaged), "byte {at}");
                assert_eq!(rows([&wrong, &odd], 0, 1), Err(damaged), "byte {at}");
            }
        }
    }

    #[test]
    fn damage_of_what_the_database_has_does_no_harm() {
        let (mut even, odd) = (file(&[(0, 0, b"a"), (0, 1, b"b")]), file(&[(1, 2, b"c")]));
        even[2 * BLOCK] ^= 1;
        assert_eq!(rows([&even, &odd], 0, 2), Ok(vec![&b"c"[..]]));
    }

    #[test]
    fn after_records_that_were_not_durable_nothing_proves_damage() {
        let mut bytes = file(&[(0, 0, b"a"), (0, 1, b"b")]);
        bytes.extend_from_slice(&record(0, 2, false, b"c"));
        bytes[2 * BLOCK] ^= 1;
        assert_eq!(rows([&bytes, &file(&[])], 0, 0), Ok(vec![&b"a"[..]]));
    }
}
