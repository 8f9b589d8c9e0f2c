//! Comparing digests, and narrowing a difference down to keys.

use std::collections::VecDeque;

use super::bulk::Bulk;
use super::repair::OFFER_KEYS;
use super::{Entry, Replica, Session, Shared};
use crate::digest::{Digest, FANOUT, PREFIX_NIBBLES_MAX, Prefix};
use crate::ids::VersionId;
use crate::limits::figure;
use crate::name::Namespace;
use crate::refusal::{Code, Refusal};
use crate::wire::{Differing, Holding, Message, Part};

/// Ranges in one [`Message::Compare`]: the answer fits a frame, whatever it says of each.
const PARTS_MAX: usize = 64;
/// Ranges that are being compared at once.
const PARTS_AT_ONCE: usize = 512;
/// Keys of a range that are named one by one instead of narrowing it down further.
const KEYS_MAX: usize = 32;
/// Keys of a range that are read at once to be compared with what the peer names.
const ENTRIES_MAX: usize = 4_096;
/// Offers that are not done.
const OFFERS_AT_ONCE: usize = 16;
/// Offers and ranges that are not done, or wait here to be sent; beyond it nothing further is compared,
/// so that neither side keeps more ready than it may, however unlike the two stores are.
const OPEN_MAX: usize = 8_192;
/// Differing keys that wait for an offer; beyond it nothing further is compared.
const DIFFERING_MAX: usize = 16_384;
/// A difference that lasts this long without any traffic is compared, in milliseconds.
const QUIET: u64 = 150;
/// Bytes of a key in [`Holding::Keys`].
const NAMED_BYTES: usize = 24;

/// The driver's part of a comparison.
#[derive(Debug, Default)]
pub(super) enum Compare {
    #[default]
    Idle,
    Running(Running),
}

/// A comparison that is under way.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// Ranges still to be compared; the last comes first, so there are never many.
    ranges: Vec<Prefix>,
    /// The ranges of each question whose answer is waited for.
    asked: VecDeque<Vec<Prefix>>,
    /// Keys that differ and were not offered yet.
    differing: VecDeque<[u8; 16]>,
    /// Offers and fetches that are not done.
    open: usize,
    /// When it last went on, by the caller's clock in milliseconds.
    moved_at: u64,
}

/// A comparison that does not go on for this long is given up, in milliseconds.
const MOVES_WITHIN: u64 = 60_000;

impl Running {
    /// Something of it came, or is on its way from here.
    pub(super) fn moved(&mut self, now: u64) {
        self.moved_at = now;
    }

    /// True if the peer does not answer, whatever else it says.
    pub(super) fn is_stuck(&self, now: u64) -> bool {
        now.saturating_sub(self.moved_at) > MOVES_WITHIN
    }

    fn is_done(&self) -> bool {
        self.ranges.is_empty()
            && self.asked.is_empty()
            && self.differing.is_empty()
            && self.open == 0
    }

    /// An offer or a fetch is done.
    pub(super) fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// How many things it holds, itself included.
    pub(super) fn holds(&self) -> usize {
        let asked: usize = self.asked.iter().map(Vec::len).sum();
        1 + self.ranges.len() + asked + self.differing.len() + self.open
    }

    /// True if this answers the oldest question: it names ranges within those that were asked for, in
    /// the same order. Any other belongs to a comparison that was given up, or is made up, and would
    /// have this node compare without end.
    fn is_answered(&mut self, parts: u32, differing: &[Differing]) -> bool {
        let Some(asked) = self.asked.front() else { return false };
        let mut within =
            asked.iter().flat_map(|range| (0..FANOUT as u8).filter_map(|n| range.child(n)));
        let fits = asked.len() == parts as usize
            && differing.iter().all(|differing| within.any(|range| range == differing.prefix));
        if fits {
            self.asked.pop_front();
        }
        fits
    }
}

impl Session {
    pub(super) fn compare_if_due(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if !self.is_driver() || !self.bulk.is_empty() {
            return Ok(());
        }
        let (now, every) = (self.now, self.setup.compare_every);
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        let Some(theirs) = shared.theirs else { return Ok(()) };
        let mut difference = replica.root(namespace);
        difference.remove(&theirs);
        if !shared.is_due(difference, now, every) {
            return Ok(());
        }
        let ranges = vec![Prefix::WHOLE];
        shared.compare = Compare::Running(Running { ranges, moved_at: now, ..Running::default() });
        shared.compared = Some(difference);
        shared.differs_since = None;
        self.go_on(namespace, replica)
    }

    /// Goes on with a comparison that waited until something here was sent.
    pub(super) fn go_on_comparing(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if self.running(namespace).is_some() { self.go_on(namespace, replica) } else { Ok(()) }
    }

