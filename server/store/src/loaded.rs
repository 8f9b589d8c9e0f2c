//! All versions of one key with their sequences, read from the list of its records.

use std::borrow::Cow;
use std::collections::HashSet;

use keepboth_core::history::{At, History, Inserted};
use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::retention::pruned;
use keepboth_core::version::{Change, Version};
use keepboth_core::view::View;

use crate::apart::Apart;
use crate::failure::corrupt;
use crate::rebuild::rebuild;
use crate::record::Record;
use crate::row::{KeyRow, Speaker};
use crate::state::Deleted;

/// A history whose versions know their place in the order of the store.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub history: History,
    /// The sequence of each version, by its position in the history.
    pub sequences: Vec<u64>,
    /// Bytes of the values that are kept.
    pub bytes: u64,
    /// Versions that readers must not see.
    pub hidden: HashSet<VersionId>,
    /// Puts without a value that are nobody's ancestors yet.
    pub valueless: HashSet<VersionId>,
    /// The sequences of the newest note, and of the one that forgets the key.
    pub noted: u64,
    pub forgotten: u64,
}

impl Loaded {
    /// The empty history of a key.
    pub fn new(key: Key) -> Loaded {
        Loaded {
            history: History::new(key),
            sequences: Vec::new(),
            bytes: 0,
            hidden: HashSet::new(),
            valueless: HashSet::new(),
            noted: 0,
            forgotten: 0,
        }
    }

    /// Follows the list of a key's records from the last. `record` reads one of them.
    pub fn read(
        key: &Key,
        row: Option<&KeyRow>,
        record: impl Fn(u64) -> Result<Record, Refusal>,
    ) -> Result<Loaded, Refusal> {
        let mut found = Vec::new();
        let mut at = row.map_or(0, |row| row.last);
        while at != 0 {
            let record = next_of(key, at, &record)?;
            let prev = record.prev;
            found.push((at, record.version, record.gap));
            at = prev;
        }
        found.reverse();
        let mut loaded = Loaded::new(key.clone());
        if let Some(row) = row {
            loaded.bytes = row.bytes;
            if let Some(apart) = &row.apart {
                loaded.hidden.extend(&apart.hidden);
                loaded.valueless.extend(&apart.valueless);
                (loaded.noted, loaded.forgotten) = (apart.noted, apart.forgotten);
            }
        }
        (loaded.history, loaded.sequences) = rebuild(key, found)?;
        Ok(loaded)
    }

    /// Adds a version; nothing changes unless it is new and fits.
    pub fn insert(
        &mut self,
        version: Version,
        gap: Option<VersionId>,
        sequence: u64,
    ) -> Result<Inserted, Refusal> {
        let id = version.id;
        let closes = |at: At| self.history.at(at).parents.first() == Some(&id);
        // What was forgotten comes again: the version above stands on it, as it was made.
        let before = self.history.gaps().any(closes).then(|| self.clone());
        let inserted = self.history.insert_over(version, gap)?;
        if inserted != Inserted::New {
            return Ok(inserted);
        }
        self.sequences.push(sequence);
        if let Some(before) = before
            && self.reorder().is_err()
        {
            *self = before;
            let words = format!("version {id}: its gap is above it");
            return Err(Refusal::new(Code::BadVersion, words));
        }
        Ok(inserted)
    }

    /// Lets a version stand on this ancestor, if it stands on one below it because what lay between
    /// was forgotten here; false, and unchanged, if not.
    pub fn raise(&mut self, id: &VersionId, foot: &VersionId) -> bool {
        let history = &self.history;
        let (Some(at), Some(now)) = (history.find(id), history.find(foot)) else { return false };
        let Some(was) = history.gap(at).and_then(|was| history.find(&was)) else { return false };
        let below = history.with_ancestors([now]);
        if was == now || !below[was] || below[at] || history.is_split(now) {
            return false;
        }
        let before = self.clone();
        let raised = self.build(|version| (version == id).then_some(*foot)).is_ok();
        if !raised {
            *self = before;
        }
        raised
    }

    /// Builds the history anew, so that parents stand before their children.
    fn reorder(&mut self) -> Result<(), Refusal> {
        self.build(|_| None)
    }

