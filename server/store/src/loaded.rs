//! All versions of one key with their sequences, read from the list of its records.

use std::collections::HashSet;

use keepboth_core::history::{At, History, Inserted};
use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::version::{Change, Version};
use keepboth_core::view::View;

use crate::failure::{corrupt, corrupt_key};
use crate::record::Record;
use crate::row::{KeyRow, Speaker};
use crate::state::Deleted;

/// A history whose versions know their place in the order of the store.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub history: History,
    /// The sequence of each version, by its position in the history.
    pub sequences: Vec<u64>,
}

impl Loaded {
    /// Follows the list of a key's records from `last`. `record` reads one of them.
    pub fn read(
        key: &Key,
        last: u64,
        record: impl Fn(u64) -> Result<Record, Refusal>,
    ) -> Result<Loaded, Refusal> {
        let mut found = Vec::new();
        let mut at = last;
        while at != 0 {
            let record = next_of(key, at, &record)?;
            let prev = record.prev;
            found.push((at, record.version));
            at = prev;
        }
        let mut loaded = Loaded {
            history: History::new(key.clone()),
            sequences: Vec::with_capacity(found.len()),
        };
        for (sequence, version) in found.into_iter().rev() {
            let id = version.id;
            match loaded.insert(version, sequence) {
                Ok(Inserted::New) => {}
                _ => {
                    return Err(corrupt_key(
                        key,
                        format_args!("version {id} does not fit its history"),
                    ));
                }
            }
        }
        Ok(loaded)
    }

    /// Adds a version; nothing changes unless it is new and fits.
    pub fn insert(&mut self, version: Version, sequence: u64) -> Result<Inserted, Refusal> {
        let inserted = self.history.insert(version)?;
        if inserted == Inserted::New {
            self.sequences.push(sequence);
        }
        Ok(inserted)
    }

    /// The put with this id and its sequence.
    pub fn put(&self, id: &VersionId) -> Option<(&Version, u64)> {
        let at = self.history.find(id)?;
        let version = self.history.at(at);
        (version.change == Change::Put).then(|| (version, self.sequences[at]))
    }

    /// The row of the key with this history.
    pub fn row(&self) -> KeyRow {
        let view = View::of(&self.history);
        let objects = view.candidates.iter().chain(&view.detached);
        let speakers = objects.filter_map(|o| self.speaker(o.version())).collect();
        let deleted = if view.candidates.is_empty() { self.newest_delete(&view) } else { None };
        KeyRow {
            last: self.sequences.last().copied().unwrap_or(0),
            versions: self.sequences.len() as u64,
            speakers,
            deleted,
            view,
        }
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
