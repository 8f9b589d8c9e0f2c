//! The conversation of two nodes as a state machine: messages and commits in, messages and work out.
//! No socket, no clock, no disk: the caller carries messages, passes the time, and answers reads.
//!
//! Live events are for speed; correctness rests on repair. Per namespace, both sides tell each other
//! the digest of what they hold. Where the digests differ, the *driver* (the smaller node id) narrows
//! the difference down: branches, buckets, tips of keys, and then both send what the other lacks.
//!
//! ```text
//! driver                          follower
//!   Compare(64 branches)  ->
//!                         <-  Differ(branches, their buckets)
//!   Tips(bucket, keys)    ->                                    several buckets at a time
//!                         <-  Histories, Want, BucketDone
//!   Histories             ->
//!   Root                  ->
//!                         <-  Root
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::digest::Digest;
use crate::ids::{ConflictId, NodeId, StoreId, VersionId};
use crate::limits::figure;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{
    BranchBuckets, ConflictNote, Hello, KeyTips, Message, PROTOCOL, PROTOCOL_MIN, Space,
};

/// Buckets that the driver has under way at once.
const BUCKETS_AT_ONCE: usize = 16;
/// Bytes of values and keys after which a message of events is sent and the next begun.
const EVENTS_BYTES: usize = 256 * 1024;
/// Keys in one part of [`Message::Tips`].
const TIPS_KEYS: usize = 256;
/// Refused events after which the connection is closed.
const REFUSALS_MAX: u32 = 100;
/// Keys that are being asked for at once; more wait for the next comparison.
const ASKED_MAX: usize = 1_000;
/// A difference that lasts this long without any traffic is compared, in milliseconds.
const QUIET: u64 = 150;
/// A comparison that the peer does not answer for this long is given up, in milliseconds.
const ANSWER_WITHIN: u64 = 60_000;
/// Keys whose histories wait to be sent; a peer that asks for more at once is cut off.
const BULK_MAX: usize = 1_000_000;

/// What the rules may read of the stores of this node.
pub trait Replica {
    /// The digest of a namespace.
    fn root(&self, namespace: &Namespace) -> Digest;
    /// The digests of the 64 branches.
    fn branches(&self, namespace: &Namespace) -> Vec<Digest>;
    /// The digests of the 64 buckets of a branch; empty if there is no such branch.
    fn buckets(&self, namespace: &Namespace, branch: u16) -> Vec<Digest>;
    /// All keys of a bucket with their tips.
    fn bucket_keys(&self, namespace: &Namespace, bucket: u16) -> Result<Vec<KeyTips>, Refusal>;
    /// The tips of one key; none if it is unknown.
    fn tips(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal>;
    /// What this node has of a key beyond these versions and their ancestors, parents first.
    fn missing(
        &self,
        namespace: &Namespace,
        key: &Key,
        have: &[VersionId],
    ) -> Result<Vec<Event>, Refusal>;
    /// Most bytes of a value in a namespace.
    fn value_bytes_max(&self, namespace: &Namespace) -> usize;
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
    /// It is not taken.
    Refused(Refusal),
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// A message of the peer.
    Message(Message),
    /// Versions that were made on this node, in commit order, with the digest after them.
    Made {
        /// The namespace.
        namespace: Namespace,
        /// The store's sequence of the last version.
        sequence: u64,
        /// The digest after the commit.
        root: Digest,
        /// The versions.
        events: Vec<Event>,
        /// False if the way to the peer is full: the events are left to repair.
        room: bool,
    },
    /// This node was the first to find a conflict.
    Conflict(ConflictNote),
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

/// Which message some work belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The namespace.
    pub namespace: Namespace,
    /// The sequence to acknowledge, if the events came live.
    pub live: Option<u64>,
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this, in this order.
    Send(Message),
    /// Give these checked events to the store and come back with [`Input::Applied`].
    Apply {
        /// To come back with.
        ticket: Ticket,
        /// The events.
        events: Vec<Event>,
    },
    /// A conflict was learned of from the peer: this node does not announce it.
    Heard(ConflictId),
    /// Log this; something is odd, and the conversation goes on.
    Warn(String),
    /// Send [`Message::Refused`] with this and close.
    Close(Refusal),
}

/// Where one namespace stands with the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Both show the same digest and nothing is on its way.
    pub agrees: bool,
    /// Events that were sent and not acknowledged, or skipped for want of room.
    pub behind: u64,
    /// When something was last exchanged, by the caller's clock in milliseconds.
    pub last_exchange: Option<u64>,
}

