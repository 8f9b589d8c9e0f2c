//! Versions in quarantine, in pages.

use std::ops::Bound;

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;

use crate::failure::{corrupt_key, failed};
use crate::quarantine::Quarantined;
use crate::snapshot::Snapshot;
use crate::tables::stored_key;

/// Some versions in quarantine, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinePage {
    /// The versions, in the order of their keys.
    pub items: Vec<Quarantined>,
    /// Pass it as `after` for the next page; None when there is nothing more.
    pub next: Option<(Key, VersionId)>,
}

impl Snapshot {
    /// The versions in quarantine behind `after`.
    pub fn quarantine(
        &self,
        after: Option<&(Key, VersionId)>,
        limit: usize,
    ) -> Result<QuarantinePage, Refusal> {
        let from = match after {
            None => Bound::Unbounded,
            Some((key, version)) => Bound::Excluded((key.as_str(), &version.0)),
        };
        let range = self.tables.quarantine().range::<(&str, &[u8; 32])>((from, Bound::Unbounded));
        let mut items: Vec<Quarantined> = Vec::new();
        for entry in range.map_err(failed)? {
            if items.len() >= limit {
                let next = items.last().map(|item| (item.key.clone(), item.version));
                return Ok(QuarantinePage { items, next });
            }
            let (at, row) = entry.map_err(failed)?;
            let (key, version) = at.value();
            let (key, version) = (stored_key(key)?, VersionId(*version));
            let row = Quarantined::decode(key.clone(), version, row.value());
            items.push(row.map_err(|e| corrupt_key(&key, e))?);
        }
        Ok(QuarantinePage { items, next: None })
    }

    /// The value of a version in quarantine, to look at it again; None if it has none, or is not there.
    pub fn quarantined_value(
        &self,
        key: &Key,
        version: &VersionId,
    ) -> Result<Option<Value>, Refusal> {
        let Some(row) = self.tables.quarantined(key, version)? else { return Ok(None) };
        let Some(_) = row.value else { return Ok(None) };
        let record = self.tables.record(row.sequence)?;
        self.tables.value(key, version, &record.version.data, row.sequence).map(Some)
    }
}
