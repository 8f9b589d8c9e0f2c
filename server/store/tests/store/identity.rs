//! A store knows its node, finds out that it is a copy or was put back from a backup, and says so.

use std::fs;
use std::path::Path;

use keepboth_core::ids::NodeId;
use keepboth_store::{OpenError, Options, Received, Store, Task};

use crate::harness::{Bench, key, mark, namespace};

fn open(path: &Path, node: u8) -> Bench {
    let options = Options { node: NodeId([node; 32]), ..Options::default() };
    Bench::start(|tell| Store::open(path, &namespace(), options, tell)).expect("a store")
}

#[test]
fn a_copied_file_gets_an_id_of_its_own_and_keeps_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.redb"), folder.path().join("b.redb"));
    let bench = open(&path, 1);
    bench.put("k", "x", 1);
    bench
        .store
        .submit_blocking(Task::Agreed { marks: vec![(NodeId([9; 32]), mark(1, 1, 5))] })
        .expect("open");
    let id = bench.store.id();
    drop(bench);
    fs::copy(&path, &copy).expect("copied");
    let other = open(&copy, 2);
    assert!(other.store.id() != id && other.store.epoch() == 2);
    assert_eq!(other.get("k").expect("found"), "x");
    assert!(other.store.snapshot().agreed().expect("marks").is_empty());
    let other_id = other.store.id();
    drop(other);
    let other = open(&copy, 2);
    assert_eq!((other.store.id(), other.store.epoch()), (other_id, 2));
    let again = open(&path, 1);
    assert_eq!((again.store.id(), again.store.epoch()), (id, 1));
    again.check();
}

#[test]
fn an_own_version_that_comes_from_a_peer_shows_that_the_store_was_put_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, backup) = (folder.path().join("a.redb"), folder.path().join("old.redb"));
    let bench = open(&path, 1);
    bench.put("k", "one", 1);
    drop(bench);
    fs::copy(&path, &backup).expect("copied");
    let (bench, peer) = (open(&path, 1), Bench::new());
    bench.put("k", "two", 2);
    bench.put("l", "three", 3);
    for of in ["k", "l"] {
        peer.learn(&bench, of);
    }
    assert_eq!(bench.learn(&peer, "k"), [Received::Known, Received::Known]);
    assert_eq!(bench.store.epoch(), 1);
    let id = bench.store.id();
    drop(bench);
    fs::copy(&backup, &path).expect("put back");
    let bench = open(&path, 1);
    assert_eq!((bench.store.id(), bench.store.epoch()), (id, 1));
    bench.learn(&peer, "k");
    assert_eq!(bench.store.epoch(), 2);
    bench.learn(&peer, "l");
    assert_eq!((bench.store.epoch(), bench.store.root()), (2, peer.store.root()));
    drop(bench);
    let bench = open(&path, 1);
    assert_eq!((bench.store.epoch(), bench.get("l").expect("found")), (2, "three".into()));
    bench.check();
}

#[test]
fn a_file_of_an_earlier_format_is_refused_in_plain_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.redb");
    drop(open(&path, 1));
    let database = redb::Database::open(&path).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction
        .open_table(meta)
        .expect("meta")
        .insert("format", &1_u32.to_be_bytes()[..])
        .expect("written");
    transaction.commit().expect("a commit");
    drop(database);
    let error = Bench::try_file(&path).map(|_| ()).expect_err("refused");
    assert!(matches!(error, OpenError::OlderFormat { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("export the objects"), "{error}");
}

#[test]
fn what_peers_have_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.redb");
    let bench = open(&path, 1);
    bench.put("k", "x", 1);
    bench.commits();
    let agree = |node, sequence, at| {
        let marks = vec![(NodeId([node; 32]), mark(sequence, 3, at))];
        bench.store.submit_blocking(Task::Agreed { marks }).expect("open");
    };
    agree(7, 1, 50);
    agree(8, 1, 60);
    agree(7, 2, 70);
    assert!(bench.commits().is_empty(), "nobody is told");
    let marks = [(NodeId([7; 32]), mark(2, 3, 70)), (NodeId([8; 32]), mark(1, 3, 60))];
    assert_eq!(bench.store.snapshot().agreed().expect("marks"), marks);
    bench.put("k", "y", 2);
    drop(bench);
    assert_eq!(open(&path, 1).store.snapshot().agreed().expect("marks"), marks);
}

#[test]
fn a_digest_that_was_tells_its_sequence() {
    let bench = Bench::new();
    let empty = bench.store.root();
    assert_eq!(bench.store.sequence_of(&empty), Some(0));
    let mut roots = Vec::new();
    for n in 0..1_100 {
        let sequence = bench.put("k", &n.to_string(), n).sequence;
        roots.push((bench.store.root(), sequence));
    }
    for (root, sequence) in &roots[roots.len() - 1_000..] {
        assert_eq!(bench.store.sequence_of(root), Some(*sequence));
    }
    assert_eq!(bench.store.sequence_of(&roots[0].0), None, "that is long ago");
    bench.delete("k", 9);
    let tips = bench.tips("k");
    assert_eq!(bench.forget("k", tips, true), 1);
    assert_eq!(bench.store.sequence_of(&empty), Some(1_102), "the namespace is empty again");
    assert!(
        bench.store.snapshot().held(&key("k")).expect("held").is_some_and(|held| held.forgotten)
    );
}
