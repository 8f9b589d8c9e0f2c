//! Rows that are to be written, as bytes: what the journal keeps of a group, and what redb is given.
//!
//! Rows are absolute, so writing them twice is the same as writing them once. In bytes, one after the
//! other: 0 and the name of a table (its length in one byte), for all that follows; 1, a key and a row to
//! be written; 2, a key that goes; 3, all keys go. Keys and rows have their length in four bytes, and
//! stand as redb has them.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::Range;

use redb::{Key, Table, TableDefinition, TableHandle, Value, WriteTransaction};

use crate::format::{
    AGING, CHANGES, CONFLICTS, DIGESTS, KEYS, META, NAMES, NOTES, PEERS, QUARANTINE, RAISED,
    RECORDS, STATE, TRASH, VALUES,
};
use crate::layout::{BadRow, Reader};

const TABLE: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const CLEAR: u8 = 3;

/// Rows in the order in which they are written.
#[derive(Default)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Where the name of the last table begins and ends.
    name: Range<usize>,
}

/// Adds rows of one table.
pub struct Of<'r, K, V> {
    bytes: &'r mut Vec<u8>,
    _table: PhantomData<(K, V)>,
}

impl Rows {
    /// In bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used()]
    }

    /// A table without rows is left out.
    fn used(&self) -> usize {
        if self.bytes.len() == self.name.end { self.name.start } else { self.bytes.len() }
    }

    /// What is added next is of this table.
    pub fn of<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
    ) -> Of<'_, K, V> {
        let (name, start) = (table.name().as_bytes(), self.used());
        self.bytes.truncate(start);
        // Names of tables are words.
        self.bytes.extend_from_slice(&[TABLE, name.len() as u8]);
        self.bytes.extend_from_slice(name);
        self.name = start..self.bytes.len();
        Of { bytes: &mut self.bytes, _table: PhantomData }
    }
}

impl<K: Key + 'static, V: Value + 'static> Of<'_, K, V> {
    pub fn put<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        row: impl Borrow<V::SelfType<'v>>,
    ) {
        self.put_parts(key, &[V::as_bytes(row.borrow()).as_ref()]);
    }

    /// As [`Of::put`], for a row that stands in pieces.
    pub fn put_parts<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>, row: &[&[u8]]) {
        self.key(PUT, key);
        length(self.bytes, row.iter().map(|part| part.len()).sum());
        row.iter().for_each(|part| self.bytes.extend_from_slice(part));
    }

    pub fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) {
        self.key(REMOVE, key);
    }

    /// Takes all rows away.
    pub fn clear(&mut self) {
        self.bytes.push(CLEAR);
    }

    fn key<'k>(&mut self, what: u8, key: impl Borrow<K::SelfType<'k>>) {
        let key = K::as_bytes(key.borrow());
        self.bytes.push(what);
        length(self.bytes, key.as_ref().len());
        self.bytes.extend_from_slice(key.as_ref());
    }
}

/// A row has at most the bytes of a message: far from four billion.
fn length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
}

/// Writes rows that stand in bytes as [`Rows`] makes them.
pub fn write(bytes: &[u8], transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut rows = Reader(bytes);
    while !rows.0.is_empty() {
        let name = table(&mut rows).map_err(bad)?;
        let (_, write) = TABLES
            .iter()
            .find(|(table, _)| table.as_bytes() == name)
            .ok_or_else(|| bad(BadRow("of no known table")))?;
        write(transaction, &mut rows)?;
    }
    Ok(())
}

fn table<'r>(rows: &mut Reader<'r>) -> Result<&'r [u8], BadRow> {
    match (rows.u8()?, rows.u8()?) {
        (TABLE, length) => rows.take(length.into()),
        _ => Err(BadRow("of no table")),
    }
}

