//! Deleted keys that nobody needs any more, and a node that was away when others forgot them.

use keepboth_core::digest::Prefix;
use keepboth_core::ids::{DataHash, KeyHash, StoreId, VersionId};
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::session::{Input, Output, Replica};
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::{Differing, Holding, KeyTips, Message};

use super::fake::Fake;
use super::{Alone, admitted, chain, hello, notes, number, sent, theirs, update};
use keepboth_simulation::replica::key;

/// A key that was written `count` times and then deleted.
fn deleted(name: &str, count: usize) -> Vec<Event> {
    let mut events = chain(name, count);
    let parents = [events[count - 1].version.id].into_iter().collect();
    let version = Version::next(parents, DataHash::NONE, 3, StoreId([9; 16]));
    events.push(Event::new(key(name), version, None));
    events
}

fn tips(events: &[Event]) -> KeyTips {
    let last = events.last().expect("an event");
    KeyTips { key: last.key.clone(), tips: vec![last.version.id] }
}

fn open(fake: Fake, peer: usize) -> Alone<Fake> {
    Alone::open(fake, peer, admitted(0, false), hello(false)).0
}

/// What is sent of the histories of keys.
pub fn histories(outputs: &[Output]) -> Vec<Event> {
    let events = sent(outputs).into_iter().filter_map(|message| match message {
        Message::Histories { events, .. } => Some(events.clone()),
        _ => None,
    });
    events.flatten().collect()
}

/// The keys that the peer is told to forget.
fn told_to_forget(outputs: &[Output]) -> Vec<KeyTips> {
    let keys = sent(outputs).into_iter().filter_map(|message| match message {
        Message::Forget { keys, .. } => Some(keys.clone()),
        _ => None,
    });
    keys.flatten().collect()
}

fn forget(alone: &mut Alone<Fake>, keys: Vec<KeyTips>) -> Vec<Output> {
    alone.hear(Message::Forget { namespace: notes(), keys })
}

pub fn offer(alone: &mut Alone<Fake>, keys: Vec<KeyTips>, wanted: Vec<KeyHash>) -> Vec<Output> {
    alone.hear(Message::Offer { namespace: notes(), keys, wanted })
}

pub fn want(alone: &mut Alone<Fake>, name: &str, have: Vec<VersionId>) -> Vec<Output> {
    alone.hear(Message::Want {
        namespace: notes(),
        key: key(name),
        have,
        known: vec![],
        question: 1,
    })
}

#[test]
fn a_key_that_is_the_same_here_is_forgotten_and_no_other() {
    let (same, unknown) = (deleted("same", 2), deleted("unknown", 2));
    let (newer, older) = (deleted("newer", 2), deleted("older", 2));
    let gone = deleted("gone", 2);
    let mut on_top = newer.clone();
    on_top.push(update(&newer[2], number(7)));
    let mut fake = Fake::default();
    fake.hold(&same, 1);
    fake.hold(&on_top, 2);
    fake.hold(&older[..2], 3);
    fake.hold(&gone, 4);
    fake.forget(&key("gone"));
    let mut alone = open(fake, 0);
    let keys = [&same, &unknown, &newer, &older, &gone].map(|events| tips(events)).to_vec();
    let out = forget(&mut alone, keys.clone());
    let [
        Output::Send(Message::Want { key, have, known, .. }),
        Output::Forget { namespace, keys: done },
    ] = &out[..]
    else {
        panic!("{out:?}")
    };
    let said = (key.as_str(), have.len(), known.len());
    assert_eq!(said, ("older", 1, 1), "what is missing here is asked for");
    assert_eq!((namespace, &done[..]), (&notes(), &[tips(&same)][..]));
    // What came after is said instead: an update beats a delete.
    let out = alone.bulk();
    assert_eq!(histories(&out), on_top[3..]);
    let again = forget(&mut alone, keys);
    assert!(matches!(again[..], [Output::Forget { .. }]), "asked for already: {again:?}");
}

#[test]
fn what_this_node_forgets_it_tells_in_messages_that_fit() {
    let mut alone = open(Fake::default(), 0);
    assert_eq!(alone.input(Input::Forgot { namespace: notes(), keys: vec![] }), []);
    let name = |n| format!("{}{n}", "k".repeat(900));
    let keys: Vec<KeyTips> = (0..3_000).map(|n| tips(&chain(&name(n), 1))).collect();
    let out = alone.input(Input::Forgot { namespace: notes(), keys: keys.clone() });
    assert!(out.len() > 5 && sent(&out).iter().all(|m| m.encode().len() <= FRAME_BYTES_MAX));
    assert_eq!(told_to_forget(&out), keys);
}

