//! The trash: keys with a history and no object, and the way back.

use keepboth_core::refusal::Code;
use keepboth_store::{Keep, Op};

use crate::harness::{Bench, code, delete_op, in_conflict, keep, key, put_op};

fn restore(at: &str) -> Op {
    Op::Restore { key: key(at), version: None }
}

fn trash(bench: &Bench) -> Vec<String> {
    let keys = bench.store.snapshot().trash(None, 100).expect("the trash");
    keys.items.iter().map(|state| state.key.to_string()).collect()
}

#[test]
fn a_deleted_key_is_in_the_trash_until_it_is_restored_or_put() {
    let bench = Bench::new();
    for at in ["a", "b", "c"] {
        bench.put(at, at, 1);
        bench.put(at, &format!("{at} changed"), 2);
        bench.delete(at, 3);
    }
    assert_eq!(trash(&bench), ["a", "b", "c"]);
    let page = bench.store.snapshot().trash(Some(&key("a")), 1).expect("a page");
    assert_eq!(
        (page.items[0].deleted.expect("a delete").timestamp, page.next),
        (3, Some(key("b")))
    );
    bench.op(restore("b"), 4).expect("restored");
    assert_eq!(bench.get("b").expect("found"), "b changed");
    bench.put("c", "new", 5);
    assert_eq!(trash(&bench), ["a"]);
    bench.check();
}

#[test]
fn restoring_needs_a_key_in_the_trash_and_a_put_of_its_history() {
    let bench = Bench::new();
    let one = bench.put("k", "one", 1);
    bench.put("k", "two", 2);
    assert_eq!(code(bench.op(restore("k"), 3)), Code::NotFound);
    assert_eq!(code(bench.op(restore("never"), 3)), Code::NotFound);
    let gone = bench.delete("k", 4);
    let version = |version| Op::Restore { key: key("k"), version: Some(version) };
    assert_eq!(code(bench.op(version(gone.version), 5)), Code::NotFound);
    bench.op(version(one.version), 5).expect("restored");
    assert_eq!(bench.get("k").expect("found"), "one");
}

#[test]
fn of_several_deleted_sides_the_newest_put_comes_back() {
    let (a, _) = in_conflict();
    for side in a.addresses("k") {
        a.delete(&side.to_string(), 9);
    }
    assert_eq!(trash(&a), ["k"]);
    a.op(restore("k"), 10).expect("restored");
    assert_eq!(a.get("k").expect("found"), "theirs", "written at 3, the other at 2");
    a.check();
}

#[test]
fn a_late_update_takes_a_key_out_of_the_trash() {
    let (a, b) = (Bench::new(), Bench::new());
    a.put("k", "one", 1);
    b.learn(&a, "k");
    a.delete("k", 2);
    b.put("k", "two", 3);
    a.learn(&b, "k");
    assert_eq!(a.get("k").expect("found"), "two");
    assert!(trash(&a).is_empty());
    b.learn(&a, "k");
    assert_eq!(a.store.root(), b.store.root());
    a.check();
    b.op(delete_op("k"), 4).expect("deleted");
    assert_eq!(trash(&b), ["k"]);
    b.check();
}

#[test]
fn a_key_that_is_put_and_deleted_at_once_is_as_new_in_the_trash() {
    let day = 24 * 60 * 60 * 1_000;
    let rules = Keep { trash_keep: 30 * day, trash_forget: 60 * day, ..keep(9, 9) };
    for emptied in [false, true] {
        let bench = Bench::new();
        bench.put("k", "old", 1);
        bench.delete("k", 1);
        let again = if emptied { 45 * day } else { 29 * day };
        bench.collect(rules, u64::MAX, again);
        bench.batch(vec![put_op("k", "new"), delete_op("k")], again).expect("both");
        bench.collect(rules, u64::MAX, again + 29 * day);
        bench.check();
        bench.op(restore("k"), again + 29 * day).expect("restored");
        assert_eq!(bench.get("k").expect("found"), "new");
    }
}
