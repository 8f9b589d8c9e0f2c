//! The queue has a bound, and closing answers everything that is in it.

use std::sync::mpsc;

use keepboth_store::{Options, Task};

use crate::harness::{Bench, name, put_op};

fn put(at: &str, done: keepboth_store::task::Done<Vec<keepboth_store::Written>>) -> Task {
    Task::Local { ops: vec![put_op(at, "x")], now: 1, done }
}

#[test]
fn closing_answers_what_is_in_the_queue_and_gives_back_what_comes_later() {
    let bench = Bench::new();
    let answers: Vec<_> =
        (0..100).map(|n| bench.later(move |done| put(&format!("k{n}"), done))).collect();
    bench.store.close();
    for answer in answers {
        answer.recv().expect("an answer").expect("a put");
    }
    assert!(bench.store.submit_blocking(put("late", Box::new(|_| {}))).is_err());
    bench.store.close();
    let refusal = bench.store.snapshot().get(&name("never read before"));
    assert!(refusal.is_err());
}

#[test]
fn the_last_clone_closes_the_store_also_on_the_commit_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.redb");
    let Bench { store, .. } = Bench::file(&path);
    let (sender, receiver) = mpsc::channel();
    let last = store.clone();
    let done = Box::new(move |outcome| {
        drop(last);
        let _ = sender.send(outcome);
    });
    store.submit_blocking(put("k", done)).expect("open");
    drop(store);
    receiver.recv().expect("an answer").expect("a put");
}

#[tokio::test]
async fn a_task_waits_for_room_and_is_not_lost() {
    let bench = Bench::with(Options { queue_tasks_max: 1, ..Options::default() });
    let (open, wait) = mpsc::channel::<()>();
    let (here, arrived) = mpsc::channel::<()>();
    let hold = move |_| {
        here.send(()).expect("somebody waits");
        wait.recv().expect("opened");
    };
    let held = Task::Local { ops: Vec::new(), now: 0, done: Box::new(hold) };
    bench.store.submit(held).await.expect("open");
    arrived.recv().expect("held");
    bench.store.submit(put("second", Box::new(|_| {}))).await.expect("room for one");
    let (sender, answer) = mpsc::channel();
    let third = put("third", Box::new(move |outcome| sender.send(outcome).expect("waiting")));
    let store = bench.store.clone();
    let third = tokio::spawn(async move { store.submit(third).await });
    tokio::task::yield_now().await;
    assert!(!third.is_finished(), "the queue is full");
    open.send(()).expect("waiting");
    third.await.expect("sent").expect("open");
    answer.recv().expect("an answer").expect("a put");
    assert!(bench.get("second").is_ok() && bench.get("third").is_ok());
}

#[test]
fn a_panic_in_somebody_elses_answer_does_not_stop_the_store() {
    let bench = Bench::new();
    let done = Box::new(|_| panic!("a bug elsewhere"));
    bench.store.submit_blocking(put("k", done)).expect("open");
    bench.put("l", "x", 1);
    assert!(bench.get("k").is_ok());
}

#[test]
fn a_group_ends_at_its_bounds() {
    let bench = Bench::with(Options { group_tasks_max: 3, ..Options::default() });
    let answers: Vec<_> =
        (0..20).map(|n| bench.later(move |done| put(&format!("k{n}"), done))).collect();
    for answer in answers {
        answer.recv().expect("an answer").expect("a put");
    }
    assert!(bench.commits().iter().all(|commit| commit.changes.len() <= 3));
    bench.check();
}
