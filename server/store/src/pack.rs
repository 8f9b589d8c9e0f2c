//! Tables of which the rows are appended: many rows by sequence stand together in one row of redb, a pack.
//!
//! A tree of single rows costs a search, a place in a leaf and half-empty pages for each of them. A pack
//! fills a page of redb and costs that once. Who reads one row reads its page: that is the smallest which
//! rows of such a size fill well.
//!
//! The key of a pack is its first sequence. It has the number of its rows (2 bytes); for each, how far its
//! sequence is from the first, and where its bytes end (4 bytes each); and then their bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use itertools::{EitherOrBoth, Itertools};
use redb::{AccessGuard, ReadOnlyTable, ReadableTable, StorageError, Table, WriteTransaction};

use crate::format::Packs;
use crate::pending::Pending;
use crate::view::{ABOVE, Above, bounds};

/// Sizes of redb's pages for packs of more than one row; each is a power of two.
const PAGE_MIN: usize = 4 * 1024;
const PAGE_MAX: usize = 32 * 1024;
/// What redb says on a page of its one row.
const PAGE_HEAD: usize = 16;
/// So many rows of one size fill a page well: less than one of them stays free.
const ROWS_GOOD: usize = 15;
/// Bytes before the first row's place.
const COUNT: usize = 2;
/// Bytes of a row's place.
const PLACE: usize = 8;

/// Most bytes of a pack to which a row of so many bytes is added.
fn bytes_max(row: usize) -> usize {
    let good = PAGE_HEAD + COUNT + ROWS_GOOD * (PLACE + row);
    good.min(PAGE_MAX).next_power_of_two().max(PAGE_MIN) - PAGE_HEAD
}

/// A pack as it stands in redb.
struct Pack<'r> {
    first: u64,
    count: usize,
    bytes: &'r [u8],
}

impl<'r> Pack<'r> {
    /// The pack with this first sequence; None if this is none.
    fn new(first: u64, bytes: &'r [u8]) -> Option<Pack<'r>> {
        let count = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
        let pack = Pack { first, count, bytes };
        let body = bytes.len().checked_sub(COUNT + count * PLACE)?;
        let is_whole = count > 0 && pack.place(0).0 == first && pack.place(count - 1).1 == body;
        is_whole.then_some(pack)
    }

    /// The sequence of a row, and where its bytes end.
    fn place(&self, at: usize) -> (u64, usize) {
        let place = &self.bytes[COUNT + at * PLACE..][..PLACE];
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| place[at + n]));
        (self.first.saturating_add(number(0).into()), number(4) as usize)
    }

    /// Where the bytes of a row stand; None if it ends before it begins.
    fn range(&self, at: usize) -> Option<Range<usize>> {
        let start = if at == 0 { 0 } else { self.place(at - 1).1 };
        let body = COUNT + self.count * PLACE;
        let range = body + start..body + self.place(at).1;
        (range.start <= range.end && range.end <= self.bytes.len()).then_some(range)
    }

    /// How many rows come before this sequence.
    fn before(&self, sequence: u64) -> usize {
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from.midpoint(to);
            match self.place(middle).0 < sequence {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        from
    }
}

/// One table of packs, as readers see it.
pub struct Packed<'t> {
    pub stored: &'t ReadOnlyTable<u64, &'static [u8]>,
    /// Newest first.
    pub above: [&'t Pending<u64>; ABOVE],
}

/// A row, wherever it stands.
pub enum Piece<'t> {
    Stored(Arc<AccessGuard<'t, &'static [u8]>>, Range<usize>),
    Pending(Bytes),
}

impl Piece<'_> {
    pub fn value(&self) -> &[u8] {
        match self {
            Piece::Stored(pack, range) => &pack.value()[range.clone()],
            Piece::Pending(bytes) => bytes,
        }
    }
}

/// Sequences with their rows.
pub type Pieces<'t> = Box<dyn Iterator<Item = Result<(u64, Piece<'t>), StorageError>> + 't>;

