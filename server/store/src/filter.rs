//! Which keys are surely new: a Bloom filter (Bloom, 1970) of all keys that have a row, so that who puts a new
//! key need not look for it in the tables.
//!
//! It is made when a store is first written to, from the table of keys, by a thread of its own unless there
//! are few; until then every key may be known. A key that went stays in it until it is made anew, which
//! happens when it has become too full.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use fastbloom::AtomicBloomFilter;
use redb::StorageError;

use crate::tables::{Tables, stored_key};

/// The first half of a key's hash.
type Hash = [u8; 16];

/// Of so many unknown keys one is taken for a known one, when the filter is full: about ten bits for each key.
const WRONG_OF: f64 = 1.0 / 100.0;
/// Keys for which a filter has room at least.
const ROOM_MIN: u64 = 4 * 1024;
/// With more keys there is none: it would take more than 40 MiB.
const KEYS_MAX: u64 = 16 * 1024 * 1024;
/// So few keys are read at once, without a thread.
const FEW: u64 = 1_000;

/// The filter of a store, as the thread that commits has it.
#[derive(Default)]
pub struct Filter {
    /// None until it is made.
    made: Option<Arc<Known>>,
    making: Option<Making>,
    /// True if there is none any more: there are too many keys, or it could not be made.
    ended: bool,
}

/// Keys that have, or had, a row.
pub struct Known {
    bits: AtomicBloomFilter,
    /// How many were added.
    added: AtomicU64,
    /// How many it is made for.
    room: u64,
}

/// A filter that is being made. What is added meanwhile goes into it as well.
struct Making {
    filter: Arc<Known>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), StorageError>>>,
}

impl Known {
    /// With room for twice as many.
    fn new(keys: u64) -> Known {
        let room = (2 * keys).max(ROOM_MIN);
        let bits = AtomicBloomFilter::with_false_pos(WRONG_OF).expected_items(room as usize);
        Known { bits, added: AtomicU64::new(0), room }
    }

    /// True if no key with this hash has a row; false says nothing.
    pub fn is_new(&self, hash: &Hash) -> bool {
        !self.bits.contains_hash(short(hash))
    }

    fn add(&self, hash: &Hash) {
        self.bits.insert_hash(short(hash));
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.added.load(Ordering::Relaxed) > self.room
    }

    /// Adds all that have a row.
    fn read(&self, tables: &Tables, stop: &AtomicBool) -> Result<(), StorageError> {
        for row in tables.keys().all()? {
            let (key, _) = row?;
            let key = stored_key(key.value()).map_err(unreadable)?;
            self.add(&key.hash());
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }
}

/// The hash is one of BLAKE3, so any of its bits will do.
fn short(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl Filter {
    /// What is known by now. Begins to make a filter of the newest tables if there is none or it is full.
    pub fn known(&mut self, tables: &Tables) -> Option<Arc<Known>> {
        self.take_made();
        let wanted = self.made.as_ref().is_none_or(|made| made.is_full());
        if wanted && self.making.is_none() && !self.ended && self.make(tables).is_err() {
            // Who needs the pages that cannot be read will tell.
            self.ended = true;
        }
        self.made.clone()
    }

    /// A key with this hash will have a row.
    pub fn add(&self, hash: &Hash) {
        let making = self.making.as_ref().map(|making| &making.filter);
        self.made.iter().chain(making).for_each(|filter| filter.add(hash));
    }

    fn make(&mut self, tables: &Tables) -> Result<(), StorageError> {
        let keys = tables.keys().len_max()?;
        if keys > KEYS_MAX {
            *self = Filter { ended: true, ..Filter::default() };
            return Ok(());
        }
        let (filter, stop) = (Arc::new(Known::new(keys)), Arc::new(AtomicBool::new(false)));
        if keys <= FEW {
            // redb may panic on pages that were damaged, and who writes elsewhere need not know of them.
            let read = catch_unwind(AssertUnwindSafe(|| filter.read(tables, &stop)));
            read.unwrap_or_else(|_| Err(unreadable("its pages contradict each other")))?;
            self.made = Some(filter);
            return Ok(());
        }
        let (tables, into, stopped) = (tables.clone(), filter.clone(), stop.clone());
        let thread = thread::Builder::new().name("filter".into());
        let thread = thread.spawn(move || into.read(&tables, &stopped))?;
        self.making = Some(Making { filter, stop, thread: Some(thread) });
        Ok(())
    }

    /// Takes the one that was being made, if it is whole.
    fn take_made(&mut self) {
        let ended =
            |making: &mut Making| making.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let Some(mut making) = self.making.take_if(ended) else { return };
        match making.thread.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => self.made = Some(making.filter.clone()),
            _ => self.ended = true,
        }
    }
}

fn unreadable(why: impl ToString) -> StorageError {
    StorageError::Corrupted(why.to_string())
}

impl Drop for Making {
    /// Nothing is read any more when the database is closed.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use keepboth_core::name::Key;
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::format::KEYS;
    use crate::rows::{FREE, Rows};
    use crate::tables::{Layer, create};

