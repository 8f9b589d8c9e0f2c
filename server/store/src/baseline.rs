//! The rows of puts in bare redb transactions, which a benchmark measures the store against, and in a bare
//! journal, which it measures alone.
//!
//! Same tables, same sizes, same order within a transaction, one fsync, and a row for each row: packs are
//! the store's own. Left out is all that the store does besides: histories, conditions, hashes, digests,
//! queues, answers, news.

use std::io;
use std::path::Path;

use bytes::Bytes;
use redb::{Database, Durability};

use keepboth_core::ids::StoreId;
use keepboth_core::name::Key;

use crate::commit::ROW_BYTES;
use crate::format::{KEYS, NAMES, RECORDS, VALUES};
use crate::journal::place::{FilePlace, Place, journal_of};
use crate::journal::{Journal, NotAppended, When};
use crate::options::Options;
use crate::rows::Rows;

/// Bytes of the row of a key whose object has one version.
const KEY_ROW_BYTES: usize = 94;
/// Bytes of the record of a first version, besides its key.
const RECORD_BYTES: usize = 89;

/// The rows of one put of a new key, made ahead so that only redb's work, or the journal's, is measured.
pub struct Put {
    key: Key,
    hash: [u8; 16],
    record: Vec<u8>,
    value: Vec<u8>,
}

impl Put {
    /// The rows for this key and value.
    pub fn new(key: Key, value: &[u8]) -> Put {
        let (hash, mut record) = (key.hash(), vec![1; RECORD_BYTES]);
        record.extend_from_slice(key.as_str().as_bytes());
        let value = [&[0], value].concat();
        Put { key, hash, record, value }
    }
}

/// A bare database with the store's tables.
pub struct Bare {
    database: Database,
    sequence: u64,
}

impl Bare {
    /// A new database in this file, with the cache that a store has.
    pub fn create(file: &Path) -> io::Result<Bare> {
        let cache = Options::default().cache_bytes;
        let database = Database::builder().set_cache_size(cache).create(file);
        Ok(Bare { database: database.map_err(io::Error::other)?, sequence: 0 })
    }

    /// Writes these puts durably: one transaction, one fsync. Sorts them, as the store does.
    pub fn commit(&mut self, puts: &mut [Put]) -> io::Result<()> {
        self.write(puts).map_err(io::Error::other)
    }