type Write = fn(&WriteTransaction, &mut Reader<'_>) -> Result<(), redb::Error>;

static TABLES: [(&str, Write); 15] = [
    ("meta", |to, rows| run(to, META, rows)),
    ("keys", |to, rows| run(to, KEYS, rows)),
    ("names", |to, rows| run(to, NAMES, rows)),
    ("records", |to, rows| run(to, RECORDS, rows)),
    ("values", |to, rows| run(to, VALUES, rows)),
    ("conflicts", |to, rows| run(to, CONFLICTS, rows)),
    ("trash", |to, rows| run(to, TRASH, rows)),
    ("aging", |to, rows| run(to, AGING, rows)),
    ("raised", |to, rows| run(to, RAISED, rows)),
    ("quarantine", |to, rows| run(to, QUARANTINE, rows)),
    ("notes", |to, rows| run(to, NOTES, rows)),
    ("peers", |to, rows| run(to, PEERS, rows)),
    ("digests", |to, rows| run(to, DIGESTS, rows)),
    ("changes", |to, rows| run(to, CHANGES, rows)),
    ("state", |to, rows| run(to, STATE, rows)),
];

/// Writes rows of this table up to those of the next.
fn run<K: Key + 'static, V: Value + 'static>(
    transaction: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    rows: &mut Reader<'_>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(definition)?;
    while let Some(what) = rows.0.first().filter(|what| **what != TABLE).copied() {
        rows.u8().map_err(bad)?;
        if what == CLEAR {
            drop(table);
            transaction.delete_table(definition)?;
            table = transaction.open_table(definition)?;
            continue;
        }
        row(&mut table, what, rows)?;
    }
    Ok(())
}

fn row<K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    what: u8,
    rows: &mut Reader<'_>,
) -> Result<(), redb::Error> {
    let key = K::from_bytes(rows.sized().map_err(bad)?);
    match what {
        PUT => table.insert(key, V::from_bytes(rows.sized().map_err(bad)?)).map(drop)?,
        REMOVE => table.remove(key).map(drop)?,
        _ => return Err(bad(BadRow("of no known kind"))),
    }
    Ok(())
}

/// Rows that were checked against their hash and are yet wrong.
fn bad(e: BadRow) -> redb::Error {
    redb::Error::Corrupted(format!("rows in the journal: {e}"))
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, ReadableTableMetadata};

    use super::*;

    fn database() -> Database {
        Database::builder().create_with_backend(InMemoryBackend::new()).expect("a database")
    }

    fn written(database: &Database, rows: &Rows) {
        let transaction = database.begin_write().expect("a transaction");
        write(rows.as_bytes(), &transaction).expect("written");
        transaction.commit().expect("a commit");
    }

    #[test]
    fn every_table_takes_rows_under_its_own_name() {
        for (name, write) in &TABLES {
            let database = database();
            let transaction = database.begin_write().expect("a transaction");
            write(&transaction, &mut Reader(&[])).expect("a table");
            let names: Vec<String> =
                transaction.list_tables().expect("tables").map(|t| t.name().to_owned()).collect();
            assert_eq!(names, [*name]);
        }
    }

    #[test]
    fn rows_are_there_once_however_often_they_are_written() {
        let (database, mut rows) = (database(), Rows::default());
        rows.of(STATE).put("old", 1);
        rows.of(VALUES).put_parts(7, &[b"a", b"bc"]);
        let mut aging = rows.of(AGING);
        aging.put((1, 5, "k"), ());
        aging.put((1, 6, "l"), ());
        aging.remove((1, 5, "k"));
        let mut state = rows.of(STATE);
        state.clear();
        state.put("new", 2);
        for _ in 0..2 {
            written(&database, &rows);
            let read = database.begin_read().expect("a transaction");
            let values = read.open_table(VALUES).expect("values");
            assert_eq!(values.get(7).expect("read").expect("a row").value(), b"abc");
            let aging = read.open_table(AGING).expect("aging");
            assert_eq!(aging.len().expect("a length"), 1);
            assert!(aging.get((1, 6, "l")).expect("read").is_some());
            let state = read.open_table(STATE).expect("state");
            assert!(state.get("old").expect("read").is_none());
            assert_eq!(state.get("new").expect("read").expect("a row").value(), 2);
        }
    }

    #[test]
    fn rows_cut_short_are_an_error_wherever_they_end() {
        let mut rows = Rows::default();
        rows.of(VALUES).put(7, &b"abc"[..]);
        let whole = rows.as_bytes();
        for length in 1..whole.len() {
            // After the name of the table there may be no rows.
            if length == 2 + "values".len() {
                continue;
            }
            let database = database();
            let transaction = database.begin_write().expect("a transaction");
            let error = write(&whole[..length], &transaction).expect_err("cut short");
            assert!(matches!(error, redb::Error::Corrupted(_)), "{length}: {error}");
        }
    }
}
