//! Comparing digests, narrowing a difference down, and sending each side what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::live::{EVENTS_BYTES, TIPS_MAX, grouped, size};
use super::{Output, Replica, Session, Shared};
use crate::digest::{Digest, FANOUT};
use crate::ids::VersionId;
use crate::limits::figure;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{BranchBuckets, KeyTips, Message};

/// Buckets that the driver has under way at once.
const BUCKETS_AT_ONCE: usize = 16;
/// Keys in one part of [`Message::Tips`].
const TIPS_KEYS: usize = 256;
/// A difference that lasts this long without any traffic is compared, in milliseconds.
const QUIET: u64 = 150;
/// Keys whose histories wait to be sent; a peer that asks for more at once is cut off.
const BULK_MAX: usize = 1_000_000;

/// The driver's part of a comparison.
#[derive(Debug, Default)]
pub(super) enum Compare {
    #[default]
    Idle,
    /// [`Message::Compare`] is sent.
    Branches,
    /// Buckets still to be sent, and sent ones that are not done.
    Buckets { left: Vec<u16>, open: BTreeSet<u16> },
}

/// Bulk that is sent when there is room.
#[derive(Debug)]
pub(super) enum Bulk {
    /// What the peer lacks of a key.
    Missing { namespace: Namespace, key: Key, have: Vec<VersionId> },
    /// The end of a bucket.
    BucketDone { namespace: Namespace, bucket: u16 },
}

impl Session {
    /// Sends about `bytes` of histories that wait for room.
    pub fn more(&mut self, replica: &impl Replica, bytes: usize) {
        let (mut sent, mut load, mut done) = (0, Load::default(), Vec::new());
        while sent < bytes
            && let Some(bulk) = self.bulk.pop_front()
        {
            match bulk {
                Bulk::BucketDone { namespace, bucket } => {
                    done.push(Message::BucketDone { namespace, bucket });
                }
                Bulk::Missing { namespace, key, have } => {
                    match replica.missing(&namespace, &key, &have) {
                        Ok(events) => sent += load.add(&namespace, events),
                        Err(refusal) => return self.close(refusal),
                    }
                }
            }
        }
        // A bucket is done when its histories are sent, and these go together.
        let histories = load.0.into_iter().flat_map(|(namespace, events)| {
            let message = move |events| Message::Histories { namespace: namespace.clone(), events };
            grouped(events).into_iter().map(message)
        });
        self.out.extend(histories.chain(done).map(Output::Send));
    }

    /// Keeps something to be sent when there is room.
    pub(super) fn queue(&mut self, bulk: Bulk) -> Result<(), Refusal> {
        if self.bulk.len() >= BULK_MAX {
            let words = format!("more than {} keys asked for at once", figure(BULK_MAX));
            return Err(Refusal::new(Code::Overloaded, words));
        }
        self.bulk.push_back(bulk);
        Ok(())
    }

