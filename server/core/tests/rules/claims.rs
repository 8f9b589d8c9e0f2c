//! What a node may say that a peer has: an acknowledgement counts for what was taken, and for nothing else.

use keepboth_core::digest::Digest;
use keepboth_core::hash;
use keepboth_core::name::Name;
use keepboth_core::session::Input;
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::Events;
use keepboth_core::wire::{KeyTips, Message};
use keepboth_simulation::network::{Network, Settings, namespace, node_id, store_id};
use keepboth_simulation::replica::key;
use keepboth_simulation::store::Wish;

fn linked(settings: Settings) -> Network {
    let mut network = Network::new(1, 2, &["notes"], settings);
    network.connect(0, 1);
    network.run_until_quiet(500, 60_000).expect("silence");
    network.trace = Some(Vec::new());
    network
}

fn new_key(name: &str) -> Event {
    let value = Value::string(name.to_owned());
    let origin = store_id(0, &namespace("notes"));
    let version = Version::first(&key(name), hash::data_hash(&value), 1, origin);
    Event::new(key(name), version, Some(value))
}

fn said(network: &Network, words: &str) -> bool {
    network.trace.iter().flatten().any(|line| line.contains(words))
}

/// Tells the session of node 0 of a commit: with room, without, or of one that its caller has missed.
fn made(network: &mut Network, sequence: u64, name: Option<&str>, room: bool) {
    let root = Digest::default();
    let told = Events::of_messages(name.map(new_key).into_iter().collect());
    let (namespace, maker) = (namespace("notes"), node_id(0));
    network.handle(0, 1, Input::Made { namespace, sequence, root, maker, told, room });
}

fn ack(network: &mut Network, sequence: u64, whole: bool) {
    let (namespace, root) = (namespace("notes"), Digest::default());
    let ack = Message::Ack { namespace, sequence, root, whole };
    network.handle(0, 1, Input::Message(ack));
}

fn says(network: &Network, sequence: u64) -> bool {
    let stores = &network.nodes[0].stores;
    network.session(0, 1).standings(stores)[0].1.has(sequence)
}

#[test]
fn a_late_acknowledgement_does_not_vouch_for_what_was_left_to_repair_since() {
    let mut network = linked(Settings::default());
    made(&mut network, 10, Some("a"), true);
    made(&mut network, 11, Some("b"), false);
    ack(&mut network, 10, false);
    network.handle(0, 1, Input::Tick);
    made(&mut network, 12, Some("c"), true);
    ack(&mut network, 12, true);
    assert!(says(&network, 12));
    assert!(!says(&network, 11), "it was never sent");
    assert!(!says(&network, 10), "it was not taken");
}

#[test]
fn an_acknowledgement_does_not_vouch_for_a_commit_that_the_link_has_missed() {
    let mut network = linked(Settings::default());
    made(&mut network, 10, Some("a"), true);
    made(&mut network, 11, None, false);
    made(&mut network, 12, Some("c"), true);
    ack(&mut network, 10, true);
    ack(&mut network, 12, true);
    assert!(says(&network, 12));
    assert!(!says(&network, 11), "nobody knows what it was");
}

#[test]
fn who_missed_that_a_key_was_forgotten_is_told_when_it_offers_the_key() {
    let mut network = linked(Settings { compare_every: 500, ..Settings::default() });
    let (notes, name) = (namespace("notes"), Name::Key(key("k")));
    network.write(0, &notes, &name, Wish::Put(Value::number(1.0)), 1);
    network.write(0, &notes, &name, Wish::Delete, 2);
    network.run_until_quiet(500, 60_000).expect("silence");
    // Node 1 forgets it, and what it says of that is lost.
    let tips = network.store(1, &notes).tips(&key("k"));
    assert!(network.store_mut(1, &notes).forget(&KeyTips { key: key("k"), tips }));
    network.run_until_quiet(2_000, 60_000).expect("silence");
    assert!(said(&network, "1 -> 0 forget k"));
    assert_eq!(network.store(0, &notes).root(), network.store(1, &notes).root());
    assert!(network.store(0, &notes).forgotten.contains(&key("k")));
}
