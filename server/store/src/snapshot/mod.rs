//! The newest durable state of a store, read without locks; it never changes and the next commit makes another.

use std::sync::{Arc, Mutex};

use keepboth_core::digest::Digest;
use keepboth_core::history::History;
use keepboth_core::ids::{DataHash, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::Refusal;
use keepboth_core::resolve::{self, Meaning, Place};
use keepboth_core::value::Value;

use crate::failure::corrupt_key;
use crate::row::{KeyRow, Speaker};
use crate::state::{Counts, KeyState};
use crate::tables::Tables;
use crate::totals::Totals;

/// Pages of objects.
mod list;
/// What was: versions of a history.
mod past;
/// Keys in conflict and keys in the trash.
mod conflicts;
/// What a watch begins with.
mod states;
/// What watchers ask for.
mod feed;
/// What other stores compare.
mod peers;
/// What other stores lack.
mod missing;
/// Versions in quarantine.
mod held;
/// Everything counted anew.
mod verify;

pub use conflicts::{ConflictDetail, ConflictSide, Keys};
pub use held::QuarantinePage;
pub use list::{Listed, Page};
pub use past::{Past, PastPage};

/// Rows that one call looks at before it answers with what it has and where to go on.
const SCAN_ROWS_MAX: usize = 10_000;

/// A store as one commit left it. Reads refuse with `corrupt` what does not match its hash, and with `store_failed`
/// when the database was closed or the disk fails.
pub struct Snapshot {
    pub(crate) tables: Tables,
    counts: Counts,
    root: Digest,
    /// Digests of ranges, which go on with later commits.
    totals: Arc<Mutex<Totals>>,
}

/// An object with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The key of its history.
    pub key: Key,
    /// The name that it has now, whatever name it was asked for by.
    pub name: Name,
    /// The version that speaks for it.
    pub version: VersionId,
    /// The hash of its value.
    pub data: DataHash,
    /// Its value.
    pub value: Value,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
    /// The version's place in the order of this store.
    pub sequence: u64,
}

impl Snapshot {
    /// The snapshot of these tables.
    pub(crate) fn new(
        tables: Tables,
        counts: Counts,
        root: Digest,
        totals: Arc<Mutex<Totals>>,
    ) -> Snapshot {
        Snapshot { tables, counts, root, totals }
    }

    /// How much the store holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The digest of the namespace.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The object of that name. Refused: `not_found`, and `in_conflict` with the addresses.
    pub fn get(&self, name: &Name) -> Result<Found, Refusal> {
        let (key, row, place) = self.place(name)?;
        let Some((object, speaker)) = at(&row, place) else {
            return Err(corrupt_key(&key, "its row names no version for an object"));
        };
        let version = *object.version();
        let value = self.tables.value(&key, &version, &object.data, speaker.sequence)?;
        let whole = matches!(place, Place::Main(_)) && !row.view.in_conflict();
        let name = match whole {
            true => Name::Key(key.clone()),
            false => Name::Address(object.address(key.hash())),
        };
        Ok(Found {
            name,
            version,
            data: object.data,
            value,
            timestamp: speaker.timestamp,
            origin: speaker.origin,
            sequence: speaker.sequence,
            key,
        })
    }

    /// What is known of a key; None if it has no history here, or none that readers may see.
    pub fn state(&self, key: &Key) -> Result<Option<KeyState>, Refusal> {
        Ok(self.tables.shown(key)?.map(|row| row.state(key)))
    }

    /// The key of the history that a name belongs to; None for an address of no key known here. A
    /// key is its own, whether it is known or not.
    pub fn key_of(&self, name: &Name) -> Result<Option<Key>, Refusal> {
        match name {
            Name::Key(key) => Ok(Some(key.clone())),
            Name::Address(address) => self.tables.key_of(&address.key),
        }
    }

    /// All versions of a key, hidden ones included; None if it has no history here.
    pub fn load_history(&self, key: &Key) -> Result<Option<History>, Refusal> {
        Ok(self.tables.loaded(key)?.map(|loaded| loaded.history))
    }

    /// The sequence of a version; None if it is not in the history of the key, or its record was
    /// forgotten.
    pub fn sequence_of_version(
        &self,
        key: &Key,
        version: &VersionId,
    ) -> Result<Option<u64>, Refusal> {
        let loaded = self.tables.loaded(key)?;
        let sequence = loaded.and_then(|loaded| {
            let at = loaded.history.find(version)?;
            loaded.sequences.get(at).copied()
        });
        Ok(sequence)
    }

    fn place(&self, name: &Name) -> Result<(Key, KeyRow, Place), Refusal> {
        match name {
            Name::Key(key) => self.place_of_key(key),
            Name::Address(address) => self.place_of_address(address),
        }
    }

    fn place_of_key(&self, key: &Key) -> Result<(Key, KeyRow, Place), Refusal> {
        let not_found = || Refusal::not_found(key.as_str());
        let row = self.tables.shown(key)?.ok_or_else(not_found)?;
        match row.view.candidates.len() {
            0 => Err(not_found()),
            1 => Ok((key.clone(), row, Place::Main(0))),
            _ => Err(Refusal::in_conflict(key.as_str(), row.view.conflict_addresses(key.hash()))),
        }
    }

    fn place_of_address(&self, address: &Address) -> Result<(Key, KeyRow, Place), Refusal> {
        let not_found = || Refusal::not_found(&address.to_string());
        let key = self.tables.key_of(&address.key)?.ok_or_else(not_found)?;
        let row = self.tables.shown(&key)?.ok_or_else(not_found)?;
        if let Some(place) = row.view.shown(&address.branch) {
            return Ok((key, row, place));
        }
        let loaded = self.tables.loaded(&key)?.ok_or_else(not_found)?;
        match resolve::meaning(&loaded.visible(), &row.view, &address.branch) {
            Meaning::One(place) => Ok((key, row, place)),
            Meaning::Several(all) => Err(Refusal::in_conflict(&address.to_string(), all)),
            Meaning::Gone | Meaning::Unknown => Err(not_found()),
        }
    }
}

/// The object at a place of a row, with its speaker.
pub(crate) fn at(row: &KeyRow, place: Place) -> Option<(&keepboth_core::view::Object, &Speaker)> {
    let index = match place {
        Place::Main(at) => at,
        Place::Detached(at) => row.view.candidates.len() + at,
    };
    Some((row.view.at(place)?, row.speakers.get(index)?))
}
