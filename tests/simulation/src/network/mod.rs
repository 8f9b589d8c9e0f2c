//! Nodes whose sessions talk over a network of discrete events: no socket, no clock, the same run for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Input, Session};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::planted::Planted;
use crate::store::Store;

/// How all of it behaves.
mod settings;
/// One node.
mod node;
/// Lines of a trace.
mod show;
/// The ends of connections, and the frames between them.
mod ends;
/// What sessions are told and want.
mod talk;
/// Who belongs to the mesh, and which connection stays.
mod members;
/// Processes that start and stop, and whom they dial.
mod dials;
/// What a store is given, and what is durable.
mod disk;
/// What was made is told to sessions, and conflicts to hooks.
mod spread;
/// Hours in which nothing happens, members that were away for longer, and stores from before.
mod away;
/// What is held against the truth while a run goes on.
mod claims;

pub use away::Backup;
pub use ends::Holdings;
use ends::{End, Frame};
pub use node::{Marks, Node, namespace, node_id, node_key, store_id};
pub use settings::{Hook, Life, Settings};

/// More than any run needs: an event loop ends here.
const MESSAGES_MAX: u64 = 200_000;

/// Which end of which connection: the node, its peer, and the number of the connection.
type Place = (usize, usize, u64);

enum Happening {
    Arrive { from: usize, to: usize, epoch: u64, turns: u64, frame: Frame },
    Commit { at: usize, life: u64 },
    Answer { place: Place, input: Box<Input> },
    Dispatch { at: usize, life: u64 },
    Pump { place: Place },
    Tick { place: Place },
    Reconnect { a: usize, b: usize },
    Dial { at: usize, life: u64, to: usize },
    Connected { at: usize, life: u64, to: usize },
    Failed { at: usize, life: u64, to: usize },
    Sync { at: usize },
    Resume { at: usize },
    Step,
}

impl Happening {
    /// The node whose process it needs.
    fn at(&self) -> Option<usize> {
        match self {
            Happening::Commit { at, .. }
            | Happening::Dispatch { at, .. }
            | Happening::Dial { at, .. }
            | Happening::Failed { at, .. }
            | Happening::Connected { to: at, .. }
            | Happening::Arrive { to: at, .. }
            | Happening::Answer { place: (at, ..), .. }
            | Happening::Pump { place: (at, ..) }
            | Happening::Tick { place: (at, ..) } => Some(*at),
            Happening::Reconnect { .. }
            | Happening::Sync { .. }
            | Happening::Resume { .. }
            | Happening::Step => None,
        }
    }

    /// False for what goes on for ever.
    fn is_work(&self) -> bool {
        !matches!(
            self,
            Happening::Tick { .. }
                | Happening::Step
                | Happening::Dial { .. }
                | Happening::Failed { .. }
                | Happening::Sync { .. }
                | Happening::Arrive { frame: Frame::Ping | Frame::Pong, .. }
        )
    }
}

/// What went over the network, pings left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many of each kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// How many in all.
    pub messages: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Bytes of the messages of each kind.
    pub sizes: BTreeMap<&'static str, u64>,
    /// The largest message in bytes.
    pub largest: u64,
    /// The longest chain of messages of which each was sent after the one before had come.
    pub turns: u64,
    /// How many events they held.
    pub events: u64,
    /// When the last was sent.
    pub last: u64,
}

/// A write that a client was told is done.
#[derive(Debug, Clone)]
pub struct Acked {
    /// Where.
    pub at: usize,
    /// The namespace.
    pub namespace: Namespace,
    /// The key.
    pub key: Key,
    /// What was made.
    pub version: VersionId,
    /// Its parents.
    pub parents: Vec<VersionId>,
    /// The store's sequence of it, and which life of the node it was.
    pub sequence: u64,
}

/// Nodes and what is under way between them.
pub struct Network {
    /// All chance of a run.
    pub rng: StdRng,
    /// How it behaves.
    pub settings: Settings,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The time, in milliseconds.
    pub now: u64,
    /// Milliseconds that passed besides, without anything happening.
    pub idle: u64,
    /// What was sent so far.
    pub sent: Sent,
    /// Every session that closed by itself, and why.
    pub closed: Vec<(usize, usize, Refusal)>,
    /// How many conflict notes were given to sessions.
    pub announced: u64,
    /// Commits told to sessions.
    pub told: u64,
    /// Connections made.
    pub connected: u64,
    /// When the last write was made, by a client or a hook.
    pub wrote: u64,
    /// Merges that hooks made.
    pub merged: u64,
    /// Writes that clients were told are done.
    pub acked: Vec<Acked>,
    /// Versions of keys that were deleted everywhere and forgotten.
    pub gone: BTreeSet<(Namespace, Key, VersionId)>,
    /// Those of them that came to a node that does not know them, though somebody could tell that they
    /// should not.
    pub came_back: BTreeSet<(Namespace, Key, VersionId)>,
    /// How often each event of each maker was sent live over each link.
    pub crossed: BTreeMap<(usize, usize, NodeId, VersionId), u32>,
    /// The most that any session held.
    pub most: Holdings,
    /// What a harness found to be wrong while the run went on.
    pub wrong: Vec<String>,
    /// Every line of the run, if it is wanted.
    pub trace: Option<Vec<String>>,
    /// Directions in which nothing gets through for now, and those in which nothing ever does.
    pub blocked: BTreeSet<(usize, usize)>,
    /// Pairs that never reach each other.
    pub walls: BTreeSet<(usize, usize)>,
    /// True if what is blocked waits and comes later, false if the connection never works again.
    pub holds: bool,
    ends: BTreeMap<Place, End>,
    /// The connection that stands for a pair, at each of its ends.
    links: BTreeMap<(usize, usize), u64>,
    met: BTreeSet<(usize, usize)>,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    epochs: u64,
}

