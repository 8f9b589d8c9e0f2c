//! Rows of `keys` and `names` on their way to their tables.
//!
//! Keys come in no order, so each row would be written to a page of its own. Instead the rows of a batch are
//! appended to `late` as bytes, and kept in memory, sorted, where readers look for them before they ask the
//! tables. When there are many they move to the tables in the order of their keys, where neighbours share
//! pages: a part with each later batch, so that none of them waits for all. What came meanwhile moves the next
//! time. That is a log-structured merge tree (O'Neil and others, 1996) of two levels.
//!
//! Pieces of `late`, one behind the other, are rows as [`crate::rows`] has them. Those whose rows have moved go,
//! all at once. Rows are absolute, so what has moved and stands there still does no harm.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, WriteTransaction};

use crate::format::{KEYS, LATE, NAMES};
use crate::rows::{self, FREE, Rows};
use crate::tables::{Layer, Tables};

/// Bytes of a piece: with what redb says of it, it fills a page.
const PIECE_BYTES: usize = 32 * 1024 - 64;

/// A run of rows is merged with the next unless it is so many times as long: who reads looks into each.
const RUN_TIMES: usize = 4;

/// So many times as many rows move with a batch as come with it: those that move are there before as many wait.
const MOVED_TIMES: usize = 2;

/// The rows that are late as one transaction left them.
#[derive(Clone, Default)]
pub struct Late {
    /// The newer ones, which wait.
    waiting: Arc<Layer>,
    /// The older ones, of which some have moved already.
    moving: Arc<Layer>,
    /// How far those of `keys` and of `names` have moved.
    moved: Moved,
    /// The first piece that is none of theirs.
    end: u64,
    /// The next piece.
    next: u64,
}

/// Places behind which rows have yet to move.
#[derive(Clone)]
struct Moved {
    keys: Bound<Bytes>,
    names: Bound<Bytes>,
}

impl Default for Moved {
    fn default() -> Moved {
        Moved { keys: Bound::Unbounded, names: Bound::Unbounded }
    }
}

/// The newest commit's tables, and the rows that are late.
pub fn open(database: &Database) -> Result<(Late, Tables), redb::Error> {
    let mut late = Late::default();
    let mut all = Vec::new();
    for piece in database.begin_read()?.open_table(LATE)?.iter()? {
        let (number, piece) = piece?;
        all.extend_from_slice(piece.value());
        late.next = number.value() + 1;
    }
    late.wait(all.into_boxed_slice().into())?;
    let tables = Tables { late: late.layers(), ..Tables::open(database)? };
    Ok((late, tables))
}

