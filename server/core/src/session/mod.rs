//! The conversation of two nodes as a state machine: messages and commits in, messages and work out.
//! No socket, no clock, no disk, no randomness: the caller carries messages, passes the time, and
//! answers reads.
//!
//! First both sides prove who they are (`greet`). Live events (`live`) are for speed; correctness rests
//! on repair (`repair`). Per namespace, both sides tell each other the digest of what they hold. Where
//! the digests differ, the *driver* (the smaller node id) narrows the difference down, range by range,
//! to keys, and then both send what the other lacks (`bulk`). Both tell their digest again when what
//! came is applied; a follower that still applies lets the next comparison wait, for it would ask for
//! the same again.
//!
//! ```text
//! dialler                         answerer
//!   Greet                 <->       Greet
//!   Prove                 ->
//!                         <-        Prove, Hello, Notes, Root of each namespace
//!   Hello, Notes, Root    ->
//!
//! driver                          follower
//!   Compare(ranges)       ->                                    several at a time
//!                         <-        Differ(their parts, or their keys)
//!   Offer(keys)           ->
//!                         <-        Histories, Want, Done
//!   Histories             ->
//!   Root                  ->
//!                         <-        Root
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::digest::{Digest, FANOUT, Prefix};
use crate::handshake::{Claimed, Transcript};
use crate::history::History;
use crate::ids::{ConflictId, NodeId, StoreId, VersionId};
use crate::mesh::Notes;
use crate::name::{Key, Namespace};
use crate::policy::Policy;
use crate::refusal::{Code, Refusal};
use crate::version::Event;
use crate::wire::{ConflictNote, KeyTips, Message, Part, Space};

/// Who the two sides are.
mod greet;
/// What is made on one side is told to the other, and taken there.
mod live;
/// Keys that were asked for, and when they may be asked for again.
mod asked;
/// Histories on their way, when there is room.
mod bulk;
/// Where two nodes differ, and how each gets what it lacks.
mod repair;
/// Deleted keys that nobody needs any more, and nodes that missed that.
mod forget;
/// How much a session holds.
mod burden;

use asked::Questions;
use bulk::Waiting;
pub use burden::Burden;
pub use greet::{Setup, Side};
use repair::Compare;

