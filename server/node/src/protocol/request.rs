//! What a client can ask for: one enum, one variant for each method, one field for each argument.

use keepboth_core::ids::{ConflictId, NodeId, VersionId};
use keepboth_core::name::{Address, Key, Name, Namespace};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use serde_json::Value as Json;

use super::cursor::Cursor;
use super::held::HeldAt;

/// A frame that asks for something.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's number for it, 0 to 2^53 - 1; the answer carries the same.
    pub id: u64,
    /// What it asks for.
    pub call: Call,
}

/// A method with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Who the client is; optional, and first if it is sent.
    Hello {
        /// The client's name, under which hooks and the audit see its writes.
        client: Option<String>,
        /// The protocol version that it speaks.
        version: Option<u32>,
        /// A bearer token.
        token: Option<String>,
    },
    /// The object under a name.
    Get {
        /// The namespace.
        ns: Namespace,
        /// A key or an address.
        key: Name,
    },
    /// Gives a name a value.
    Put {
        /// The namespace.
        ns: Namespace,
        /// A key or an address.
        key: Name,
        /// The value.
        value: PutValue,
        /// `if_version`: absent, null, or a version.
        condition: Condition,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// Deletes the object under a name.
    Delete {
        /// The namespace.
        ns: Namespace,
        /// A key or an address.
        key: Name,
        /// `if_version`: absent, null, or a version.
        condition: Condition,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// Several writes, all or nothing.
    Batch {
        /// The namespace of all of them.
        ns: Namespace,
        /// At least one, at most 1,000.
        ops: Vec<BatchOp>,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// The objects of a namespace in the order of their keys, page by page.
    List {
        /// The namespace.
        ns: Namespace,
        /// Only keys that begin so.
        prefix: Option<String>,
        /// The `next` of the page before.
        after: Option<Key>,
        /// Most items of the page.
        limit: Option<usize>,
        /// True if the values are wanted too.
        values: bool,
    },
    /// The versions of a key, the last learned first, page by page.
    History {
        /// The namespace.
        ns: Namespace,
        /// A key, or an address of its history.
        key: Name,
        /// The `next` of the page before.
        after: Option<VersionId>,
        /// Most items of the page.
        limit: Option<usize>,
    },
    /// One version with its value.
    GetVersion {
        /// The namespace.
        ns: Namespace,
        /// A key, or an address of its history.
        key: Name,
        /// The version.
        version: VersionId,
    },
    /// Puts the value of an earlier version.
    Revert {
        /// The namespace.
        ns: Namespace,
        /// A key or an address.
        key: Name,
        /// The version whose value it is to get.
        version: VersionId,
        /// `if_version`: absent, null, or a version.
        condition: Condition,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// The keys in conflict, page by page.
    Conflicts {
        /// The namespace.
        ns: Namespace,
        /// The `next` of the page before.
        after: Option<Key>,
        /// Most items of the page.
        limit: Option<usize>,
    },
    /// One conflict with all its values.
    Conflict {
        /// The namespace.
        ns: Namespace,
        /// The key in conflict.
        key: Key,
    },
    /// Ends a conflict.
    Resolve {
        /// The namespace.
        ns: Namespace,
        /// The key in conflict.
        key: Key,
        /// With what.
        with: Resolution,
        /// Only if the conflict is still this one.
        if_conflict: Option<ConflictId>,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// The keys whose object was deleted, page by page.
    Trash {
        /// The namespace.
        ns: Namespace,
        /// The `next` of the page before.
        after: Option<Key>,
        /// Most items of the page.
        limit: Option<usize>,
    },
    /// Brings a key back from the trash.
    Restore {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
        /// The version whose value it is to get; the last one if absent.
        version: Option<VersionId>,
        /// For which members the answer waits.
        wait: Option<Waiting>,
    },
    /// What changes from now on, or from a cursor on.
    Watch {
        /// The namespace.
        ns: Namespace,
        /// Only keys that begin so.
        prefix: Option<String>,
        /// True if what is there comes first.
        initial: bool,
        /// Goes on after this place.
        cursor: Option<Cursor>,
        /// True if put events carry their value.
        values: bool,
    },
    /// Ends a watch.
    Unwatch {
        /// Its number.
        sub: u64,
    },
    /// How the node and its namespaces are.
    Status {
        /// Only this namespace.
        ns: Option<Namespace>,
    },
    /// All about one namespace, with its limits and plugins.
    NsInfo {
        /// The namespace.
        ns: Namespace,
    },
    /// Makes a namespace without plugins.
    NsAdd {
        /// The namespace.
        ns: Namespace,
    },
    /// Removes a namespace that was made by command.
    NsRm {
        /// The namespace.
        ns: Namespace,
    },
    /// Reads the configuration again.
    Reload,
    /// Drops a key of the trash at once, on all nodes.
    Purge {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
    },
    /// The versions that readers do not see, page by page.
    Quarantine {
        /// The namespace.
        ns: Namespace,
        /// The `next` of the page before.
        after: Option<HeldAt>,
        /// Most items of the page.
        limit: Option<usize>,
    },
    /// Ends the quarantine of a version.
    Judge {
        /// The namespace.
        ns: Namespace,
        /// The key of its history.
        key: Key,
        /// The version.
        version: VersionId,
        /// True if readers see it from now on, false if it stays hidden and its value goes.
        admit: bool,
    },
    /// The objects that break the schemas that hold now, page by page.
    SchemaReport {
        /// The namespace.
        ns: Namespace,
        /// The `next` of the page before.
        after: Option<Key>,
        /// Most items of the page; all of one key stand in one page.
        limit: Option<usize>,
    },
    /// Asks plugins and limits again of every version in quarantine.
    QuarantineRetry {
        /// The namespace.
        ns: Namespace,
    },
    /// Whether a version is everywhere.
    Acks {
        /// The namespace.
        ns: Namespace,
        /// A key or an address.
        key: Name,
        /// The version; what the name shows now if absent.
        version: Option<VersionId>,
        /// Milliseconds for which members may answer.
        within_ms: u64,
    },
    /// The objects that an index has under some values, page by page.
    Query {
        /// The namespace.
        ns: Namespace,
        /// What is asked of the plugin that has the index: all fields but the namespace.
        query: Json,
    },
    /// Asks something of a plugin.
    Plugin {
        /// The namespace to which it is bound.
        ns: Namespace,
        /// Its name.
        plugin: String,
        /// What is asked.
        op: String,
        /// An object that the plugin understands.
        arguments: Json,
    },
    /// The other members of the mesh, page by page.
    Peers {
        /// The `next` of the page before.
        after: Option<String>,
        /// Most items of the page.
        limit: Option<usize>,
    },
    /// Makes an invitation for one new node.
    PeerInvite {
        /// The namespaces that it may have; None for all.
        namespaces: Option<Vec<Namespace>>,
        /// Milliseconds for which the invitation holds.
        expires_ms: u64,
    },
    /// Admits a node to the mesh.
    PeerAdd {
        /// The node.
        node: NodeId,
        /// The namespaces that it may have; None for all.
        namespaces: Option<Vec<Namespace>>,
    },
    /// Removes a node from the mesh.
    PeerRm {
        /// The node.
        node: NodeId,
    },
}

/// The methods, in the order of the documentation.
pub const METHODS: &[&str] = &[
    "hello",
    "get",
    "put",
    "delete",
    "batch",
    "list",
    "history",
    "get_version",
    "revert",
    "conflicts",
    "conflict",
    "resolve",
    "trash",
    "restore",
    "watch",
    "unwatch",
    "status",
    "ns_info",
    "ns_add",
    "ns_rm",
    "reload",
    "purge",
    "quarantine",
    "judge",
    "quarantine_retry",
    "schema_report",
    "acks",
    "query",
    "plugin",
    "peers",
    "peer_invite",
    "peer_add",
    "peer_rm",
];

impl Call {
    /// The method's name in frames.
    pub fn method(&self) -> &'static str {
        match self {
            Call::Hello { .. } => "hello",
            Call::Get { .. } => "get",
            Call::Put { .. } => "put",
            Call::Delete { .. } => "delete",
            Call::Batch { .. } => "batch",
            Call::List { .. } => "list",
            Call::History { .. } => "history",
            Call::GetVersion { .. } => "get_version",
            Call::Revert { .. } => "revert",
            Call::Conflicts { .. } => "conflicts",
            Call::Conflict { .. } => "conflict",
            Call::Resolve { .. } => "resolve",
            Call::Trash { .. } => "trash",
            Call::Restore { .. } => "restore",
            Call::Watch { .. } => "watch",
            Call::Unwatch { .. } => "unwatch",
            Call::Status { .. } => "status",
            Call::NsInfo { .. } => "ns_info",
            Call::NsAdd { .. } => "ns_add",
            Call::NsRm { .. } => "ns_rm",
            Call::Reload => "reload",
            Call::Purge { .. } => "purge",
            Call::Quarantine { .. } => "quarantine",
            Call::Judge { .. } => "judge",
            Call::QuarantineRetry { .. } => "quarantine_retry",
            Call::SchemaReport { .. } => "schema_report",
            Call::Acks { .. } => "acks",
            Call::Query { .. } => "query",
            Call::Plugin { .. } => "plugin",
            Call::Peers { .. } => "peers",
            Call::PeerInvite { .. } => "peer_invite",
            Call::PeerAdd { .. } => "peer_add",
            Call::PeerRm { .. } => "peer_rm",
        }
    }
}

/// For how many members a write waits, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// For how many.
    pub wait: Wait,
    /// For at most so many milliseconds.
    pub ms: u64,
}

/// A number of other members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// All that have the namespace, or may.
    All,
    /// So many of them.
    Count(usize),
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchOp {
    /// As [`Call::Put`].
    Put {
        /// A key or an address.
        key: Name,
        /// The value.
        value: PutValue,
        /// `if_version`.
        condition: Condition,
    },
    /// As [`Call::Delete`].
    Delete {
        /// A key or an address.
        key: Name,
        /// `if_version`.
        condition: Condition,
    },
    /// As [`Call::Revert`].
    Revert {
        /// A key or an address.
        key: Name,
        /// The version whose value it is to get.
        version: VersionId,
        /// `if_version`.
        condition: Condition,
    },
    /// As [`Call::Resolve`].
    Resolve {
        /// The key in conflict.
        key: Key,
        /// With what.
        with: Resolution,
        /// Only if the conflict is still this one.
        if_conflict: Option<ConflictId>,
    },
}

/// What a conflict is resolved with.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// A new value.
    Value(PutValue),
    /// The value of the side at this address.
    Side(Address),
}

/// A value on its way in, with its JSON tree where the frame had one, so that nobody parses it again.
#[derive(Debug, Clone, PartialEq)]
pub struct PutValue {
    /// The canonical value.
    pub value: Value,
    /// The same as a tree, if its kind is string, json, or number and finite.
    pub tree: Option<Json>,
}
