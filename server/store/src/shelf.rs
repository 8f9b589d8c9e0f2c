//! A table of a plugin's own: bytes to bytes, in a file beside those of the namespaces.

use std::ops::Bound;
use std::path::Path;

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, TableError};

use keepboth_core::plugin::{Row, RowChange, Table};
use keepboth_core::refusal::Refusal;

use crate::disk::Disk;
use crate::durable;
use crate::error::OpenError;
use crate::failure::{failed, unknown};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// The rows as one commit left them.
type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;
/// Memory that a shelf may use to read from.
const CACHE_BYTES: usize = 8 << 20;

/// An ordered table that outlives the process. Any thread may use it.
pub struct Shelf(Database);

impl Shelf {
    /// Opens the table in this file, which is made if it is not there. `Locked` while somebody has it.
    pub fn open(file: &Path) -> Result<Shelf, OpenError> {
        let database = Disk::file(file, CACHE_BYTES).plain()?;
        Ok(Shelf(database))
    }

    fn rows(&self) -> Result<Option<Rows>, Refusal> {
        match self.0.begin_read().map_err(failed)?.open_table(ROWS) {
            Ok(rows) => Ok(Some(rows)),
            // Nothing was ever written.
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn put(&self, changes: &[RowChange], durable: bool) -> Result<(), redb::Error> {
        let transaction = match durable {
            true => durable::begin(&self.0)?,
            false => {
                let mut transaction = self.0.begin_write()?;
                transaction.set_durability(Durability::None)?;
                transaction
            }
        };
        {
            let mut rows = transaction.open_table(ROWS)?;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(rows.insert(key.as_slice(), value.as_slice())?),
                    None => drop(rows.remove(key.as_slice())?),
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Table for Shelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(rows) = self.rows()? else { return Ok(None) };
        let found = rows.get(key).map_err(failed)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, Refusal> {
        // redb takes bounds in the wrong order for a mistake.
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) =
            (from, to)
            && (a > b || a == b && matches!(to, Bound::Excluded(_)))
        {
            return Ok(Vec::new());
        }
        let Some(rows) = self.rows()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for row in rows.range::<&[u8]>((from, to)).map_err(failed)?.take(limit) {
            let (key, value) = row.map_err(failed)?;
            found.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(found)
    }

    fn write(&self, changes: &[RowChange], durable: bool) -> Result<(), Refusal> {
        self.put(changes, durable).map_err(|error| unknown(&error))
    }
}
