//! What one task of retention takes away from the tables, before it is written.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;

use crate::record::Record;

/// Rows that go, rows that are written anew, and what is to be told.
#[derive(Debug, Default)]
pub struct Removal {
    /// Records that go; their values go with them.
    pub records: BTreeSet<u64>,
    /// Records whose neighbours went.
    pub rewritten: BTreeMap<u64, Record>,
    /// Values that go while their records stay.
    pub values: BTreeSet<u64>,
    /// Keys that go altogether.
    pub keys: Vec<Key>,
    /// Keys in the trash whose values are gone.
    pub emptied: Vec<Key>,
    /// Notes that nobody needs any more.
    pub notes: BTreeSet<u64>,
    /// Words of the table `state`.
    pub state: BTreeMap<&'static str, u64>,
    /// Keys that were forgotten, to be told to peers.
    pub forgotten: Vec<(Key, Vec<VersionId>)>,
}

impl Removal {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.rewritten.is_empty()
            && self.values.is_empty()
            && self.keys.is_empty()
            && self.emptied.is_empty()
            && self.notes.is_empty()
            && self.state.is_empty()
    }
}
