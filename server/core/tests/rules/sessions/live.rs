//! What is written is told, taken, acknowledged and passed on.

use keepboth_core::digest::Digest;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::name::Name;
use keepboth_core::session::{Input, Output, Received, Standing};
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::wire::{Events, KeyTips, Message};

use keepboth_core::ids::{NodeId, StoreId};

use super::{
    Alone, ME, assert_same, event, give, kinds, notes, number, pair, quiet, sent, theirs, update,
};
use keepboth_simulation::network::{Network, Settings, namespace, node_id, store_id};
use keepboth_simulation::replica::key;
use keepboth_simulation::store::Wish;

fn made(sequence: u64, maker: NodeId, events: Vec<Event>, room: bool) -> Input {
    let root = Digest::from_bytes(&[sequence as u8; 32]);
    let told = Events::of_messages(events);
    Input::Made { namespace: notes(), sequence, root, maker, told, room }
}

fn ack(sequence: u64, whole: bool) -> Message {
    let root = Digest::from_bytes(&[sequence as u8; 32]);
    Message::Ack { namespace: notes(), sequence, root, whole }
}

/// The sequence and the word `whole` of every acknowledgement.
fn acks(messages: &[Message]) -> Vec<(u64, bool)> {
    let ack = |message: &Message| match message {
        Message::Ack { sequence, whole, .. } => Some((*sequence, *whole)),
        _ => None,
    };
    messages.iter().filter_map(ack).collect()
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
    let make = |alone: &mut Alone, n: usize, room| {
        alone.input(made(n as u64, node_id(ME), vec![theirs(n)], room))
    };
    assert_eq!(make(&mut alone, 1, false), []);
    assert_eq!(make(&mut alone, 2, true), [], "its parents may have been left out");
    let standing = alone.standing();
    assert!(!standing.settled && standing.behind == 2, "{standing:?}");
    give(alone.store(), &[theirs(1), theirs(2)]);
    let out = alone.tick(50);
    assert!(matches!(out[..], [Output::Send(Message::Root { .. })]), "{out:?}");
    assert!(alone.standing().settled && alone.standing().behind == 0);
    assert!(matches!(make(&mut alone, 3, true)[..], [Output::Send(Message::Live { .. })]));
    assert_eq!(alone.standing().behind, 1);
}

#[test]
fn a_commit_without_events_waits_for_no_acknowledgement() {
    let mut alone = Alone::new(0);
    assert_eq!(alone.input(made(1, node_id(ME), vec![], true)), []);
    assert!(alone.standing().settled && alone.standing().waiting_since.is_none());
}

#[test]
fn a_live_event_of_own_origin_is_ignored() {
    let mut alone = Alone::new(0);
    let own = event("k", number(1), store_id(ME, &notes()));
    give(alone.store(), std::slice::from_ref(&own));
    let out = alone.live(1, vec![own]);
    let [Output::Apply { events, .. }] = &out[..] else { panic!("{out:?}") };
    assert!(events.is_empty());
    assert_eq!(acks(&alone.settle(out)), [(1, true)]);
}

