//! What one session says and refuses, and what a conversation costs.

use keepboth_core::digest::Digest;
use keepboth_core::handshake::{Greet, Proof, Role, Transcript};
use keepboth_core::hash;
use keepboth_core::ids::{NodeId, StoreId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Admitted, Input, Output, Received, Replica, Session, Setup, Side};
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::{Hello, Message, Space};

use keepboth_simulation::network::{Network, Settings, namespace, node_id, node_key, store_id};
use keepboth_simulation::replica::key;
use keepboth_simulation::store::{Store, Stores};

/// Both sides prove who they are, and strangers learn nothing.
mod greeting;
/// What is written is told, taken and acknowledged.
mod live;
/// What is refused, how often that is said, and when it ends the stream.
mod refusals;
/// Where two stores differ, both get what they lack, at a price that is counted.
mod repair;
/// Questions and notes.
mod asking;
/// What is missing of a key is asked for once until its answer is whole, and not too often.
mod wanting;
/// A store without versions that answers as a test wants.
mod fake;
/// Deleted keys that nobody needs any more, and a node that was away.
mod forget;
/// A node that was away when others forgot deleted keys.
mod away;
/// Stores that were put back from backups, and what nobody can know any more.
mod backups;
/// What hostile or huge inputs may cost.
mod limits;
/// Questions and answers about ranges, in every wrong form.
mod comparing;
/// What a hostile peer may send, drawn at random.
mod chaos;
/// Nonsense of every kind.
mod nonsense;

fn notes() -> Namespace {
    namespace("notes")
}

fn pair() -> Network {
    Network::new(1, 2, &["notes"], Settings::default())
}

/// A first version of a key.
fn event(name: &str, value: Value, origin: StoreId) -> Event {
    let version = Version::first(&key(name), hash::data_hash(&value), 1, origin);
    Event::new(key(name), version, Some(value))
}

fn update(event: &Event, value: Value) -> Event {
    let parents = [event.version.id].into_iter().collect();
    let version = Version::next(parents, hash::data_hash(&value), 2, event.version.origin);
    Event::new(event.key.clone(), version, Some(value))
}

fn number(n: usize) -> Value {
    Value::number(n as f64)
}

/// What the peer wrote.
fn theirs(n: usize) -> Event {
    event(&format!("k{n}"), number(n), StoreId([9; 16]))
}

/// A key's first version and `count - 1` more on top of it.
fn chain(name: &str, count: usize) -> Vec<Event> {
    let mut events = vec![event(name, number(0), StoreId([9; 16]))];
    for n in 1..count {
        events.push(update(&events[n - 1], number(n)));
    }
    events
}

fn give(store: &mut Store, events: &[Event]) {
    for event in events {
        assert_eq!(store.receive(event), Received::New);
    }
}

fn quiet(network: &mut Network) {
    assert_eq!(network.run_until_quiet(2_000, 600_000), Ok(()));
    assert!(network.closed.is_empty(), "{:?}", network.closed);
}

fn assert_same(network: &Network) {
    let first = network.store(0, &notes());
    for node in 0..network.nodes.len() {
        let store = network.store(node, &notes());
        store.check();
        assert_eq!(store.views(), first.views(), "node {node}");
        assert_eq!(store.versions(), first.versions(), "node {node}");
    }
    for (at, peer) in network.links() {
        for (_, standing) in network.session(at, peer).standings(&network.nodes[at].stores) {
            assert!(standing.agrees, "{at} with {peer}: {standing:?}");
        }
    }
}

const GREETING: [&str; 4] = ["greet", "prove", "hello", "notes"];

/// The kinds of all messages sent, without greetings.
fn kinds(network: &Network) -> Vec<(&'static str, u64)> {
    let kinds = network.sent.kinds.iter().map(|(kind, count)| (*kind, *count));
    kinds.filter(|(kind, _)| !GREETING.contains(kind)).collect()
}

/// Bytes of all messages but greetings and histories.
fn overhead(network: &Network) -> u64 {
    let sizes = network.sent.sizes.iter();
    let sizes = sizes.filter(|(kind, _)| !GREETING.contains(kind) && **kind != "histories");
    sizes.map(|(_, bytes)| bytes).sum()
}

#[expect(clippy::print_stdout, reason = "figures for people")]
fn print_cost(what: &str, network: &Network) {
    let sent = &network.sent;
    let (messages, bytes, events, turns) = (sent.messages, sent.bytes, sent.events, sent.turns);
    let (rest, kinds) = (overhead(network), kinds(network));
    println!(
        "{what}: {messages} messages, {bytes} bytes ({rest} beyond greeting and histories), \
         {events} events, {turns} turns: {kinds:?}"
    );
}

/// Node 1 alone, which talks to whoever the test plays: nodes 0 (it drives) or 2 (node 1 drives).
struct Alone<R = Stores> {
    replica: R,
    session: Session,
    now: u64,
}

const ME: usize = 1;
const MY_NONCE: [u8; 32] = [1; 32];
const PEERS_NONCE: [u8; 32] = [2; 32];
const BINDING: [u8; 32] = [3; 32];

fn setup(side: Side) -> Setup {
    Setup {
        key: node_key(ME),
        instance: [ME as u8; 16],
        agent: "test".into(),
        side,
        nonce: MY_NONCE,
        binding: BINDING,
        compare_every: 30_000,
    }
}

