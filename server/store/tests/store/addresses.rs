//! What an address means for readers: its object now, several, gone, or nothing here.

use keepboth_core::name::Name;
use keepboth_core::refusal::Code;

use crate::harness::{Bench, address, code, in_conflict, key, name};

#[test]
fn the_address_of_an_ordinary_object_finds_it_under_its_key() {
    let bench = Bench::new();
    let first = bench.put("k", "one", 1);
    let second = bench.put("k", "two", 2);
    for version in [first.version, second.version] {
        let found =
            bench.store.snapshot().get(&Name::Address(address("k", &version))).expect("found");
        assert_eq!((found.key, found.name), (key("k"), name("k")));
        assert_eq!(found.version, second.version);
    }
    bench.delete("k", 3);
    assert_eq!(code(bench.get(&address("k", &first.version).to_string())), Code::NotFound);
    bench.put("k", "three", 4);
    assert_eq!(bench.get(&address("k", &first.version).to_string()).expect("found"), "three");
}

#[test]
fn a_side_is_found_under_its_address_during_the_conflict_and_after_it() {
    let (a, _) = in_conflict();
    let sides = a.addresses("k");
    for side in &sides {
        let found = a.store.snapshot().get(&Name::Address(*side)).expect("a side");
        assert_eq!(found.name, Name::Address(*side));
    }
    a.resolve("k", "both").expect("resolved");
    for side in &sides {
        let found = a.store.snapshot().get(&Name::Address(*side)).expect("a former side");
        assert_eq!(found.name, name("k"), "it has the key's name now");
        assert_eq!(a.get(&side.to_string()).expect("found"), "both");
    }
    a.put(&sides[1].to_string(), "through a former address", 9);
    assert_eq!(a.get("k").expect("found"), "through a former address");
    a.check();
}

#[test]
fn an_address_below_a_fork_means_several_objects_and_names_them() {
    let (a, _) = in_conflict();
    let history = a.store.snapshot().load_history(&key("k")).expect("read").expect("there");
    let base = address("k", &history.at(0).id).to_string();
    let refusal = a.store.snapshot().get(&name(&base)).expect_err("several");
    assert_eq!((refusal.code, &refusal.addresses), (Code::InConflict, &a.addresses("k")));
    assert_eq!(code(a.op(crate::harness::put_op(&base, "x"), 9)), Code::InConflict);
    for side in a.addresses("k") {
        a.delete(&side.to_string(), 9);
    }
    assert_eq!(code(a.get(&base)), Code::NotFound);
    a.check();
}

#[test]
fn an_address_of_nothing_here_is_not_found() {
    let bench = Bench::new();
    bench.put("k", "one", 1);
    assert_eq!(code(bench.get(&"00".repeat(32))), Code::NotFound);
    let other = address("k", &keepboth_core::ids::VersionId([9; 32])).to_string();
    assert_eq!(code(bench.get(&other)), Code::NotFound);
    assert_eq!(bench.store.snapshot().key_of(&name(&other)).expect("read"), Some(key("k")));
    assert_eq!(bench.store.snapshot().key_of(&name(&"00".repeat(32))).expect("read"), None);
}