impl<'t> Packed<'t> {
    pub fn get(&self, sequence: u64) -> Result<Option<Piece<'t>>, StorageError> {
        if let Some(row) = Above(self.above).get(&sequence.to_le_bytes()) {
            return Ok(row.map(Piece::Pending));
        }
        let pack = self.stored.upper_bound(Bound::Included(sequence))?.peek_prev()?;
        let Some((first, row)) = pack else { return Ok(None) };
        let first = first.value();
        let pack = Pack::new(first, row.value()).ok_or_else(|| no_pack(first))?;
        let at = pack.before(sequence);
        if at == pack.count || pack.place(at).0 != sequence {
            return Ok(None);
        }
        let range = pack.range(at).ok_or_else(|| no_pack(first))?;
        Ok(Some(Piece::Stored(Arc::new(row), range)))
    }

    /// The rows of these sequences, in order.
    pub fn range(&self, range: impl RangeBounds<u64>) -> Result<Pieces<'t>, StorageError> {
        let wanted = (range.start_bound().cloned(), range.end_bound().cloned());
        let cleared = self.above.iter().any(|above| above.cleared);
        let stored = if cleared { None } else { Some(self.stored(wanted)?) };
        let above = Above(self.above).range(bounds::<u64, u64>(&wanted));
        let merged = above.merge_join_by(stored.into_iter().flatten(), |above, stored| {
            let stored = stored.as_ref().map_or(u64::MIN, |(sequence, _)| *sequence);
            sequence_of(above.key()).cmp(&stored)
        });
        Ok(Box::new(merged.filter_map(|either| match either {
            EitherOrBoth::Right(stored) => Some(stored),
            EitherOrBoth::Left(found) | EitherOrBoth::Both(found, _) => {
                let row = found.shared_row()?;
                Some(Ok((sequence_of(found.key()), Piece::Pending(row))))
            }
        })))
    }

    /// The rows of the database.
    fn stored(
        &self,
        wanted: (Bound<u64>, Bound<u64>),
    ) -> Result<impl Iterator<Item = Result<(u64, Piece<'t>), StorageError>> + 't, StorageError>
    {
        let start = match wanted.0 {
            Bound::Included(start) | Bound::Excluded(start) => start,
            Bound::Unbounded => 0,
        };
        // The first of them may stand in a pack that begins before.
        let covering = self.stored.upper_bound(Bound::Included(start))?.peek_prev()?;
        let start = covering.map_or(start, |(first, _)| first.value());
        let packs = self.stored.range((Bound::Included(start), wanted.1))?;
        let rows = packs.flat_map(move |pack| {
            let (first, row) = match pack {
                Ok((first, row)) => (first.value(), Arc::new(row)),
                Err(error) => return vec![Err(error)],
            };
            let Some(pack) = Pack::new(first, row.value()) else {
                return vec![Err(no_pack(first))];
            };
            let rows = (0..pack.count).filter(|at| wanted.contains(&pack.place(*at).0));
            let rows = rows.map(|at| {
                let range = pack.range(at).ok_or_else(|| no_pack(first))?;
                Ok((pack.place(at).0, Piece::Stored(row.clone(), range)))
            });
            rows.collect()
        });
        Ok(rows)
    }

    /// The last sequence; looks at all rows if some stand above the database.
    pub fn last(&self) -> Result<Option<u64>, StorageError> {
        if self.above.iter().all(|above| above.is_empty()) {
            let Some(last) = self.stored.range(0..)?.next_back().transpose()? else {
                return Ok(None);
            };
            let first = last.0.value();
            let pack = Pack::new(first, last.1.value()).ok_or_else(|| no_pack(first))?;
            return Ok(Some(pack.place(pack.count - 1).0));
        }
        // An error is said again and again, so the first one ends it.
        self.range(..)?.try_fold(None, |_, row| row.map(|(sequence, _)| Some(sequence)))
    }
}

/// As redb has it.
fn sequence_of(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn no_pack(first: u64) -> StorageError {
    StorageError::Corrupted(format!(
        "the pack of rows that begins with sequence {first} is damaged"
    ))
}

/// Writes what is said of one table.
pub fn write(
    pending: &Pending<u64>,
    transaction: &WriteTransaction,
    definition: Packs,
) -> Result<(), redb::Error> {
    if pending.is_empty() {
        return Ok(());
    }
    if pending.cleared {
        transaction.delete_table(definition)?;
    }
    let mut table = transaction.open_table(definition)?;
    let mut open: Option<Open<'_>> = None;
    for found in pending.iter() {
        let (sequence, row) = (sequence_of(found.key()), found.row());
        let full = |open: &Open<'_>| row.is_some_and(|row| open.is_full_before(sequence, row));
        if let Some(last) = open.take_if(|open| open.until <= sequence || full(open)) {
            last.close(&mut table)?;
        }
        let pack = match &mut open {
            Some(open) => open,
            none => none.insert(Open::at(&table, sequence, row)?),
        };
        match row {
            Some(row) => drop(pack.rows.insert(sequence, Cow::Borrowed(row))),
            None => drop(pack.rows.remove(&sequence)),
        }
        pack.bytes += row.map_or(0, |row| PLACE + row.len());
    }
    open.map_or(Ok(()), |open| open.close(&mut table))?;
    Ok(())
}

/// Rows that are to stand in one pack, or in several one behind the other.
struct Open<'r> {
    /// The key of the pack that they stood in.
    was: Option<u64>,
    /// Where the next pack begins.
    until: u64,
    rows: BTreeMap<u64, Cow<'r, [u8]>>,
    /// As many bytes as they have in a pack, or more.
    bytes: usize,
}

