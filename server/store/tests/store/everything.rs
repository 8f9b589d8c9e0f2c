//! Random tasks of every kind on two stores: what is kept up step by step is what a recount gives.
//!
//! `KEEPBOTH_SEED=n` runs one history, `KEEPBOTH_HISTORIES=n` that many.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Name;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::Event;
use keepboth_store::{Incoming, Keep, Op, Options, Place, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::harness::{Bench, delete_op, key, put_op};
use crate::simulated::Disk;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// Two stores, of which the second hides some of what it is sent.
struct World {
    rng: StdRng,
    disks: [Disk; 2],
    nodes: [Bench; 2],
    now: u64,
    /// Where the last step of retention ended on each.
    rounds: [Place; 2],
    /// True if what is sent has wrong gaps and lacks values, as a bad peer may send it.
    forged: bool,
}

fn options(rng: &mut StdRng) -> Options {
    Options {
        objects_max: rng.random_bool(0.2).then_some(3),
        bytes_max: rng.random_bool(0.2).then_some(40),
        quarantine_max: if rng.random_bool(0.2) { 2 } else { 1_000 },
        ..Options::default()
    }
}

impl World {
    fn new(seed: u64, forged: bool) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let disks = [Disk::default(), Disk::default()];
        let nodes = [0, 1].map(|node: usize| match node {
            0 => disks[0].open(),
            _ => disks[1].open_with(options(&mut rng)),
        });
        World { rng, disks, nodes, now: 1_000, rounds: Default::default(), forged }
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.rng.random_range(0..KEYS.len())]
    }

    fn step(&mut self) {
        self.now += self.rng.random_range(0..20);
        let (node, at) = (self.rng.random_range(0..2), self.key());
        let now = self.now;
        match self.rng.random_range(0..24) {
            0..9 => self.write(node, at),
            9..14 => self.send(node, at),
            14..17 => self.judge(node),
            17 => {
                let bench = &self.nodes[node];
                let held = bench.store.snapshot().held(&key(at)).expect("held");
                let tips = held.map(|held| held.tips).unwrap_or_default();
                bench.forget(at, tips, now.is_multiple_of(2));
            }
            18..21 => self.collect(node),
            21 => {
                let last = self.nodes[node].store.counts().last_sequence;
                let most = self.rng.random_range(0..=last);
                self.replace(node, at, most);
            }
            _ => self.restart(node),
        }
    }

    fn write(&mut self, node: usize, at: &str) {
        let value = self.rng.random_range(0..5).to_string();
        let bench = &self.nodes[node];
        let shown = bench.store.snapshot().state(&key(at)).expect("a state");
        let shown = shown.map(|state| state.shown).unwrap_or_default();
        let op = match self.rng.random_range(0..10) {
            0..5 => put_op(at, &value),
            5..8 => delete_op(at),
            8 => Op::Restore { key: key(at), version: None },
            _ if shown.is_empty() => put_op(at, &value),
            _ => {
                let side = shown[self.rng.random_range(0..shown.len())].address;
                let value = keepboth_core::value::Value::string(value);
                Op::Put { name: Name::Address(side), value, condition: Default::default() }
            }
        };
        let _ = self.nodes[node].op(op, self.now);
    }

    /// The other store learns what this one has of a key, some of it, and hides some of that.
    fn send(&mut self, from: usize, at: &str) {
        let (sender, other) = (&self.nodes[from], &self.nodes[1 - from]);
        let have = other.tips(at);
        let mut events: Vec<Event> =
            sender.store.snapshot().missing(&key(at), &have).expect("events");
        let cut = self.rng.random_range(0..=events.len());
        if self.rng.random_bool(0.3) {
            events.truncate(cut);
        }
        if self.forged {
            forge(&mut self.rng, &mut events);
        }
        let judged = events.into_iter().map(|event| {
            let refused = (from == 0 && self.rng.random_bool(0.25))
                .then(|| Refusal::new(Code::SchemaRefused, "no"));
            Incoming { event, refused }
        });
        let judged = judged.collect();
        self.nodes[1 - from].incoming(judged, self.now);
    }

    /// What the other store has takes the place of what is here, all of it or a part.
    fn replace(&mut self, node: usize, at: &str, most: u64) {
        let (bench, other) = (&self.nodes[node], &self.nodes[1 - node]);
        let mut events = other.store.snapshot().missing(&key(at), &[]).expect("events");
        if self.rng.random_bool(0.3) {
            let from = self.rng.random_range(0..=events.len());
            events.drain(..from);
        }
        if self.forged {
            forge(&mut self.rng, &mut events);
        }
        let (root, none) = (bench.store.root(), events.is_empty());
        let outcome = bench.replace(at, most, events, self.now);
        assert!(outcome.is_ok() || bench.store.root() == root, "all or nothing: {outcome:?}");
        assert!(!none || outcome == Ok(Vec::new()));
    }

    fn judge(&mut self, node: usize) {
        let page = self.nodes[node].store.snapshot().quarantine(None, 100).expect("a page");
        if page.items.is_empty() {
            return;
        }
        let item = &page.items[self.rng.random_range(0..page.items.len())];
        let verdict = if self.rng.random_bool(0.7) { Verdict::Admit } else { Verdict::Discard };
        assert!(self.nodes[node].judge(item.key.as_str(), item.version, verdict));
    }

    fn collect(&mut self, node: usize) {
        let rules = Keep {
            values: self.rng.random_range(0..4),
            records: self.rng.random_range(0..6),
            trash_keep: self.rng.random_range(0..200),
            trash_forget: self.rng.random_range(0..400),
        };
        let last = self.nodes[node].store.counts().last_sequence;
        let horizon = self.rng.random_range(0..=last + 1);
        let budget = self.rng.random_range(1..200);
        let before: Vec<_> = KEYS.map(|at| self.shown(node, at)).to_vec();
        let from = self.rounds[node].clone();
        let done = self.nodes[node].step(from, rules, horizon, self.now, budget);
        self.rounds[node] = done.next.clone().unwrap_or_default();
        let after: Vec<_> = KEYS.map(|at| self.shown(node, at)).to_vec();
        let trash = |state: &Option<Seen>| state.as_ref().is_none_or(|seen| seen.0.is_empty());
        for (before, after) in before.iter().zip(&after) {
            let same = before == after || (done.forgotten > 0 && trash(before) && trash(after));
            assert!(same, "{done:?} changed {before:?} to {after:?}");
        }
    }

    fn shown(&self, node: usize, at: &str) -> Option<Seen> {
        let snapshot = self.nodes[node].store.snapshot();
        let state = snapshot.state(&key(at)).expect("a state")?;
        let values = state.shown.iter().map(|shown| {
            let found = snapshot.get(&Name::Address(shown.address)).expect("an object");
            (shown.version, found.value.as_bytes().to_vec())
        });
        Some((values.collect(), state.view.tips.to_vec()))
    }

    fn restart(&mut self, node: usize) {
        let bench = &self.nodes[node];
        bench.commits();
        let (root, counts) = (bench.store.root(), bench.store.counts());
        let removed = bench.store.forgotten_high();
        let options = (*bench.store.options()).clone();
        if self.rng.random_bool(0.5) {
            self.disks[node] = self.disks[node].power_cut(&mut self.rng);
        }
        bench.store.close();
        self.nodes[node] = self.disks[node].open_with(options);
        let store = &self.nodes[node].store;
        assert_eq!(
            (store.root(), store.counts(), store.forgotten_high()),
            (root, counts, removed),
            "after a restart"
        );
    }
}

