//! The feed of changes: one entry for each key, the latest, and it can be taken up again anywhere.

use keepboth_store::KeyState;

use crate::harness::{Bench, key};

fn all(bench: &Bench, mut after: u64, limit: usize) -> Vec<KeyState> {
    let snapshot = bench.store.snapshot();
    let mut states = Vec::new();
    loop {
        let (more, next) = snapshot.changes(after, limit).expect("changes");
        states.extend(more);
        if next == snapshot.counts().last_sequence {
            return states;
        }
        assert!(next > after, "it goes on");
        after = next;
    }
}

#[test]
fn the_feed_gives_each_key_once_at_its_last_change() {
    let bench = Bench::new();
    for (at, now) in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)] {
        bench.put(at, &now.to_string(), now);
    }
    bench.delete("c", 6);
    for limit in [1, 2, 100] {
        let states = all(&bench, 0, limit);
        let seen: Vec<(&str, u64)> = states.iter().map(|s| (s.key.as_str(), s.sequence)).collect();
        assert_eq!(seen, [("a", 3), ("b", 5), ("c", 6)]);
        assert!(states[2].shown.is_empty() && states[2].deleted.is_some_and(|d| d.timestamp == 6));
    }
    assert_eq!(all(&bench, 3, 1).len(), 2);
    assert_eq!(bench.store.snapshot().changes(6, 10).expect("changes"), (Vec::new(), 6));
}

#[test]
fn a_reader_who_goes_on_from_a_commit_misses_nothing() {
    let bench = Bench::new();
    bench.put("a", "1", 1);
    let seen = bench.store.counts().last_sequence;
    bench.put("a", "2", 2);
    bench.put("b", "1", 3);
    let states = all(&bench, seen, 10);
    assert_eq!(states.iter().map(|s| &s.key).collect::<Vec<_>>(), [&key("a"), &key("b")]);
}

#[test]
fn a_long_stretch_of_outdated_entries_is_crossed_in_bounded_steps() {
    let bench = Bench::new();
    for round in 0..25 {
        let ops = (0..1_000).map(|_| crate::harness::put_op("hot", "x")).collect();
        bench.batch(ops, round).expect("a batch");
    }
    let (states, next) = bench.store.snapshot().changes(0, 10).expect("changes");
    assert!(states.is_empty() && next == 10_000, "{next}");
    assert_eq!(all(&bench, 0, 10).len(), 1);
}

#[test]
fn what_another_store_lacks_comes_parents_first_with_values() {
    let bench = Bench::new();
    let one = bench.put("k", "one", 1);
    let two = bench.put("k", "two", 2);
    bench.delete("k", 3);
    let snapshot = bench.store.snapshot();
    let missing = |have: &[_]| snapshot.missing(&key("k"), have).expect("events");
    assert_eq!(missing(&[]).len(), 3);
    let unknown = keepboth_core::ids::VersionId([9; 32]);
    let rest = missing(&[one.version, unknown]);
    assert_eq!(rest.len(), 2);
    assert_eq!((rest[0].version.id, rest[1].value.as_ref()), (two.version, None));
    assert!(rest.iter().all(|event| event.check(65_536).is_ok()));
    assert!(missing(&snapshot.tips(&key("k")).expect("tips")).is_empty());
    assert!(snapshot.missing(&key("never"), &[]).expect("events").is_empty());
}