#[test]
fn a_live_event_of_own_origin_that_is_not_held_any_more_is_not_acknowledged_as_whole() {
    let mut alone = Alone::new(0);
    let own = event("k", number(1), store_id(ME, &notes()));
    let out = alone.live(1, vec![own, theirs(1)]);
    let [Output::Apply { events, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*events, [theirs(1)]);
    assert_eq!(acks(&alone.settle(out)), [(1, false)]);
}

#[test]
fn another_namespace_is_ignored() {
    let mut alone = Alone::new(0);
    let (namespace, root) = (namespace("other"), Digest::from_bytes(&[7; 32]));
    let (name, maker, version) = (|| namespace.clone(), node_id(0), theirs(1).version.id);
    let tips = || KeyTips { key: key("k"), tips: vec![] };
    let ignored = [
        Message::Root { namespace: name(), root },
        Message::Live {
            namespace: name(),
            sequence: 1,
            root: Some(root),
            maker,
            events: vec![theirs(1)].into(),
        },
        Message::Ack { namespace: name(), sequence: 1, root, whole: true },
        Message::Want {
            namespace: name(),
            key: key("k"),
            have: vec![],
            known: vec![],
            question: 1,
        },
        Message::Compare { namespace: name(), parts: vec![] },
        Message::Differ { namespace: name(), parts: 1, differing: vec![] },
        Message::Offer { namespace: name(), keys: vec![tips()], wanted: vec![] },
        Message::Fetch { namespace: name(), prefix: Default::default() },
        Message::Done { namespace: name() },
        Message::Histories {
            namespace: name(),
            events: vec![theirs(1)].into(),
            answered: Vec::new(),
        },
        Message::Forget { namespace: name(), keys: vec![tips()] },
        Message::Ask { question: 1, namespace: name(), key: key("k"), version },
    ];
    for message in ignored {
        assert_eq!(alone.hear(message), []);
    }
    assert!(!alone.session.has_bulk());
    let made = Input::Made {
        namespace: name(),
        sequence: 1,
        root,
        maker,
        told: Events::of_messages(vec![theirs(1)]),
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
    let out = alone.hear(Message::Histories {
        namespace: notes(),
        events: events.into(),
        answered: Vec::new(),
    });
    assert!(matches!(alone.settle(out)[..], [Message::Root { .. }]));
    assert_eq!(alone.store().tips(&third.key), [third.version.id]);
}

#[test]
fn what_lacks_parents_or_was_refused_is_not_acknowledged_as_whole() {
    let mut alone = Alone::new(0);
    let (first, mut forged) = (theirs(1), theirs(2));
    let second = update(&first, number(2));
    forged.version.timestamp += 1;
    for (sequence, events, whole) in [
        (1, vec![second.clone()], false),
        (2, vec![first.clone()], true),
        (3, vec![second.clone(), theirs(3)], true),
        (4, vec![first, second], true),
        (5, vec![theirs(5), forged], false),
        (6, vec![theirs(6)], true),
    ] {
        let out = alone.live(sequence, events);
        assert_eq!(acks(&alone.settle(out)), [(sequence, whole)]);
    }
    // What is kept from view is durable all the same.
    let out = alone.live(7, vec![theirs(7)]);
    let [Output::Apply { ticket, .. }] = &out[..] else { panic!("{out:?}") };
    let no =
        keepboth_core::refusal::Refusal::new(keepboth_core::refusal::Code::SchemaRefused, "no");
    let (ticket, keys) = (ticket.clone(), vec![key("k7")]);
    let outcomes = vec![Received::Quarantined(no)];
    let out = alone.input(Input::Applied { ticket, keys, outcomes });
    assert!(
        matches!(&sent(&out)[..], [Message::Refused { .. }, Message::Ack { whole: true, .. }]),
        "{out:?}"
    );
}

#[test]
fn of_several_commits_on_their_way_the_right_one_is_incomplete() {
    let mut alone = Alone::new(0);
    let mut forged = theirs(2);
    forged.version.timestamp += 1;
    // All come before the store has answered, and with them something that repair brought.
    let mut out = alone.live(1, vec![theirs(1)]);
    out.extend(alone.live(2, vec![forged]));
    let events = vec![update(&theirs(8), number(2))];
    out.extend(alone.hear(Message::Histories {
        namespace: notes(),
        events: events.into(),
        answered: Vec::new(),
    }));
    out.extend(alone.live(3, vec![theirs(3)]));
    assert_eq!(acks(&alone.settle(out)), [(1, true), (2, false), (3, true)]);
}

#[test]
fn a_commit_of_several_messages_is_acknowledged_as_one() {
    let mut alone = Alone::new(0);
    let large =
        |n: usize| event(&format!("k{n}"), Value::bytes(vec![n as u8; 60_000]), StoreId([9; 16]));
    let messages = alone.input(made(20, node_id(ME), (0..20).map(large).collect(), true));
    let mut other = Alone::new(2);
    let mut told = Vec::new();
    for output in &messages {
        let Output::Send(message) = output else { panic!("{output:?}") };
        assert!(message.encode().len() <= FRAME_BYTES_MAX);
        let out = other.hear(message.clone());
        told.extend(acks(&other.settle(out)));
    }
    assert_eq!((messages.len(), told), (4, vec![(20, true)]));
}

#[test]
fn a_part_that_was_not_taken_makes_its_whole_commit_incomplete() {
    let part = |root, events: Vec<Event>| Message::Live {
        namespace: notes(),
        sequence: 4,
        root,
        maker: node_id(0),
        events: events.into(),
    };
    let mut alone = Alone::new(0);
    let orphan = update(&theirs(1), number(2));
    let out = alone.hear(part(None, vec![orphan]));
    assert_eq!(acks(&alone.settle(out)), []);
    let out = alone.hear(part(Some(Digest::default()), vec![theirs(2)]));
    assert_eq!(acks(&alone.settle(out)), [(4, false)]);
    let out = alone.live(5, vec![theirs(3)]);
    assert_eq!(acks(&alone.settle(out)), [(5, true)]);
}

#[test]
fn who_made_an_event_is_told_and_comes_with_the_work() {
    let far = NodeId([77; 32]);
    let mut alone = Alone::new(0);
    let out = alone.input(made(1, far, vec![theirs(1)], true));
    let [Output::Send(message @ Message::Live { maker, .. })] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*maker, far);
    let mut other = Alone::new(2);
    let out = other.hear(message.clone());
    let [Output::Apply { ticket, events, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((ticket.maker, ticket.live, events.len()), (Some(far), Some(1), 1));
    // What repair brings has no maker: it is not passed on.
    let events = vec![theirs(2)];
    let out = other.hear(Message::Histories {
        namespace: notes(),
        events: events.into(),
        answered: Vec::new(),
    });
    let [Output::Apply { ticket, .. }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((ticket.maker, ticket.live), (None, None));
}

#[test]
fn a_write_crosses_a_line_of_nodes_live_and_each_node_hears_it_once() {
    let mut network = Network::new(1, 4, &["notes"], Settings::default());
    for n in 1..4 {
        network.connect(n - 1, n);
    }
    quiet(&mut network);
    network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(1)), 1);
    quiet(&mut network);
    assert_same(&network);
    let kinds = &network.sent.kinds;
    assert_eq!((kinds["live"], kinds["ack"]), (3, 3), "{:?}", network.sent);
    assert!(!kinds.contains_key("compare"), "{:?}", network.sent);
}

#[test]
fn a_standing_knows_what_the_peer_has() {
    let mut alone = Alone::new(0);
    let me = node_id(ME);
    for n in 1..=5 {
        alone.input(made(n, me, vec![theirs(n as usize)], true));
    }
    let has = |alone: &Alone| (1..=6).filter(|n| alone.standing().has(*n)).collect::<Vec<_>>();
    assert!(has(&alone).is_empty());
    assert_eq!((alone.standing().behind, alone.standing().waiting_since), (5, Some(1_000)));
    alone.hear(ack(1, true));
    alone.hear(ack(2, true));
    assert_eq!(has(&alone), [1, 2]);
    alone.hear(ack(3, false));
    assert!(has(&alone).is_empty(), "what came before is not known to be whole");
    alone.hear(ack(4, true));
    assert_eq!(has(&alone), [4]);
    alone.hear(ack(5, true));
    assert_eq!((has(&alone), alone.standing().behind), (vec![4, 5], 0));
    // What was not sent live, it may lack.
    alone.input(made(6, me, vec![theirs(6)], false));
    alone.tick(50);
    alone.input(made(7, me, vec![theirs(7)], true));
    alone.hear(ack(7, true));
    let standing = alone.standing();
    assert!(!standing.has(6) && standing.has(7) && !standing.has(8), "{standing:?}");
    // It shows a digest that this store has had: all up to there it has.
    give(alone.store(), &[theirs(1), theirs(2), theirs(3)]);
    let root = alone.store().root();
    give(alone.store(), &[theirs(4)]);
    alone.hear(Message::Root { namespace: notes(), root });
    let standing = alone.standing();
    assert_eq!((standing.agreed, standing.theirs), (3, Some(root)));
    assert!(standing.has(3) && !standing.has(4) && standing.has(7), "{standing:?}");
    assert!(!standing.agrees);
}

#[test]
fn nothing_from_before_the_greeting_counts_as_acknowledged() {
    let mut stores = super::empty();
    let store = stores.0.get_mut(&notes()).expect("its store");
    give(store, &[theirs(1), theirs(2)]);
    let (alone, _) = Alone::open(stores, 0, super::admitted(0, false), super::hello(false));
    let standing = alone.standing();
    assert_eq!((standing.unsure, standing.agreed, standing.acked), (2, 0, 0));
    assert!(!Standing { acked: 9, ..standing }.has(2));
    assert!(Standing { acked: 9, ..standing }.has(3));
}

/// Nodes 0 and 2 write the same key; node 1 is between them. How often each node told of the conflict.
fn announcements(passed_on: bool) -> Vec<usize> {
    let settings = Settings { commit: 20..21, ..Settings::default() };
    let mut network = Network::new(1, 3, &["notes"], settings);
    for (a, b) in [(0, 1), (1, 2)] {
        network.connect(a, b);
    }
    quiet(&mut network);
    network.trace = Some(Vec::new());
    for node in [0, 2] {
        network.write(node, &notes(), &Name::Key(key("k")), Wish::Put(number(node)), 1);
    }
    while network.sent.kinds.get("live").is_none_or(|count| *count < 2) {
        network.run_until(network.now + 1);
    }
    network.settings.no_room = if passed_on { 0.0 } else { 1.0 };
    quiet(&mut network);
    assert_same(&network);
    for node in 0..3 {
        assert_eq!(network.store(node, &notes()).replica.raised.len(), 1);
    }
    let trace = network.trace.unwrap_or_default();
    let told = |node: usize| {
        let words = format!(" {node} -> ");
        let by = trace.iter().filter(|line| line.contains(&words));
        by.filter(|line| line.contains(" conflict ")).count()
    };
    (0..3).map(told).collect()
}

#[test]
fn a_conflict_is_announced_once_and_never_passed_on() {
    assert_eq!(announcements(false), [0, 2, 0], "node 1 finds it first and tells both");
    // What node 1 passes on shows it to node 0 as soon: that is no passing on of a note.
    let told = announcements(true);
    assert!(told[0] <= 1 && told[1] == 2 && told[2] == 0, "{told:?}");
}
