//! What of a history may be forgotten, and what is left out of what readers see: pure functions of one history.
//!
//! Forgetting records contracts lines: a run of plain updates goes, and the version above it stands on
//! the nearest ancestor that is kept. Forks, merges, splits, heads and the first versions of branches
//! stay, so the graph keeps its shape: heads, main line and addresses are what they were.

use std::collections::HashSet;

use crate::history::{At, History, Inserted};
use crate::ids::VersionId;
use crate::version::Change;

/// The records of a history that may be forgotten: those that are no more than a step of a plain line,
/// are none of the newest, and that `may` allows (it knows what every peer has). The newest is the last
/// learned; the lowest version above such a run, and all that it stands on, stay.
pub fn droppable(history: &History, newest: usize, may: impl Fn(At) -> bool) -> Vec<At> {
    let old = 0..history.len().saturating_sub(newest);
    old.filter(|at| is_step(history, *at) && may(*at)).collect()
}

/// One parent, one child, and neither of them joined or left by another line: without it, every other
/// version still has the same heads above and the same first versions below.
fn is_step(history: &History, at: At) -> bool {
    let ([parent], [child]) = (history.parents(at), history.children(at)) else { return false };
    // The first version of a branch names it: a child of a fork or of a split stays.
    let plain = |at: At| !history.is_split(at);
    plain(at)
        && plain(*parent)
        && plain(*child)
        && history.children(*parent).len() == 1
        && history.parents(*child).len() == 1
}

/// A history without these versions, which [`droppable`] found, and the positions of what is left.
pub fn contracted(history: &History, gone: &[At]) -> (History, Vec<At>) {
    let gone: HashSet<At> = gone.iter().copied().collect();
    let kept: Vec<At> = (0..history.len()).filter(|at| !gone.contains(at)).collect();
    (rebuilt(history, &kept), kept)
}

/// The nearest ancestor of a version that is not among these; None if its parents are all kept.
pub fn foot(history: &History, gone: &HashSet<At>, at: At) -> Option<At> {
    let mut below = match history.parents(at) {
        [parent] if gone.contains(parent) => *parent,
        _ => return None,
    };
    while gone.contains(&below) {
        below = *history.parents(below).first()?;
    }
    Some(below)
}

/// The puts of a history whose values may be forgotten: no heads, none of the newest, and allowed by
/// `may`.
pub fn forgettable(history: &History, newest: usize, may: impl Fn(At) -> bool) -> Vec<At> {
    let puts: Vec<At> =
        (0..history.len()).filter(|at| history.at(*at).change == Change::Put).collect();
    let old = puts.len().saturating_sub(newest);
    puts[..old].iter().copied().filter(|at| !history.is_head(*at) && may(*at)).collect()
}

/// The history without its hidden tips: one after the other, until no tip is hidden. None if there is
/// nothing to leave out. A hidden version on which another stands is superseded, and stays.
pub fn pruned(history: &History, hidden: &HashSet<VersionId>) -> Option<History> {
    if hidden.is_empty() {
        return None;
    }
    let mut left: Vec<usize> = (0..history.len()).map(|at| history.children(at).len()).collect();
    let mut kept = Vec::with_capacity(history.len());
    for at in (0..history.len()).rev() {
        if left[at] == 0 && hidden.contains(&history.at(at).id) {
            history.parents(at).iter().for_each(|parent| left[*parent] -= 1);
        } else {
            kept.push(at);
        }
    }
    kept.reverse();
    (kept.len() < history.len()).then(|| rebuilt(history, &kept))
}

/// The history of these versions; what they stand on is among them, or a run of steps that is not.
fn rebuilt(history: &History, kept: &[At]) -> History {
    let all: HashSet<At> = kept.iter().copied().collect();
    let gone: HashSet<At> = (0..history.len()).filter(|at| !all.contains(at)).collect();
    let mut made = History::new(history.key().clone());
    for at in kept {
        let gap = foot(history, &gone, *at).map(|foot| history.at(foot).id);
        let fits = made.insert_over(history.at(*at).clone(), gap.or(history.gap(*at)));
        debug_assert_eq!(fits, Ok(Inserted::New), "what is kept fits");
    }
    made
}
