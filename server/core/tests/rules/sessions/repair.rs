//! Where two stores differ, both get what they lack, at a price that is counted.

use keepboth_core::ids::StoreId;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::name::Name;
use keepboth_core::value::Value;
use keepboth_core::version::Event;

use super::{
    GREETING, assert_same, chain, event, give, kinds, notes, number, overhead, pair, print_cost,
    quiet, theirs, update,
};
use keepboth_simulation::network::{Network, Settings};
use keepboth_simulation::replica::key;
use keepboth_simulation::store::{Store, Wish};

/// Two stores that hold these events: built once, for that is the slow part.
fn filled(network: &mut Network, events: &[Event]) {
    let mut store = Store::new(StoreId([9; 16]));
    give(&mut store, events);
    for node in 0..2 {
        let id = network.store(node, &notes()).replica.id;
        *network.store_mut(node, &notes()) = store.clone();
        network.store_mut(node, &notes()).replica.id = id;
    }
}

#[test]
fn two_equal_stores_exchange_only_greetings_and_roots() {
    let mut network = pair();
    let events: Vec<Event> = (0..100).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events);
    give(network.store_mut(1, &notes()), &events);
    network.connect(0, 1);
    quiet(&mut network);
    assert_eq!(kinds(&network), [("root", 2)]);
    assert_same(&network);
}

#[test]
fn a_namespace_in_which_two_nodes_agree_costs_less_than_200_bytes() {
    let cost = |names: &[&str]| {
        let mut network = Network::new(1, 2, names, Settings::default());
        network.connect(0, 1);
        quiet(&mut network);
        assert_eq!(kinds(&network), [("root", 2 * names.len() as u64)]);
        let size = |kind| network.sent.sizes[kind];
        [size("root"), size("hello"), size("notes"), network.sent.bytes]
    };
    let names = ["notes", "tasks", "users", "teams", "books", "plans"];
    let (one, six) = (cost(&names[..1]), cost(&names));
    let [roots, hellos, notes, all] = [0, 1, 2, 3].map(|at| (six[at] - one[at]) / 5);
    print(&format!(
        "a namespace in agreement: {roots} bytes of roots, {hellos} of hellos, {notes} of notes, {all} in all"
    ));
    assert!(roots < 100 && all < 200, "{roots} of {all}");
}

#[expect(clippy::print_stdout, reason = "figures for people")]
fn print(words: &str) {
    println!("{words}");
}

#[test]
fn an_empty_node_gets_everything_in_few_messages() {
    for empty in [0, 1] {
        let mut network = pair();
        let events: Vec<Event> = (0..5_000).map(theirs).collect();
        give(network.store_mut(1 - empty, &notes()), &events);
        network.connect(0, 1);
        quiet(&mut network);
        assert_same(&network);
        print_cost("5,000 keys to an empty node", &network);
        assert_eq!(network.sent.events, 5_000, "each event once");
        assert!(network.sent.largest <= FRAME_BYTES_MAX as u64, "{:?}", network.sent);
        // They come as ranges: no key is named.
        assert!(overhead(&network) < 2_000, "{:?}", network.sent);
        assert!(network.sent.turns < 12, "{:?}", network.sent);
        assert!(!network.sent.kinds.contains_key("offer"), "{:?}", network.sent);
    }
}

#[test]
fn large_values_go_in_messages_that_fit() {
    let mut network = pair();
    let large = |n: usize| Value::bytes(vec![n as u8; 60_000]);
    let events: Vec<Event> =
        (0..50).map(|n| event(&format!("k{n}"), large(n), StoreId([9; 16]))).collect();
    give(network.store_mut(0, &notes()), &events);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert!(network.sent.largest <= FRAME_BYTES_MAX as u64, "{:?}", network.sent);
    assert_eq!(network.sent.events, 50);
}

#[test]
fn disjoint_sets_meet() {
    let mut network = pair();
    let events: Vec<Event> = (0..2_000).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events[..1_000]);
    give(network.store_mut(1, &notes()), &events[1_000..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.sent.events, 2_000, "each event once");
    print_cost("1,000 keys against 1,000 others", &network);
}

