//! What one session says and refuses, and what repair costs.

use bytes::Bytes;
use keepboth_core::digest::{Digest, FANOUT};
use keepboth_core::hash;
use keepboth_core::ids::{NodeId, StoreId, VersionId};
use keepboth_core::limits::{FRAME_BYTES_MAX, VALUE_BYTES_MAX};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{self, Input, Output, Received, Session, Ticket};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::{BranchBuckets, Hello, KeyTips, Message, Space};

use crate::network::{Network, Settings, namespace, node_id, store_id};
use crate::replica::key;
use crate::store::{Store, Stores, Wish};

fn notes() -> Namespace {
    namespace("notes")
}

fn pair() -> Network {
    Network::new(1, 2, &["notes"], Settings::default())
}

/// A first version of a key.
fn event(name: &str, value: Value, origin: StoreId) -> Event {
    let version = Version::first(&key(name), hash::data_hash(&value), 1, origin);
    Event { key: key(name), version, value: Some(value) }
}

fn update(event: &Event, value: Value) -> Event {
    let parents = [event.version.id].into_iter().collect();
    let version = Version::next(parents, hash::data_hash(&value), 2, event.version.origin);
    Event { key: event.key.clone(), version, value: Some(value) }
}

fn number(n: usize) -> Value {
    Value::number(n as f64)
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

/// The kinds of all messages sent, without greetings.
fn kinds(network: &Network) -> Vec<(&'static str, u64)> {
    let kinds = network.sent.kinds.iter().map(|(kind, count)| (*kind, *count));
    kinds.filter(|(kind, _)| *kind != "hello").collect()
}

#[expect(clippy::print_stdout, reason = "figures for people")]
fn print_cost(what: &str, network: &Network) {
    let sent = &network.sent;
    let (messages, bytes, events) = (sent.messages, sent.bytes, sent.events);
    println!("{what}: {messages} messages, {bytes} bytes, {events} events: {:?}", sent.kinds);
}

/// Node 1 alone, which talks to whoever the test plays: nodes 0 (it drives) or 2 (node 1 drives).
struct Alone {
    stores: Stores,
    session: Session,
    now: u64,
}

const ME: usize = 1;

impl Alone {
    fn new(peer: usize) -> Alone {
        let mut alone = Alone::before_hello();
        let out = alone.hear(hello(node_id(peer)));
        assert!(matches!(&out[..], [Output::Send(Message::Root { .. })]), "{out:?}");
        alone
    }

    fn before_hello() -> Alone {
        let store = Store::new(store_id(ME, &notes()));
        let spaces = vec![Space { namespace: notes(), store: store.replica.id }];
        let mut session = Session::new(node_id(ME), "test", spaces, 30_000);
        assert!(matches!(&session.take()[..], [Output::Send(Message::Hello(_))]));
        Alone { stores: Stores([(notes(), store)].into()), session, now: 1_000 }
    }

    fn store(&mut self) -> &mut Store {
        self.stores.0.get_mut(&notes()).expect("its store")
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle(input, &self.stores, self.now);
        self.session.take()
    }

    fn hear(&mut self, message: Message) -> Vec<Output> {
        self.input(Input::Message(Message::decode(&message.encode()).expect("a message")))
    }

    fn live(&mut self, sequence: u64, events: Vec<Event>) -> Vec<Output> {
        let root = Some(Digest::from_bytes(&[sequence as u8; 32]));
        self.hear(Message::Live { namespace: notes(), sequence, root, events })
    }

    /// Carries out every [`Output::Apply`] and returns what was sent.
    fn settle(&mut self, outputs: Vec<Output>) -> Vec<Message> {
        let mut sent = Vec::new();
        for output in outputs {
            match output {
                Output::Send(message) => sent.push(message),
                Output::Apply { ticket, events } => {
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

    fn tick(&mut self, milliseconds: u64) -> Vec<Output> {
        self.now += milliseconds;
        self.input(Input::Tick)
    }
}

fn hello(node: NodeId) -> Message {
    let spaces = vec![Space { namespace: notes(), store: StoreId([9; 16]) }];
    Message::Hello(Hello { protocol: 1, protocol_min: 1, node, agent: "peer".into(), spaces })
}

fn closed(outputs: &[Output]) -> &Refusal {
    match outputs.last() {
        Some(Output::Close(refusal)) => refusal,
        _ => panic!("not closed: {outputs:?}"),
    }
}

fn theirs(n: usize) -> Event {
    event(&format!("k{n}"), number(n), StoreId([9; 16]))
}

#[test]
fn two_equal_stores_exchange_only_greetings_and_roots() {
    let mut network = pair();
    let events: Vec<Event> = (0..100).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events);
    give(network.store_mut(1, &notes()), &events);
    network.connect(0, 1);
    quiet(&mut network);
    assert_eq!(kinds(&network), [("root", 2)]);
    assert_same(&network);
}

#[test]
fn an_empty_node_gets_everything_in_few_messages() {
    for empty in [0, 1] {
        let mut network = pair();
        let events: Vec<Event> = (0..5_000).map(theirs).collect();
        give(network.store_mut(1 - empty, &notes()), &events);
        network.connect(0, 1);
        quiet(&mut network);
        assert_same(&network);
        print_cost("5,000 keys to an empty node", &network);
        assert_eq!(network.sent.events, 5_000, "each event once");
    }
}

#[test]
fn disjoint_sets_meet() {
    let mut network = pair();
    let events: Vec<Event> = (0..2_000).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events[..1_000]);
    give(network.store_mut(1, &notes()), &events[1_000..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.sent.events, 2_000, "each event once");
    print_cost("1,000 keys against 1,000 others", &network);
}

#[test]
fn one_differing_key_among_5000_costs_few_messages() {
    for newer in [0, 1] {
        let mut network = pair();
        let events: Vec<Event> = (0..5_000).map(theirs).collect();
        give(network.store_mut(0, &notes()), &events);
        give(network.store_mut(1, &notes()), &events);
        give(network.store_mut(newer, &notes()), &[update(&events[77], Value::string("new"))]);
        network.connect(0, 1);
        quiet(&mut network);
        assert_same(&network);
        print_cost("one key of 5,000", &network);
        assert!(network.sent.messages <= 14, "{:?}", network.sent);
        assert!(network.sent.bytes <= 8_000, "{:?}", network.sent);
    }
}

#[test]
fn a_write_costs_one_event_and_one_acknowledgement() {
    let mut network = pair();
    network.connect(0, 1);
    quiet(&mut network);
    let before = network.sent.messages;
    for n in 0..10 {
        assert!(network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(n)), 1));
    }
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(kinds(&network), [("ack", 10), ("live", 10), ("root", 2)]);
    assert_eq!(network.sent.messages - before, 20);
}

#[test]
fn an_event_left_out_for_want_of_room_counts_until_the_digest_is_told() {
    let mut alone = Alone::new(0);
    let made = |alone: &mut Alone, n, room| {
        let root = Digest::from_bytes(&[n; 32]);
        let (sequence, events) = (u64::from(n), vec![theirs(n.into())]);
        alone.input(Input::Made { namespace: notes(), sequence, root, events, room })
    };
    assert_eq!(made(&mut alone, 1, false), []);
    assert_eq!(made(&mut alone, 2, true), [], "its parents may have been left out");
    let standing = |alone: &Alone| alone.session.standings(&alone.stores)[0].1;
    assert!(!standing(&alone).settled && standing(&alone).behind == 2, "{:?}", standing(&alone));
    give(alone.store(), &[theirs(1), theirs(2)]);
    let out = alone.tick(50);
    assert!(matches!(out[..], [Output::Send(Message::Root { .. })]), "{out:?}");
    assert!(standing(&alone).settled && standing(&alone).behind == 0);
    assert!(matches!(made(&mut alone, 3, true)[..], [Output::Send(Message::Live { .. })]));
    assert_eq!(standing(&alone).behind, 1);
}

#[test]
fn a_live_event_of_own_origin_is_ignored() {
    let mut alone = Alone::new(0);
    let own = event("k", number(1), store_id(ME, &notes()));
    let out = alone.live(1, vec![own]);
    let [Output::Apply { events, .. }] = &out[..] else { panic!("{out:?}") };
    assert!(events.is_empty());
    assert!(matches!(alone.settle(out)[..], [Message::Ack { sequence: 1, .. }]));
}

#[test]
fn repair_brings_own_versions_back() {
    let mut network = pair();
    network.connect(0, 1);
    let backup = network.nodes[0].stores.clone();
    for n in 0..10 {
        network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(n)), 1);
    }
    quiet(&mut network);
    let whole = network.store(1, &notes()).versions();
    network.restore(0, backup);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.store(0, &notes()).versions(), whole);
}