    /// Sends what may be sent now; at the end tells the digest, and does not compare the same difference
    /// again for a while, in case it is one that exchange does not mend.
    pub(super) fn go_on(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        while let Some(hashes) = self.next_offer(namespace) {
            self.offer(namespace, hashes, replica)?;
        }
        while let Some(ranges) = self.next_ranges(namespace) {
            let part = |prefix| {
                replica
                    .children(namespace, prefix)
                    .map(|digests| Part { prefix, children: shortened(&digests) })
            };
            let parts = ranges.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
            self.send(Message::Compare { namespace: namespace.clone(), parts });
        }
        let (now, every) = (self.now, self.setup.compare_every);
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        if matches!(&shared.compare, Compare::Running(running) if running.is_done()) {
            shared.compare = Compare::Idle;
            shared.moved_at = Some(now);
            shared.not_before = now.saturating_add(every);
            if shared.repairing == 0 {
                self.tell_if_new(namespace, replica);
            }
        }
        Ok(())
    }

    pub(super) fn running(&mut self, namespace: &Namespace) -> Option<&mut Running> {
        match &mut self.shared.get_mut(namespace)?.compare {
            Compare::Running(running) => Some(running),
            Compare::Idle => None,
        }
    }

    fn next_offer(&mut self, namespace: &Namespace) -> Option<Vec<[u8; 16]>> {
        let running = self.running(namespace)?;
        if running.differing.is_empty() || running.open >= OFFERS_AT_ONCE {
            return None;
        }
        let count = running.differing.len().min(OFFER_KEYS);
        Some(running.differing.drain(..count).collect())
    }

    fn next_ranges(&mut self, namespace: &Namespace) -> Option<Vec<Prefix>> {
        let waiting = self.bulk.len();
        let running = self.running(namespace)?;
        if running.open.max(waiting) >= OPEN_MAX {
            return None;
        }
        let asked: usize = running.asked.iter().map(Vec::len).sum();
        let room = PARTS_AT_ONCE.saturating_sub(asked).min(PARTS_MAX);
        let count = running.ranges.len().min(room);
        if count == 0 || running.differing.len() >= DIFFERING_MAX {
            return None;
        }
        let ranges = running.ranges.split_off(running.ranges.len() - count);
        running.asked.push_back(ranges.clone());
        Some(ranges)
    }

    /// Answers with what differs, but does not begin while the store still takes what the last
    /// comparison brought: the same would be asked for again.
    pub(super) fn on_compare(
        &mut self,
        namespace: Namespace,
        parts: Vec<Part>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if parts.len() > PARTS_MAX {
            let words = format!("{} ranges in a comparison, the limit is {PARTS_MAX}", parts.len());
            return Err(Refusal::new(Code::BadFrame, words));
        }
        let Some(shared) = self.shared.get_mut(&namespace) else { return Ok(()) };
        let begins = parts.iter().any(|part| part.prefix == Prefix::WHOLE);
        if begins && shared.repairing > 0 {
            shared.held = Some(parts);
            return Ok(());
        }
        let (count, mut differing) = (parts.len() as u32, Vec::new());
        for part in parts {
            if part.prefix.nibbles() >= PREFIX_NIBBLES_MAX {
                return Err(Refusal::new(Code::BadFrame, "a range that cannot be divided further"));
            }
            let mine = shortened(&replica.children(&namespace, part.prefix)?);
            let pairs = mine.chunks_exact(8).zip(part.children.chunks_exact(8));
            for ((mine, theirs), nibble) in pairs.zip(0..).filter(|((m, t), _)| m != t) {
                let Some(prefix) = part.prefix.child(nibble) else { continue };
                let holding = self.holding(&namespace, prefix, mine, theirs, replica)?;
                differing.push(Differing { prefix, holding });
            }
        }
        self.send(Message::Differ { namespace, parts: count, differing });
        Ok(())
    }

    fn holding(
        &mut self,
        namespace: &Namespace,
        prefix: Prefix,
        mine: &[u8],
        theirs: &[u8],
        replica: &impl Replica,
    ) -> Result<Holding, Refusal> {
        const NOTHING: [u8; 8] = [0; 8];
        if mine == NOTHING {
            return Ok(Holding::Nothing);
        }
        if theirs == NOTHING {
            self.on_fetch(namespace, prefix)?;
            return Ok(Holding::Sent);
        }
        Ok(match replica.entries(namespace, prefix, KEYS_MAX)? {
            None => Holding::Much,
            Some(entries) => {
                let named = |entry: &Entry| {
                    let digest = Digest::entry(&entry.hash, &entry.tips).short().to_be_bytes();
                    entry.hash.into_iter().chain(digest)
                };
                Holding::Keys(entries.iter().flat_map(named).collect())
            }
        })
    }