impl Network {
    /// Nodes that all know each other and are not connected.
    pub fn new(seed: u64, count: usize, namespaces: &[&str], settings: Settings) -> Network {
        Network {
            rng: StdRng::seed_from_u64(seed),
            nodes: (0..count).map(|number| Node::new(number, count, namespaces)).collect(),
            settings,
            now: 0,
            idle: 0,
            sent: Sent::default(),
            closed: Vec::new(),
            announced: 0,
            told: 0,
            connected: 0,
            wrote: 0,
            merged: 0,
            acked: Vec::new(),
            gone: BTreeSet::new(),
            came_back: BTreeSet::new(),
            crossed: BTreeMap::new(),
            most: Holdings::default(),
            wrong: Vec::new(),
            trace: None,
            blocked: BTreeSet::new(),
            walls: BTreeSet::new(),
            holds: false,
            ends: BTreeMap::new(),
            links: BTreeMap::new(),
            met: BTreeSet::new(),
            queue: BTreeMap::new(),
            order: 0,
            epochs: 0,
        }
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.now, words()));
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    fn draw(&mut self, range: Range<u64>) -> u64 {
        self.rng.random_range(range)
    }

    /// [`Network::run_until`] stops at this time.
    pub fn plan_step(&mut self, at: u64) {
        self.schedule(at, Happening::Step);
    }

    /// Connects two nodes at this time.
    pub fn plan_reconnect(&mut self, a: usize, b: usize, at: u64) {
        self.schedule(at, Happening::Reconnect { a, b });
    }

    /// What a node holds of a namespace.
    pub fn store(&self, at: usize, namespace: &Namespace) -> &Store {
        &self.nodes[at].stores.0[namespace]
    }

    /// What a node holds of a namespace, to be changed past all rules.
    pub fn store_mut(&mut self, at: usize, namespace: &Namespace) -> &mut Store {
        self.nodes[at].stores.0.get_mut(namespace).expect("a store of that namespace")
    }

    /// One end of a link.
    pub fn session(&self, at: usize, peer: usize) -> &Session {
        &self.ends[&self.place(at, peer).expect("a connection")].session
    }

    /// Carries on until a step (true), or until nothing happens before that time (false).
    pub fn run_until(&mut self, end: u64) -> bool {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            if matches!(happening, Happening::Step) {
                return true;
            }
            if self.sent.messages > MESSAGES_MAX {
                return false;
            }
            // A process that stands still finds all that came when it goes on.
            match happening.at().filter(|at| self.nodes[*at].paused.is_some()) {
                Some(at) => self.nodes[at].parked.push_back(happening),
                None => self.happen(happening),
            }
        }
        self.now = end;
        false
    }

    /// Carries on until nothing was sent for `quiet` and nothing is under way.
    pub fn run_until_quiet(&mut self, quiet: u64, longest: u64) -> Result<(), String> {
        let start = self.now;
        self.sent.last = self.sent.last.max(start);
        while self.now < self.sent.last + quiet || self.is_busy() {
            if self.now > start + longest || self.sent.messages > MESSAGES_MAX {
                return Err(format!("not quiet after {} ms: {:?}", self.now - start, self.sent));
            }
            let next = self.now + self.settings.tick;
            self.run_until(next);
        }
        Ok(())
    }

    /// True if there was more talk than any run needs.
    pub fn is_endless(&self) -> bool {
        self.sent.messages > MESSAGES_MAX
    }

    fn is_busy(&self) -> bool {
        self.ends.values().any(|end| end.session.has_bulk())
            || self.queue.values().any(Happening::is_work)
    }

    fn lives(&self, at: usize, life: u64) -> bool {
        self.nodes[at].life == life && self.nodes[at].up
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, epoch, turns, frame } => {
                self.arrive(from, to, epoch, turns, frame);
            }
            Happening::Commit { at, life } if self.lives(at, life) => self.commit(at),
            Happening::Answer { place, input } => self.answer(place, *input),
            Happening::Dispatch { at, life } if self.lives(at, life) => self.dispatch(at),
            Happening::Pump { place } => self.pump(place),
            Happening::Tick { place } => self.tick(place),
            Happening::Reconnect { a, b } => self.connect(a, b),
            Happening::Dial { at, life, to } if self.lives(at, life) => self.dial(at, to),
            Happening::Connected { at, life, to } if self.lives(at, life) => self.dialled(at, to),
            Happening::Failed { at, life, to } if self.lives(at, life) => self.dial_again(at, to),
            Happening::Sync { at } => self.sync(at),
            Happening::Resume { at } => self.resume(at),
            _ => {}
        }
    }

    fn plants(&self, planted: Planted) -> bool {
        self.settings.plants(planted)
    }
}
