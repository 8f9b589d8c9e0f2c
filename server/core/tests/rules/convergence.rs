//! Random histories over 2 to 5 replicas, with loss, duplication and reordering: all end alike and nothing is lost.
//!
//! `KEEPBOTH_HISTORIES=1000000` runs that many; `KEEPBOTH_SEED=n` runs one.

use std::collections::BTreeSet;

use keepboth_core::conflict;
use keepboth_core::hash;
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::resolve::Meaning;
use keepboth_core::value::Value;
use keepboth_core::version::Version;
use keepboth_core::write::{Condition, Intent};
use keepboth_simulation::replica::{Replica, key};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// How a node's conflict hook answers.
#[derive(Clone, Copy)]
enum Hook {
    None,
    /// The same merge on every node.
    Alike,
    /// Another merge on each node, against the rules.
    Unlike,
}

struct World {
    seed: u64,
    rng: StdRng,
    nodes: Vec<Replica>,
    hooks: Vec<Hook>,
    /// Versions on their way: to whom, what.
    wire: Vec<(usize, Key, Version)>,
    now: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = rng.random_range(2..=5);
        let hooks = (0..count).map(|_| match rng.random_range(0..8) {
            0 => Hook::Alike,
            1 => Hook::Unlike,
            _ => Hook::None,
        });
        World {
            seed,
            hooks: hooks.collect(),
            nodes: (0..count).map(|n| Replica::new(n as u8)).collect(),
            wire: Vec::new(),
            now: 1_700_000_000_000,
            rng,
        }
    }

    fn step(&mut self) {
        // Clocks stand still, go on, or jump back: none of it may matter.
        match self.rng.random_range(0..10) {
            0 => self.now -= 5_000,
            1..3 => {}
            _ => self.now += self.rng.random_range(1..1_000),
        }
        match self.rng.random_range(0..10) {
            0..5 => self.write(),
            5..9 => self.deliver(),
            _ => self.sync_a_key(),
        }
    }

    fn name(&mut self, node: usize) -> Name {
        let shown: Vec<Address> = self.nodes[node].shown.iter().copied().collect();
        if !shown.is_empty() && self.rng.random_bool(0.35) {
            return Name::Address(shown[self.rng.random_range(0..shown.len())]);
        }
        Name::Key(key(["a", "b"][self.rng.random_range(0..2)]))
    }

    fn write(&mut self) {
        let node = self.rng.random_range(0..self.nodes.len());
        let name = self.name(node);
        // Few different values, so that equal edits and twins are common.
        let value = Value::number(f64::from(self.rng.random_range(0..4)));
        let intent = match self.rng.random_range(0..10) {
            0..6 => Intent::Put(hash::data_hash(&value)),
            6..9 => Intent::Delete,
            _ => Intent::Merge(hash::data_hash(&value)),
        };
        self.write_at(node, &name, intent);
    }

    fn write_at(&mut self, node: usize, name: &Name, intent: Intent) {
        let Ok(made) = self.nodes[node].write(name, intent, Condition::None, self.now) else {
            return;
        };
        let key = match name {
            Name::Key(key) => key.clone(),
            Name::Address(address) => {
                let keys = self.nodes[node].keys.keys();
                keys.into_iter().find(|key| key.hash() == address.key).expect("its key").clone()
            }
        };
        for version in made {
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                let copies = [0, 1, 1, 1, 2][self.rng.random_range(0..5)];
                for _ in 0..copies {
                    self.wire.push((to, key.clone(), version.clone()));
                }
            }
        }
    }

    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.wire.len());
        let (to, key, version) = self.wire.swap_remove(at);
        let before = self.nodes[to].raised.len();
        self.nodes[to].learn(&key, &version);
        if self.nodes[to].raised.len() > before {
            self.ask_hook(to, &key);
        }
    }

    /// What a node does at a conflict event: the hook may merge at once.
    fn ask_hook(&mut self, node: usize, key: &Key) {
        let entry = &self.nodes[node].keys[key];
        if !conflict::asks_hooks(&entry.history, &entry.view) {
            return;
        }
        let sides: Vec<String> = entry.view.candidates.iter().map(|o| o.data.to_string()).collect();
        let merged = match self.hooks[node] {
            Hook::None => return,
            Hook::Alike => format!("{sides:?}"),
            Hook::Unlike => format!("{node} {sides:?}"),
        };
        let intent = Intent::Merge(hash::data_hash(&Value::string(merged)));
        self.write_at(node, &Name::Key(key.clone()), intent);
    }

    fn sync_a_key(&mut self) {
        let count = self.nodes.len();
        let (from, to) = (self.rng.random_range(0..count), self.rng.random_range(0..count));
        if from != to {
            let key = key(["a", "b"][self.rng.random_range(0..2)]);
            let [from, to] = self.nodes.get_disjoint_mut([from, to]).expect("two nodes");
            to.learn_key(from, &key);
        }
    }

    /// Everybody learns everything, in an order of its own, until hooks have nothing more to say.
    fn heal(&mut self) {
        for round in 0.. {
            assert!(round < 20, "seed {}: hooks answer each other for ever", self.seed);
            let mut all: BTreeSet<(Key, [u8; 32])> = BTreeSet::new();
            let mut versions = Vec::new();
            for node in &self.nodes {
                for (key, entry) in &node.keys {
                    for version in entry.history.versions() {
                        if all.insert((key.clone(), version.id.0)) {
                            versions.push((key.clone(), version.clone()));
                        }
                    }
                }
            }
            let raised: usize = self.nodes.iter().map(|node| node.raised.len()).sum();
            for to in 0..self.nodes.len() {
                versions.shuffle(&mut self.rng);
                for (key, version) in &versions {
                    self.nodes[to].learn(key, version);
                }
                assert!(self.nodes[to].waiting.is_empty(), "seed {}: still waiting", self.seed);
            }
            if self.nodes.iter().map(|node| node.raised.len()).sum::<usize>() == raised {
                return;
            }
            for node in 0..self.nodes.len() {
                for key in [key("a"), key("b")] {
                    if self.nodes[node].view(&key).is_some_and(|view| view.in_conflict()) {
                        self.ask_hook(node, &key);
                    }
                }
            }
        }
    }

    fn check(&self) {
        let seed = self.seed;
        let first = &self.nodes[0];
        let shown: BTreeSet<Address> =
            self.nodes.iter().flat_map(|node| node.shown.iter().copied()).collect();
        for node in &self.nodes {
            assert_eq!(node.objects(), first.objects(), "seed {seed}: objects");
            assert_eq!(node.lost(), [], "seed {seed}: values that nobody sees");
            let views = |node: &Replica| {
                node.keys.iter().map(|(k, e)| (k.clone(), e.view.clone())).collect::<Vec<_>>()
            };
            assert_eq!(views(node), views(first), "seed {seed}: views");
            for address in &shown {
                let meaning = node.meaning(address);
                assert_ne!(meaning, Meaning::Unknown, "seed {seed}: {address} was shown");
                assert_eq!(meaning, first.meaning(address), "seed {seed}: {address}");
            }
            let raised: BTreeSet<_> = node.raised.iter().collect();
            assert_eq!(raised.len(), node.raised.len(), "seed {seed}: a conflict raised twice");
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(5..60);
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    world.check();
}

#[test]
fn random_histories_converge_and_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run(seed);
    }
    for seed in 0..number("KEEPBOTH_HISTORIES").unwrap_or(10_000) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} failed; run it alone with KEEPBOTH_SEED={seed}");
    }
}
