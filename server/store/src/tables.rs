//! The tables as one commit left them, and single rows read from them.

use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};

use keepboth_core::ids::{ConflictId, DataHash, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::{Kind, Value};

use crate::failure::{corrupt, corrupt_key, failed};
use crate::format::{
    AGING, CHANGES, CONFLICTS, DIGESTS, KEYS, LATE, META, NAMES, NOTES, PEERS, QUARANTINE, RAISED,
    RECORDS, STATE, STATE_SEQUENCE, TRASH, VALUES,
};
use crate::layout::BadRow;
use crate::loaded::Loaded;
use crate::note::Note;
use crate::pack::{self, Packed};
use crate::pending::Pending;
use crate::quarantine::Quarantined;
use crate::record::Record;
use crate::row::KeyRow;
use crate::rows::{self, Parts};
use crate::view::{ABOVE, View};

/// All tables of a store: how each is called, and what its keys and rows are. The first are not read by
/// snapshots.
macro_rules! tables {
    (
        written { $($more:ident = $also:ident: $word:ty,)* }
        late { $($late:ident = $comes:ident: $of:ty => $as:ty,)* }
        packed { $($packed:ident = $packs:ident,)* }
        read { $($name:ident = $definition:ident: $key:ty => $row:ty,)* }
    ) => {
        /// redb's tables in one read transaction, which lives as long as this.
        pub struct Stored {
            $($late: ReadOnlyTable<$of, $as>,)*
            $($packed: ReadOnlyTable<u64, &'static [u8]>,)*
            $($name: ReadOnlyTable<$key, $row>,)*
        }

        impl Stored {
            /// The newest commit's tables.
            pub fn open(database: &Database) -> Result<Stored, redb::Error> {
                let transaction = database.begin_read()?;
                Ok(Stored {
                    $($late: transaction.open_table($comes)?,)*
                    $($packed: transaction.open_table($packs)?,)*
                    $($name: transaction.open_table($definition)?,)*
                })
            }
        }

        /// Makes all tables.
        pub fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
            $(transaction.open_table($also)?;)*
            $(transaction.open_table($comes)?;)*
            $(transaction.open_table($packs)?;)*
            $(transaction.open_table($definition)?;)*
            Ok(())
        }

        /// Writes the rows of all tables, each in its order, to an empty database. An error if there are
        /// tables of which nothing is known.
        pub fn copy(from: &ReadTransaction, to: &Database) -> Result<(), redb::Error> {
            $(copy_rows(from, to, $also)?;)*
            $(copy_rows(from, to, $comes)?;)*
            $(copy_rows(from, to, $packs)?;)*
            $(copy_rows(from, to, $definition)?;)*
            // Nothing was durable so far.
            let last = to.begin_write()?;
            let (there, here) = (from.list_tables()?.count(), last.list_tables()?.count());
            if there != here {
                let words = format!("{there} tables, of which {here} are known");
                return Err(redb::Error::Corrupted(words));
            }
            Ok(last.commit()?)
        }

        /// Rows of all tables that stand above those of the database.
        #[derive(Clone, Default)]
        pub struct Layer {
            $($more: Pending<$word>,)*
            $(pub $late: Pending<$of>,)*
            $($packed: Pending<u64>,)*
            $($name: Pending<$key>,)*
            /// Bytes of keys and rows that were added.
            pub bytes: usize,
        }

        impl Layer {
            pub fn is_empty(&self) -> bool {
                $(self.$more.is_empty() &&)* $(self.$late.is_empty() &&)*
                    $(self.$packed.is_empty() &&)* $(self.$name.is_empty() &&)* true
            }

            /// Adds the rows of one table, up to those of the next.
            fn run(&mut self, name: &[u8], from: &mut Parts<'_>) -> Result<(), BadRow> {
                $(if name == stringify!($more).as_bytes() {
                    return from.run(&mut self.$more);
                })*
                $(if name == stringify!($late).as_bytes() {
                    return from.run(&mut self.$late);
                })*
                $(if name == stringify!($packed).as_bytes() {
                    return from.run(&mut self.$packed);
                })*
                $(if name == stringify!($name).as_bytes() {
                    return from.run(&mut self.$name);
                })*
                Err(BadRow("of no known table"))
            }

            /// Writes all to the database: of each table in the order of its keys, where neighbours share
            /// pages.
            pub fn write(&self, to: &WriteTransaction) -> Result<(), redb::Error> {
                $(rows::write(&self.$late, to, $comes)?;)*
                self.write_in_time(to)
            }

            /// As [`Layer::write`], without the rows that come to their tables late.
            pub fn write_in_time(&self, to: &WriteTransaction) -> Result<(), redb::Error> {
                $(rows::write(&self.$more, to, $also)?;)*
                $(pack::write(&self.$packed, to, $packs)?;)*
                $(rows::write(&self.$name, to, $definition)?;)*
                Ok(())
            }
        }

        impl Tables {
            $(pub fn $late(&self) -> View<'_, $of, $as> {
                View { stored: &self.stored.$late, above: self.above(|layer| &layer.$late) }
            })*

            $(pub fn $packed(&self) -> Packed<'_> {
                Packed { stored: &self.stored.$packed, above: self.above(|layer| &layer.$packed) }
            })*

            $(pub fn $name(&self) -> View<'_, $key, $row> {
                View { stored: &self.stored.$name, above: self.above(|layer| &layer.$name) }
            })*
        }
    };
}

