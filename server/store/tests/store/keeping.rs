//! What retention keeps of histories, what stands in for the rest, and what comes again.

use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::Event;
use keepboth_core::write::Condition;
use keepboth_store::{Incoming, Keep, Op, Place, Received, Verdict};

use crate::harness::{Bench, code, in_conflict, keep, key, name};

fn events(from: &Bench, have: &[keepboth_core::ids::VersionId]) -> Vec<Event> {
    from.store.snapshot().missing(&key("k"), have).expect("events")
}

/// A store with ten versions of a key and one of another.
fn filled() -> Bench {
    let bench = Bench::new();
    for n in 0..10 {
        bench.put("k", &format!("value {n}"), n);
    }
    bench.put("other", "x", 10);
    bench
}

#[test]
fn the_newest_records_and_values_stay_and_readers_see_the_same() {
    let bench = filled();
    let (root, ids) = (bench.store.root(), bench.versions("k"));
    let done = bench.collect(keep(2, 4), u64::MAX, 20);
    assert_eq!((done.records, done.values), (5, 3), "the first, four records; two of the values");
    let kept = [&ids[..1], &ids[6..]].concat();
    assert_eq!(bench.versions("k"), kept);
    assert_eq!((bench.store.root(), bench.get("k").expect("found")), (root, "value 9".into()));
    let snapshot = bench.store.snapshot();
    assert_eq!(snapshot.value_of(&name("k"), &ids[8]).expect("kept").as_bytes(), "value 8");
    assert_eq!(code(snapshot.value_of(&name("k"), &ids[7])), Code::ValueForgotten);
    assert_eq!(code(snapshot.value_of(&name("k"), &ids[3])), Code::NotFound);
    let page = snapshot.history(&name("k"), None, 100).expect("a page");
    assert_eq!(page.items.iter().filter(|past| past.value.is_some()).count(), 2);
    let revert = |version| Op::Revert { name: name("k"), version, condition: Condition::None };
    let refusal = bench.op(revert(ids[7]), 30).expect_err("forgotten");
    assert!(refusal.code == Code::NotFound && refusal.message.contains("is not kept"), "{refusal}");
    bench.check();
    assert_eq!(
        bench.collect(keep(2, 4), u64::MAX, 20),
        Default::default(),
        "nothing is left to do"
    );
    bench.put("k", "value 10", 31);
    assert_eq!(bench.collect(keep(2, 4), u64::MAX, 32).records, 1);
    assert_eq!(
        bench.collect(keep(1, 1), u64::MAX, 32).records,
        3,
        "stricter rules look at all again"
    );
    bench.check();
}

#[test]
fn what_a_peer_does_not_have_yet_stays() {
    let bench = filled();
    let done = bench.collect(keep(1, 1), 5, 20);
    // Versions 2 to 4: the one above them has to be known to all as well.
    assert_eq!((done.records, done.values), (3, 2));
    bench.check();
    let done = bench.collect(keep(1, 1), 11, 20);
    assert_eq!(done.records, 5);
    bench.check();
}

#[test]
fn a_step_is_bounded_and_the_next_goes_on() {
    let bench = Bench::new();
    for n in 0..20 {
        for at in 0..30 {
            bench.put(&format!("k{at}"), &n.to_string(), n);
        }
    }
    let (mut steps, mut records, mut next) = (0, 0, Some(Place::default()));
    while let Some(from) = next {
        let done = bench.step(from, keep(5, 5), u64::MAX, 20, 100);
        (steps, records, next) = (steps + 1, records + done.records, done.next);
    }
    assert!(steps > 5 && records == 30 * 14, "{steps} steps, {records} records");
    bench.check();
}

#[test]
fn what_must_stay_does_not_keep_a_round_from_the_rest() {
    let (a, b) = (Bench::new(), Bench::new());
    for n in 0..100 {
        // What was set apart and came out leaves a note for as long as nothing new is said of its key.
        let of = format!("admitted {n}");
        let version = a.put(&of, "x", 1).version;
        let event = a.store.snapshot().missing(&key(&of), &[]).expect("events").remove(0);
        let refused = Some(Refusal::new(Code::SchemaRefused, "/title: is missing"));
        b.incoming(vec![Incoming { event, refused }], 2);
        assert!(b.judge(&of, version, Verdict::Admit));
    }
    for n in 0..10 {
        b.put("k", &n.to_string(), 3);
    }
    let horizon = b.store.counts().last_sequence;
    for n in 0..100 {
        let of = format!("deleted {n}");
        b.put(&of, "x", 4);
        b.delete(&of, 4);
    }
    let rules = Keep { trash_keep: 1, trash_forget: 2, ..keep(5, 5) };
    let done = b.collect(rules, horizon, 9);
    assert_eq!((done.records, done.values), (4, 1));
    b.check();
}

