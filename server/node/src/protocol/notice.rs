//! What the server tells those who watch. An event says the whole present state of one key, so that
//! hearing it twice does no harm.

use keepboth_core::ids::{ConflictId, StoreId, VersionId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::value::{Kind, Value};

use super::answer::{Base, PeerStatus, Side, State};
use super::cursor::Cursor;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The key shows this object.
    Put {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
        /// The version that speaks for the object.
        version: VersionId,
        /// What the value is.
        kind: Kind,
        /// The value, if it was read.
        value: Option<Value>,
        /// Milliseconds since 1970 at the version's origin.
        timestamp: u64,
        /// The store that made the version.
        origin: StoreId,
        /// What stands beside the key under addresses.
        detached: Vec<Side>,
        /// From where to go on; None while what is there is told first.
        cursor: Option<Cursor>,
    },
    /// The key shows nothing any more.
    Delete {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
        /// The version that deleted it.
        version: VersionId,
        /// Milliseconds since 1970 at the version's origin.
        timestamp: u64,
        /// The store that made the version.
        origin: StoreId,
        /// What stands beside the key under addresses.
        detached: Vec<Side>,
        /// From where to go on; None while what is there is told first.
        cursor: Option<Cursor>,
    },
    /// The key is in conflict.
    Conflict {
        /// The namespace.
        ns: Namespace,
        /// The key.
        key: Key,
        /// The hash of key and addresses.
        id: ConflictId,
        /// The nearest common ancestor, if there is one.
        base: Option<Base>,
        /// The sides, each an object under its address.
        sides: Vec<Side>,
        /// What else stands beside the key under addresses.
        detached: Vec<Side>,
        /// From where to go on; None while what is there is told first.
        cursor: Option<Cursor>,
    },
    /// The store went from one state to another, or a peer's part changed.
    State {
        /// The namespace.
        ns: Namespace,
        /// The state.
        state: State,
        /// The state before, if it is another.
        before: Option<State>,
        /// Why, in words.
        reason: String,
        /// Where each peer stands.
        peers: Vec<PeerStatus>,
    },
}

impl Notice {
    /// The key that it is about; None for a state.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Notice::Put { key, .. } | Notice::Delete { key, .. } | Notice::Conflict { key, .. } => {
                Some(key)
            }
            Notice::State { .. } => None,
        }
    }
}
