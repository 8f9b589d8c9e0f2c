//! Stores that forget, each at its own time, end with the same tips when they tell each other what they have.
//! Those that forget only what all have show the same objects too. Those that forgot earlier agree on what
//! there is, and may take an old version that they had forgotten for a branch: no head is ever lost.
//!
//! `KEEPBOTH_SEED=n` runs one history, `KEEPBOTH_HISTORIES=n` that many.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Name;
use keepboth_core::value::Value;
use keepboth_store::{Op, Received};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Bench, delete_op, keep, key, put_op};

struct World {
    rng: StdRng,
    nodes: Vec<Bench>,
    /// Up to which sequence of a node all others have what it has.
    agreed: Vec<u64>,
    /// True if nodes forget only what all have.
    careful: bool,
}

impl World {
    fn new(seed: u64, careful: bool) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(2..=3);
        let nodes = (0..count).map(|_| Bench::new()).collect();
        World { rng, nodes, agreed: vec![0; count], careful }
    }

    fn step(&mut self, now: u64) {
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..20) {
            0..12 => self.write(node, now),
            12..16 => {
                let to = self.rng.random_range(0..self.nodes.len());
                let share = self.rng.random_range(0.2..1.5);
                self.send(node, to, share, true);
            }
            16 => self.agree(),
            _ => {
                let horizon = if self.careful { self.agreed[node] } else { u64::MAX };
                let rules = keep(self.rng.random_range(0..3), self.rng.random_range(0..4));
                self.nodes[node].collect(rules, horizon, now);
                self.nodes[node].verify();
            }
        }
    }

    fn write(&mut self, node: usize, now: u64) {
        let value = Value::string(self.rng.random_range(0..9).to_string());
        let bench = &self.nodes[node];
        let shown = bench.store.snapshot().state(&key("k")).expect("a state");
        let shown = shown.map(|state| state.shown).unwrap_or_default();
        let op = match self.rng.random_range(0..12) {
            0 => delete_op("k"),
            1..4 if !shown.is_empty() => {
                let side = shown[self.rng.random_range(0..shown.len())].address;
                Op::Put { name: Name::Address(side), value, condition: Default::default() }
            }
            4 => {
                let with = keepboth_store::Resolution::Value(value);
                Op::Resolve { key: key("k"), with, conflict: None }
            }
            _ => put_op("k", &now.to_string()),
        };
        let _ = bench.op(op, now);
    }

    /// One node sends what the other lacks, as far as the connection lasts.
    fn send(&mut self, from: usize, to: usize, share: f64, known: bool) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let known = if known { to.store.snapshot().known(&key("k")) } else { Ok(Vec::new()) };
        let (tips, known) = (to.tips("k"), known.expect("ids"));
        let snapshot = from.store.snapshot();
        let page = snapshot.missing_page(&key("k"), &tips, &known, None, usize::MAX);
        let mut events = page.expect("events").0;
        events.truncate((events.len() as f64 * share) as usize);
        let mut outcomes = to.receive(events);
        if share >= 1.0 && outcomes.iter().any(|o| matches!(o, Received::Missing(_))) {
            // The other store may have forgotten what these stand on: all of it is sent.
            outcomes = to.receive(snapshot.missing(&key("k"), &[]).expect("events"));
        }
        let refused = outcomes.iter().find(|outcome| matches!(outcome, Received::Refused(_)));
        assert!(refused.is_none(), "{refused:?}");
    }

    fn heal(&mut self) {
        for round in 0..8 {
            for pair in 0..self.nodes.len().pow(2) {
                let (from, to) = (pair / self.nodes.len(), pair % self.nodes.len());
                // A peer may not use what is known, or its message may be of an older state.
                let known = self.rng.random_bool(0.7);
                self.send(from, to, 1.0, known);
            }
            let tips: Vec<Vec<VersionId>> = self.nodes.iter().map(|node| node.tips("k")).collect();
            if tips.windows(2).all(|pair| pair[0] == pair[1]) {
                return;
            }
            assert!(round < 7, "they never agree: {tips:?}");
        }
    }

    /// Everybody has everything, and knows it.
    fn agree(&mut self) {
        self.heal();
        let last = self.nodes.iter().map(|node| node.store.counts().last_sequence);
        self.agreed = last.collect();
    }
}

fn run(seed: u64, careful: bool) {
    let mut world = World::new(seed, careful);
    for now in 0..world.rng.random_range(10..80) {
        world.step(now);
    }
    world.agree();
    let view =
        |node: &Bench| node.store.snapshot().state(&key("k")).expect("a state").map(|s| s.view);
    for node in &world.nodes {
        node.verify();
        if careful {
            node.check();
            assert_eq!(view(node), view(&world.nodes[0]), "the views");
        }
    }
}

fn all(careful: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run(seed, careful);
    }
    // The last two have found what the first ones did not.
    for seed in (0..number("KEEPBOTH_HISTORIES").unwrap_or(100)).chain([722, 2_727]) {
        let outcome = std::panic::catch_unwind(|| run(seed, careful));
        assert!(outcome.is_ok(), "seed {seed} failed; run it alone with KEEPBOTH_SEED={seed}");
    }
}

#[test]
fn stores_that_forget_what_all_have_show_the_same() {
    all(true);
}

#[test]
fn stores_that_forgot_too_early_agree_on_what_there_is() {
    all(false);
}
