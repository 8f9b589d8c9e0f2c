//! The forms of events and requests as Rust types. The schemas in `schemas/events/` are made from them:
//! the comments here are the descriptions there.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

/// A text of some form, or a number in some range; its schema stands where it is used.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident($inner:ty), $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

plain!(
    /// A namespace's name.
    Ns(String), {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"});
plain!(
    /// A key, or an address.
    Name(String), {"type": "string", "minLength": 1, "maxLength": 1024});
plain!(
    /// The id of a version, conflict or node, or an address.
    Hash(String), {"type": "string", "pattern": "^[0-9a-f]{64}$"});
plain!(
    /// The id of a store.
    StoreId(String), {"type": "string", "pattern": "^[0-9a-f]{32}$"});
plain!(
    /// A place in the feed of a store.
    Cursor(String), {"type": "string", "minLength": 1});
plain!(
    /// A count, or a time in milliseconds.
    Count(u64), {"type": "integer", "minimum": 0});
plain!(
    /// Milliseconds to wait.
    WaitMs(u64), {"type": "integer", "minimum": 1, "maximum": 60_000});
plain!(
    /// A number of other nodes.
    Nodes(u64), {"type": "integer", "minimum": 1, "maximum": 1024});

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Kind {
    #[allow(missing_docs)]
    Bytes,
    #[allow(missing_docs)]
    String,
    #[allow(missing_docs)]
    Number,
    #[allow(missing_docs)]
    Json,
    #[allow(missing_docs)]
    Cbor,
}

/// Everything that a watch may tell. A type that is not among these is refused by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    #[allow(missing_docs)]
    Put(Put),
    #[allow(missing_docs)]
    Delete(Delete),
    #[allow(missing_docs)]
    Conflict(Conflict),
    #[allow(missing_docs)]
    State(State),
}

/// The key shows this object, whether it was written here or on another node. A later minor version may
/// add properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Put {
    /// The namespace.
    pub ns: Ns,
    /// The key under which the history began: 1 to 1,024 bytes of UTF-8.
    pub key: Name,
    /// The version that speaks for the object.
    pub version: Hash,
    /// What the value is.
    pub kind: Kind,
    /// The value as it stands in frames; absent if values are off or it did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schemars(with = "Json")]
    pub value: Option<Json>,
    /// Milliseconds since 1970 at the version's origin. No clock decides anything.
    pub timestamp: Count,
    /// The store that made the version.
    pub origin: StoreId,
    /// What stands beside the key under addresses since the key was started anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detached: Vec<Side>,
    /// From where a later watch goes on; absent while a watch tells what is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    pub cursor: Option<Cursor>,
}

/// The key shows nothing any more. A later minor version may add properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// The namespace.
    pub ns: Ns,
    /// The key under which the history began: 1 to 1,024 bytes of UTF-8.
    pub key: Name,
    /// The version that deleted it.
    pub version: Hash,
    /// Milliseconds since 1970 at the version's origin. No clock decides anything.
    pub timestamp: Count,
    /// The store that made the version.
    pub origin: StoreId,
    /// What stands beside the key under addresses since the key was started anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detached: Vec<Side>,
    /// From where a later watch goes on; absent while a watch tells what is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    pub cursor: Option<Cursor>,
}

/// Several versions of the key stand side by side, each an object under its address. A later minor
/// version may add properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// The namespace.
    pub ns: Ns,
    /// The key under which the history began: 1 to 1,024 bytes of UTF-8.
    pub key: Name,
    /// The hash of key and addresses; another set of sides has another id.
    pub id: Hash,
    /// The nearest common ancestor; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Base")]
    pub base: Option<Base>,
    /// The sides, sorted by version.
    #[schemars(length(min = 2))]
    pub sides: Vec<Side>,
    /// What stands beside the key under addresses since the key was started anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detached: Vec<Side>,
    /// From where a later watch goes on; absent while a watch tells what is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Cursor")]
    pub cursor: Option<Cursor>,
}

/// How far the namespace of this node agrees with its peers. A later minor version may add properties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// The namespace.
    pub ns: Ns,
    /// The state.
    pub state: Level,
    /// The state that was left; absent if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Level")]
    pub before: Option<Level>,
    /// Why, in words.
    pub reason: String,
    /// Where each peer stands.
    pub peers: Vec<Peer>,
}

/// A state of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Level {
    #[allow(missing_docs)]
    Empty,
    #[allow(missing_docs)]
    NotSynced,
    #[allow(missing_docs)]
    Synced,
}

/// An object under an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "side")]
pub struct Side {
    /// The address.
    pub address: Hash,
    /// The version that speaks for it.
    pub version: Hash,
    /// What the value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Kind")]
    pub kind: Option<Kind>,
    /// The value as it stands in frames; absent if values are off or it did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schemars(with = "Json")]
    pub value: Option<Json>,
    /// Milliseconds since 1970 at the version's origin. No clock decides anything.
    pub timestamp: Count,
    /// The store that made the version.
    pub origin: StoreId,
}

/// A version from which several others come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "base")]
pub struct Base {
    /// The version.
    pub version: Hash,
    /// The value as it stands in frames; absent if values are off, it did not fit or is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schemars(with = "Json")]
    pub value: Option<Json>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "peer")]
pub struct Peer {
    /// The node; absent while it has not said who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hash")]
    pub node: Option<Hash>,
    /// Where it is dialled, if it is this side that dials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub url: Option<String>,
    /// True while a connection stands.
    pub connected: bool,
    /// True if the digests were equal when they were last compared.
    pub agrees: bool,
    /// How many changes it has not acknowledged, as far as is known.
    pub behind: Count,
    /// Why it makes no progress; absent if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Stalled")]
    pub stalled: Option<Stalled>,
    /// Why it is not connected, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub error: Option<String>,
    /// Milliseconds since 1970 of the last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Count")]
    pub last_exchange: Option<Count>,
}

/// A link that makes no progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "stalled")]
pub struct Stalled {
    /// Milliseconds since 1970.
    pub since: Count,
    /// For what the connection waits, in words.
    pub blocked_on: String,
    /// Events that it has not acknowledged.
    pub behind: Count,
}

/// The arguments of a client's put.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRequest {
    /// The namespace.
    pub ns: Ns,
    /// A key, or the address of a side: 64 lower-case hex characters.
    pub key: Name,
    /// The value as it stands in frames.
    pub value: Json,
    /// The version that the object must have; null means that there must be no object; absent means no
    /// condition.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    #[schemars(with = "Option<Hash>")]
    pub if_version: Option<Option<Hash>>,
    /// The answer waits until so many other nodes have the write, or all that have the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wait")]
    pub wait: Option<Wait>,
    /// For at most so many milliseconds; 5,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WaitMs")]
    pub wait_ms: Option<WaitMs>,
}

/// The arguments of a client's delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRequest {
    /// The namespace.
    pub ns: Ns,
    /// A key, or the address of a side: 64 lower-case hex characters.
    pub key: Name,
    /// The version that the object must have; absent means no condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Hash")]
    pub if_version: Option<Hash>,
    /// The answer waits until so many other nodes have the write, or all that have the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Wait")]
    pub wait: Option<Wait>,
    /// For at most so many milliseconds; 5,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WaitMs")]
    pub wait_ms: Option<WaitMs>,
}

/// For whom a write waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Wait {
    /// All that have the namespace, or may.
    All(All),
    /// So many of them.
    Nodes(Nodes),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum All {
    #[allow(missing_docs)]
    All,
}

/// A member that is there, whatever it is: null is a value too.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
