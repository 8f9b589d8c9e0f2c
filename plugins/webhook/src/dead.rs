//! What could not be delivered to one target: kept, listed, and taken up again.

use std::ops::Bound;

use keepboth_core::plugin::{Row, RowChange, Table, behind};
use keepboth_core::refusal::{Code, Refusal};

use crate::rows::{self, DEAD, Dead};

/// Rows that are looked at at once.
pub const ROWS_MAX: usize = 1_000;

/// The dead events of one target.
pub struct Graveyard {
    target: String,
    max: u64,
    count: u64,
}

impl Graveyard {
    /// Counts what is there.
    pub fn open(table: &dyn Table, target: &str, max: u64) -> Result<Graveyard, Refusal> {
        let mut yard = Graveyard { target: target.to_owned(), max, count: 0 };
        let mut after = None;
        loop {
            let found = yard.list(table, after, ROWS_MAX)?;
            yard.count += found.len() as u64;
            match found.last() {
                Some((id, _)) if found.len() == ROWS_MAX => after = Some(*id),
                _ => return Ok(yard),
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn row(&self, id: u64) -> Vec<u8> {
        rows::key(DEAD, &self.target, &id.to_be_bytes())
    }

    /// Those behind an id, at most so many.
    pub fn list(
        &self,
        table: &dyn Table,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Dead)>, Refusal> {
        let prefix = rows::key(DEAD, &self.target, &[]);
        let from =
            after.map_or(Bound::Included(prefix.clone()), |id| Bound::Excluded(self.row(id)));
        let found = rows_between(table, &from, &behind(&prefix), limit)?;
        let read = |(key, value): Row| {
            let id = key.last_chunk().map(|id| u64::from_be_bytes(*id));
            id.zip(Dead::decode(&value)).ok_or_else(corrupt)
        };
        found.into_iter().map(read).collect()
    }

    /// One of them.
    pub fn get(&self, table: &dyn Table, id: u64) -> Result<Option<Dead>, Refusal> {
        let value = table.get(&self.row(id))?;
        value.map(|value| Dead::decode(&value).ok_or_else(corrupt)).transpose()
    }

    /// Takes one in; where there is no room the oldest goes. True if one went.
    pub fn bury(
        &mut self,
        table: &dyn Table,
        id: u64,
        dead: &Dead,
        changes: &mut Vec<RowChange>,
    ) -> Result<bool, Refusal> {
        let known = self.get(table, id)?.is_some();
        let full = !known && self.count >= self.max;
        if full && let Some((oldest, _)) = self.list(table, None, 1)?.first() {
            changes.push((self.row(*oldest), None));
        }
        self.count += u64::from(!known && !full);
        changes.push((self.row(id), Some(dead.encode())));
        Ok(full)
    }

    /// Takes one out.
    pub fn lift(&mut self, id: u64, changes: &mut Vec<RowChange>) {
        self.count = self.count.saturating_sub(1);
        changes.push((self.row(id), None));
    }
}

/// The rows between two bounds.
pub fn rows_between(
    table: &dyn Table,
    from: &Bound<Vec<u8>>,
    to: &Bound<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Row>, Refusal> {
    table.range(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice), limit)
}

/// The refusal of rows that cannot be what was written.
pub fn corrupt() -> Refusal {
    Refusal::new(Code::Corrupt, "the rows of the webhooks are corrupt")
        .hint("stop the server and remove the plugin's table.redb; what is not delivered is lost")
}
