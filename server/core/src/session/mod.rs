//! The conversation of two nodes as a state machine: messages and commits in, messages and work out.
//! No socket, no clock, no disk: the caller carries messages, passes the time, and answers reads.
//!
//! Live events (`live`) are for speed; correctness rests on repair (`repair`). Per namespace, both sides
//! tell each other the digest of what they hold. Where the digests differ, the *driver* (the smaller
//! node id) narrows the difference down: branches, buckets, tips of keys, and then both send what the
//! other lacks. Both tell their digest again when what came is applied; a follower that still applies
//! lets the next comparison wait, for it would ask for the same again.
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
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{ConflictNote, Hello, KeyTips, Message, PROTOCOL, PROTOCOL_MIN, Space};

/// What is made on one side is told to the other, and taken there.
mod live;
/// Where two nodes differ, and how each gets what it lacks.
mod repair;

use repair::{Bulk, Compare};

/// Forged events after which the connection is closed; as many other refusals are said and logged.
const REFUSALS_MAX: u32 = 100;
/// A comparison that the peer does not answer for this long is given up, in milliseconds.
const ANSWER_WITHIN: u64 = 60_000;

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
    /// Nothing is on its way.
    pub settled: bool,
    /// The digest that the peer last showed.
    pub theirs: Option<Digest>,
    /// Events that were sent and not acknowledged, or skipped for want of room.
    pub behind: u64,
    /// When something was last exchanged, by the caller's clock in milliseconds.
    pub last_exchange: Option<u64>,
}

