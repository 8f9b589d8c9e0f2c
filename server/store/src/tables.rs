//! The tables as one commit left them, and single rows read from them.

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};

use keepboth_core::ids::{ConflictId, DataHash, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::{Kind, Value};

use crate::failure::{corrupt, corrupt_key, failed};
use crate::format::{CONFLICTS, KEYS, NAMES, RAISED, RECORDS, TRASH, VALUES};
use crate::loaded::Loaded;
use crate::record::Record;
use crate::row::KeyRow;

/// All tables in one read transaction, which lives as long as this.
pub struct Tables {
    pub keys: ReadOnlyTable<&'static str, &'static [u8]>,
    pub names: ReadOnlyTable<&'static [u8; 16], &'static str>,
    pub records: ReadOnlyTable<u64, &'static [u8]>,
    pub values: ReadOnlyTable<u64, &'static [u8]>,
    pub conflicts: ReadOnlyTable<&'static str, ()>,
    pub trash: ReadOnlyTable<&'static str, u64>,
    pub raised: ReadOnlyTable<&'static [u8; 32], u64>,
}

impl Tables {
    /// The newest commit's tables.
    pub fn open(database: &Database) -> Result<Tables, redb::Error> {
        let transaction = database.begin_read()?;
        Ok(Tables {
            keys: transaction.open_table(KEYS)?,
            names: transaction.open_table(NAMES)?,
            records: transaction.open_table(RECORDS)?,
            values: transaction.open_table(VALUES)?,
            conflicts: transaction.open_table(CONFLICTS)?,
            trash: transaction.open_table(TRASH)?,
            raised: transaction.open_table(RAISED)?,
        })
    }

    /// The row of a key; None if it has no history here.
    pub fn row(&self, key: &Key) -> Result<Option<KeyRow>, Refusal> {
        let row = self.keys.get(key.as_str()).map_err(failed)?;
        row.map(|row| KeyRow::decode(row.value()).map_err(|e| corrupt_key(key, e))).transpose()
    }

    /// The key of which this is half of the hash.
    pub fn key_of(&self, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        let row = self.names.get(hash).map_err(failed)?;
        row.map(|row| stored_key(row.value())).transpose()
    }

    /// The version with this sequence.
    pub fn record(&self, sequence: u64) -> Result<Record, Refusal> {
        match self.records.get(sequence).map_err(failed)? {
            Some(row) => Record::decode(row.value())
                .map_err(|e| corrupt(format_args!("record {sequence}: {e}"))),
            None => Err(corrupt(format_args!("record {sequence} is missing"))),
        }
    }

    /// The value of a put, checked against its hash.
    pub fn value(
        &self,
        key: &Key,
        version: &VersionId,
        data: &DataHash,
        sequence: u64,
    ) -> Result<Value, Refusal> {
        let bad =
            |what: &str| corrupt_key(key, format_args!("the value of version {version} {what}"));
        let Some(row) = self.values.get(sequence).map_err(failed)? else {
            return Err(bad("is missing"));
        };
        let bytes = row.value();
        // The stored row is exactly what the data hash is made of.
        if *blake3::hash(bytes).as_bytes() != data.0 {
            return Err(bad("does not match its hash"));
        }
        let (tag, bytes) = bytes.split_first().ok_or_else(|| bad("has no kind"))?;
        let kind = Kind::from_tag(*tag).ok_or_else(|| bad("has an unknown kind"))?;
        Ok(Value::trusted(kind, Bytes::copy_from_slice(bytes)))
    }

    /// All versions of a key; None if it has no history here.
    pub fn loaded(&self, key: &Key) -> Result<Option<Loaded>, Refusal> {
        let row = self.row(key)?;
        row.map(|row| Loaded::read(key, row.last, |at| self.record(at))).transpose()
    }

    /// True if the event of this conflict was raised.
    pub fn is_raised(&self, id: &ConflictId) -> Result<bool, Refusal> {
        self.raised.get(&id.0).map(|row| row.is_some()).map_err(failed)
    }

    /// The sequence of the newest version; 0 if there is none.
    pub fn last_sequence(&self) -> Result<u64, Refusal> {
        self.records.last().map(|row| row.map_or(0, |(at, _)| at.value())).map_err(failed)
    }
}

/// A key as it stands in a table.
pub fn stored_key(text: &str) -> Result<Key, Refusal> {
    Key::new(text).map_err(|_| corrupt(format_args!("{text:?} stands where a key should")))
}