    fn build(&mut self, gap: impl Fn(&VersionId) -> Option<VersionId>) -> Result<(), Refusal> {
        let history = &self.history;
        let all = self.sequences.iter().enumerate();
        let found = all.map(|(at, sequence)| {
            let version = history.at(at).clone();
            let gap = gap(&version.id).or(history.gap(at));
            (*sequence, version, gap)
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by_key(|(sequence, ..)| *sequence);
        (self.history, self.sequences) = rebuild(self.history.key(), found)?;
        Ok(())
    }

    /// The history that readers may know of.
    pub fn visible(&self) -> Cow<'_, History> {
        if self.hidden.is_empty() && self.valueless.is_empty() {
            return Cow::Borrowed(&self.history);
        }
        let out: HashSet<VersionId> = self.hidden.union(&self.valueless).copied().collect();
        pruned(&self.history, &out).map_or(Cow::Borrowed(&self.history), Cow::Owned)
    }

    /// The put with this id and its sequence.
    pub fn put(&self, id: &VersionId) -> Option<(&Version, u64)> {
        let at = self.history.find(id)?;
        let version = self.history.at(at);
        (version.change == Change::Put).then(|| (version, self.sequences[at]))
    }

    /// The row of the key with this history. What is hidden and has something on top of it is
    /// superseded, and hidden no more: it is no object any more either.
    pub fn row(&mut self) -> KeyRow {
        let out: HashSet<VersionId> = self.hidden.union(&self.valueless).copied().collect();
        let visible = self.visible();
        let view = View::hiding(&visible, &out);
        let still = |id: &VersionId| visible.find(id).is_none_or(|at| visible.is_live_head(at));
        let gone: Vec<VersionId> = out.iter().copied().filter(|id| !still(id)).collect();
        for id in gone {
            self.hidden.remove(&id);
            self.valueless.remove(&id);
        }
        let objects = view.candidates.iter().chain(&view.detached);
        let speakers = objects.filter_map(|o| self.speaker(o.version())).collect();
        let deleted = if view.candidates.is_empty() { self.newest_delete(&view) } else { None };
        let last = self.sequences.iter().max().copied().unwrap_or(0);
        if self.noted < last {
            // A note says where the key stands in the feed until something new says it.
            self.noted = 0;
        }
        KeyRow {
            last,
            versions: self.sequences.len() as u64,
            bytes: self.bytes,
            speakers,
            deleted,
            view,
            apart: self.apart(),
        }
    }

    fn apart(&self) -> Option<Box<Apart>> {
        let sorted = |set: &HashSet<VersionId>| {
            let mut ids: Vec<VersionId> = set.iter().copied().collect();
            ids.sort_unstable();
            ids
        };
        let mut apart = Apart {
            tips: Vec::new(),
            hidden: sorted(&self.hidden),
            valueless: sorted(&self.valueless),
            noted: self.noted,
            forgotten: self.forgotten,
        };
        if apart == Apart::default() {
            return None;
        }
        if !apart.hidden.is_empty() || !apart.valueless.is_empty() {
            let valued = pruned(&self.history, &self.valueless);
            apart.tips = View::of(valued.as_ref().unwrap_or(&self.history)).tips.to_vec();
        }
        Some(Box::new(apart))
    }

    /// The newest put, by timestamp, then id, among the nearest puts below the deleted heads.
    pub fn newest_deleted_put(&self, view: &View) -> Option<VersionId> {
        let history = &self.history;
        let mut open: Vec<At> = view.tips.iter().filter_map(|tip| history.find(tip)).collect();
        let mut seen: HashSet<At> = HashSet::new();
        let mut puts: Vec<&Version> = Vec::new();
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            match history.at(at).change {
                Change::Put => puts.push(history.at(at)),
                Change::Delete => open.extend_from_slice(history.parents(at)),
                Change::Split => {}
            }
        }
        puts.into_iter().max_by_key(|put| (put.timestamp, put.id)).map(|put| put.id)
    }

    fn speaker(&self, id: &VersionId) -> Option<Speaker> {
        let at = self.history.find(id)?;
        let version = self.history.at(at);
        let sequence = self.sequences[at];
        Some(Speaker { sequence, timestamp: version.timestamp, origin: version.origin })
    }

    /// The newest delete among the heads of the main line, or of any line if it has no head.
    fn newest_delete(&self, view: &View) -> Option<Deleted> {
        let heads = if view.main_heads.is_empty() { &view.tips } else { &view.main_heads };
        let places = heads.iter().filter_map(|head| self.history.find(head));
        let deletes = places.filter(|at| self.history.at(*at).change == Change::Delete);
        let newest = deletes.max_by_key(|at| {
            let version = self.history.at(*at);
            (version.timestamp, version.id)
        })?;
        let version = self.history.at(newest);
        Some(Deleted {
            version: version.id,
            timestamp: version.timestamp,
            origin: version.origin,
            sequence: self.sequences[newest],
        })
    }
}

/// One record of a key's list, checked to belong there, so that no loop or foreign row is followed.
pub fn next_of(
    key: &Key,
    at: u64,
    record: impl Fn(u64) -> Result<Record, Refusal>,
) -> Result<Record, Refusal> {
    let found = record(at)?;
    if found.key != *key || found.prev >= at {
        return Err(corrupt(format_args!("record {at} does not belong to {:?}", key.as_str())));
    }
    Ok(found)
}
