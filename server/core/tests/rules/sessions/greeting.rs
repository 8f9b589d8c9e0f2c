//! Both sides prove who they are before either says what it has; strangers learn nothing.

use keepboth_core::handshake::{Claimed, Greet, Proof, Role, Token, Transcript};
use keepboth_core::ids::{NodeId, StoreId};
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::mesh::{About, Notes};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Admitted, Input, Output, Side};
use keepboth_core::wire::{Events, Hello, KeyTips, Message};

use super::{
    ANSWERED, Alone, DIALLED, ME, PEERS_NONCE, admitted, closed, dialled, event, greet, hello,
    notes, number, proof, sent, space,
};
use keepboth_simulation::network::{namespace, node_id, node_key};
use keepboth_simulation::replica::key;

/// The proof of a node that answers this one.
fn answer(peer: usize, to: Option<NodeId>) -> Proof {
    Proof::new(&node_key(peer), [peer as u8; 16], &DIALLED, Role::Answerer, to, None)
}

/// What goes over the wire of some outputs: a close is told in words.
fn bytes(outputs: &[Output]) -> Vec<u8> {
    let bytes = |output: &Output| match output {
        Output::Send(message) => message.encode(),
        Output::Close(refusal) => {
            let (code, message) = (refusal.code.as_str().into(), refusal.message.clone());
            Message::Refused { code, message }.encode()
        }
        _ => Vec::new(),
    };
    outputs.iter().flat_map(bytes).collect()
}

/// What a stranger may try: to prove nothing, or something that does not hold.
fn attempts() -> Vec<Vec<Message>> {
    let forged = |change: &dyn Fn(&mut Proof)| {
        let mut proof = proof(0);
        change(&mut proof);
        vec![greet(), Message::Prove(proof)]
    };
    let own = |to, transcript| {
        let proof = Proof::new(&node_key(0), [0; 16], transcript, Role::Dialler, to, None);
        vec![greet(), Message::Prove(proof)]
    };
    let other = Transcript { answerer: Greet::new([7; 32]), ..ANSWERED };
    vec![
        forged(&|proof| proof.who.node = node_id(2)),
        forged(&|proof| proof.who.node = node_id(ME)),
        forged(&|proof| proof.who.node = NodeId([0; 32])),
        forged(&|proof| proof.who.instance = [5; 16]),
        forged(&|proof| proof.signature = [0; 64]),
        forged(&|proof| proof.to = None),
        own(Some(node_id(2)), &ANSWERED),
        own(Some(node_id(ME)), &other),
        own(None, &Transcript { dialler: Greet::new([7; 32]), ..ANSWERED }),
        own(None, &Transcript { binding: [0; 32], ..ANSWERED }),
    ]
}

#[test]
fn strangers_learn_nothing_whoever_they_claim_to_be() {
    let mut told = Vec::new();
    for attempt in attempts() {
        let mut alone = Alone::before_greeting(Side::Answered);
        let out: Vec<Output> = attempt.into_iter().flat_map(|m| alone.hear(m)).collect();
        assert_eq!(closed(&out).code, Code::NotAMember);
        assert_eq!(out.len(), 1, "nobody is asked: {out:?}");
        assert_eq!(alone.session.node(), None);
        told.push(bytes(&out));
    }
    assert!(told.iter().all(|bytes| *bytes == told[0]), "the same whoever asks");
    let hidden =
        [&node_id(ME).0[..], &node_id(0).0, b"notes", b"test", node_id(ME).to_string().as_bytes()]
            .map(<[u8]>::to_vec);
    for secret in hidden {
        assert!(!told[0].windows(secret.len()).any(|part| part == secret), "{told:?}");
    }
}

#[test]
fn a_stranger_who_waits_hears_nothing_more_than_the_greeting() {
    let mut alone = Alone::before_greeting(Side::Answered);
    assert_eq!(alone.hear(greet()), []);
    let about = About {
        node: node_id(ME),
        counter: 1,
        agent: "test".into(),
        addresses: vec![],
        namespaces: vec![notes()],
        links: vec![],
        instance: [0; 16],
    };
    let secrets = [
        Input::Tell(Notes { grants: vec![], abouts: vec![about] }),
        Input::Made {
            namespace: notes(),
            sequence: 1,
            root: Default::default(),
            maker: node_id(ME),
            told: Events::of_messages(vec![event("k", number(1), StoreId([1; 16]))]),
            room: true,
        },
        Input::Forgot { namespace: notes(), keys: vec![KeyTips { key: key("k"), tips: vec![] }] },
        Input::Tick,
    ];
    for secret in secrets {
        assert_eq!(alone.input(secret), []);
    }
    assert_eq!(alone.tick(600_000), []);
    assert!(!alone.session.has_bulk() && alone.session.peer().is_none());
}

