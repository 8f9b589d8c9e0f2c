//! Two stores have forgotten different parts of one line: who remembers more tells the other.

use keepboth_core::ids::VersionId;
use keepboth_core::version::Event;
use keepboth_store::Received;
use tempfile::TempDir;

use crate::harness::{Bench, key};

/// The versions of a plain line of five, and their ids.
fn line() -> (Vec<Event>, Vec<VersionId>) {
    let bench = Bench::new();
    for n in 1..=5 {
        bench.put("k", &format!("value {n}"), n);
    }
    let events = bench.store.snapshot().missing(&key("k"), &[]).expect("events");
    let ids = events.iter().map(|event| event.version.id).collect();
    (events, ids)
}

fn over(event: &Event, foot: VersionId) -> Event {
    Event { gap: Some(foot), ..event.clone() }
}

/// A store that has the first, the third and the last version, and takes the last two for branches of
/// the first.
fn apart(bench: &Bench) -> (Vec<Event>, Vec<VersionId>) {
    let (events, ids) = line();
    assert_eq!(bench.receive(vec![events[0].clone(), over(&events[4], ids[0])]).len(), 2);
    let third = || vec![over(&events[2], ids[0])];
    assert_eq!(bench.receive(third()), [Received::Missing(vec![ids[1]])]);
    assert_eq!(bench.receive(third()), [Received::New], "the sender does not know either");
    let mut tips = vec![ids[2], ids[4]];
    tips.sort_unstable();
    assert_eq!(bench.tips("k"), tips);
    (events, ids)
}

#[test]
fn a_known_version_that_comes_with_a_nearer_ancestor_stands_on_it_from_then_on() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("notes.redb");
    let bench = Bench::file(&file);
    let (events, ids) = apart(&bench);
    let sequence = bench.store.counts().last_sequence;
    bench.commits();
    assert_eq!(bench.receive(vec![over(&events[4], ids[2])]), [Received::Known]);
    let check = |bench: &Bench| {
        assert_eq!(bench.tips("k"), ids[4..]);
        assert_eq!(bench.get("k").expect("an object"), "value 5");
        bench.check();
    };
    check(&bench);
    assert_eq!(bench.store.counts().last_sequence, sequence + 1, "a new place in the feed");
    assert_eq!(bench.changes().len(), 1, "watchers hear of it");
    // What is further down says nothing new, and what stands above it cannot be below it.
    for foot in [ids[0], ids[2], ids[4]] {
        assert_eq!(bench.receive(vec![over(&events[4], foot)]), [Received::Known]);
    }
    assert_eq!(bench.receive(vec![over(&events[2], ids[4])]), [Received::Known]);
    assert_eq!(bench.store.counts().last_sequence, sequence + 1);
    drop(bench);
    check(&Bench::file(&file));
}

#[test]
fn a_store_that_takes_one_line_for_two_branches_gets_what_joins_them() {
    let (a, b) = (Bench::new(), Bench::new());
    let (events, ids) = apart(&b);
    a.receive([&events[..3], &[over(&events[4], ids[2])]].concat());
    assert_eq!(a.tips("k"), ids[4..]);
    let joins = a.store.snapshot().missing(&key("k"), &b.tips("k")).expect("events");
    assert!(joins.iter().any(|event| event.version.id == ids[4]), "{joins:?}");
    b.receive(joins);
    assert_eq!((b.tips("k"), b.store.root()), (a.tips("k"), a.store.root()));
    b.check();
}
