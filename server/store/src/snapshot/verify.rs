//! Everything counted and checked anew, from the rows up: what a store keeps step by step must be the same.

use keepboth_core::digest::{Digest, DigestTree};
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::version::Change;

use crate::apart::Share;
use crate::failure::{corrupt, corrupt_key, failed};
use crate::loaded::Loaded;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;
use crate::state::Counts;
use crate::tables::stored_key;
use crate::trash::TrashRow;
use crate::view::View;

impl Snapshot {
    /// Reads all histories and values, checks them against their hashes and every row against what
    /// they give, and counts anew. Refused: `corrupt`, with the first thing that is wrong. Reads the
    /// whole file.
    pub fn verify(&self) -> Result<(Digest, Counts), Refusal> {
        let (mut tree, mut all) = (DigestTree::default(), Share::default());
        let (mut names, mut conflicts, mut trash) = (0, 0, 0);
        for entry in self.tables.keys().all().map_err(failed)? {
            let (key, row) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let row = KeyRow::decode(row.value()).map_err(|e| corrupt_key(&key, e))?;
            self.verify_key(&key, &row)?;
            let named = self.tables.names().get(&key.hash()).map_err(failed)?;
            if named.is_none_or(|named| named.value() != key.as_str()) {
                return Err(corrupt_key(&key, "it is not found by its hash"));
            }
            tree.replace(&key.hash(), &[], row.tips());
            all.add(row.share());
            names += 1;
            conflicts += u64::from(row.in_conflict());
            trash += u64::from(row.is_trash());
        }
        let found = [
            ("names", rows(self.tables.names())?, names),
            ("conflicts", rows(self.tables.conflicts())?, conflicts),
            ("trash", rows(self.tables.trash())?, trash),
            ("aging", rows(self.tables.aging())?, trash),
        ];
        if let Some((table, found, expected)) = found.iter().find(|(_, a, b)| a != b) {
            let words = format!("table {table} has {found} rows, and should have {expected}");
            return Err(corrupt(words));
        }
        let (mut quarantined, mut quarantined_bytes) = (0, 0);
        for item in self.quarantine(None, usize::MAX)?.items {
            let row = self.tables.row(&item.key)?;
            let hidden = row.and_then(|row| row.apart.map(|apart| apart.hidden));
            if !hidden.is_some_and(|hidden| hidden.contains(&item.version)) {
                return Err(corrupt_key(&item.key, "a version in quarantine is not hidden"));
            }
            quarantined += 1;
            quarantined_bytes += item.bytes();
        }
        let counts = Counts {
            keys: all.keys,
            objects: all.objects,
            conflicts: all.conflicts,
            trash: all.trash,
            value_bytes: all.bytes,
            quarantined,
            quarantined_bytes,
            last_sequence: self.tables.last_sequence()?,
        };
        Ok((tree.root(), counts))
    }

    fn verify_key(&self, key: &Key, row: &KeyRow) -> Result<(), Refusal> {
        let mut loaded = Loaded::read(key, Some(row), |at| self.tables.record(at))?;
        let mut bytes = 0;
        for at in 0..loaded.history.len() {
            let (version, sequence) = (loaded.history.at(at), loaded.sequences[at]);
            version.check(key).map_err(|e| corrupt_key(key, e))?;
            let kept = self.tables.value_size(sequence)?;
            if version.change == Change::Put && kept.is_some() {
                self.tables.value(key, &version.id, &version.data, sequence)?;
            }
            let shown = row.view.candidates.iter().chain(&row.view.detached);
            if kept.is_none()
                && row.is_shown()
                && shown.flat_map(|object| &object.heads).any(|head| *head == version.id)
            {
                return Err(corrupt_key(key, "an object has no value"));
            }
            bytes += kept.unwrap_or(0);
        }
        loaded.bytes = bytes;
        if loaded.row() != *row {
            return Err(corrupt_key(key, "its row is not what its history gives"));
        }
        let trash = self.tables.trash().get(key.as_str()).map_err(failed)?;
        let trash = trash.map(|row| TrashRow::decode(row.value())).transpose();
        let trash = trash.map_err(|e| corrupt_key(key, e))?;
        if trash.is_some() != row.is_trash() {
            return Err(corrupt_key(key, "the trash does not say whether it is there"));
        }
        let Some(trash) = trash else { return Ok(()) };
        let aging = (trash.stage, trash.since, key.as_str());
        match self.tables.aging().get(aging).map_err(failed)? {
            Some(_) => Ok(()),
            None => Err(corrupt_key(key, "its age in the trash is not known")),
        }
    }
}

/// How many rows a table has.
fn rows<K: redb::Key, V: redb::Value>(table: View<'_, K, V>) -> Result<u64, Refusal> {
    let all = table.all().map_err(failed)?;
    all.map(|row| row.map(|_| 1).map_err(failed)).sum()
}
