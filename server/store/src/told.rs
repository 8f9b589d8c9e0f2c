//! What the commit thread answers, and what it tells after a commit.

use keepboth_core::digest::Digest;
use keepboth_core::ids::{ConflictId, DataHash, NodeId, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::version::{Change, Event};

use crate::state::{Counts, KeyState};

/// A write that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The name that was written.
    pub name: Name,
    /// The key of its history.
    pub key: Key,
    /// The version that was made; of a split and its child, the child.
    pub version: VersionId,
    /// Its place in the order of this store.
    pub sequence: u64,
    /// Put or delete.
    pub change: Change,
    /// The hash of its value.
    pub data: DataHash,
    /// True if the key was in conflict before and is not any more.
    pub conflict_ended: bool,
}

/// One transaction, after it is durable and its tasks are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// What changed, in order; a key that was written several times stands here several times.
    pub changes: Vec<KeyChange>,
    /// Keys that were forgotten here, with the tips that they had: peers have to be told.
    pub forgotten: Vec<(Key, Vec<VersionId>)>,
    /// The digest of the namespace after it.
    pub root: Digest,
    /// The counters after it.
    pub counts: Counts,
}

/// What one write, or one version of a peer, did to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key after this change.
    pub state: KeyState,
    /// The versions that are new, with values, parents first.
    pub made: Vec<Event>,
    /// True if they were made here.
    pub local: bool,
    /// The node that made them just now, if it is another one: they may have to be passed on.
    pub maker: Option<NodeId>,
    /// A conflict event that is now due.
    pub conflict: Option<Raised>,
}

/// A conflict event: raised once for each set of sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// The hash of the key and the sides' addresses.
    pub id: ConflictId,
    /// The key in conflict.
    pub key: Key,
    /// The nearest common ancestor.
    pub base: Option<VersionId>,
    /// The addresses of the sides, sorted.
    pub addresses: Vec<Address>,
    /// The sides, sorted by version.
    pub sides: Vec<Side>,
    /// False if every side is a merge of merges: hooks are not asked again.
    pub ask_hooks: bool,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The version that speaks for it.
    pub version: VersionId,
    /// The address under which it stands.
    pub address: Address,
    /// The store that made the version.
    pub origin: StoreId,
    /// Milliseconds since 1970 at its origin.
    pub timestamp: u64,
}

/// What a step of retention did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// Values that are gone while their records stay.
    pub values: u64,
    /// Records that are gone from histories.
    pub records: u64,
    /// Keys that were forgotten.
    pub forgotten: u64,
    /// Forgotten keys that are gone for good.
    pub removed: u64,
    /// Where the next step of this round goes on; None if everything was looked at.
    pub next: Option<Place>,
}

/// How far a round of retention has come. It begins with the notes of keys that were forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the note with this sequence.
    Notes(u64),
    /// At this key of the trash: which of its two times is up, since when it counts, and its text.
    Trash(u8, u64, String),
    /// Where the histories were left: the store remembers it.
    Histories,
}

impl Default for Place {
    fn default() -> Place {
        Place::Notes(0)
    }
}
