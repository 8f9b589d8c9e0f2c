//! Retention, planned on a draft: one bounded step of all that is forgotten in time.
//!
//! Histories are looked at when something new of them has reached every peer: what may be forgotten of
//! a key changes only then. So the walk follows the sequences and remembers how far it has come; no
//! step looks at all keys. What cannot go yet, since a peer lacks something or nobody changed it since, is
//! passed over: a round looks at everything once, each step where the one before it ended.

use std::collections::HashSet;

use keepboth_core::history::At;
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::retention::{contracted, droppable, forgettable};

use crate::draft::Draft;
use crate::failure::{corrupt, failed};
use crate::format::{STATE_RULES, STATE_WALKED};
use crate::loaded::Loaded;
use crate::note::Note;
use crate::record::Record;
use crate::row::KeyRow;
use crate::tables::stored_key;
use crate::task::{Collected, Keep, Place};
use crate::verdict::{drop_values, forget, remove, removed, skipped};

/// A key that is looked up among all keys costs as much as so many rows in their order.
const ROWS_OF_A_KEY: usize = 16;

/// One step of retention.
pub struct Step<'d> {
    pub draft: &'d mut Draft,
    pub from: Place,
    pub rules: Keep,
    /// What every peer has.
    pub horizon: u64,
    pub now: u64,
    /// Rows that may still be looked at.
    pub budget: usize,
    pub done: Collected,
}

