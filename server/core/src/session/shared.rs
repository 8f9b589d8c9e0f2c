//! What is known of one namespace on both sides.

use std::collections::{BTreeMap, VecDeque};

use super::Replica;
use super::asked::Questions;
use super::compare::Compare;
use super::forget::Replacing;
use crate::digest::Digest;
use crate::name::{Key, Namespace};
use crate::policy::Policy;
use crate::version::Event;
use crate::wire::{Exchanged, Part};

/// What a node remembers of another: up to where they agreed, and of their conversations until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The other has everything up to this sequence of the node's store.
    pub agreed: u64,
    /// The digests that both had shown each other.
    pub exchanged: Exchanged,
    /// When that was last so, in milliseconds since 1970.
    pub at: u64,
}

impl Mark {
    /// Takes up where the other stands now; nothing, while this node takes up what it missed.
    pub fn note(&mut self, standing: &Standing, now: u64) {
        if !standing.catches_up {
            self.agreed = self.agreed.max(standing.agreed);
            (self.exchanged, self.at) = (standing.exchanged, now);
        }
    }
}

/// Where one namespace stands with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Both show the same digest and nothing is on its way.
    pub agrees: bool,
    /// Nothing is on its way.
    pub settled: bool,
    /// The digest that the peer last showed.
    pub theirs: Option<Digest>,
    /// Events that were sent and not acknowledged, or skipped for want of room.
    pub behind: u64,
    /// Since when the oldest of them waits, by the caller's clock in milliseconds.
    pub waiting_since: Option<u64>,
    /// When something was last exchanged, by the caller's clock in milliseconds.
    pub last_exchange: Option<u64>,
    /// The peer has everything that this store has up to this sequence.
    pub agreed: u64,
    /// The digests that both have shown each other so far.
    pub exchanged: Exchanged,
    /// True while this node takes up what it missed: until both agree, what it remembers of their last
    /// agreement stays as it is.
    pub catches_up: bool,
    /// The peer has acknowledged what was made up to this sequence and after `unsure`.
    pub acked: u64,
    /// What was made up to this sequence was not all sent live, or not all taken.
    pub unsure: u64,
    /// What the peer does with the values.
    pub policy: Policy,
    /// True if the peer was away for so long that things were forgotten meanwhile.
    pub away: bool,
}

impl Standing {
    /// True if the peer is known to have what was made with this sequence.
    pub fn has(&self, sequence: u64) -> bool {
        self.agreed >= sequence || (self.unsure < sequence && sequence <= self.acked)
    }
}

/// Live events that were sent and not acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unacked {
    pub(super) sequence: u64,
    pub(super) events: u64,
    pub(super) since: u64,
}

/// What is known of one namespace on both sides. Times are the caller's, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The digest that the peer last showed.
    pub(super) theirs: Option<Digest>,
    /// The digest that the peer was last told.
    pub(super) told: Option<Digest>,
    /// Live messages under way.
    pub(super) unacked: VecDeque<Unacked>,
    /// Live events left to repair.
    pub(super) skipped: u64,
    /// See [`Standing`].
    pub(super) agreed: u64,
    pub(super) acked: u64,
    pub(super) unsure: u64,
    pub(super) policy: Policy,
    pub(super) exchanged: Exchanged,
    pub(super) catches_up: bool,
    /// The peer was away; this node was away, and agreed with the peer last at this sequence. Both agree
    /// in the end, and from then on it was not.
    pub(super) they_were_away: bool,
    pub(super) i_was_away: Option<u64>,
    /// Keys whose histories here may have to go for the peer's.
    pub(super) replacing: BTreeMap<Key, Replacing>,
    /// [`Output::Apply`] not yet answered, and how many of them are no end of a live commit.
    pub(super) applying: usize,
    pub(super) repairing: usize,
    /// True if something of the live commit of which a part was applied was not taken.
    pub(super) short: bool,
    /// Keys that were asked for.
    pub(super) asked: Questions,
    pub(super) compare: Compare,
    /// A comparison of the peer that waits until what the last one brought is applied.
    pub(super) held: Option<Vec<Part>>,
    /// What the digests differed by when the last comparison began, and when the same difference may
    /// be compared again: it may be one that exchange does not mend. One that was gone meanwhile is
    /// another, though it be the same.
    pub(super) compared: Option<Digest>,
    pub(super) not_before: u64,
    /// Since when the digests differ, seen at every tick.
    pub(super) differs_since: Option<u64>,
    /// When something last moved.
    pub(super) moved_at: Option<u64>,
    pub(super) last_exchange: Option<u64>,
}

impl Shared {
    /// Something that may change a digest has come, gone or been applied.
    pub(super) fn moved(&mut self, now: u64) {
        self.moved_at = Some(now);
        self.last_exchange = Some(now);
    }

    /// The peer has all that this store had when it showed the digest that the peer shows now.
    pub(super) fn see(&mut self, namespace: &Namespace, replica: &impl Replica) {
        if let Some(theirs) = &self.theirs
            && let Some(sequence) = replica.sequence_of(namespace, theirs)
        {
            self.agreed = self.agreed.max(sequence);
        }
    }

    /// Looks whether both show the same digest: what differed and what this node missed is over then.
    pub(super) fn look(&mut self, root: Digest) {
        if self.theirs == Some(root) {
            (self.compared, self.i_was_away, self.catches_up) = (None, None, false);
        }
    }

    /// The keys whose whole histories begin among these events, to come in place of what is here.
    pub(super) fn replaced_by(&mut self, events: &[Event]) -> Vec<(Key, u64)> {
        let mut replaced = Vec::new();
        for event in events.iter().filter(|event| event.version.is_first()) {
            if let Some(Replacing::Waits { last }) = self.replacing.get(&event.key) {
                replaced.push((event.key.clone(), *last));
                self.replacing.remove(&event.key);
            }
        }
        replaced
    }

    /// Nothing is on its way in either direction that could still change a digest.
    pub(super) fn settled(&self) -> bool {
        self.unacked.is_empty() && self.skipped == 0 && self.applying == 0
    }
}