fn dialled(expected: Option<NodeId>) -> Side {
    Side::Dialled { expected, token: None }
}

fn space(store: StoreId, away: bool) -> Space {
    Space { namespace: notes(), store, policy: Default::default(), away, shown: 0, seen: 0 }
}

fn greet() -> Message {
    Message::Greet(Greet::new(PEERS_NONCE))
}

/// What both sides know when this node answered.
const ANSWERED: Transcript = Transcript {
    dialler: Greet::new(PEERS_NONCE),
    answerer: Greet::new(MY_NONCE),
    binding: BINDING,
};
/// What both sides know when this node dialled.
const DIALLED: Transcript = Transcript {
    dialler: Greet::new(MY_NONCE),
    answerer: Greet::new(PEERS_NONCE),
    binding: BINDING,
};

/// The proof of the peer that dialled this node.
fn proof(peer: usize) -> Proof {
    let (key, me) = (node_key(peer), Some(node_id(ME)));
    Proof::new(&key, [peer as u8; 16], &ANSWERED, Role::Dialler, me, None)
}

fn hello(away: bool) -> Message {
    let spaces = vec![space(StoreId([9; 16]), away)];
    Message::Hello(Hello { agent: "peer".into(), spaces })
}

fn admitted(mark: u64, they_were_away: bool) -> Input {
    Input::Admitted(Box::new(Admitted {
        spaces: vec![space(store_id(ME, &notes()), they_were_away)],
        marks: [(notes(), mark)].into(),
        notes: Default::default(),
    }))
}

fn empty() -> Stores {
    Stores([(notes(), Store::new(store_id(ME, &notes())))].into())
}

impl Alone {
    /// Both have greeted; the peer dialled.
    fn new(peer: usize) -> Alone {
        Alone::open(empty(), peer, admitted(0, false), hello(false)).0
    }

    /// Nothing was said yet but the greeting of this node.
    fn before_greeting(side: Side) -> Alone {
        Alone::with(empty(), side)
    }

    fn store(&mut self) -> &mut Store {
        self.replica.0.get_mut(&notes()).expect("its store")
    }

    /// Carries out every [`Output::Apply`] and returns what was sent.
    fn settle(&mut self, outputs: Vec<Output>) -> Vec<Message> {
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                Output::Send(message) => sent.push(message),
                Output::Apply { ticket, events, .. } => {
                    let outcomes = events.iter().map(|event| self.store().receive(event)).collect();
                    let keys = events.iter().map(|event| event.key.clone()).collect();
                    let more = self.input(Input::Applied { ticket, keys, outcomes });
                    sent.extend(self.settle(more));
                }
                _ => {}
            }
        }
        sent
    }
}

impl<R: Replica> Alone<R> {
    fn with(replica: R, side: Side) -> Alone<R> {
        let mut session = Session::new(setup(side));
        assert!(matches!(&session.take()[..], [Output::Send(Message::Greet(_))]));
        Alone { replica, session, now: 1_000 }
    }

    /// Both have greeted; the peer dialled. With what came after the peer's hello.
    fn open(replica: R, peer: usize, admitted: Input, hello: Message) -> (Alone<R>, Vec<Output>) {
        let mut alone = Alone::with(replica, Side::Answered);
        assert_eq!(alone.hear(greet()), []);
        let out = alone.hear(Message::Prove(proof(peer)));
        assert_eq!(out, [Output::Admit { node: node_id(peer), claimed: None }]);
        let out = alone.input(admitted);
        let sent =
            |out: &Output| matches!(out, Output::Send(Message::Prove(_) | Message::Hello(_)));
        assert!(out.len() == 2 && out.iter().all(sent), "{out:?}");
        let out = alone.hear(hello);
        (alone, out)
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(input, &self.replica, self.now);
        self.session.take()
    }

    fn hear(&mut self, message: Message) -> Vec<Output> {
        self.input(Input::Message(Message::decode(&message.encode()).expect("a message")))
    }

    fn live(&mut self, sequence: u64, events: Vec<Event>) -> Vec<Output> {
        let root = Some(Digest::from_bytes(&[sequence as u8; 32]));
        let maker = self.session.node().expect("the peer");
        self.hear(Message::Live {
            namespace: notes(),
            sequence,
            root,
            maker,
            events: events.into(),
        })
    }

    /// Everything that waits for room.
    fn bulk(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        while self.session.has_bulk() {
            self.session.more(&self.replica, 100_000);
            out.extend(self.session.take());
        }
        out
    }

    fn tick(&mut self, milliseconds: u64) -> Vec<Output> {
        self.now += milliseconds;
        self.input(Input::Tick)
    }

    fn standing(&self) -> keepboth_core::session::Standing {
        self.session.standings(&self.replica)[0].1
    }
}

/// What was sent of these outputs.
fn sent(outputs: &[Output]) -> Vec<&Message> {
    let message = outputs.iter().filter_map(|output| match output {
        Output::Send(message) => Some(message),
        _ => None,
    });
    message.collect()
}

fn closed(outputs: &[Output]) -> &Refusal {
    match outputs.last() {
        Some(Output::Close(refusal)) => refusal,
        _ => panic!("not closed: {outputs:?}"),
    }
}

fn keys_of(events: &[Event]) -> Vec<Key> {
    events.iter().map(|event| event.key.clone()).collect()
}
