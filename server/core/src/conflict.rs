//! Conflicts: when one is raised, its id, its base, and when hooks are asked.

use crate::history::{At, History};
use crate::ids::{ConflictId, VersionId};
use crate::name::{Address, Key};
use crate::version::Change;
use crate::view::View;

/// `blake3(key ++ addresses)`: the key's bytes and the sorted addresses, 64 characters each.
pub fn id(key: &Key, addresses: &[Address]) -> ConflictId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_str().as_bytes());
    for address in addresses {
        hasher.update(address.to_string().as_bytes());
    }
    ConflictId(*hasher.finalize().as_bytes())
}

/// True if the set of addresses in conflict became two or grew: a conflict event is due, once for each set.
pub fn grew(before: &[Address], after: &[Address]) -> bool {
    after.len() >= 2 && after.iter().any(|address| !before.contains(address))
}

/// The nearest common ancestor of all candidates, seen along lines; a split has no value and is none.
/// If there are several, none above another, the put with the smallest id, so that all nodes agree.
pub fn base(history: &History, view: &View) -> Option<VersionId> {
    let mut common: Option<Vec<bool>> = None;
    for candidate in &view.candidates {
        let above = above(history, history.find(candidate.version())?);
        common = Some(match common {
            None => above,
            Some(common) => common.iter().zip(above).map(|(a, b)| *a && b).collect(),
        });
    }
    let common = common?;
    let nearest = (0..history.len()).filter(|at| {
        common[*at]
            && !history.is_split(*at)
            && !history.children(*at).iter().any(|child| common[*child])
    });
    let version = nearest.map(|at| history.at(at)).min_by_key(|v| (v.change != Change::Put, v.id));
    version.map(|version| version.id)
}

/// Rule 2: a version and its ancestors; a split is included, its parents are not.
fn above(history: &History, from: At) -> Vec<bool> {
    let mut above = vec![false; history.len()];
    above[from] = true;
    for at in (0..=from).rev() {
        if above[at] && !history.is_split(at) {
            history.parents(at).iter().for_each(|parent| above[*parent] = true);
        }
    }
    above
}

/// A merge (a put with several parents) is one above the lowest of its parents; all else is 0.
pub fn level(history: &History, id: &VersionId) -> u32 {
    let Some(last) = history.find(id) else { return 0 };
    let mut levels = vec![0_u32; last + 1];
    for at in 0..=last {
        let parents = history.parents(at);
        if history.at(at).change == Change::Put && parents.len() > 1 {
            levels[at] = 1 + parents.iter().map(|parent| levels[*parent]).min().unwrap_or(0);
        }
    }
    levels[last]
}

/// False once every candidate is a merge of merges: hooks that disagree would answer each other for ever.
pub fn asks_hooks(history: &History, view: &View) -> bool {
    view.in_conflict() && view.candidates.iter().any(|c| level(history, c.version()) < 2)
}
