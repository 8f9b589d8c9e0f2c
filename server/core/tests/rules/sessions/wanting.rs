//! A key is asked for once until its answer is whole, and with pauses if many write to it.

use keepboth_core::name::Key;
use keepboth_core::session::Output;
use keepboth_core::version::Event;
use keepboth_core::wire::Message;

use super::{Alone, key, notes, number, theirs, update};

/// A version of the key `k1` whose parent nobody here knows.
fn orphan(n: usize) -> Event {
    update(&update(&theirs(1), number(n)), number(n + 1))
}

fn wants(outputs: &[Message]) -> usize {
    outputs.iter().filter(|message| matches!(message, Message::Want { .. })).count()
}

/// How often the node asks when this comes live.
fn asks(alone: &mut Alone, event: Event) -> usize {
    let out = alone.live(1, vec![event]);
    wants(&alone.settle(out))
}

fn answer(alone: &mut Alone, events: Vec<Event>, answered: Vec<Key>) -> usize {
    let out = alone.hear(Message::Histories { namespace: notes(), events, answered });
    wants(&alone.settle(out))
}

/// How often it asks within so many milliseconds.
fn later(alone: &mut Alone, milliseconds: u64) -> usize {
    let mut asked = 0;
    for _ in 0..milliseconds / 50 {
        let out = alone.tick(50);
        asked += wants(&alone.settle(out));
    }
    asked
}

#[test]
fn a_key_is_asked_for_once_until_its_answer_is_whole() {
    let mut alone = Alone::new(0);
    assert_eq!(asks(&mut alone, orphan(10)), 1);
    assert_eq!(asks(&mut alone, orphan(20)), 0);
    assert_eq!(answer(&mut alone, vec![theirs(1)], vec![]), 0);
    assert_eq!((asks(&mut alone, orphan(30)), later(&mut alone, 20_000)), (0, 0), "not its end");
    assert_eq!(answer(&mut alone, vec![], vec![key("k1")]), 0);
    assert_eq!(later(&mut alone, 20_000), 0, "nothing was missing since");
    assert_eq!(asks(&mut alone, orphan(40)), 1);
}

#[test]
fn the_pauses_between_questions_about_one_key_grow_until_it_is_quiet() {
    let mut alone = Alone::new(0);
    let mut pauses = Vec::new();
    assert_eq!(asks(&mut alone, orphan(10)), 1);
    for n in 0..7 {
        answer(&mut alone, vec![], vec![key("k1")]);
        let start = alone.now;
        let mut asked = asks(&mut alone, orphan(10 * n + 20));
        while asked == 0 {
            asked = later(&mut alone, 50);
        }
        pauses.push(alone.now - start);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
    answer(&mut alone, vec![], vec![key("k1")]);
    assert_eq!(later(&mut alone, 1_600), 0);
    assert_eq!(asks(&mut alone, orphan(500)), 1, "at once");
}

#[test]
fn what_was_missing_is_not_asked_for_once_both_have_the_same() {
    let mut alone = Alone::new(0);
    asks(&mut alone, orphan(10));
    answer(&mut alone, vec![], vec![key("k1")]);
    assert_eq!(asks(&mut alone, orphan(20)), 0, "it rests");
    let root = alone.store().root();
    alone.hear(Message::Root { namespace: notes(), root });
    assert_eq!(later(&mut alone, 20_000), 0);
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_a_minute() {
    let mut alone = Alone::new(0);
    asks(&mut alone, orphan(10));
    later(&mut alone, 59_000);
    assert_eq!(asks(&mut alone, orphan(20)), 0);
    later(&mut alone, 1_000);
    assert_eq!(asks(&mut alone, orphan(20)), 1);
}

#[test]
fn the_end_of_an_answer_is_told_with_the_last_of_it_also_if_there_is_nothing() {
    let mut alone = Alone::new(0);
    let long: Vec<Event> =
        std::iter::successors(Some(theirs(1)), |e| Some(update(e, number(2)))).take(20).collect();
    super::give(alone.store(), &long);
    let want = |name: &str| {
        let (key, have, known) = (key(name), vec![], vec![]);
        Message::Want { namespace: notes(), key, have, known }
    };
    alone.hear(want("k1"));
    alone.hear(want("none"));
    let (mut events, mut ends) = (0, Vec::new());
    while alone.session.has_bulk() {
        alone.session.more(&alone.replica, 500);
        for output in alone.session.take() {
            let Output::Send(Message::Histories { events: sent, answered, .. }) = output else {
                panic!("{output:?}")
            };
            events += sent.len();
            ends.extend(answered.into_iter().map(|key| (key.as_str().to_owned(), events)));
        }
    }
    assert_eq!(ends, [("k1".to_owned(), 20), ("none".to_owned(), 20)]);
}

#[test]
fn what_stands_on_a_forged_version_does_not_have_all_of_its_key_sent_again() {
    let chain: Vec<Event> =
        std::iter::successors(Some(theirs(1)), |e| Some(update(e, number(2)))).take(4).collect();
    let mut alone = Alone::new(0);
    super::give(alone.store(), &chain[..1]);
    let ask_and_answer = |alone: &mut Alone, events: Vec<Event>| {
        assert_eq!(asks(alone, orphan(10)), 1);
        answer(alone, events, vec![])
    };
    let mut forged = chain[1].clone();
    forged.version.timestamp += 1;
    forged.version.data = chain[0].version.data;
    assert_eq!(ask_and_answer(&mut alone, vec![forged, chain[2].clone()]), 0);
    answer(&mut alone, vec![], vec![key("k1")]);
    later(&mut alone, 1_000);
    // Without a forged one there is another reason: something was forgotten here.
    assert_eq!(ask_and_answer(&mut alone, vec![chain[3].clone()]), 1);
}

fn line(length: usize) -> Vec<Event> {
    std::iter::successors(Some(theirs(1)), |e| Some(update(e, number(2)))).take(length).collect()
}

#[test]
fn who_is_sent_mostly_what_it_knows_says_what_it_has_by_now() {
    let mut alone = Alone::new(0);
    let line = line(40);
    super::give(alone.store(), &line[..1]);
    assert_eq!(asks(&mut alone, orphan(10)), 1);
    later(&mut alone, 100);
    super::give(alone.store(), &line[1..]);
    assert_eq!(answer(&mut alone, line[1..16].to_vec(), vec![]), 0, "15 versions tell nothing");
    assert_eq!(answer(&mut alone, line[16..18].to_vec(), vec![]), 1);
    assert_eq!(answer(&mut alone, line[18..40].to_vec(), vec![]), 0, "not again at once");
}

#[test]
fn what_the_peer_has_by_now_is_left_out_of_the_rest_of_a_long_answer() {
    let mut alone = Alone::new(0);
    let line = line(40);
    super::give(alone.store(), &line);
    let want = |have: &Event| {
        let (have, known) = (vec![have.version.id], vec![]);
        Message::Want { namespace: notes(), key: key("k1"), have, known }
    };
    alone.hear(want(&line[0]));
    alone.session.more(&alone.replica, 500);
    let begun = alone.session.take();
    alone.hear(want(&line[37]));
    let rest = alone.bulk();
    let count = |outputs: &[Output]| {
        let events = outputs.iter().map(|output| match output {
            Output::Send(Message::Histories { events, .. }) => events.len(),
            _ => 0,
        });
        events.sum::<usize>()
    };
    assert!((1..10).contains(&count(&begun)), "{begun:?}");
    assert_eq!(count(&rest), 2, "{rest:?}");
}
