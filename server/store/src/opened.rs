//! A database that was opened, with its digests and counters.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Database;

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};

use crate::disk::{Disk, Identity};
use crate::draft::{Draft, Drafted};
use crate::error::OpenError;
use crate::format::STATE_REMOVED;
use crate::late::{self, Late};
use crate::replay::replay;
use crate::tables::Tables;
use crate::totals::Totals;

/// An open database with what is known of it.
pub struct Opened {
    pub database: Database,
    pub identity: Identity,
    pub late: Late,
    pub tables: Tables,
    pub totals: Totals,
    /// The largest sequence of a forgotten key that is gone for good.
    pub removed: u64,
}

/// Opens the database, brings it up to its journal, and reads its digests and counters.
pub fn open(disk: &mut Disk, namespace: &Namespace, node: &NodeId) -> Result<Opened, OpenError> {
    // redb trusts a file that was closed well and may panic on one that was damaged since.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (database, found, word) = disk.open(namespace, node)?;
        replay(disk, &database, &found.store, word)?;
        let identity = disk.own(&database, namespace, node)?;
        let (late, tables) = late::open(&database).map_err(|e| disk.broken(e))?;
        let refused = |e: Refusal| match e.code {
            Code::Corrupt => disk.corrupt(e),
            _ => disk.failed(e),
        };
        let totals = Totals::read(&tables).map_err(refused)?;
        let removed = tables.number(STATE_REMOVED).map_err(refused)?;
        Ok(Opened { database, identity, late, tables, totals, removed })
    }));
    outcome.unwrap_or_else(|_| Err(disk.corrupt("its pages contradict each other")))
}

impl Opened {
    /// True if a draft whose commit failed was written all the same.
    pub fn has(&self, draft: &Draft) -> bool {
        let tables = &self.tables;
        draft.sequenced().last().is_some_and(|(sequence, drafted)| match drafted {
            Drafted::Version { record, .. } => {
                tables.record(sequence).is_ok_and(|there| there == **record)
            }
            Drafted::Note { key, note } => {
                tables.note(sequence).is_ok_and(|there| there == Some((*note, key.clone())))
            }
        })
    }
}
