//! One immutable version record, and the event that carries it with its key and value.

use smallvec::SmallVec;

use crate::hash;
use crate::ids::{DataHash, StoreId, VersionId};
use crate::limits::{PARENTS_MAX, Stage};
use crate::name::Key;
use crate::refusal::{Code, Refusal};
use crate::value::Value;

/// What a version does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Change {
    /// Gives it a value.
    #[n(0)]
    Put,
    /// Takes it away.
    #[n(1)]
    Delete,
    /// Sets all sides of a conflict apart, so that the key starts anew.
    #[n(2)]
    Split,
}

/// The ids of a version's parents, sorted. Nearly always one.
pub type Parents = SmallVec<[VersionId; 1]>;

/// One version of one key. Never changes once made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The hash that names it.
    pub id: VersionId,
    /// What it does.
    pub change: Change,
    /// What it was made on top of, sorted; empty for a first version.
    pub parents: Parents,
    /// The hash of its value; [`DataHash::NONE`] for a delete and a split.
    pub data: DataHash,
    /// Milliseconds since 1970 at its origin. Hashed only in a first version.
    pub timestamp: u64,
    /// The store that made it. Of two copies the first learned stays.
    pub origin: StoreId,
}

impl Version {
    /// A version without parents.
    pub fn first(key: &Key, data: DataHash, timestamp: u64, origin: StoreId) -> Version {
        let id = hash::first(key.as_str(), &data, timestamp);
        Version { id, change: Change::Put, parents: Parents::new(), data, timestamp, origin }
    }

    /// A put or, with [`DataHash::NONE`], a delete on top of these parents, which it sorts.
    pub fn next(mut parents: Parents, data: DataHash, timestamp: u64, origin: StoreId) -> Version {
        parents.sort_unstable();
        let id = hash::next(&parents, &data);
        let change = if data == DataHash::NONE { Change::Delete } else { Change::Put };
        Version { id, change, parents, data, timestamp, origin }
    }

    /// A split of these parents, which it sorts.
    pub fn split(mut parents: Parents, timestamp: u64, origin: StoreId) -> Version {
        parents.sort_unstable();
        let id = hash::split(&parents);
        Version { id, change: Change::Split, parents, data: DataHash::NONE, timestamp, origin }
    }

    /// True for a put without parents.
    pub fn is_first(&self) -> bool {
        self.parents.is_empty()
    }

    /// Recomputes the id and checks the form that can be seen without the parents' records.
    pub fn check(&self, key: &Key) -> Result<(), Refusal> {
        let bad = |what: String| {
            Err(Refusal::new(
                Code::BadVersion,
                format!("version {} of {key:?}: {what}", self.id, key = key.as_str()),
            ))
        };
        if self.parents.len() > PARENTS_MAX {
            return bad(format!("{} parents, the limit is {PARENTS_MAX}", self.parents.len()));
        }
        if !self.parents.windows(2).all(|pair| pair[0] < pair[1]) {
            return bad("its parents are not sorted, or one stands twice".into());
        }
        let none = self.data == DataHash::NONE;
        let id = match (self.change, self.parents.len()) {
            (Change::Put, _) if none => return bad("a put has a data hash".into()),
            (Change::Put, 0) => hash::first(key.as_str(), &self.data, self.timestamp),
            (Change::Delete, 0) => return bad("a delete has a parent".into()),
            (Change::Split, 0 | 1) => return bad("a split has at least two parents".into()),
            (Change::Delete | Change::Split, _) if !none => {
                return bad("a delete or split has no data hash".into());
            }
            (Change::Put | Change::Delete, _) => hash::next(&self.parents, &self.data),
            (Change::Split, _) => hash::split(&self.parents),
        };
        if id != self.id {
            return bad(format!("its content gives the id {id}"));
        }
        Ok(())
    }

    /// Checks the form that needs the parents' records: `splits` counts the parents that are splits.
    pub fn check_parents(&self, splits: usize) -> Result<(), Refusal> {
        let what = match self.change {
            Change::Put if splits > 0 && splits < self.parents.len() => {
                "a put with a split as parent has only splits as parents"
            }
            Change::Delete if splits > 0 => "a delete has no split as parent",
            Change::Split if splits > 0 => "a split has no split as parent",
            _ => return Ok(()),
        };
        Err(Refusal::new(Code::BadVersion, format!("version {}: {what}", self.id)))
    }
}

/// A version on its way between stores: with its key, and a put with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key under which the history began; never an address.
    pub key: Key,
    /// The record.
    pub version: Version,
    /// The value of a put; None for other changes, and for an old put whose value was forgotten.
    pub value: Option<Value>,
    /// Where the sender has forgotten the only parent: the nearest ancestor that it still knows. What
    /// lay between was a plain line of updates.
    pub gap: Option<VersionId>,
}

impl Event {
    /// An event without a gap.
    pub fn new(key: Key, version: Version, value: Option<Value>) -> Event {
        Event { key, version, value, gap: None }
    }

    /// Checks everything that a receiver can check without the history: the record's form and id,
    /// the value's size, hash and canonical form. A put without its value is one whose value was
    /// forgotten: it stands below others and can never be what readers see.
    pub fn check(&self, value_bytes_max: usize) -> Result<(), Refusal> {
        self.version.check(&self.key)?;
        let bad = |what: &str| {
            Err(Refusal::new(
                Code::BadVersion,
                format!("version {} of {:?}: {what}", self.version.id, self.key.as_str()),
            ))
        };
        match (&self.value, self.version.change) {
            (Some(_), Change::Delete | Change::Split) => bad("a value on a delete or split"),
            (Some(value), Change::Put) => {
                value.check_size(value_bytes_max, Stage::Peer)?;
                if hash::data_hash(value) != self.version.data {
                    return bad("its value does not have its data hash");
                }
                Value::from_canonical(value.kind(), value.as_bytes().clone()).map(|_| ())
            }
            (None, _) if self.gap.is_some() && self.version.parents.len() != 1 => {
                bad("a gap instead of one parent")
            }
            (None, _) => Ok(()),
        }
    }
}
