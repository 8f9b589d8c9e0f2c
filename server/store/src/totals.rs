//! Counters and the digest of a namespace: made by one scan at open, then kept up with every commit.

use redb::ReadableTable;

use keepboth_core::digest::DigestTree;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use crate::failure::{corrupt_key, failed};
use crate::row::KeyRow;
use crate::state::Counts;
use crate::tables::{Tables, stored_key};

/// What all keys together amount to.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub tree: DigestTree,
    pub counts: Counts,
}

impl Totals {
    /// Scans all keys.
    pub fn scan(tables: &Tables) -> Result<Totals, Refusal> {
        let mut totals = Totals::default();
        for entry in tables.keys.iter().map_err(failed)? {
            let (key, row) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let row = KeyRow::decode(row.value()).map_err(|e| corrupt_key(&key, e))?;
            totals.replace(&key, None, &row);
        }
        totals.counts.last_sequence = tables.last_sequence()?;
        Ok(totals)
    }

    /// Takes a changed key into account.
    pub fn replace(&mut self, key: &Key, before: Option<&KeyRow>, after: &KeyRow) {
        let tips = before.map(|row| &row.view.tips[..]).unwrap_or(&[]);
        self.tree.replace(&key.hash(), tips, &after.view.tips);
        let counts = &mut self.counts;
        if let Some(before) = before {
            counts.keys -= 1;
            counts.objects -= before.speakers.len() as u64;
            counts.conflicts -= u64::from(before.view.in_conflict());
            counts.trash -= u64::from(before.view.is_trash());
        }
        counts.keys += 1;
        counts.objects += after.speakers.len() as u64;
        counts.conflicts += u64::from(after.view.in_conflict());
        counts.trash += u64::from(after.view.is_trash());
        counts.last_sequence = counts.last_sequence.max(after.last);
    }
}