#[test]
fn another_namespace_is_ignored() {
    let mut alone = Alone::new(0);
    let (namespace, root) = (namespace("other"), Digest::from_bytes(&[7; 32]));
    let events = vec![theirs(1)];
    let ignored = [
        Message::Root { namespace: namespace.clone(), root },
        Message::Live { namespace: namespace.clone(), sequence: 1, root: Some(root), events },
        Message::Want { namespace: namespace.clone(), key: key("k"), have: vec![] },
        Message::Compare { namespace: namespace.clone(), branches: vec![] },
        Message::Tips { namespace, bucket: 5_000, keys: vec![], more: true },
    ];
    for message in ignored {
        assert_eq!(alone.hear(message), []);
    }
    assert!(!alone.session.has_bulk());
    let made = Input::Made {
        namespace: crate::network::namespace("other"),
        sequence: 1,
        root,
        events: vec![theirs(1)],
        room: true,
    };
    assert_eq!(alone.input(made), []);
}

#[test]
fn missing_parents_are_asked_for_once_and_arrive() {
    let mut alone = Alone::new(0);
    let first = theirs(1);
    let second = update(&first, number(2));
    let third = update(&second, number(3));
    let out = alone.live(2, vec![second.clone()]);
    let sent = alone.settle(out);
    assert!(
        matches!(&sent[..], [Message::Want { have, .. }, Message::Ack { .. }] if have.is_empty())
    );
    let out = alone.live(3, vec![third.clone()]);
    assert!(matches!(alone.settle(out)[..], [Message::Ack { .. }]), "asked for already");
    for _ in 0..10 {
        alone.tick(50);
    }
    let out = alone.live(3, vec![third.clone()]);
    assert!(matches!(alone.settle(out)[..], [Message::Ack { .. }]), "time alone asks nobody again");
    let events = vec![first, second, third.clone()];
    let out = alone.hear(Message::Histories { namespace: notes(), events });
    assert!(matches!(alone.settle(out)[..], [Message::Root { .. }]));
    assert_eq!(alone.store().tips(&third.key), [third.version.id]);
}

