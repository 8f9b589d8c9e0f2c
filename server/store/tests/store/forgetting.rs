//! The trash forgets: values first, then the key, and once every peer knows, all of it for good.

use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use keepboth_store::{Collected, Keep, Op, Received};

use crate::harness::{Bench, code, in_conflict, keep, key, name};

const DAY: u64 = 86_400_000;

fn rules() -> Keep {
    Keep { trash_keep: 30 * DAY, trash_forget: 90 * DAY, ..keep(10, 1_000) }
}

/// A store with a key in the trash since day 100, and another that has the same.
fn deleted() -> (Bench, Bench) {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "one", 1);
    a.put("k", "two", 2);
    a.delete("k", 100 * DAY);
    a.put("kept", "x", 100 * DAY);
    for of in ["k", "kept"] {
        let events = a.store.snapshot().missing(&key(of), &[]).expect("events");
        b.incoming(events.into_iter().map(Into::into).collect(), 101 * DAY);
    }
    (a, b)
}

fn restore(bench: &Bench) -> Result<keepboth_store::Written, keepboth_core::refusal::Refusal> {
    bench.op(Op::Restore { key: key("k"), version: None }, 200 * DAY)
}

#[test]
fn values_in_the_trash_go_after_a_while_and_the_key_after_a_longer_while() {
    let (a, b) = deleted();
    let nothing = Collected::default;
    assert_eq!(a.collect(rules(), u64::MAX, 129 * DAY), nothing());
    assert_eq!(a.collect(rules(), u64::MAX, 130 * DAY), Collected { values: 2, ..nothing() });
    assert_eq!(b.collect(rules(), u64::MAX, 130 * DAY), nothing(), "it learned of it a day later");
    let refusal = restore(&a).expect_err("the values are gone");
    assert!(refusal.code == Code::NotFound && refusal.message.contains("is not kept"), "{refusal}");
    assert_eq!((a.store.counts().trash, a.store.root()), (1, b.store.root()));
    a.check();
    a.commits();
    assert_eq!(a.collect(rules(), u64::MAX, 189 * DAY), nothing());
    let tips = a.tips("k");
    assert_eq!(a.collect(rules(), 4, 190 * DAY), Collected { forgotten: 1, ..nothing() });
    let commits = a.commits();
    assert_eq!(commits[0].forgotten, [(key("k"), tips)], "peers have to be told");
    let counts = a.store.counts();
    assert_eq!((counts.trash, counts.keys, counts.last_sequence), (0, 1, 5));
    a.check();
    // It is gone for good once all have it.
    assert_eq!((a.collect(rules(), 4, 190 * DAY), a.store.forgotten_high()), (nothing(), 0));
    assert_eq!(a.collect(rules(), 5, 190 * DAY), Collected { removed: 1, ..nothing() });
    assert_eq!(a.store.forgotten_high(), 3, "who has the delete misses nothing");
    assert!(a.store.snapshot().held(&key("k")).expect("held").is_none());
    a.check();
    assert_eq!(a.put("k", "new", 1).sequence, 6, "a sequence is never given twice");
}

#[test]
fn the_trash_stays_while_a_peer_does_not_know_of_the_delete() {
    let (a, _) = deleted();
    assert_eq!(a.collect(rules(), 2, 500 * DAY), Collected::default());
    restore(&a).expect("all is there");
    a.check();
}