#[test]
fn forks_conflicts_and_what_was_set_apart_stay_whatever_the_rules() {
    let (a, b) = in_conflict();
    a.collect(keep(0, 0), u64::MAX, 9);
    assert_eq!(a.versions("k").len(), 3);
    let conflict = a.store.snapshot().conflict(&key("k")).expect("in conflict");
    assert!(conflict.base.expect("a base").1.is_some(), "who resolves it sees the base");
    a.put("k", "anew", 9);
    for n in 0..5 {
        a.put("k", &format!("anew {n}"), 10 + n);
    }
    let addresses: Vec<_> = a
        .store
        .snapshot()
        .state(&key("k"))
        .expect("a state")
        .expect("there")
        .shown
        .iter()
        .map(|shown| shown.address)
        .collect();
    let done = a.collect(keep(0, 0), u64::MAX, 9);
    assert_eq!(done.records, 4, "all between the first of the new line and its head");
    for address in addresses {
        a.get(&address.to_string()).expect("a good address");
    }
    a.check();
    b.receive(events(&a, &[]));
    assert_eq!(a.store.root(), b.store.root());
    b.check();
}

#[test]
fn a_history_with_gaps_and_without_values_goes_to_another_store() {
    let (bench, empty) = (filled(), Bench::new());
    bench.collect(keep(2, 4), u64::MAX, 20);
    let sent = events(&bench, &[]);
    assert_eq!(sent.iter().filter(|event| event.gap.is_some()).count(), 1);
    assert!(sent.iter().all(|event| event.check(65_536).is_ok()));
    let outcomes = empty.receive(sent);
    assert!(outcomes.iter().all(|outcome| *outcome == Received::New), "{outcomes:?}");
    assert_eq!(empty.get("k").expect("found"), "value 9");
    assert_eq!(empty.versions("k"), bench.versions("k"));
    empty.check();
    empty.put("k", "next", 50);
    bench.learn(&empty, "k");
    assert_eq!(bench.get("k").expect("found"), "next");
    assert_eq!(empty.tips("k"), bench.tips("k"));
    bench.check();
}

#[test]
fn a_put_without_its_value_is_nothing_until_something_stands_on_it_or_the_value_comes() {
    let (bench, other) = (filled(), Bench::new());
    let all = events(&bench, &[]);
    let mut valueless = all.clone();
    valueless.iter_mut().for_each(|event| event.value = None);
    other.receive(all[..3].to_vec());
    let root = other.store.root();
    assert_eq!(other.receive(valueless[3..5].to_vec()), [Received::New, Received::New]);
    assert_eq!((other.store.root(), other.get("k").expect("found")), (root, "value 2".into()));
    assert_eq!(other.tips("k"), [all[2].version.id], "peers are shown what readers see");
    other.verify();
    assert_eq!(other.receive(vec![all[4].clone()]), [Received::Known]);
    assert_eq!(other.get("k").expect("found"), "value 4");
    let change = other.changes().pop().expect("a change");
    assert_eq!(change.made, [all[4].clone()]);
    let (states, _) = other.store.snapshot().changes(change.state.sequence - 1, 9).expect("a feed");
    assert_eq!(states, [change.state], "the feed has it at its new place");
    other.receive(all[5..].to_vec());
    assert_eq!(other.tips("k"), bench.tips("k"));
    other.check();
}

#[test]
fn a_peer_that_sends_the_whole_history_changes_nothing_where_it_was_forgotten() {
    let (bench, peer) = (filled(), Bench::new());
    peer.learn(&bench, "k");
    bench.collect(keep(2, 4), u64::MAX, 20);
    // Both go on from the same version: a conflict between exactly these two.
    bench.put("k", "mine", 30);
    peer.put("k", "theirs", 31);
    bench.commits();
    let all = events(&peer, &[]);
    let first = bench.receive(all.clone());
    assert!(first.contains(&Received::New), "{first:?}");
    let second = bench.receive(all);
    assert!(!second.contains(&Received::New), "{second:?}");
    assert_eq!(bench.raised().len(), 1);
    peer.learn(&bench, "k");
    assert_eq!(bench.addresses("k"), peer.addresses("k"));
    assert_eq!(
        (bench.addresses("k").len(), bench.store.root() == peer.store.root()),
        (2, false),
        "the other key"
    );
    bench.check();
    peer.check();
}