/// Objects with their values, and tips.
type Seen = (Vec<(VersionId, Vec<u8>)>, Vec<VersionId>);

/// Changes what no hash tells: gaps, values that are left out, and the order.
fn forge(rng: &mut StdRng, events: &mut [Event]) {
    let ids: Vec<VersionId> = events.iter().map(|event| event.version.id).collect();
    for event in events.iter_mut() {
        match rng.random_range(0..6) {
            0 => event.gap = Some(ids[rng.random_range(0..ids.len())]),
            1 => event.value = None,
            2 => event.gap = None,
            _ => {}
        }
    }
    if rng.random_bool(0.3) {
        events.reverse();
    }
}

fn run(seed: u64, forged: bool) {
    let mut world = World::new(seed, forged);
    for _ in 0..world.rng.random_range(10..80) {
        world.step();
        for bench in &world.nodes {
            bench.verify();
        }
    }
    for node in 0..2 {
        world.restart(node);
        world.nodes[node].verify();
    }
    if forged {
        return;
    }
    // The first store hides nothing: an empty one that gets all of it is the same.
    let (from, to) = (world.nodes[0].store.snapshot(), Bench::new());
    let page = from.page([0; 16], [255; 16], usize::MAX).expect("a page");
    assert!(page.next.is_none() && page.rest.is_none());
    to.receive(page.events);
    for at in KEYS {
        // Beside a gap it asks once more.
        let rest = from.missing(&key(at), &to.tips(at)).expect("events");
        to.receive(rest);
    }
    to.verify();
    assert_eq!(to.store.root(), from.root(), "the copy");
    for at in KEYS {
        let copy = to.store.snapshot().state(&key(at));
        let view = |state: Result<Option<keepboth_store::KeyState>, Refusal>| {
            state.expect("a state").map(|state| state.view)
        };
        assert_eq!(view(copy), view(from.state(&key(at))), "the copy of {at}");
    }
}

#[test]
fn digests_and_counters_are_what_a_recount_gives_after_any_tasks() {
    all(false);
}

#[test]
fn whatever_a_bad_peer_sends_the_store_stays_whole() {
    all(true);
}

fn all(forged: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run(seed, forged);
    }
    for seed in 0..number("KEEPBOTH_HISTORIES").unwrap_or(60) {
        let outcome = std::panic::catch_unwind(|| run(seed, forged));
        assert!(outcome.is_ok(), "seed {seed} failed; run it alone with KEEPBOTH_SEED={seed}");
    }
}