#[test]
fn a_forgotten_key_counts_nowhere_and_a_peers_word_is_enough() {
    let (a, b) = deleted();
    let tips = b.tips("k");
    assert_eq!(b.forget("k", Vec::new(), false), 0, "other tips");
    assert_eq!(b.forget("kept", b.tips("kept"), false), 0, "not in the trash");
    assert_eq!(b.forget("never", Vec::new(), false), 0);
    b.commits();
    assert_eq!(b.forget("k", tips.clone(), false), 1);
    let commits = b.commits();
    assert!(commits[0].forgotten.is_empty() && commits[0].changes.is_empty());
    assert_eq!(b.forget("k", tips.clone(), false), 0, "it is forgotten");
    let snapshot = b.store.snapshot();
    assert_eq!(code(snapshot.history(&name("k"), None, 9)), Code::NotFound);
    assert!(snapshot.trash(None, 9).expect("the trash").items.is_empty());
    assert!(snapshot.state(&key("k")).expect("a state").is_none() && b.tips("k").is_empty());
    assert!(snapshot.missing(&key("k"), &[]).expect("events").is_empty());
    let held = snapshot.held(&key("k")).expect("held").expect("there");
    assert_eq!((held.tips, held.forgotten), (tips, true));
    assert_eq!(code(restore(&b)), Code::NotFound);
    let (states, _) = snapshot.changes(0, 9).expect("the feed");
    let deleted = states.iter().find(|state| state.key == key("k")).expect("it is told");
    assert!(
        deleted.shown.is_empty() && deleted.deleted.is_some(),
        "who was away hears of the delete"
    );
    b.check();
    assert_eq!(b.learn(&a, "k"), vec![Received::Known; 3], "it does not come back");
    assert_eq!(b.store.counts().keys, 1);
    b.check();
}

#[test]
fn a_new_version_on_a_forgotten_key_makes_it_live_again() {
    let (a, b) = deleted();
    b.forget("k", b.tips("k"), false);
    let written = b.put("k", "again", 300 * DAY);
    assert_eq!(b.versions("k").len(), 4);
    b.check();
    a.receive(b.store.snapshot().missing(&key("k"), &a.tips("k")).expect("events"));
    assert_eq!((a.get("k").expect("found"), a.store.root()), ("again".into(), b.store.root()));
    // A peer where all of it is gone gets what it stands on, without the values.
    let (c, d) = (Bench::new(), Bench::new());
    c.learn(&a, "kept");
    let outcomes = c.learn(&b, "k");
    assert!(outcomes.iter().all(|outcome| *outcome == Received::New), "{outcomes:?}");
    assert_eq!((c.get("k").expect("found"), c.store.root()), ("again".into(), b.store.root()));
    c.check();
    d.learn(&c, "k");
    assert_eq!(d.tips("k"), [written.version]);
    // And a fork of what was forgotten as well.
    let (a, b) = deleted();
    let late = Bench::new();
    late.receive(a.store.snapshot().missing(&key("k"), &[]).expect("events")[..2].to_vec());
    late.put("k", "late", 3);
    b.forget("k", b.tips("k"), false);
    b.learn(&late, "k");
    assert_eq!(b.get("k").expect("found"), "late");
    b.check();
    b.collect(rules(), u64::MAX, 900 * DAY);
    assert_eq!(b.get("k").expect("found"), "late", "what lives is not removed");
    b.check();
}

#[test]
fn a_forgotten_key_with_sides_and_addresses_goes_as_a_whole() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    for side in &sides {
        a.delete(&side.to_string(), 9);
    }
    a.put("other", "x", 9);
    assert_eq!(a.forget("k", a.tips("k"), true), 1);
    for side in &sides {
        assert_eq!(code(a.get(&side.to_string())), Code::NotFound);
        assert_eq!(code(a.op(crate::harness::put_op(&side.to_string(), "x"), 9)), Code::NotFound);
    }
    a.check();
    assert_eq!(a.collect(rules(), u64::MAX, 9).removed, 1);
    assert_eq!(a.store.counts().value_bytes, 1);
    a.check();
    let (states, next) = a.store.snapshot().changes(0, 9).expect("the feed");
    assert_eq!((states.len(), next), (1, a.store.counts().last_sequence));
}

#[test]
fn after_everything_is_gone_and_a_restart_sequences_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = Bench::file(&path);
    bench.put("k", "x", 1);
    bench.delete("k", 2);
    bench.forget("k", bench.tips("k"), true);
    bench.collect(rules(), u64::MAX, 9);
    assert_eq!(bench.store.counts().keys, 0);
    drop(bench);
    let bench = Bench::file(&path);
    assert_eq!((bench.store.counts().last_sequence, bench.store.forgotten_high()), (3, 2));
    assert_eq!(bench.put("k", "y", 9).sequence, 4);
    bench.check();
}

