//! Versions that stand next to a gap: whether they are branches cannot be told at once.
//!
//! A version that stands on the gap's foot is a branch of its own, or one of those that were forgotten.
//! The peer that sent it may know, so it is first asked for the rest of the key; what it sends a second
//! time is believed.

use std::collections::HashSet;

use keepboth_core::ids::VersionId;
use keepboth_core::version::Event;

use crate::loaded::Loaded;

/// Versions of which nobody knows whether they were forgotten; more are forgotten in their turn.
const ASKED_MAX: usize = 10_000;

/// Versions next to gaps for which the peer was asked once.
#[derive(Default)]
pub struct Asked(HashSet<VersionId>);

impl Asked {
    /// True the first time.
    pub fn first(&mut self, version: &VersionId) -> bool {
        if self.0.remove(version) {
            return false;
        }
        if self.0.len() >= ASKED_MAX {
            self.0.clear();
        }
        self.0.insert(*version)
    }
}

/// The version that tells whether this one is a branch of its own; None if that is plain.
pub fn beside_a_gap(loaded: &Loaded, event: &Event, ids: &HashSet<VersionId>) -> Option<VersionId> {
    let (history, [parent]) = (&loaded.history, &event.version.parents[..]) else { return None };
    match (history.find(parent), event.gap) {
        (Some(foot), _) => {
            let above = history.children(foot).iter().filter(|at| history.gap(**at).is_some());
            let mut forgotten = above.map(|at| history.at(*at).parents[0]);
            // With the last of the forgotten ones, all of them come.
            forgotten.find(|last| !ids.contains(last))
        }
        (None, Some(gap)) => {
            let foot = history.find(&gap)?;
            let beside = history.children(foot).iter().any(|at| !history.is_split(*at));
            (beside && !ids.contains(parent)).then_some(*parent)
        }
        (None, None) => None,
    }
}
