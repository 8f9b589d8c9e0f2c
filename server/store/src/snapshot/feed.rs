//! What watchers and other stores ask for: changes since, keys of a bucket, versions that are missing.

use std::ops::Bound;

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::version::{Change, Event};

use crate::failure::{corrupt, corrupt_key, failed};
use crate::loaded::Loaded;
use crate::record::Record;
use crate::snapshot::{SCAN_ROWS_MAX, Snapshot};
use crate::state::KeyState;
use crate::tables::stored_key;

/// The last bucket of the digest: 12 bits.
const BUCKET_MAX: u16 = 0xfff;

impl Snapshot {
    /// The keys that changed after a sequence, one entry for each: as it is now, in the order of the
    /// last changes; and the sequence to go on from. There is nothing more when that is the store's
    /// last sequence; an answer may be empty and go on.
    pub fn changes(
        &self,
        after_sequence: u64,
        limit: usize,
    ) -> Result<(Vec<KeyState>, u64), Refusal> {
        let (mut states, mut next) = (Vec::new(), after_sequence);
        let range = (Bound::Excluded(after_sequence), Bound::Unbounded);
        let records = self.tables.records.range::<u64>(range).map_err(failed)?;
        for entry in records.take(SCAN_ROWS_MAX) {
            if states.len() >= limit {
                break;
            }
            let (sequence, row) = entry.map_err(failed)?;
            let sequence = sequence.value();
            let record = Record::decode(row.value())
                .map_err(|e| corrupt(format_args!("record {sequence}: {e}")))?;
            let row = self.tables.row(&record.key)?;
            let row = row.ok_or_else(|| corrupt_key(&record.key, "it has no row"))?;
            // A key that changed later stands at its last change.
            if row.last == sequence {
                states.push(row.state(&record.key));
            }
            next = sequence;
        }
        Ok((states, next))
    }

    /// All keys of a bucket of the digest, in the order of their hashes, with their tips.
    pub fn bucket_keys(&self, bucket: u16) -> Result<Vec<(Key, Vec<VersionId>)>, Refusal> {
        if bucket > BUCKET_MAX {
            return Ok(Vec::new());
        }
        let (from, to) = (first_of(bucket), first_of(bucket + 1));
        let end = if bucket == BUCKET_MAX { Bound::Unbounded } else { Bound::Excluded(&to) };
        let names = self.tables.names.range::<&[u8; 16]>((Bound::Included(&from), end));
        let mut keys = Vec::new();
        for entry in names.map_err(failed)? {
            let (_, key) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let tips = self.tips(&key)?;
            keys.push((key, tips));
        }
        Ok(keys)
    }

    /// The heads and open splits of a key, sorted; none if it has no history here.
    pub fn tips(&self, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        Ok(self.tables.row(key)?.map(|row| row.view.tips.to_vec()).unwrap_or_default())
    }

    /// All versions of the key that are neither `have` nor ancestors of `have`, parents first, with
    /// values. Ids in `have` that are unknown here are ignored.
    pub fn missing(&self, key: &Key, have: &[VersionId]) -> Result<Vec<Event>, Refusal> {
        let Some(row) = self.tables.row(key)? else { return Ok(Vec::new()) };
        if row.view.tips.iter().all(|tip| have.contains(tip)) {
            return Ok(Vec::new());
        }
        let loaded = Loaded::read(key, row.last, |at| self.tables.record(at))?;
        let history = &loaded.history;
        let known = history.with_ancestors(have.iter().filter_map(|id| history.find(id)));
        let missing = (0..history.len()).filter(|at| !known[*at]);
        missing.map(|at| self.event(key, &loaded, at)).collect()
    }

    fn event(&self, key: &Key, loaded: &Loaded, at: usize) -> Result<Event, Refusal> {
        let version = loaded.history.at(at).clone();
        let value = match version.change {
            Change::Put => {
                let sequence = loaded.sequences[at];
                Some(self.tables.value(key, &version.id, &version.data, sequence)?)
            }
            Change::Delete | Change::Split => None,
        };
        Ok(Event { key: key.clone(), version, value })
    }
}

/// The smallest half of a hash whose first 12 bits are this bucket.
fn first_of(bucket: u16) -> [u8; 16] {
    let mut hash = [0; 16];
    hash[..2].copy_from_slice(&(bucket << 4).to_be_bytes());
    hash
}
