//! One run: its nodes, what happens to them, and what clients do meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::hash;
use keepboth_core::name::Namespace;
use keepboth_core::value::Value;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::faults::{Fault, Faults, Shape};
use crate::network::{Backup, Hook, Network, namespace};
use crate::planted::Planted;

/// Different values that clients write: few, so that equal edits and twins are common.
pub(super) const VALUES: usize = 4;
/// Milliseconds of ten years.
const TEN_YEARS: i64 = 10 * 365 * 86_400_000;

/// One run.
pub struct World {
    /// Its number.
    pub seed: u64,
    /// The nodes.
    pub network: Network,
    /// What may go wrong.
    pub faults: Faults,
    /// Between whom there is a way.
    pub shape: Shape,
    /// What is shared.
    pub namespaces: Vec<Namespace>,
    /// Nodes that were started at least once.
    pub begun: BTreeSet<usize>,
    /// How many writes clients asked for.
    pub writes: u64,
    pub(super) keys: usize,
    pub(super) backups: Vec<Option<Backup>>,
    pub(super) partitions: Vec<Vec<(usize, usize)>>,
    /// When a node that is down starts again.
    pub(super) down: BTreeMap<usize, u64>,
}

impl World {
    /// The beginning of a run.
    pub fn new(seed: u64, planted: Option<Planted>) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = [2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9][rng.random_range(0..13)];
        let (mut faults, shape) = (Faults::draw(&mut rng), Shape::draw(&mut rng));
        faults.age(seed);
        let settings = faults.settings(&mut rng, planted);
        let names: &[&str] = if rng.random_bool(0.25) { &["a", "b"] } else { &["a"] };
        let first = match faults.has(Fault::Joining) {
            true => rng.random_range(1..=count),
            false => count,
        };
        let mut network = Network::new(rng.next_u64(), count, names, settings);
        network.holds = faults.has(Fault::Holds);
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        network.walls = pairs.filter(|(a, b)| !shape.joins(*a, *b, count)).collect();
        let mut world = World {
            seed,
            faults,
            shape,
            namespaces: names.iter().map(|name| namespace(name)).collect(),
            keys: [1, 3, 40][rng.random_range(0..3)],
            begun: BTreeSet::new(),
            writes: 0,
            backups: vec![None; count],
            partitions: Vec::new(),
            down: BTreeMap::new(),
            network,
        };
        world.prepare(&mut rng, first, names);
        world
    }

    fn prepare(&mut self, rng: &mut StdRng, first: usize, names: &[&str]) {
        let slow = self.faults.has(Fault::SlowDisks);
        for node in 0..self.network.nodes.len() {
            self.network.found(node, first, names);
            let me = &mut self.network.nodes[node];
            if self.faults.has(Fault::Hooks) {
                me.hook =
                    [Hook::None, Hook::None, Hook::Alike, Hook::Unlike][rng.random_range(0..4)];
            }
            if slow && rng.random_bool(0.2) {
                me.disk = Some(0..3_000);
            }
            let drifts = self.faults.has(Fault::Schemas) && rng.random_bool(0.4);
            for store in me.stores.0.values_mut() {
                store.replica.planted = self.network.settings.planted;
                if drifts {
                    let refused = Value::number(rng.random_range(0..VALUES) as f64);
                    store.schema.insert(hash::data_hash(&refused));
                }
            }
        }
        for node in 0..first {
            // Knowing one member is enough.
            if node > 0 {
                let known = self.reachable(node, node);
                self.network.nodes[node].told.insert(known[rng.random_range(0..known.len())]);
            }
            self.begin(node);
        }
    }

    /// The nodes below a number to which there is a way.
    pub(super) fn reachable(&self, node: usize, below: usize) -> Vec<usize> {
        let count = self.network.nodes.len();
        let others = (0..below).filter(|other| *other != node);
        others.filter(|other| self.shape.joins(node, *other, count)).collect()
    }

    fn begin(&mut self, node: usize) {
        self.begun.insert(node);
        self.network.start(node);
    }

    pub(super) fn draw(&mut self, below: usize) -> usize {
        self.network.rng.random_range(0..below)
    }

    /// True if nothing goes wrong and all reach all.
    pub fn is_healthy(&self) -> bool {
        self.faults.is_none() && self.shape == Shape::Full
    }

    /// The nodes are used while things go wrong.
    pub fn fault_phase(&mut self) {
        if self.is_healthy() {
            self.network.run_until(5_000);
        }
        let pause = [5, 50, 400][self.draw(3)];
        for step in 0..20 + self.draw(60) {
            let at = self.network.now + step as u64 * pause + self.draw(pause as usize) as u64;
            self.network.plan_step(at);
        }
        while self.network.run_until(self.network.now + 2_000) {
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.network.now;
        let due: Vec<usize> =
            self.down.iter().filter(|(_, at)| **at <= now).map(|d| *d.0).collect();
        for node in due {
            self.down.remove(&node);
            self.network.start(node);
        }
        self.audit();
        let node = self.draw(self.network.nodes.len());
        let up = self.network.nodes[node].up;
        let faults = self.faults.clone();
        let has = |fault| faults.has(fault);
        match self.draw(32) {
            0 | 1 if has(Fault::Cuts) => self.cut(),
            2 if has(Fault::HalfOpen) => self.half_open(),
            3 | 4 if has(Fault::Partitions) => self.partition(node),
            5 if !self.partitions.is_empty() => self.lift(),
            6 if has(Fault::Crashes) && up => self.crash(node),
            7 if has(Fault::Backups) && up => self.backup(node),
            8 | 9 if has(Fault::Joining) => self.invite(),
            10 if has(Fault::Leaving) && self.shape == Shape::Full => self.leave(node),
            11 if has(Fault::Stuck) => {
                let long = [200, 2_000, 10_000][self.draw(3)];
                self.network.pause(node, long);
            }
            12 if has(Fault::Clocks) => {
                self.network.nodes[node].clock =
                    self.network.rng.random_range(-TEN_YEARS..TEN_YEARS);
            }
            13 if has(Fault::Schemas) => self.network.lift_schema(node),
            14 | 15 if has(Fault::Forgetting) && up => self.collect(node),
            16 if has(Fault::Hours) => self.pass(),
            17..20 if has(Fault::Hours) && has(Fault::Backups) && up => self.backup(node),
            20 | 21 if has(Fault::Hours) && has(Fault::Crashes) && up => self.crash(node),
            _ if up => self.write(node),
            _ => {}
        }
    }

    /// Everything works again, and every member runs.
    pub(super) fn mend(&mut self) {
        let settings = &mut self.network.settings;
        (settings.no_room, settings.lag, settings.tamper, settings.extra) = (0.0, 0.0, 0.0, 0.0);
        (settings.twice, settings.group) = (0.0, true);
        settings.delay.end = settings.delay.end.min(101);
        settings.commit.end = settings.commit.end.min(20);
        for cut in std::mem::take(&mut self.partitions) {
            cut.iter().for_each(|(from, to)| self.network.unblock(*from, *to));
        }
        let lifts = self.network.rng.random_bool(0.5);
        for node in self.begun.clone() {
            self.network.nodes[node].disk = None;
            self.settle_membership(node);
            self.network.start(node);
            if lifts {
                self.network.lift_schema(node);
            }
        }
    }

    /// An operator at the first node makes up everybody's mind about one that is in doubt.
    fn settle_membership(&mut self, node: usize) {
        if node == 0 || self.shape != Shape::Full {
            return;
        }
        let members = self.network.members_of(0);
        if !members.contains(&node) {
            let back = self.network.rng.random_bool(0.5);
            self.network.decide(0, node, back);
            if !back {
                self.network.revoke(node);
            }
        }
        // Whom it was told of may be removed now, or has been by this node itself.
        let known = |told: &usize| members.contains(told);
        let leaving = self.faults.has(Fault::Leaving);
        if leaving || !self.network.nodes[node].told.iter().any(known) {
            self.network.nodes[node].told.insert(0);
        }
    }
}
