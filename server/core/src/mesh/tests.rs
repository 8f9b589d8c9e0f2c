//! How notes spread: any order, copies of a node, and who hears what.

use super::members::LIFE;
use super::*;
use crate::ids::NodeId;
use crate::name::Namespace;

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn notes() -> Namespace {
    Namespace::new("notes").expect("a name")
}

fn about(n: u8, links: &[u8]) -> About {
    About {
        node: node(n),
        counter: 1,
        agent: "test".into(),
        addresses: vec![format!("ws://10.0.0.{n}:7400")],
        namespaces: vec![notes()],
        links: links.iter().map(|n| node(*n)).collect(),
        instance: [n; 16],
    }
}

fn grant(n: u8, counter: u64, admitted: bool, by: u8) -> Grant {
    Grant { node: node(n), counter, admitted, namespaces: None, by: node(by), at: 0 }
}

/// What node `me` knows of a mesh in which these are connected.
fn members(me: u8, count: u8, links: &[(u8, u8)]) -> Members {
    let of = |n| {
        let ends = links.iter().filter(|(a, b)| *a == n || *b == n);
        ends.map(|(a, b)| if *a == n { *b } else { *a }).collect::<Vec<_>>()
    };
    let mut members = Members::new(about(me, &of(me)));
    let grants = (0..count).map(|n| grant(n, 1, true, 0)).collect();
    let abouts = (0..count).filter(|n| *n != me).map(|n| about(n, &of(n))).collect();
    members.learn(Notes { grants, abouts });
    members
}

/// How often each node gets an event of node 0, and over how many links it goes.
fn spread(count: u8, links: &[(u8, u8)]) -> Vec<u8> {
    let mut times = vec![0; usize::from(count)];
    for n in 0..count {
        for to in members(n, count, links).route(&node(0), &notes()) {
            times[usize::from(to.0[0])] += 1;
        }
    }
    times
}

#[test]
fn in_a_full_mesh_nobody_passes_on_and_in_any_other_everybody_hears_once() {
    let all: Vec<(u8, u8)> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    assert_eq!(spread(5, &all), [0, 1, 1, 1, 1]);
    for n in 1..5 {
        assert!(members(n, 5, &all).route(&node(0), &notes()).is_empty());
    }
    assert_eq!(spread(5, &[(0, 1), (1, 2), (2, 3), (3, 4)]), [0, 1, 1, 1, 1], "a line");
    assert_eq!(spread(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]), [0, 1, 1, 1], "a ring");
    assert_eq!(spread(5, &[(3, 0), (3, 1), (3, 2), (3, 4)]), [0, 1, 1, 1, 1], "a star");
    assert_eq!(spread(3, &[(1, 2)]), [0, 0, 0], "alone");
}

#[test]
fn notes_that_come_in_any_order_leave_all_with_the_same() {
    let words = [
        grant(1, 1, true, 0),
        grant(1, 2, false, 2),
        grant(1, 2, true, 3),
        grant(2, 5, true, 1),
        grant(2, 5, true, 4),
    ];
    let learn = |order: &[usize]| {
        let mut members = Members::new(about(9, &[]));
        for at in order {
            let grants = vec![words[*at].clone()];
            members.learn(Notes { grants, abouts: Vec::new() });
        }
        members.grants
    };
    let first = learn(&[0, 1, 2, 3, 4]);
    assert!(!first[&node(1)].admitted, "of two words at once the removal holds");
    for order in [[4, 3, 2, 1, 0], [2, 1, 0, 4, 3], [1, 4, 0, 3, 2]] {
        assert_eq!(learn(&order), first);
    }
}

#[test]
fn what_is_known_is_not_passed_on_again() {
    let mut members = members(0, 3, &[]);
    let known = members.notes();
    assert!(members.learn(known).is_empty());
    let said = members.say(|me| me.links.push(node(1))).expect("something new");
    assert_eq!(said.abouts[0].counter, 2);
    assert_eq!(members.say(|_| {}), None);
}

#[test]
fn a_removed_node_is_forgotten_until_it_is_admitted_again() {
    let mut members = members(0, 3, &[]);
    members.decide(node(1), false, None, 7);
    assert_eq!(members.about(&node(1)), None);
    assert_eq!(members.holders(&notes()).collect::<Vec<_>>(), [node(2)]);
    let talk = Notes { grants: Vec::new(), abouts: vec![about(1, &[])] };
    assert!(members.learn(talk.clone()).is_empty(), "strangers have no say");
    members.decide(node(1), true, Some(vec![]), 8);
    assert_eq!(members.learn(talk.clone()), talk);
    assert!(!members.grant(&node(1)).expect("a grant").allows(&notes()));
}

#[test]
fn a_node_that_was_put_back_outdoes_what_others_remember_of_it() {
    let mut members = members(0, 2, &[]);
    let said = |counter, instance| {
        let about = About { counter, instance: [instance; 16], ..about(0, &[1]) };
        Notes { grants: Vec::new(), abouts: vec![about] }
    };
    let new = members.learn(said(40, 7));
    assert_eq!((new.abouts[0].counter, new.abouts[0].links.len()), (40 + LIFE, 0));
    assert!(members.learn(said(45, 7)).is_empty(), "outdone already");
    assert!(!members.has_twin());
    assert!(!members.learn(said(41 + LIFE, 7)).is_empty(), "the copy is to find out as well");
    assert!(members.has_twin());
    assert!(
        members.learn(said(42 + 2 * LIFE, 7)).is_empty(),
        "a copy of this node is not answered for ever"
    );
}

