//! Tables of plugins: in order, all or nothing, and after a crash how they once were.

use std::ops::Bound::{Excluded, Included, Unbounded};

use keepboth_core::plugin::{RowChange, Table};
use keepboth_store::{OpenError, Shelf};

fn put(key: &[u8], value: &[u8]) -> RowChange {
    (key.to_vec(), Some(value.to_vec()))
}

fn keys(shelf: &Shelf) -> Vec<Vec<u8>> {
    let rows = shelf.range(Unbounded, Unbounded, 100).expect("rows");
    rows.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn rows_stand_in_the_order_of_their_bytes_and_a_range_has_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = Shelf::open(&folder.path().join("table.redb")).expect("a shelf");
    assert_eq!(shelf.get(b"a").expect("read"), None);
    assert!(keys(&shelf).is_empty(), "one that was never written is empty");
    let rows = [put(b"b", b"2"), put(&[255], b"4"), put(b"a", b"1"), put(b"c", b"3")];
    shelf.write(&rows, true).expect("written");
    assert_eq!(keys(&shelf), [b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), vec![255]]);
    let range = |from, to, limit| shelf.range(from, to, limit).expect("rows");
    assert_eq!(range(Excluded(&b"a"[..]), Included(&b"c"[..]), 9).len(), 2);
    assert_eq!(range(Included(&b"a"[..]), Unbounded, 2)[1], (b"b".to_vec(), b"2".to_vec()));
    assert_eq!(range(Included(&b"c"[..]), Excluded(&b"a"[..]), 9), []);
    assert_eq!(range(Excluded(&b"c"[..]), Excluded(&b"c"[..]), 9), []);
    shelf.write(&[(b"b".to_vec(), None), put(b"a", b"new")], false).expect("written");
    assert_eq!(shelf.get(b"a").expect("read").as_deref(), Some(&b"new"[..]));
    assert_eq!(shelf.get(b"b").expect("read"), None);
}

#[test]
fn one_at_a_time_has_a_table_and_it_outlives_him() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.redb");
    let shelf = Shelf::open(&file).expect("a shelf");
    assert!(matches!(Shelf::open(&file), Err(OpenError::Locked { .. })));
    shelf.write(&[put(b"a", b"1")], true).expect("written");
    drop(shelf);
    assert_eq!(keys(&Shelf::open(&file).expect("a shelf")), [b"a"]);
}

#[test]
fn what_a_crash_takes_back_it_takes_back_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.redb");
    let shelf = Shelf::open(&file).expect("a shelf");
    let crashed = |name: &str| {
        // What the disk holds at this moment is what a process would find that comes after a crash.
        let copy = folder.path().join(name);
        std::fs::copy(&file, &copy).expect("copied");
        keys(&Shelf::open(&copy).expect("a shelf"))
    };
    shelf.write(&[put(b"a", b"1"), put(b"b", b"2")], true).expect("written");
    shelf.write(&[put(b"c", b"3"), (b"a".to_vec(), None)], false).expect("written");
    let left = crashed("one");
    assert!(left == [b"a", b"b"] || left == [b"b", b"c"], "never a part of it: {left:?}");
    shelf.write(&[], true).expect("written");
    assert_eq!(crashed("two"), [b"b", b"c"]);
}

#[test]
fn a_file_of_something_else_is_refused_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table.redb");
    std::fs::write(&file, b"something else").expect("written");
    let error = Shelf::open(&file).err().expect("refused").to_string();
    assert!(error.contains("table.redb: not a Keepboth store"), "{error}");
}
