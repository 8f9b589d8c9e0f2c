//! Limits of a namespace: a writer is refused with the figures, what a peer sends is quarantined.

use keepboth_core::refusal::Code;
use keepboth_store::{Options, Received, Verdict};

use crate::harness::{Bench, code, delete_op, put_op};

fn small() -> Bench {
    Bench::with(Options { objects_max: Some(2), bytes_max: Some(20), ..Options::default() })
}

#[test]
fn a_write_that_adds_an_object_too_many_is_refused_and_a_delete_makes_room() {
    let bench = small();
    bench.put("a", "1", 1);
    bench.put("b", "1", 1);
    let refusal = bench.op(put_op("c", "1"), 2).expect_err("too many");
    assert_eq!(refusal.code, Code::QuotaExceeded);
    assert_eq!(refusal.message, "the namespace would have 3 objects, the limit is 2");
    bench.put("a", "2", 3);
    bench.delete("a", 4);
    bench.put("c", "1", 5);
    assert_eq!(
        code(bench.batch(vec![delete_op("c"), put_op("c", "2"), put_op("d", "1")], 6)),
        Code::QuotaExceeded
    );
    bench.check();
}

#[test]
fn bytes_count_with_earlier_values_and_what_is_raised_at_run_time_holds_at_once() {
    let bench = small();
    bench.put("a", "0123456789", 1);
    let refusal = bench.op(put_op("a", "01234567890"), 2).expect_err("too many");
    assert_eq!(refusal.message, "the values of the namespace would have 21 bytes, the limit is 20");
    bench.put("a", "0123456789", 2);
    assert_eq!(code(bench.op(put_op("a", "x"), 3)), Code::QuotaExceeded);
    bench.delete("a", 3);
    bench.store.set_options(Options { bytes_max: Some(21), ..(*bench.store.options()).clone() });
    bench.put("a", "x", 4);
    assert_eq!(bench.store.counts().value_bytes, 21);
    bench.check();
}

#[test]
fn what_a_peer_sends_beyond_the_limits_is_quarantined() {
    let (a, b) = (Bench::new(), small());
    for at in ["a", "b", "c"] {
        a.put(at, "1", 1);
        b.learn(&a, at);
    }
    assert_eq!((a.store.root(), b.store.counts().objects), (b.store.root(), 2));
    a.put("a", &"x".repeat(19), 2);
    assert!(
        matches!(&b.learn(&a, "a")[1], Received::Quarantined(r) if r.code == Code::QuotaExceeded)
    );
    assert_eq!((b.get("a").expect("found"), b.store.counts().quarantined), ("1".into(), 2));
    assert_eq!(a.store.root(), b.store.root());
    b.check();
    assert!(b.judge("a", a.tips("a")[0], Verdict::Admit), "who judges may go beyond");
    assert_eq!(b.get("a"), a.get("a"));
    b.check();
}
