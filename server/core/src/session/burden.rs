//! How much a session holds in memory, for the operator's eyes and for tests of its bounds.

use super::compare::Compare;
use super::{Session, Shared};

/// How many things a session holds, over all its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burden {
    /// Histories and marks that wait for room.
    pub bulk: usize,
    /// Live messages that the peer has not acknowledged.
    pub unacked: usize,
    /// Messages whose events are with the store.
    pub applying: usize,
    /// Keys that the peer was asked for.
    pub asked: usize,
    /// Ranges, keys and answers of comparisons that are under way.
    pub comparing: usize,
    /// Ranges of comparisons that wait.
    pub held: usize,
    /// Keys whose histories here may have to go for the peer's.
    pub replacing: usize,
}

impl Burden {
    /// The larger of each.
    pub fn max(&self, other: &Burden) -> Burden {
        Burden {
            bulk: self.bulk.max(other.bulk),
            unacked: self.unacked.max(other.unacked),
            applying: self.applying.max(other.applying),
            asked: self.asked.max(other.asked),
            comparing: self.comparing.max(other.comparing),
            held: self.held.max(other.held),
            replacing: self.replacing.max(other.replacing),
        }
    }
}

impl Session {
    /// What it holds now.
    pub fn burden(&self) -> Burden {
        let sum = |count: fn(&Shared) -> usize| self.shared.values().map(count).sum();
        Burden {
            bulk: self.bulk.len(),
            unacked: sum(|shared| shared.unacked.len()),
            applying: sum(|shared| shared.applying),
            asked: sum(|shared| shared.asked.len()),
            comparing: sum(|shared| match &shared.compare {
                Compare::Idle => 0,
                Compare::Running(running) => running.holds(),
            }),
            held: sum(|shared| shared.held.as_ref().map_or(0, Vec::len)),
            replacing: sum(|shared| shared.replacing.len()),
        }
    }
}
