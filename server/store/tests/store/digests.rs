//! What stores compare: digests of ranges, keys of ranges, whole histories in pages; and how little opening reads.

use std::collections::BTreeMap;

use keepboth_core::digest::{Digest, Prefix};
use keepboth_core::name::Key;
use keepboth_store::{Snapshot, Store};

use crate::harness::{Bench, crash, in_conflict, key, put_op};

fn filled(keys: usize) -> Bench {
    let bench = Bench::new();
    fill(&bench, 0, keys);
    bench
}

fn fill(bench: &Bench, from: usize, to: usize) {
    for some in (from..to).collect::<Vec<_>>().chunks(500) {
        let ops = some.iter().map(|n| put_op(&format!("key {n}"), &n.to_string())).collect();
        bench.batch(ops, 1).expect("a batch");
    }
}

/// The sum of the entries of a range.
fn summed(snapshot: &Snapshot, prefix: Prefix) -> Digest {
    let mut sum = Digest::default();
    let entries = snapshot.entries(prefix, usize::MAX).expect("entries").expect("no limit");
    entries.iter().for_each(|entry| sum.add(&Digest::entry(&entry.hash, &entry.tips)));
    sum
}

#[test]
fn the_digests_of_ranges_are_those_of_their_keys_down_to_the_narrowest() {
    let bench = filled(300);
    let snapshot = bench.store.snapshot();
    let mut path = vec![Prefix::WHOLE];
    let hash = key("key 7").hash();
    while let Some(child) = path.last().and_then(|last| last.child(last.nibble(&hash))) {
        path.push(child);
    }
    for prefix in &path[..path.len() - 1] {
        let children = snapshot.children(*prefix).expect("digests");
        for (nibble, child) in (0..).zip(children) {
            assert_eq!(child, summed(&snapshot, prefix.child(nibble).expect("a child")));
        }
    }
    assert_eq!(summed(&snapshot, Prefix::WHOLE), bench.store.root());
    let last = path.last().expect("a range");
    let entries = snapshot.entries(*last, 1).expect("entries").expect("one");
    assert_eq!((entries.len(), &entries[0].key, entries[0].hash), (1, &key("key 7"), hash));
    assert_eq!(snapshot.key_of_hash(&hash).expect("read"), Some(key("key 7")));
}

#[test]
fn the_keys_of_a_range_come_in_the_order_of_their_hashes_unless_they_are_too_many() {
    let bench = filled(100);
    let snapshot = bench.store.snapshot();
    assert_eq!(snapshot.entries(Prefix::WHOLE, 99).expect("entries"), None);
    let entries = snapshot.entries(Prefix::WHOLE, 100).expect("entries").expect("not more");
    assert!(entries.windows(2).all(|pair| pair[0].hash < pair[1].hash));
    assert!(entries.iter().all(|entry| entry.hash == entry.key.hash() && entry.tips.len() == 1));
}

/// Gives an empty store everything in pages.
fn copy(from: &Bench, to: &Bench, bytes: usize) -> usize {
    let snapshot = from.store.snapshot();
    let (mut next, mut pages) = (Some([0; 16]), 0);
    while let Some(first) = next {
        let page = snapshot.page(first, [255; 16], bytes).expect("a page");
        to.receive(page.events);
        let mut rest = page.rest;
        while let Some((key, after)) = rest {
            let more = snapshot.missing_page(&key, &[], &[], Some(after), bytes).expect("a page");
            to.receive(more.0);
            rest = more.1.map(|after| (key, after));
            pages += 1;
        }
        assert!(page.next.is_none_or(|next| next > first), "it goes on");
        next = page.next;
        pages += 1;
    }
    pages
}

#[test]
fn an_empty_store_that_is_given_everything_in_pages_is_the_same() {
    let (bench, _) = in_conflict();
    bench.put("k", "anew", 9);
    fill(&bench, 0, 50);
    for n in 0..60 {
        bench.put("long", &n.to_string(), n);
    }
    bench.delete("key 3", 9);
    for (bytes, pages) in [(1, 50..500), (2_000, 6..60), (usize::MAX, 1..2)] {
        let empty = Bench::new();
        let count = copy(&bench, &empty, bytes);
        assert!(pages.contains(&count), "{count} pages of {bytes} bytes");
        assert_eq!(empty.store.root(), bench.store.root());
        let views = |bench: &Bench| -> BTreeMap<Key, _> {
            let snapshot = bench.store.snapshot();
            let entries = snapshot.entries(Prefix::WHOLE, 1_000).expect("read").expect("few");
            let view = |key: &Key| snapshot.state(key).expect("a state").map(|state| state.view);
            entries.into_iter().map(|entry| (entry.key.clone(), view(&entry.key))).collect()
        };
        assert_eq!(views(&empty), views(&bench));
        empty.check();
    }
}

#[test]
fn opening_after_a_crash_reads_what_changed_since_the_digests_were_written_and_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = Bench::file(&path);
    fill(&bench, 0, 2_000);
    let (root, counts) = (bench.store.root(), bench.store.counts());
    drop(bench);
    let bench = Bench::file(&path);
    assert_eq!((bench.store.root(), bench.store.counts()), (root, counts));
    assert_eq!(bench.store.changes_read_at_opening(), 0, "it was closed");
    bench.check();
    for n in 0..10 {
        bench.put(&format!("key {n}"), "changed", 2);
    }
    bench.delete("key 11", 3);
    let (root, counts) = (bench.store.root(), bench.store.counts());
    bench.commits();
    // The file as a crash leaves it.
    let crashed = folder.path().join("crashed.redb");
    crash(&path, &crashed);
    let again = Bench::file(&crashed);
    assert_eq!((again.store.root(), again.store.counts()), (root, counts));
    assert_eq!(again.store.changes_read_at_opening(), 11, "one for each key that changed");
    again.check();
}

#[test]
fn the_digests_are_written_now_and_then_without_a_close() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = Bench::file(&path);
    for round in 0..68 {
        let ops = (0..1_000).map(|n| put_op(&format!("key {}", n % 500), &round.to_string()));
        bench.batch(ops.collect(), round).expect("a batch");
    }
    let (root, counts) = (bench.store.root(), bench.store.counts());
    bench.commits();
    let crashed = folder.path().join("crashed.redb");
    crash(&path, &crashed);
    let again = Bench::file(&crashed);
    assert_eq!((again.store.root(), again.store.counts()), (root, counts));
    // About 500 buckets for each batch.
    let read = again.store.changes_read_at_opening();
    assert!(read > 0 && read < 2_000, "{read} changes of 68 batches");
    again.check();
    again.put("key 1", "x", 99);
    again.check();
}

#[test]
fn a_store_opened_by_its_path_and_one_in_memory_count_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::start(|tell| {
        let path = folder.path().join("notes.redb");
        Store::open(&path, &crate::harness::namespace(), Default::default(), tell)
    });
    let (bench, memory) = (bench.expect("a store"), filled(40));
    fill(&bench, 0, 40);
    assert_eq!(
        (bench.store.root(), bench.store.counts()),
        (memory.store.root(), memory.store.counts())
    );
}