/// What is known of one namespace on both sides.
#[derive(Debug, Default)]
struct Shared {
    theirs: Option<Digest>,
    /// The digest that the peer was last told.
    told: Option<Digest>,
    /// Live messages under way: sequence and number of events.
    unacked: VecDeque<(u64, u64)>,
    /// Live events left to repair.
    skipped: u64,
    /// [`Output::Apply`] not yet answered.
    applying: usize,
    asked: BTreeSet<Key>,
    compare: Compare,
    /// Both digests when the last comparison began: the same two are not compared again at once.
    compared: Option<(Digest, Digest)>,
    /// When something last moved, and when a fruitless comparison may be repeated.
    moved_at: u64,
    not_before: u64,
    last_exchange: Option<u64>,
}

/// The driver's part of a comparison.
#[derive(Debug, Default)]
enum Compare {
    #[default]
    Idle,
    /// [`Message::Compare`] is sent.
    Branches,
    /// Buckets still to be sent, and sent ones that are not done.
    Buckets { left: Vec<u16>, open: BTreeSet<u16> },
}

/// Bulk that is sent when there is room.
#[derive(Debug)]
enum Bulk {
    Missing { namespace: Namespace, key: Key, have: Vec<VersionId> },
    BucketDone { namespace: Namespace, bucket: u16 },
}

/// The peer, once it has greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub node: NodeId,
    /// Its software.
    pub agent: String,
    /// The protocol version that both speak.
    pub protocol: u32,
}

/// One conversation, from greeting to close.
#[derive(Debug)]
pub struct Session {
    me: Hello,
    compare_every: u64,
    peer: Option<Peer>,
    shared: BTreeMap<Namespace, Shared>,
    bulk: VecDeque<Bulk>,
    /// Parts of [`Message::Tips`] that wait for their last part.
    parts: BTreeMap<(Namespace, u16), Vec<KeyTips>>,
    refusals: u32,
    now: u64,
    out: Vec<Output>,
}

impl Session {
    /// A conversation that this node begins or answers; both sides do the same. The first outputs
    /// hold the greeting. `compare_every` is in milliseconds.
    pub fn new(node: NodeId, agent: &str, spaces: Vec<Space>, compare_every: u64) -> Session {
        let me = Hello {
            protocol: PROTOCOL,
            protocol_min: PROTOCOL_MIN,
            node,
            agent: agent.to_owned(),
            spaces,
        };
        Session {
            out: vec![Output::Send(Message::Hello(me.clone()))],
            me,
            compare_every,
            peer: None,
            shared: BTreeMap::new(),
            bulk: VecDeque::new(),
            parts: BTreeMap::new(),
            refusals: 0,
            now: 0,
        }
    }

    /// Takes one input. `now` is a steady clock in milliseconds.
    pub fn handle(&mut self, input: Input, replica: &impl Replica, now: u64) {
        self.now = now;
        let outcome = match input {
            Input::Message(message) => self.on_message(message, replica),
            Input::Made { namespace, sequence, root, events, room } => {
                self.on_made(&namespace, sequence, root, events, room);
                Ok(())
            }
            Input::Conflict(note) => {
                if self.shared.contains_key(&note.namespace) {
                    self.send(Message::Conflict(note));
                }
                Ok(())
            }
            Input::Applied { ticket, keys, outcomes } => {
                self.on_applied(&ticket, &keys, outcomes, replica)
            }
            Input::Tick => self.on_tick(replica),
        };
        if let Err(refusal) = outcome {
            self.out.push(Output::Close(refusal));
        }
    }

    /// What there is to do, in order.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// True if [`Session::more`] has something to send.
    pub fn has_bulk(&self) -> bool {
        !self.bulk.is_empty()
    }

