//! What hostile or huge inputs may cost: every answer is bounded, and fits a message.

use std::collections::VecDeque;

use keepboth_core::digest::{Digest, FANOUT, Prefix};
use keepboth_core::history::History;
use keepboth_core::ids::{ConflictId, KeyHash, VersionId};
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Entry, Held, Histories, Input, Output, Received, Replica, Ticket};
use keepboth_core::version::Event;
use keepboth_core::wire::{ConflictNote, ConflictSide, Differing, Holding, KeyTips, Message, Part};

use super::fake::Fake;
use super::{Alone, admitted, chain, closed, event, hello, notes, number, sent, theirs, update};
use keepboth_simulation::replica::key;

pub const NOTHING: [u8; 8 * FANOUT] = [0; 8 * FANOUT];
pub const OTHER: [u8; 8 * FANOUT] = [0xee; 8 * FANOUT];

pub fn part(prefix: Prefix, children: [u8; 8 * FANOUT]) -> Part {
    Part { prefix, children }
}

/// The range with so many nibbles of this path.
pub fn prefix(path: u64, nibbles: u8) -> Prefix {
    let mut prefix = Prefix::WHOLE;
    for at in 0..nibbles {
        prefix = prefix.child((path >> (60 - 4 * u32::from(at)) & 0xf) as u8).expect("a child");
    }
    prefix
}

pub fn compare(parts: Vec<Part>) -> Message {
    Message::Compare { namespace: notes(), parts }
}

pub fn differ(parts: u32, differing: Vec<Differing>) -> Message {
    Message::Differ { namespace: notes(), parts, differing }
}

/// Every range within a range, with what the peer has there.
pub fn within(range: Prefix, holding: Holding) -> impl Iterator<Item = Differing> {
    let children = (0..FANOUT as u8).filter_map(move |nibble| range.child(nibble));
    children.map(move |prefix| Differing { prefix, holding: holding.clone() })
}

/// This node drives, and asks for the first comparison.
pub fn driving<R: Replica>(replica: R) -> Alone<R> {
    let (mut alone, _) = Alone::open(replica, 2, admitted(0, false), hello(false));
    let root = Digest::from_bytes(&[5; 32]);
    let out = alone.hear(Message::Root { namespace: notes(), root });
    let [Message::Compare { parts, .. }] = sent(&out)[..] else { panic!("{out:?}") };
    assert_eq!(parts.len(), 1);
    alone
}

/// A store in which every range holds very many keys, and every key has very many tips.
pub struct Crowded;