/// What is known of one namespace on both sides. Times are the caller's, in milliseconds.
#[derive(Debug, Default)]
struct Shared {
    /// The digest that the peer last showed.
    theirs: Option<Digest>,
    /// The digest that the peer was last told.
    told: Option<Digest>,
    /// Live messages under way: sequence and number of events.
    unacked: VecDeque<(u64, u64)>,
    /// Live events left to repair.
    skipped: u64,
    /// [`Output::Apply`] not yet answered, and how many of them are no end of a live commit.
    applying: usize,
    repairing: usize,
    /// Keys that were asked for, and when.
    asked: BTreeMap<Key, u64>,
    compare: Compare,
    /// A comparison of the peer that waits until what the last one brought is applied.
    held: Option<Vec<Digest>>,
    /// What the digests differed by when the last comparison began, and when the same difference may
    /// be compared again: it may be one that exchange does not mend.
    compared: Option<Digest>,
    not_before: u64,
    /// Since when the digests differ, seen at every tick.
    differs_since: Option<u64>,
    /// When something last moved.
    moved_at: Option<u64>,
    last_exchange: Option<u64>,
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
    /// How many events of the peer were forged, and in which words others were refused: the same is
    /// not said twice.
    forgeries: u32,
    refused: BTreeSet<String>,
    /// How often the peer refused something.
    complaints: u32,
    closed: bool,
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
            forgeries: 0,
            refused: BTreeSet::new(),
            complaints: 0,
            closed: false,
            now: 0,
        }
    }

    /// Takes one input. `now` is a steady clock in milliseconds. Nothing comes of it after
    /// [`Output::Close`].
    pub fn handle(&mut self, input: Input, replica: &impl Replica, now: u64) {
        if self.closed {
            return;
        }
        self.now = now;
        let outcome = match input {
            Input::Message(message) => self.on_message(message, replica),
            Input::Made { namespace, sequence, root, events, room } => {
                self.on_made(&namespace, sequence, root, events, room);
                Ok(())
            }
            Input::Conflict(note) => {
                self.announce(note);
                Ok(())
            }
            Input::Applied { ticket, keys, outcomes } => {
                self.on_applied(&ticket, &keys, outcomes, replica)
            }
            Input::Tick => self.on_tick(replica),
        };
        if let Err(refusal) = outcome {
            self.close(refusal);
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

    /// The peer, once it has greeted.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Where each shared namespace stands.
    pub fn standings(&self, replica: &impl Replica) -> Vec<(Namespace, Standing)> {
        let standing = |namespace: &Namespace, shared: &Shared| Standing {
            agrees: shared.settled() && shared.theirs == Some(replica.root(namespace)),
            settled: shared.settled(),
            theirs: shared.theirs,
            behind: shared.unacked.iter().map(|(_, events)| events).sum::<u64>() + shared.skipped,
            last_exchange: shared.last_exchange,
        };
        self.shared.iter().map(|(name, shared)| (name.clone(), standing(name, shared))).collect()
    }

    fn send(&mut self, message: Message) {
        self.out.push(Output::Send(message));
    }

    fn close(&mut self, refusal: Refusal) {
        self.closed = true;
        self.bulk.clear();
        self.out.push(Output::Close(refusal));
    }

    fn is_driver(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| self.me.node < peer.node)
    }

    fn my_store(&self, namespace: &Namespace) -> Option<StoreId> {
        let space = self.me.spaces.iter().find(|space| space.namespace == *namespace);
        space.map(|space| space.store)
    }

    fn on_message(&mut self, message: Message, replica: &impl Replica) -> Result<(), Refusal> {
        match message {
            Message::Hello(hello) if self.peer.is_none() => self.on_hello(hello, replica),
            _ if self.peer.is_none() => {
                Err(Refusal::new(Code::BadFrame, "the first message is not a hello"))
            }
            Message::Hello(_) => Err(Refusal::new(Code::BadFrame, "a second hello")),
            Message::Refused { code, message } => {
                self.on_refused(&code, &message);
                Ok(())
            }
            _ => self.on_shared(message, replica),
        }
    }

    /// A message about a namespace; one that is not shared is ignored.
    fn on_shared(&mut self, message: Message, replica: &impl Replica) -> Result<(), Refusal> {
        let known = namespace_of(&message).and_then(|name| self.shared.get_mut(name));
        let Some(shared) = known else { return Ok(()) };
        shared.last_exchange = Some(self.now);
        match message {
            Message::Root { namespace, root } => {
                self.on_root(&namespace, root, replica);
                Ok(())
            }
            Message::Live { namespace, sequence, root, events } => {
                self.on_live(namespace, sequence, root, events, replica);
                Ok(())
            }
            Message::Ack { namespace, sequence, root } => {
                self.on_ack(&namespace, sequence, root);
                Ok(())
            }
            Message::Histories { namespace, events } => {
                self.apply(namespace, None, events, replica);
                Ok(())
            }
            Message::Want { namespace, key, have } => {
                self.queue(Bulk::Missing { namespace, key, have })
            }
            Message::Conflict(note) => self.on_conflict(note, replica),
            Message::Compare { namespace, branches } => {
                self.on_compare(namespace, branches, replica)
            }
            Message::Differ { namespace, branches } => self.on_differ(namespace, branches, replica),
            Message::Tips { namespace, bucket, keys, more } => {
                self.on_tips(namespace, bucket, keys, more, replica)
            }
            Message::BucketDone { namespace, bucket } => {
                self.on_bucket_done(namespace, bucket, replica)
            }
            Message::Hello(_) | Message::Refused { .. } => Ok(()),
        }
    }

    fn on_hello(&mut self, hello: Hello, replica: &impl Replica) -> Result<(), Refusal> {
        let protocol = self.common_protocol(&hello)?;
        if hello.node == self.me.node {
            let words = "this node dialled itself, or a copy of its data folder runs elsewhere";
            return Err(Refusal::new(Code::Unsupported, words));
        }
        self.peer = Some(Peer { node: hello.node, agent: hello.agent, protocol });
        for Space { namespace, store } in hello.spaces {
            let Some(own) = self.my_store(&namespace) else { continue };
            if store == own {
                self.out.push(Output::Warn(format!(
                    "namespace {namespace}: the peer has the same store id {store}: one is a copy of the other"
                )));
            }
            self.shared.entry(namespace.clone()).or_default();
            self.tell_if_new(&namespace, replica);
        }
        Ok(())
    }

    fn common_protocol(&self, theirs: &Hello) -> Result<u32, Refusal> {
        let mine = &self.me;
        let protocol = mine.protocol.min(theirs.protocol);
        if protocol >= mine.protocol_min.max(theirs.protocol_min) {
            return Ok(protocol);
        }
        let words = format!(
            "no common protocol version: this node speaks {} to {}, the other {} to {}",
            mine.protocol_min, mine.protocol, theirs.protocol_min, theirs.protocol
        );
        Err(Refusal::new(Code::Unsupported, words))
    }

    /// A hostile peer fills no log.
    fn on_refused(&mut self, code: &str, message: &str) {
        self.complaints = self.complaints.saturating_add(1);
        if self.complaints <= REFUSALS_MAX {
            self.out.push(Output::Warn(format!("the peer refused: {code}: {message}")));
        }
    }

    fn on_tick(&mut self, replica: &impl Replica) -> Result<(), Refusal> {
        let now = self.now;
        let names: Vec<Namespace> = self.shared.keys().cloned().collect();
        for namespace in names {
            let Some(shared) = self.shared.get_mut(&namespace) else { continue };
            // A request whose answer did not help may be made again.
            shared.asked.retain(|_, asked| now.saturating_sub(*asked) < live::ASK_AGAIN);
            if shared.last_exchange.is_none_or(|at| now.saturating_sub(at) > ANSWER_WITHIN) {
                shared.compare = Compare::Idle;
            }
            shared.skipped = 0;
            if shared.repairing == 0 {
                self.tell_if_new(&namespace, replica);
            }
            self.compare_if_due(&namespace, replica);
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
}

impl Shared {
    /// Something that may change a digest has come, gone or been applied.
    fn moved(&mut self, now: u64) {
        self.moved_at = Some(now);
        self.last_exchange = Some(now);
    }

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
