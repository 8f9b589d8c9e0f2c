//! Questions and answers about ranges: those in a wrong form, too many, too deep, or made up.

use keepboth_core::digest::{Digest, Prefix};
use keepboth_core::ids::KeyHash;
use keepboth_core::refusal::Code;
use keepboth_core::wire::{Differing, Holding, KeyTips, Message};

use super::fake::Fake;
use super::limits::{Crowded, NOTHING, OTHER, compare, differ, driving, part, prefix, within};
use super::{Alone, chain, closed, notes, sent};
use keepboth_simulation::replica::key;

#[test]
fn a_comparison_of_too_much_is_refused() {
    let deepest = prefix(7, 16);
    let nonsense = [
        compare(vec![part(Prefix::WHOLE, NOTHING); 65]),
        compare(vec![part(deepest, OTHER)]),
        compare(vec![part(prefix(7, 15), OTHER), part(deepest, NOTHING)]),
    ];
    for message in nonsense {
        let out = Alone::new(0).hear(message);
        assert_eq!((out.len(), closed(&out).code), (1, Code::BadFrame), "{out:?}");
    }
    // What is only odd is answered.
    for parts in [vec![], vec![part(prefix(7, 15), OTHER)], vec![part(prefix(7, 3), OTHER); 64]] {
        let out = Alone::new(0).hear(compare(parts.clone()));
        let [Message::Differ { parts: count, .. }] = sent(&out)[..] else { panic!("{out:?}") };
        assert_eq!(*count as usize, parts.len());
    }
}

#[test]
fn keys_that_are_named_in_a_wrong_form_are_refused() {
    for bytes in [1, 23, 25, 33 * 24, 1_000_000] {
        let mut alone = driving(Fake::default());
        let holding = Holding::Keys(vec![7; bytes]);
        let out = alone.hear(differ(1, vec![Differing { prefix: prefix(0, 1), holding }]));
        assert_eq!((out.len(), closed(&out).code), (1, Code::BadFrame), "{out:?}");
    }
    // Named twice, in no order, or outside of the range: that is only odd.
    let mut alone = driving(Fake::default());
    let named = [[9; 24], [1; 24], [9; 24]].concat();
    let out = alone
        .hear(differ(1, vec![Differing { prefix: prefix(0, 1), holding: Holding::Keys(named) }]));
    assert!(matches!(sent(&out)[..], [Message::Offer { .. }]), "{out:?}");
}

#[test]
fn an_answer_that_nobody_waits_for_is_ignored() {
    let mut alone = Alone::new(2);
    let all: Vec<Differing> = within(Prefix::WHOLE, Holding::Much).collect();
    assert_eq!(alone.hear(differ(1, all)), []);
    assert_eq!(alone.hear(Message::Done { namespace: notes() }), []);
    let mut alone = driving(Fake::default());
    for _ in 0..1_000 {
        let out = alone.hear(Message::Done { namespace: notes() });
        assert_eq!(out, [], "the comparison still runs");
    }
}

#[test]
fn only_an_answer_to_the_oldest_question_counts() {
    let whole: Vec<Differing> = within(Prefix::WHOLE, Holding::Much).collect();
    let much = |prefix| Differing { prefix, holding: Holding::Much };
    let twice = [whole.clone(), whole.clone()].concat();
    let wrong = [
        differ(0, vec![]),
        differ(2, vec![]),
        differ(u32::MAX, whole.clone()),
        differ(1, twice),
        differ(1, whole.iter().rev().cloned().collect()),
        differ(1, vec![much(Prefix::WHOLE)]),
        differ(1, vec![much(prefix(0, 2))]),
        differ(1, vec![much(prefix(0, 16)); 100]),
    ];
    let mut alone = driving(Crowded);
    for _ in 0..100 {
        for wrong in &wrong {
            assert_eq!(alone.hear(wrong.clone()), []);
        }
    }
    let out = alone.hear(differ(1, whole.clone()));
    let [Message::Compare { parts, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    assert_eq!(parts.len(), 16);
    assert_eq!(alone.hear(differ(1, whole)), [], "answered already");
}

#[test]
fn who_names_few_of_very_many_keys_gets_all_others_as_a_range() {
    let range = prefix(0, 1);
    let names = (0..100_000).map(|n| format!("k{n}")).filter(|n| range.contains(&key(n).hash()));
    let (mut fake, mut all) = (Fake::default(), Vec::new());
    for name in names.take(4_200) {
        let events = chain(&name, 1);
        fake.hold(&events, 1);
        all.extend(events);
    }
    assert_eq!(all.len(), 4_200);
    let (same, other, strange) = (&all[0], &all[1], [0; 16]);
    let named = [
        (same.key.hash(), Digest::entry(&same.key.hash(), &[same.version.id]).short()),
        (other.key.hash(), 7),
        (strange, 7),
    ];
    let named = named.into_iter().flat_map(|(h, d)| h.into_iter().chain(d.to_be_bytes()));
    let mut alone = driving(fake);
    let holding = Holding::Keys(named.collect());
    let out = alone.hear(differ(1, vec![Differing { prefix: range, holding }]));
    let [Message::Offer { keys, wanted, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    let offered = KeyTips { key: other.key.clone(), tips: vec![other.version.id] };
    assert_eq!((&keys[..], &wanted[..]), (&[offered][..], &[KeyHash(strange)][..]));
    let events: usize = sent(&alone.bulk())
        .into_iter()
        .map(|message| match message {
            Message::Histories { events, .. } => {
                assert!(!events.contains(same) && !events.contains(other));
                events.len()
            }
            _ => 0,
        })
        .sum();
    assert_eq!(events, 4_198);
}

#[test]
fn a_range_that_cannot_be_divided_is_not_divided() {
    let mut fake = Fake::default();
    fake.hold(&chain("k", 1), 1);
    let mut alone = driving(fake);
    let mut range = Prefix::WHOLE;
    for _ in 0..15 {
        range = range.child(range.nibble(&key("k").hash())).expect("a child");
        let much = Differing { prefix: range, holding: Holding::Much };
        let out = alone.hear(differ(1, vec![much]));
        let [Message::Compare { parts, .. }] = sent(&out)[..] else { panic!("{out:?}") };
        assert_eq!(parts[0].prefix, range);
    }
    let last = range.child(range.nibble(&key("k").hash())).expect("a child");
    let out = alone.hear(differ(1, vec![Differing { prefix: last, holding: Holding::Much }]));
    assert_eq!(closed(&out).code, Code::BadFrame);
}

/// A peer that says other things but never answers does not hold up comparisons for ever.
#[test]
fn a_comparison_that_is_not_answered_is_given_up_whatever_else_the_peer_says() {
    let mut alone = driving(Crowded);
    let mut asked_again = Vec::new();
    for second in 1..=130 {
        let root = Digest::from_bytes(&[second as u8; 32]);
        let mut out = alone.hear(Message::Root { namespace: notes(), root });
        out.extend(alone.tick(1_000));
        let asks = |message: &&Message| matches!(message, Message::Compare { .. });
        asked_again.extend(sent(&out).iter().copied().filter(asks).map(|_| second));
    }
    assert!(asked_again.len() == 2, "{asked_again:?}");
    assert!(asked_again[0] > 60 && asked_again[1] > asked_again[0] + 60, "{asked_again:?}");
}
