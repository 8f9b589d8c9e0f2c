//! A node that was away when others forgot deleted keys.

use keepboth_core::digest::Prefix;
use keepboth_core::ids::{KeyHash, StoreId};
use keepboth_core::name::Key;
use keepboth_core::session::{Admitted, Input, Output, Replica};
use keepboth_core::version::Event;
use keepboth_core::wire::{
    Answered, Differing, Exchanged, Hello, Holding, KeyTips, Message, Space,
};

use super::fake::Fake;
use super::forget::{histories, offer, theirs_root, want};
use super::{
    Alone, ME, admitted, chain, event, hello, keys_of, notes, number, sent, space, theirs, update,
};
use keepboth_simulation::network::store_id;
use keepboth_simulation::replica::key;

/// This node was away, and agreed with the peer at sequence 10 last.
fn away(fake: Fake, peer: usize) -> Alone<Fake> {
    let (alone, out) = Alone::open(fake, peer, admitted(10, false), hello(true));
    assert!(matches!(&out[0], Output::Warn(words) if words.contains("away")), "{out:?}");
    alone
}

/// One key that did not change since the agreement, one that did right after it.
fn before_and_after() -> Fake {
    let mut fake = Fake::default();
    fake.hold(&chain("old", 2), 10);
    fake.hold(&chain("new", 2), 11);
    fake
}

fn buried(outputs: &[Output]) -> Vec<(Key, u64)> {
    let buried = outputs.iter().filter_map(|output| match output {
        Output::Bury { key, last, .. } => Some((key.clone(), *last)),
        _ => None,
    });
    buried.collect()
}

fn answered(name: &str) -> Output {
    let (namespace, answered) = (notes(), vec![Answered { key: key(name), question: 1 }]);
    Output::Send(Message::Histories { namespace, events: Vec::new().into(), answered })
}

#[test]
fn what_is_absent_at_the_peer_and_unchanged_since_the_agreement_is_buried() {
    let mut alone = away(before_and_after(), 0);
    let out = want(&mut alone, "old", vec![]);
    assert_eq!(buried(&out), [(key("old"), 10)]);
    assert_eq!(out[1..], [answered("old")], "nothing is sent, and that is the answer");
    assert!(!alone.session.has_bulk());
    assert_eq!(want(&mut alone, "new", vec![]), []);
    assert_eq!(histories(&alone.bulk()), chain("new", 2), "what was changed since is given");

    let mut alone = away(before_and_after(), 0);
    let hashes = ["old", "new"].map(|name| KeyHash(key(name).hash())).to_vec();
    let out = offer(&mut alone, vec![], hashes);
    assert_eq!(buried(&out), [(key("old"), 10)]);
    assert_eq!(histories(&alone.bulk()), chain("new", 2));
}

