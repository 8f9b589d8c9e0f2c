//! Random runs with faults, then healing: all members end alike, nothing acknowledged is lost, and all fall silent.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::planted::Planted;

/// What may go wrong, and between whom there is a way.
pub mod faults;
/// The nodes of a run, and what happens to them.
pub mod world;
/// The single things that happen.
mod steps;
/// What every run must end with.
pub mod check;

use world::World;

/// How long all that was broken may take to be whole again, in simulated milliseconds.
pub const HEAL_WITHIN: u64 = 30_000;

/// A run that ended as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub seed: u64,
    /// How many nodes there were.
    pub nodes: usize,
    /// How many were members in the end.
    pub members: usize,
    /// Writes that clients were told are done.
    pub writes: u64,
    /// Messages, pings left out.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Connections made.
    pub connections: u64,
    /// Conflicts raised, on all nodes.
    pub conflicts: u64,
    /// How long it took until all was whole, in simulated milliseconds.
    pub healing: u64,
    /// How long it was simulated.
    pub simulated: u64,
    /// Every line of it, if wanted.
    pub trace: Vec<String>,
}

/// A run that did not.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its number.
    pub seed: u64,
    /// What is wrong.
    pub words: String,
    /// What could go wrong in it.
    pub faults: String,
    /// Every line of it, if wanted.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {} (faults: {})", self.seed, self.words, self.faults)
    }
}

/// Runs a seed to its end.
pub fn run(seed: u64, planted: Option<Planted>, traced: bool) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, planted);
    world.network.trace = traced.then(Vec::new);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.live()));
    let outcome = outcome.unwrap_or_else(|panic| Err(words_of(panic.as_ref())));
    let trace = world.network.trace.take().unwrap_or_default();
    match outcome {
        Ok(healing) => Ok(world.report(healing, trace)),
        Err(words) => {
            let faults = format!("{:?}, {:?}", world.faults, world.shape);
            Err(Box::new(Failure { seed, words, faults, trace }))
        }
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

impl World {
    /// The whole run; gives how long healing took.
    fn live(&mut self) -> Result<u64, String> {
        self.fault_phase();
        let healing = self.heal()?;
        self.check()?;
        Ok(healing)
    }

    /// Everything works again and nothing is written any more.
    fn heal(&mut self) -> Result<u64, String> {
        let stills = self.network.longest_pause();
        self.network.run_until(self.network.now + stills);
        self.mend();
        let start = self.network.now;
        while let Some(words) = self.difference() {
            if self.network.is_endless() {
                return Err(format!("talk without end: {:?}", self.network.sent));
            }
            // Hooks that disagree go on for a while, and what they write is spread after them.
            if self.network.now - start.max(self.network.wrote) > HEAL_WITHIN {
                return Err(format!("not whole after {HEAL_WITHIN} ms: {words}"));
            }
            self.network.run_until(self.network.now + 250);
        }
        let healing = self.network.now.saturating_sub(start.max(self.network.wrote));
        let members = self.members();
        for node in 0..self.network.nodes.len() {
            if !members.contains(&node) && self.network.nodes[node].up {
                self.network.stop(node);
            }
        }
        self.network.run_until_quiet(3_000, 60_000)?;
        Ok(healing)
    }

    fn report(&self, healing: u64, trace: Vec<String>) -> Report {
        let stores = self.network.nodes.iter().flat_map(|node| node.stores.0.values());
        Report {
            seed: self.seed,
            nodes: self.network.nodes.len(),
            members: self.members().len(),
            writes: self.network.acked.len() as u64,
            messages: self.network.sent.messages,
            bytes: self.network.sent.bytes,
            connections: self.network.connected,
            conflicts: stores.map(|store| store.replica.raised.len() as u64).sum(),
            healing,
            simulated: self.network.now,
            trace,
        }
    }
}