    /// Sends about `bytes` of histories that wait for room.
    pub fn more(&mut self, replica: &impl Replica, bytes: usize) {
        let mut sent = 0;
        while sent < bytes
            && let Some(bulk) = self.bulk.pop_front()
        {
            match bulk {
                Bulk::BucketDone { namespace, bucket } => {
                    self.send(Message::BucketDone { namespace, bucket });
                }
                Bulk::Missing { namespace, key, have } => {
                    match replica.missing(&namespace, &key, &have) {
                        Ok(events) => sent += self.send_histories(&namespace, events),
                        Err(refusal) => self.out.push(Output::Close(refusal)),
                    }
                }
            }
        }
    }

    /// The peer, once it has greeted.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Where each shared namespace stands.
    pub fn standings(&self, replica: &impl Replica) -> Vec<(Namespace, Standing)> {
        let standing = |namespace: &Namespace, shared: &Shared| Standing {
            agrees: shared.settled() && shared.theirs == Some(replica.root(namespace)),
            behind: shared.unacked.iter().map(|(_, events)| events).sum::<u64>() + shared.skipped,
            last_exchange: shared.last_exchange,
        };
        self.shared.iter().map(|(name, shared)| (name.clone(), standing(name, shared))).collect()
    }

    fn send(&mut self, message: Message) {
        self.out.push(Output::Send(message));
    }