    fn write(&mut self, puts: &mut [Put]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let (mut records, mut values) =
                (transaction.open_table(RECORDS)?, transaction.open_table(VALUES)?);
            for put in &*puts {
                self.sequence += 1;
                records.insert(self.sequence, &put.record[..])?;
                values.insert(self.sequence, &put.value[..])?;
            }
            let mut keys = transaction.open_table(KEYS)?;
            puts.sort_unstable_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
            for put in &*puts {
                keys.insert(put.key.as_str(), &[2; KEY_ROW_BYTES][..])?;
            }
            let mut names = transaction.open_table(NAMES)?;
            puts.sort_unstable_by_key(|put| put.hash);
            for put in &*puts {
                names.insert(&put.hash, put.key.as_str())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

/// The rows of puts that are appended to a journal together.
pub struct Group(Vec<u8>);

impl Group {
    /// The rows of these puts, the first of which has the number 1. Sorts them, as the store does.
    pub fn new(puts: &mut [Put]) -> Group {
        let bytes: usize = puts.iter().map(|put| put.value.len() + ROW_BYTES).sum();
        let mut rows = Rows::with_capacity(bytes);
        let mut records = rows.of(RECORDS);
        for (put, sequence) in puts.iter().zip(1_u64..) {
            records.put(sequence, &put.record[..]);
        }
        let mut values = rows.of(VALUES);
        for (put, sequence) in puts.iter().zip(1_u64..) {
            values.put(sequence, &put.value[..]);
        }
        let mut keys = rows.of(KEYS);
        puts.sort_unstable_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
        for put in &*puts {
            keys.put(put.key.as_str(), &[2; KEY_ROW_BYTES][..]);
        }
        let mut names = rows.of(NAMES);
        puts.sort_unstable_by_key(|put| put.hash);
        for put in &*puts {
            names.put(&put.hash, put.key.as_str());
        }
        Group(rows.into_bytes())
    }
}

/// A store's journal, with no database behind it.
pub struct BareJournal(Journal);

impl BareJournal {
    /// A new journal, where that of the database in this file would stand.
    pub fn create(database: &Path) -> io::Result<BareJournal> {
        let [mut a, mut b] = journal_of(database).map(FilePlace);
        let journal = Journal::begin([a.make()?, b.make()?], &StoreId([0; 16]), [0; 16]);
        journal.map(BareJournal)
    }

    /// Appends this group and syncs it; goes on in the other file after as many bytes as the store does.
    /// Gives the rows.
    pub fn append(&mut self, group: Group) -> io::Result<Bytes> {
        let appended = self.0.append(group.0, When::Now);
        let rows = appended.map_err(|(NotAppended::NoRoom(e) | NotAppended::Failed(e))| e)?;
        if self.0.bytes() >= Options::default().journal_bytes_max {
            self.0.switch()?;
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use keepboth_core::name::{Name, Namespace};
    use keepboth_core::value::Value;
    use keepboth_core::write::Condition;
    use redb::{ReadableDatabase, ReadableTableMetadata};

    use super::*;
    use crate::journal::record;
    use crate::rows::FREE;
    use crate::tables::Layer;
    use crate::word::Word;
    use crate::{Op, Store, Task};

    #[test]
    fn the_rows_are_as_large_as_the_stores() {
        let namespace = Namespace::new("n").expect("a name");
        let store = Store::in_memory(&namespace, Options::default(), |_| {}).expect("a store");
        let (key, value) = (Key::new("user/1").expect("a key"), Value::bytes(vec![7; 100]));
        let put = Put::new(key.clone(), value.as_bytes());
        let (done, answer) = mpsc::channel();
        let op = Op::Put { name: Name::Key(key.clone()), value, condition: Condition::None };
        let done = Box::new(move |outcome| drop(done.send(outcome)));
        store.submit_blocking(Task::Local { ops: vec![op], now: 1 << 40, done }).expect("open");
        answer.recv().expect("an answer").expect("written");
        let snapshot = store.snapshot();
        let tables = &snapshot.tables;
        let row = tables.keys().get(key.as_str()).expect("read").expect("a row");
        // Large numbers take some bytes more.
        assert!(row.value().len().abs_diff(KEY_ROW_BYTES) <= 4, "{}", row.value().len());
        for (table, bytes) in [(tables.records(), &put.record), (tables.values(), &put.value)] {
            let row = table.get(1).expect("read").expect("a row");
            assert_eq!(row.value().len(), bytes.len());
        }
    }

    #[test]
    fn every_put_stands_in_the_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bare = Bare::create(&folder.path().join("bare.redb")).expect("a database");
        for group in 0..3 {
            let key = |n| Key::new(&format!("k{group}/{n}")).expect("a key");
            let mut puts: Vec<Put> = (0..10).map(|n| Put::new(key(n), b"{}")).collect();
            bare.commit(&mut puts).expect("a commit");
        }
        let read = bare.database.begin_read().expect("a transaction");
        assert_eq!(read.open_table(KEYS).expect("keys").len().expect("a length"), 30);
        assert_eq!(read.open_table(VALUES).expect("values").len().expect("a length"), 30);
    }

    #[test]
    fn every_group_stands_in_the_journal() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("bare.redb");
        let mut journal = BareJournal::create(&database).expect("a journal");
        let key = |n| Key::new(&format!("k/{n}")).expect("a key");
        let mut puts: Vec<Put> = (0..10).map(|n| Put::new(key(n), b"{}")).collect();
        for _ in 0..3 {
            let group = Group::new(&mut puts);
            let rows = group.0[FREE..].to_vec();
            assert_eq!(journal.append(group).expect("appended"), rows);
            Layer::default().add(&rows.into()).expect("rows");
        }
        let files = journal_of(&database).map(|file| std::fs::read(file).expect("a file"));
        let word = Word { run: [0; 16], generation: 0, number: 0, lossy: false };
        assert_eq!(record::tail([&files[0], &files[1]], &word).expect("records").len(), 3);
    }
}
