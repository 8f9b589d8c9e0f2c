//! What the server answers: one struct for each form of answer.

use keepboth_core::ids::{ConflictId, NodeId, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name, Namespace};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::{Change, Parents};

use serde_json::Value as Json;

use super::held::HeldAt;
use super::hook_log::HookLog;
use super::members::{Acks, Held, Members, Reached, Stalled, Unfit};
use super::plugins_told::PluginsTold;

/// What stands after `ok`.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To `hello`.
    Hello(Hello),
    /// To `get` and `get_version`.
    Object(Object),
    /// To `put`, `delete`, `revert`, `resolve` and `restore`; how far it has come if that was waited for.
    Written(Written, Option<Reached>),
    /// To `batch`: one entry for each operation, in order, and how far all of them have come.
    Batch(Vec<Written>, Option<Reached>),
    /// To `list`; `next` is a key.
    List(Page<Listed, Key>),
    /// To `history`; `next` is a version.
    History(Page<Recorded, VersionId>),
    /// To `conflicts`; values are left out.
    Conflicts(Page<Conflict, Key>),
    /// To `conflict`.
    Conflict(Conflict),
    /// To `trash`.
    Trash(Page<Trashed, Key>),
    /// To `watch`: the number that its pushed frames carry.
    Watch {
        /// The number.
        sub: u64,
    },
    /// To `unwatch`.
    Unwatch,
    /// To `status`.
    Status(Status),
    /// To `ns_info`.
    NsInfo(Box<NamespaceInfo>),
    /// To `ns_add`.
    NsAdded {
        /// The namespace.
        ns: Namespace,
        /// Its store.
        store: StoreId,
        /// False if it was there before.
        added: bool,
    },
    /// To `ns_rm`.
    NsRemoved {
        /// The namespace.
        ns: Namespace,
        /// Where its database is now, at the server.
        file: String,
    },
    /// To `reload`.
    Reloaded(Box<Reloaded>),
    /// To `purge`.
    Purged {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
    },
    /// To `quarantine`.
    Quarantine(Page<Held, HeldAt>),
    /// To `judge`.
    Judged {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
        /// The version.
        version: VersionId,
        /// Whether readers see it from now on.
        admitted: bool,
    },
    /// To `schema_report`.
    SchemaReport {
        /// The objects that break a schema.
        page: Page<Unfit, Key>,
        /// True if schemas are bound to keys of the namespace.
        bound: bool,
        /// True if all objects were looked at since the schemas changed.
        done: bool,
        /// How many were looked at.
        checked: u64,
        /// How many break a schema; further ones than are listed are only counted.
        unfit: u64,
    },
    /// To `quarantine_retry`.
    Retried {
        /// The namespace.
        ns: Namespace,
        /// Versions that readers see from now on.
        admitted: u64,
        /// Versions that stay in quarantine.
        held: u64,
    },
    /// To `hook_log`.
    HookLog(HookLog),
    /// To `acks`.
    Acks(Acks),
    /// To `query` and `plugin`: an object that a plugin made.
    Plugin(Json),
    /// To `peers`.
    Peers(Members),
    /// To `peer_invite`.
    Invited {
        /// What the new node shows, once.
        token: String,
        /// Until when, in milliseconds since 1970.
        expires: u64,
    },
    /// To `peer_add`.
    PeerAdded {
        /// The node.
        node: NodeId,
        /// False if it was a member with the same rights.
        added: bool,
    },
    /// To `peer_rm`.
    PeerRemoved {
        /// The node.
        node: NodeId,
        /// False if it was removed before.
        removed: bool,
    },
}

/// Some of many items.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<Item, Next> {
    /// The items of this page.
    pub items: Vec<Item>,
    /// What to give as `after` for the next page; None if this was the last.
    pub next: Option<Next>,
}

/// Who the server is.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The program's version.
    pub version: String,
    /// The node.
    pub node: NodeId,
    /// True if a copy of the node runs elsewhere.
    pub twin: bool,
    /// The namespaces that the client may use.
    pub namespaces: Vec<Namespace>,
    /// The bounds that hold here.
    pub limits: LimitsInfo,
}

/// The bounds that a client meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsInfo {
    /// Most bytes of one value; a namespace may allow less.
    pub value_bytes_max: usize,
    /// Most bytes of a key.
    pub key_bytes_max: usize,
    /// Most bytes of one message in either direction.
    pub frame_bytes_max: usize,
    /// Most operations of a batch.
    pub batch_ops_max: usize,
    /// Most items of a page.
    pub page_items_max: usize,
    /// Most watches of one connection.
    pub watches_max: usize,
    /// Most requests of one connection that wait for their answer.
    pub in_flight_max: usize,
}

/// An object, or one version of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The key of its history.
    pub key: Key,
    /// The name under which it is shown: its key or an address.
    pub name: Name,
    /// The version that speaks for it.
    pub version: VersionId,
    /// Its value.
    pub value: Value,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
}

/// A write that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The name that was written.
    pub name: Name,
    /// The key of its history.
    pub key: Key,
    /// The version that the write made.
    pub version: VersionId,
    /// The store's count of changes after the write.
    pub sequence: u64,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name under which it is shown: its key or an address.
    pub name: Name,
    /// The key of its history.
    pub key: Key,
    /// The version that speaks for it.
    pub version: VersionId,
    /// Its kind, if it was read.
    pub kind: Option<Kind>,
    /// Its value, if it was asked for.
    pub value: Option<Value>,
    /// True for a side of a conflict at the key.
    pub conflict: bool,
    /// True for what was set apart when the key started anew.
    pub detached: bool,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
}

