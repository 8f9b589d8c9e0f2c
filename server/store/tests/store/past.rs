//! What was: versions newest first, and the value of each.

use keepboth_core::refusal::Code;
use keepboth_core::value::Kind;
use keepboth_core::version::Change;

use crate::harness::{Bench, address, code, in_conflict, name, text};

#[test]
fn a_history_is_read_newest_first_in_pages() {
    let bench = Bench::new();
    let first = bench.put("k", "one", 1);
    bench.put("other", "x", 2);
    bench.put("k", "three", 3);
    bench.delete("k", 4);
    let snapshot = bench.store.snapshot();
    let whole = snapshot.history(&name("k"), None, 10).expect("a page");
    let seen: Vec<_> = whole.items.iter().map(|v| (v.sequence, v.change, v.value)).collect();
    let string = |bytes| Some((Kind::String, bytes));
    assert_eq!(
        seen,
        [(4, Change::Delete, None), (3, Change::Put, string(5)), (1, Change::Put, string(3))]
    );
    assert!(whole.items[0].head && whole.items[0].main && !whole.items[1].head);
    assert_eq!((whole.next, whole.items[2].parents.len()), (None, 0));
    let (mut after, mut sequences) = (None, Vec::new());
    loop {
        let page = snapshot.history(&name("k"), after, 1).expect("a page");
        sequences.extend(page.items.iter().map(|v| v.sequence));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(sequences, [4, 3, 1]);
    let by_address = snapshot.history(&name(&address("k", &first.version).to_string()), None, 10);
    assert_eq!(by_address.expect("a page"), whole);
    assert_eq!(code(snapshot.history(&name("never"), None, 10)), Code::NotFound);
    for after in [0, 2, 99] {
        assert_eq!(code(snapshot.history(&name("k"), Some(after), 10)), Code::BadCursor);
    }
}

#[test]
fn the_value_of_any_put_of_the_history_can_be_read() {
    let bench = Bench::new();
    let one = bench.put("k", "one", 1);
    let gone = bench.delete("k", 2);
    let other = bench.put("other", "x", 3);
    let snapshot = bench.store.snapshot();
    assert_eq!(snapshot.value_of(&name("k"), &one.version), Ok(text("one")));
    for version in [gone.version, other.version] {
        assert_eq!(code(snapshot.value_of(&name("k"), &version)), Code::NotFound);
    }
}

#[test]
fn heads_off_the_main_line_are_told_from_those_on_it() {
    let (a, _) = in_conflict();
    a.put("k", "anew", 9);
    let page = a.store.snapshot().history(&name("k"), None, 10).expect("a page");
    let marks: Vec<_> = page.items.iter().map(|v| (v.change, v.head, v.main)).collect();
    let put = Change::Put;
    assert_eq!(
        marks,
        [
            (put, true, true),
            (Change::Split, false, false),
            (put, true, false),
            (put, true, false),
            (put, false, false)
        ]
    );
}
