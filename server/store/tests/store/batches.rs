//! A batch is all or nothing, while others in the same transaction go on.

use std::sync::{Arc, Mutex};

use keepboth_core::refusal::Code;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Resolution, Task};

use crate::harness::{Bench, address, code, delete_op, in_conflict, key, name, put_op, text};

#[test]
fn later_writes_of_a_batch_see_the_earlier_ones() {
    let bench = Bench::new();
    let ops = vec![
        put_op("k", "one"),
        put_op("k", "two"),
        delete_op("k"),
        put_op("k", "three"),
        put_op("l", "x"),
    ];
    let written = bench.batch(ops, 5).expect("a batch");
    assert_eq!(written.iter().map(|w| w.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(bench.get("k").expect("found"), "three");
    assert_eq!(bench.commits().len(), 1, "one transaction");
    bench.check();
}

#[test]
fn a_refused_batch_leaves_no_trace() {
    let bench = Bench::new();
    bench.put("k", "old", 1);
    let before = bench.store.root();
    bench.commits();
    let ops = vec![
        put_op("k", "new"),
        put_op("fresh", "x"),
        delete_op("k"),
        delete_op("never there"),
        put_op("unseen", "y"),
    ];
    let refusal = bench.batch(ops, 5).expect_err("refused");
    assert_eq!(refusal.code, Code::NotFound);
    assert!(refusal.message.starts_with("operation 3: "), "{refusal}");
    assert_eq!(bench.get("k").expect("found"), "old");
    assert_eq!(code(bench.get("fresh")), Code::NotFound);
    assert_eq!(bench.store.root(), before);
    assert!(bench.commits().is_empty(), "nobody hears of it");
    assert_eq!(bench.put("next", "z", 6).sequence, 2, "no sequence is lost");
    bench.check();
}

#[test]
fn a_refused_batch_does_not_hold_up_its_neighbours() {
    let bench = Bench::new();
    bench.put("k", "old", 1);
    bench.commits();
    let answers = bench.group(
        vec![
            vec![put_op("k", "first")],
            vec![put_op("k", "undone"), put_op("new", "undone"), delete_op("never")],
            vec![put_op("k", "last"), put_op("new", "done")],
        ],
        7,
    );
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, true, false]);
    let commits = bench.commits();
    assert_eq!(commits.len(), 1, "one transaction");
    let values: Vec<_> = commits[0].changes.iter().map(|c| c.made[0].value.clone()).collect();
    assert_eq!(values, [Some(text("first")), Some(text("last")), Some(text("done"))]);
    assert_eq!(
        (bench.get("k").expect("found").as_str(), bench.get("new").expect("found").as_str()),
        ("last", "done")
    );
    bench.check();
}

#[test]
fn a_refused_batch_leaves_no_trace_in_a_history_that_its_neighbours_use() {
    let (a, _) = in_conflict();
    let [left, right] = [0, 1].map(|side| a.addresses("k")[side].to_string());
    let answers = a.group(
        vec![
            vec![put_op(&left, "undone"), put_op("k", "undone"), delete_op("never")],
            vec![put_op(&right, "right"), put_op(&left, "left")],
            vec![delete_op(&left), delete_op("never")],
        ],
        9,
    );
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [true, false, true]);
    a.check();
    let values = [a.get(&left).expect("a side"), a.get(&right).expect("a side")];
    assert_eq!(values, ["left", "right"]);
}

#[test]
fn a_refused_batch_takes_back_conflicts_and_addresses_too() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    let ops = vec![
        put_op(&sides[0].to_string(), "changed"),
        put_op("k", "anew"),
        put_op("made", "x"),
        Op::Resolve { key: key("k"), with: Resolution::Value(text("x")), conflict: None },
    ];
    assert_eq!(code(a.batch(ops, 9)), Code::NoConflict);
    assert_eq!(a.addresses("k"), sides);
    let values: Vec<String> =
        sides.iter().map(|s| a.get(&s.to_string()).expect("a side")).collect();
    assert!(values.contains(&"mine".into()) && values.contains(&"theirs".into()));
    a.check();
    // A made address is unknown again.
    let made = a.put("made", "x", 9);
    assert_eq!(a.get(&address("made", &made.version).to_string()).expect("found"), "x");
    a.check();
}

#[test]
fn a_batch_can_use_the_address_of_what_it_made() {
    let bench = Bench::new();
    let made = Bench::new().put("k", "one", 5).version;
    let at = address("k", &made);
    let ops = vec![
        put_op("k", "one"),
        put_op(&at.to_string(), "two"),
        Op::Revert { name: name("k"), version: made, condition: Condition::None },
        put_op("k", "three"),
        put_op(&at.to_string(), "four"),
    ];
    bench.batch(ops, 5).expect("a batch");
    assert_eq!(bench.get("k").expect("found"), "four");
    bench.check();
}

#[test]
fn commits_are_told_after_answers_and_durable_before_them() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let told = order.clone();
    let bench = Bench::start(|_| {
        keepboth_store::Store::in_memory(
            &crate::harness::namespace(),
            keepboth_store::Options::default(),
            move |_| told.lock().expect("order").push("told"),
        )
    })
    .expect("a store");
    let (answered, store) = (order.clone(), bench.store.clone());
    bench
        .ask(|done| Task::Local {
            ops: vec![put_op("k", "one")],
            now: 1,
            done: Box::new(move |outcome| {
                assert!(
                    store.snapshot().get(&name("k")).is_ok(),
                    "readers see it before the answer"
                );
                answered.lock().expect("order").push("answered");
                done(outcome);
            }),
        })
        .expect("a put");
    bench.batch(Vec::new(), 2).expect("nothing");
    assert_eq!(*order.lock().expect("order"), ["answered", "told"]);
}
