//! A task that comes alone may be committed on the thread that brings it, and overtakes nobody.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use keepboth_core::refusal::Refusal;
use keepboth_store::{Options, Store, Task, Written};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Bench, namespace, put_op};

type Outcome = Result<Vec<Written>, Refusal>;

fn put(at: &str, value: &str) -> (Task, mpsc::Receiver<Outcome>) {
    let (sender, answer) = mpsc::channel();
    let done = Box::new(move |outcome| drop(sender.send(outcome)));
    (Task::Local { ops: vec![put_op(at, value)], now: 1, done }, answer)
}

/// Commits here if the store lets us; true if it did.
fn put_here(store: &Store, at: &str, value: &str) -> (Written, bool) {
    let (task, answer) = put(at, value);
    let here = match store.commit_here(task) {
        Ok(rest) => {
            drop(rest);
            true
        }
        Err(task) => {
            store.submit_blocking(task).expect("open");
            false
        }
    };
    let mut written = answer.recv().expect("an answer").expect("a put");
    (written.pop().expect("one entry"), here)
}

#[test]
fn a_task_that_comes_alone_is_committed_and_told_on_the_thread_that_brings_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let store = Store::in_memory(&namespace(), Options::default(), move |_| {
        tell.lock().expect("threads").push(thread::current().id());
    });
    let store = store.expect("a store");
    // A commit that took long is followed by one on the commit thread.
    let here: Vec<bool> = (0..200).map(|n| put_here(&store, "k", &n.to_string()).1).collect();
    assert!(here.iter().any(|here| *here), "none of 200 was committed here");
    store.close();
    let told = told.lock().expect("threads");
    let me = thread::current().id();
    assert_eq!(told.iter().map(|told| *told == me).collect::<Vec<_>>(), here);
}

#[test]
fn others_are_told_of_a_commit_when_its_rest_is_dropped_and_before_the_next_commit_at_the_latest() {
    let (tell, told) = mpsc::channel();
    let store = Store::in_memory(&namespace(), Options::default(), move |commit| {
        tell.send(commit.counts.last_sequence).expect("the test waits");
    });
    let store = store.expect("a store");
    let here = |value: &str| loop {
        let (task, answer) = put("k", value);
        let rest = match store.commit_here(task) {
            Ok(rest) => Some(rest),
            Err(task) => store.submit_blocking(task).map(|()| None).expect("open"),
        };
        let written = answer.recv().expect("an answer").expect("a put");
        match rest {
            Some(rest) => return (rest, written[0].sequence),
            // It was told of by the commit thread.
            None => assert_eq!(told.recv(), Ok(written[0].sequence)),
        }
    };
    let (rest, first) = here("first");
    assert!(told.try_recv().is_err(), "told before its rest is done");
    drop(rest);
    assert_eq!(told.recv(), Ok(first));

    let (kept, second) = here("second");
    let (task, answer) = put("k", "third");
    store.submit_blocking(task).expect("open");
    let third = answer.recv().expect("an answer").expect("a put")[0].sequence;
    drop(kept);
    assert_eq!([told.recv(), told.recv()], [Ok(second), Ok(third)]);

    let (kept, last) = here("last");
    store.close();
    assert_eq!(told.try_recv(), Ok(last));
    drop(kept);
    assert!(told.try_recv().is_err(), "told twice");
}

/// Holds the commit thread until the sender is used, or dropped.
fn hold(store: &Store) -> mpsc::Sender<()> {
    let (open, wait) = mpsc::channel::<()>();
    let (came, arrived) = mpsc::channel::<()>();
    let hold = move |_| {
        came.send(()).expect("somebody waits");
        let _ = wait.recv();
    };
    let held = Task::Local { ops: Vec::new(), now: 0, done: Box::new(hold) };
    store.submit_blocking(held).expect("open");
    arrived.recv().expect("held");
    open
}

#[test]
fn while_others_are_committed_or_wait_a_task_is_given_back() {
    let bench = Bench::new();
    let held = hold(&bench.store);
    let (second, answer) = put("k", "second");
    bench.store.submit_blocking(second).expect("open");
    let (third, _) = put("k", "third");
    assert!(!bench.store.is_idle());
    assert!(bench.store.commit_here(third).is_err(), "it would overtake the second");
    drop(held);
    answer.recv().expect("an answer").expect("a put");
    assert_eq!(bench.get("k").expect("found"), "second");
    bench.store.close();
    let (late, _) = put("k", "late");
    assert!(bench.store.commit_here(late).is_err(), "the store is closed");
}

#[test]
fn after_a_group_of_several_tasks_the_next_waits_for_company() {
    let bench = Bench::new();
    let held = hold(&bench.store);
    let answers = ["a", "b", "c"].map(|at| {
        let (task, answer) = put(at, "x");
        bench.store.submit_blocking(task).expect("open");
        answer
    });
    drop(held);
    for answer in answers {
        answer.recv().expect("an answer").expect("a put");
    }
    let (next, _) = put("d", "x");
    assert!(bench.store.commit_here(next).is_err(), "others may come as the three did");
}

#[test]
fn each_threads_tasks_keep_their_order_whichever_way_they_go() {
    for seed in 0..5 {
        order(seed);
    }
}

fn order(seed: u64) {
    let bench = Bench::new();
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let store = bench.store.clone();
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed * 4 + number);
                let (mut waiting, mut last) = (Vec::new(), 0);
                for n in 0..300 {
                    let (task, answer) = put(&format!("k{number}"), &n.to_string());
                    waiting.push(answer);
                    let here = rng.random_bool(0.7);
                    let task = if here { store.commit_here(task) } else { Err(task) };
                    task.map(drop).or_else(|task| store.submit_blocking(task)).expect("open");
                    if rng.random_bool(0.3) {
                        for answer in waiting.drain(..) {
                            let written = answer.recv().expect("an answer").expect("a put");
                            assert!(
                                written[0].sequence > last,
                                "seed {seed}: thread {number}, put {n}"
                            );
                            last = written[0].sequence;
                        }
                    }
                }
            });
        }
    });
    let commits = bench.commits();
    let sequences: Vec<u64> = commits
        .iter()
        .flat_map(|commit| commit.changes.iter().map(|change| change.state.sequence))
        .collect();
    assert_eq!(sequences.len(), 1_200);
    assert!(sequences.is_sorted(), "commits are told in their order");
}