    fn is_driver(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| self.me.node < peer.node)
    }

    fn my_store(&self, namespace: &Namespace) -> Option<StoreId> {
        let space = self.me.spaces.iter().find(|space| space.namespace == *namespace);
        space.map(|space| space.store)
    }

    fn on_message(&mut self, message: Message, replica: &impl Replica) -> Result<(), Refusal> {
        if self.peer.is_none() {
            return match message {
                Message::Hello(hello) => self.on_hello(hello, replica),
                _ => Err(Refusal::new(Code::BadFrame, "the first message is not a hello")),
            };
        }
        let Some(namespace) = namespace_of(&message).cloned() else {
            return match message {
                Message::Refused { code, message } => {
                    self.out.push(Output::Warn(format!("the peer refused: {code}: {message}")));
                    Ok(())
                }
                _ => Err(Refusal::new(Code::BadFrame, "a second hello")),
            };
        };
        let now = self.now;
        let Some(shared) = self.shared.get_mut(&namespace) else {
            // Events of a namespace that is not shared are ignored.
            return Ok(());
        };
        shared.last_exchange = Some(now);
        match message {
            Message::Root { root, .. } => {
                if shared.theirs.replace(root).is_some_and(|before| before != root) {
                    shared.moved_at = now;
                }
                self.tell_if_new(&namespace, replica);
                self.compare_if_due(&namespace, replica);
                Ok(())
            }
            Message::Live { sequence, root, events, .. } => {
                shared.theirs = root.or(shared.theirs);
                self.apply(namespace, Some(sequence), events, replica);
                Ok(())
            }
            Message::Ack { sequence, root, .. } => {
                shared.theirs = Some(root);
                shared.moved_at = now;
                while shared.unacked.front().is_some_and(|(sent, _)| *sent <= sequence) {
                    shared.unacked.pop_front();
                }
                Ok(())
            }
            Message::Histories { events, .. } => {
                self.apply(namespace, None, events, replica);
                Ok(())
            }
            Message::Want { key, have, .. } => {
                if self.bulk.len() >= BULK_MAX {
                    let words = format!("more than {} keys asked for at once", figure(BULK_MAX));
                    return Err(Refusal::new(Code::Overloaded, words));
                }
                self.bulk.push_back(Bulk::Missing { namespace, key, have });
                Ok(())
            }
            Message::Conflict(note) => self.on_conflict(note, replica),
            Message::Compare { branches, .. } => self.on_compare(namespace, &branches, replica),
            Message::Differ { branches, .. } => self.on_differ(namespace, branches, replica),
            Message::Tips { bucket, keys, more, .. } => {
                self.on_tips(namespace, bucket, keys, more, replica)
            }
            Message::BucketDone { bucket, .. } => self.on_bucket_done(namespace, bucket, replica),
            Message::Hello(_) | Message::Refused { .. } => Ok(()),
        }
    }

    fn on_hello(&mut self, hello: Hello, replica: &impl Replica) -> Result<(), Refusal> {
        let protocol = self.me.protocol.min(hello.protocol);
        if protocol < self.me.protocol_min.max(hello.protocol_min) {
            let (mine, theirs) = (&self.me, &hello);
            return Err(Refusal::new(
                Code::Unsupported,
                format!(
                    "no common protocol version: this node speaks {} to {}, the other {} to {}",
                    mine.protocol_min, mine.protocol, theirs.protocol_min, theirs.protocol
                ),
            ));
        }
        if hello.node == self.me.node {
            let words = "this node dialled itself, or a copy of its data folder runs elsewhere";
            return Err(Refusal::new(Code::Unsupported, words));
        }
        self.peer = Some(Peer { node: hello.node, agent: hello.agent, protocol });
        for space in hello.spaces {
            let Some(store) = self.my_store(&space.namespace) else { continue };
            if store == space.store {
                self.out.push(Output::Warn(format!(
                    "namespace {}: the peer has the same store id {store}: one is a copy of the other",
                    space.namespace
                )));
            }
            let shared = Shared { told: Some(replica.root(&space.namespace)), ..Shared::default() };
            self.shared.insert(space.namespace.clone(), shared);
            let root = replica.root(&space.namespace);
            self.send(Message::Root { namespace: space.namespace, root });
        }
        Ok(())
    }

    fn on_made(
        &mut self,
        namespace: &Namespace,
        sequence: u64,
        root: Digest,
        events: Vec<Event>,
        room: bool,
    ) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.moved_at = now;
        if !room || shared.skipped > 0 {
            // Once something was left out, later events would lack their parents: repair brings all.
            shared.skipped += events.len() as u64;
            return;
        }
        shared.told = Some(root);
        shared.last_exchange = Some(now);
        shared.unacked.push_back((sequence, events.len() as u64));
        let mut groups = grouped(events).into_iter().peekable();
        while let Some(events) = groups.next() {
            let root = groups.peek().is_none().then_some(root);
            self.send(Message::Live { namespace: namespace.clone(), sequence, root, events });
        }
    }

    /// Checks what the peer sent and gives the good part to the store.
    fn apply(
        &mut self,
        namespace: Namespace,
        live: Option<u64>,
        mut events: Vec<Event>,
        replica: &impl Replica,
    ) {
        let limit = replica.value_bytes_max(&namespace);
        if let (Some(own), true) = (self.my_store(&namespace), live.is_some()) {
            events.retain(|event| event.version.origin != own);
        }
        events.retain(|event| match event.check(limit) {
            Ok(()) => true,
            Err(refusal) => {
                self.refuse(&namespace, &refusal);
                false
            }
        });
        let now = self.now;
        if let Some(shared) = self.shared.get_mut(&namespace) {
            shared.applying += 1;
            shared.moved_at = now;
            self.out.push(Output::Apply { ticket: Ticket { namespace, live }, events });
        }
    }

    fn refuse(&mut self, namespace: &Namespace, refusal: &Refusal) {
        self.refusals += 1;
        let words = format!("namespace {namespace}: {refusal}");
        self.out.push(Output::Warn(format!("refused from the peer: {words}")));
        if self.refusals == REFUSALS_MAX {
            let words =
                format!("{} of the peer's events were refused", figure(REFUSALS_MAX as usize));
            self.out.push(Output::Close(Refusal::new(Code::BadVersion, words)));
        } else if self.refusals < REFUSALS_MAX {
            self.send(Message::Refused { code: refusal.code.as_str().into(), message: words });
        }
    }

    fn on_applied(
        &mut self,
        ticket: &Ticket,
        keys: &[Key],
        outcomes: Vec<Received>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let namespace = &ticket.namespace;
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome {
                Received::Missing(_) => self.want(namespace, key, replica)?,
                Received::Refused(refusal) => self.refuse(namespace, &refusal),
                Received::New | Received::Known => {
                    if let Some(shared) = self.shared.get_mut(namespace) {
                        shared.asked.remove(key);
                    }
                }
            }
        }
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        shared.applying = shared.applying.saturating_sub(1);
        shared.moved_at = now;
        if let Some(sequence) = ticket.live {
            let root = replica.root(namespace);
            shared.told = Some(root);
            self.send(Message::Ack { namespace: namespace.clone(), sequence, root });
        } else if shared.applying == 0 {
            self.tell_if_new(namespace, replica);
        }
        Ok(())
    }

    /// Asks for what is missing of a key, once until it comes.
    fn want(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        if shared.asked.len() < ASKED_MAX && shared.asked.insert(key.clone()) {
            let have = replica.tips(namespace, key)?;
            self.send(Message::Want { namespace: namespace.clone(), key: key.clone(), have });
        }
        Ok(())
    }

    fn on_conflict(&mut self, note: ConflictNote, replica: &impl Replica) -> Result<(), Refusal> {
        self.out.push(Output::Heard(note.id));
        let known = replica.tips(&note.namespace, &note.key)?;
        if note.sides.iter().all(|side| known.contains(&side.version)) {
            return Ok(());
        }
        self.want(&note.namespace, &note.key, replica)
    }

    fn on_tick(&mut self, replica: &impl Replica) -> Result<(), Refusal> {
        let names: Vec<Namespace> = self.shared.keys().cloned().collect();
        for namespace in names {
            if let Some(shared) = self.shared.get_mut(&namespace) {
                // A request that was lost with its answer may be asked again.
                shared.asked.clear();
                let heard = shared.last_exchange.unwrap_or_default();
                if self.now.saturating_sub(heard) > ANSWER_WITHIN {
                    shared.compare = Compare::Idle;
                }
                if shared.applying == 0 {
                    shared.skipped = 0;
                    self.tell_if_new(&namespace, replica);
                }
                self.compare_if_due(&namespace, replica);
            }
        }
        Ok(())
    }

    /// Tells the peer our digest if it is not the one last told.
    fn tell_if_new(&mut self, namespace: &Namespace, replica: &impl Replica) {
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        let root = replica.root(namespace);
        if shared.told != Some(root) {
            shared.told = Some(root);
            self.send(Message::Root { namespace: namespace.clone(), root });
        }
    }

    fn compare_if_due(&mut self, namespace: &Namespace, replica: &impl Replica) {
        if !self.is_driver() {
            return;
        }
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        let Some(theirs) = shared.theirs else { return };
        let pair = (replica.root(namespace), theirs);
        let quiet = shared.moved_at == 0 || now.saturating_sub(shared.moved_at) >= QUIET;
        let idle = matches!(shared.compare, Compare::Idle) && shared.settled();
        let fruitless = shared.compared == Some(pair) && now < shared.not_before;
        if pair.0 != pair.1 && idle && quiet && !fruitless && self.bulk.is_empty() {
            shared.compare = Compare::Branches;
            shared.compared = Some(pair);
            let branches = replica.branches(namespace);
            self.send(Message::Compare { namespace: namespace.clone(), branches });
        }
    }

    fn on_compare(
        &mut self,
        namespace: Namespace,
        theirs: &[Digest],
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let mine = replica.branches(&namespace);
        if theirs.len() != mine.len() {
            let words = format!("a comparison of {} branches, not {}", theirs.len(), mine.len());
            return Err(Refusal::new(Code::BadFrame, words));
        }
        let differing = (0_u16..).zip(mine.iter().zip(theirs)).filter(|(_, (m, t))| m != t);
        let branches = differing.map(|(branch, _)| BranchBuckets {
            branch,
            buckets: replica.buckets(&namespace, branch),
        });
        let branches = branches.collect();
        self.send(Message::Differ { namespace, branches });
        Ok(())
    }

    fn on_differ(
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
    /// again for a while, in case the difference is one that exchange does not mend.
    fn send_tips(&mut self, namespace: &Namespace, replica: &impl Replica) -> Result<(), Refusal> {
        let (now, every) = (self.now, self.compare_every);
        while let Some(shared) = self.shared.get_mut(namespace)
            && let Compare::Buckets { left, open } = &mut shared.compare
        {
            if left.is_empty() && open.is_empty() {
                shared.compare = Compare::Idle;
                shared.moved_at = now.max(1);
                shared.not_before = now + every;
                self.tell_if_new(namespace, replica);
                break;
            }
            if open.len() >= BUCKETS_AT_ONCE {
                break;
            }
            let Some(bucket) = left.pop() else { break };
            open.insert(bucket);
            let keys = replica.bucket_keys(namespace, bucket)?;
            let mut parts =
                keys.chunks(TIPS_KEYS).map(<[KeyTips]>::to_vec).collect::<VecDeque<_>>();
            let last = parts.pop_back().unwrap_or_default();
            let parts = parts.into_iter().map(|keys| (keys, true)).chain([(last, false)]);
            for (keys, more) in parts {
                self.send(Message::Tips { namespace: namespace.clone(), bucket, keys, more });
            }
        }
        Ok(())
    }

    fn on_tips(
        &mut self,
        namespace: Namespace,
        bucket: u16,
        keys: Vec<KeyTips>,
        more: bool,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let part = (namespace.clone(), bucket);
        if self.parts.len() > BUCKETS_AT_ONCE && !self.parts.contains_key(&part) {
            return Err(Refusal::new(Code::BadFrame, "too many unfinished lists of tips"));
        }
        self.parts.entry(part.clone()).or_default().extend(keys);
        if more {
            return Ok(());
        }
        let theirs = self.parts.remove(&part).unwrap_or_default();
        let mut mine: BTreeMap<Key, Vec<VersionId>> =
            replica.bucket_keys(&namespace, bucket)?.into_iter().map(|k| (k.key, k.tips)).collect();
        for KeyTips { key, tips } in theirs {
            let have = mine.remove(&key).unwrap_or_default();
            if have == tips {
                continue;
            }
            if !have.is_empty() {
                let namespace = namespace.clone();
                self.bulk.push_back(Bulk::Missing { namespace, key: key.clone(), have: tips });
            }
            self.send(Message::Want { namespace: namespace.clone(), key, have });
        }
        for key in mine.into_keys() {
            let (namespace, have) = (namespace.clone(), Vec::new());
            self.bulk.push_back(Bulk::Missing { namespace, key, have });
        }
        self.bulk.push_back(Bulk::BucketDone { namespace, bucket });
        Ok(())
    }

    fn on_bucket_done(
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

    fn send_histories(&mut self, namespace: &Namespace, events: Vec<Event>) -> usize {
        let mut bytes = 0;
        for events in grouped(events) {
            bytes += events.iter().map(size).sum::<usize>();
            self.send(Message::Histories { namespace: namespace.clone(), events });
        }
        bytes
    }
}

impl Shared {
    /// Nothing is on its way in either direction that could still change a digest.
    fn settled(&self) -> bool {
        self.unacked.is_empty() && self.skipped == 0 && self.applying == 0
    }
}

fn namespace_of(message: &Message) -> Option<&Namespace> {
    match message {
        Message::Hello(_) | Message::Refused { .. } => None,
        Message::Conflict(note) => Some(&note.namespace),
        Message::Root { namespace, .. }
        | Message::Live { namespace, .. }
        | Message::Ack { namespace, .. }
        | Message::Compare { namespace, .. }
        | Message::Differ { namespace, .. }
        | Message::Tips { namespace, .. }
        | Message::Want { namespace, .. }
        | Message::Histories { namespace, .. }
        | Message::BucketDone { namespace, .. } => Some(namespace),
    }
}

/// About how many bytes an event takes in a message.
fn size(event: &Event) -> usize {
    let value = event.value.as_ref().map_or(0, |value| value.as_bytes().len());
    160 + event.key.as_str().len() + 34 * event.version.parents.len() + value
}

/// Cuts events into groups of about [`EVENTS_BYTES`], in order.
fn grouped(events: Vec<Event>) -> Vec<Vec<Event>> {
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for event in events {
        if bytes > EVENTS_BYTES {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size(&event);
        if let Some(group) = groups.last_mut() {
            group.push(event);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}
