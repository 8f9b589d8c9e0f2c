//! What may go wrong in a run, and between whom there is a way.

use std::collections::BTreeSet;
use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::network::{Life, Settings};
use crate::planted::Planted;

/// Three hours in milliseconds: so long a member that is away is waited for.
const EXPIRE: u64 = 3 * 3_600_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Links break.
    Cuts,
    /// Links go silent in one direction.
    HalfOpen,
    /// Nodes cannot reach each other for a while, in any shape.
    Partitions,
    /// What is sent into a partition comes when it is over.
    Holds,
    /// Processes end, and with them what is not durable.
    Crashes,
    /// Some disks take seconds.
    SlowDisks,
    /// Processes stand still, and little fits on the way to them.
    Stuck,
    /// Outboxes have no room, and links miss commits.
    Overflow,
    /// Events come twice, over several links, and are applied twice.
    Twice,
    /// Messages take up to seconds.
    Delay,
    /// Stores are put back to old copies.
    Backups,
    /// Nodes join by invitation while the others write; some begin with a copy of another's data.
    Joining,
    /// Members are removed, and some come back.
    Leaving,
    /// Wall clocks jump by years.
    Clocks,
    /// Some nodes refuse some values.
    Schemas,
    /// Merge hooks, some of which do not agree.
    Hooks,
    /// Values are changed on their way.
    Tampering,
    /// Deletes that everybody has are forgotten.
    Forgetting,
    /// Hours pass, more than somebody who is away is waited for, and deletes are forgotten. Without it
    /// nobody can tell that a store is from before.
    Hours,
}

impl Fault {
    /// Those that are drawn each by itself.
    pub const DRAWN: [Fault; 18] = [
        Fault::Cuts,
        Fault::HalfOpen,
        Fault::Partitions,
        Fault::Holds,
        Fault::Crashes,
        Fault::SlowDisks,
        Fault::Stuck,
        Fault::Overflow,
        Fault::Twice,
        Fault::Delay,
        Fault::Backups,
        Fault::Joining,
        Fault::Leaving,
        Fault::Clocks,
        Fault::Schemas,
        Fault::Hooks,
        Fault::Tampering,
        Fault::Forgetting,
    ];
}

/// The kinds of faults of a run. A quarter of the runs have one kind only, some none, so that one fault
/// does not hide another.
#[derive(Clone, Default)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// Draws them.
    pub fn draw(rng: &mut StdRng) -> Faults {
        let kind = rng.random_range(0..8);
        let alone = Fault::DRAWN[rng.random_range(0..Fault::DRAWN.len())];
        let drawn: BTreeSet<Fault> = match kind {
            0 => BTreeSet::new(),
            1 | 2 => BTreeSet::from([alone]),
            _ => Fault::DRAWN.into_iter().filter(|_| rng.random_bool(0.35)).collect(),
        };
        Faults(drawn)
    }

    /// Adds hours in a fifth of the runs and where stores from before bring back what was forgotten. What
    /// else goes wrong in a run stays what it was.
    pub fn age(&mut self, seed: u64) {
        let mut rng = StdRng::seed_from_u64(!seed);
        if rng.random_bool(0.2) {
            self.0.extend([Fault::Hours, Fault::Forgetting]);
            self.0.extend(rng.random_bool(0.5).then_some(Fault::Backups));
            self.0.extend(rng.random_bool(0.5).then_some(Fault::Crashes));
        }
        if self.has(Fault::Backups) && self.has(Fault::Forgetting) {
            self.0.insert(Fault::Hours);
        }
    }

    /// True if it may happen.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// True if nothing goes wrong.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// How all of it behaves.
    pub fn settings(&self, rng: &mut StdRng, planted: Option<Planted>) -> Settings {
        let mut pick = |of: [u64; 3]| of[rng.random_range(0..3)];
        let latency = pick([1, 10, 100]);
        let latency = if self.has(Fault::Delay) { pick([300, 1_000, 2_000]) } else { latency };
        let commit = if self.has(Fault::SlowDisks) { pick([20, 100, 700]) } else { 3 };
        let narrow = self.has(Fault::Stuck);
        let longest = if self.has(Fault::Tampering) { 5_000 } else { 30_000 };
        let often = |fault, rate| if self.has(fault) { rate } else { 0.0 };
        Settings {
            delay: 1..1 + latency,
            commit: 0..commit,
            group: commit > 20,
            tick: pick([50, 200, 500]),
            // What was changed on its way comes again after this time only.
            compare_every: pick([500, 2_000, longest]),
            budget: 1..pick([2, 500, 5_000]) as usize,
            pause: 1..1 + latency.min(100),
            no_room: often(Fault::Overflow, 0.3),
            lag: often(Fault::Overflow, 0.1),
            twice: often(Fault::Twice, 0.3),
            extra: often(Fault::Twice, 0.2),
            tamper: often(Fault::Tampering, 0.03),
            window: if narrow { 2_000 } else { usize::MAX },
            outbox: if narrow { 4_000 } else { usize::MAX },
            applying: if narrow { 4 } else { 64 },
            expire: if self.has(Fault::Hours) { EXPIRE } else { u64::MAX },
            life: Some(Life::default()),
            planted,
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Between whom there is a way at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Everybody reaches everybody.
    Full,
    /// Each reaches the one before and the one behind.
    Line,
    /// A line whose ends reach each other.
    Ring,
    /// All reach the first only.
    Star,
}

impl Shape {
    /// Draws one.
    pub fn draw(rng: &mut StdRng) -> Shape {
        match rng.random_range(0..8) {
            0 => Shape::Line,
            1 => Shape::Ring,
            2 => Shape::Star,
            _ => Shape::Full,
        }
    }

    /// True if there is a way between two of so many nodes.
    pub fn joins(self, a: usize, b: usize, count: usize) -> bool {
        let (low, high) = (a.min(b), a.max(b));
        match self {
            Shape::Full => true,
            Shape::Line => high - low == 1,
            Shape::Ring => high - low == 1 || (low == 0 && high == count - 1),
            Shape::Star => low == 0,
        }
    }
}