#[test]
fn a_proof_from_another_connection_proves_nothing_here() {
    // Somebody hears the proof that a member gave to this node once, and shows it again.
    let heard = proof(0);
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    assert!(matches!(alone.hear(Message::Prove(heard.clone()))[..], [Output::Admit { .. }]));
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(Message::Greet(Greet::new([9; 32])));
    assert_eq!(closed(&alone.hear(Message::Prove(heard))).code, Code::NotAMember);
    // Or sends a node's own proof back to it.
    let mut alone = Alone::before_greeting(dialled(None));
    let out = alone.hear(greet());
    let [Output::Send(Message::Prove(mine))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(closed(&alone.hear(Message::Prove(mine.clone()))).code, Code::NotAMember);
}

#[test]
fn the_side_that_dialled_proves_itself_first_and_the_other_only_once_it_is_admitted() {
    let mut alone = Alone::before_greeting(dialled(Some(node_id(2))));
    let out = alone.hear(greet());
    let [Output::Send(Message::Prove(mine))] = &out[..] else { panic!("{out:?}") };
    assert!(mine.holds(&DIALLED, Role::Dialler, &node_id(2)));
    assert_eq!(mine.to, Some(node_id(2)));
    let out = alone.hear(Message::Prove(answer(2, Some(node_id(ME)))));
    assert_eq!(out, [Output::Admit { node: node_id(2), claimed: None }]);
    let out = alone.input(admitted(0, false));
    assert!(matches!(&out[..], [Output::Send(Message::Hello(_))]), "{out:?}");
    assert!(matches!(&alone.hear(hello(false))[..], [Output::Send(Message::Root { .. })]));
    assert_eq!(alone.session.peer().map(|peer| peer.node), Some(node_id(2)));

    let mut alone = Alone::before_greeting(Side::Answered);
    assert_eq!(alone.hear(greet()), [], "it waits");
    assert!(matches!(alone.hear(Message::Prove(proof(2)))[..], [Output::Admit { .. }]));
    let out = alone.input(admitted(0, false));
    let [Output::Send(Message::Prove(mine)), Output::Send(Message::Hello(_))] = &out[..] else {
        panic!("{out:?}")
    };
    assert!(mine.holds(&ANSWERED, Role::Answerer, &node_id(2)));
    assert_eq!(mine.to, Some(node_id(2)), "good for this peer only");
    assert_eq!(alone.input(admitted(0, false)), [], "once");
}

#[test]
fn another_node_than_the_expected_is_refused_before_it_hears_anything() {
    let mut alone = Alone::before_greeting(dialled(Some(node_id(2))));
    alone.hear(greet());
    let out = alone.hear(Message::Prove(answer(0, None)));
    assert_eq!((out.len(), closed(&out).code), (1, Code::NotAMember));
    let words = &closed(&out).message;
    assert!(words.contains(&node_id(2).to_string()) && words.contains(&node_id(0).to_string()));
    // The other side refuses too, for it is not who was meant.
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    let stray = Proof::new(&node_key(0), [0; 16], &ANSWERED, Role::Dialler, Some(node_id(2)), None);
    assert_eq!(closed(&alone.hear(Message::Prove(stray))).code, Code::NotAMember);
}

#[test]
fn a_node_that_dials_itself_is_told_from_a_copy_of_it() {
    for (instance, words) in
        [([ME as u8; 16], "dialled itself"), ([200; 16], "a copy of this node runs elsewhere")]
    {
        let mut alone = Alone::before_greeting(Side::Answered);
        alone.hear(greet());
        let own = Proof::new(&node_key(ME), instance, &ANSWERED, Role::Dialler, None, None);
        let out = alone.hear(Message::Prove(own));
        let [Output::Send(Message::Prove(mine)), Output::Close(refusal)] = &out[..] else {
            panic!("{out:?}")
        };
        assert!(mine.holds(&ANSWERED, Role::Answerer, &node_id(ME)), "the dialler finds out too");
        assert_eq!(refusal.code, Code::SameNode);
        assert!(refusal.message.contains(words), "{out:?}");

        let mut alone = Alone::before_greeting(dialled(None));
        alone.hear(greet());
        let own = Proof::new(&node_key(ME), instance, &DIALLED, Role::Answerer, None, None);
        let out = alone.hear(Message::Prove(own));
        assert_eq!((out.len(), closed(&out).code), (1, Code::SameNode));
        assert!(closed(&out).message.contains(words), "{out:?}");
    }
}

#[test]
fn an_invitation_reaches_the_caller_and_holds_for_this_connection() {
    let token = Token::new(node_id(ME), [4; 32]);
    let shown = Proof::new(
        &node_key(0),
        [0; 16],
        &ANSWERED,
        Role::Dialler,
        Some(node_id(ME)),
        Some(&token),
    );
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    let out = alone.hear(Message::Prove(shown.clone()));
    let [Output::Admit { node, claimed: Some(claimed) }] = &out[..] else { panic!("{out:?}") };
    assert_eq!(*node, node_id(0));
    assert_eq!(claimed.claim.invite, token.invite());
    assert!(claimed.holds(&token.key()));
    let elsewhere = Claimed { statement: [0; 32], ..claimed.clone() };
    assert!(!elsewhere.holds(&token.key()));
    // A claim that was taken from another proof reaches the caller too, and does not hold.
    let mut stolen = proof(0);
    stolen.claim = Proof::new(
        &node_key(2),
        [2; 16],
        &ANSWERED,
        Role::Dialler,
        Some(node_id(ME)),
        Some(&token),
    )
    .claim;
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    let out = alone.hear(Message::Prove(stolen));
    let [Output::Admit { claimed: Some(claimed), .. }] = &out[..] else { panic!("{out:?}") };
    assert!(!claimed.holds(&token.key()), "it was made for another node");
}

#[test]
fn an_invited_node_shows_its_invitation_to_the_inviting_node_only() {
    let token = Token::new(node_id(2), [4; 32]);
    let side = Side::Dialled { expected: None, token: Some(token.clone()) };
    let mut alone = Alone::before_greeting(side);
    let out = alone.hear(greet());
    let [Output::Send(Message::Prove(mine))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(mine.to, Some(node_id(2)));
    let statement = DIALLED.statement(Role::Dialler, &mine.who, mine.to.as_ref());
    let claim = mine.claim.clone().expect("a claim");
    assert!(Claimed { claim, statement }.holds(&token.key()));
    let out = alone.hear(Message::Prove(answer(0, Some(node_id(ME)))));
    assert_eq!(closed(&out).code, Code::NotAMember);
}

#[test]
fn a_peer_that_may_not_stay_is_told_why_and_nothing_else() {
    let no = || Refusal::new(Code::NotAMember, "not of this mesh");
    for side in [Side::Answered, dialled(None)] {
        let answered = side == Side::Answered;
        let mut alone = Alone::before_greeting(side);
        alone.hear(greet());
        let theirs = if answered { proof(0) } else { answer(0, None) };
        alone.hear(Message::Prove(theirs));
        assert_eq!(alone.input(Input::Rejected(no())), [Output::Close(no())]);
        assert_eq!(alone.hear(hello(false)), []);
        assert_eq!(alone.input(admitted(0, false)), [], "it stays closed");
        assert_eq!(alone.tick(60_000), []);
    }
    // A member that is removed while it is connected.
    assert_eq!(Alone::new(0).input(Input::Rejected(no())), [Output::Close(no())]);
}

#[test]
fn messages_out_of_turn_end_the_conversation() {
    let root = || Message::Root { namespace: notes(), root: Default::default() };
    let prove = || Message::Prove(proof(0));
    let notes = || Message::Notes(Notes::default());
    let cases: [(Vec<Message>, Message, &str); 13] = [
        (vec![], root(), "the first message is not a greeting"),
        (vec![], prove(), "the first message is not a greeting"),
        (vec![], hello(false), "the first message is not a greeting"),
        (vec![], notes(), "the first message is not a greeting"),
        (vec![greet()], greet(), "the second message is not a proof"),
        (vec![greet()], hello(false), "the second message is not a proof"),
        (vec![greet()], root(), "the second message is not a proof"),
        (vec![greet(), prove()], hello(false), "a message before the proof was answered"),
        (vec![greet(), prove()], prove(), "a message before the proof was answered"),
        (vec![greet(), prove(), hello(false)], greet(), "a second greeting"),
        (vec![greet(), prove(), hello(false)], prove(), "a second greeting"),
        (vec![greet(), prove(), hello(false)], hello(false), "a second greeting"),
        (vec![greet(), prove(), notes()], notes(), "the third message is not a hello"),
    ];
    for (before, wrong, words) in cases {
        let mut alone = Alone::before_greeting(Side::Answered);
        let admit = before.len() > 2;
        let mut out = Vec::new();
        for message in before {
            let proven = matches!(message, Message::Prove(_));
            out = alone.hear(message);
            if proven && admit {
                alone.input(admitted(0, false));
            }
        }
        if !matches!(out.last(), Some(Output::Close(_))) {
            out = alone.hear(wrong);
        }
        assert_eq!(closed(&out).message, words);
        assert_eq!(closed(&out).code, Code::BadFrame);
        assert_eq!(alone.hear(root()), [], "nothing more");
    }
}

#[test]
fn another_protocol_version_is_refused_naming_both_ranges() {
    let greet = |protocol, protocol_min| {
        Message::Greet(Greet { protocol, protocol_min, nonce: PEERS_NONCE })
    };
    for side in [Side::Answered, dialled(None)] {
        let out = Alone::before_greeting(side).hear(greet(7, 5));
        assert_eq!((out.len(), closed(&out).code), (1, Code::Unsupported));
        let words = "no common protocol version: this node speaks 4 to 4, the other 5 to 7";
        assert_eq!(closed(&out).message, words);
    }
    let mut alone = Alone::before_greeting(Side::Answered);
    let theirs = Greet { protocol: 7, protocol_min: 1, nonce: PEERS_NONCE };
    alone.hear(greet(7, 1));
    let there = Transcript { dialler: theirs, ..ANSWERED };
    let (key, me) = (node_key(0), Some(node_id(ME)));
    let proof = Proof::new(&key, [0; 16], &there, Role::Dialler, me, None);
    alone.hear(Message::Prove(proof));
    alone.input(admitted(0, false));
    alone.hear(hello(false));
    assert_eq!(alone.session.peer().expect("greeted").protocol, 4);
}

#[test]
fn only_namespaces_that_the_peer_may_have_are_spoken_of() {
    let (shared, secret) = (space(StoreId([1; 16]), false), namespace("secret"));
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    alone.hear(Message::Prove(proof(0)));
    let spaces = vec![shared.clone()];
    let out = alone.input(Input::Admitted(Box::new(Admitted { spaces, ..Admitted::default() })));
    let [_, Output::Send(Message::Hello(mine))] = &out[..] else { panic!("{out:?}") };
    assert_eq!(mine.spaces, std::slice::from_ref(&shared));
    // The peer says that it has more; the store here knows nothing of it and is not even asked.
    let more = keepboth_core::wire::Space { namespace: secret.clone(), ..shared.clone() };
    let out =
        alone.hear(Message::Hello(Hello { agent: "peer".into(), spaces: vec![more, shared] }));
    let [Message::Root { namespace, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    assert_eq!(*namespace, notes());
    let names: Vec<_> =
        alone.session.standings(&alone.replica).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [notes()]);
    let made = Input::Made {
        namespace: secret.clone(),
        sequence: 1,
        root: Default::default(),
        maker: node_id(ME),
        told: Events::of_messages(vec![event("k", number(1), StoreId([1; 16]))]),
        room: true,
    };
    assert_eq!(alone.input(made), []);
    let keys = vec![KeyTips { key: key("k"), tips: vec![] }];
    assert_eq!(alone.input(Input::Forgot { namespace: secret, keys }), []);
    assert_eq!(alone.tick(60_000), []);
}

#[test]
fn a_peer_with_a_name_without_end_is_refused() {
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    alone.hear(Message::Prove(proof(0)));
    alone.input(admitted(0, false));
    let out = alone.hear(Message::Hello(Hello { agent: "x".repeat(257), spaces: vec![] }));
    assert_eq!(closed(&out).code, Code::BadFrame);
    assert_eq!(alone.session.peer(), None);
}

#[test]
fn a_greeting_is_small() {
    let mut alone = Alone::before_greeting(Side::Answered);
    alone.hear(greet());
    alone.hear(Message::Prove(proof(0)));
    for message in sent(&alone.input(admitted(0, false))) {
        assert!(message.encode().len() < 400, "{message:?}");
    }
    assert!(greet().encode().len() < 60 && FRAME_BYTES_MAX > 400);
}
