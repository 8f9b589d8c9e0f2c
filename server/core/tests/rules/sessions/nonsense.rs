//! Random bytes and random messages, in any order: no session panics, and all that it says fits a message.
//!
//! `KEEPBOTH_SEED=n` runs one seed, `KEEPBOTH_NONSENSE=n` so many.

use keepboth_core::handshake::{Proof, Role};
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::mesh::{About, Members};
use keepboth_core::session::{Output, Side};
use keepboth_core::wire::Message;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::chaos::{Asked, Chaos};
use super::{ANSWERED, Alone, DIALLED, ME, admitted, greet, hello, sent};
use keepboth_simulation::network::{namespace, node_id, node_key};

fn check(outputs: &[Output]) {
    for output in outputs {
        if let Output::Send(message) = output {
            let bytes = message.encode();
            assert!(bytes.len() <= FRAME_BYTES_MAX);
            assert_eq!(Message::decode(&bytes).as_ref(), Ok(message), "what is sent can be read");
        }
    }
    let closes = outputs.iter().filter(|output| matches!(output, Output::Close(_))).count();
    assert!(
        closes <= 1 && matches!((closes, outputs.last()), (0, _) | (1, Some(Output::Close(_))))
    );
}

/// One conversation; how many messages it took until it was closed.
fn converse(seed: u64, steps: usize) -> usize {
    let mut chaos = Chaos(StdRng::seed_from_u64(seed));
    let side = match chaos.below(3) {
        0 => super::dialled(None),
        1 => super::dialled(Some(node_id(2))),
        _ => Side::Answered,
    };
    let mut alone = Alone::before_greeting(side.clone());
    let mut members = Members::new(chaos.notes().abouts.pop().unwrap_or(About {
        node: node_id(ME),
        counter: 1,
        agent: "test".into(),
        addresses: vec![],
        namespaces: vec![],
        links: vec![],
        instance: [0; 16],
    }));
    for _ in 0..chaos.below(30) {
        let event = chaos.event();
        if event.check(65_536).is_ok() {
            alone.store().receive(&event);
        }
    }
    // Most peers greet as they should: what comes after is of interest too.
    if chaos.chance(0.8) {
        alone.hear(greet());
        let peer = [0, 2][chaos.below(2)];
        let (transcript, role) = match side {
            Side::Answered => (ANSWERED, Role::Dialler),
            Side::Dialled { .. } => (DIALLED, Role::Answerer),
        };
        let proof =
            Proof::new(&node_key(peer), [7; 16], &transcript, role, Some(node_id(ME)), None);
        alone.hear(Message::Prove(proof));
        alone.input(admitted(chaos.figure(), chaos.chance(0.3)));
        alone.hear(hello(chaos.chance(0.3)));
    }
    let mut asked = Asked::new();
    for step in 0..steps {
        let out = match chaos.below(22) {
            0 => {
                let message = chaos.greeting(&side);
                alone.hear(message)
            }
            1..4 => {
                let input = chaos.own();
                alone.input(input)
            }
            4 => {
                let budget = chaos.below(3_000);
                alone.session.more(&alone.replica, budget);
                alone.session.take()
            }
            5 => alone.tick([1, 50, 6_000, 70_000][chaos.below(4)]),
            6..9 => {
                let message = chaos.answer(&mut asked).unwrap_or_else(|| chaos.message());
                alone.hear(message)
            }
            _ => {
                let message = chaos.message();
                alone.hear(message)
            }
        };
        check(&out);
        for message in sent(&out) {
            if let Message::Compare { parts, .. } = message {
                asked.push_back(parts.iter().map(|part| part.prefix).collect());
            }
        }
        for output in &out {
            match output {
                Output::Admit { .. } if chaos.chance(0.8) => {
                    check(&alone.input(admitted(chaos.figure(), false)));
                }
                Output::Notes(notes) => {
                    members.learn(notes.clone());
                    members.say(|me| me.links.push(node_id(0)));
                    let node = chaos.node();
                    members.decide(node, true, None, 0);
                    members.route(&node, &namespace("notes"));
                }
                _ => {}
            }
        }
        let is_closed = out.iter().any(|output| matches!(output, Output::Close(_)));
        alone.settle(out);
        alone.session.standings(&alone.replica);
        if is_closed {
            let message = chaos.message();
            assert_eq!(alone.hear(message), [], "closed is closed");
            return step;
        }
    }
    steps
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_messages_in_any_order_make_no_session_panic() {
    if let Some(seed) = number_of("KEEPBOTH_SEED") {
        converse(seed, 300);
        return;
    }
    let (mut failed, mut steps) = (Vec::new(), 0);
    for seed in 0..number_of("KEEPBOTH_NONSENSE").unwrap_or(300) {
        match std::panic::catch_unwind(|| converse(seed, 300)) {
            Ok(took) => steps += took,
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?} failed; run one with KEEPBOTH_SEED={}", failed[0]);
    assert!(steps > 3_000, "{steps}: most conversations ended at once");
}

#[test]
fn random_bytes_are_no_message_or_one_that_comes_back_from_its_bytes() {
    let seed = number_of("KEEPBOTH_SEED").unwrap_or(1);
    let mut chaos = Chaos(StdRng::seed_from_u64(seed));
    for round in 0..20_000 {
        let mut bytes = match chaos.below(3) {
            0 => {
                let mut bytes = vec![0; chaos.below(200)];
                chaos.0.fill_bytes(&mut bytes);
                bytes
            }
            1 => chaos.greeting(&Side::Answered).encode(),
            _ => chaos.message().encode(),
        };
        for _ in 0..chaos.below(4) {
            if bytes.is_empty() {
                continue;
            }
            let at = chaos.below(bytes.len());
            match chaos.below(4) {
                0 => bytes[at] ^= 1 << chaos.below(8),
                1 => bytes.truncate(at),
                // The head of an item that is far longer than the message.
                2 => {
                    let head = [0x9b, 0x5b, 0x7b, 0xbb][chaos.below(4)];
                    bytes.splice(at..at, [head, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
                }
                _ => bytes[at] = chaos.0.random(),
            }
        }
        if let Ok(message) = Message::decode(&bytes) {
            let again = Message::decode(&message.encode());
            assert_eq!(again.as_ref(), Ok(&message), "seed {seed}, round {round}");
        }
    }
}
