//! Questions about versions, and notes about the mesh.

use keepboth_core::ids::NodeId;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::mesh::{
    ADDRESSES_MAX, AGENT_BYTES_MAX, About, Grant, MEMBERS_MAX, NAMESPACES_MAX, Notes,
};
use keepboth_core::name::Namespace;
use keepboth_core::refusal::Code;
use keepboth_core::session::{Input, Output, Side};
use keepboth_core::wire::Message;

use super::{Alone, admitted, chain, closed, give, greet, notes, proof, sent, theirs};
use keepboth_simulation::network::{namespace, node_id};

fn about(n: usize) -> About {
    let mut node = [1; 32];
    node[..8].copy_from_slice(&(n as u64).to_be_bytes());
    About {
        node: NodeId(node),
        counter: 1,
        agent: "keepboth 1.2.3".into(),
        addresses: vec!["ws://10.0.0.1:7400".into()],
        namespaces: vec![notes()],
        links: Vec::new(),
        instance: [0; 16],
    }
}

fn grant(n: usize) -> Grant {
    let node = about(n).node;
    Grant { node, counter: 1, admitted: true, namespaces: None, by: node_id(0), at: 0 }
}

fn names(count: usize) -> Vec<Namespace> {
    (0..count).map(|n| namespace(&format!("{:0>60}", n))).collect()
}

#[test]
fn who_asks_whether_a_version_is_held_gets_an_answer() {
    let mut alone = Alone::new(0);
    let events = chain("k", 3);
    give(alone.store(), &events[..2]);
    for (question, event, expected) in [
        (7, &events[0], true),
        (8, &events[1], true),
        (9, &events[2], false),
        (10, &theirs(1), false),
    ] {
        let (key, version) = (event.key.clone(), event.version.id);
        let out = alone.hear(Message::Ask { question, namespace: notes(), key, version });
        let [Message::Holds { question: answered, held }] = sent(&out)[..] else {
            panic!("{out:?}")
        };
        assert_eq!((*answered, *held), (question, expected));
    }
}

#[test]
fn a_question_goes_to_the_peer_and_its_answer_to_who_asked() {
    let mut alone = Alone::new(0);
    let (key, version) = (theirs(1).key, theirs(1).version.id);
    let out =
        alone.input(Input::Ask { question: 5, namespace: notes(), key: key.clone(), version });
    let asked = Message::Ask { question: 5, namespace: notes(), key, version };
    assert_eq!(out, [Output::Send(asked)]);
    for held in [true, false] {
        let out = alone.hear(Message::Holds { question: 5, held });
        assert_eq!(out, [Output::Holds { question: 5, held }]);
    }
}

#[test]
fn who_does_not_share_a_namespace_is_not_asked() {
    let ask = |name: &str| {
        let (key, version) = (theirs(1).key, theirs(1).version.id);
        Input::Ask { question: 5, namespace: namespace(name), key, version }
    };
    let no = [Output::Holds { question: 5, held: false }];
    assert_eq!(Alone::new(0).input(ask("other")), no);
    // Nor who has not greeted yet: to it, a question would be out of turn.
    let mut alone = Alone::before_greeting(Side::Answered);
    assert_eq!(alone.input(ask("notes")), no);
    alone.hear(greet());
    assert_eq!(alone.input(ask("notes")), no);
    alone.hear(Message::Prove(proof(0)));
    alone.input(admitted(0, false));
    assert_eq!(alone.input(ask("notes")), no);
}

#[test]
fn notes_go_to_the_peer_in_parts_that_fit_and_come_to_the_caller() {
    let mut alone = Alone::new(0);
    assert_eq!(alone.input(Input::Tell(Notes::default())), []);
    let with_names =
        |n| Grant { namespaces: Some(names(if n < 30 { 1_000 } else { 1 })), ..grant(n) };
    let long = |n: usize| About { addresses: vec!["a".repeat(500); 16], ..about(n) };
    let all = Notes {
        grants: (0..MEMBERS_MAX).map(with_names).collect(),
        abouts: (0..MEMBERS_MAX).map(long).collect(),
    };
    let out = alone.input(Input::Tell(all.clone()));
    assert!(out.len() > 30, "{} parts", out.len());
    let (mut other, mut heard) = (Alone::new(2), Notes::default());
    for output in out {
        let Output::Send(message) = output else { panic!("{output:?}") };
        assert!(message.encode().len() <= FRAME_BYTES_MAX / 2, "{}", message.encode().len());
        let out = other.hear(message);
        let [Output::Notes(part)] = &out[..] else { panic!("{out:?}") };
        heard.grants.extend(part.grants.iter().cloned());
        heard.abouts.extend(part.abouts.iter().cloned());
    }
    assert_eq!(heard, all);
}

#[test]
fn the_largest_note_of_an_honest_node_fits_and_passes() {
    let largest = About {
        agent: "a".repeat(AGENT_BYTES_MAX),
        addresses: vec!["a".repeat(512); ADDRESSES_MAX],
        namespaces: names(NAMESPACES_MAX),
        links: (0..MEMBERS_MAX).map(|n| about(n).node).collect(),
        ..about(0)
    };
    let mut alone = Alone::new(0);
    let out = alone.input(Input::Tell(Notes { grants: vec![], abouts: vec![largest] }));
    let [message] = sent(&out)[..] else { panic!("{} messages", out.len()) };
    assert!(message.encode().len() <= FRAME_BYTES_MAX, "{}", message.encode().len());
    assert!(matches!(alone.hear(message.clone())[..], [Output::Notes(_)]));
}

/// Notes that no honest node sends, and what is said of them.
fn oversized() -> Vec<(Notes, &'static str)> {
    let one = |about| Notes { grants: vec![], abouts: vec![about] };
    let name = || namespace("n");
    vec![
        (one(About { addresses: vec![String::new(); 17], ..about(0) }), "17 addresses of a node"),
        (one(About { addresses: vec!["a".repeat(513)], ..about(0) }), "513 bytes of an address"),
        (one(About { links: vec![node_id(0); 1_025], ..about(0) }), "1,025 links of a node"),
        (
            one(About { namespaces: vec![name(); 10_001], ..about(0) }),
            "10,001 namespaces of a node",
        ),
        (one(About { agent: "a".repeat(257), ..about(0) }), "257 bytes of an agent"),
        (
            Notes {
                grants: vec![Grant { namespaces: Some(vec![name(); 10_001]), ..grant(0) }],
                abouts: vec![],
            },
            "10,001 namespaces of a grant",
        ),
        (
            Notes { grants: vec![grant(0); 1_025], abouts: vec![] },
            "1,025 notes at once, the limit is 1,024",
        ),
        (Notes { grants: vec![], abouts: vec![about(0); 1_025] }, "1,025 notes at once"),
    ]
}

#[test]
fn notes_larger_than_any_honest_ones_end_the_conversation() {
    for (notes, words) in oversized() {
        let out = Alone::new(0).hear(Message::Notes(notes));
        assert_eq!((out.len(), closed(&out).code), (1, Code::BadFrame));
        assert!(closed(&out).message.contains(words), "{out:?}");
    }
}