fn bad_events() -> Vec<(Event, Code, &'static str)> {
    let good = theirs(1);
    let mut moved = good.clone();
    moved.version.timestamp += 1;
    let mut swapped = good.clone();
    swapped.value = Some(number(2));
    let mut empty = good.clone();
    empty.value = None;
    let loose = Value::trusted(Kind::Json, Bytes::from_static(b"{ }"));
    let large = Value::bytes(vec![0; VALUE_BYTES_MAX + 3]);
    vec![
        (moved, Code::BadVersion, "its content gives the id"),
        (swapped, Code::BadVersion, "its value does not have its data hash"),
        (empty, Code::BadVersion, "a put without its value"),
        (event("k", loose, StoreId([9; 16])), Code::BadValue, "not a json value"),
        (
            event("k", large, StoreId([9; 16])),
            Code::ValueTooLarge,
            "value is 65,539 bytes from a peer, the limit is 65,536 bytes",
        ),
    ]
}

#[test]
fn a_bad_event_is_refused_and_the_stream_goes_on() {
    for (bad, expected, words) in bad_events() {
        let mut alone = Alone::new(0);
        let good = theirs(5);
        let out = alone.live(1, vec![bad, good.clone()]);
        let [
            Output::Warn(_),
            Output::Send(Message::Refused { code, message }),
            Output::Apply { .. },
        ] = &out[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!(code, expected.as_str());
        assert!(message.contains(words) && message.contains("notes"), "{message}");
        assert!(matches!(alone.settle(out)[..], [Message::Refused { .. }, Message::Ack { .. }]));
        assert_eq!(alone.store().tips(&good.key), [good.version.id]);
    }
}

#[test]
fn after_100_forged_events_the_session_closes_and_says_nothing_more() {
    let mut alone = Alone::new(0);
    let (bad, ..) = bad_events().swap_remove(0);
    for n in 1..100 {
        let out = alone.live(n, vec![bad.clone()]);
        assert!(!out.iter().any(|output| matches!(output, Output::Close(_))), "{n}");
    }
    let out = alone.live(100, vec![bad.clone(), bad]);
    let refusal = closed(&out);
    assert!(refusal.message.starts_with("100 of the peer's events were forged"), "{refusal}");
    let told = out.iter().filter(|o| matches!(o, Output::Send(Message::Refused { .. }))).count();
    assert_eq!(told, 1, "{out:?}");
    assert_eq!(alone.live(101, vec![theirs(1)]), []);
    assert_eq!(alone.tick(60_000), []);
}

#[test]
fn limits_that_differ_never_end_the_stream() {
    let mut alone = Alone::new(0);
    let refused = |n: usize| Input::Applied {
        ticket: Ticket { namespace: notes(), live: None },
        keys: vec![key(&format!("k{n}"))],
        outcomes: vec![Received::Refused(Refusal::new(Code::ValueTooLarge, "too large"))],
    };
    let out: Vec<Output> = (0..500).flat_map(|n| alone.input(refused(n))).collect();
    assert!(!out.iter().any(|output| matches!(output, Output::Close(_))));
    let told = out.iter().filter(|o| matches!(o, Output::Send(Message::Refused { .. }))).count();
    assert_eq!(told, 100, "it is said, and not for ever");
}

#[test]
fn an_honest_refusal_counts_once_and_an_own_failure_not_at_all() {
    let mut alone = Alone::new(0);
    let refused = |code| Received::Refused(Refusal::new(code, "no"));
    let applied = |code| Input::Applied {
        ticket: Ticket { namespace: notes(), live: None },
        keys: vec![key("k")],
        outcomes: vec![refused(code)],
    };
    let out = alone.input(applied(Code::SchemaRefused));
    assert!(
        matches!(&out[..], [Output::Warn(_), Output::Send(Message::Refused { .. })]),
        "{out:?}"
    );
    for _ in 0..200 {
        assert_eq!(alone.input(applied(Code::SchemaRefused)), []);
        let out = alone.input(applied(Code::StoreFailed));
        assert!(matches!(&out[..], [Output::Warn(_)]), "{out:?}");
    }
}

#[test]
fn refusals_of_the_peer_fill_no_log() {
    let mut alone = Alone::new(0);
    let refused = || Message::Refused { code: "bad_version".into(), message: "no".into() };
    let warnings: usize = (0..1_000).map(|_| alone.hear(refused()).len()).sum();
    assert_eq!(warnings, 100);
}

#[test]
fn another_protocol_version_is_refused_naming_both_ranges() {
    let Message::Hello(hello) = hello(node_id(0)) else { panic!("a hello") };
    let mut alone = Alone::before_hello();
    let out = alone.hear(Message::Hello(Hello { protocol: 7, protocol_min: 3, ..hello.clone() }));
    assert_eq!(closed(&out).code, Code::Unsupported);
    let words = "no common protocol version: this node speaks 1 to 1, the other 3 to 7";
    assert_eq!(closed(&out).message, words);
    let mut alone = Alone::before_hello();
    alone.hear(Message::Hello(Hello { protocol: 7, protocol_min: 1, ..hello }));
    assert_eq!(alone.session.peer().expect("greeted").protocol, 1);
}

#[test]
fn a_node_that_dials_itself_is_refused() {
    let out = Alone::before_hello().hear(hello(node_id(ME)));
    assert_eq!(closed(&out).code, Code::Unsupported);
    assert!(closed(&out).message.contains("dialled itself"));
}

#[test]
fn the_first_message_is_a_hello_and_no_other() {
    let root = || Message::Root { namespace: notes(), root: Digest::default() };
    let out = Alone::before_hello().hear(root());
    assert_eq!(closed(&out).message, "the first message is not a hello");
    let out = Alone::new(0).hear(hello(node_id(0)));
    assert_eq!(closed(&out).message, "a second hello");
}

#[test]
fn nonsense_in_a_comparison_is_refused() {
    let digests = |count: usize| vec![Digest::default(); count];
    let differ = |branch, count| Message::Differ {
        namespace: notes(),
        branches: vec![BranchBuckets { branch, buckets: digests(count) }],
    };
    let tips = |bucket| Message::Tips { namespace: notes(), bucket, keys: vec![], more: false };
    let nonsense = [
        Message::Compare { namespace: notes(), branches: digests(63) },
        Message::Compare { namespace: notes(), branches: digests(0) },
        differ(64, FANOUT),
        differ(65_535, FANOUT),
        differ(3, FANOUT + 1),
        differ(3, 0),
        tips(4_096),
        tips(65_535),
    ];
    for message in nonsense {
        let out = Alone::new(0).hear(message);
        assert_eq!(closed(&out).code, Code::BadFrame, "{out:?}");
    }
}

#[test]
fn lists_of_tips_without_end_are_refused() {
    let mut alone = Alone::new(0);
    let tips = |bucket| Message::Tips { namespace: notes(), bucket, keys: vec![], more: true };
    for bucket in 0..17 {
        assert_eq!(alone.hear(tips(bucket)), []);
    }
    assert_eq!(closed(&alone.hear(tips(17))).code, Code::BadFrame);
}

#[test]
fn a_long_history_is_repaired() {
    let mut network = pair();
    for n in 0..1_000 {
        network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(n)), 1);
    }
    quiet(&mut network);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.store(1, &notes()).versions().len(), 1_000);
    assert_eq!(network.sent.events, 1_000);
    print_cost("a history of 1,000 versions", &network);
}

