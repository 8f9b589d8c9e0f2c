//! What messages between nodes are made of.

use minicbor::{Decode, Encode};

use crate::digest::{FANOUT, Prefix};
use crate::ids::{ConflictId, StoreId, VersionId};
use crate::name::{Key, Namespace};
use crate::policy::Policy;

/// What a side tells of itself once both have proven who they are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The sender's software and version, for people.
    #[n(0)]
    pub agent: String,
    /// The namespaces that the sender shares with the receiver.
    #[n(1)]
    pub spaces: Vec<Space>,
}

/// One namespace of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Space {
    /// Its name.
    #[n(0)]
    pub namespace: Namespace,
    /// The store that holds it there.
    #[n(1)]
    pub store: StoreId,
    /// What the sender does with its values.
    #[n(2)]
    pub policy: Policy,
    /// True if the receiver was away for so long that the sender has forgotten deletes of which the
    /// receiver may not know.
    #[n(3)]
    pub away: bool,
    /// [`Exchanged::shown`], as the sender remembers it.
    #[n(4)]
    pub shown: u64,
    /// [`Exchanged::seen`], as the sender remembers it.
    #[n(5)]
    pub seen: u64,
}

/// How many digests a node has shown another, and how many of the other's it has seen, in all their
/// conversations. Who has shown fewer than the other has seen was put back from a backup, or stopped before
/// it had written down what it knew. What is on its way makes no such difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exchanged {
    /// Shown to the other.
    pub shown: u64,
    /// Seen of the other's.
    pub seen: u64,
}

impl Exchanged {
    /// One more was shown.
    pub fn show(&mut self) {
        self.shown = self.shown.saturating_add(1);
    }

    /// One more was seen.
    pub fn see(&mut self) {
        self.seen = self.seen.saturating_add(1);
    }
}

/// A key and its tips.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyTips {
    /// The key.
    #[n(0)]
    pub key: Key,
    /// Its heads and open splits, sorted.
    #[n(1)]
    pub tips: Vec<VersionId>,
}

/// A question about a key that is answered whole.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Answered {
    /// The key.
    #[n(0)]
    pub key: Key,
    /// The number of the question.
    #[n(1)]
    pub question: u64,
}

/// A range of keys with the digests of the 16 ranges within it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The range.
    #[n(0)]
    pub prefix: Prefix,
    /// The first 8 bytes of each digest.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub children: [u8; 8 * FANOUT],
}

/// A range whose digests differ.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Differing {
    /// The range.
    #[n(0)]
    pub prefix: Prefix,
    /// What the sender has there.
    #[n(1)]
    pub holding: Holding,
}

/// What a node has in a range.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Holding {
    /// Nothing, so all that the receiver has is wanted.
    #[n(0)]
    Nothing,
    /// All that the receiver lacks, which is everything: it is on its way.
    #[n(1)]
    Sent,
    /// More than fits: compare the ranges within it.
    #[n(2)]
    Much,
    /// These keys: of each the 16 bytes of its hash and the first 8 of its digest.
    #[n(3)]
    Keys(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// A conflict that the sender was the first to find.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConflictNote {
    /// The namespace.
    #[n(0)]
    pub namespace: Namespace,
    /// The key in conflict.
    #[n(1)]
    pub key: Key,
    /// The hash of the key and the sides' addresses.
    #[n(2)]
    pub id: ConflictId,
    /// The nearest common ancestor.
    #[n(3)]
    pub base: Option<VersionId>,
    /// The versions that speak for the sides; an address is made of the key's hash and a branch.
    #[n(4)]
    pub sides: Vec<ConflictSide>,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConflictSide {
    /// The version.
    #[n(0)]
    pub version: VersionId,
    /// The second half of its address.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub branch: [u8; 16],
    /// The store that made it.
    #[n(2)]
    pub origin: StoreId,
}