type PackTable<'t> = Table<'t, u64, &'static [u8]>;

impl<'r> Open<'r> {
    /// The pack that a sequence belongs in; a new one if this row would not fit behind it.
    fn at(
        table: &PackTable<'_>,
        sequence: u64,
        row: Option<&[u8]>,
    ) -> Result<Open<'r>, StorageError> {
        let next = match sequence.checked_add(1) {
            Some(next) => table.range(next..)?.next().transpose()?,
            None => None,
        };
        let until = next.map_or(u64::MAX, |(first, _)| first.value());
        let new = Open { was: None, until, rows: BTreeMap::new(), bytes: COUNT };
        let covering = table.upper_bound(Bound::Included(sequence))?.peek_prev()?;
        let Some((first, bytes)) = covering else { return Ok(new) };
        // One that makes no sense is left as it is, with what is still whole of it: readers are told of it.
        let Some(pack) = Pack::new(first.value(), bytes.value()) else { return Ok(new) };
        let bytes = pack.bytes.len();
        let there = Open { was: Some(pack.first), bytes, rows: BTreeMap::new(), until };
        let last = pack.place(pack.count - 1).0;
        if last < sequence
            && row.is_some_and(|row| there.bytes + PLACE + row.len() > bytes_max(row.len()))
        {
            return Ok(new);
        }
        let rows = (0..pack.count).map(|at| {
            let row = pack.bytes[pack.range(at)?].to_vec();
            Some((pack.place(at).0, Cow::Owned(row)))
        });
        Ok(rows.collect::<Option<_>>().map_or(new, |rows| Open { rows, ..there }))
    }

    /// True if this row comes behind the others and does not fit.
    fn is_full_before(&self, sequence: u64, row: &[u8]) -> bool {
        let behind = self.rows.last_key_value().is_some_and(|(last, _)| *last < sequence);
        behind && self.bytes + PLACE + row.len() > bytes_max(row.len())
    }

    /// Writes them.
    fn close(self, table: &mut PackTable<'_>) -> Result<(), StorageError> {
        let mut packs: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut rows = self.rows.iter().peekable();
        while let Some((first, _)) = rows.peek().copied() {
            let mut bytes = COUNT;
            let pack: Vec<_> = rows
                .peeking_take_while(|(sequence, row)| {
                    bytes += PLACE + row.len();
                    let fits =
                        bytes <= bytes_max(row.len()) && u32::try_from(*sequence - first).is_ok();
                    *sequence == first || fits
                })
                .collect();
            packs.push((*first, encode(*first, &pack)));
        }
        if let Some(was) = self.was.filter(|was| packs.first().is_none_or(|(now, _)| now != was)) {
            table.remove(was)?;
        }
        for (first, pack) in packs {
            table.insert(first, &pack[..])?;
        }
        Ok(())
    }
}

