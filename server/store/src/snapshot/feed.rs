//! What watchers ask for: the keys that changed since.

use std::ops::Bound;

use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use crate::failure::{corrupt, failed};
use crate::note::Note;
use crate::record::Record;
use crate::snapshot::{SCAN_ROWS_MAX, Snapshot};
use crate::state::KeyState;

impl Snapshot {
    /// The keys that changed after a sequence, one entry for each: as it is now, in the order of the
    /// last changes; and the sequence to go on from. There is nothing more when that is the store's
    /// last sequence; an answer may be empty and go on. A forgotten key stands there as deleted, until
    /// it is gone for good: see [`crate::Store::forgotten_high`].
    pub fn changes(
        &self,
        after_sequence: u64,
        limit: usize,
    ) -> Result<(Vec<KeyState>, u64), Refusal> {
        let (mut states, mut next) = (Vec::new(), after_sequence);
        let entries = self.entries_after(after_sequence)?;
        let all = entries.len() < SCAN_ROWS_MAX;
        for (sequence, key) in entries {
            if states.len() >= limit {
                return Ok((states, next));
            }
            let row = self.tables.row(&key)?;
            // A key that changed later stands at its last change, and one that is gone stands nowhere.
            if let Some(row) = row.filter(|row| row.sequence() == sequence)
                && !row.view.tips.is_empty()
            {
                states.push(row.state(&key));
            }
            next = sequence;
        }
        // The last sequences may have been of what is gone.
        let next = if all { next.max(self.counts.last_sequence) } else { next };
        Ok((states, next))
    }

    /// Versions and notes after a sequence, each with its key, in order; a bounded number of them.
    fn entries_after(&self, after: u64) -> Result<Vec<(u64, Key)>, Refusal> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        let mut entries = Vec::new();
        for entry in self.tables.records().range(range).map_err(failed)?.take(SCAN_ROWS_MAX) {
            let (sequence, row) = entry.map_err(failed)?;
            let record = Record::decode(row.value())
                .map_err(|e| corrupt(format_args!("record {sequence}: {e}")))?;
            entries.push((sequence, record.key));
        }
        for entry in self.tables.notes().range::<u64>(range).map_err(failed)?.take(SCAN_ROWS_MAX) {
            let (sequence, row) = entry.map_err(failed)?;
            let sequence = sequence.value();
            let (_, key) = Note::decode(row.value())
                .map_err(|e| corrupt(format_args!("note {sequence}: {e}")))?;
            entries.push((sequence, key));
        }
        entries.sort_unstable_by_key(|(sequence, _)| *sequence);
        entries.truncate(SCAN_ROWS_MAX);
        Ok(entries)
    }
}