#[test]
fn one_differing_key_among_5000_costs_few_messages() {
    for newer in [0, 1] {
        let mut network = pair();
        let events: Vec<Event> = (0..5_000).map(theirs).collect();
        filled(&mut network, &events);
        give(network.store_mut(newer, &notes()), &[update(&events[77], Value::string("new"))]);
        network.connect(0, 1);
        quiet(&mut network);
        assert_same(&network);
        print_cost("one key of 5,000", &network);
        let greeting: u64 = GREETING.iter().map(|kind| network.sent.kinds[kind]).sum();
        assert!(network.sent.messages - greeting <= 12, "{:?}", network.sent);
        assert!(network.sent.bytes <= 8_000, "{:?}", network.sent);
        assert_eq!(network.sent.events, 1);
    }
}

/// A tenth of the size by default; `KEEPBOTH_LARGE=1` runs the whole.
#[test]
fn one_differing_key_in_a_hundred_costs_few_round_trips_and_little_beyond_histories() {
    let large = std::env::var("KEEPBOTH_LARGE").is_ok();
    let count = if large { 100_000 } else { 10_000 };
    let mut network = pair();
    let events: Vec<Event> = (0..count).map(theirs).collect();
    filled(&mut network, &events);
    for (n, old) in events.iter().step_by(100).enumerate() {
        give(network.store_mut(n % 2, &notes()), &[update(old, Value::string("new"))]);
    }
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    print_cost(&format!("{} keys of {count}", count / 100), &network);
    assert_eq!(network.sent.events, count as u64 / 100, "each event once");
    assert!(network.sent.turns < 20, "round trips: {:?}", network.sent);
    let most = 1024 * 1024 * count as u64 / 100_000;
    assert!(overhead(&network) < most, "{:?}", network.sent);
    assert!(network.sent.largest <= FRAME_BYTES_MAX as u64, "{:?}", network.sent);
}

#[test]
fn repair_brings_own_versions_back() {
    let mut network = pair();
    network.connect(0, 1);
    let backup = network.backup(0);
    for n in 0..10 {
        network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(n)), 1);
    }
    quiet(&mut network);
    let whole = network.store(1, &notes()).versions();
    network.restore(0, backup);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.store(0, &notes()).versions(), whole);
}

#[test]
fn a_long_history_is_repaired() {
    let mut network = pair();
    for n in 0..1_000 {
        network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(n)), 1);
    }
    quiet(&mut network);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.store(1, &notes()).versions().len(), 1_000);
    assert_eq!(network.sent.events, 1_000);
    print_cost("a history of 1,000 versions", &network);
}

#[test]
fn long_histories_that_part_at_their_ends_are_not_sent_whole() {
    let shared = chain("k", 1_000);
    for (left, right) in [(1, 1), (5, 3), (40, 0), (0, 40), (30, 30)] {
        let mut network = pair();
        filled(&mut network, &shared);
        for (node, count) in [(0, left), (1, right)] {
            let mut tip = shared[999].clone();
            for n in 0..count {
                tip = update(&tip, Value::string(format!("{node} {n}")));
                give(network.store_mut(node, &notes()), std::slice::from_ref(&tip));
            }
        }
        network.connect(0, 1);
        quiet(&mut network);
        assert_same(&network);
        print_cost(&format!("1,000 versions and {left} against {right} more"), &network);
        // Landmarks are further apart the older they are, by a quarter of the distance.
        let needed = (left + right) as u64;
        assert!(network.sent.events <= needed + needed / 4 + 2, "{:?}", network.sent);
    }
}

