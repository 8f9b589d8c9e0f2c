//! What is in quarantine, as a draft leaves it.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use super::Draft;
use crate::quarantine::Quarantined;
use crate::row::KeyRow;

impl Draft {
    /// Why a version is in quarantine, if it is.
    pub fn quarantined(
        &self,
        key: &Key,
        version: &VersionId,
    ) -> Result<Option<Quarantined>, Refusal> {
        match self.quarantine.get(&(key.clone(), *version)) {
            Some(now) => Ok(now.clone()),
            None => self.base.tables.quarantined(key, version),
        }
    }

    /// Puts a version into quarantine, or takes it out.
    pub fn set_quarantined(
        &mut self,
        key: &Key,
        version: VersionId,
        row: Option<Quarantined>,
    ) -> Result<(), Refusal> {
        let before = self.quarantined(key, &version)?;
        if let Some(before) = &before {
            self.running.quarantined = self.running.quarantined.saturating_sub(1);
            self.running.quarantined_bytes =
                self.running.quarantined_bytes.saturating_sub(before.bytes());
        } else if row.is_none() {
            return Ok(());
        }
        if let Some(row) = &row {
            self.running.quarantined += 1;
            self.running.quarantined_bytes += row.bytes();
        }
        let at = (key.clone(), version);
        let drafted = self.quarantine.insert(at.clone(), row);
        self.undo.quarantine.push((at, drafted));
        Ok(())
    }

    /// What was hidden and is superseded now needs no judgement any more.
    pub fn settle_quarantine(
        &mut self,
        key: &Key,
        before: Option<&KeyRow>,
        after: &KeyRow,
    ) -> Result<(), Refusal> {
        let hidden = |row: &KeyRow| row.apart.as_ref().map(|apart| apart.hidden.clone());
        let was = before.and_then(hidden).unwrap_or_default();
        let is = hidden(after).unwrap_or_default();
        for version in was.into_iter().filter(|id| !is.contains(id)) {
            self.set_quarantined(key, version, None)?;
        }
        Ok(())
    }
}