#[test]
fn a_key_with_100_sides_is_repaired() {
    let mut network = pair();
    let sides: Vec<Event> = (0..100).map(|n| event("k", number(n), StoreId([9; 16]))).collect();
    give(network.store_mut(0, &notes()), &sides[..60]);
    give(network.store_mut(1, &notes()), &sides[40..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    let view = network.store(0, &notes()).replica.view(&key("k")).expect("a view");
    assert_eq!(view.candidates.len(), 100);
    assert_eq!(network.sent.events, 80);
    print_cost("a key with 100 sides, 20 of them shared", &network);
}

#[test]
fn a_fruitless_difference_is_not_compared_before_its_time() {
    let settings = Settings { compare_every: 10_000, ..Settings::default() };
    let mut network = Network::new(1, 2, &["notes"], settings);
    let refused = theirs(1);
    give(network.store_mut(0, &notes()), std::slice::from_ref(&refused));
    network.store_mut(1, &notes()).refuses.insert(refused.version.id);
    network.connect(0, 1);
    network.run_until(9_000);
    assert_eq!(network.sent.kinds["compare"], 1);
    // Nor do writes elsewhere make the same difference a new one.
    for n in 0..10 {
        network.write(n % 2, &notes(), &Name::Key(key("other")), Wish::Put(number(n)), 1);
        network.run_until(9_000 + 50 * n as u64);
    }
    network.run_until(10_000);
    assert_eq!(network.sent.kinds["compare"], 1);
    network.run_until(60_000);
    assert!((5..=6).contains(&network.sent.kinds["compare"]), "{:?}", network.sent);
    assert_eq!(network.sent.kinds["refused"], 1, "the same is not refused aloud again");
    assert!(network.closed.is_empty());
    let standings = network.session(0, 1).standings(&network.nodes[0].stores);
    assert!(!standings[0].1.agrees);
}

#[test]
fn a_line_of_five_nodes_converges_within_a_few_ticks() {
    let mut network = Network::new(1, 5, &["notes"], Settings::default());
    for n in 1..5 {
        network.connect(n - 1, n);
    }
    quiet(&mut network);
    let start = network.now;
    network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(1)), 1);
    let known = |network: &Network| !network.store(4, &notes()).tips(&key("k")).is_empty();
    while !known(&network) {
        network.run_until(network.now + 10);
    }
    let (took, tick) = (network.now - start, network.settings.tick);
    assert!(took <= 20 * tick, "{took} ms, a tick is {tick} ms");
    quiet(&mut network);
    assert_same(&network);
    print_cost(&format!("a write crosses four links in {took} ms"), &network);
}

