//! What is refused, how often that is said, and when it ends the stream.

use bytes::Bytes;
use keepboth_core::ids::StoreId;
use keepboth_core::limits::VALUE_BYTES_MAX;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Input, Output, Received, Side, Ticket};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::Event;
use keepboth_core::wire::Message;

use super::{Alone, closed, event, notes, number, theirs};
use keepboth_simulation::replica::key;

fn bad_events() -> Vec<(Event, Code, &'static str)> {
    let good = theirs(1);
    let mut moved = good.clone();
    moved.version.timestamp += 1;
    let mut swapped = good.clone();
    swapped.value = Some(number(2));
    let mut empty = good.clone();
    empty.value = None;
    let loose = Value::trusted(Kind::Json, Bytes::from_static(b"{ }"));
    let large = Value::bytes(vec![0; VALUE_BYTES_MAX + 3]);
    vec![
        (moved, Code::BadVersion, "its content gives the id"),
        (swapped, Code::BadVersion, "its value does not have its data hash"),
        (empty, Code::BadVersion, "put without its value"),
        (event("k", loose, StoreId([9; 16])), Code::BadValue, "not a json value"),
        (
            event("k", large, StoreId([9; 16])),
            Code::ValueTooLarge,
            "value is 65,539 bytes from a peer, the limit is 65,536 bytes",
        ),
    ]
}

fn repaired() -> Ticket {
    Ticket { namespace: notes(), live: None, maker: None, short: false, answered: Vec::new() }
}

#[test]
fn a_bad_event_is_refused_and_the_stream_goes_on() {
    for (bad, expected, words) in bad_events() {
        let mut alone = Alone::new(0);
        let good = theirs(5);
        let out = alone.live(1, vec![bad, good.clone()]);
        let [
            Output::Warn(_),
            Output::Send(Message::Refused { code, message }),
            Output::Apply { .. },
        ] = &out[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!(code, expected.as_str());
        assert!(message.contains(words) && message.contains("notes"), "{message}");
        assert!(matches!(
            alone.settle(out)[..],
            [Message::Refused { .. }, Message::Ack { whole: false, .. }]
        ));
        assert_eq!(alone.store().tips(&good.key), [good.version.id]);
    }
}

#[test]
fn after_100_forged_events_the_session_closes_and_says_nothing_more() {
    let mut alone = Alone::new(0);
    let (bad, ..) = bad_events().swap_remove(0);
    for n in 1..100 {
        let out = alone.live(n, vec![bad.clone()]);
        assert!(!out.iter().any(|output| matches!(output, Output::Close(_))), "{n}");
    }
    let out = alone.live(100, vec![bad.clone(), bad]);
    let refusal = closed(&out);
    assert!(refusal.message.starts_with("100 of the peer's events were forged"), "{refusal}");
    let told = out.iter().filter(|o| matches!(o, Output::Send(Message::Refused { .. }))).count();
    assert_eq!(told, 1, "{out:?}");
    assert_eq!(alone.live(101, vec![theirs(1)]), []);
    assert_eq!(alone.tick(60_000), []);
}

#[test]
fn limits_that_differ_never_end_the_stream() {
    let mut alone = Alone::new(0);
    let refused = |n: usize| Input::Applied {
        ticket: repaired(),
        keys: vec![key(&format!("k{n}"))],
        outcomes: vec![Received::Refused(Refusal::new(Code::ValueTooLarge, "too large"))],
    };
    let out: Vec<Output> = (0..500).flat_map(|n| alone.input(refused(n))).collect();
    assert!(!out.iter().any(|output| matches!(output, Output::Close(_))));
    let told = out.iter().filter(|o| matches!(o, Output::Send(Message::Refused { .. }))).count();
    assert_eq!(told, 100, "it is said, and not for ever");
}

#[test]
fn an_honest_refusal_counts_once_and_an_own_failure_not_at_all() {
    for outcome in [Received::Refused, Received::Quarantined] {
        let mut alone = Alone::new(0);
        let applied = |code| Input::Applied {
            ticket: repaired(),
            keys: vec![key("k")],
            outcomes: vec![outcome(Refusal::new(code, "no"))],
        };
        let out = alone.input(applied(Code::SchemaRefused));
        assert!(
            matches!(&out[..], [Output::Warn(_), Output::Send(Message::Refused { .. })]),
            "{out:?}"
        );
        for _ in 0..200 {
            assert_eq!(alone.input(applied(Code::SchemaRefused)), []);
            let out = alone.input(applied(Code::StoreFailed));
            assert!(matches!(&out[..], [Output::Warn(_)]), "{out:?}");
        }
    }
}

#[test]
fn refusals_of_the_peer_fill_no_log() {
    let mut alone = Alone::new(0);
    let refused = || Message::Refused { code: "bad_version".into(), message: "no".into() };
    let warnings: usize = (0..1_000).map(|_| alone.hear(refused()).len()).sum();
    assert_eq!(warnings, 100);
    // Not even one that has proven nothing yet.
    let mut alone = Alone::before_greeting(Side::Answered);
    let long = Message::Refused { code: "x".repeat(1_000), message: "x".repeat(900_000) };
    let out = alone.hear(long);
    assert!(matches!(&out[..], [Output::Warn(words)] if words.len() < 1_200), "{}", out.len());
}
