//! A key is asked for once until its answer is whole, and with pauses if many write to it.

use keepboth_core::session::Output;
use keepboth_core::version::Event;
use keepboth_core::wire::{Answered, Message};

use super::{Alone, key, notes, number, theirs, update};

/// A version of the key `k1` whose parent nobody here knows.
fn orphan(n: usize) -> Event {
    update(&update(&theirs(1), number(n)), number(n + 1))
}

/// A session, and the number of its last question.
struct Asker {
    alone: Alone,
    question: u64,
}

impl Asker {
    fn new() -> Asker {
        Asker { alone: Alone::new(0), question: 0 }
    }

    /// How often it asks.
    fn wants(&mut self, outputs: Vec<Output>) -> usize {
        let sent = self.alone.settle(outputs);
        let questions = sent.iter().filter_map(|message| match message {
            Message::Want { question, .. } => Some(*question),
            _ => None,
        });
        let questions: Vec<u64> = questions.collect();
        self.question = questions.last().copied().unwrap_or(self.question);
        questions.len()
    }

    /// How often it asks when this comes live.
    fn hears(&mut self, event: Event) -> usize {
        let out = self.alone.live(1, vec![event]);
        self.wants(out)
    }

    /// How often it asks when this comes in answer, to which questions nothing further comes.
    fn answer(&mut self, events: Vec<Event>, questions: &[u64]) -> usize {
        let answered = |question: &u64| Answered { key: key("k1"), question: *question };
        let (namespace, answered) = (notes(), questions.iter().map(answered).collect());
        let out =
            self.alone.hear(Message::Histories { namespace, events: events.into(), answered });
        self.wants(out)
    }

    /// The same, and it is the whole answer to its last question.
    fn answer_whole(&mut self, events: Vec<Event>) -> usize {
        self.answer(events, &[self.question])
    }

    /// How often it asks within so many milliseconds.
    fn later(&mut self, milliseconds: u64) -> usize {
        let mut asked = 0;
        for _ in 0..milliseconds / 50 {
            let out = self.alone.tick(50);
            asked += self.wants(out);
        }
        asked
    }
}

fn line(length: usize) -> Vec<Event> {
    std::iter::successors(Some(theirs(1)), |e| Some(update(e, number(2)))).take(length).collect()
}

#[test]
fn a_key_is_asked_for_once_until_its_answer_is_whole() {
    let mut asker = Asker::new();
    assert_eq!(asker.hears(orphan(10)), 1);
    assert_eq!(asker.hears(orphan(20)), 0);
    assert_eq!(asker.answer(vec![theirs(1)], &[]), 0);
    assert_eq!((asker.hears(orphan(30)), asker.later(20_000)), (0, 0), "not its end");
    assert_eq!(asker.answer_whole(vec![]), 0);
    assert_eq!(asker.later(20_000), 0, "nothing was missing since");
    assert_eq!(asker.hears(orphan(40)), 1);
}

#[test]
fn the_pauses_between_questions_about_one_key_grow_until_it_is_quiet() {
    let mut asker = Asker::new();
    let mut pauses = Vec::new();
    assert_eq!(asker.hears(orphan(10)), 1);
    for n in 0..7 {
        asker.answer_whole(vec![]);
        let start = asker.alone.now;
        let mut asked = asker.hears(orphan(10 * n + 20));
        while asked == 0 {
            asked = asker.later(50);
        }
        pauses.push(asker.alone.now - start);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 1_600, 1_600]);
    asker.answer_whole(vec![]);
    assert_eq!(asker.later(1_600), 0);
    assert_eq!(asker.hears(orphan(500)), 1, "at once");
}