    fn key(n: u64) -> Key {
        Key::new(&n.to_string()).expect("a key")
    }

    fn hash(n: u64) -> Hash {
        key(n).hash()
    }

    /// Rows of these keys, half of them in the database and half above it.
    fn tables(keys: u64) -> (Database, Tables) {
        let layer = |from, to| {
            let mut rows = Rows::with_capacity(0);
            let mut keys = rows.of(KEYS);
            (from..to).for_each(|n: u64| keys.put(key(n).as_str(), &b"a row"[..]));
            let mut layer = Layer::default();
            layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
            layer
        };
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.expect("a database");
        let transaction = database.begin_write().expect("a transaction");
        create(&transaction).expect("tables");
        layer(0, keys / 2).write(&transaction).expect("written");
        transaction.commit().expect("a commit");
        let newer = Arc::new(layer(keys / 2, keys));
        let tables = Tables { newer, ..Tables::open(&database).expect("tables") };
        (database, tables)
    }

    /// The filter when it is made.
    fn made(filter: &mut Filter, tables: &Tables) -> Arc<Known> {
        while !filter.ended {
            let known = filter.known(tables);
            match known.filter(|_| filter.making.is_none()) {
                Some(known) => return known,
                None => thread::yield_now(),
            }
        }
        panic!("the filter could not be made");
    }

    /// How many of a thousand keys that nobody put are taken for known ones.
    fn wrong(known: &Known) -> usize {
        (1 << 40..(1 << 40) + 1_000).filter(|n| !known.is_new(&hash(*n))).count()
    }

    #[test]
    fn no_key_of_the_tables_is_new_and_nearly_all_others_are() {
        for keys in [0, 1, 999, 20_000] {
            let (mut filter, (_database, tables)) = (Filter::default(), tables(keys));
            let known = made(&mut filter, &tables);
            assert!((0..keys).all(|n| !known.is_new(&hash(n))), "{keys} keys");
            assert!(wrong(&known) < 50, "{} of 1,000 beside {keys} keys", wrong(&known));
        }
    }

    #[test]
    fn a_key_that_is_added_while_the_filter_is_made_is_not_new() {
        let (mut filter, (_database, tables)) = (Filter::default(), tables(20_000));
        assert!(filter.known(&tables).is_none(), "nothing is known at first");
        (20_000..30_000).for_each(|n| filter.add(&hash(n)));
        let known = made(&mut filter, &tables);
        filter.add(&hash(30_000));
        assert!((0..=30_000).all(|n| !known.is_new(&hash(n))));
    }

    #[test]
    fn a_full_filter_is_made_anew_without_the_keys_that_went() {
        let (mut filter, (_database, tables)) = (Filter::default(), tables(500));
        let first = made(&mut filter, &tables);
        (1_000_000..1_050_000).for_each(|n| filter.add(&hash(n)));
        assert!(wrong(&first) > 500, "{} of 1,000", wrong(&first));
        let next = made(&mut filter, &tables);
        assert!((0..500).all(|n| !next.is_new(&hash(n))));
        assert!(wrong(&next) < 50, "{} of 1,000", wrong(&next));
    }

    #[test]
    fn a_filter_that_is_being_made_holds_up_nobody_who_closes() {
        let (mut filter, (_database, tables)) = (Filter::default(), tables(200_000));
        assert!(filter.known(&tables).is_none());
        let stop = filter.making.as_ref().expect("a thread").stop.clone();
        drop(filter);
        assert!(stop.load(Ordering::Relaxed));
    }
}