#[test]
fn a_difference_is_repaired_under_writes_without_end() {
    let settings = Settings { compare_every: 2_000, ..Settings::default() };
    let mut network = Network::new(1, 2, &["notes"], settings);
    network.connect(0, 1);
    quiet(&mut network);
    network.settings.no_room = 1.0;
    network.write(0, &notes(), &Name::Key(key("skipped")), Wish::Put(number(1)), 1);
    network.run_until(network.now + 100);
    network.settings.no_room = 0.0;
    for n in 0..500 {
        network.write(n % 2, &notes(), &Name::Key(key("busy")), Wish::Put(number(n)), 1);
        network.run_until(network.now + 10);
    }
    assert!(!network.store(1, &notes()).tips(&key("skipped")).is_empty());
    assert!(network.sent.kinds["compare"] <= 4, "{:?}", network.sent);
    quiet(&mut network);
    assert_same(&network);
}

#[test]
fn a_slow_store_is_not_sent_the_same_twice() {
    let settings = Settings { commit: 400..401, group: false, ..Settings::default() };
    // The driver has soon taken what it lacked, and sees a difference while the follower still applies.
    let mut network = Network::new(1, 2, &["notes"], Settings { budget: 500..501, ..settings });
    let events: Vec<Event> = (0..100).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events[..95]);
    give(network.store_mut(1, &notes()), &events[95..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.sent.events, 100, "{:?}", network.sent);
    print_cost("95 keys against 5 others, 400 ms for each commit", &network);
}

