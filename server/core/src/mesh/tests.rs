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
