//! What readers and watchers are told of a key: its objects, each with the version that speaks for it.

use keepboth_core::ids::{DataHash, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::view::View;

/// One object of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name that it has now: the key if it is the key's only candidate, otherwise its address.
    pub name: Name,
    /// Its address, also while it has the key's name.
    pub address: Address,
    /// The version that speaks for it.
    pub version: VersionId,
    /// The hash of its value.
    pub data: DataHash,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
    /// The version's place in the order of this store.
    pub sequence: u64,
    /// True for an object that a split set apart: it stands under its address only.
    pub detached: bool,
}

/// The newest delete of a key that has no object of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// The delete.
    pub version: VersionId,
    /// Milliseconds since 1970 at its origin.
    pub timestamp: u64,
    /// The store that made it.
    pub origin: StoreId,
    /// Its place in the order of this store.
    pub sequence: u64,
}

/// A key as one commit left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key: Key,
    /// The place of the key in the feed of changes: the sequence of its last version or note.
    pub sequence: u64,
    /// How many versions its history has.
    pub versions: u64,
    /// Its heads and objects.
    pub view: View,
    /// Its objects: first what stands under the key or the sides of its conflict, then what was set
    /// apart. Empty in the trash.
    pub shown: Vec<Shown>,
    /// The newest delete, if nothing stands under the key and it is not in conflict.
    pub deleted: Option<Deleted>,
}

impl KeyState {
    /// The object under the key itself.
    pub fn object(&self) -> Option<&Shown> {
        self.view.object().and(self.shown.first())
    }
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Keys with a history that is not forgotten.
    pub keys: u64,
    /// Objects that readers see, under keys and addresses.
    pub objects: u64,
    /// Keys in conflict.
    pub conflicts: u64,
    /// Keys in the trash.
    pub trash: u64,
    /// Bytes of the values that are stored, earlier ones included.
    pub value_bytes: u64,
    /// Versions in quarantine.
    pub quarantined: u64,
    /// Bytes of the values in quarantine.
    pub quarantined_bytes: u64,
    /// The sequence of the newest version or note; 0 in an empty store.
    pub last_sequence: u64,
}