tables! {
    written {
        meta = META: &'static str,
        pieces = LATE: u64,
    }
    late {
        keys = KEYS: &'static str => &'static [u8],
        names = NAMES: &'static [u8; 16] => &'static str,
    }
    packed {
        records = RECORDS,
        values = VALUES,
    }
    read {
        conflicts = CONFLICTS: &'static str => (),
        trash = TRASH: &'static str => &'static [u8],
        aging = AGING: (u8, u64, &'static str) => (),
        raised = RAISED: &'static [u8; 32] => u64,
        quarantine = QUARANTINE: (&'static str, &'static [u8; 32]) => &'static [u8],
        notes = NOTES: u64 => &'static [u8],
        peers = PEERS: &'static [u8; 32] => &'static [u8],
        digests = DIGESTS: u8 => &'static [u8],
        changes = CHANGES: u64 => &'static [u8],
        state = STATE: &'static str => u64,
    }
}

/// What redb has to write at the end of a transaction is written twice if it had no place in memory.
const COPIED_BYTES: usize = 8 * 1024 * 1024;

fn copy_rows<K: redb::Key, V: redb::Value>(
    from: &ReadTransaction,
    to: &Database,
    definition: TableDefinition<'_, K, V>,
) -> Result<(), redb::Error> {
    let from = from.open_table(definition)?;
    let mut rows = from.iter()?.peekable();
    loop {
        let mut transaction = to.begin_write()?;
        transaction.set_durability(Durability::None)?;
        let mut table = transaction.open_table(definition)?;
        let mut bytes = 0;
        while bytes < COPIED_BYTES
            && let Some(row) = rows.next()
        {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            bytes += K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len();
            table.insert(key, value)?;
        }
        drop(table);
        transaction.commit()?;
        if rows.peek().is_none() {
            return Ok(());
        }
    }
}

impl Layer {
    /// Adds rows that stand in bytes as [`rows::Rows`] makes them. The layer shares these bytes.
    pub fn add(&mut self, rows: &Bytes) -> Result<(), BadRow> {
        let mut parts = Parts::new(rows);
        while let Some(name) = parts.table()? {
            self.run(name, &mut parts)?;
        }
        self.bytes += rows.len();
        Ok(())
    }
}

/// All tables as one commit left them: those of the database, and above them what it does not have yet.
#[derive(Clone)]
pub struct Tables {
    pub stored: Arc<Stored>,
    /// Rows of the database that are not in their tables yet, the newer first.
    pub late: [Arc<Layer>; 2],
    pub older: Arc<Layer>,
    pub newer: Arc<Layer>,
}

impl Tables {
    /// The newest commit's tables, without rows above them.
    pub fn open(database: &Database) -> Result<Tables, redb::Error> {
        let stored = Arc::new(Stored::open(database)?);
        let (late, older, newer) = Default::default();
        Ok(Tables { stored, late, older, newer })
    }

    /// What stands above one table.
    fn above<'t, K>(&'t self, of: impl Fn(&'t Layer) -> &'t Pending<K>) -> [&'t Pending<K>; ABOVE] {
        let [waiting, moving] = &self.late;
        [&self.newer, &self.older, waiting, moving].map(|layer| of(layer))
    }

    /// The row of a key that is there for readers.
    pub fn shown(&self, key: &Key) -> Result<Option<KeyRow>, Refusal> {
        Ok(self.row(key)?.filter(KeyRow::is_shown))
    }

    /// The row of a key, also of a forgotten one; None if it has no history here.
    pub fn row(&self, key: &Key) -> Result<Option<KeyRow>, Refusal> {
        let row = self.keys().get(key.as_str()).map_err(failed)?;
        row.map(|row| KeyRow::decode(row.value()).map_err(|e| corrupt_key(key, e))).transpose()
    }

    /// The key of which this is half of the hash.
    pub fn key_of(&self, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        let row = self.names().get(hash).map_err(failed)?;
        row.map(|row| stored_key(row.value())).transpose()
    }

    /// The version with this sequence.
    pub fn record(&self, sequence: u64) -> Result<Record, Refusal> {
        match self.records().get(sequence).map_err(failed)? {
            Some(row) => Record::decode(row.value())
                .map_err(|e| corrupt(format_args!("record {sequence}: {e}"))),
            None => Err(corrupt(format_args!("record {sequence} is missing"))),
        }
    }

    /// The value of a put, checked against its hash. Refused: `value_forgotten` if it is not kept.
    pub fn value(
        &self,
        key: &Key,
        version: &VersionId,
        data: &DataHash,
        sequence: u64,
    ) -> Result<Value, Refusal> {
        let bad =
            |what: &str| corrupt_key(key, format_args!("the value of version {version} {what}"));
        let Some(row) = self.values().get(sequence).map_err(failed)? else {
            let words = format!("the value of version {version} of {:?} is not kept", key.as_str());
            return Err(Refusal::new(Code::ValueForgotten, words));
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

    /// Bytes of a stored value; None if it is not kept.
    pub fn value_size(&self, sequence: u64) -> Result<Option<u64>, Refusal> {
        let row = self.values().get(sequence).map_err(failed)?;
        Ok(row.map(|row| row.value().len().saturating_sub(1) as u64))
    }

    /// All versions of a key; None if it has no history here.
    pub fn loaded(&self, key: &Key) -> Result<Option<Loaded>, Refusal> {
        let row = self.row(key)?;
        row.map(|row| Loaded::read(key, Some(&row), |at| self.record(at))).transpose()
    }

    /// True if the event of this conflict was raised.
    pub fn is_raised(&self, id: &ConflictId) -> Result<bool, Refusal> {
        self.raised().get(&id.0).map(|row| row.is_some()).map_err(failed)
    }

    /// Why a version is in quarantine, if it is.
    pub fn quarantined(
        &self,
        key: &Key,
        version: &VersionId,
    ) -> Result<Option<Quarantined>, Refusal> {
        let row = self.quarantine().get((key.as_str(), &version.0)).map_err(failed)?;
        let decode = |row: &[u8]| Quarantined::decode(key.clone(), *version, row);
        row.map(|row| decode(row.value()).map_err(|e| corrupt_key(key, e))).transpose()
    }

    /// What happened at this sequence without a version, and to which key.
    pub fn note(&self, sequence: u64) -> Result<Option<(Note, Key)>, Refusal> {
        let row = self.notes().get(sequence).map_err(failed)?;
        let bad = |e| corrupt(format_args!("note {sequence}: {e}"));
        row.map(|row| Note::decode(row.value()).map_err(bad)).transpose()
    }

    /// A number that the store keeps of its own work; 0 if there is none.
    pub fn number(&self, word: &str) -> Result<u64, Refusal> {
        self.state().get(word).map(|row| row.map_or(0, |row| row.value())).map_err(failed)
    }

    /// The newest sequence that was given; 0 if there is none.
    pub fn last_sequence(&self) -> Result<u64, Refusal> {
        let records = self.records().last().map_err(failed)?.unwrap_or(0);
        let notes = self.notes().last().map_err(failed)?.map_or(0, |at| at.value());
        Ok(records.max(notes).max(self.number(STATE_SEQUENCE)?))
    }
}

/// A key as it stands in a table.
pub fn stored_key(text: &str) -> Result<Key, Refusal> {
    Key::new(text).map_err(|_| corrupt(format_args!("{text:?} stands where a key should")))
}
