//! What goes into a session, what comes out of it, and what it reads.

use std::collections::BTreeMap;

use crate::digest::{Digest, FANOUT, Prefix};
use crate::handshake::Claimed;
use crate::history::History;
use crate::ids::{ConflictId, NodeId, VersionId};
use crate::mesh::Notes;
use crate::name::{Key, Namespace};
use crate::refusal::Refusal;
use crate::version::Event;
use crate::wire::{Answered, ConflictNote, Events, KeyTips, Message, Space};

/// What the rules may read of the stores of this node.
pub trait Replica {
    /// The digest of a namespace.
    fn root(&self, namespace: &Namespace) -> Digest;
    /// The store's last sequence.
    fn sequence(&self, namespace: &Namespace) -> u64;
    /// The last sequence at which the namespace had this digest, as far as the store remembers.
    fn sequence_of(&self, namespace: &Namespace, root: &Digest) -> Option<u64>;
    /// The digests of the 16 ranges within a range.
    fn children(&self, namespace: &Namespace, prefix: Prefix) -> Result<[Digest; FANOUT], Refusal>;
    /// The keys of a range in the order of their hashes; None if there are more than `most`.
    fn entries(
        &self,
        namespace: &Namespace,
        prefix: Prefix,
        most: usize,
    ) -> Result<Option<Vec<Entry>>, Refusal>;
    /// The key of which this is half of the hash.
    fn key_of(&self, namespace: &Namespace, hash: &[u8; 16]) -> Result<Option<Key>, Refusal>;
    /// What this node has of a key; None if it has no history here.
    fn held(&self, namespace: &Namespace, key: &Key) -> Result<Option<Held>, Refusal>;
    /// All records of a key; None if it has no history here.
    fn history(&self, namespace: &Namespace, key: &Key) -> Result<Option<History>, Refusal>;
    /// Versions by which another node can tell what this one has of a key, besides its tips.
    fn known(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal>;
    /// About so many bytes of what this node has of a key beyond these versions and their ancestors,
    /// parents first, from where the last call has ended; and where the next has to go on, if there is
    /// more. `have` are the tips of the other node, `known` other versions that it has.
    fn missing(
        &self,
        namespace: &Namespace,
        key: &Key,
        have: &[VersionId],
        known: &[VersionId],
        after: Option<u64>,
        bytes: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal>;
    /// About so many bytes of the histories of the keys whose hashes lie between these.
    fn page(
        &self,
        namespace: &Namespace,
        first: [u8; 16],
        last: [u8; 16],
        bytes: usize,
    ) -> Result<Histories, Refusal>;
}

/// A key of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The first half of its hash.
    pub hash: [u8; 16],
    /// The key.
    pub key: Key,
    /// Its heads and open splits, sorted, hidden ones included.
    pub tips: Vec<VersionId>,
}

/// What a node has of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its heads and open splits, sorted, hidden ones included; also of a forgotten key.
    pub tips: Vec<VersionId>,
    /// The store's sequence of its last version.
    pub last: u64,
    /// True if it is forgotten: it counts nowhere, and will be gone for good.
    pub forgotten: bool,
}

/// Histories of a range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histories {
    /// Versions, of each key parents first.
    pub events: Vec<Event>,
    /// A key whose history is too long and was cut, and from where on the rest of it is missing.
    pub rest: Option<(Key, u64)>,
    /// Where the range goes on; None at its end.
    pub next: Option<[u8; 16]>,
}

/// What a store made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is new and durable.
    New,
    /// It was known.
    Known,
    /// These parents are unknown here.
    Missing(Vec<VersionId>),
    /// It is durable, but a limit, a schema or a policy keeps it from being shown.
    Quarantined(Refusal),
    /// It is not taken.
    Refused(Refusal),
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// A message of the peer.
    Message(Message),
    /// The answer to [`Output::Admit`]: it may stay.
    Admitted(Box<Admitted>),
    /// The answer to [`Output::Admit`]: it may not.
    Rejected(Refusal),
    /// Notes on the mesh that the peer may not know.
    Tell(Notes),
    /// Versions that became durable, in commit order, with the digest after them.
    Made {
        /// The namespace.
        namespace: Namespace,
        /// The store's sequence of the last version.
        sequence: u64,
        /// The digest after the commit.
        root: Digest,
        /// The node that made them: this one, or one that does not reach the peer.
        maker: NodeId,
        /// The versions, a message each.
        told: Vec<Events>,
        /// False if the way to the peer is full: the events are left to repair.
        room: bool,
    },
    /// This node was the first to find a conflict.
    Conflict(ConflictNote),
    /// This node was the first to forget deleted keys.
    Forgot {
        /// The namespace.
        namespace: Namespace,
        /// The keys with the tips that they had.
        keys: Vec<KeyTips>,
    },
    /// Somebody wants to know whether the peer holds a version; answered by [`Output::Holds`].
    Ask {
        /// Of the caller's choice.
        question: u64,
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// The version.
        version: VersionId,
    },
    /// What became of [`Output::Apply`].
    Applied {
        /// The ticket of the work.
        ticket: Ticket,
        /// The keys of the events, in order.
        keys: Vec<Key>,
        /// What became of each.
        outcomes: Vec<Received>,
    },
    /// Time has passed.
    Tick,
}

/// What this node shares with a peer that it admits.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    /// The namespaces that the peer may have.
    pub spaces: Vec<Space>,
    /// Of each, the sequence up to which this store once agreed with the peer's.
    pub marks: BTreeMap<Namespace, u64>,
    /// What this node knows of the mesh.
    pub notes: Notes,
}

/// Which message some work belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The namespace.
    pub namespace: Namespace,
    /// The sequence to acknowledge, if the events came live.
    pub live: Option<u64>,
    /// Who made them, if they came live.
    pub maker: Option<NodeId>,
    /// True if some of what came in the message was not even given to the store.
    pub short: bool,
    /// The questions whose answers the message ends.
    pub answered: Vec<Answered>,
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this, in this order.
    Send(Message),
    /// The peer has proven who it is. May it stay? Come back with [`Input::Admitted`] or
    /// [`Input::Rejected`] before anything else.
    Admit {
        /// The peer.
        node: NodeId,
        /// The invitation that it shows.
        claimed: Option<Claimed>,
    },
    /// The peer knows this of the mesh.
    Notes(Notes),
    /// Give these checked events to the store and come back with [`Input::Applied`].
    Apply {
        /// To come back with.
        ticket: Ticket,
        /// The events.
        events: Vec<Event>,
        /// Keys that were forgotten elsewhere while this node was away, and made anew there: what is here
        /// of each goes in the same commit, unless it changed after this sequence. If something of such a
        /// key cannot be taken, nothing of all this is done.
        replaces: Vec<(Key, u64)>,
    },
    /// A conflict was learned of from the peer: this node does not announce it.
    Heard(ConflictId),
    /// Forget these deleted keys, if they are in the trash with exactly these tips.
    Forget {
        /// The namespace.
        namespace: Namespace,
        /// The keys.
        keys: Vec<KeyTips>,
    },
    /// The key was deleted and forgotten while this node was away: delete it here, or forget it if it
    /// is in the trash, unless it changed after this sequence.
    Bury {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// The sequence.
        last: u64,
    },
    /// The answer to [`Input::Ask`].
    Holds {
        /// The question.
        question: u64,
        /// True if the version is durable there.
        held: bool,
    },
    /// Log this; something is odd, and the conversation goes on.
    Warn(String),
    /// Send [`Message::Refused`] with this and close.
    Close(Refusal),
}