#[test]
fn a_key_with_100_sides_is_repaired() {
    let mut network = pair();
    let sides: Vec<Event> = (0..100).map(|n| event("k", number(n), StoreId([9; 16]))).collect();
    give(network.store_mut(0, &notes()), &sides[..60]);
    give(network.store_mut(1, &notes()), &sides[40..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    let view = network.store(0, &notes()).replica.view(&key("k")).expect("a view");
    assert_eq!(view.candidates.len(), 100);
    assert_eq!(network.sent.events, 80);
    print_cost("a key with 100 sides, 20 of them shared", &network);
}

#[test]
fn a_fruitless_difference_is_not_compared_before_its_time() {
    let settings = Settings { compare_every: 10_000, ..Settings::default() };
    let mut network = Network::new(1, 2, &["notes"], settings);
    let refused = theirs(1);
    give(network.store_mut(0, &notes()), std::slice::from_ref(&refused));
    network.store_mut(1, &notes()).refuses.insert(refused.version.id);
    network.connect(0, 1);
    network.run_until(9_000);
    assert_eq!(network.sent.kinds["compare"], 1);
    // Nor do writes elsewhere make the same difference a new one.
    for n in 0..10 {
        network.write(n % 2, &notes(), &Name::Key(key("other")), Wish::Put(number(n)), 1);
        network.run_until(9_000 + 50 * n as u64);
    }
    network.run_until(10_000);
    assert_eq!(network.sent.kinds["compare"], 1);
    network.run_until(60_000);
    assert!((5..=6).contains(&network.sent.kinds["compare"]), "{:?}", network.sent);
    assert_eq!(network.sent.kinds["refused"], 1, "the same is not refused aloud again");
    assert!(network.closed.is_empty());
    let standings = network.session(0, 1).standings(&network.nodes[0].stores);
    assert!(!standings[0].1.agrees);
}

#[test]
fn a_line_of_five_nodes_converges_within_a_few_ticks() {
    let mut network = Network::new(1, 5, &["notes"], Settings::default());
    for n in 1..5 {
        network.connect(n - 1, n);
    }
    quiet(&mut network);
    let start = network.now;
    network.write(0, &notes(), &Name::Key(key("k")), Wish::Put(number(1)), 1);
    let known = |network: &Network| !network.store(4, &notes()).tips(&key("k")).is_empty();
    while !known(&network) {
        network.run_until(network.now + 10);
    }
    let (took, tick) = (network.now - start, network.settings.tick);
    assert!(took <= 20 * tick, "{took} ms, a tick is {tick} ms");
    quiet(&mut network);
    assert_same(&network);
    print_cost(&format!("a write crosses four links in {took} ms"), &network);
}

#[test]
fn a_difference_is_repaired_under_writes_without_end() {
    let settings = Settings { compare_every: 2_000, ..Settings::default() };
    let mut network = Network::new(1, 2, &["notes"], settings);
    network.connect(0, 1);
    quiet(&mut network);
    network.settings.no_room = 1.0;
    network.write(0, &notes(), &Name::Key(key("skipped")), Wish::Put(number(1)), 1);
    network.run_until(network.now + 100);
    network.settings.no_room = 0.0;
    for n in 0..500 {
        network.write(n % 2, &notes(), &Name::Key(key("busy")), Wish::Put(number(n)), 1);
        network.run_until(network.now + 10);
    }
    assert!(!network.store(1, &notes()).tips(&key("skipped")).is_empty());
    assert!(network.sent.kinds["compare"] <= 4, "{:?}", network.sent);
    quiet(&mut network);
    assert_same(&network);
}

#[test]
fn a_slow_store_is_not_sent_the_same_twice() {
    let settings = Settings { commit: 400..401, group: false, ..Settings::default() };
    // The driver has soon taken what it lacked, and sees a difference while the follower still applies.
    let mut network = Network::new(1, 2, &["notes"], Settings { budget: 500..501, ..settings });
    let events: Vec<Event> = (0..100).map(theirs).collect();
    give(network.store_mut(0, &notes()), &events[..95]);
    give(network.store_mut(1, &notes()), &events[95..]);
    network.connect(0, 1);
    quiet(&mut network);
    assert_same(&network);
    assert_eq!(network.sent.events, 100, "{:?}", network.sent);
    print_cost("95 keys against 5 others, 400 ms for each commit", &network);
}