#[test]
fn a_commit_of_several_messages_is_acknowledged_as_one() {
    let mut alone = Alone::new(0);
    let large =
        |n: usize| event(&format!("k{n}"), Value::bytes(vec![n as u8; 60_000]), StoreId([9; 16]));
    let made = Input::Made {
        namespace: notes(),
        sequence: 20,
        root: Digest::from_bytes(&[1; 32]),
        events: (0..20).map(large).collect(),
        room: true,
    };
    let messages: Vec<Output> = alone.input(made);
    let mut other = Alone::new(2);
    let mut acks = 0;
    for output in &messages {
        let Output::Send(message) = output else { panic!("{output:?}") };
        assert!(message.encode().len() <= FRAME_BYTES_MAX);
        let out = other.hear(message.clone());
        acks += other.settle(out).iter().filter(|m| matches!(m, Message::Ack { .. })).count();
    }
    assert_eq!((messages.len(), acks), (4, 1));
}

#[test]
fn a_conflict_is_announced_once_and_never_passed_on() {
    let mut network = Network::new(1, 3, &["notes"], Settings::default());
    for (a, b) in [(0, 1), (1, 2)] {
        network.connect(a, b);
    }
    quiet(&mut network);
    for node in [0, 2] {
        network.write(node, &notes(), &Name::Key(key("k")), Wish::Put(number(node)), 1);
    }
    quiet(&mut network);
    assert_same(&network);
    for node in 0..3 {
        assert_eq!(network.store(node, &notes()).replica.raised.len(), 1);
    }
    assert_eq!(network.sent.kinds["conflict"], 2, "node 1 finds it first and tells both");
}

/// A bucket in which keys have very many tips.
struct Crowded;

impl session::Replica for Crowded {
    fn root(&self, _: &Namespace) -> Digest {
        Digest::from_bytes(&[1; 32])
    }
    fn branches(&self, _: &Namespace) -> Vec<Digest> {
        vec![Digest::default(); FANOUT]
    }
    fn buckets(&self, _: &Namespace, _: u16) -> Vec<Digest> {
        vec![Digest::default(); FANOUT]
    }
    fn bucket_keys(&self, _: &Namespace, _: u16) -> Result<Vec<KeyTips>, Refusal> {
        let tips = |count: usize| (0..count).map(|n| VersionId([n as u8; 32])).collect();
        let keys = (0..100).map(|n| KeyTips { key: key(&format!("k{n}")), tips: tips(n * 400) });
        Ok(keys.collect())
    }
    fn tips(&self, _: &Namespace, _: &Key) -> Result<Vec<VersionId>, Refusal> {
        Ok(vec![VersionId([0; 32]); 50_000])
    }
    fn missing(&self, _: &Namespace, _: &Key, _: &[VersionId]) -> Result<Vec<Event>, Refusal> {
        Ok(Vec::new())
    }
    fn value_bytes_max(&self, _: &Namespace) -> usize {
        VALUE_BYTES_MAX
    }
}

#[test]
fn no_message_is_larger_than_a_frame() {
    let spaces = vec![Space { namespace: notes(), store: StoreId([1; 16]) }];
    let mut session = Session::new(node_id(ME), "test", spaces, 30_000);
    let mut different = vec![Digest::default(); FANOUT];
    different[5] = Digest::from_bytes(&[3; 32]);
    let orphan = update(&theirs(1), number(2));
    let root = Digest::from_bytes(&[2; 32]);
    let inputs = [
        Input::Message(hello(node_id(2))),
        Input::Message(Message::Root { namespace: notes(), root }),
        Input::Message(Message::Differ {
            namespace: notes(),
            branches: vec![BranchBuckets { branch: 0, buckets: different }],
        }),
        Input::Message(Message::Tips { namespace: notes(), bucket: 0, keys: vec![], more: false }),
        Input::Applied {
            ticket: Ticket { namespace: notes(), live: None },
            keys: vec![orphan.key.clone()],
            outcomes: vec![Received::Missing(vec![])],
        },
    ];
    let mut tips = 0;
    for input in inputs {
        session.handle(input, &Crowded, 1_000);
        for output in session.take() {
            let Output::Send(message) = output else { panic!("{output:?}") };
            assert!(message.encode().len() <= FRAME_BYTES_MAX, "{}", message.encode().len());
            tips += usize::from(matches!(message, Message::Tips { .. }));
        }
    }
    assert!(tips > 10, "{tips} parts");
}