#[test]
fn of_a_range_that_is_absent_at_the_peer_only_what_changed_is_given() {
    // The peer asks for the range, or says as the follower that it has nothing, or shows it by a zero.
    let whole = |alone: &mut Alone<Fake>| {
        alone.hear(Message::Fetch { namespace: notes(), prefix: Prefix::WHOLE })
    };
    let nothing = |alone: &mut Alone<Fake>| {
        alone.hear(Message::Root { namespace: notes(), root: theirs_root() });
        let children = (0..16).filter_map(|nibble| Prefix::WHOLE.child(nibble));
        let nothing = |prefix| Differing { prefix, holding: Holding::Nothing };
        let differing = children.map(nothing).collect();
        alone.hear(Message::Differ { namespace: notes(), parts: 1, differing })
    };
    let zeros = |alone: &mut Alone<Fake>| {
        let part = keepboth_core::wire::Part { prefix: Prefix::WHOLE, children: [0; 128] };
        alone.hear(Message::Compare { namespace: notes(), parts: vec![part] })
    };
    type Ask<'a> = &'a dyn Fn(&mut Alone<Fake>) -> Vec<Output>;
    let ways: [(usize, Ask<'_>); 3] = [(0, &whole), (2, &nothing), (0, &zeros)];
    for (peer, ask) in ways {
        let mut fake = before_and_after();
        for n in 0..50 {
            fake.hold(&chain(&format!("old {n}"), 3), n % 10 + 1);
        }
        let mut alone = away(fake, peer);
        let mut out = ask(&mut alone);
        out.extend(alone.bulk());
        assert_eq!(histories(&out), chain("new", 2));
        let mut buried = buried(&out);
        assert_eq!(buried.len(), 51, "each once");
        buried.dedup();
        assert!(
            buried.len() == 51 && buried.iter().all(|(k, last)| *last == 10 && *k != key("new"))
        );
    }
}

#[test]
fn what_is_buried_takes_its_turn_like_what_is_sent() {
    let mut fake = Fake::default();
    for n in 0..5_000 {
        fake.hold(&chain(&format!("old {n}"), 1), 10);
    }
    let mut alone = away(fake, 0);
    alone.hear(Message::Fetch { namespace: notes(), prefix: Prefix::WHOLE });
    let mut steps = Vec::new();
    while alone.session.has_bulk() {
        alone.session.more(&alone.replica, 20_000);
        steps.push(buried(&alone.session.take()).len());
    }
    assert_eq!(steps.iter().sum::<usize>(), 5_000);
    assert!(steps.iter().all(|step| *step < 250), "{steps:?}");
}

/// The one question whether the peer knows the tip of "old", and what else came.
fn asks(out: &[Output]) -> (u64, Vec<Output>) {
    let [Output::Send(Message::Ask { question, key: of, version, .. }), rest @ ..] = out else {
        panic!("{out:?}")
    };
    assert_eq!((of, *version), (&key("old"), chain("old", 2)[1].version.id));
    (*question, rest.to_vec())
}

fn holds(alone: &mut Alone<Fake>, question: u64, held: bool) -> Vec<Output> {
    alone.hear(Message::Holds { question, held })
}

/// Which histories go for what came.
fn replaces(out: &[Output]) -> Vec<(Key, u64)> {
    let replaces = out.iter().filter_map(|output| match output {
        Output::Apply { replaces, .. } => Some(replaces.clone()),
        _ => None,
    });
    replaces.flatten().collect()
}

fn bring(alone: &mut Alone<Fake>, events: Vec<Event>) -> Vec<Output> {
    alone.hear(Message::Histories {
        namespace: notes(),
        events: events.into(),
        answered: Vec::new(),
    })
}

/// Another history of "old" than the one here.
fn remade() -> Vec<Event> {
    let first = event("old", number(7), StoreId([8; 16]));
    vec![first.clone(), update(&first, number(8))]
}

#[test]
fn what_is_another_at_the_peer_and_unchanged_since_the_agreement_goes_with_the_commit_that_brings_it()
 {
    let remade = remade();
    let tips = vec![remade[1].version.id];
    type Begin<'a> = &'a dyn Fn(&mut Alone<Fake>) -> Vec<Output>;
    let offered: Begin<'_> =
        &|alone| offer(alone, vec![KeyTips { key: key("old"), tips: tips.clone() }], vec![]);
    let wanted: Begin<'_> = &|alone| want(alone, "old", tips.clone());
    for (begin, rest) in [(offered, vec![]), (wanted, vec![answered("old")])] {
        let mut alone = away(before_and_after(), 0);
        let (question, told) = asks(&begin(&mut alone));
        assert_eq!((told, histories(&alone.bulk())), (rest, vec![]), "nothing is given");
        let out = holds(&mut alone, question, false);
        let [Message::Want { have, known, .. }] = sent(&out)[..] else { panic!("{out:?}") };
        assert!(have.is_empty() && known.is_empty(), "all that the peer has");
        // A part that does not stand by itself takes no place.
        assert_eq!(replaces(&bring(&mut alone, remade[1..].to_vec())), []);
        assert_eq!(replaces(&bring(&mut alone, remade.clone())), [(key("old"), 10)]);
        assert_eq!(replaces(&bring(&mut alone, remade.clone())), [], "once");
    }

    // What was changed since, both sides give each other like any other change.
    for message in [0, 1] {
        let mut alone = away(before_and_after(), 0);
        let strange = theirs(1).version.id;
        let out = match message {
            0 => offer(&mut alone, vec![KeyTips { key: key("new"), tips: vec![strange] }], vec![]),
            _ => want(&mut alone, "new", vec![strange]),
        };
        let [Message::Want { have, known, .. }] = sent(&out)[..] else { panic!("{out:?}") };
        assert_eq!((out.len(), have.len(), known.len()), (1, 1, 1));
    }
}

#[test]
fn what_goes_on_from_here_at_the_peer_is_asked_for_as_always() {
    let mut alone = away(before_and_after(), 0);
    let newer = chain("old", 3);
    let named = KeyTips { key: key("old"), tips: vec![newer[2].version.id] };
    let (question, _) = asks(&offer(&mut alone, vec![named], vec![]));
    let out = holds(&mut alone, question, true);
    let [Message::Want { have, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    assert_eq!(have[..], [newer[1].version.id], "only what is beyond");
    assert_eq!(replaces(&bring(&mut alone, newer[2..].to_vec())), []);
    assert_eq!(holds(&mut alone, question, false), [], "an answer that nobody waits for");
}

#[test]
fn what_the_peer_does_not_have_any_more_stays_until_both_agree_otherwise() {
    let mut alone = away(before_and_after(), 0);
    let named = KeyTips { key: key("old"), tips: vec![theirs(1).version.id] };
    let (question, _) = asks(&offer(&mut alone, vec![named], vec![]));
    let out = holds(&mut alone, question, false);
    let [Message::Want { question, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    let answered = vec![Answered { key: key("old"), question: *question }];
    alone.hear(Message::Histories { namespace: notes(), events: Vec::new().into(), answered });
    assert_eq!(replaces(&bring(&mut alone, remade())), [], "this is no answer any more");
}

#[test]
fn keys_in_doubt_are_bounded_and_the_rest_waits_for_the_next_comparison() {
    let mut fake = Fake::default();
    let name = |n: usize| format!("old {n}");
    (0..10_001).for_each(|n| fake.hold(&chain(&name(n), 1), 10));
    let mut alone = away(fake, 0);
    let strange = theirs(1).version.id;
    let named: Vec<KeyTips> =
        (0..10_001).map(|n| KeyTips { key: key(&name(n)), tips: vec![strange] }).collect();
    let out: Vec<Output> =
        named.chunks(256).flat_map(|part| offer(&mut alone, part.to_vec(), vec![])).collect();
    assert_eq!(sent(&out).len(), 10_000);
    assert_eq!(alone.session.burden().replacing, 10_000);
}

#[test]
fn until_both_agree_what_is_remembered_of_the_last_agreement_stays() {
    let mut alone = away(before_and_after(), 0);
    assert!(alone.standing().catches_up);
    alone.hear(Message::Root { namespace: notes(), root: theirs_root() });
    assert!(alone.standing().catches_up);
    let root = alone.replica.root(&notes());
    alone.hear(Message::Root { namespace: notes(), root });
    assert!(!alone.standing().catches_up);
    assert_eq!(buried(&want(&mut alone, "old", vec![])), [], "from now on it is like any other");
}

#[test]
fn who_has_an_older_version_gets_the_newer_even_from_a_node_that_was_away() {
    let mut alone = away(before_and_after(), 0);
    let events = chain("old", 2);
    assert_eq!(want(&mut alone, "old", vec![events[0].version.id]), []);
    assert_eq!(histories(&alone.bulk()), events[1..]);
    // And the peer's newer version is given here like any other: it comes on top.
    let mut alone = away(before_and_after(), 0);
    let offered = KeyTips { key: key("old"), tips: vec![events[1].version.id] };
    assert_eq!(offer(&mut alone, vec![offered], vec![]), [], "the same here");
}

#[test]
fn a_node_that_was_not_away_buries_and_replaces_nothing() {
    // Nor does one whose peer was away: that one has to.
    for they_were_away in [false, true] {
        let admitted = admitted(10, they_were_away);
        let (mut alone, _) = Alone::open(before_and_after(), 0, admitted, hello(false));
        assert_eq!(alone.standing().away, they_were_away);
        let mut out = want(&mut alone, "old", vec![]);
        out.extend(want(&mut alone, "old", vec![theirs(1).version.id]));
        let hash = KeyHash(key("old").hash());
        let strange = KeyTips { key: key("old"), tips: vec![theirs(1).version.id] };
        out.extend(offer(&mut alone, vec![strange], vec![hash]));
        out.extend(alone.hear(Message::Fetch { namespace: notes(), prefix: Prefix::WHOLE }));
        out.extend(alone.bulk());
        assert!(out.iter().all(|output| matches!(output, Output::Send(_))), "{out:?}");
        assert!(!histories(&out).is_empty());
    }
    // One that never agreed with the peer has nothing that both once had.
    let (mut alone, _) = Alone::open(before_and_after(), 0, admitted(0, false), hello(true));
    assert_eq!(want(&mut alone, "old", vec![]), []);
    assert_eq!(keys_of(&histories(&alone.bulk())), [key("old"), key("old")]);
    assert!(alone.replica.held(&notes(), &key("old")).is_ok());
}

/// This node and the peer, each with the digests that it remembers to have shown and seen; sequence 10 is
/// the last at which they agreed.
fn remembering(mine: (u64, u64), theirs: (u64, u64), away: bool) -> (Alone<Fake>, Vec<Output>) {
    let spaces = |store, (shown, seen), away| vec![Space { shown, seen, ..space(store, away) }];
    let admitted = Input::Admitted(Box::new(Admitted {
        spaces: spaces(store_id(ME, &notes()), mine, false),
        marks: [(notes(), 10)].into(),
        notes: Default::default(),
    }));
    let spaces = spaces(StoreId([9; 16]), theirs, away);
    let hello = Message::Hello(Hello { agent: "peer".into(), spaces });
    Alone::open(before_and_after(), 0, admitted, hello)
}

#[test]
fn who_has_shown_less_than_the_peer_has_seen_was_put_back_and_judges_like_one_who_was_away() {
    for (mine, theirs) in [((4, 4), (4, 5)), ((7, 0), (50, 50)), ((0, 0), (u64::MAX, u64::MAX))] {
        let (mut alone, out) = remembering(mine, theirs, false);
        assert!(matches!(&out[0], Output::Warn(words) if words.contains("backup")), "{out:?}");
        assert_eq!(buried(&want(&mut alone, "old", vec![])), [(key("old"), 10)]);
        assert_eq!(want(&mut alone, "new", vec![]), []);
        assert_eq!(histories(&alone.bulk()), chain("new", 2), "what was changed since is given");
        assert!(!alone.standing().away, "it is not the peer that was put back");
    }
}

#[test]
fn who_has_shown_all_that_the_peer_has_seen_buries_nothing() {
    // Also if what was shown last never came.
    for (mine, theirs) in [((5, 5), (5, 5)), ((9, 5), (5, 5)), ((5, 5), (9, 5)), ((0, 0), (0, 0))] {
        let (mut alone, out) = remembering(mine, theirs, false);
        assert!(!out.iter().any(|output| matches!(output, Output::Warn(_))), "{out:?}");
        assert_eq!(want(&mut alone, "old", vec![]), []);
        assert_eq!(histories(&alone.bulk()), chain("old", 2));
    }
}

#[test]
fn a_peer_that_was_put_back_itself_is_no_witness_for_what_it_lacks() {
    for (mine, theirs, away) in
        [((9, 9), (8, 5), true), ((3, 9), (8, 5), false), ((3, 9), (8, 5), true)]
    {
        let (mut alone, _) = remembering(mine, theirs, away);
        assert_eq!(alone.standing().catches_up, mine.0 < theirs.1);
        assert_eq!(want(&mut alone, "old", vec![]), []);
        assert_eq!(histories(&alone.bulk()), chain("old", 2), "it may have lost it with its disk");
    }
}

#[test]
fn every_digest_that_is_shown_counts() {
    let (mut alone, _) = remembering((3, 9), (8, 5), false);
    let exchanged = |shown, seen| Exchanged { shown, seen };
    assert_eq!(
        alone.standing().exchanged,
        exchanged(6, 9),
        "the larger, and what the greeting showed"
    );
    alone.hear(Message::Root { namespace: notes(), root: theirs_root() });
    assert_eq!(alone.standing().exchanged, exchanged(6, 10));
    let mut alone = Alone::new(0);
    let sent = alone.live(1, vec![theirs(1)]);
    assert!(matches!(alone.settle(sent)[..], [Message::Ack { .. }]));
    assert_eq!(
        alone.standing().exchanged,
        exchanged(2, 1),
        "live events and their acknowledgement"
    );
}
