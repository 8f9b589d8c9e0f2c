//! Every line of the table of writes, through the store.

use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Options, Resolution};

use crate::harness::{Bench, address, code, delete_op, in_conflict, key, name, put_op, text};

#[test]
fn a_put_at_a_new_key_makes_a_first_version() {
    let bench = Bench::new();
    let written = bench.put("k", "one", 5);
    assert_eq!((written.sequence, written.change), (1, Change::Put));
    let found = bench.store.snapshot().get(&name("k")).expect("found");
    assert_eq!(found.value, text("one"));
    assert_eq!((found.timestamp, found.origin), (5, bench.store.id()));
    assert_eq!((found.version, found.sequence), (written.version, 1));
    let history = bench.store.snapshot().load_history(&key("k")).expect("read").expect("there");
    assert!(history.at(0).is_first());
    bench.check();
}

#[test]
fn a_put_at_a_key_is_an_update_of_its_head() {
    let bench = Bench::new();
    let first = bench.put("k", "one", 5);
    bench.put("k", "two", 6);
    assert_eq!(bench.get("k").expect("found"), "two");
    let history = bench.store.snapshot().load_history(&key("k")).expect("read").expect("there");
    assert_eq!(history.at(1).parents[..], [first.version]);
    bench.check();
}

#[test]
fn a_put_at_a_key_in_conflict_starts_it_anew_and_keeps_both_sides() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    assert_eq!(sides.len(), 2);
    a.commits();
    let written = a.put("k", "anew", 9);
    assert!(written.conflict_ended);
    assert_eq!(a.get("k").expect("found"), "anew");
    let mut values: Vec<String> =
        sides.iter().map(|side| a.get(&side.to_string()).expect("a side")).collect();
    values.sort();
    assert_eq!(values, ["mine", "theirs"]);
    let changes = a.changes();
    let made: Vec<Change> = changes[0].made.iter().map(|event| event.version.change).collect();
    assert_eq!(made, [Change::Split, Change::Put], "both in one change, parents first");
    assert_eq!(written.sequence, changes[0].state.sequence);
    a.check();
}

#[test]
fn a_put_at_an_address_updates_that_side_alone() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    a.put(&sides[0].to_string(), "changed", 9);
    assert_eq!(a.addresses("k"), sides, "the names stay");
    assert_eq!(a.get(&sides[0].to_string()).expect("a side"), "changed");
    assert_eq!(code(a.get("k")), Code::InConflict);
    a.check();
}

#[test]
fn a_put_at_an_address_unknown_here_is_refused_and_says_what_64_hex_characters_are() {
    let bench = Bench::new();
    bench.put("k", "one", 5);
    for at in [
        "ab".repeat(32),
        format!("{}{}", &address("k", &keepboth_core::ids::VersionId([7; 32])), ""),
    ] {
        let refusal = bench.op(put_op(&at, "x"), 6).expect_err("refused");
        assert_eq!(refusal.code, Code::NotFound);
        assert!(refusal.hint.expect("a hint").contains("64 hex characters are always an address"));
        assert_eq!(code(bench.put_if(&at, "x", Condition::Absent)), Code::ReservedKey);
        assert_eq!(code(bench.op(delete_op(&at), 6)), Code::NotFound);
    }
}

#[test]
fn a_delete_needs_one_object() {
    let (a, _) = in_conflict();
    let refusal = a.op(delete_op("k"), 9).expect_err("in conflict");
    assert_eq!((refusal.code, refusal.addresses), (Code::InConflict, a.addresses("k")));
    assert_eq!(code(a.op(delete_op("never"), 9)), Code::NotFound);
    a.put("once", "x", 9);
    let written = a.delete("once", 9);
    assert_eq!(written.change, Change::Delete);
    assert_eq!(code(a.op(delete_op("once"), 9)), Code::NotFound);
    assert_eq!(code(a.get("once")), Code::NotFound);
    a.check();
}

#[test]
fn deleting_all_sides_but_one_ends_the_conflict() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    let kept = a.get(&sides[1].to_string()).expect("a side");
    assert!(a.delete(&sides[0].to_string(), 9).conflict_ended);
    assert_eq!(a.get("k").expect("found"), kept);
    assert_eq!(code(a.get(&sides[0].to_string())), Code::NotFound);
    a.check();
}

