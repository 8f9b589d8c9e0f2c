//! A store opened again is what it was; what is no store of ours is refused in plain words.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keepboth_core::name::Namespace;
use keepboth_core::refusal::Code;
use keepboth_store::{OpenError, Options, Store};
use redb::{Database, ReadableTable, TableDefinition};

use crate::harness::{Bench, code, key, name, namespace, put_op};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");
const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");

fn filled(path: &Path) -> Bench {
    let (bench, other) = (Bench::file(path), Bench::new());
    bench.put("k", "mine", 1);
    other.put("k", "theirs", 2);
    bench.learn(&other, "k");
    bench.put("plain", "one", 3);
    bench.put("plain", "two", 4);
    bench.put("deleted", "x", 5);
    bench.delete("deleted", 6);
    bench
}

/// Changes one row of a closed store.
fn tamper(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(path).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    change(&transaction);
    transaction.commit().expect("a commit");
}

fn refused(path: &Path) -> OpenError {
    let error = match Bench::try_file(path) {
        Ok(_) => panic!("the file was opened"),
        Err(error) => error,
    };
    assert!(
        error.to_string().starts_with(&path.display().to_string()),
        "it names the file: {error}"
    );
    error
}

#[test]
fn a_store_opened_again_is_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = filled(&path);
    let (id, root, counts) = (bench.store.id(), bench.store.root(), bench.store.counts());
    let state = bench.store.snapshot().state(&key("k")).expect("a state");
    drop(bench);
    let again = Bench::file(&path);
    assert_eq!((again.store.id(), again.store.epoch(), again.store.root()), (id, 1, root));
    assert_eq!(again.store.counts(), counts);
    assert_eq!(again.store.snapshot().state(&key("k")).expect("a state"), state);
    assert_eq!(again.get("plain").expect("found"), "two");
    assert_eq!(again.put("plain", "three", 7).sequence, counts.last_sequence + 1);
    again.check();
}

#[test]
fn two_stores_have_two_ids() {
    assert_ne!(Bench::new().store.id(), Bench::new().store.id());
}

#[test]
fn a_file_in_use_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = filled(&path);
    assert!(matches!(refused(&path), OpenError::Locked { .. }));
    bench.store.close();
    Bench::file(&path).check();
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    drop(filled(&path));
    tamper(&path, |transaction| {
        let mut meta = transaction.open_table(META).expect("meta");
        meta.insert("format", &7_u32.to_be_bytes()[..]).expect("written");
    });
    let error = refused(&path);
    assert!(matches!(error, OpenError::NewerFormat { found: 7, .. }), "{error}");
}

#[test]
fn another_namespaces_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    drop(filled(&path));
    let other = Namespace::new("other").expect("a name");
    let error =
        Store::open(&path, &other, Options::default(), |_| {}).map(|_| ()).expect_err("refused");
    let words = "the store of namespace \"notes\", expected \"other\"";
    assert!(error.to_string().ends_with(words), "{error}");
}

#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text");
    fs::write(&text, "this is a letter and no database, however long it may be ".repeat(200))
        .expect("written");
    assert!(matches!(refused(&text), OpenError::NotAStore { .. }));
    let foreign = folder.path().join("foreign.redb");
    let database = Database::create(&foreign).expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    transaction.open_table(RECORDS).expect("a table");
    transaction.commit().expect("a commit");
    drop(database);
    assert!(matches!(refused(&foreign), OpenError::NotAStore { .. }));
    let nowhere = folder.path().join("missing/notes.redb");
    assert!(matches!(refused(&nowhere), OpenError::Failed { .. }));
}

#[test]
fn a_file_cut_short_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    drop(filled(&path));
    let file = fs::OpenOptions::new().write(true).open(&path).expect("a file");
    file.set_len(9_000).expect("cut");
    drop(file);
    let error = refused(&path);
    assert!(
        matches!(
            error,
            OpenError::Corrupt { .. } | OpenError::Failed { .. } | OpenError::NotAStore { .. }
        ),
        "{error}"
    );
}

#[test]
fn a_value_that_does_not_match_its_hash_is_never_given_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let bench = filled(&path);
    let found = bench.store.snapshot().get(&name("plain")).expect("found");
    drop(bench);
    tamper(&path, |transaction| {
        let mut values = transaction.open_table(VALUES).expect("values");
        let (first, mut pack) = {
            let pack = values.range(..=found.sequence).expect("packs").next_back();
            let (first, pack) = pack.expect("a pack").expect("read");
            (first.value(), pack.value().to_vec())
        };
        let at = pack.windows(4).position(|four| four == b"\x01two").expect("the value");
        pack[at..at + 4].copy_from_slice(b"\x01twp");
        values.insert(first, &pack[..]).expect("written");
    });
    let bench = Bench::file(&path);
    let snapshot = bench.store.snapshot();
    let refusal = snapshot.get(&name("plain")).expect_err("corrupt");
    assert_eq!(refusal.code, Code::Corrupt);
    let version = found.version.to_string();
    assert!(
        refusal.message.contains("\"plain\"") && refusal.message.contains(&version),
        "{refusal}"
    );
    assert_eq!(code(snapshot.value_of(&name("plain"), &found.version)), Code::Corrupt);
    assert_eq!(code(snapshot.missing(&key("plain"), &[])), Code::Corrupt);
    assert_eq!(code(snapshot.list("", None, 10, 1_000, true)), Code::Corrupt);
    bench.put("plain", "written over", 9);
    assert_eq!(bench.get("plain").expect("found"), "written over");
}

