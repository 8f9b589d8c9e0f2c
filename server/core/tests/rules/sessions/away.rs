//! A node that was away when others forgot deleted keys.

use keepboth_core::digest::Prefix;
use keepboth_core::ids::{KeyHash, StoreId};
use keepboth_core::name::Key;
use keepboth_core::session::{Admitted, Input, Output, Replica};
use keepboth_core::wire::{Answered, Differing, Hello, Holding, KeyTips, Message, Space};

use super::fake::Fake;
use super::forget::{histories, offer, theirs_root, want};
use super::{Alone, ME, admitted, chain, hello, keys_of, notes, sent, space, theirs};
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
    Output::Send(Message::Histories { namespace, events: Vec::new(), answered })
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

#[test]
fn what_is_another_at_the_peer_and_unchanged_since_the_agreement_is_replaced() {
    let replaced = |out: &[Output]| {
        let [
            Output::Replace { key: k, last: 10, .. },
            Output::Send(Message::Want { key, have, .. }),
            rest @ ..,
        ] = out
        else {
            panic!("{out:?}")
        };
        assert!(*k == *key && have.is_empty(), "all that the peer has");
        assert!(rest.iter().all(|output| *output == answered(key.as_str())), "{rest:?}");
        key.clone()
    };
    let strange = theirs(1).version.id;
    let mut alone = away(before_and_after(), 0);
    let named = |name| KeyTips { key: key(name), tips: vec![strange] };
    assert_eq!(replaced(&offer(&mut alone, vec![named("old")], vec![])), key("old"));
    let mut alone = away(before_and_after(), 0);
    assert_eq!(replaced(&want(&mut alone, "old", vec![strange])), key("old"));
    assert_eq!(histories(&alone.bulk()), [], "what is dropped is not given");

    // What was changed since, both sides give each other like any other change.
    for message in [0, 1] {
        let mut alone = away(before_and_after(), 0);
        let out = match message {
            0 => offer(&mut alone, vec![named("new")], vec![]),
            _ => want(&mut alone, "new", vec![strange]),
        };
        let [Message::Want { have, known, .. }] = sent(&out)[..] else { panic!("{out:?}") };
        assert_eq!((out.len(), have.len(), known.len()), (1, 1, 1));
    }
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

/// This node and the peer, as they remember in how many conversations they agreed; sequence 10 in the last.
fn remembering(mine: u64, theirs: u64) -> (Alone<Fake>, Vec<Output>) {
    let spaces = |store, met| vec![Space { met, ..space(store, false) }];
    let admitted = Input::Admitted(Box::new(Admitted {
        spaces: spaces(store_id(ME, &notes()), mine),
        marks: [(notes(), 10)].into(),
        notes: Default::default(),
    }));
    let spaces = spaces(StoreId([9; 16]), theirs);
    let hello = Message::Hello(Hello { agent: "peer".into(), spaces });
    Alone::open(before_and_after(), 0, admitted, hello)
}

#[test]
fn who_remembers_fewer_conversations_was_put_back_and_judges_like_one_who_was_away() {
    for (mine, theirs) in [(1, 2), (7, 50), (0, u64::MAX)] {
        let (mut alone, out) = remembering(mine, theirs);
        assert!(matches!(&out[0], Output::Warn(words) if words.contains("backup")), "{out:?}");
        assert_eq!(buried(&want(&mut alone, "old", vec![])), [(key("old"), 10)]);
        assert_eq!(want(&mut alone, "new", vec![]), []);
        assert_eq!(histories(&alone.bulk()), chain("new", 2), "what was changed since is given");
        assert!(!alone.standing().away, "it is not the peer that was put back");
    }
}

#[test]
fn who_remembers_as_many_as_the_other_or_more_buries_nothing() {
    for (mine, theirs, they) in [(2, 1, true), (u64::MAX, 0, true), (5, 5, false), (0, 0, false)] {
        let (mut alone, _) = remembering(mine, theirs);
        assert_eq!(alone.standing().away, they, "{mine} {theirs}");
        assert_eq!(alone.standing().met, mine.max(theirs).saturating_add(1), "the next one");
        assert_eq!(want(&mut alone, "old", vec![]), []);
        assert_eq!(histories(&alone.bulk()), chain("old", 2));
    }
}
