//! A panic while something is committed, as redb has them on damaged pages: nothing is left without an answer,
//! nothing more is written, and what is there can still be read.

use std::sync::mpsc;

use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::Task;

use crate::harness::{Bench, code, put_op};
use crate::simulated::Disk;

/// A store with an object, whose next commit panics.
fn about_to_panic() -> Bench {
    let disk = Disk::default();
    let bench = disk.open();
    bench.put("k", "there", 1);
    disk.panic_at_writes();
    bench
}

#[test]
fn a_panic_in_a_commit_leaves_no_write_without_an_answer() {
    let bench = about_to_panic();
    let outcomes = bench.group(vec![vec![put_op("a", "x")], vec![put_op("b", "x")]], 2);
    for outcome in outcomes {
        let refusal = outcome.expect_err("a refusal");
        assert_eq!(refusal.code, Code::StoreFailed);
        assert!(refusal.message.contains("unknown"), "{refusal}");
    }
    assert!(!bench.store.is_healthy());
}

#[test]
fn after_a_panic_in_a_commit_what_is_there_is_read_and_nothing_more_is_written() {
    let bench = about_to_panic();
    assert_eq!(code(bench.batch(vec![put_op("k", "changed")], 2)), Code::StoreFailed);
    assert_eq!(bench.get("k").expect("still there"), "there");
    // It waited when the thread that commits gave up, or is given back.
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome| tell.send(code(outcome)).expect("somebody waits"));
    let later = Task::Local { ops: vec![put_op("later", "x")], now: 3, done };
    if let Err(task) = bench.store.submit_blocking(later) {
        task.refuse(Refusal::new(Code::StoreFailed, "given back"));
    }
    assert_eq!(told.recv().expect("an answer"), Code::StoreFailed);
    assert_eq!(code(bench.get("later")), Code::NotFound);
}
