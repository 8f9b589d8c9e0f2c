//! Versions from other stores are judged one by one: new, known, waiting for a parent, or refused.

use keepboth_core::ids::{DataHash, VersionId};
use keepboth_core::refusal::Code;
use keepboth_core::version::{Change, Event, Version};
use keepboth_store::{Options, Received};

use crate::harness::{Bench, code, key, text};

fn events(from: &Bench, of: &str) -> Vec<Event> {
    from.store.snapshot().missing(&key(of), &[]).expect("events")
}

#[test]
fn each_version_of_a_group_is_judged_alone() {
    let (a, b) = (Bench::new(), Bench::new());
    for value in ["one", "two", "three"] {
        a.put("k", value, 1);
    }
    a.put("l", "x", 1);
    let [one, two, three] = events(&a, "k").try_into().expect("three versions");
    let mut valued = events(&a, "l")[0].clone();
    (valued.version.change, valued.version.data) = (Change::Delete, DataHash::NONE);
    let parent = two.version.id;
    let outcomes = b.receive(vec![
        one.clone(),
        three.clone(),
        valued,
        one,
        two,
        three.clone(),
        three,
        events(&a, "l")[0].clone(),
    ]);
    let Received::Refused(refusal) = &outcomes[2] else { panic!("{:?}", outcomes[2]) };
    assert_eq!(refusal.code, Code::BadVersion);
    let others: Vec<_> = outcomes.iter().enumerate().filter(|(at, _)| *at != 2).collect();
    let expected = [
        Received::New,
        Received::Missing(vec![parent]),
        Received::Known,
        Received::New,
        Received::New,
        Received::Known,
        Received::New,
    ];
    assert_eq!(others.into_iter().map(|(_, o)| o.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(b.get("k").expect("found"), "three");
    assert_eq!(b.commits().len(), 1, "one transaction");
    b.check();
}

#[test]
fn what_is_known_changes_nothing_and_triggers_nothing() {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "one", 1);
    a.put("k", "two", 2);
    b.learn(&a, "k");
    b.commits();
    let outcomes = b.learn(&a, "k");
    assert_eq!(outcomes, [Received::Known, Received::Known]);
    assert!(b.commits().is_empty());
    assert_eq!(b.store.counts().last_sequence, 2);
}

#[test]
fn what_came_from_a_peer_keeps_its_origin_and_time_and_is_not_local() {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "one", 123);
    b.learn(&a, "k");
    let change = b.changes().remove(0);
    assert!(!change.local);
    assert_eq!(change.made, events(&a, "k"));
    let shown = &change.state.shown[0];
    assert_eq!((shown.origin, shown.timestamp, shown.sequence), (a.store.id(), 123, 1));
}

#[test]
fn a_record_out_of_form_is_refused_and_harms_nothing_else() {
    let bench = Bench::new();
    bench.put("k", "one", 1);
    let split = Version::split(
        [VersionId([1; 32]), VersionId([2; 32])].into_iter().collect(),
        1,
        bench.store.id(),
    );
    let waiting = Event::new(key("k"), split, None);
    let mut orphan = Version::next(
        [VersionId([1; 32])].into_iter().collect(),
        DataHash::NONE,
        1,
        bench.store.id(),
    );
    orphan.parents.clear();
    let orphan = Event::new(key("fresh"), orphan, None);
    let outcomes = bench.receive(vec![waiting, orphan]);
    assert!(matches!(&outcomes[0], Received::Missing(parents) if parents.len() == 2));
    assert!(matches!(&outcomes[1], Received::Refused(refusal) if refusal.code == Code::BadVersion));
    // A put on top of a split and something else fits no history.
    let (a, _) = crate::harness::in_conflict();
    a.put("k", "anew", 9);
    let split = events(&a, "k")[3].version.clone();
    let parents = [split.id, split.parents[0]].into_iter().collect();
    let value = text("mixed");
    let version = Version::next(parents, keepboth_core::hash::data_hash(&value), 1, a.store.id());
    let outcomes = a.receive(vec![Event::new(key("k"), version, Some(value))]);
    assert!(matches!(&outcomes[0], Received::Refused(refusal) if refusal.code == Code::BadVersion));
    a.put("k", "goes on", 10);
    a.check();
    bench.check();
}

#[test]
fn a_value_over_this_stores_limit_is_quarantined() {
    let (a, b) = (Bench::new(), Bench::with(Options { value_bytes_max: 10, ..Options::default() }));
    a.put("k", "eleven char", 1);
    let outcomes = b.learn(&a, "k");
    assert!(matches!(&outcomes[0], Received::Quarantined(r) if r.code == Code::ValueTooLarge));
    assert_eq!(code(b.get("k")), Code::NotFound);
    assert_eq!((a.store.root(), b.store.counts().objects), (b.store.root(), 0));
    b.check();
}