#[test]
fn what_was_missing_is_not_asked_for_once_both_have_the_same() {
    let mut asker = Asker::new();
    asker.hears(orphan(10));
    asker.answer_whole(vec![]);
    assert_eq!(asker.hears(orphan(20)), 0, "it rests");
    let root = asker.alone.store().root();
    asker.alone.hear(Message::Root { namespace: notes(), root });
    assert_eq!(asker.later(20_000), 0);
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_a_minute() {
    let mut asker = Asker::new();
    asker.hears(orphan(10));
    asker.later(59_000);
    assert_eq!(asker.hears(orphan(20)), 0);
    asker.later(1_000);
    assert_eq!(asker.hears(orphan(20)), 1);
}

#[test]
fn the_end_of_an_answer_is_told_with_the_last_of_it_also_if_there_is_nothing() {
    let mut alone = Alone::new(0);
    super::give(alone.store(), &line(20));
    let want = |name: &str, question| {
        let (key, have, known) = (key(name), vec![], vec![]);
        Message::Want { namespace: notes(), key, have, known, question }
    };
    alone.hear(want("k1", 7));
    alone.hear(want("none", 8));
    let (mut events, mut ends) = (0, Vec::new());
    while alone.session.has_bulk() {
        alone.session.more(&alone.replica, 500);
        for output in alone.session.take() {
            let Output::Send(Message::Histories { events: sent, answered, .. }) = output else {
                panic!("{output:?}")
            };
            events += sent.len();
            ends.extend(answered.into_iter().map(|answered| (answered.question, events)));
        }
    }
    assert_eq!(ends, [(7, 20), (8, 20)]);
}

#[test]
fn what_stands_on_a_forged_version_does_not_have_all_of_its_key_sent_again() {
    let (chain, mut asker) = (line(4), Asker::new());
    super::give(asker.alone.store(), &chain[..1]);
    let ask_and_answer = |asker: &mut Asker, events: Vec<Event>| {
        assert_eq!(asker.hears(orphan(10)), 1);
        asker.answer(events, &[])
    };
    let mut forged = chain[1].clone();
    forged.version.timestamp += 1;
    forged.version.data = chain[0].version.data;
    assert_eq!(ask_and_answer(&mut asker, vec![forged, chain[2].clone()]), 0);
    asker.answer_whole(vec![]);
    asker.later(1_000);
    // Without a forged one there is another reason: something was forgotten here.
    assert_eq!(ask_and_answer(&mut asker, vec![chain[3].clone()]), 1);
}

#[test]
fn who_is_sent_mostly_what_it_knows_says_what_it_has_by_now() {
    let (line, mut asker) = (line(40), Asker::new());
    super::give(asker.alone.store(), &line[..1]);
    assert_eq!(asker.hears(orphan(10)), 1);
    asker.later(100);
    super::give(asker.alone.store(), &line[1..]);
    assert_eq!(asker.answer(line[1..16].to_vec(), &[]), 0, "15 versions tell nothing");
    assert_eq!(asker.answer(line[16..18].to_vec(), &[]), 1);
    assert_eq!(asker.answer(line[18..40].to_vec(), &[]), 0, "not again at once");
}

#[test]
fn what_the_peer_has_by_now_is_left_out_of_the_rest_of_a_long_answer() {
    let mut alone = Alone::new(0);
    let line = line(40);
    super::give(alone.store(), &line);
    let want = |have: &Event| {
        let (have, known) = (vec![have.version.id], vec![]);
        Message::Want { namespace: notes(), key: key("k1"), have, known, question: 1 }
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

/// What is asked for as if nothing of it were here, in the place of a question that is open.
fn asks_for_all(asker: &mut Asker) -> u64 {
    assert_eq!(asker.hears(orphan(10)), 1);
    let first = asker.question;
    let beyond_a_gap = vec![orphan(30), orphan(40)];
    assert_eq!(asker.answer(beyond_a_gap, &[first]), 1, "once, whatever else is missing");
    assert_ne!(asker.question, first);
    first
}

#[test]
fn the_end_of_the_answer_to_an_earlier_question_ends_no_later_one() {
    let mut asker = Asker::new();
    let first = asks_for_all(&mut asker);
    asker.answer(vec![], &[first]);
    asker.later(20_000);
    assert_eq!(asker.hears(orphan(50)), 0, "all of it is still on its way");
}

#[test]
fn all_of_a_key_is_asked_for_once_in_five_seconds_whatever_comes_of_it() {
    let mut asker = Asker::new();
    asks_for_all(&mut asker);
    assert_eq!(asker.answer_whole(vec![orphan(60)]), 0);
    assert_eq!((asker.later(4_900), asker.hears(orphan(70))), (0, 0));
    assert_eq!(asker.later(100), 1);
}