    pub(super) fn on_differ(
        &mut self,
        namespace: &Namespace,
        parts: u32,
        differing: Vec<Differing>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let Some(running) = self.running(namespace) else { return Ok(()) };
        if !running.is_answered(parts, &differing) {
            return Ok(());
        }
        running.moved(now);
        for Differing { prefix, holding } in differing {
            match holding {
                Holding::Nothing => self.queue(Bulk::range(namespace, prefix, Vec::new()))?,
                Holding::Sent => self.opened(namespace),
                Holding::Much => self.narrow(namespace, prefix, replica)?,
                Holding::Keys(named) => self.match_keys(namespace, prefix, &named, replica)?,
            }
        }
        self.go_on(namespace, replica)
    }

    pub(super) fn opened(&mut self, namespace: &Namespace) {
        if let Some(running) = self.running(namespace) {
            running.open += 1;
        }
    }

    fn narrow(
        &mut self,
        namespace: &Namespace,
        prefix: Prefix,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if replica.entries(namespace, prefix, 1)?.is_some_and(|entries| entries.is_empty()) {
            self.opened(namespace);
            self.send(Message::Fetch { namespace: namespace.clone(), prefix });
        } else if prefix.nibbles() >= PREFIX_NIBBLES_MAX {
            return Err(Refusal::new(Code::BadFrame, "a range that cannot be divided further"));
        } else if let Some(running) = self.running(namespace) {
            running.ranges.push(prefix);
        }
        Ok(())
    }

    /// Finds the keys that differ among those that the peer names and those that are here.
    fn match_keys(
        &mut self,
        namespace: &Namespace,
        prefix: Prefix,
        named: &[u8],
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if named.len() > KEYS_MAX * NAMED_BYTES || !named.len().is_multiple_of(NAMED_BYTES) {
            let words = format!(
                "{} bytes of named keys: at most {KEYS_MAX} of {NAMED_BYTES} bytes are named",
                figure(named.len())
            );
            return Err(Refusal::new(Code::BadFrame, words));
        }
        let mut theirs: Vec<([u8; 16], &[u8])> = Vec::new();
        for named in named.chunks_exact(NAMED_BYTES) {
            let (hash, digest) = named.split_at(16);
            theirs.push((hash.try_into().unwrap_or_default(), digest));
        }
        theirs.sort_unstable();
        let mut differing = Vec::new();
        match replica.entries(namespace, prefix, ENTRIES_MAX)? {
            Some(mine) => differ(mine, &theirs, &mut differing),
            None => {
                // The peer has few of the many that are here: it gets all others.
                for (hash, digest) in &theirs {
                    let mine = self.mine(namespace, hash, replica)?;
                    let same = mine.is_some_and(|(_, held)| is_same(hash, &held.tips, digest));
                    differing.extend((!same).then_some(*hash));
                }
                let except = theirs.iter().map(|(hash, _)| *hash).collect();
                self.queue(Bulk::range(namespace, prefix, except))?;
            }
        }
        if let Some(running) = self.running(namespace) {
            running.differing.extend(differing);
        }
        Ok(())
    }
}

impl Shared {
    /// True if the digests should be compared now. A difference must last through a moment of quiet,
    /// for most are only on their way; but under writes without end there is no such moment.
    fn is_due(&mut self, difference: Digest, now: u64, every: u64) -> bool {
        if difference == Digest::default() {
            self.differs_since = None;
            return false;
        }
        let since = *self.differs_since.get_or_insert(now);
        let idle = matches!(self.compare, Compare::Idle) && self.repairing == 0;
        let quiet = self.moved_at.is_none_or(|at| now.saturating_sub(at) >= QUIET);
        let lasts = now.saturating_sub(since) >= every;
        let fruitless = self.compared == Some(difference) && now < self.not_before;
        idle && !fruitless && ((quiet && self.settled()) || lasts)
    }
}

fn shortened(digests: &[Digest; FANOUT]) -> [u8; 8 * FANOUT] {
    let mut bytes = [0; 8 * FANOUT];
    for (bytes, digest) in bytes.chunks_exact_mut(8).zip(digests) {
        bytes.copy_from_slice(&digest.short().to_be_bytes());
    }
    bytes
}

fn is_same(hash: &[u8; 16], tips: &[VersionId], digest: &[u8]) -> bool {
    Digest::entry(hash, tips).short().to_be_bytes() == *digest
}

/// The hashes of the keys that are on one side only, or differ; both are sorted by hash.
fn differ(mine: Vec<Entry>, theirs: &[([u8; 16], &[u8])], differing: &mut Vec<[u8; 16]>) {
    let mut theirs = theirs.iter().peekable();
    for entry in mine {
        while let Some((hash, _)) = theirs.next_if(|(hash, _)| *hash < entry.hash) {
            differing.push(*hash);
        }
        let same = theirs.next_if(|(hash, _)| *hash == entry.hash);
        if !same.is_some_and(|(hash, digest)| is_same(hash, &entry.tips, digest)) {
            differing.push(entry.hash);
        }
    }
    differing.extend(theirs.map(|(hash, _)| *hash));
}