impl Late {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.moving.is_empty()
    }

    /// What readers are to see above the tables, the newer first.
    pub fn layers(&self) -> [Arc<Layer>; 2] {
        [self.waiting.clone(), self.moving.clone()]
    }

    /// Writes a batch. Of its rows that are late, those that stand here move from so many bytes on.
    pub fn write(
        &mut self,
        batch: &Layer,
        to: &WriteTransaction,
        bytes_max: usize,
    ) -> Result<(), redb::Error> {
        if batch.keys.cleared || batch.names.cleared {
            self.settle(to)?;
            return batch.write(to);
        }
        batch.write_in_time(to)?;
        let mut rows = Rows::with_capacity(0);
        rows.add(KEYS, &batch.keys);
        rows.add(NAMES, &batch.names);
        // They are kept for long, and shall take no more room than they need.
        let rows = Bytes::from(rows.into_bytes().into_boxed_slice()).slice(FREE..);
        let mut pieces = to.open_table(LATE)?;
        for piece in rows.chunks(PIECE_BYTES) {
            pieces.insert(self.next, piece)?;
            self.next += 1;
        }
        drop(pieces);
        self.wait(rows)?;
        if self.moving.is_empty() && self.waiting.bytes >= bytes_max {
            (self.moving, self.end) = (std::mem::take(&mut self.waiting), self.next);
        }
        let count = batch.keys.len_max().max(batch.names.len_max());
        self.advance(MOVED_TIMES * count, to)
    }

    /// Moves all to the tables.
    pub fn settle(&mut self, to: &WriteTransaction) -> Result<(), redb::Error> {
        self.advance(usize::MAX, to)?;
        (self.moving, self.end) = (std::mem::take(&mut self.waiting), self.next);
        self.advance(usize::MAX, to)
    }

    fn wait(&mut self, rows: Bytes) -> Result<(), redb::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let waiting = Arc::make_mut(&mut self.waiting);
        let added = waiting.add(&rows);
        added.map_err(|e| redb::Error::Corrupted(format!("rows in its table \"late\": {e}")))?;
        waiting.keys.merge(RUN_TIMES);
        waiting.names.merge(RUN_TIMES);
        Ok(())
    }

    /// Moves so many rows of each table.
    fn advance(&mut self, count: usize, to: &WriteTransaction) -> Result<(), redb::Error> {
        if self.moving.is_empty() {
            return Ok(());
        }
        let (Layer { keys, names, .. }, moved) = (&*self.moving, &mut self.moved);
        let all_keys = rows::write_some(keys, to, KEYS, &mut moved.keys, count)?;
        let all_names = rows::write_some(names, to, NAMES, &mut moved.names, count)?;
        if all_keys && all_names {
            to.open_table(LATE)?.retain_in(..self.end, |_, _| false)?;
            (self.moving, self.moved) = Default::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use redb::ReadableTableMetadata;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::tables::create;

    type Model = (BTreeMap<String, Vec<u8>>, BTreeMap<[u8; 16], String>);

    fn database() -> Database {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.expect("a database");
        change(&database, create);
        database
    }

    fn change(
        database: &Database,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) {
        let transaction = database.begin_write().expect("a transaction");
        change(&transaction).expect("written");
        transaction.commit().expect("a commit");
    }

    /// Keys that come and go, and at times all at once.
    fn batch(rng: &mut StdRng, model: &mut Model) -> Layer {
        let (mut rows, mut layer) = (Rows::with_capacity(0), Layer::default());
        if rng.random_bool(0.02) {
            rows.of(KEYS).clear();
            model.0.clear();
        }
        for _ in 0..rng.random_range(0..20) {
            let n = rng.random_range(0..200_u8);
            let (key, hash, put) = (format!("key {n}"), [n; 16], rng.random_bool(0.7));
            if put {
                let row = vec![rng.random::<u8>(); rng.random_range(0..3_000)];
                rows.of(KEYS).put(&key[..], &row[..]);
                rows.of(NAMES).put(&hash, &key[..]);
                model.0.insert(key.clone(), row);
                model.1.insert(hash, key);
            } else {
                rows.of(KEYS).remove(&key[..]);
                rows.of(NAMES).remove(&hash);
                model.0.remove(&key);
                model.1.remove(&hash);
            }
        }
        layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
        layer
    }

    fn shown(tables: &Tables) -> Model {
        let keys = tables.keys().all().expect("rows").map(|row| {
            row.map(|(key, row)| (key.value().to_owned(), row.value().to_vec())).expect("a row")
        });
        let names = tables.names().all().expect("rows");
        let names = names.map(|row| row.map(|(k, n)| (*k.value(), n.value().to_owned())));
        (keys.collect(), names.map(|row| row.expect("a row")).collect())
    }

    fn pieces(database: &Database) -> u64 {
        let read = database.begin_read().expect("a transaction");
        read.open_table(LATE).expect("late").len().expect("a length")
    }

    #[test]
    fn late_rows_are_seen_from_the_start_and_are_all_in_their_tables_in_the_end() {
        let mut gone = 0;
        for seed in 0..100 {
            let (mut rng, mut model) = (StdRng::seed_from_u64(seed), Model::default());
            let (database, mut late) = (database(), Late::default());
            let bytes_max = [0, 3_000, 50_000, usize::MAX][seed as usize % 4];
            for _ in 0..rng.random_range(1..30) {
                let (rows, before) = (batch(&mut rng, &mut model), pieces(&database));
                change(&database, |to| late.write(&rows, to, bytes_max));
                gone += u64::from(pieces(&database) < before);
                let tables = Tables::open(&database).expect("tables");
                let tables = Tables { late: late.layers(), ..tables };
                assert_eq!(shown(&tables), model, "seed {seed}");
                // As after a crash.
                let (opened, tables) = open(&database).expect("tables");
                assert_eq!(shown(&tables), model, "seed {seed}: opened again");
                if rng.random_bool(0.1) {
                    late = opened;
                }
            }
            change(&database, |to| late.settle(to));
            assert!(late.is_empty() && pieces(&database) == 0, "seed {seed}");
            let tables = Tables::open(&database).expect("tables");
            assert_eq!(shown(&tables), model, "seed {seed}: settled");
        }
        assert!(gone > 10, "rows moved as they should {gone} times");
    }

    #[test]
    fn with_each_batch_no_more_moves_than_some_times_what_comes() {
        let (database, mut late, mut most) = (database(), Late::default(), 0);
        for batch in 0..100_u64 {
            let mut rows = Rows::with_capacity(0);
            for n in 0..50 {
                // In no order.
                let hash = *blake3::hash(&(batch * 50 + n).to_be_bytes()).as_bytes();
                let key = Bytes::copy_from_slice(&hash[..8]);
                rows.of(KEYS).put(&*format!("{key:x}"), &hash[..]);
            }
            let mut layer = Layer::default();
            layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
            let count = || {
                let read = database.begin_read().expect("a transaction");
                read.open_table(KEYS).expect("keys").len().expect("a length")
            };
            let before = count();
            change(&database, |to| late.write(&layer, to, 20_000));
            most = most.max(count() - before);
            assert!(late.waiting.bytes < 2 * 20_000, "{} bytes wait", late.waiting.bytes);
        }
        assert_eq!(most, 50 * MOVED_TIMES as u64);
    }

    #[test]
    fn pieces_that_are_no_rows_are_an_error() {
        let database = database();
        change(&database, |to| {
            to.open_table(LATE)?.insert(7, &b"\x09nothing"[..])?;
            Ok(())
        });
        assert!(matches!(open(&database), Err(redb::Error::Corrupted(_))));
    }
}
