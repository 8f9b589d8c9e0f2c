//! Rows that are to be written, as bytes: what the journal keeps of a group, and what redb is given.
//!
//! Rows are absolute, so writing them twice is the same as writing them once. In bytes, one after the
//! other: 0 and the name of a table (its length in one byte), for all that follows; 1, a key and a row to
//! be written; 2, a key that goes; 3, all keys go. Keys and rows have their length in four bytes, and
//! stand as redb has them.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::{Bound, Range};

use bytes::Bytes;
use redb::{Key, TableDefinition, TableHandle, Value, WriteTransaction};

use crate::layout::{BadRow, Reader};
use crate::pending::{Pending, Row};

const TABLE: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const CLEAR: u8 = 3;

/// Bytes that stay free before the rows, so that the journal can put what it says of them there.
pub const FREE: usize = 53;

/// Rows in the order in which they are written.
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
    /// With room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Rows {
        let mut made = Vec::with_capacity(FREE + bytes);
        made.resize(FREE, 0);
        Rows { bytes: made, name: FREE..FREE }
    }

    /// In bytes, behind [`FREE`] others.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.used());
        self.bytes
    }

    /// Adds what is said of one table.
    pub fn add<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        pending: &Pending<K>,
    ) {
        let mut of = self.of(table);
        for found in pending.iter() {
            let key = K::from_bytes(found.key());
            match found.row() {
                Some(row) => of.put(key, V::from_bytes(row)),
                None => of.remove(key),
            }
        }
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

/// Reads rows that stand in bytes as [`Rows`] makes them.
pub struct Parts<'b> {
    bytes: &'b Bytes,
    rest: Reader<'b>,
}

impl<'b> Parts<'b> {
    pub fn new(bytes: &'b Bytes) -> Parts<'b> {
        Parts { bytes, rest: Reader(bytes) }
    }

    /// The name of the next table; none at the end.
    pub fn table(&mut self) -> Result<Option<&'b [u8]>, BadRow> {
        if self.rest.0.is_empty() {
            return Ok(None);
        }
        match (self.rest.u8()?, self.rest.u8()?) {
            (TABLE, length) => self.rest.take(length.into()).map(Some),
            _ => Err(BadRow("of no table")),
        }
    }

    /// Adds the rows up to those of the next table.
    pub fn run<K: Key + 'static>(&mut self, to: &mut Pending<K>) -> Result<(), BadRow> {
        let mut rows = Vec::new();
        while self.rest.0.first().is_some_and(|what| *what != TABLE) {
            match self.rest.u8()? {
                PUT => {
                    let key = self.sized()?;
                    rows.push(Row::new(key, Some(self.sized()?)));
                }
                REMOVE => rows.push(Row::new(self.sized()?, None)),
                CLEAR => {
                    to.clear();
                    rows.clear();
                }
                _ => return Err(BadRow("of no known kind")),
            }
        }
        to.add(self.bytes, rows);
        Ok(())
    }

    /// Where the next bytes stand that have their length before them.
    fn sized(&mut self) -> Result<Range<usize>, BadRow> {
        let length = self.rest.sized()?.len();
        let end = self.bytes.len() - self.rest.0.len();
        Ok(end - length..end)
    }
}

/// Writes what is said of one table.
pub fn write<K: Key + 'static, V: Value + 'static>(
    pending: &Pending<K>,
    transaction: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
) -> Result<(), redb::Error> {
    if pending.is_empty() {
        return Ok(());
    }
    if pending.cleared {
        transaction.delete_table(definition)?;
    }
    write_some(pending, transaction, definition, &mut Bound::Unbounded, usize::MAX).map(drop)
}

/// Writes so many rows of one table that come behind a place, which moves on; true if these were the last.
pub fn write_some<K: Key + 'static, V: Value + 'static>(
    pending: &Pending<K>,
    transaction: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    behind: &mut Bound<Bytes>,
    most: usize,
) -> Result<bool, redb::Error> {
    let mut table = transaction.open_table(definition)?;
    let mut rows = pending.range((behind.clone(), Bound::Unbounded));
    let mut last = None;
    for found in rows.by_ref().take(most) {
        let key = K::from_bytes(found.key());
        match found.row() {
            Some(row) => table.insert(key, V::from_bytes(row)).map(drop)?,
            None => table.remove(key).map(drop)?,
        }
        last = Some(found);
    }
    if let Some(last) = last {
        *behind = Bound::Excluded(last.shared_key());
    }
    Ok(rows.next().is_none())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Database, ReadableDatabase, ReadableTableMetadata};

    use super::*;
    use crate::format::{AGING, STATE, VALUES};
    use crate::tables::{Layer, Tables, create};

    fn layer(rows: Rows) -> Layer {
        let mut layer = Layer::default();
        layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
        layer
    }

    #[test]
    fn rows_are_there_once_however_often_they_are_written() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let (database, mut rows) = (database.expect("a database"), Rows::with_capacity(0));
        rows.of(STATE).put("old", 1);
        rows.of(VALUES).put_parts(7, &[b"a", b"bc"]);
        let mut aging = rows.of(AGING);
        aging.put((1, 5, "k"), ());
        aging.put((1, 6, "l"), ());
        aging.remove((1, 5, "k"));
        let mut state = rows.of(STATE);
        state.clear();
        state.put("new", 2);
        let layer = layer(rows);
        for _ in 0..2 {
            let transaction = database.begin_write().expect("a transaction");
            create(&transaction).expect("tables");
            layer.write(&transaction).expect("written");
            transaction.commit().expect("a commit");
            let read = database.begin_read().expect("a transaction");
            let tables = Tables::open(&database).expect("tables");
            assert_eq!(tables.values().get(7).expect("read").expect("a row").value(), b"abc");
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
        let mut rows = Rows::with_capacity(0);
        rows.of(VALUES).put(7, &b"abc"[..]);
        let whole = Bytes::from(rows.into_bytes()).slice(FREE..);
        for length in 1..whole.len() {
            // After the name of the table there may be no rows.
            let outcome = Layer::default().add(&whole.slice(..length));
            assert_eq!(outcome.is_ok(), length == 2 + "values".len(), "{length}: {outcome:?}");
        }
    }
}
