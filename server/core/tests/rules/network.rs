//! Nodes whose sessions talk over a network of discrete events: no socket, no clock, the same run for the same seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use keepboth_core::conflict;
use keepboth_core::digest::Digest;
use keepboth_core::ids::{ConflictId, NodeId, StoreId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Input, Output, Received, Session, Ticket};
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::wire::{Message, Space};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::store::{Store, Stores, Wish};

/// How a node's conflict hook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    None,
    /// The same merge on every node.
    Alike,
    /// Another merge on each node, against the rules.
    Unlike,
}

/// How the network and the stores behave; times are in milliseconds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub delay: Range<u64>,
    pub commit: Range<u64>,
    /// True if the store commits together what waits, false if each message takes its time.
    pub group: bool,
    pub tick: u64,
    pub compare_every: u64,
    /// Bytes of bulk sent at once, and the pause until there is room again.
    pub budget: Range<usize>,
    pub pause: Range<u64>,
    /// How often an outbox has no room, and an [`Output::Apply`] is carried out twice.
    pub no_room: f64,
    pub twice: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            delay: 1..2,
            commit: 0..1,
            group: true,
            tick: 50,
            compare_every: 30_000,
            budget: 512 * 1024..512 * 1024 + 1,
            pause: 1..2,
            no_room: 0.0,
            twice: 0.0,
        }
    }
}

/// More than any run needs: an event loop ends here.
const MESSAGES_MAX: u64 = 100_000;

/// One node.
pub struct Node {
    pub id: NodeId,
    pub stores: Stores,
    pub hook: Hook,
    pub up: bool,
    pub heard: BTreeSet<ConflictId>,
    pub warnings: Vec<String>,
    /// Grows with every crash: work of a former life is lost.
    life: u64,
    sequence: u64,
    /// Commits on their way to the sessions, in order.
    commits: VecDeque<Commit>,
    committed_at: u64,
    answered_at: u64,
    dispatched_at: u64,
}

struct Commit {
    namespace: Namespace,
    sequence: u64,
    root: Digest,
    events: Vec<Event>,
}

struct Conn {
    session: Session,
    /// Which connection of this link it is: what belongs to a former one is lost.
    epoch: u64,
    arrives_at: u64,
    pumping: bool,
}

enum Happening {
    Arrive { from: usize, to: usize, epoch: u64, bytes: Vec<u8> },
    Commit { at: usize, life: u64, peer: usize, epoch: u64, ticket: Ticket, events: Vec<Event> },
    Answer { at: usize, peer: usize, epoch: u64, input: Input },
    Dispatch { at: usize, life: u64 },
    Pump { at: usize, peer: usize, epoch: u64 },
    Tick { at: usize, peer: usize, epoch: u64 },
    Reconnect { a: usize, b: usize },
    Step,
}

/// What went over the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    pub kinds: BTreeMap<&'static str, u64>,
    pub messages: u64,
    pub bytes: u64,
    pub events: u64,
    pub last: u64,
}

pub struct Network {
    pub rng: StdRng,
    pub settings: Settings,
    pub nodes: Vec<Node>,
    pub now: u64,
    pub sent: Sent,
    /// Every session that closed by itself, and why.
    pub closed: Vec<(usize, usize, Refusal)>,
    pub announced: u64,
    /// Commits told to sessions, and connections made.
    pub told: u64,
    pub connected: u64,
    /// Every line of the run, if it is wanted.
    pub trace: Option<Vec<String>>,
    conns: BTreeMap<(usize, usize), Conn>,
    queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    epochs: u64,
}

pub fn node_id(number: usize) -> NodeId {
    NodeId([number as u8 + 1; 32])
}

pub fn store_id(node: usize, namespace: &Namespace) -> StoreId {
    let mut id = [node as u8 + 1; 16];
    id[15] = namespace.as_str().as_bytes()[0];
    StoreId(id)
}

pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a namespace")
}

fn empty_stores(node: usize, namespaces: &[&str]) -> Stores {
    let spaces = namespaces.iter().map(|name| namespace(name));
    Stores(spaces.map(|n| (n.clone(), Store::new(store_id(node, &n)))).collect())
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Root { .. } => "root",
        Message::Live { .. } => "live",
        Message::Ack { .. } => "ack",
        Message::Conflict(_) => "conflict",
        Message::Compare { .. } => "compare",
        Message::Differ { .. } => "differ",
        Message::Tips { .. } => "tips",
        Message::Want { .. } => "want",
        Message::Histories { .. } => "histories",
        Message::BucketDone { .. } => "bucket done",
        Message::Refused { .. } => "refused",
    }
}

fn events_of(message: &Message) -> u64 {
    match message {
        Message::Live { events, .. } | Message::Histories { events, .. } => events.len() as u64,
        _ => 0,
    }
}

impl Network {
    pub fn new(seed: u64, count: usize, namespaces: &[&str], settings: Settings) -> Network {
        let node = |number: usize| Node {
            id: node_id(number),
            stores: empty_stores(number, namespaces),
            hook: Hook::None,
            up: true,
            heard: BTreeSet::new(),
            warnings: Vec::new(),
            life: 0,
            sequence: 0,
            commits: VecDeque::new(),
            committed_at: 0,
            answered_at: 0,
            dispatched_at: 0,
        };
        Network {
            rng: StdRng::seed_from_u64(seed),
            settings,
            nodes: (0..count).map(node).collect(),
            now: 0,
            sent: Sent::default(),
            closed: Vec::new(),
            announced: 0,
            told: 0,
            connected: 0,
            trace: None,
            conns: BTreeMap::new(),
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

    pub fn plan_reconnect(&mut self, a: usize, b: usize, at: u64) {
        self.schedule(at, Happening::Reconnect { a, b });
    }

    pub fn is_connected(&self, a: usize, b: usize) -> bool {
        self.conns.contains_key(&(a, b))
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        if self.is_connected(a, b) || !self.nodes[a].up || !self.nodes[b].up {
            return;
        }
        self.epochs += 1;
        let epoch = self.epochs;
        self.connected += 1;
        self.note(|| format!("{a} and {b} connect"));
        for (at, peer) in [(a, b), (b, a)] {
            let spaces = self.nodes[at].stores.0.iter();
            let spaces = spaces.map(|(n, s)| Space { namespace: n.clone(), store: s.replica.id });
            let every = self.settings.compare_every;
            let session = Session::new(self.nodes[at].id, "test", spaces.collect(), every);
            let conn = Conn { session, epoch, arrives_at: self.now, pumping: false };
            self.conns.insert((at, peer), conn);
            let first = self.now + self.settings.tick;
            let wait = self.draw(self.now + 1..first + 1);
            self.schedule(wait, Happening::Tick { at, peer, epoch });
        }
        self.carry_out(a, b);
        self.carry_out(b, a);
    }

    /// All that is in flight on the connection is lost.
    pub fn cut(&mut self, a: usize, b: usize) {
        if self.conns.remove(&(a, b)).is_some() {
            self.conns.remove(&(b, a));
            self.note(|| format!("{a} and {b} are cut"));
        }
    }

    /// The node keeps what is committed and loses all else.
    pub fn crash(&mut self, at: usize) {
        self.note(|| format!("{at} crashes"));
        for peer in 0..self.nodes.len() {
            self.cut(at, peer);
        }
        let node = &mut self.nodes[at];
        node.life += 1;
        node.commits.clear();
    }

    /// The node is put back to an old copy; what it has raised it knows.
    pub fn restore(&mut self, at: usize, backup: Stores) {
        self.crash(at);
        self.note(|| format!("{at} is put back to its backup"));
        let mut stores = backup;
        for (namespace, store) in &mut stores.0 {
            store.replica.keep_raised(&self.nodes[at].stores.0[namespace].replica);
        }
        self.nodes[at].stores = stores;
    }

    pub fn store(&self, at: usize, namespace: &Namespace) -> &Store {
        &self.nodes[at].stores.0[namespace]
    }

    pub fn store_mut(&mut self, at: usize, namespace: &Namespace) -> &mut Store {
        self.nodes[at].stores.0.get_mut(namespace).expect("a store of that namespace")
    }

    pub fn session(&self, at: usize, peer: usize) -> &Session {
        &self.conns[&(at, peer)].session
    }

    pub fn links(&self) -> Vec<(usize, usize)> {
        self.conns.keys().copied().collect()
    }

    /// A client's write; false if it is refused.
    pub fn write(
        &mut self,
        at: usize,
        namespace: &Namespace,
        name: &Name,
        wish: Wish,
        now: u64,
    ) -> bool {
        let raised = self.store(at, namespace).replica.raised.len();
        let Ok(events) = self.store_mut(at, namespace).write(name, wish.clone(), now) else {
            return false;
        };
        self.note(|| format!("{at} writes {namespace}/{name:?} {wish:?}: {}", show(&events)));
        let node = &mut self.nodes[at];
        node.sequence += events.len() as u64;
        let root = node.stores.0[namespace].root();
        let key = events[0].key.clone();
        let commit = Commit { namespace: namespace.clone(), sequence: node.sequence, root, events };
        node.commits.push_back(commit);
        let due = node.dispatched_at.max(self.now + self.rng.random_range(0..4));
        node.dispatched_at = due;
        let life = node.life;
        self.schedule(due, Happening::Dispatch { at, life });
        self.raise(at, namespace, &key, raised);
        true
    }

    /// Announces what was raised since, unless a peer did so first, and asks the hook.
    fn raise(&mut self, at: usize, namespace: &Namespace, key: &Key, before: usize) {
        let raised = self.store(at, namespace).replica.raised[before..].to_vec();
        for id in &raised {
            let heard = self.nodes[at].heard.contains(id);
            self.note(|| format!("{at} raises {id:?} of {key}, heard of it: {heard}"));
            if heard {
                continue;
            }
            let note = self.store(at, namespace).note(namespace, key, *id);
            for (_, peer) in self.links_of(at) {
                self.announced += 1;
                self.handle(at, peer, Input::Conflict(note.clone()));
            }
        }
        if !raised.is_empty() {
            self.ask_hook(at, namespace, key);
        }
    }

    fn links_of(&self, at: usize) -> Vec<(usize, usize)> {
        self.conns.range((at, 0)..(at + 1, 0)).map(|(link, _)| *link).collect()
    }

    fn ask_hook(&mut self, at: usize, namespace: &Namespace, key: &Key) {
        let entry = &self.store(at, namespace).replica.keys[key];
        if !conflict::asks_hooks(&entry.history, &entry.view) {
            return;
        }
        let sides: Vec<String> = entry.view.candidates.iter().map(|o| o.data.to_string()).collect();
        let merged = match self.nodes[at].hook {
            Hook::None => return,
            Hook::Alike => format!("{sides:?}"),
            Hook::Unlike => format!("{at} {sides:?}"),
        };
        let wish = Wish::Merge(Value::string(merged));
        let now = self.now;
        self.write(at, namespace, &Name::Key(key.clone()), wish, now);
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
            self.happen(happening);
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

    fn is_busy(&self) -> bool {
        self.conns.values().any(|conn| conn.session.has_bulk())
            || self
                .queue
                .values()
                .any(|happening| !matches!(happening, Happening::Tick { .. } | Happening::Step))
    }

    fn alive(&self, at: usize, peer: usize, epoch: u64) -> bool {
        self.conns.get(&(at, peer)).is_some_and(|conn| conn.epoch == epoch)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { from, to, epoch, bytes } => {
                if self.alive(to, from, epoch) {
                    let message = Message::decode(&bytes).expect("what a session sent");
                    self.handle(to, from, Input::Message(message));
                }
            }
            Happening::Commit { at, life, peer, epoch, ticket, events } => {
                if self.nodes[at].life == life {
                    self.commit(at, peer, epoch, ticket, &events);
                }
            }
            Happening::Answer { at, peer, epoch, input } => {
                if self.alive(at, peer, epoch) {
                    self.handle(at, peer, input);
                }
            }
            Happening::Dispatch { at, life } => {
                if self.nodes[at].life == life {
                    self.dispatch(at);
                }
            }
            Happening::Pump { at, peer, epoch } => {
                if self.alive(at, peer, epoch) {
                    self.pump(at, peer);
                }
            }
            Happening::Tick { at, peer, epoch } => {
                if self.alive(at, peer, epoch) {
                    self.handle(at, peer, Input::Tick);
                    self.schedule(
                        self.now + self.settings.tick,
                        Happening::Tick { at, peer, epoch },
                    );
                }
            }
            Happening::Reconnect { a, b } => self.connect(a, b),
            Happening::Step => {}
        }
    }

    fn commit(&mut self, at: usize, peer: usize, epoch: u64, ticket: Ticket, events: &[Event]) {
        let namespace = ticket.namespace.clone();
        let mut outcomes = self.commit_once(at, &namespace, events);
        if self.rng.random_bool(self.settings.twice) {
            let again = self.commit_once(at, &namespace, events);
            assert!(!again.contains(&Received::New), "what comes twice is known");
            if self.rng.random_bool(0.5) {
                outcomes = again;
            }
        }
        let keys = events.iter().map(|event| event.key.clone()).collect();
        let input = Input::Applied { ticket, keys, outcomes };
        // Answers come in the order of the commits.
        let due = self.nodes[at].answered_at.max(self.now + self.rng.random_range(0..2));
        self.nodes[at].answered_at = due;
        self.schedule(due, Happening::Answer { at, peer, epoch, input });
    }

    fn commit_once(&mut self, at: usize, namespace: &Namespace, events: &[Event]) -> Vec<Received> {
        let mut outcomes = Vec::new();
        for event in events {
            let raised = self.store(at, namespace).replica.raised.len();
            let outcome = self.store_mut(at, namespace).receive(event);
            self.note(|| format!("{at} takes {}: {outcome:?}", show(std::slice::from_ref(event))));
            outcomes.push(outcome);
            self.raise(at, namespace, &event.key, raised);
        }
        outcomes
    }

    fn dispatch(&mut self, at: usize) {
        let Some(commit) = self.nodes[at].commits.pop_front() else { return };
        for (_, peer) in self.links_of(at) {
            self.told += 1;
            let room = !self.rng.random_bool(self.settings.no_room);
            let Commit { namespace, sequence, root, events } = &commit;
            let (namespace, events) = (namespace.clone(), events.clone());
            let input = Input::Made { namespace, sequence: *sequence, root: *root, events, room };
            self.handle(at, peer, input);
        }
    }

    fn pump(&mut self, at: usize, peer: usize) {
        let budget = self.rng.random_range(self.settings.budget.clone());
        let Some(conn) = self.conns.get_mut(&(at, peer)) else { return };
        conn.pumping = false;
        conn.session.more(&self.nodes[at].stores, budget);
        self.carry_out(at, peer);
    }

    pub fn handle(&mut self, at: usize, peer: usize, input: Input) {
        // Steady clocks of nodes have nothing to do with each other.
        let clock = self.now + at as u64 * 1_000_000;
        let Some(conn) = self.conns.get_mut(&(at, peer)) else { return };
        conn.session.handle(input, &self.nodes[at].stores, clock);
        self.carry_out(at, peer);
    }

    fn carry_out(&mut self, at: usize, peer: usize) {
        let Some(conn) = self.conns.get_mut(&(at, peer)) else { return };
        let epoch = conn.epoch;
        for output in conn.session.take() {
            match output {
                Output::Send(message) => self.send(at, peer, &message),
                Output::Apply { ticket, events } => self.apply(at, peer, epoch, ticket, events),
                Output::Heard(id) => {
                    self.nodes[at].heard.insert(id);
                }
                Output::Warn(words) => {
                    self.note(|| format!("{at} warns of {peer}: {words}"));
                    self.nodes[at].warnings.push(words);
                }
                Output::Close(refusal) => {
                    self.note(|| format!("{at} closes to {peer}: {refusal}"));
                    self.closed.push((at, peer, refusal));
                    return self.cut(at, peer);
                }
            }
        }
        let pause = self.draw(self.settings.pause.clone());
        if let Some(conn) = self.conns.get_mut(&(at, peer))
            && conn.session.has_bulk()
            && !conn.pumping
        {
            conn.pumping = true;
            self.schedule(self.now + pause, Happening::Pump { at, peer, epoch });
        }
    }

    fn send(&mut self, from: usize, to: usize, message: &Message) {
        self.note(|| format!("{from} -> {to} {}", show_message(message)));
        let bytes = message.encode();
        *self.sent.kinds.entry(kind(message)).or_default() += 1;
        self.sent.messages += 1;
        self.sent.bytes += bytes.len() as u64;
        self.sent.events += events_of(message);
        self.sent.last = self.now;
        let delay = self.draw(self.settings.delay.clone());
        let Some(conn) = self.conns.get_mut(&(from, to)) else { return };
        conn.arrives_at = conn.arrives_at.max(self.now + delay);
        let (due, epoch) = (conn.arrives_at, conn.epoch);
        self.schedule(due, Happening::Arrive { from, to, epoch, bytes });
    }

    fn apply(&mut self, at: usize, peer: usize, epoch: u64, ticket: Ticket, events: Vec<Event>) {
        let takes = self.draw(self.settings.commit.clone());
        let (node, now) = (&mut self.nodes[at], self.now);
        node.committed_at = match self.settings.group {
            true => node.committed_at.max(now + takes),
            false => node.committed_at.max(now) + takes,
        };
        let (due, life) = (node.committed_at, node.life);
        self.schedule(due, Happening::Commit { at, life, peer, epoch, ticket, events });
    }
}

fn show(events: &[Event]) -> String {
    let parents = |event: &Event| format!("{:?}", event.version.parents);
    let show =
        |event: &Event| format!("{} {:?} on {}", event.key, event.version.id, parents(event));
    events.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn show_message(message: &Message) -> String {
    match message {
        Message::Root { namespace, root } => format!("root {namespace} {root:?}"),
        Message::Ack { namespace, sequence, root } => {
            format!("ack {namespace} {sequence} {root:?}")
        }
        Message::Live { namespace, sequence, root, events } => {
            format!("live {namespace} {sequence} {root:?}: {}", show(events))
        }
        Message::Histories { namespace, events } => {
            format!("histories {namespace}: {}", show(events))
        }
        Message::Tips { bucket, keys, more, .. } => {
            let keys: Vec<_> = keys.iter().map(|k| format!("{} {:?}", k.key, k.tips)).collect();
            format!("tips {bucket} more {more}: {}", keys.join(", "))
        }
        Message::Want { key, have, .. } => format!("want {key} beyond {have:?}"),
        Message::BucketDone { bucket, .. } => format!("bucket {bucket} done"),
        Message::Conflict(note) => format!("conflict {:?} of {}", note.id, note.key),
        Message::Refused { code, message } => format!("refused {code}: {message}"),
        Message::Compare { .. } | Message::Hello(_) => kind(message).into(),
        Message::Differ { branches, .. } => format!("differ in {} branches", branches.len()),
    }
}
