//! What the commit thread shares with readers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use keepboth_core::digest::Digest;
use keepboth_core::refusal::Refusal;

use crate::options::Options;
use crate::snapshot::Snapshot;
use crate::state::Counts;
use crate::tables::Tables;
use crate::totals::Totals;

/// What the thread shares with readers.
pub struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub options: ArcSwap<Options>,
    pub epoch: AtomicU64,
    /// The largest sequence of a forgotten key that is gone for good.
    pub removed: AtomicU64,
    /// Bytes of the journal that the database does not have for good.
    pub journal_bytes: AtomicU64,
    /// The digests that the namespace had, with the sequences up to which it had them.
    pub roots: Mutex<VecDeque<(Digest, u64)>>,
    pub stopping: AtomicBool,
    /// True while the database cannot be written.
    pub failed: AtomicBool,
    /// Why nothing is written, while the disk has too little room.
    pub full: ArcSwapOption<Refusal>,
    pub totals: Arc<Mutex<Totals>>,
}

/// Digests that are remembered with their sequences.
const ROOTS_MAX: usize = 1_024;

impl Shared {
    /// The digest and counters. Held for moments only.
    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a commit to readers.
    pub fn publish(&self, tables: Tables, counts: Counts, root: Digest) {
        self.remember(root, counts.last_sequence);
        let snapshot = Snapshot::new(tables, counts, root, self.totals.clone());
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Notes which digest the namespace had at a sequence.
    pub fn remember(&self, root: Digest, sequence: u64) {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if roots.back() != Some(&(root, sequence)) {
            roots.push_back((root, sequence));
        }
        if roots.len() > ROOTS_MAX {
            roots.pop_front();
        }
    }

    /// The last sequence at which the namespace had this digest, if that was not long ago.
    pub fn sequence_of(&self, root: &Digest) -> Option<u64> {
        let roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        roots.iter().rev().find(|(had, _)| had == root).map(|(_, sequence)| *sequence)
    }
}
