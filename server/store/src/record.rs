//! The row of a version: change, sequence of the key's version before, timestamp, origin, id, parents, gap, key.
//!
//! In bytes: change (1: put 0, delete 1, split 2; 16 more if it stands on a gap), the sequence of the record
//! before it of the same key or 0, and the timestamp, each in as many bytes as it needs, origin (16), id
//! (32), of a put the data hash (32), the list of parents (how many, then 32 each), of one on a gap the nearest ancestor that was kept when the
//! parent was forgotten (32), and the key's text to the end. If the parent is known after all, because
//! it was learned again, the gap means nothing.

use keepboth_core::ids::{DataHash, VersionId};
use keepboth_core::name::Key;
use keepboth_core::version::{Change, Version};

use crate::layout::{BadRow, Reader, Writer};

/// One version, with its place in the list of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    pub version: Version,
    /// The sequence of the version of this key that was learned before; 0 for the first.
    pub prev: u64,
    /// The ancestor on which the version stands if its only parent was forgotten.
    pub gap: Option<VersionId>,
}

/// Added to the change of a version on a gap.
const ON_GAP: u8 = 16;

impl Record {
    pub fn encode(&self) -> Vec<u8> {
        let version = &self.version;
        let mut row = Writer(Vec::with_capacity(160 + self.key.as_str().len()));
        let change = match version.change {
            Change::Put => 0,
            Change::Delete => 1,
            Change::Split => 2,
        };
        let change = change + if self.gap.is_some() { ON_GAP } else { 0 };
        row.u8(change).number(self.prev).number(version.timestamp);
        row.bytes(&version.origin.0).bytes(&version.id.0);
        if version.change == Change::Put {
            row.bytes(&version.data.0);
        }
        row.versions(&version.parents);
        if let Some(gap) = &self.gap {
            row.bytes(&gap.0);
        }
        row.bytes(self.key.as_str().as_bytes());
        row.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Record, BadRow> {
        let mut row = Reader(bytes);
        let first = row.u8()?;
        let change = match first & !ON_GAP {
            0 => Change::Put,
            1 => Change::Delete,
            2 => Change::Split,
            _ => return Err(BadRow("of no known change")),
        };
        let (prev, timestamp) = (row.number()?, row.number()?);
        let (origin, id) = (row.store()?, row.version()?);
        let data = if change == Change::Put { row.data()? } else { DataHash::NONE };
        let parents = row.versions()?;
        let gap = (first & ON_GAP != 0).then(|| row.version()).transpose()?;
        let key = Key::new(row.text()?).map_err(|_| BadRow("without a key in good form"))?;
        let version = Version { id, change, parents, data, timestamp, origin };
        Ok(Record { key, version, prev, gap })
    }
}