/// A version in a history.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The version.
    pub version: VersionId,
    /// What it did.
    pub change: Change,
    /// What it was made on top of.
    pub parents: Parents,
    /// Milliseconds since 1970 at its origin.
    pub timestamp: u64,
    /// The store that made it.
    pub origin: StoreId,
    /// True if nothing was made on top of it.
    pub head: bool,
    /// The kind of its value, if that is kept.
    pub kind: Option<Kind>,
    /// The bytes of its value, if that is kept.
    pub bytes: Option<usize>,
}

/// A key in conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// The hash of key and addresses; another set of sides has another id.
    pub id: ConflictId,
    /// The nearest common ancestor, if there is one.
    pub base: Option<Base>,
    /// The sides, sorted by version.
    pub sides: Vec<Side>,
}

/// The nearest common ancestor of the sides of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The version.
    pub version: VersionId,
    /// Its value, if it is kept and asked for.
    pub value: Option<Value>,
}

/// An object that is shown under an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// The address.
    pub address: Address,
    /// The version that speaks for it.
    pub version: VersionId,
    /// Its value, where that is asked for.
    pub value: Option<Value>,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
}

/// A key in the trash.
#[derive(Debug, Clone, PartialEq)]
pub struct Trashed {
    /// The key.
    pub key: Key,
    /// The delete.
    pub version: VersionId,
    /// Milliseconds since 1970 at the delete's origin.
    pub timestamp: u64,
    /// The store that deleted it.
    pub origin: StoreId,
}

/// How the node is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// The program's version.
    pub version: String,
    /// True if a copy of the node runs elsewhere.
    pub twin: bool,
    /// Seconds since the server started.
    pub uptime_s: u64,
    /// The namespaces.
    pub namespaces: Vec<NamespaceStatus>,
    /// Clients that are connected.
    pub connections: usize,
    /// What the plugins of the server say, for those who may see all; nothing for others.
    pub plugins: PluginsTold,
}

/// How a namespace is.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceStatus {
    /// Its name.
    pub name: Namespace,
    /// Empty, not synced or synced.
    pub state: State,
    /// Why, in words.
    pub reason: String,
    /// Keys with a history.
    pub keys: u64,
    /// Objects that are shown.
    pub objects: u64,
    /// Keys in conflict.
    pub conflicts: u64,
    /// Keys in the trash.
    pub trash: u64,
    /// Versions in quarantine.
    pub quarantined: u64,
    /// Objects that break the schemas that hold now.
    pub unfit: u64,
    /// What its plugins say.
    pub plugins: PluginsTold,
    /// The store's count of changes.
    pub sequence: u64,
    /// The store.
    pub store: StoreId,
    /// Where each peer stands.
    pub peers: Vec<PeerStatus>,
}

/// All about one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct NamespaceInfo {
    /// How it is.
    pub status: NamespaceStatus,
    /// How often the store was put back from a backup, from 1.
    pub epoch: u64,
    /// `config` or `command`.
    pub made_by: &'static str,
    /// True if peers may have it.
    pub replicate: bool,
    /// Bytes of its database file.
    pub file_bytes: u64,
    /// The bounds that hold in it.
    pub limits: NamespaceLimits,
    /// Its plugins, in the order in which they are asked.
    pub plugins: Vec<String>,
}

/// The bounds of one namespace; None where there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceLimits {
    /// Most bytes of one value.
    pub value_bytes_max: u64,
    /// Most objects.
    pub objects_max: Option<u64>,
    /// Most bytes of all stored values.
    pub bytes_max: Option<u64>,
    /// Most writes of clients in a second.
    pub writes_per_second: Option<u64>,
    /// Versions of a key whose values are kept.
    pub history_values: u64,
    /// Versions of a key whose records are kept.
    pub history_records: u64,
    /// Milliseconds for which the last value of a deleted key is kept.
    pub trash_keep_ms: u64,
    /// Milliseconds for which a delete is remembered.
    pub trash_forget_ms: u64,
}

/// What reading the configuration again has changed. Everything is by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Namespaces that are new.
    pub namespaces_added: Vec<String>,
    /// Namespaces that are gone.
    pub namespaces_removed: Vec<String>,
    /// Namespaces whose plugins or bounds are others.
    pub namespaces_changed: Vec<String>,
    /// Plugins of the server as a whole that are new, others or gone.
    pub plugins_changed: Vec<String>,
    /// Peers that are dialled from now on.
    pub peers_added: Vec<String>,
    /// Peers that are not dialled any more.
    pub peers_removed: Vec<String>,
    /// Settings that were changed in the file and hold only after a restart, as `section.key`.
    pub restart_needed: Vec<String>,
}

/// Whether a store has what its peers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has no history.
    Empty,
    /// It has histories, and no peer that agrees, or one that does not.
    NotSynced,
    /// Every connected peer shows the same digest.
    Synced,
}

impl State {
    /// The state's name in frames.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Empty => "empty",
            State::NotSynced => "not_synced",
            State::Synced => "synced",
        }
    }
}

/// Where a peer stands with one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its node id, once it has said it.
    pub node: Option<NodeId>,
    /// Where it is called, if this node calls it.
    pub url: Option<String>,
    /// True while a connection stands.
    pub connected: bool,
    /// True if both show the same digest and nothing is on its way.
    pub agrees: bool,
    /// Changes made here that it has not acknowledged.
    pub behind: u64,
    /// Why it makes no progress.
    pub stalled: Option<Stalled>,
    /// The last error, in words.
    pub error: Option<String>,
    /// Milliseconds since 1970 of the last message that it sent.
    pub last_exchange: Option<u64>,
}
