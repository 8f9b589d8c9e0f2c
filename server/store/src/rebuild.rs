//! A history built from its records, in which what was forgotten may have been learned again.
//!
//! Such a record has a larger sequence than those above it, and the one above still names the foot of
//! the gap that there was. That foot is known to be an ancestor; where the records that came again end
//! in a gap of their own which leads past it, they stand on it.

use std::collections::{HashMap, HashSet};

use keepboth_core::history::{At, History, Inserted};
use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::version::Version;

use crate::failure::corrupt_key;

/// A record: its sequence, its version, and the foot of its gap.
pub type Found = (u64, Version, Option<VersionId>);

/// The history of these records, which stand in the order of their sequences, and the sequence of each
/// version by its position.
pub fn rebuild(key: &Key, mut found: Vec<Found>) -> Result<(History, Vec<u64>), Refusal> {
    let mut built = build(key, &found)?;
    // As many loose ends at most as there are gaps; a forged one may never be mended.
    let gaps = found.iter().filter(|(_, _, gap)| gap.is_some()).count();
    for _ in 0..gaps {
        let Some((end, foot)) = loose_end(&built.0, &found) else { break };
        let Some(record) = found.iter_mut().find(|(_, version, _)| version.id == end) else {
            break;
        };
        record.2 = Some(foot);
        match build(key, &found) {
            Ok(mended) => built = mended,
            // It would stand on what stands on it.
            Err(_) => break,
        }
    }
    Ok(built)
}

/// A version that stands on a gap which leads past the foot of a gap above it, and that foot.
fn loose_end(history: &History, found: &[Found]) -> Option<(VersionId, VersionId)> {
    for (_, version, gap) in found {
        let (Some(foot), Some(at)) = (gap, history.find(&version.id)) else { continue };
        let (None, Some(foot_at)) = (history.gap(at), history.find(foot)) else { continue };
        if history.with_ancestors([at])[foot_at] {
            continue;
        }
        // Down the plain line to where it was cut.
        let mut end: At = at;
        while let ([below], None) = (history.parents(end), history.gap(end)) {
            end = *below;
        }
        if history.gap(end).is_some() {
            return Some((history.at(end).id, *foot));
        }
    }
    None
}

fn build(key: &Key, found: &[Found]) -> Result<(History, Vec<u64>), Refusal> {
    let mut history = History::new(key.clone());
    let mut sequences = Vec::with_capacity(found.len());
    let gaps = found.iter().any(|(_, _, gap)| gap.is_some());
    let known: HashSet<VersionId> =
        found.iter().filter(|_| gaps).map(|(_, version, _)| version.id).collect();
    let mut waiting: HashMap<VersionId, Vec<&Found>> = HashMap::new();
    for one in found {
        let mut ready = vec![one];
        while let Some(one) = ready.pop() {
            let (sequence, version, gap) = one;
            let late = |id: &&VersionId| known.contains(id) && history.find(id).is_none();
            let whole = version.parents.iter().all(|parent| known.contains(parent));
            // What it stands on: its parents, or the foot of its gap.
            let mut below = version.parents.iter().chain(gap.iter().filter(|_| !whole));
            if let Some(below) = below.find(late).filter(|_| gaps) {
                waiting.entry(*below).or_default().push(one);
                continue;
            }
            match history.insert_over(version.clone(), *gap) {
                Ok(Inserted::New) => sequences.push(*sequence),
                _ => {
                    let words = format_args!("version {} does not fit its history", version.id);
                    return Err(corrupt_key(key, words));
                }
            }
            let mut children = waiting.remove(&version.id).unwrap_or_default();
            children.reverse();
            ready.extend(children);
        }
    }
    match waiting.is_empty() {
        true => Ok((history, sequences)),
        false => Err(corrupt_key(key, "versions stand on each other in a circle")),
    }
}
