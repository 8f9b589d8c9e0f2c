//! What was: the versions of a history, newest first, and the values they had.

use keepboth_core::ids::{DataHash, StoreId, VersionId};
use keepboth_core::name::{Key, Name};
use keepboth_core::plugin::Earlier;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::{Change, Parents};

use crate::failure::{corrupt, failed};
use crate::loaded::next_of;
use crate::record::Record;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;

/// One version of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The version.
    pub version: VersionId,
    /// What it did.
    pub change: Change,
    /// What it was made on top of, sorted.
    pub parents: Parents,
    /// The hash of its value; [`DataHash::NONE`] for a delete and a split.
    pub data: DataHash,
    /// What its value is and how many bytes it has; None for a delete and a split, and for a value
    /// that is not kept any more.
    pub value: Option<(Kind, usize)>,
    /// Milliseconds since 1970 at its origin.
    pub timestamp: u64,
    /// The store that made it.
    pub origin: StoreId,
    /// Its place in the order of this store.
    pub sequence: u64,
    /// True if it is a tip: nothing was made on top of it on its line.
    pub head: bool,
    /// True if it is a head of the main line.
    pub main: bool,
}

/// Some versions, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastPage {
    /// The key of the history.
    pub key: Key,
    /// The versions, newest first in the order in which this store learned them.
    pub items: Vec<Past>,
    /// Pass it as `after` for the next page; None when there is nothing more.
    pub next: Option<u64>,
}

impl Earlier for Snapshot {
    fn value(&self, name: &Name) -> Result<Option<Value>, Refusal> {
        found(self.get(name).map(|found| found.value))
    }

    fn replaced_by(&self, key: &Key, version: &VersionId) -> Result<Option<Value>, Refusal> {
        let name = Name::Key(key.clone());
        let Some((_, past)) = found(self.version(&name, version))? else { return Ok(None) };
        let [parent] = &past.parents[..] else { return Ok(None) };
        found(self.value_of(&name, parent))
    }
}

/// None for what is not there, or not kept any more.
fn found<T>(outcome: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(refusal) if matches!(refusal.code, Code::NotFound | Code::ValueForgotten) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

impl Snapshot {
    /// The versions of the history that a name belongs to; of an address, too, all of its key's.
    /// `after` is a page's `next`. Refused: `not_found` for a name of no history, `bad_cursor` for an
    /// `after` that is no version of it.
    pub fn history(
        &self,
        name: &Name,
        after: Option<u64>,
        limit: usize,
    ) -> Result<PastPage, Refusal> {
        let (key, row) = self.row_of(name)?;
        let mut at = match after {
            None => row.last,
            Some(after) => self.before(&key, &row, after)?,
        };
        let mut items = Vec::new();
        while at != 0 && items.len() < limit {
            let record = next_of(&key, at, |at| self.tables.record(at))?;
            let prev = record.prev;
            if !row.hides(&record.version.id) {
                items.push(self.past(&row, record, at)?);
            }
            at = prev;
        }
        let next = items.last().filter(|_| at != 0).map(|last| last.sequence);
        Ok(PastPage { key, items, next })
    }

    /// The value of a version of the history that a name belongs to. Refused: `not_found` if it is
    /// no put of that history, `value_forgotten` if its value is not kept any more.
    pub fn value_of(&self, name: &Name, version: &VersionId) -> Result<Value, Refusal> {
        let (key, past) = self.version(name, version)?;
        if past.change != Change::Put {
            return Err(Refusal::not_found(&format!("{name} in version {version}")));
        }
        self.tables.value(&key, version, &past.data, past.sequence)
    }

    /// A version of the history that a name belongs to, and the key of that history. Refused:
    /// `not_found` if it has none of that id.
    pub fn version(&self, name: &Name, version: &VersionId) -> Result<(Key, Past), Refusal> {
        let (key, row) = self.row_of(name)?;
        let mut at = row.last;
        while at != 0 {
            let record = next_of(&key, at, |at| self.tables.record(at))?;
            if record.version.id == *version && !row.hides(version) {
                let past = self.past(&row, record, at)?;
                return Ok((key, past));
            }
            at = record.prev;
        }
        Err(Refusal::not_found(&format!("{name} in version {version}")))
    }

    /// The version that a restore of a key in the trash brings back. Refused: `not_found` if the key
    /// is not in the trash.
    pub fn restorable(&self, key: &Key) -> Result<VersionId, Refusal> {
        let not_found = || {
            let words = format!("{:?} is not in the trash", key.as_str());
            Refusal::new(Code::NotFound, words)
        };
        let row = self.tables.row(key)?.filter(KeyRow::is_trash).ok_or_else(not_found)?;
        let loaded = self.tables.loaded(key)?.ok_or_else(not_found)?;
        loaded.newest_deleted_put(&row.view).ok_or_else(not_found)
    }

    pub(super) fn row_of(&self, name: &Name) -> Result<(Key, KeyRow), Refusal> {
        let not_found = || Refusal::not_found(&name.to_string());
        let key = self.key_of(name)?.ok_or_else(not_found)?;
        let row = self.tables.shown(&key)?.ok_or_else(not_found)?;
        Ok((key, row))
    }

    /// The sequence of the key's version before this one.
    fn before(&self, key: &Key, row: &KeyRow, after: u64) -> Result<u64, Refusal> {
        let record =
            (1..=row.last).contains(&after).then(|| self.tables.record(after)).transpose()?;
        match record {
            Some(record) if record.key == *key => Ok(record.prev),
            _ => {
                let words = format!("{after} is no version in the history of {:?}", key.as_str());
                Err(Refusal::new(Code::BadCursor, words))
            }
        }
    }

    fn past(&self, row: &KeyRow, record: Record, sequence: u64) -> Result<Past, Refusal> {
        let version = record.version;
        let value = match version.change {
            Change::Put => self.kind_and_size(sequence)?,
            Change::Delete | Change::Split => None,
        };
        Ok(Past {
            value,
            sequence,
            head: row.view.tips.contains(&version.id),
            main: row.view.main_heads.contains(&version.id),
            version: version.id,
            change: version.change,
            parents: version.parents,
            data: version.data,
            timestamp: version.timestamp,
            origin: version.origin,
        })
    }

    fn kind_and_size(&self, sequence: u64) -> Result<Option<(Kind, usize)>, Refusal> {
        let Some(row) = self.tables.values().get(sequence).map_err(failed)? else {
            return Ok(None);
        };
        let kind = row.value().first().and_then(|tag| Kind::from_tag(*tag));
        let kind = kind.ok_or_else(|| corrupt(format_args!("value {sequence} has no kind")))?;
        Ok(Some((kind, row.value().len() - 1)))
    }
}
