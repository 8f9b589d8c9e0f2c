//! Up to which sequence each member is known to have everything: kept in the store, so that what a member
//! may still need is not forgotten while it is away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use keepboth_core::ids::NodeId;
use keepboth_core::session::{Mark, Standing};
use keepboth_store::Task;

use super::Space;

/// How long a mark that has not moved stands before it is written down again, so that it shows when the
/// member was last there. Milliseconds.
const AGAIN: u64 = 10 * 60 * 1_000;

/// The marks of a namespace.
#[derive(Debug, Default)]
pub struct Marks {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    marks: BTreeMap<NodeId, Mark>,
    /// As they are in the store.
    kept: BTreeMap<NodeId, Mark>,
}

impl Marks {
    /// The marks that the store has kept.
    pub fn new(kept: impl IntoIterator<Item = (NodeId, Mark)>) -> Marks {
        let marks: BTreeMap<NodeId, Mark> = kept.into_iter().collect();
        Marks { inner: Mutex::new(Inner { kept: marks.clone(), marks }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a member stands now.
    pub fn note(&self, node: NodeId, standing: &Standing, now: u64) {
        self.inner().marks.entry(node).or_default().note(standing, now);
    }

    /// The sequence up to which a member has everything; None if it was never seen.
    pub fn agreed(&self, node: &NodeId) -> Option<u64> {
        self.inner().marks.get(node).map(|mark| mark.agreed)
    }

    /// A member's mark.
    pub fn get(&self, node: &NodeId) -> Option<Mark> {
        self.inner().marks.get(node).copied()
    }

    /// What is to be written down, as if it were done.
    pub fn take_changed(&self) -> Vec<(NodeId, Mark)> {
        let mut inner = self.inner();
        let stale = |node: &NodeId, mark: &Mark| {
            inner.kept.get(node).is_none_or(|kept| {
                (kept.agreed, kept.exchanged) != (mark.agreed, mark.exchanged)
                    || mark.at.saturating_sub(kept.at) > AGAIN
            })
        };
        let changed = inner.marks.iter().filter(|(node, mark)| stale(node, mark));
        let changed: Vec<_> = changed.map(|(node, mark)| (*node, *mark)).collect();
        inner.kept.extend(changed.iter().copied());
        changed
    }

    /// The sequence up to which all these members have everything, but for those that were not seen
    /// for so long that they hold nobody back. Each with when it was admitted, or now if it is
    /// connected: it was there then, should there be no mark of it.
    pub fn horizon(
        &self,
        members: impl IntoIterator<Item = (NodeId, u64)>,
        last: u64,
        now: u64,
        expire: u64,
    ) -> u64 {
        let inner = self.inner();
        let holding = members.into_iter().filter_map(|(node, there)| {
            let mark = inner.marks.get(&node).copied().unwrap_or_default();
            (now.saturating_sub(mark.at.max(there)) <= expire).then_some(mark.agreed)
        });
        holding.min().unwrap_or(last).min(last)
    }
}

impl Space {
    /// Writes down what members have, so that the next start knows it too. Blocks.
    pub(super) fn write_marks(&self) {
        let marks = self.marks().take_changed();
        if !marks.is_empty() {
            // A store that is closed already keeps the older marks, which hold as well.
            let _ = self.store.submit_blocking(Task::Agreed { marks });
        }
    }
}

#[cfg(test)]
mod tests {
    use keepboth_core::wire::Exchanged;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn standing(agreed: u64, shown: u64) -> Standing {
        let exchanged = Exchanged { shown, seen: shown };
        Standing { agreed, exchanged, ..Standing::default() }
    }

    fn mark(agreed: u64, shown: u64, at: u64) -> Mark {
        Mark { agreed, exchanged: Exchanged { shown, seen: shown }, at }
    }

    #[test]
    fn the_slowest_member_holds_the_others_back_until_it_was_away_too_long() {
        let marks = Marks::new([(node(1), mark(50, 1, 1_000))]);
        marks.note(node(2), &standing(90, 1), 5_000);
        let members = [(node(1), 0), (node(2), 0)];
        assert_eq!(marks.horizon(members, 100, 5_000, 4_000), 50);
        assert_eq!(marks.horizon(members, 100, 5_001, 4_000), 90);
        assert_eq!(marks.horizon([], 100, 5_000, 4_000), 100, "alone");
        let newcomer = [(node(2), 0), (node(3), 4_900)];
        assert_eq!(marks.horizon(newcomer, 100, 5_000, 4_000), 0, "it has nothing yet");
    }

    #[test]
    fn a_mark_is_written_down_when_it_moves_and_now_and_then() {
        let marks = Marks::default();
        marks.note(node(1), &standing(5, 2), 1_000);
        assert_eq!(marks.take_changed(), [(node(1), mark(5, 2, 1_000))]);
        marks.note(node(1), &standing(5, 2), 2_000);
        assert!(marks.take_changed().is_empty());
        marks.note(node(1), &standing(4, 2), 1_001 + AGAIN);
        assert_eq!(
            marks.take_changed(),
            [(node(1), mark(5, 2, 1_001 + AGAIN))],
            "it never goes back"
        );
    }

    #[test]
    fn who_takes_up_what_it_missed_remembers_what_it_remembered() {
        let marks = Marks::new([(node(1), mark(5, 2, 1_000))]);
        marks.note(node(1), &Standing { catches_up: true, ..standing(9, 9) }, 2_000);
        assert_eq!(marks.get(&node(1)), Some(mark(5, 2, 1_000)));
    }
}
