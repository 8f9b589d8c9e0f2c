//! What is asked of the commit thread, what it answers, and what it tells after a commit.

use std::fmt;

use keepboth_core::digest::Digest;
use keepboth_core::ids::{ConflictId, DataHash, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::Refusal;
pub use keepboth_core::session::Received;
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Event};
use keepboth_core::write::Condition;

use crate::state::{Counts, KeyState};

/// Takes the answer to a task, on the commit thread; must not block.
pub type Done<T> = Box<dyn FnOnce(Result<T, Refusal>) + Send>;

/// Something to write. The answer comes when it is durable, or refused.
pub enum Task {
    /// Writes made here, all or nothing.
    Local {
        /// The writes, in order; a later one sees what an earlier one did.
        ops: Vec<Op>,
        /// Milliseconds since 1970.
        now: u64,
        /// Takes what became of each, or why nothing was done.
        done: Done<Vec<Written>>,
    },
    /// A hook's merge of a conflict. Made only if the key is still in conflict with exactly that set
    /// of sides; otherwise the answer is None.
    Merge {
        /// The key.
        key: Key,
        /// The set of sides that the hook saw.
        conflict: ConflictId,
        /// The merged value.
        value: Value,
        /// Milliseconds since 1970.
        now: u64,
        /// Takes what became of it.
        done: Done<Option<Written>>,
    },
    /// Versions from another store, whose [`Event::check`] was done; each is judged alone.
    Remote {
        /// The versions, of each key parents first.
        events: Vec<Event>,
        /// Takes what became of each.
        done: Done<Vec<Received>>,
    },
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Local { ops, .. } => write!(f, "Local({} ops)", ops.len()),
            Task::Merge { key, .. } => write!(f, "Merge({key})"),
            Task::Remote { events, .. } => write!(f, "Remote({} events)", events.len()),
        }
    }
}

/// One write made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Gives the object of that name a value; a key in conflict starts anew.
    Put {
        /// A key, or the address of an object.
        name: Name,
        /// The value.
        value: Value,
        /// What must be true before.
        condition: Condition,
    },
    /// Deletes the object of that name.
    Delete {
        /// A key, or the address of an object.
        name: Name,
        /// What must be true before.
        condition: Condition,
    },
    /// Ends the conflict of a key: all sides become one.
    Resolve {
        /// The key in conflict.
        key: Key,
        /// What it becomes.
        with: Resolution,
        /// The set of sides that the writer saw; another set is a `version_mismatch`.
        conflict: Option<ConflictId>,
    },
    /// A put of the value that the object had in an earlier version.
    Revert {
        /// A key, or the address of an object.
        name: Name,
        /// A put of the same history.
        version: VersionId,
        /// What must be true before.
        condition: Condition,
    },
    /// Takes a key out of the trash: a put of an earlier value.
    Restore {
        /// The key in the trash.
        key: Key,
        /// A put of its history; without it, the newest put that was deleted last.
        version: Option<VersionId>,
    },
}

/// What the sides of a conflict become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// This value.
    Value(Value),
    /// The value of the side with this address.
    Side(Address),
}

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
