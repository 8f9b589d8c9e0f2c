//! What hooks are told: writes on their way in, writes that are done, conflicts and states.

use std::fmt;
use std::sync::Arc;

use super::Draft;
use crate::ids::{NodeId, VersionId};
use crate::name::{Address, Key, Name, Namespace};
use crate::refusal::Refusal;
use crate::value::Value;
use crate::version::Change;

/// How far a store agrees with its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// No history.
    #[default]
    Empty,
    /// Histories, and no peer connected, or one that differs or has not acknowledged everything.
    NotSynced,
    /// Histories, at least one peer connected, and all connected ones show the same digest.
    Synced,
}

impl Level {
    /// All states, in the order of their names in [`Level::as_str`].
    pub const ALL: [Level; 3] = [Level::Empty, Level::NotSynced, Level::Synced];

    /// The state's name in frames.
    pub fn as_str(self) -> &'static str {
        ["empty", "not_synced", "synced"][self as usize]
    }
}

/// A store that went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The namespace.
    pub namespace: Namespace,
    /// The state that was left.
    pub before: Level,
    /// The state that holds now.
    pub now: Level,
    /// Why, in words for people.
    pub reason: String,
}

/// Where a write comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// A client of this node.
    #[default]
    Client,
    /// Another node; it was told live.
    Peer(NodeId),
    /// An after-hook.
    Hook,
    /// A plugin, because its time had come.
    Timer,
    /// A plugin, of its own accord.
    Plugin,
}

impl Source {
    /// Its name for scripts and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::Peer(_) => "peer",
            Source::Hook => "hook",
            Source::Timer => "timer",
            Source::Plugin => "plugin",
        }
    }
}

/// Who asked for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who the client is, by what it proved or else by its hello, or `anonymous`. Of a peer's write the
    /// node's id; of a plugin's the name that it gives.
    pub actor: Arc<str>,
    /// Where it comes from.
    pub source: Source,
    /// 0 for a write of a client, a peer, a timer or a plugin, one more for what was written because of
    /// it, and so on.
    pub depth: u8,
    /// Milliseconds since 1970 when the write came in; of a peer's, when it was made there.
    pub now: u64,
}

impl Origin {
    /// A write that nothing led to.
    pub fn new(source: Source, actor: impl Into<Arc<str>>, now: u64) -> Origin {
        Origin { actor: actor.into(), source, depth: 0, now }
    }

    /// A write that another one led to: same actor, one deeper.
    pub fn caused_by(&self, source: Source, now: u64) -> Origin {
        Origin { actor: self.actor.clone(), source, depth: self.depth.saturating_add(1), now }
    }
}

/// Reads what objects were before a write; a store's snapshot does.
pub trait Earlier: Send + Sync {
    /// The value of an object; None if there is none. `in_conflict` if the name stands for several.
    fn value(&self, name: &Name) -> Result<Option<Value>, Refusal>;

    /// The value that a version replaced; None if there was none or several, or it is not kept.
    fn replaced_by(&self, key: &Key, version: &VersionId) -> Result<Option<Value>, Refusal>;
}

/// The store as it was before a write, to be read only if somebody asks.
#[derive(Clone, Default)]
pub struct Before(Option<Arc<dyn Earlier>>);

impl Before {
    /// There was nothing.
    pub fn nothing() -> Before {
        Before(None)
    }

    /// What this reads.
    pub fn of(store: Arc<dyn Earlier>) -> Before {
        Before(Some(store))
    }

    fn value(&self, name: &Name) -> Result<Option<Value>, Refusal> {
        self.0.as_ref().map_or(Ok(None), |store| store.value(name))
    }
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Before")
    }
}

/// A put on its way in.
#[derive(Debug)]
pub struct Put {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that is written: a key or an address.
    pub name: Name,
    /// The key of the history that is written: the name itself, or the key that the address belongs to.
    pub key: Key,
    /// Who asked.
    pub origin: Origin,
    /// The value, to be read or changed.
    pub draft: Draft,
    /// What was before, for [`Put::old`].
    pub before: Before,
}

impl Put {
    /// The value that the put replaces; None if there is none. In a batch it is what an earlier operation
    /// makes of the object, if one does. Read from the store at this call, after which the write holds
    /// only for that value: if another write comes between, the hooks are asked again. So it makes the
    /// writes of a thread of hooks wait for each other. Refused with `in_conflict` if the name stands for
    /// several; then another write may come between.
    pub fn old(&self) -> Result<Option<Value>, Refusal> {
        self.before.value(&self.name)
    }
}

/// A delete on its way in.
#[derive(Debug)]
pub struct Delete {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that is deleted: a key or an address.
    pub name: Name,
    /// The key of the history that is written.
    pub key: Key,
    /// Who asked.
    pub origin: Origin,
    /// What was before, for [`Delete::old`].
    pub before: Before,
}

impl Delete {
    /// The value that the delete removes; see [`Put::old`].
    pub fn old(&self) -> Result<Option<Value>, Refusal> {
        self.before.value(&self.name)
    }
}

/// A conflict as hooks see it: nothing in it differs between nodes that hold the same versions.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The namespace.
    pub namespace: Namespace,
    /// The key in conflict.
    pub key: Key,
    /// The nearest common ancestor's value, if there is one and it is kept.
    pub base: Option<Value>,
    /// The sides, sorted by version.
    pub sides: Vec<Side>,
}

/// One side of a conflict.
#[derive(Debug, Clone)]
pub struct Side {
    /// The version that speaks for the side.
    pub version: VersionId,
    /// The address under which it is an object.
    pub address: Address,
    /// Its value.
    pub value: Value,
}

/// A write that is durable.
#[derive(Debug, Clone)]
pub struct Done {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that was written.
    pub name: Name,
    /// The key of the history.
    pub key: Key,
    /// The version that the write made.
    pub version: VersionId,
    /// What it did: a put or a delete.
    pub change: Change,
    /// The value of a put; None for a delete.
    pub value: Option<Value>,
    /// Who asked.
    pub origin: Origin,
    /// What was before, for [`Done::old`].
    pub before: Before,
}

impl Done {
    /// The value that this version replaced. None if there was none, if it ended a conflict, or if the
    /// value is not kept any more. Read from the store at this call.
    pub fn old(&self) -> Result<Option<Value>, Refusal> {
        let store = self.before.0.as_ref();
        store.map_or(Ok(None), |store| store.replaced_by(&self.key, &self.version))
    }
}

/// A version of a peer that readers do not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The namespace.
    pub namespace: Namespace,
    /// The key of its history.
    pub key: Key,
    /// The version.
    pub version: VersionId,
    /// The node that sent it.
    pub from: NodeId,
    /// Why it is hidden.
    pub reason: Refusal,
}

/// A write that a hook asks for after another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Where; may be another namespace of this server.
    pub namespace: Namespace,
    /// What.
    pub name: Name,
    /// The value to put; None deletes.
    pub value: Option<Value>,
}