fn encode(first: u64, rows: &[(&u64, &Cow<'_, [u8]>)]) -> Vec<u8> {
    let body: usize = rows.iter().map(|(_, row)| row.len()).sum();
    let mut bytes = Vec::with_capacity(COUNT + rows.len() * PLACE + body);
    // A pack of more than a page has one row.
    bytes.extend_from_slice(&(rows.len() as u16).to_be_bytes());
    let mut end = 0;
    for (sequence, row) in rows {
        end += row.len();
        bytes.extend_from_slice(&((*sequence - first) as u32).to_be_bytes());
        bytes.extend_from_slice(&(end as u32).to_be_bytes());
    }
    rows.iter().for_each(|(_, row)| bytes.extend_from_slice(row));
    bytes
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, ReadableTableMetadata};

    use super::*;
    use crate::format::VALUES;
    use crate::rows::{FREE, Rows};
    use crate::tables::{Layer, Tables, create};

    fn database() -> Database {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.expect("a database");
        change(&database, |to| create(to).expect("tables"));
        database
    }

    fn change(database: &Database, change: impl FnOnce(&WriteTransaction)) {
        let transaction = database.begin_write().expect("a transaction");
        change(&transaction);
        transaction.commit().expect("a commit");
    }

    fn give(database: &Database, rows: Rows) {
        let mut layer = Layer::default();
        layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
        change(database, |to| layer.write(to).expect("written"));
    }

    fn shown(tables: &Tables, range: impl RangeBounds<u64>) -> BTreeMap<u64, Vec<u8>> {
        let rows = tables.values().range(range).expect("rows");
        rows.map(|row| row.map(|(at, row)| (at, row.value().to_vec())).expect("a row")).collect()
    }

    #[test]
    fn packs_hold_what_was_written_wherever_it_belongs() {
        for seed in 0..60 {
            let (mut rng, database) = (StdRng::seed_from_u64(seed), database());
            let (mut model, mut end) = (BTreeMap::new(), 1);
            for _ in 0..20 {
                let mut rows = Rows::with_capacity(0);
                let mut values = rows.of(VALUES);
                if rng.random_bool(0.02) {
                    values.clear();
                    model.clear();
                }
                for _ in 0..rng.random_range(0..40) {
                    // Most come at the end, and some sequences stay free.
                    let at = match rng.random_bool(0.7) {
                        true => end,
                        false => rng.random_range(1..end + 1),
                    };
                    end = end.max(at + rng.random_range(1..4));
                    if rng.random_bool(0.8) {
                        let large = if rng.random_bool(0.05) { 40_000 } else { 3_000 };
                        let row = vec![rng.random::<u8>(); rng.random_range(0..large)];
                        values.put(at, &row[..]);
                        model.insert(at, row);
                    } else {
                        values.remove(at);
                        model.remove(&at);
                    }
                }
                give(&database, rows);
                let tables = Tables::open(&database).expect("tables");
                assert_eq!(shown(&tables, ..), model, "seed {seed}");
                let (from, to) = (rng.random_range(0..end), rng.random_range(0..end + 9));
                let part = (Bound::Excluded(from), Bound::Included(from + to));
                let expected = model.range(part).map(|(at, row)| (*at, row.clone())).collect();
                assert_eq!(shown(&tables, part), expected, "seed {seed}: {part:?}");
                for at in 0..end + 2 {
                    let row = tables.values().get(at).expect("read");
                    let row = row.as_ref().map(Piece::value);
                    assert_eq!(row, model.get(&at).map(|row| &row[..]), "seed {seed}: {at}");
                }
                let last = tables.values().last().expect("read");
                assert_eq!(last, model.last_key_value().map(|(at, _)| *at), "seed {seed}");
            }
        }
    }

    #[test]
    fn packs_of_appended_rows_fill_the_pages_of_the_database() {
        for size in [30, 100, 300, 1_024, 2_500, 5_000] {
            let database = database();
            for group in 0..50 {
                let mut rows = Rows::with_capacity(0);
                let mut values = rows.of(VALUES);
                (0..20).for_each(|n| values.put(1 + group * 20 + n, &vec![7; size][..]));
                give(&database, rows);
            }
            let read = database.begin_read().expect("a transaction");
            let stats = read.open_table(VALUES).expect("values").stats().expect("statistics");
            let pages = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
            // With the root above them, and a last one that is not full.
            let rows = (1_000 * (size + PLACE) + 2 * PAGE_MIN) as u64;
            assert!(pages < rows * 112 / 100, "{pages} bytes for 1,000 rows of {size}");
        }
    }

    #[test]
    fn a_damaged_pack_is_an_error_of_its_own_rows_and_others_are_written() {
        let database = database();
        let mut rows = Rows::with_capacity(0);
        rows.of(VALUES).put(5, &b"abc"[..]);
        give(&database, rows);
        for damaged in
            [&b""[..], b"\0", b"\0\0", b"\0\x01\0\0\0\0", b"\xff\xff\0\0\0\0\0\0\0\x03abc"]
        {
            change(&database, |to| {
                drop(to.open_table(VALUES).expect("values").insert(5, damaged).expect("written"));
            });
            let tables = Tables::open(&database).expect("tables");
            assert!(tables.values().get(5).is_err() && tables.values().get(4).is_ok());
            assert!(tables.values().range(..).expect("rows").any(|row| row.is_err()));
            let mut rows = Rows::with_capacity(0);
            rows.of(VALUES).put(6, &b"new"[..]);
            give(&database, rows);
            let tables = Tables::open(&database).expect("tables");
            let row = tables.values().get(6).expect("read").expect("a row");
            assert_eq!(row.value(), b"new");
            assert!(tables.values().get(5).is_err());
        }
    }
    #[test]
    fn a_pack_with_one_damaged_row_keeps_the_others_when_it_would_be_rewritten() {
        let database = database();
        let mut rows = Rows::with_capacity(0);
        let mut values = rows.of(VALUES);
        (5..8).for_each(|at| values.put(at, &b"abc"[..]));
        give(&database, rows);
        change(&database, |to| {
            let mut table = to.open_table(VALUES).expect("values");
            let mut pack = table.get(5).expect("read").expect("a pack").value().to_vec();
            // The second row ends behind the third.
            pack[COUNT + 2 * PLACE - 1] = 200;
            table.insert(5, &pack[..]).expect("written");
        });
        let mut rows = Rows::with_capacity(0);
        rows.of(VALUES).remove(7);
        give(&database, rows);
        let tables = Tables::open(&database).expect("tables");
        let row = tables.values().get(5).expect("read").expect("a row");
        assert_eq!(row.value(), b"abc");
        assert!(tables.values().get(6).is_err());
    }
}