#[test]
fn a_row_that_makes_no_sense_is_refused_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    for row in [&b""[..], b"\x07", b"\x00short", &[2; 30]] {
        let _ = fs::remove_file(&path);
        drop(filled(&path));
        tamper(&path, |transaction| {
            let mut keys = transaction.open_table(KEYS).expect("keys");
            keys.insert("plain", row).expect("written");
        });
        let bench = Bench::file(&path);
        let refusal = bench.store.snapshot().get(&name("plain")).expect_err("corrupt");
        assert_eq!(refusal.code, Code::Corrupt);
        assert!(refusal.message.contains("\"plain\""), "{refusal}");
        assert_eq!(code(bench.op(put_op("plain", "x"), 9)), Code::Corrupt);
        assert!(bench.get("deleted").is_err() && bench.put("other", "x", 9).sequence > 6);
    }
}

#[test]
fn a_history_that_is_not_whole_is_refused_and_harms_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    drop(filled(&path));
    tamper(&path, |transaction| {
        let mut records = transaction.open_table(RECORDS).expect("records");
        records.remove(1).expect("removed");
    });
    let bench = Bench::file(&path);
    assert_eq!(code(bench.store.snapshot().load_history(&key("k"))), Code::Corrupt);
    assert_eq!(code(bench.op(put_op("k", "x"), 9)), Code::Corrupt);
    assert_eq!(bench.put("plain", "three", 9).key, key("plain"));
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    fs::write(&path, "").expect("written");
    let bench = Bench::file(&path);
    assert_eq!(bench.store.namespace(), &namespace());
    bench.check();
}

/// A file of 20,000 objects of 1 KiB, put at keys in no order, so that each batch changes many pages.
#[test]
fn a_file_has_its_name_only_when_it_can_be_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    // As a crash leaves one that is being made: with a length, and without the word that redb looks for.
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, vec![0; 73_728]).expect("written");
    Bench::file(&path).put("k", "v", 1);
    assert!(!unfinished.exists());
    assert_eq!(Bench::file(&path).get("k").expect("found"), "v");
}

#[test]
fn a_file_is_made_where_a_link_leads() {
    let folder = tempfile::tempdir().expect("a folder");
    let (link, file) = (folder.path().join("link.redb"), folder.path().join("file.redb"));
    std::os::unix::fs::symlink("file.redb", &link).expect("a link");
    Bench::file(&link).put("k", "v", 1);
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());
    assert_eq!(Bench::file(&file).get("k").expect("found"), "v");
}

fn grown(path: &Path) -> u64 {
    let bench = Bench::file(path);
    for batch in 0..20 {
        let ops = (0..1_000).map(|n| put_op(&scattered(batch * 1_000 + n), &long(n)));
        bench.batch(ops.collect(), batch).expect("a batch");
    }
    let values = bench.store.counts().value_bytes;
    bench.store.close();
    values
}

fn scattered(n: u64) -> String {
    format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn long(n: u64) -> String {
    format!("{n} {}", "x".repeat(1_000))
}

/// What is not written of a file takes no place.
fn on_disk(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").blocks() * 512
}

fn check_grown(path: &Path) {
    let bench = Bench::file(path);
    assert_eq!(bench.get(&scattered(7)).expect("found"), long(7));
    assert_eq!(bench.get(&scattered(19_999)).expect("found"), long(999));
    bench.put(&scattered(8), "new", 30);
    bench.check();
}

#[test]
fn a_file_that_grew_is_compacted_when_it_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let values = grown(&path);
    let file = on_disk(&path);
    assert!(file < values * 145 / 100, "{file} bytes for values of {values}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    check_grown(&path);
}

#[test]
fn a_file_behind_a_link_is_compacted_where_it_stands() {
    let (folder, elsewhere) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let (path, there) = (folder.path().join("notes.redb"), elsewhere.path().join("large.redb"));
    fs::write(&there, "").expect("written");
    std::os::unix::fs::symlink(&there, &path).expect("a link");
    let values = grown(&path);
    assert!(fs::symlink_metadata(&path).expect("a link").is_symlink());
    assert!(on_disk(&there) < values * 145 / 100, "it is compacted");
    check_grown(&path);
}

#[test]
fn a_compaction_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let in_the_way = path.with_extension("compacting");
    fs::create_dir(&in_the_way).expect("a folder");
    let values = grown(&path);
    assert!(on_disk(&path) > values * 3 / 2, "it is not compacted");
    check_grown(&path);
}

#[test]
fn a_compaction_that_was_cut_off_is_made_up_for_at_the_next_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let left = path.with_extension("compacting");
    fs::create_dir(&left).expect("a folder");
    let values = grown(&path);
    fs::remove_dir(&left).expect("removed");
    fs::write(&left, "half").expect("written");
    Bench::file(&path).store.close();
    assert!(on_disk(&path) < values * 145 / 100, "it is compacted");
    check_grown(&path);
}

#[test]
fn what_a_compaction_left_that_was_cut_off_goes_when_the_file_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let left = path.with_extension("compacting");
    let bench = Bench::file(&path);
    bench.put("k", "x", 1);
    bench.store.close();
    fs::write(&left, "half").expect("written");
    assert_eq!(Bench::file(&path).get("k").expect("found"), "x");
    assert!(!left.exists());
}