/// Forged events after which the connection is closed; as many other refusals are said and logged.
const REFUSALS_MAX: u32 = 100;
/// A comparison that the peer does not answer for this long is given up, in milliseconds.
const ANSWER_WITHIN: u64 = 60_000;

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
        /// The versions.
        events: Vec<Event>,
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
    /// The keys of which the message ends the answer.
    pub answered: Vec<Key>,
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
    /// The key was deleted and forgotten while this node was away: delete it here, unless it changed
    /// after this sequence.
    Bury {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// The sequence.
        last: u64,
    },
    /// What this node has of the key was forgotten elsewhere while it was away: drop it, unless it
    /// changed after this sequence; the peer's history follows.
    Replace {
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
struct Unacked {
    sequence: u64,
    events: u64,
    since: u64,
}

/// What is known of one namespace on both sides. Times are the caller's, in milliseconds.
#[derive(Debug, Default)]
struct Shared {
    /// The digest that the peer last showed.
    theirs: Option<Digest>,
    /// The digest that the peer was last told.
    told: Option<Digest>,
    /// Live messages under way.
    unacked: VecDeque<Unacked>,
    /// Live events left to repair.
    skipped: u64,
    /// See [`Standing`].
    agreed: u64,
    acked: u64,
    unsure: u64,
    policy: Policy,
    /// The peer was away; this node was away, and agreed with the peer last at this sequence.
    they_were_away: bool,
    i_was_away: Option<u64>,
    /// [`Output::Apply`] not yet answered, and how many of them are no end of a live commit.
    applying: usize,
    repairing: usize,
    /// True if something of the live commit of which a part was applied was not taken.
    short: bool,
    /// Keys that were asked for.
    asked: Questions,
    compare: Compare,
    /// A comparison of the peer that waits until what the last one brought is applied.
    held: Option<Vec<Part>>,
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

/// How far the greeting has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet.
    Greet,
    /// The peer's proof is waited for.
    Prove(Transcript),
    /// The caller decides whether the peer may stay.
    Admit,
    /// The peer's hello is waited for.
    Hello,
    /// Both have greeted.
    Open,
}

/// One conversation, from greeting to close.
#[derive(Debug)]
pub struct Session {
    setup: Setup,
    phase: Phase,
    protocol: u32,
    /// Who the peer has proven to be, and the proof that it gets if it may stay.
    node: Option<NodeId>,
    proof: Option<Message>,
    spaces: Vec<Space>,
    marks: BTreeMap<Namespace, u64>,
    peer: Option<Peer>,
    shared: BTreeMap<Namespace, Shared>,
    /// What waits for room.
    bulk: Waiting,
    /// How many events of the peer were forged, and in which words others were refused: the same is
    /// not said twice.
    forgeries: u32,
    refused: BTreeSet<String>,
    /// How often the peer refused something, and what it said last.
    complaints: u32,
    complaint: Option<String>,
    /// The peer has turned out to be this very process.
    itself: bool,
    closed: bool,
    now: u64,
    out: Vec<Output>,
}

impl Session {
    /// A conversation that this node begins or answers. The first outputs hold the greeting.
    pub fn new(setup: Setup) -> Session {
        Session {
            out: vec![Output::Send(setup.greeting())],
            setup,
            phase: Phase::Greet,
            protocol: 0,
            node: None,
            proof: None,
            spaces: Vec::new(),
            marks: BTreeMap::new(),
            peer: None,
            shared: BTreeMap::new(),
            bulk: Waiting::default(),
            forgeries: 0,
            refused: BTreeSet::new(),
            complaints: 0,
            complaint: None,
            itself: false,
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
        if let Err(refusal) = self.on_input(input, replica) {
            self.close(refusal);
        }
    }

    fn on_input(&mut self, input: Input, replica: &impl Replica) -> Result<(), Refusal> {
        match input {
            Input::Message(message) => self.on_message(message, replica)?,
            Input::Admitted(admitted) => self.on_admitted(*admitted),
            Input::Rejected(refusal) => return Err(refusal),
            Input::Tell(notes) => self.tell(notes),
            Input::Made { namespace, sequence, root, maker, events, room } => {
                self.on_made(&namespace, sequence, root, maker, events, room);
            }
            Input::Conflict(note) => self.announce(note),
            Input::Forgot { namespace, keys } => self.on_forgot(&namespace, keys),
            // Who does not share the namespace does not answer, and may not even have greeted.
            Input::Ask { question, namespace, .. } if !self.shared.contains_key(&namespace) => {
                self.out.push(Output::Holds { question, held: false });
            }
            Input::Ask { question, namespace, key, version } => {
                self.send(Message::Ask { question, namespace, key, version });
            }
            Input::Applied { ticket, keys, outcomes } => {
                self.on_applied(&ticket, &keys, outcomes, replica)?;
            }
            Input::Tick => self.on_tick(replica)?,
        }
        Ok(())
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

    /// Who the peer has proven to be, also before it has greeted.
    pub fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// What the peer last refused, in its words.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// True if the peer has turned out to be this very process.
    pub fn is_itself(&self) -> bool {
        self.itself
    }

    /// Where each shared namespace stands.
    pub fn standings(&self, replica: &impl Replica) -> Vec<(Namespace, Standing)> {
        let standing = |namespace: &Namespace, shared: &Shared| Standing {
            agrees: shared.settled() && shared.theirs == Some(replica.root(namespace)),
            settled: shared.settled(),
            theirs: shared.theirs,
            behind: shared.unacked.iter().map(|sent| sent.events).sum::<u64>() + shared.skipped,
            waiting_since: shared.unacked.front().map(|sent| sent.since),
            last_exchange: shared.last_exchange,
            agreed: shared.agreed,
            acked: shared.acked,
            unsure: shared.unsure,
            policy: shared.policy,
            away: shared.they_were_away,
        };
        self.shared.iter().map(|(name, shared)| (name.clone(), standing(name, shared))).collect()
    }

    fn send(&mut self, message: Message) {
        self.out.push(Output::Send(message));
    }

    fn close(&mut self, refusal: Refusal) {
        self.closed = true;
        self.bulk = Waiting::default();
        self.out.push(Output::Close(refusal));
    }

    fn is_driver(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| self.setup.key.id() < peer.node)
    }

    fn my_store(&self, namespace: &Namespace) -> Option<StoreId> {
        let space = self.spaces.iter().find(|space| space.namespace == *namespace);
        space.map(|space| space.store)
    }

    /// Notes go to one who knows that this node may be believed.
    fn tell(&mut self, notes: Notes) {
        if matches!(self.phase, Phase::Hello | Phase::Open) {
            self.out
                .extend(notes.parts().into_iter().map(|part| Output::Send(Message::Notes(part))));
        }
    }

    fn on_message(&mut self, message: Message, replica: &impl Replica) -> Result<(), Refusal> {
        let out_of_turn = |what: &str| Err(Refusal::new(Code::BadFrame, what));
        match (self.phase, message) {
            (_, Message::Refused { code, message }) => {
                self.on_refused(&code, &message);
                Ok(())
            }
            (Phase::Greet, Message::Greet(greet)) => self.on_greet(&greet),
            (Phase::Greet, _) => out_of_turn("the first message is not a greeting"),
            (Phase::Prove(transcript), Message::Prove(proof)) => self.on_prove(proof, transcript),
            (Phase::Prove(_), _) => out_of_turn("the second message is not a proof"),
            (Phase::Admit, _) => out_of_turn("a message before the proof was answered"),
            (Phase::Hello, Message::Hello(hello)) => self.on_hello(hello, replica),
            (Phase::Hello, _) => out_of_turn("the third message is not a hello"),
            (_, Message::Greet(_) | Message::Prove(_) | Message::Hello(_)) => {
                out_of_turn("a second greeting")
            }
            (Phase::Open, Message::Notes(notes)) => {
                notes.check()?;
                self.out.push(Output::Notes(notes));
                Ok(())
            }
            (Phase::Open, Message::Holds { question, held }) => {
                self.out.push(Output::Holds { question, held });
                Ok(())
            }
            (Phase::Open, message) => self.on_shared(message, replica),
        }
    }

    /// A message about a namespace; one that is not shared is ignored.
    fn on_shared(&mut self, message: Message, replica: &impl Replica) -> Result<(), Refusal> {
        let known = namespace_of(&message).and_then(|name| self.shared.get_mut(name));
        let Some(shared) = known else { return Ok(()) };
        shared.last_exchange = Some(self.now);
        match message {
            Message::Root { namespace, root } => self.on_root(&namespace, root, replica)?,
            Message::Live { namespace, sequence, root, maker, events } => {
                self.on_live(namespace, sequence, root, maker, events, replica)?;
            }
            Message::Ack { namespace, sequence, root, whole } => {
                self.on_ack(&namespace, sequence, root, whole, replica);
            }
            Message::Histories { namespace, events, answered } => {
                let (live, maker, short) = (None, None, false);
                let ticket = Ticket { namespace, live, maker, short, answered };
                self.apply(ticket, events);
            }
            Message::Want { namespace, key, have, known } => {
                self.on_want(&namespace, key, have, known, replica)?;
            }
            Message::Conflict(note) => self.on_conflict(note, replica)?,
            Message::Compare { namespace, parts } => self.on_compare(namespace, parts, replica)?,
            Message::Differ { namespace, parts, differing } => {
                self.on_differ(&namespace, parts, differing, replica)?;
            }
            Message::Offer { namespace, keys, wanted } => {
                self.on_offer(&namespace, keys, wanted, replica)?;
            }
            Message::Fetch { namespace, prefix } => self.on_fetch(&namespace, prefix)?,
            Message::Done { namespace } => self.on_done(&namespace, replica)?,
            Message::Forget { namespace, keys } => self.on_forget(&namespace, keys, replica)?,
            Message::Ask { question, namespace, key, version } => {
                let history = replica.history(&namespace, &key)?;
                let held = history.is_some_and(|history| history.find(&version).is_some());
                self.send(Message::Holds { question, held });
            }
            Message::Greet(_)
            | Message::Prove(_)
            | Message::Hello(_)
            | Message::Notes(_)
            | Message::Holds { .. }
            | Message::Refused { .. } => {}
        }
        Ok(())
    }

    /// A hostile peer fills no log, neither with many words nor with long ones.
    fn on_refused(&mut self, code: &str, message: &str) {
        self.complaints = self.complaints.saturating_add(1);
        self.complaint = Some(format!("{code:.100}: {message:.1000}"));
        if self.complaints <= REFUSALS_MAX {
            self.out.push(Output::Warn(format!("the peer refused: {code:.100}: {message:.1000}")));
        }
    }

    fn on_tick(&mut self, replica: &impl Replica) -> Result<(), Refusal> {
        let now = self.now;
        let names: Vec<Namespace> = self.shared.keys().cloned().collect();
        for namespace in names {
            let Some(shared) = self.shared.get_mut(&namespace) else { continue };
            if shared.last_exchange.is_none_or(|at| now.saturating_sub(at) > ANSWER_WITHIN) {
                shared.compare = Compare::Idle;
            }
            shared.skipped = 0;
            shared.see(&namespace, replica);
            if shared.repairing == 0 {
                self.tell_if_new(&namespace, replica);
            }
            self.want_again(&namespace, replica)?;
            self.go_on_comparing(&namespace, replica)?;
            self.compare_if_due(&namespace, replica)?;
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

    /// The peer has all that this store had when it showed the digest that the peer shows now.
    fn see(&mut self, namespace: &Namespace, replica: &impl Replica) {
        if let Some(theirs) = &self.theirs
            && let Some(sequence) = replica.sequence_of(namespace, theirs)
        {
            self.agreed = self.agreed.max(sequence);
        }
    }

    /// Nothing is on its way in either direction that could still change a digest.
    fn settled(&self) -> bool {
        self.unacked.is_empty() && self.skipped == 0 && self.applying == 0
    }
}

fn namespace_of(message: &Message) -> Option<&Namespace> {
    match message {
        Message::Greet(_)
        | Message::Prove(_)
        | Message::Hello(_)
        | Message::Notes(_)
        | Message::Holds { .. }
        | Message::Refused { .. } => None,
        Message::Conflict(note) => Some(&note.namespace),
        Message::Root { namespace, .. }
        | Message::Live { namespace, .. }
        | Message::Ack { namespace, .. }
        | Message::Compare { namespace, .. }
        | Message::Differ { namespace, .. }
        | Message::Offer { namespace, .. }
        | Message::Fetch { namespace, .. }
        | Message::Done { namespace }
        | Message::Want { namespace, .. }
        | Message::Histories { namespace, .. }
        | Message::Forget { namespace, .. }
        | Message::Ask { namespace, .. } => Some(namespace),
    }
}
