//! Conflict events are raised once for each set of sides, and hooks' merges end only the conflict they saw.

use keepboth_core::hash::data_hash;
use keepboth_core::ids::StoreId;
use keepboth_core::limits::PARENTS_MAX;
use keepboth_core::refusal::Code;
use keepboth_core::version::{Change, Event, Version};

use crate::harness::{Bench, code, in_conflict, key, put_op, text};

#[test]
fn a_fork_raises_one_event_with_base_and_sides() {
    let (a, b) = in_conflict();
    let raised = a.raised();
    assert_eq!(raised.len(), 1);
    let event = &raised[0];
    let history = a.store.snapshot().load_history(&key("k")).expect("read").expect("there");
    assert_eq!(event.base, Some(history.at(0).id));
    assert_eq!(event.addresses, a.addresses("k"));
    assert!(event.ask_hooks && event.sides.len() == 2);
    let origins: Vec<_> = event.sides.iter().map(|side| side.origin).collect();
    assert!(origins.contains(&a.store.id()) && origins.contains(&b.store.id()));
    assert!(event.sides.windows(2).all(|pair| pair[0].version < pair[1].version));
    b.learn(&a, "k");
    assert_eq!(b.raised()[0].id, event.id, "equal events have equal ids");
}

#[test]
fn an_event_is_raised_once_for_a_set_of_sides_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let (bench, other) = (Bench::file(&path), Bench::new());
    bench.put("k", "mine", 1);
    other.put("k", "theirs", 2);
    bench.learn(&other, "k");
    assert_eq!(bench.raised().len(), 1);
    let sides = bench.addresses("k");
    // Its writer goes on, not having heard of the conflict: the set is the same.
    other.put("k", "theirs changed", 3);
    bench.learn(&other, "k");
    // For a while both sides agree, and there is no conflict.
    other.put("k", "mine", 4);
    bench.learn(&other, "k");
    assert_eq!(bench.get("k").expect("found"), "mine");
    assert!(bench.raised().is_empty());
    drop(bench);
    let bench = Bench::file(&path);
    other.put("k", "theirs again", 5);
    bench.learn(&other, "k");
    assert_eq!(bench.addresses("k"), sides);
    assert!(bench.raised().is_empty(), "it was raised before the restart");
    let third = Bench::new();
    third.put("k", "third", 6);
    bench.learn(&third, "k");
    assert_eq!(bench.raised().len(), 1, "three sides are another set");
    bench.check();
}

#[test]
fn a_hooks_merge_is_made_only_for_the_conflict_it_saw() {
    let (a, b) = in_conflict();
    let seen = a.raised()[0].id;
    let third = Bench::new();
    third.put("k", "third", 4);
    a.learn(&third, "k");
    let now = a.raised()[0].id;
    assert_eq!(a.merge("k", seen, "stale"), Ok(None));
    let merged = a.merge("k", now, "merged").expect("no refusal").expect("made");
    assert!(merged.conflict_ended);
    assert_eq!(a.get("k").expect("found"), "merged");
    assert_eq!(a.merge("k", now, "again"), Ok(None));
    assert_eq!(b.merge("k", now, "nothing there"), Ok(None));
    let changes = a.changes();
    assert!(changes.last().expect("a change").local, "peers are told of it");
    a.check();
}

#[test]
fn hooks_are_not_asked_once_every_side_is_a_merge_of_merges() {
    let (a, b) = in_conflict();
    b.learn(&a, "k");
    let mut asked = Vec::new();
    for round in 0..4 {
        let (mine, theirs) = (a.raised(), b.raised());
        let Some(event) = mine.first().or(theirs.first()) else { break };
        asked.push(event.ask_hooks);
        let id = a.store.snapshot().conflict(&key("k")).expect("in conflict").id;
        if !event.ask_hooks {
            break;
        }
        a.merge("k", id, &format!("mine {round}")).expect("no refusal");
        b.merge("k", id, &format!("theirs {round}")).expect("no refusal");
        a.learn(&b, "k");
        b.learn(&a, "k");
    }
    assert_eq!(asked, [true, true, false]);
    a.check();
}

#[test]
fn a_conflict_is_read_with_the_values_of_its_base_and_sides() {
    let (a, b) = in_conflict();
    let conflict = a.store.snapshot().conflict(&key("k")).expect("in conflict");
    assert_eq!(conflict.base.expect("a base").1, Some(text("base")));
    assert_eq!(conflict.id, a.raised()[0].id);
    let mut values: Vec<_> =
        conflict.sides.iter().map(|side| (side.timestamp, side.value.clone())).collect();
    values.sort_by_key(|(timestamp, _)| *timestamp);
    assert_eq!(values, [(2, text("mine")), (3, text("theirs"))]);
    assert_eq!(code(b.store.snapshot().conflict(&key("k"))), Code::NoConflict);
    assert_eq!(code(b.store.snapshot().conflict(&key("never"))), Code::NoConflict);
}

#[test]
fn what_both_wrote_alike_is_no_conflict() {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "same", 1);
    b.put("k", "same", 2);
    a.learn(&b, "k");
    assert_eq!(a.get("k").expect("found"), "same");
    assert!(a.raised().is_empty());
    let written = a.put("k", "next", 3);
    let history = a.store.snapshot().load_history(&key("k")).expect("read").expect("there");
    let version = history.at(history.find(&written.version).expect("there"));
    assert_eq!((version.parents.len(), version.change), (2, Change::Put));
    a.check();
}

#[test]
fn a_write_that_would_join_more_heads_than_a_version_may_is_refused() {
    let (bench, value) = (Bench::new(), text("one of many"));
    let first = |now: u64| {
        let version = Version::first(&key("k"), data_hash(&value), now, StoreId([9; 16]));
        Event::new(key("k"), version, Some(value.clone()))
    };
    bench.receive((0..=PARENTS_MAX as u64).map(first).collect());
    let refusal = bench.op(put_op("k", "anew"), 1).expect_err("too many");
    assert_eq!(refusal.code, Code::InConflict);
    assert!(refusal.message.contains("10,001 heads"), "{refusal}");
    assert!(refusal.message.contains("at most 10,000"), "{refusal}");
}