#[test]
fn resolving_merges_all_sides_with_a_value_or_a_sides() {
    let (a, _) = in_conflict();
    let conflict = a.store.snapshot().conflict(&key("k")).expect("in conflict");
    let written = a.resolve("k", "both").expect("resolved");
    assert!(written.conflict_ended);
    assert_eq!(a.get("k").expect("found"), "both");
    let (b, _) = in_conflict();
    let side = b.addresses("k")[1];
    let value = b.get(&side.to_string()).expect("a side");
    let conflict = Some(conflict.id);
    let with = Resolution::Side(side);
    b.op(Op::Resolve { key: key("k"), with, conflict }, 9).expect("resolved");
    assert_eq!(b.get("k").expect("found"), value);
    a.check();
    b.check();
}

#[test]
fn resolving_needs_a_conflict_with_the_sides_that_the_writer_saw() {
    let (a, b) = in_conflict();
    assert_eq!(code(b.resolve("k", "x")), Code::NoConflict);
    assert_eq!(code(b.resolve("never", "x")), Code::NoConflict);
    let seen = a.store.snapshot().conflict(&key("k")).expect("in conflict").id;
    let third = Bench::new();
    third.put("k", "third", 4);
    a.learn(&third, "k");
    let with = Resolution::Value(text("x"));
    let op = Op::Resolve { key: key("k"), with, conflict: Some(seen) };
    let refusal = a.op(op, 9).expect_err("other sides");
    assert_eq!((refusal.code, refusal.addresses.len()), (Code::VersionMismatch, 3));
    let elsewhere = Resolution::Side(address("other", &keepboth_core::ids::VersionId([1; 32])));
    let op = Op::Resolve { key: key("k"), with: elsewhere, conflict: None };
    assert_eq!(code(a.op(op, 9)), Code::NotFound);
    a.check();
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing() {
    let bench = Bench::new();
    let one = bench.put_if("k", "one", Condition::Absent).expect("absent");
    assert_eq!(code(bench.put_if("k", "x", Condition::Absent)), Code::VersionMismatch);
    let two = bench.put_if("k", "two", Condition::Is(one.version)).expect("is");
    let refusal = bench.put_if("k", "x", Condition::Is(one.version)).expect_err("was");
    assert_eq!((refusal.code, refusal.version), (Code::VersionMismatch, Some(two.version)));
    assert_eq!(bench.get("k").expect("found"), "two");
    assert_eq!(bench.store.counts().last_sequence, 2);
    let (a, _) = in_conflict();
    let refusal = a.put_if("k", "x", Condition::Is(one.version)).expect_err("in conflict");
    assert_eq!((refusal.code, refusal.addresses.len()), (Code::VersionMismatch, 2));
}

#[test]
fn reverting_puts_an_earlier_value_again() {
    let bench = Bench::new();
    let one = bench.put("k", "one", 5);
    let two = bench.put("k", "two", 6);
    let gone = bench.delete("k", 7);
    let revert = |version| Op::Revert { name: name("k"), version, condition: Condition::None };
    bench.op(revert(one.version), 8).expect("reverted");
    assert_eq!(bench.get("k").expect("found"), "one");
    assert_eq!(
        bench.store.snapshot().load_history(&key("k")).expect("read").expect("there").len(),
        4
    );
    assert_eq!(code(bench.op(revert(gone.version), 8)), Code::NotFound);
    let other = bench.put("other", "x", 8);
    assert_eq!(code(bench.op(revert(other.version), 8)), Code::NotFound);
    let at = address("k", &one.version).to_string();
    let by_address =
        Op::Revert { name: name(&at), version: two.version, condition: Condition::None };
    bench.op(by_address, 9).expect("reverted");
    assert_eq!(bench.get("k").expect("found"), "two");
    bench.check();
}

#[test]
fn a_value_over_the_limit_is_refused_at_the_write() {
    let bench = Bench::with(Options { value_bytes_max: 10, ..Options::default() });
    let refusal = bench.op(put_op("k", "eleven char"), 1).expect_err("too large");
    assert_eq!(refusal.message, "value is 11 bytes at the write, the limit is 10 bytes");
    let whole = Bench::new();
    let put = |bytes: usize| Op::Put {
        name: name("k"),
        value: Value::bytes(vec![7; bytes]),
        condition: Condition::None,
    };
    whole.op(put(65_536), 1).expect("the largest");
    assert_eq!(code(whole.op(put(65_537), 2)), Code::ValueTooLarge);
    whole.check();
}

#[test]
fn equal_resolutions_on_two_stores_are_one_version() {
    let (a, b) = in_conflict();
    b.learn(&a, "k");
    let mine = a.resolve("k", "same").expect("resolved");
    let theirs = b.resolve("k", "same").expect("resolved");
    assert_eq!(mine.version, theirs.version);
    a.learn(&b, "k");
    assert_eq!(a.get("k").expect("found"), "same");
    assert_eq!(a.store.root(), b.store.root());
}