#[test]
fn two_copies_of_a_node_that_hear_of_each_other_both_find_out() {
    let copy = |instance| Members::new(About { instance: [instance; 16], ..about(0, &[]) });
    let (mut one, mut other) = (copy(7), copy(8));
    let mut said = one.say(|me| me.links.push(node(1))).expect("news");
    for _ in 0..10 {
        said = other.learn(said);
        said = one.learn(said);
    }
    assert!(one.has_twin() && other.has_twin());
    assert!(said.is_empty(), "and come to rest");
}

#[test]
fn the_largest_counter_keeps_nobody_from_removing_a_node() {
    let mut members = members(0, 3, &[]);
    let said = About { counter: u64::MAX, ..about(0, &[]) };
    let grants = vec![grant(1, u64::MAX, true, 1)];
    members.learn(Notes { grants, abouts: vec![said] });
    assert!(!members.decide(node(1), false, None, 7).is_empty());
    assert!(!members.grant(&node(1)).expect("a grant").admitted);
    assert!(members.say(|me| me.links.push(node(2))).is_some());
}

fn names(texts: &[&str]) -> Vec<Namespace> {
    texts.iter().map(|text| Namespace::new(text).expect("a name")).collect()
}

/// Node 0 with what it knows: node 1 may have `a`, node 2 `a` and `b`, node 3 all; each has all three.
fn restricted(me: u8) -> Members {
    let mut members = Members::new(About { namespaces: names(&["a", "b", "c"]), ..about(me, &[]) });
    let some = |n, texts: &[&str]| Grant { namespaces: Some(names(texts)), ..grant(n, 1, true, 0) };
    let grants = vec![some(1, &["a"]), some(2, &["b", "a"]), grant(3, 1, true, 0)];
    let says = |n| About { namespaces: names(&["c", "a", "b"]), ..about(n, &[]) };
    members.learn(Notes { grants, abouts: (1..4).filter(|n| *n != me).map(says).collect() });
    members
}

fn told(members: &Members, to: u8) -> Notes {
    members.told(members.notes(), &node(to))
}

#[test]
fn a_node_hears_only_of_namespaces_that_it_may_have() {
    let members = restricted(0);
    for (to, may) in [(1, names(&["a"])), (2, names(&["a", "b"])), (9, names(&[]))] {
        let heard = told(&members, to);
        assert_eq!((heard.grants.len(), heard.abouts.len()), (3, 4), "of all nodes");
        let granted = heard.grants.iter().filter_map(|grant| grant.namespaces.as_ref());
        for named in granted.chain(heard.abouts.iter().map(|about| &about.namespaces)) {
            assert!(named.iter().all(|name| may.contains(name)), "{to}: {named:?}");
        }
        let own = heard.abouts.iter().find(|about| about.node == node(0)).expect("what 0 says");
        assert_eq!(own.namespaces, may);
    }
    assert_eq!(told(&members, 3), members.notes(), "who may have all hears all");
}

#[test]
fn what_went_through_a_node_that_may_not_know_all_takes_no_name_and_no_right_away() {
    let full = restricted(0);
    // Node 1 passes on what it heard to node 3, before or after 3 hears it from 0.
    let mut between = Members::new(about(1, &[]));
    between.learn(told(&full, 1));
    let (short, long) = (told(&between, 3), told(&full, 3));
    let after = |notes: &[(&Notes, u8)]| {
        let mut members = Members::new(about(3, &[]));
        members.learn(Notes { grants: long.grants.clone(), abouts: Vec::new() });
        notes.iter().for_each(|(notes, from)| {
            members.hear((*notes).clone(), &node(*from));
        });
        members
    };
    for order in [[(&short, 1), (&long, 0)], [(&long, 0), (&short, 1)]] {
        let members = after(&order);
        assert_eq!(members.grant(&node(2)).expect("a grant").namespaces, Some(names(&["a", "b"])));
        assert_eq!(members.about(&node(2)).expect("a note").namespaces, names(&["a", "b", "c"]));
        assert!(members.clone().hear(long.clone(), &node(0)).is_empty(), "nothing is new any more");
        assert!(members.clone().hear(short.clone(), &node(1)).is_empty());
    }
    // A newer word of node 2 through node 1, which may know of `a` only: it has left `a`, and maybe others.
    let mut members = after(&[(&long, 0)]);
    let newer = |counter| About { counter, namespaces: names(&[]), ..about(2, &[3]) };
    let says = |counter| Notes { grants: Vec::new(), abouts: vec![newer(counter)] };
    members.hear(says(2), &node(1));
    let known = members.about(&node(2)).expect("a note");
    assert_eq!((&known.namespaces, &known.links[..]), (&names(&["b", "c"]), &[node(3)][..]));
    members.hear(says(3), &node(3));
    assert!(members.about(&node(2)).expect("a note").namespaces.is_empty(), "3 may know all");
    // Nor does a node take its own word for that of a copy, when it comes back shortened.
    let mut own = restricted(0);
    let heard = own.hear(told(&own, 1), &node(1));
    assert!(heard.is_empty() && !own.has_twin(), "{heard:?}");
}

#[test]
fn a_new_grant_replaces_the_old_one_whoever_brings_it() {
    let mut members = restricted(0);
    let less = Grant { counter: 2, namespaces: Some(names(&[])), ..grant(2, 2, true, 0) };
    members.hear(Notes { grants: vec![less], abouts: Vec::new() }, &node(1));
    let grant = members.grant(&node(2)).expect("a grant");
    assert!(!grant.allows(&names(&["b"])[0]), "a right that may have been taken away is gone");
}