impl Replica for Crowded {
    fn root(&self, _: &Namespace) -> Digest {
        Digest::from_bytes(&[1; 32])
    }
    fn sequence(&self, _: &Namespace) -> u64 {
        1
    }
    fn sequence_of(&self, _: &Namespace, _: &Digest) -> Option<u64> {
        None
    }
    fn children(&self, _: &Namespace, _: Prefix) -> Result<[Digest; FANOUT], Refusal> {
        Ok([Digest::from_bytes(&[3; 32]); FANOUT])
    }
    fn entries(
        &self,
        _: &Namespace,
        _: Prefix,
        most: usize,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let entry = |n: usize| {
            let key = key(&format!("k{n}"));
            Entry { hash: key.hash(), key, tips: vec![VersionId([1; 32]); 3] }
        };
        let mut entries: Vec<Entry> = (0..32).map(entry).collect();
        entries.sort_by_key(|entry| entry.hash);
        Ok((most >= 32).then_some(entries))
    }
    fn key_of(&self, _: &Namespace, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        Ok(Some(key(&format!("{hash:?}"))))
    }
    fn held(&self, _: &Namespace, _: &Key) -> Result<Option<Held>, Refusal> {
        Ok(Some(Held { tips: vec![VersionId([0; 32]); 50_000], last: 1, forgotten: false }))
    }
    fn history(&self, _: &Namespace, key: &Key) -> Result<Option<History>, Refusal> {
        let mut history = History::new(key.clone());
        for n in 0..12_000 {
            history.insert(
                event(key.as_str(), number(n), keepboth_core::ids::StoreId([1; 16])).version,
            )?;
        }
        Ok(Some(history))
    }
    fn known(&self, _: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        let id =
            |n| event(key.as_str(), number(n), keepboth_core::ids::StoreId([2; 16])).version.id;
        Ok((0..12_000).map(id).collect())
    }
    fn missing(
        &self,
        _: &Namespace,
        _: &Key,
        _: &[VersionId],
        _: &[VersionId],
        _: Option<u64>,
        _: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal> {
        Ok((vec![theirs(1)], None))
    }
    fn page(
        &self,
        _: &Namespace,
        first: [u8; 16],
        last: [u8; 16],
        _: usize,
    ) -> Result<Histories, Refusal> {
        let next = (first < last).then_some(last);
        Ok(Histories { events: vec![theirs(1)], rest: None, next })
    }
}

#[test]
fn no_message_is_larger_than_a_frame() {
    let mut alone = driving(Crowded);
    let ranges: Vec<Prefix> = (0..64).map(|n| prefix(n << 58, 3)).collect();
    let children = ranges.iter().map(|range| part(*range, OTHER)).collect();
    let named: Vec<u8> = (0..32u8).flat_map(|n| [n; 24]).collect();
    let orphan = update(&theirs(1), number(2));
    let ticket =
        Ticket { namespace: notes(), live: None, maker: None, short: false, answered: Vec::new() };
    let inputs = [
        Input::Message(differ(1, within(Prefix::WHOLE, Holding::Keys(named)).collect())),
        Input::Message(compare(children)),
        Input::Applied {
            ticket,
            keys: vec![orphan.key.clone()],
            outcomes: vec![Received::Missing(vec![])],
        },
    ];
    let (mut offers, mut differs, mut wants) = (0, 0, 0);
    for input in inputs {
        for message in sent(&alone.input(input)) {
            assert!(message.encode().len() <= FRAME_BYTES_MAX, "{}", message.encode().len());
            offers += usize::from(matches!(message, Message::Offer { .. }));
            differs += usize::from(matches!(message, Message::Differ { .. }));
            wants += usize::from(matches!(message, Message::Want { .. }));
        }
    }
    assert!(offers > 10 && differs == 1 && wants == 1, "{offers} {differs} {wants}");
}

#[test]
fn an_offer_of_more_keys_than_honest_nodes_offer_is_refused() {
    let offer = |keys: usize, wanted: usize| Message::Offer {
        namespace: notes(),
        keys: (0..keys).map(|n| KeyTips { key: key(&format!("k{n}")), tips: vec![] }).collect(),
        wanted: vec![KeyHash([7; 16]); wanted],
    };
    // Each key may be answered with a question that is far larger.
    for (keys, wanted) in [(256, 0), (0, 256), (200, 56)] {
        let out = Alone::new(0).hear(offer(keys, wanted));
        assert_eq!(sent(&out).len(), keys);
    }
    for (keys, wanted) in [(257, 0), (0, 257), (200, 57), (50_000, 0)] {
        let out = Alone::new(0).hear(offer(keys, wanted));
        assert_eq!((out.len(), closed(&out).code), (1, Code::BadFrame));
    }
    // Offers without end fill what is kept ready, and then end the conversation.
    let mut alone = Alone::new(0);
    let end = (0..).find(|_| {
        let out = alone.input(Input::Message(offer(0, 1)));
        out.iter().any(|output| matches!(output, Output::Close(_)))
    });
    assert_eq!(end, Some(100_000));
}

#[test]
fn who_asks_for_more_than_is_kept_ready_is_cut_off() {
    let overloaded = |outputs: &[Output]| {
        outputs.iter().any(|o| matches!(o, Output::Close(r) if r.code == Code::Overloaded))
    };
    let want = |n: usize| Message::Want {
        namespace: notes(),
        key: key(&format!("k{n}")),
        have: vec![],
        known: vec![],
        question: 1,
    };
    let fetch = |n: usize| Message::Fetch { namespace: notes(), prefix: prefix(n as u64, 16) };
    // Each range of each part is lacking there: a range and a mark are kept ready.
    let zeros = |_| compare(vec![part(Prefix::WHOLE, NOTHING); 64]);
    let asks: [(&dyn Fn(usize) -> Message, usize); 3] =
        [(&want, 100_000), (&fetch, 50_000), (&zeros, 48)];
    for (ask, most) in asks {
        let mut alone = Alone::open(Crowded, 0, admitted(0, false), hello(false)).0;
        for n in 0..most {
            assert!(!overloaded(&alone.input(Input::Message(ask(n)))), "{n}");
        }
        assert!(alone.session.has_bulk());
        assert!(overloaded(&alone.input(Input::Message(ask(most)))));
        assert!(!alone.session.has_bulk(), "nothing is kept for who was cut off");
    }
}

#[test]
fn a_key_that_is_asked_for_again_and_again_waits_once() {
    let mut fake = Fake::default();
    fake.hold(&chain("k", 3), 1);
    let mut alone = Alone::open(fake, 0, admitted(0, false), hello(false)).0;
    let events = chain("k", 3);
    for have in [vec![], vec![events[0].version.id], vec![events[1].version.id]] {
        alone.hear(Message::Want {
            namespace: notes(),
            key: key("k"),
            have,
            known: vec![],
            question: 1,
        });
    }
    let sent = alone.bulk();
    let [Output::Send(Message::Histories { events: sent, .. })] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(sent[..], events[2..], "what the peer has said last counts");
}

#[test]
fn a_history_on_its_way_is_sent_once_more_if_all_is_wanted_and_only_once() {
    let events = chain("k", 40);
    let mut fake = Fake::default();
    fake.hold(&events, 1);
    let mut alone = Alone::open(fake, 0, admitted(0, false), hello(false)).0;
    let want = |have| Message::Want {
        namespace: notes(),
        key: key("k"),
        have,
        known: vec![],
        question: 1,
    };
    let mut outputs = Vec::new();
    for have in [9, 9, 40, 40, 9, 40].map(|n| events.get(n)) {
        alone.hear(want(have.iter().map(|event| event.version.id).collect()));
        alone.session.more(&alone.replica, 1_000);
        outputs.extend(alone.session.take());
    }
    outputs.extend(alone.bulk());
    let histories = outputs.iter().flat_map(|output| match output {
        Output::Send(Message::Histories { events, .. }) => events,
        output => panic!("{output:?}"),
    });
    let wanted = events[10..].iter().chain(&events);
    assert!(histories.eq(wanted), "the rest of what was asked for first, then all, and no more");
}

#[test]
fn questions_that_name_very_many_versions_are_bounded_by_their_size() {
    let have = vec![VersionId([7; 32]); 20_000];
    let want = |n: usize| Message::Want {
        namespace: notes(),
        key: key(&format!("k{n}")),
        have: have.clone(),
        known: vec![],
        question: 1,
    };
    let mut alone = Alone::new(0);
    let ends = |alone: &mut Alone, count: usize| {
        let mut outputs = (0..count).flat_map(|n| alone.input(Input::Message(want(n))));
        outputs.any(|output| matches!(output, Output::Close(r) if r.code == Code::Overloaded))
    };
    for _ in 0..3 {
        assert!(!ends(&mut alone, 100));
        alone.bulk();
    }
    assert!(ends(&mut alone, 101));
    assert!(!alone.session.has_bulk());
}

/// Answers every question of the session: down to five nibbles there is much everywhere, and then this.
/// How many ranges were compared before the session waits.
fn answer_all(alone: &mut Alone<Crowded>, first: Vec<Output>, last: &Holding) -> usize {
    let (mut outputs, mut compared) = (VecDeque::from(first), 0);
    while let Some(output) = outputs.pop_front() {
        match output {
            Output::Send(Message::Compare { parts, .. }) => {
                let holding = |range: Prefix| match range.nibbles() {
                    0..4 => Holding::Much,
                    _ => last.clone(),
                };
                let answers =
                    parts.iter().flat_map(|part| within(part.prefix, holding(part.prefix)));
                compared += parts.len();
                outputs.extend(alone.hear(differ(parts.len() as u32, answers.collect())));
            }
            Output::Send(_) => {}
            output => panic!("{output:?}"),
        }
    }
    compared
}

#[test]
fn however_unlike_two_stores_are_neither_keeps_ready_more_than_it_may() {
    // All that the follower has is wanted: it keeps two items ready for each range.
    let mut alone = driving(Crowded);
    let whole = differ(1, within(Prefix::WHOLE, Holding::Much).collect());
    let out = alone.hear(whole.clone());
    let compared = answer_all(&mut alone, out, &Holding::Sent);
    let open = compared * FANOUT;
    assert!((8_192..40_000).contains(&open), "{open} ranges on their way");
    assert_eq!(answer_all(&mut alone, vec![], &Holding::Sent), 0);
    assert!(alone.tick(50).iter().all(|o| !matches!(o, Output::Send(Message::Compare { .. }))));
    let mut more = 0;
    for _ in 0..open {
        let out = alone.hear(Message::Done { namespace: notes() });
        more += out.iter().filter(|o| matches!(o, Output::Send(Message::Compare { .. }))).count();
    }
    assert!(more > 0, "it goes on when there is room");

    // All that this node has is wanted.
    let mut alone = driving(Crowded);
    let out = alone.hear(whole);
    let compared = answer_all(&mut alone, out, &Holding::Nothing);
    assert!((8_192..40_000).contains(&(compared * FANOUT)), "{compared}");
    alone.bulk();
    let out = alone.tick(50);
    assert!(matches!(sent(&out)[..], [Message::Compare { .. }, ..]), "{out:?}");
    assert!(answer_all(&mut alone, out, &Holding::Nothing) > 0);
}

#[test]
fn histories_that_nobody_asked_for_are_checked_and_taken_as_any() {
    let mut alone = Alone::new(0);
    let mut forged = theirs(1);
    forged.version.timestamp += 1;
    let events = vec![forged, theirs(2)];
    let out = alone.hear(Message::Histories {
        namespace: notes(),
        events: events.into(),
        answered: Vec::new(),
    });
    let [
        Output::Warn(_),
        Output::Send(Message::Refused { .. }),
        Output::Apply { ticket, events, .. },
    ] = &out[..]
    else {
        panic!("{out:?}")
    };
    assert_eq!((ticket.live, &events[..]), (None, &[theirs(2)][..]));
    let sent = alone.settle(out);
    assert!(matches!(sent[..], [Message::Refused { .. }, Message::Root { .. }]), "{sent:?}");
    assert_eq!(alone.store().tips(&key("k2")), [theirs(2).version.id]);
}

#[test]
fn a_flood_of_keys_that_nobody_knows_makes_1_000_questions() {
    let name = |n: usize| key(&format!("k{n}"));
    let conflict = |n: usize| {
        let side = ConflictSide {
            version: VersionId([n as u8; 32]),
            branch: [0; 16],
            origin: keepboth_core::ids::StoreId([9; 16]),
        };
        let note = ConflictNote {
            namespace: notes(),
            key: name(n),
            id: ConflictId([n as u8; 32]),
            base: None,
            sides: vec![side],
        };
        vec![Message::Conflict(note)]
    };
    let orphan = |n: usize| {
        let events = vec![update(&theirs(n), number(n + 1))];
        vec![Message::Histories { namespace: notes(), events: events.into(), answered: Vec::new() }]
    };
    let floods: [&dyn Fn(usize) -> Vec<Message>; 2] = [&conflict, &orphan];
    for flood in floods {
        let mut alone = Alone::new(0);
        let mut wants = 0;
        for message in (0..3_000).flat_map(flood) {
            let out = alone.hear(message);
            let sent = alone.settle(out);
            wants += sent.iter().filter(|m| matches!(m, Message::Want { .. })).count();
        }
        assert_eq!(wants, 1_000);
    }
    // Tips that this node does not know of keys that it has.
    let mut fake = Fake::default();
    for n in 0..3_000 {
        fake.hold(&chain(&format!("k{n}"), 1), 1);
    }
    let mut alone = Alone::open(fake, 0, admitted(0, false), hello(false)).0;
    let keys = (0..3_000).map(|n| KeyTips { key: name(n), tips: vec![VersionId([7; 32])] });
    let out = alone.hear(Message::Forget { namespace: notes(), keys: keys.collect() });
    assert_eq!(sent(&out).len(), 1_000);
}
