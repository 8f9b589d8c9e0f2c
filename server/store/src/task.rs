//! What is asked of the commit thread.

use std::fmt;

use keepboth_core::ids::{ConflictId, NodeId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::Refusal;
pub use keepboth_core::session::{Mark, Received};
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::write::Condition;

pub use crate::told::{Collected, Commit, KeyChange, Place, Raised, Side, Written};

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
        /// The versions, of each key parents first. Those of one key that stand together are taken
        /// together: readers see the key after the last of them.
        events: Vec<Incoming>,
        /// The node that sent them.
        from: NodeId,
        /// The node that made them, if they come live: see [`KeyChange::maker`].
        maker: Option<NodeId>,
        /// Milliseconds since 1970.
        now: u64,
        /// Takes what became of each.
        done: Done<Vec<Received>>,
    },
    /// What other nodes have of this store, and what this node remembers of them. Kept with the next commit, and lost if the power goes before: an older mark is always true.
    Agreed {
        /// By node.
        marks: Vec<(NodeId, Mark)>,
    },
    /// Ends the quarantine of a version. The answer is false if it is not in quarantine.
    Judge {
        /// The key of its history.
        key: Key,
        /// The version.
        version: VersionId,
        /// What becomes of it.
        verdict: Verdict,
        /// Milliseconds since 1970.
        now: u64,
        /// Takes whether it was done.
        done: Done<bool>,
    },
    /// Forgets keys in the trash: they count nowhere from now on, and go for good when every peer
    /// knows. A key with other tips than these, or that is not in the trash, stays as it is.
    Forget {
        /// The keys, each with the tips that it must have, sorted.
        keys: Vec<(Key, Vec<VersionId>)>,
        /// True if peers have to be told: see [`Commit::forgotten`].
        local: bool,
        /// True if somebody asked for it, false if its time was over: said in the log.
        purge: bool,
        /// Takes how many were forgotten.
        done: Done<usize>,
    },
    /// One step of retention.
    Collect {
        /// Where the step before ended; the default begins a round.
        from: Place,
        /// What is kept.
        rules: Keep,
        /// The sequence up to which every known peer has what is here.
        horizon: u64,
        /// Milliseconds since 1970.
        now: u64,
        /// About how many rows may be looked at.
        budget: usize,
        /// Takes what was done.
        done: Done<Collected>,
    },
    /// As [`Task::Remote`], for versions of which some come in place of what is here: that goes in the
    /// same commit. If not all of such a key can be taken, nothing of the task is done.
    Replace {
        /// The keys whose histories go, each unless it changed after this sequence.
        keys: Vec<(Key, u64)>,
        /// The versions, of each key parents first.
        events: Vec<Incoming>,
        /// The node that sent them.
        from: NodeId,
        /// Milliseconds since 1970.
        now: u64,
        /// Takes what became of each.
        done: Done<Vec<Received>>,
    },
}

/// A version from another store, and what this node's rules said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// The version.
    pub event: Event,
    /// Why readers must not see it: a schema, a limit or a policy of this node.
    pub refused: Option<Refusal>,
}

impl From<Event> for Incoming {
    fn from(event: Event) -> Incoming {
        Incoming { event, refused: None }
    }
}

/// What becomes of a version in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Readers see it, as if it had come now.
    Admit,
    /// It stays hidden for ever, and its value goes. Its record stays, for peers have it too.
    Discard,
}

/// What retention keeps of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest values of a history. Those of heads stay in any case.
    pub values: u64,
    /// The newest records of a history. Heads, forks, merges, splits and first versions stay in any
    /// case.
    pub records: u64,
    /// How long the values of a key in the trash stay, in milliseconds.
    pub trash_keep: u64,
    /// How long a key stays in the trash, in milliseconds.
    pub trash_forget: u64,
}

impl Task {
    /// Answers that nothing was done.
    pub fn refuse(self, refusal: Refusal) {
        match self {
            Task::Local { done, .. } => done(Err(refusal)),
            Task::Merge { done, .. } => done(Err(refusal)),
            Task::Remote { done, .. } | Task::Replace { done, .. } => done(Err(refusal)),
            Task::Judge { done, .. } => done(Err(refusal)),
            Task::Forget { done, .. } => done(Err(refusal)),
            Task::Collect { done, .. } => done(Err(refusal)),
            Task::Agreed { .. } => {}
        }
    }

    /// True if its answer may come before it is durable, where the namespace allows that. Peers are
    /// told that they need not keep what is here.
    pub(crate) fn may_wait(&self) -> bool {
        matches!(self, Task::Local { .. } | Task::Merge { .. } | Task::Agreed { .. })
    }

    /// True if it comes from a peer.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Task::Remote { .. })
    }

    /// True for a task that takes rows away: it gets a transaction of its own.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(
            self,
            Task::Judge { .. } | Task::Forget { .. } | Task::Collect { .. } | Task::Replace { .. }
        )
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Task::Local { ops, .. } => write!(f, "Local({} ops)", ops.len()),
            Task::Merge { key, .. } => write!(f, "Merge({key})"),
            Task::Remote { events, .. } => write!(f, "Remote({} events)", events.len()),
            Task::Agreed { marks } => write!(f, "Agreed({} peers)", marks.len()),
            Task::Judge { key, verdict, .. } => write!(f, "Judge({key}, {verdict:?})"),
            Task::Forget { keys, .. } => write!(f, "Forget({} keys)", keys.len()),
            Task::Collect { horizon, .. } => write!(f, "Collect(up to {horizon})"),
            Task::Replace { keys, .. } => write!(f, "Replace({} keys)", keys.len()),
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
