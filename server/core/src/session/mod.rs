//! The conversation of two nodes as a state machine: messages and commits in, messages and work out.
//! No socket, no clock, no disk, no randomness: the caller carries messages, passes the time, and
//! answers reads.
//!
//! First both sides prove who they are (`greet`). Live events (`live`) are for speed; correctness rests
//! on repair (`compare`, `repair`). Per namespace, both sides tell each other the digest of what they hold. Where
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

use std::collections::{BTreeMap, BTreeSet};

use crate::handshake::Transcript;
use crate::ids::{NodeId, StoreId};
use crate::mesh::Notes;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::wire::{Message, Space};

/// What goes in, what comes out, and what is read.
mod ports;
/// What is known of one namespace on both sides.
mod shared;
/// Who the two sides are.
mod greet;
/// What is made on one side is told to the other, and taken there.
mod live;
/// Keys that were asked for, and when they may be asked for again.
mod asked;
/// Histories on their way, when there is room.
mod bulk;
/// Where two nodes differ.
mod compare;
/// What each side lacks of the keys that differ.
mod repair;
/// Deleted keys that nobody needs any more, and nodes that missed that.
mod forget;
/// How much a session holds.
mod burden;

use bulk::Waiting;
pub use burden::Burden;
use compare::Compare;
pub use greet::{Setup, Side};
pub use ports::{Admitted, Entry, Held, Histories, Input, Output, Received, Replica, Ticket};
use shared::Shared;
pub use shared::{Mark, Standing};

/// Forged events after which the connection is closed; as many other refusals are said and logged.
const REFUSALS_MAX: u32 = 100;
/// A question about a key that the peer does not answer for this long may be asked anew, in milliseconds.
const ANSWER_WITHIN: u64 = 60_000;

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
    /// Questions of this session's own, each about a key, and how many there were.
    doubts: BTreeMap<u64, (Namespace, Key)>,
    doubted: u64,
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
            doubts: BTreeMap::new(),
            doubted: 0,
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
            Input::Made { namespace, sequence, root, maker, told, room } => {
                self.on_made(&namespace, sequence, root, maker, told, room);
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
            exchanged: shared.exchanged,
            catches_up: shared.catches_up,
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
                self.on_holds(question, held, replica)
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
                self.apply(ticket, events.into_vec());
            }
            Message::Want { namespace, key, have, known, question } => {
                self.on_want(&namespace, key, have, known, question, replica)?;
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
        let sends = !self.bulk.is_empty();
        let names: Vec<Namespace> = self.shared.keys().cloned().collect();
        for namespace in names {
            let Some(shared) = self.shared.get_mut(&namespace) else { continue };
            if let Compare::Running(running) = &mut shared.compare {
                if sends {
                    running.moved(now);
                } else if running.is_stuck(now) {
                    shared.compare = Compare::Idle;
                }
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
        shared.look(root);
        if shared.told != Some(root) {
            shared.told = Some(root);
            shared.exchanged.show();
            self.send(Message::Root { namespace: namespace.clone(), root });
        }
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
