//! What the server answers about other nodes: who they are, where they stand, what they have, and what
//! of theirs is hidden here.

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Kind;
use keepboth_core::version::Change;

use super::answer::Page;

/// Most namespaces of a member that one answer shows: those that do not agree come first.
pub const SHARED_MAX: usize = 500;

/// To `peers`: some of the other members.
#[derive(Debug, Clone, PartialEq)]
pub struct Members {
    /// This node.
    pub node: NodeId,
    /// True if a copy of this node runs elsewhere.
    pub twin: bool,
    /// The members, by their ids, and behind them the URLs at which nobody has answered yet.
    pub page: Page<Member, String>,
}

/// Another member, or a URL at which nobody has answered yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Member {
    /// Who it is, once that is known.
    pub node: Option<NodeId>,
    /// Where it is dialled, or says it can be.
    pub urls: Vec<String>,
    /// Its software and version, as it last said.
    pub agent: Option<String>,
    /// False if it was removed from the mesh, or is no member yet.
    pub admitted: bool,
    /// The namespaces that it may have; None for all.
    pub granted: Option<Vec<Namespace>>,
    /// Since when it is connected, in milliseconds since 1970; None if it is not.
    pub connected_since: Option<u64>,
    /// The last round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Why it makes no progress.
    pub stalled: Option<Stalled>,
    /// Why the last attempt or link ended.
    pub error: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub error_at: Option<u64>,
    /// What it shares with this node, at most [`SHARED_MAX`].
    pub namespaces: Vec<Shared>,
}

/// A member that makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// For what the link waits.
    pub blocked_on: String,
    /// Events that it has not acknowledged.
    pub behind: u64,
}

/// A namespace that a member shares with this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its name.
    pub ns: Namespace,
    /// Both show the same digest, and nothing is on its way.
    pub agrees: bool,
    /// Events that it has not acknowledged.
    pub behind: u64,
    /// It has everything that this node has up to this sequence.
    pub agreed: Option<u64>,
    /// When that was last so, in milliseconds since 1970.
    pub seen: Option<u64>,
    /// True if it was silent for so long that it holds nobody back any more.
    pub expired: bool,
    /// The parts of the policy in which it differs from this node.
    pub policy_differs: Vec<&'static str>,
}

/// To `acks`: whether a version is everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acks {
    /// The key of its history.
    pub key: Key,
    /// The version.
    pub version: VersionId,
    /// What is known of each other member that has the namespace, or may.
    pub members: Vec<Ack>,
}

impl Acks {
    /// True if every member is known to have it.
    pub fn everywhere(&self) -> bool {
        self.members.iter().all(|ack| ack.held == Some(true))
    }
}

/// Whether one member has a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The member.
    pub node: NodeId,
    /// True if it has it, false if it has not, None if that is not known.
    pub held: Option<bool>,
    /// How that is known, or why it is not.
    pub why: String,
}

/// How far a write has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The other members that have it.
    pub nodes: Vec<NodeId>,
    /// The other members that were not heard to have it in time.
    pub missing: Vec<NodeId>,
    /// True if it has come as far as was asked for.
    pub enough: bool,
}

/// An object that breaks a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The key of its history.
    pub key: Key,
    /// The key, or the address under which it stands.
    pub name: Name,
    /// The version that speaks for it.
    pub version: VersionId,
    /// What a write of its value would be answered.
    pub refusal: Refusal,
}

/// A version in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The key of its history.
    pub key: Key,
    /// The version.
    pub version: VersionId,
    /// What it did.
    pub change: Change,
    /// The kind and the bytes of its value, if it has one.
    pub value: Option<(Kind, usize)>,
    /// When it came, in milliseconds since 1970.
    pub since: u64,
    /// The node that sent it.
    pub from: NodeId,
    /// Why readers do not see it.
    pub refusal: Refusal,
}
