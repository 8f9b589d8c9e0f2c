//! Random histories over two or three stores: what is kept up step by step is what the whole history gives.

use std::collections::BTreeMap;

use keepboth_core::name::{Address, Key, Name};
use keepboth_core::version::Event;
use keepboth_core::view::View;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Received, Resolution};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Bench, key, text};
use crate::simulated::Disk;

const KEYS: [&str; 2] = ["a", "b"];

struct Node {
    disk: Disk,
    bench: Bench,
    /// Versions on their way to it.
    inbox: Vec<Event>,
    /// Every address that its readers saw.
    seen: Vec<Address>,
    raised: Vec<keepboth_core::ids::ConflictId>,
}

struct World {
    rng: StdRng,
    nodes: Vec<Node>,
    now: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..rng.random_range(2..=3)).map(|_| {
            let disk = Disk::default();
            let bench = disk.open();
            Node { disk, bench, inbox: Vec::new(), seen: Vec::new(), raised: Vec::new() }
        });
        World { nodes: nodes.collect(), rng, now: 1_000 }
    }

    fn step(&mut self) {
        self.now = self.now + self.rng.random_range(0..20) - 5;
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..20) {
            0..10 => self.write(node),
            10..19 => self.deliver(node),
            _ => self.restart(node),
        }
        self.after(node);
    }

    fn name(&mut self, node: usize) -> Name {
        let seen = &self.nodes[node].seen;
        if !seen.is_empty() && self.rng.random_bool(0.35) {
            return Name::Address(seen[self.rng.random_range(0..seen.len())]);
        }
        Name::Key(self.key())
    }

    fn key(&mut self) -> Key {
        key(KEYS[self.rng.random_range(0..2)])
    }

    fn op(&mut self, node: usize) -> Op {
        // Few different values, so that equal edits and twins are common.
        let value = text(&self.rng.random_range(0..4).to_string());
        let (name, key) = (self.name(node), self.key());
        let condition = Condition::None;
        match self.rng.random_range(0..20) {
            0..10 => Op::Put { name, value, condition },
            10..15 => Op::Delete { name, condition },
            15 => Op::Resolve { key, with: Resolution::Value(value), conflict: None },
            16 => {
                let Name::Address(side) = name else { return Op::Delete { name, condition } };
                Op::Resolve { key, with: Resolution::Side(side), conflict: None }
            }
            17..19 => Op::Restore { key, version: None },
            _ => {
                let snapshot = self.nodes[node].bench.store.snapshot();
                let history = snapshot.load_history(&key).expect("a history");
                let Some(history) = history else { return Op::Put { name, value, condition } };
                let version = history.at(self.rng.random_range(0..history.len())).id;
                Op::Revert { name: Name::Key(key), version, condition }
            }
        }
    }

    /// One to three batches in one transaction. Refusals are part of it.
    fn write(&mut self, node: usize) {
        let mut batches = Vec::new();
        for _ in 0..[1, 1, 2, 3][self.rng.random_range(0..4)] {
            let count = [1, 1, 1, 2, 4][self.rng.random_range(0..5)];
            batches.push((0..count).map(|_| self.op(node)).collect());
        }
        self.nodes[node].bench.group(batches, self.now);
    }

    fn deliver(&mut self, node: usize) {
        let mut events = Vec::new();
        for _ in 0..self.rng.random_range(1..6) {
            let inbox = &mut self.nodes[node].inbox;
            if inbox.is_empty() {
                break;
            }
            events.push(inbox.swap_remove(self.rng.random_range(0..inbox.len())));
        }
        let node = &mut self.nodes[node];
        let outcomes = node.bench.receive(events.clone());
        for (event, outcome) in events.into_iter().zip(outcomes) {
            match outcome {
                Received::Missing(_) => node.inbox.push(event),
                Received::Refused(refusal) => panic!("{event:?} was refused: {refusal}"),
                Received::New | Received::Known | Received::Quarantined(_) => {}
            }
        }
    }

    fn restart(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.bench.commits();
        let root = node.bench.store.root();
        node.bench.store.close();
        node.bench = node.disk.open();
        assert_eq!(node.bench.store.root(), root, "the digest after a restart");
    }

    /// Sends what was made, notes what was seen, and checks the views.
    fn after(&mut self, from: usize) {
        let changes = self.nodes[from].bench.changes();
        for change in &changes {
            self.nodes[from].raised.extend(change.conflict.iter().map(|raised| raised.id));
            for event in change.made.iter().filter(|_| change.local) {
                event.check(65_536).expect("an event in good form");
                for to in (0..self.nodes.len()).filter(|to| *to != from) {
                    for _ in 0..[0, 1, 1, 2][self.rng.random_range(0..4)] {
                        self.nodes[to].inbox.push(event.clone());
                    }
                }
            }
        }
        let node = &mut self.nodes[from];
        let snapshot = node.bench.store.snapshot();
        for at in KEYS.map(key) {
            let Some(state) = snapshot.state(&at).expect("a state") else { continue };
            let history = snapshot.load_history(&at).expect("a history").expect("there");
            assert_eq!(state.view, View::of(&history), "the view of {at}");
            node.seen.extend(state.shown.iter().map(|shown| shown.address));
            if let Some(change) = changes.iter().rfind(|change| change.state.key == at) {
                assert_eq!(change.state, state, "what was told is what is read");
            }
        }
    }

    /// Everybody learns what the others have, as a repair does.
    fn heal(&mut self) {
        for _ in 0..self.nodes.len() {
            let count = self.nodes.len();
            for (from, to) in (0..count * count).map(|pair| (pair / count, pair % count)) {
                for at in KEYS.map(key) {
                    let snapshot = self.nodes[to].bench.store.snapshot();
                    let tips = snapshot.tips(&at).expect("tips");
                    let from = self.nodes[from].bench.store.snapshot();
                    let events = from.missing(&at, &tips).expect("events");
                    let outcomes = self.nodes[to].bench.receive(events);
                    let fine = |o: &Received| matches!(o, Received::New | Received::Known);
                    assert!(outcomes.iter().all(fine), "{outcomes:?}");
                }
                self.after(to);
            }
        }
    }

    fn tips(&self, node: usize) -> BTreeMap<Key, Vec<keepboth_core::ids::VersionId>> {
        let snapshot = self.nodes[node].bench.store.snapshot();
        let tips = KEYS.map(|at| (key(at), snapshot.tips(&key(at)).expect("tips")));
        tips.into_iter().filter(|(_, tips)| !tips.is_empty()).collect()
    }

    fn compare_digests(&self) {
        for a in 0..self.nodes.len() {
            for b in 0..a {
                let same = self.tips(a) == self.tips(b);
                let roots = [a, b].map(|n| self.nodes[n].bench.store.root());
                assert_eq!(
                    roots[0] == roots[1],
                    same,
                    "equal digests for equal content, and only then"
                );
            }
        }
    }

    fn check(&mut self) {
        let seen: Vec<Address> = self.nodes.iter().flat_map(|n| n.seen.clone()).collect();
        for node in &self.nodes {
            node.bench.check();
            let (first, snapshot) =
                (self.nodes[0].bench.store.snapshot(), node.bench.store.snapshot());
            for at in KEYS.map(key) {
                let view =
                    |s: &keepboth_store::Snapshot| s.state(&at).expect("a state").map(|s| s.view);
                assert_eq!(view(&snapshot), view(&first));
            }
            for address in &seen {
                let found = |s: &keepboth_store::Snapshot| {
                    let found = s.get(&Name::Address(*address));
                    found.map(|f| (f.name, f.version, f.value)).map_err(|r| (r.code, r.addresses))
                };
                assert_eq!(found(&snapshot), found(&first), "{address} means the same everywhere");
            }
            let mut raised = node.raised.clone();
            raised.sort();
            raised.dedup();
            assert_eq!(raised.len(), node.raised.len(), "a conflict raised twice");
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.rng.random_range(5..60) {
        world.step();
        world.compare_digests();
    }
    world.heal();
    world.compare_digests();
    world.check();
    for node in 0..world.nodes.len() {
        world.restart(node);
    }
    world.check();
}

/// `KEEPBOTH_SEED=n` runs one, `KEEPBOTH_HISTORIES=n` that many.
#[test]
fn views_kept_up_step_by_step_are_what_whole_histories_give() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run(seed);
    }
    for seed in 0..number("KEEPBOTH_HISTORIES").unwrap_or(50) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} failed; run it alone with KEEPBOTH_SEED={seed}");
    }
}