impl Step<'_> {
    /// Plans it.
    pub fn run(mut self) -> Result<Collected, Refusal> {
        self.horizon = self.horizon.min(self.draft.base().counts().last_sequence);
        self.done.next = match std::mem::take(&mut self.from) {
            Place::Notes(from) => self.notes(from)?,
            Place::Trash(stage, from, key) => self.trash((stage, from, &key))?,
            Place::Histories => self.walk()?,
        };
        Ok(self.done)
    }

    /// Takes something from the budget; false if it was used up.
    fn spend(&mut self, rows: usize) -> bool {
        let enough = self.budget > 0;
        self.budget = self.budget.saturating_sub(rows);
        enough
    }

    /// Forgotten keys of which every peer knows go for good, and notes that say nothing any more.
    fn notes(&mut self, from: u64) -> Result<Option<Place>, Refusal> {
        let base = self.draft.base().clone();
        for entry in base.tables.notes().range::<u64>(from..=self.horizon).map_err(failed)? {
            let (at, row) = entry.map_err(failed)?;
            let at = at.value();
            if !self.spend(ROWS_OF_A_KEY) {
                return Ok(Some(Place::Notes(at)));
            }
            let bad = |e| corrupt(format_args!("note {at}: {e}"));
            let (note, key) = Note::decode(row.value()).map_err(bad)?;
            let row = self.draft.row(&key)?;
            match row {
                Some(row) if note == Note::Forgotten && row.forgotten() == Some(at) => {
                    self.spend(row.versions as usize);
                    let gone = remove(self.draft, &key, &row).map(|()| 1);
                    let gone = skipped(&key, gone)?;
                    self.done.removed += gone;
                    if gone > 0 {
                        removed(self.draft, row.last)?;
                    }
                }
                Some(row) if row.sequence() == at => {}
                _ => {
                    self.draft.removal.notes.insert(at);
                }
            }
        }
        self.trash((0, 0, ""))
    }

    /// Values of what was deleted long ago, and keys that were deleted longer ago.
    fn trash(&mut self, from: (u8, u64, &str)) -> Result<Option<Place>, Refusal> {
        let ages =
            [(0, self.rules.trash_keep.min(self.rules.trash_forget)), (1, self.rules.trash_forget)];
        let base = self.draft.base().clone();
        for (stage, age) in ages {
            let Some(until) = self.now.checked_sub(age) else { continue };
            let (start, end) = (from.max((stage, 0, "")), (stage, until.saturating_add(1), ""));
            if start >= end {
                continue;
            }
            for entry in base.tables.aging().range(start..end).map_err(failed)? {
                let (at, _) = entry.map_err(failed)?;
                let (_, since, key) = at.value();
                let key = stored_key(key)?;
                if !self.spend(ROWS_OF_A_KEY) {
                    return Ok(Some(Place::Trash(stage, since, key.to_string())));
                }
                let due = self.due(&key, stage);
                skipped(&key, due)?;
            }
        }
        self.walk()
    }

    fn due(&mut self, key: &Key, stage: u8) -> Result<(), Refusal> {
        let row = self.draft.row(key)?;
        let Some(row) = row.filter(|row| row.is_trash() && row.last <= self.horizon) else {
            return Ok(());
        };
        self.spend(row.versions as usize);
        if stage == 1 {
            let tips = row.all_tips().to_vec();
            self.done.forgotten += u64::from(forget(self.draft, key, &tips, true)?);
            return Ok(());
        }
        self.draft.begin(key)?;
        self.done.values += drop_values(self.draft, key)?;
        let after = self.draft.loaded(key)?.row();
        self.draft.removal.emptied.push(key.clone());
        self.draft.set_row(key, Some(&row), after);
        Ok(())
    }

    /// Goes on with the histories.
    fn walk(&mut self) -> Result<Option<Place>, Refusal> {
        let base = self.draft.base().clone();
        let short = |n: u64| n.min(u64::from(u32::MAX));
        let rules = short(self.rules.values) << 32 | short(self.rules.records);
        let same = base.tables.number(STATE_RULES)? == rules;
        // Stricter rules take more of what was walked already.
        let walked = if same { base.tables.number(STATE_WALKED)? } else { 0 };
        if walked >= self.horizon && same {
            return Ok(None);
        }
        // The only version that is left of a key stays, and a later one is met later.
        let one_stays = rules_few(self.rules) > 0;
        let (mut seen, mut reached, mut next) = (HashSet::new(), self.horizon, None);
        for entry in base.tables.records().range(walked + 1..=self.horizon).map_err(failed)? {
            let (at, row) = entry.map_err(failed)?;
            if !self.spend(1) {
                (reached, next) = (at - 1, Some(Place::Histories));
                break;
            }
            let bad = |e| corrupt(format_args!("record {at}: {e}"));
            let Record { key, prev, .. } = Record::decode(row.value()).map_err(bad)?;
            if (prev > 0 || !one_stays) && seen.insert(key.clone()) {
                self.spend(ROWS_OF_A_KEY);
                let looked = self.look_at(&key);
                skipped(&key, looked)?;
            }
        }
        self.draft.removal.state.insert(STATE_WALKED, reached.max(walked));
        self.draft.removal.state.insert(STATE_RULES, rules);
        Ok(next)
    }

    /// Forgets what may be forgotten of one history.
    fn look_at(&mut self, key: &Key) -> Result<(), Refusal> {
        let row = self.draft.row(key)?;
        let few = rules_few(self.rules);
        // What is in the trash can be restored as a whole, until its values go and all of it is forgotten.
        let plain = |row: &KeyRow| row.forgotten().is_none() && !row.is_trash();
        let Some(row) = row.filter(|row| plain(row) && row.versions > few) else {
            return Ok(());
        };
        self.spend(row.versions as usize);
        self.draft.begin(key)?;
        let loaded = self.draft.loaded(key)?.clone();
        let old = |at: At| loaded.sequences[at] <= self.horizon && !hidden(&loaded, at);
        let step = |at: At| {
            let child = loaded.history.children(at).first();
            old(at) && child.is_some_and(|child| old(*child))
        };
        let gone = droppable(&loaded.history, self.rules.records as usize, step);
        let mut values: Vec<At> = gone.clone();
        if !row.in_conflict() {
            let newest = self.rules.values as usize;
            values.extend(forgettable(&loaded.history, newest, |at| {
                old(at) && !row.view.tips.contains(&loaded.history.at(at).id)
            }));
        }
        values.sort_unstable();
        values.dedup();
        let mut after = row.clone();
        for at in values {
            let sequence = loaded.sequences[at];
            if let Some(size) = self.draft.base().tables.value_size(sequence)?
                && self.draft.removal.values.insert(sequence)
            {
                after.bytes = after.bytes.saturating_sub(size);
                self.done.values += u64::from(gone.binary_search(&at).is_err());
            }
        }
        self.contract(key, &loaded, &gone, &mut after)?;
        self.draft.set_row(key, Some(&row), after);
        Ok(())
    }

    /// Takes these records out of the list of their key.
    fn contract(
        &mut self,
        key: &Key,
        loaded: &Loaded,
        gone: &[At],
        row: &mut KeyRow,
    ) -> Result<(), Refusal> {
        if gone.is_empty() {
            return Ok(());
        }
        let (history, kept) = contracted(&loaded.history, gone);
        let mut list: Vec<(u64, At)> =
            kept.iter().enumerate().map(|(now, was)| (loaded.sequences[*was], now)).collect();
        list.sort_unstable();
        let mut prev = 0;
        for (sequence, at) in &list {
            let record = Record {
                key: key.clone(),
                version: history.at(*at).clone(),
                prev,
                gap: history.gap(*at),
            };
            prev = *sequence;
            if self.draft.base().tables.record(*sequence)? != record {
                self.draft.removal.rewritten.insert(*sequence, record);
            }
        }
        self.draft.removal.records.extend(gone.iter().map(|at| loaded.sequences[*at]));
        self.done.records += gone.len() as u64;
        (row.last, row.versions) = (prev, list.len() as u64);
        Ok(())
    }
}

/// A history of no more versions than these stays as it is.
fn rules_few(rules: Keep) -> u64 {
    rules.values.min(rules.records)
}

fn hidden(loaded: &Loaded, at: At) -> bool {
    let id = &loaded.history.at(at).id;
    loaded.hidden.contains(id) || loaded.valueless.contains(id)
}
