//! Lists come in pages that together are the whole.

use keepboth_core::name::Key;
use keepboth_store::Listed;

use crate::harness::{Bench, in_conflict, key, text};

fn pages(bench: &Bench, prefix: &str, items: usize, bytes: usize) -> Vec<Vec<Listed>> {
    let snapshot = bench.store.snapshot();
    let (mut pages, mut after): (_, Option<Key>) = (Vec::new(), None);
    loop {
        let page = snapshot.list(prefix, after.as_ref(), items, bytes, true).expect("a page");
        pages.push(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return pages,
        }
    }
}

fn names(pages: &[Vec<Listed>]) -> Vec<String> {
    pages.iter().flatten().map(|item| item.name.to_string()).collect()
}

#[test]
fn pages_of_any_size_give_all_keys_of_a_prefix_in_order() {
    let bench = Bench::new();
    for at in ["b/2", "a/1", "b/1", "c", "b", "b/3", "б"] {
        bench.put(at, at, 1);
    }
    bench.delete("b/2", 2);
    for limit in [1, 2, 3, 100] {
        assert_eq!(names(&pages(&bench, "b/", limit, 1_000)), ["b/1", "b/3"]);
        assert_eq!(names(&pages(&bench, "", limit, 1_000)), ["a/1", "b", "b/1", "b/3", "c", "б"]);
    }
    assert!(names(&pages(&bench, "nothing", 10, 10)).is_empty());
    let page =
        bench.store.snapshot().list("b/", Some(&key("a")), 10, 1_000, false).expect("a page");
    assert_eq!((page.items.len(), page.next), (2, None), "after may stand before the prefix");
    assert!(page.items[0].value.is_none());
}

#[test]
fn a_page_ends_before_the_bytes_run_over_but_never_stays_empty() {
    let bench = Bench::new();
    for at in ["a", "b", "c", "d"] {
        bench.put(at, "0123456789", 1);
    }
    let sizes: Vec<usize> = pages(&bench, "", 100, 22).iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2]);
    assert_eq!(pages(&bench, "", 100, 1).len(), 4);
}

#[test]
fn sides_and_detached_objects_are_listed_under_their_addresses_and_marked() {
    let (a, _) = in_conflict();
    let sides = pages(&a, "", 1, 1_000);
    assert_eq!(sides.len(), 1, "objects of one key stay together");
    assert!(sides[0].iter().all(|item| item.conflict && !item.detached && item.key == key("k")));
    let mut listed = names(&sides);
    listed.sort();
    let addresses: Vec<String> = a.addresses("k").iter().map(ToString::to_string).collect();
    assert_eq!(listed, addresses);
    a.put("k", "anew", 9);
    let items = pages(&a, "", 10, 1_000).concat();
    let marks: Vec<(bool, bool)> =
        items.iter().map(|item| (item.conflict, item.detached)).collect();
    assert_eq!(marks, [(false, false), (false, true), (false, true)]);
    assert_eq!((items[0].name.to_string().as_str(), &items[0].value), ("k", &Some(text("anew"))));
}

#[test]
fn keys_in_conflict_come_in_pages() {
    let (a, b) = (Bench::new(), Bench::new());
    for at in ["x", "y", "z"] {
        a.put(at, "mine", 1);
        b.put(at, "theirs", 2);
        a.learn(&b, at);
    }
    let snapshot = a.store.snapshot();
    let first = snapshot.conflicts(None, 2).expect("a page");
    assert_eq!(first.next, Some(key("y")));
    let last = snapshot.conflicts(first.next.as_ref(), 2).expect("a page");
    assert_eq!((last.items.len(), last.next), (1, None));
    assert_eq!(last.items[0].shown.len(), 2);
}