#[test]
fn a_history_takes_the_place_of_another_in_one_commit() {
    let (a, b) = (Bench::new(), Bench::new());
    b.put("before", "x", 1);
    b.put("k", "old", 1);
    b.put("k", "older", 2);
    a.put("k", "new", 3);
    a.put("k", "newer", 4);
    let theirs = a.store.snapshot().missing(&key("k"), &[]).expect("events");
    let feed = |b: &Bench| b.store.counts().last_sequence;
    assert_eq!(feed(&b), 3);
    assert_eq!(b.replace("k", 3, theirs.clone(), 5), Ok(vec![Received::New; 2]));
    assert_eq!((b.get("k").expect("found"), b.tips("k")), ("newer".into(), a.tips("k")));
    assert_eq!((b.store.counts().keys, b.store.counts().value_bytes), (2, 9));
    assert_eq!((feed(&b), b.store.forgotten_high()), (5, 4), "who has not what came is told");
    b.check();
    assert_eq!(b.replace("never", 9, theirs, 6), Ok(vec![Received::Known; 2]));
    b.check();
}

#[test]
fn nothing_goes_if_it_is_newer_or_if_what_is_to_come_does_not_stand_by_itself() {
    let (a, b) = (Bench::new(), Bench::new());
    b.put("k", "old", 1);
    b.put("k", "older", 2);
    a.put("k", "new", 3);
    a.put("k", "newer", 4);
    let theirs = a.store.snapshot().missing(&key("k"), &[]).expect("events");
    let refused = b.replace("k", 9, theirs[1..].to_vec(), 5).expect_err("a parent is missing");
    assert_eq!(refused.code, Code::MissingParent);
    assert_eq!(b.get("k").expect("found"), "older");
    b.check();
    assert_eq!(b.replace("k", 1, theirs, 5), Ok(vec![Received::New; 2]), "beside what is newer");
    assert_eq!(b.store.counts().conflicts, 1);
    b.check();
}

#[test]
fn a_deleted_history_takes_the_place_of_one_in_the_trash() {
    let (a, b) = (Bench::new(), Bench::new());
    for (bench, value) in [(&a, "theirs"), (&b, "mine")] {
        bench.put("k", value, 1);
        bench.delete("k", 2);
    }
    let theirs = a.store.snapshot().missing(&key("k"), &[]).expect("events");
    b.replace("k", 9, theirs, 3).expect("taken");
    b.check();
    assert_eq!(b.store.counts().trash, 1);
    assert_eq!(b.forget("k", a.tips("k"), false), 1);
    b.check();
}

#[test]
fn a_long_history_goes_without_a_trace() {
    let large = Bench::new();
    for n in 0..500 {
        let value = Value::bytes(vec![7; 200]);
        let put = Op::Put { name: name("k"), value, condition: Default::default() };
        large.op(put, n).expect("a put");
    }
    large.delete("k", 500);
    let other = Bench::new();
    other.put("k", "new", 3);
    let theirs = other.store.snapshot().missing(&key("k"), &[]).expect("events");
    large.replace("k", 501, theirs, 502).expect("taken");
    assert!(large.store.snapshot().trash(None, 9).expect("the trash").items.is_empty());
    assert_eq!(large.store.counts().value_bytes, 3);
    large.check();
}

#[test]
fn who_has_some_of_a_forgotten_key_learns_that_it_was_deleted() {
    let (a, b) = (Bench::new(), Bench::new());
    let put = a.put("k", "one", 1).version;
    b.learn(&a, "k");
    let delete = a.delete("k", 2).version;
    let soon = Keep { trash_keep: 1, trash_forget: 2, ..rules() };
    assert_eq!(a.collect(soon, 2, 10 * DAY).values, 1);
    assert_eq!(a.collect(soon, 2, 10 * DAY).forgotten, 1);
    assert!(a.store.snapshot().missing(&key("k"), &[]).expect("events").is_empty());
    let events = a.store.snapshot().missing(&key("k"), &[put]).expect("events");
    assert_eq!(events.iter().map(|event| event.version.id).collect::<Vec<_>>(), [delete]);
    b.incoming(events.into_iter().map(Into::into).collect(), 3);
    assert_eq!(b.store.counts().trash, 1);
    assert_eq!(b.forget("k", vec![delete], false), 1);
    assert_eq!(a.store.root(), b.store.root());
}