#[test]
fn a_key_that_ended_in_very_many_deletes_is_told_of_in_a_message_that_fits() {
    let first = theirs(1);
    let mut ends = vec![first.clone()];
    ends.extend((0..40_000).map(|n| update(&first, number(n))));
    let mut fake = Fake::default();
    fake.hold(&ends, 1);
    let held = fake.held(&notes(), &first.key).expect("it is read").expect("it is held");
    assert_eq!(held.tips.len(), 40_000);
    fake.forget(&first.key);
    let mut alone = open(fake, 0);
    let keys = vec![KeyTips { key: first.key.clone(), tips: held.tips }];
    let mut out = alone.input(Input::Forgot { namespace: notes(), keys });
    offer(&mut alone, vec![], vec![KeyHash(first.key.hash())]);
    out.extend(alone.bulk());
    assert_eq!(told_to_forget(&out).len(), 2);
    assert!(sent(&out).iter().all(|message| message.encode().len() <= FRAME_BYTES_MAX));
}

#[test]
fn who_still_holds_what_is_forgotten_here_is_told_to_forget_it() {
    let events = deleted("k", 3);
    let forgotten = || {
        let mut fake = Fake::default();
        fake.hold(&events, 4);
        fake.forget(&key("k"));
        fake
    };
    // The peer offers the same, or what came before, or wants it by its hash.
    let mut alone = open(forgotten(), 0);
    assert_eq!(offer(&mut alone, vec![tips(&events)], vec![]), []);
    let out = alone.bulk();
    assert_eq!((told_to_forget(&out), histories(&out)), (vec![tips(&events)], vec![]));

    let mut alone = open(forgotten(), 0);
    assert_eq!(offer(&mut alone, vec![tips(&events[..2])], vec![]), []);
    let out = alone.bulk();
    assert_eq!(histories(&out), events[2..], "the delete first");
    assert_eq!(told_to_forget(&out), [tips(&events)]);
    assert!(matches!(
        sent(&out)[..],
        [Message::Histories { .. }, Message::Forget { .. }, Message::Done { .. }]
    ));

    let mut alone = open(forgotten(), 0);
    assert_eq!(offer(&mut alone, vec![], vec![KeyHash(key("k").hash())]), []);
    assert_eq!(told_to_forget(&alone.bulk()), [tips(&events)]);

    // The peer names it among the keys that it has, and this node finds that it forgot it.
    let mut alone = open(forgotten(), 2);
    let out = alone.hear(Message::Root { namespace: notes(), root: theirs_root() });
    assert!(matches!(sent(&out)[..], [Message::Compare { .. }]), "{out:?}");
    let prefix = Prefix::WHOLE.child(Prefix::WHOLE.nibble(&key("k").hash())).expect("a child");
    let named = [&key("k").hash()[..], &[1; 8]].concat();
    let differing = vec![Differing { prefix, holding: Holding::Keys(named) }];
    let out = alone.hear(Message::Differ { namespace: notes(), parts: 1, differing });
    assert!(out.iter().all(|o| matches!(o, Output::Send(Message::Root { .. }))), "{out:?}");
    assert_eq!(told_to_forget(&alone.bulk()), [tips(&events)]);

    // But what came after it is taken.
    let mut alone = open(forgotten(), 0);
    let revived = KeyTips { key: key("k"), tips: vec![update(&events[3], number(5)).version.id] };
    let out = offer(&mut alone, vec![revived], vec![]);
    assert!(matches!(sent(&out)[..], [Message::Want { .. }]), "{out:?}");
    assert_eq!(told_to_forget(&alone.bulk()), []);
}

pub fn theirs_root() -> keepboth_core::digest::Digest {
    keepboth_core::digest::Digest::from_bytes(&[5; 32])
}

#[test]
fn marks_take_their_turn_too() {
    let mut fake = Fake::default();
    for n in 0..256 {
        fake.hold(&deleted(&format!("gone {n}"), 1), 1);
        fake.forget(&key(&format!("gone {n}")));
    }
    let mut alone = open(fake, 0);
    let hashes = (0..256).map(|n| KeyHash(key(&format!("gone {n}")).hash())).collect();
    offer(&mut alone, vec![], hashes);
    alone.session.more(&alone.replica, 2_000);
    let first = told_to_forget(&alone.session.take()).len();
    assert!((1..30).contains(&first), "{first}");
    assert_eq!(told_to_forget(&alone.bulk()).len(), 256 - first);
}