    pub(super) fn on_root(&mut self, namespace: &Namespace, root: Digest, replica: &impl Replica) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        if shared.theirs.replace(root).is_some_and(|before| before != root) {
            shared.moved(now);
        }
        if shared.repairing == 0 {
            self.tell_if_new(namespace, replica);
        }
        self.compare_if_due(namespace, replica);
    }

    /// What a message of [`Message::Histories`] brought is applied.
    pub(super) fn on_repaired(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.repairing = shared.repairing.saturating_sub(1);
        if shared.repairing > 0 {
            return Ok(());
        }
        let held = shared.held.take();
        self.tell_if_new(namespace, replica);
        match held {
            Some(branches) => self.on_compare(namespace.clone(), branches, replica),
            None => Ok(()),
        }
    }

    pub(super) fn compare_if_due(&mut self, namespace: &Namespace, replica: &impl Replica) {
        if !self.is_driver() || !self.bulk.is_empty() {
            return;
        }
        let (now, every) = (self.now, self.compare_every);
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        let Some(theirs) = shared.theirs else { return };
        let mut difference = replica.root(namespace);
        difference.remove(&theirs);
        if shared.is_due(difference, now, every) {
            shared.compare = Compare::Branches;
            shared.compared = Some(difference);
            shared.differs_since = None;
            let branches = replica.branches(namespace);
            self.send(Message::Compare { namespace: namespace.clone(), branches });
        }
    }

    /// Answers with the branches that differ, but not while the store still takes what the last
    /// comparison brought: the same would be asked for again.
    pub(super) fn on_compare(
        &mut self,
        namespace: Namespace,
        theirs: Vec<Digest>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let mine = replica.branches(&namespace);
        if theirs.len() != mine.len() {
            let words = format!("a comparison of {} branches, not {}", theirs.len(), mine.len());
            return Err(Refusal::new(Code::BadFrame, words));
        }
        let Some(shared) = self.shared.get_mut(&namespace) else { return Ok(()) };
        if shared.repairing > 0 {
            shared.held = Some(theirs);
            return Ok(());
        }
        let differing = (0_u16..).zip(mine.iter().zip(&theirs)).filter(|(_, (m, t))| m != t);
        let branches = differing.map(|(branch, _)| BranchBuckets {
            branch,
            buckets: replica.buckets(&namespace, branch),
        });
        let branches = branches.collect();
        self.send(Message::Differ { namespace, branches });
        Ok(())
    }

    pub(super) fn on_differ(
        &mut self,
        namespace: Namespace,
        branches: Vec<BranchBuckets>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let mut left = Vec::new();
        for theirs in branches {
            let mine = replica.buckets(&namespace, theirs.branch);
            if mine.is_empty() || mine.len() != theirs.buckets.len() {
                let words =
                    format!("no branch {} with {} buckets", theirs.branch, theirs.buckets.len());
                return Err(Refusal::new(Code::BadFrame, words));
            }
            let first = theirs.branch * mine.len() as u16;
            let pairs = (first..).zip(mine.iter().zip(&theirs.buckets));
            left.extend(pairs.filter(|(_, (m, t))| m != t).map(|(bucket, _)| bucket));
        }
        left.sort_unstable_by(|a, b| b.cmp(a));
        left.dedup();
        if let Some(shared) = self.shared.get_mut(&namespace)
            && matches!(shared.compare, Compare::Branches)
        {
            shared.compare = Compare::Buckets { left, open: BTreeSet::new() };
        }
        self.send_tips(&namespace, replica)
    }

    /// Sends buckets as long as few are under way; at the end tells the digest, and does not compare
    /// the same difference again for a while, in case it is one that exchange does not mend.
    fn send_tips(&mut self, namespace: &Namespace, replica: &impl Replica) -> Result<(), Refusal> {
        let (now, every) = (self.now, self.compare_every);
        while let Some(shared) = self.shared.get_mut(namespace)
            && let Compare::Buckets { left, open } = &mut shared.compare
        {
            if left.is_empty() && open.is_empty() {
                shared.compare = Compare::Idle;
                shared.moved_at = Some(now);
                shared.not_before = now.saturating_add(every);
                if shared.repairing == 0 {
                    self.tell_if_new(namespace, replica);
                }
                break;
            }
            if open.len() >= BUCKETS_AT_ONCE {
                break;
            }
            let Some(bucket) = left.pop() else { break };
            open.insert(bucket);
            let mut parts = tips_parts(replica.bucket_keys(namespace, bucket)?);
            let last = parts.pop().unwrap_or_default();
            let parts = parts.into_iter().map(|keys| (keys, true)).chain([(last, false)]);
            for (keys, more) in parts {
                self.send(Message::Tips { namespace: namespace.clone(), bucket, keys, more });
            }
        }
        Ok(())
    }

    pub(super) fn on_tips(
        &mut self,
        namespace: Namespace,
        bucket: u16,
        keys: Vec<KeyTips>,
        more: bool,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let part = (namespace.clone(), bucket);
        self.check_tips(&part, keys.len())?;
        self.parts.entry(part.clone()).or_default().extend(keys);
        if more {
            return Ok(());
        }
        let theirs = self.parts.remove(&part).unwrap_or_default();
        let mine = replica.bucket_keys(&namespace, bucket)?;
        self.exchange(&namespace, shortened(mine), theirs)?;
        self.queue(Bulk::BucketDone { namespace, bucket })
    }

    /// Lists that are begun and never ended must not fill the memory.
    fn check_tips(&self, part: &(Namespace, u16), keys: usize) -> Result<(), Refusal> {
        if usize::from(part.1) >= FANOUT * FANOUT {
            let words = format!("there is no bucket {}, the last is 4,095", figure(part.1.into()));
            return Err(Refusal::new(Code::BadFrame, words));
        }
        if self.parts.len() > BUCKETS_AT_ONCE && !self.parts.contains_key(part) {
            return Err(Refusal::new(Code::BadFrame, "too many unfinished lists of tips"));
        }
        if keys + self.parts.values().map(Vec::len).sum::<usize>() > BULK_MAX {
            let words = format!("more than {} keys in unfinished lists", figure(BULK_MAX));
            return Err(Refusal::new(Code::Overloaded, words));
        }
        Ok(())
    }

    /// Asks for what differs in a bucket, and gets ready what the peer lacks of it.
    fn exchange(
        &mut self,
        namespace: &Namespace,
        mine: Vec<KeyTips>,
        theirs: Vec<KeyTips>,
    ) -> Result<(), Refusal> {
        let mut mine: BTreeMap<_, _> = mine.into_iter().map(|k| (k.key, k.tips)).collect();
        for KeyTips { key, tips } in theirs {
            let have = mine.remove(&key).unwrap_or_default();
            if have == tips && have.len() < TIPS_MAX {
                continue;
            }
            if !have.is_empty() {
                let (namespace, key) = (namespace.clone(), key.clone());
                self.queue(Bulk::Missing { namespace, key, have: tips })?;
            }
            self.send(Message::Want { namespace: namespace.clone(), key, have });
        }
        for key in mine.into_keys() {
            let (namespace, have) = (namespace.clone(), Vec::new());
            self.queue(Bulk::Missing { namespace, key, have })?;
        }
        Ok(())
    }

    pub(super) fn on_bucket_done(
        &mut self,
        namespace: Namespace,
        bucket: u16,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if let Some(shared) = self.shared.get_mut(&namespace)
            && let Compare::Buckets { open, .. } = &mut shared.compare
        {
            open.remove(&bucket);
        }
        self.send_tips(&namespace, replica)
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

/// Histories that are sent together, by namespace.
#[derive(Default)]
struct Load(BTreeMap<Namespace, Vec<Event>>);

impl Load {
    /// Adds events and returns about how many bytes they take.
    fn add(&mut self, namespace: &Namespace, events: Vec<Event>) -> usize {
        let bytes = events.iter().map(size).sum();
        self.0.entry(namespace.clone()).or_default().extend(events);
        bytes
    }
}

/// Cuts long lists of tips, which a message could not hold.
fn shortened(mut keys: Vec<KeyTips>) -> Vec<KeyTips> {
    keys.iter_mut().for_each(|key| key.tips.truncate(TIPS_MAX));
    keys
}

/// Cuts the keys of a bucket into parts that a message can hold.
fn tips_parts(keys: Vec<KeyTips>) -> Vec<Vec<KeyTips>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for key in shortened(keys) {
        let part: Option<&mut Vec<KeyTips>> = parts.last_mut();
        if part.is_some_and(|part| part.len() >= TIPS_KEYS) || bytes > EVENTS_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += 16 + key.key.as_str().len() + 34 * key.tips.len();
        if let Some(part) = parts.last_mut() {
            part.push(key);
        }
    }
    parts
}
