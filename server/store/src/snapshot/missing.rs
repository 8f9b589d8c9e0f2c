//! What another store lacks: whole histories of a range, or what it does not have of one key.

use std::collections::HashSet;

use keepboth_core::history::{At, History};
use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::Histories;
use keepboth_core::version::{Change, Event};

use crate::failure::corrupt_key;
use crate::loaded::Loaded;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;

/// Most versions that [`Snapshot::known`] names.
const KNOWN_MAX: usize = 1_000;

impl Snapshot {
    /// The whole histories of the keys of a range, in the order of their hashes, until they have about
    /// so many bytes. A history that is larger than that by itself is cut.
    pub fn page(&self, from: [u8; 16], last: [u8; 16], bytes: usize) -> Result<Histories, Refusal> {
        let (mut events, mut size, mut rest, mut next) = (Vec::new(), 0, None, None);
        self.each(from, last, |hash, key, row| {
            if size >= bytes || rest.is_some() {
                next = Some(hash);
                return Ok(false);
            }
            if row.tips().is_empty() {
                return Ok(true);
            }
            let (more, after) = self.lacking(&key, &row, &[], &[], 0, bytes)?;
            size += more.iter().map(size_of).sum::<usize>();
            events.extend(more);
            rest = after.map(|after| (key, after));
            Ok(true)
        })?;
        Ok(Histories { events, rest, next })
    }

    /// All versions of the key that are neither `have` nor ancestors of `have`, parents first, with
    /// values. Ids in `have` that are unknown here are ignored. `have` are the tips of the other store:
    /// if one of them stands on another here, the other store has forgotten what lies between, and
    /// gets that too.
    pub fn missing(&self, key: &Key, have: &[VersionId]) -> Result<Vec<Event>, Refusal> {
        self.missing_page(key, have, &[], None, usize::MAX).map(|(events, _)| events)
    }

    /// As [`Snapshot::missing`], in pages of about so many bytes: `after` is what the page before gave,
    /// and this gives none with the last page. `known` are other versions that the other store has, as
    /// [`Snapshot::known`] names them, so that it is not sent what it has.
    pub fn missing_page(
        &self,
        key: &Key,
        have: &[VersionId],
        known: &[VersionId],
        after: Option<u64>,
        bytes: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal> {
        // Who has some of a forgotten key does not know that it was deleted; who has nothing needs none.
        let row = self.tables.row(key)?.filter(|row| !row.tips().is_empty() || !have.is_empty());
        match row {
            Some(row) if row.all_tips() != have => {
                self.lacking(key, &row, have, known, after.unwrap_or(0), bytes)
            }
            _ => Ok((Vec::new(), None)),
        }
    }

    /// Versions by which another store can tell what this one has, [`History::landmarks`]. All are known
    /// here, and with each all that it stands on.
    ///
    /// [`History::landmarks`]: keepboth_core::history::History::landmarks
    pub fn known(&self, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        let Some(loaded) = self.tables.loaded(key)? else { return Ok(Vec::new()) };
        let history = &loaded.history;
        let unsent = self.unsent(key, &loaded)?;
        let ids = history.landmarks(KNOWN_MAX).into_iter().map(|at| history.at(at).id);
        Ok(ids.filter(|id| !unsent.contains(id)).collect())
    }

    fn lacking(
        &self,
        key: &Key,
        row: &KeyRow,
        have: &[VersionId],
        known: &[VersionId],
        after: u64,
        bytes: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal> {
        let loaded = Loaded::read(key, Some(row), |at| self.tables.record(at))?;
        let history = &loaded.history;
        let find = |ids: &[VersionId]| -> Vec<At> {
            ids.iter().filter_map(|id| history.find(id)).collect()
        };
        let mut there = history.with_ancestors(find(have).into_iter().chain(find(known)));
        for at in between(history, &find(have)) {
            there[at] = false;
        }
        let unsent = self.unsent(key, &loaded)?;
        let (mut events, mut size) = (Vec::new(), 0);
        let lacking = (0..history.len()).skip(after as usize).filter(|at| !there[*at]);
        for at in lacking {
            if unsent.contains(&history.at(at).id) {
                continue;
            }
            if size >= bytes {
                return Ok((events, Some(at as u64)));
            }
            let event = self.event(key, row, &loaded, at)?;
            size += size_of(&event);
            events.push(event);
        }
        Ok((events, None))
    }

    /// Versions that are nobody's business: discarded ones, and those that wait for their value.
    fn unsent(&self, key: &Key, loaded: &Loaded) -> Result<HashSet<VersionId>, Refusal> {
        let mut unsent = loaded.valueless.clone();
        for id in &loaded.hidden {
            if self.tables.quarantined(key, id)?.is_none() {
                unsent.insert(*id);
            }
        }
        Ok(unsent)
    }

    fn event(&self, key: &Key, row: &KeyRow, loaded: &Loaded, at: usize) -> Result<Event, Refusal> {
        let version = loaded.history.at(at).clone();
        let value = match version.change {
            Change::Put => {
                let sequence = loaded.sequences[at];
                match self.tables.value(key, &version.id, &version.data, sequence) {
                    Ok(value) => Some(value),
                    Err(e) if e.code != Code::ValueForgotten => return Err(e),
                    Err(_) if row.all_tips().contains(&version.id) => {
                        let words = format!("the value of version {} is missing", version.id);
                        return Err(corrupt_key(key, words));
                    }
                    Err(_) => None,
                }
            }
            Change::Delete | Change::Split => None,
        };
        let gap = loaded.history.gap(at);
        Ok(Event { gap, ..Event::new(key.clone(), version, value) })
    }
}

/// Versions that stand on one of these and below another, and of these those that stand on a gap above
/// another: the other store does not know that they do.
fn between(history: &History, tips: &[At]) -> Vec<At> {
    let covered = |tip: &&At| !history.children(**tip).is_empty();
    if tips.len() < 2 || !tips.iter().any(|tip| covered(&tip)) {
        return Vec::new();
    }
    let mut above = vec![false; history.len()];
    for at in 0..history.len() {
        above[at] = history.parents(at).iter().any(|p| above[*p] || tips.contains(p));
    }
    let below = history.with_ancestors(tips.iter().copied());
    let tells = |at: &At| !tips.contains(at) || history.gap(*at).is_some();
    (0..history.len()).filter(|at| above[*at] && below[*at] && tells(at)).collect()
}

/// About how many bytes an event takes in a message.
fn size_of(event: &Event) -> usize {
    let value = event.value.as_ref().map_or(0, |value| value.as_bytes().len());
    160 + event.key.as_str().len() + 34 * event.version.parents.len() + value
}