#[test]
fn one_forgotten_version_after_the_other_is_not_taken_for_a_branch_at_once() {
    let (bench, peer) = (filled(), Bench::new());
    peer.learn(&bench, "k");
    bench.collect(keep(1, 2), u64::MAX, 20);
    let all = events(&peer, &[]);
    // The first that stands on the gap's foot: the peer is asked for the rest.
    let outcomes = bench.receive(vec![all[1].clone()]);
    assert!(matches!(&outcomes[0], Received::Missing(_)), "{outcomes:?}");
    assert_eq!(bench.get("k").expect("found"), "value 9");
    // What it sends instead ends at a version that is known here: nothing is there to be taken.
    let known = bench.store.snapshot().known(&key("k")).expect("ids");
    let snapshot = peer.store.snapshot();
    let page = snapshot.missing_page(&key("k"), &bench.tips("k"), &known, None, usize::MAX);
    assert_eq!(page.expect("a page"), (Vec::new(), None));
    // A peer that has nothing more is believed: it may be a branch.
    assert_eq!(bench.receive(vec![all[1].clone()]), [Received::New]);
    assert_eq!(code(bench.get("k")), Code::InConflict);
    // The rest shows that it was none.
    let between = peer.store.snapshot().missing(&key("k"), &bench.tips("k")).expect("events");
    assert!(!between.is_empty());
    bench.receive(between);
    assert_eq!(bench.get("k").expect("found"), "value 9");
    assert_eq!(bench.tips("k"), peer.tips("k"));
    bench.check();
    bench.collect(keep(1, 2), u64::MAX, 20);
    bench.check();
}

#[test]
fn a_branch_of_what_was_forgotten_comes_with_what_it_stands_on() {
    let (bench, late) = (filled(), Bench::new());
    late.receive(events(&bench, &[])[..5].to_vec());
    late.put("k", "late", 40);
    bench.collect(keep(1, 2), u64::MAX, 20);
    let outcomes = bench.receive(vec![events(&late, &[]).pop().expect("the last")]);
    assert!(matches!(&outcomes[0], Received::Missing(_)), "{outcomes:?}");
    for _ in 0..2 {
        bench.receive(events(&late, &[]));
    }
    assert_eq!(code(bench.get("k")), Code::InConflict);
    let whole = Bench::new();
    for n in 0..10 {
        whole.put("k", &format!("value {n}"), n);
    }
    bench.check();
}

#[test]
fn an_own_version_that_was_forgotten_and_comes_again_is_no_sign_of_a_backup() {
    let (bench, peer) = (filled(), Bench::new());
    peer.learn(&bench, "k");
    bench.collect(keep(1, 2), u64::MAX, 20);
    peer.put("k", "theirs", 31);
    let all = events(&peer, &[]);
    let outcomes = bench.receive(all);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Received::New).count(), 8);
    assert_eq!((bench.store.epoch(), bench.get("k").expect("found")), (1, "theirs".into()));
    bench.check();
}

#[test]
fn a_forged_gap_over_what_stands_above_it_is_refused_and_harms_nothing() {
    let (bench, peer) = (filled(), Bench::new());
    peer.learn(&bench, "k");
    bench.collect(keep(1, 2), u64::MAX, 20);
    let root = bench.store.root();
    let (all, top) = (events(&peer, &[]), bench.versions("k")[1]);
    let mut forged = all[7].clone();
    assert_eq!(all[8].version.parents[..], [forged.version.id], "it is below the gap's child");
    assert_eq!(all[8].version.id, top);
    forged.gap = Some(top);
    let outcomes = bench.receive(vec![forged.clone()]);
    assert!(matches!(&outcomes[0], Received::Missing(_)), "{outcomes:?}");
    let outcomes = bench.receive(vec![forged, all[9].clone()]);
    let forged = |o: &Received| matches!(o, Received::Refused(r) if r.code == Code::BadVersion);
    assert!(forged(&outcomes[0]), "{outcomes:?}");
    assert_eq!(outcomes[1], Received::Known);
    assert_eq!((bench.store.root(), bench.get("k").expect("found")), (root, "value 9".into()));
    bench.put("k", "next", 30);
    bench.check();
}

#[test]
fn what_is_in_the_trash_stays_whole_until_its_time_is_over() {
    let bench = filled();
    bench.delete("k", 11);
    assert_eq!(bench.collect(keep(0, 0), u64::MAX, 20), Default::default());
    bench.op(Op::Restore { key: key("k"), version: None }, 12).expect("restored");
    assert_eq!(bench.get("k").expect("found"), "value 9");
    assert_eq!(bench.collect(keep(1, 1), u64::MAX, 20).records, 10);
    bench.check();
}
