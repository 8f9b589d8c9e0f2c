//! Stores that were put back from backups: what is found out, and what nobody can know any more.

use keepboth_core::session::Replica;
use keepboth_core::value::Value;

use super::{Network, Settings, notes};
use keepboth_core::name::Name;
use keepboth_simulation::network::node_id;
use keepboth_simulation::replica::key;
use keepboth_simulation::store::Wish;

const HOUR: u64 = 3_600_000;

/// Nodes that wait an hour for one who is away, and are not connected yet.
fn nodes(count: usize) -> Network {
    Network::new(1, count, &["notes"], Settings { expire: HOUR, ..Settings::default() })
}

fn quiet(network: &mut Network) {
    assert_eq!(network.run_until_quiet(2_000, 600_000), Ok(()));
    assert!(network.closed.is_empty(), "{:?}", network.closed);
}

fn connect(network: &mut Network, pairs: &[(usize, usize)]) {
    pairs.iter().for_each(|(a, b)| network.connect(*a, *b));
    quiet(network);
}

fn write(network: &mut Network, at: usize, name: &str, wish: Wish) {
    network.ask(at, &notes(), Name::Key(key(name)), wish);
    quiet(network);
}

fn put(network: &mut Network, at: usize, name: &str) {
    write(network, at, name, Wish::Put(Value::string("value")));
}

/// A deleted key is forgotten, and then dropped for good, by these nodes.
fn forget(network: &mut Network, nodes: &[usize]) {
    for _ in 0..3 {
        nodes.iter().for_each(|node| network.collect(*node, &notes()));
        quiet(network);
    }
}

fn delete_for_good(network: &mut Network, name: &str, nodes: &[usize]) {
    write(network, nodes[0], name, Wish::Delete);
    network.pass(2 * HOUR);
    forget(network, nodes);
    let held = |node: &usize| network.nodes[*node].stores.held(&notes(), &key(name));
    assert!(nodes.iter().all(|node| held(node) == Ok(None)), "{name} is gone without a trace");
}

fn shows(network: &Network, at: usize, name: &str) -> bool {
    let view = network.store(at, &notes()).replica.view(&key(name));
    view.is_some_and(|view| view.object().is_some())
}

#[test]
fn a_copy_made_within_the_last_conversation_brings_nothing_back() {
    let mut network = nodes(2);
    connect(&mut network, &[(0, 1)]);
    put(&mut network, 0, "k");
    let copy = network.backup(1);
    delete_for_good(&mut network, "k", &[0, 1]);
    network.restore(1, copy);
    assert!(shows(&network, 1, "k"));
    connect(&mut network, &[(0, 1)]);
    assert!(!shows(&network, 0, "k") && !shows(&network, 1, "k"), "it was deleted");
}

#[test]
fn a_copy_that_is_cut_off_before_it_has_taken_up_all_brings_nothing_back_later() {
    let mut network = nodes(2);
    connect(&mut network, &[(0, 1)]);
    put(&mut network, 0, "k");
    let copy = network.backup(1);
    delete_for_good(&mut network, "k", &[0, 1]);
    network.restore(1, copy);
    // Cut a little later each time, and at last not at all.
    for long in 0..40 {
        network.connect(0, 1);
        let end = network.now + long;
        network.run_until(end);
        network.cut(0, 1);
    }
    connect(&mut network, &[(0, 1)]);
    assert!(!shows(&network, 0, "k") && !shows(&network, 1, "k"), "it was deleted");
}

/// Three nodes of which the first holds a key and was away, the second is gone, and the third was put back
/// to when it was empty. Either the key was deleted meanwhile, by the two others that had it, or these were
/// both put back, wrote another key and deleted that.
fn after_backups(deleted: bool) -> Network {
    let mut network = nodes(3);
    let copies = [network.backup(1), network.backup(2)];
    connect(&mut network, &[(0, 1), (0, 2), (1, 2)]);
    put(&mut network, 0, "k");
    [(0, 1), (0, 2), (1, 2)].iter().for_each(|(a, b)| network.cut(*a, *b));
    let [one, two] = copies;
    network.restore(2, two);
    if deleted {
        connect(&mut network, &[(1, 2)]);
        delete_for_good(&mut network, "k", &[2, 1]);
    } else {
        network.restore(1, one);
        connect(&mut network, &[(1, 2)]);
        put(&mut network, 1, "other");
        delete_for_good(&mut network, "other", &[2, 1]);
    }
    network.cut(1, 2);
    network
}

#[test]
fn what_all_witnesses_lost_with_their_disks_comes_back_for_it_may_be_the_last_copy() {
    let (deleted, live) = (after_backups(true), after_backups(false));
    // What both know is the same either way, so no rule can tell a delete from a loss.
    for node in [0, 2] {
        let [a, b] = [&deleted, &live].map(|network| &network.nodes[node].stores);
        assert_eq!(a.root(&notes()), b.root(&notes()));
        assert_eq!(a.sequence(&notes()), b.sequence(&notes()));
        assert_eq!(a.0[&notes()].dropped, b.0[&notes()].dropped);
        let peer = (node_id(2 - node), notes());
        let mark = |network: &Network| {
            network.nodes[node].marks.get(&peer).map(|mark| (mark.agreed, mark.exchanged))
        };
        assert_eq!(mark(&deleted), mark(&live));
    }
    // It may be the only copy of a value that was answered for, and that must not be lost.
    for mut network in [live, deleted] {
        connect(&mut network, &[(0, 2)]);
        assert!(shows(&network, 0, "k") && shows(&network, 2, "k"));
    }
}
