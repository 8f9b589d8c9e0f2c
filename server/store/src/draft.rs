//! What a group of tasks will change, before it is written: rows in memory on top of the newest snapshot.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use keepboth_core::conflict;
use keepboth_core::history::{History, Inserted};
use keepboth_core::ids::{ConflictId, DataHash, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::view::View;

use crate::failure::corrupt_key;
use crate::loaded::Loaded;
use crate::record::Record;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;
use crate::task::{KeyChange, Raised, Side};

/// Versions that are made together, each with its value if it is a put; parents first.
pub type Versions = Vec<(Version, Option<Value>)>;

/// A version that will be written.
pub struct Drafted {
    pub record: Record,
    pub value: Option<Value>,
}

/// A key that was looked at: as it was before the group, and as it is now.
pub struct Cell {
    pub before: Option<KeyRow>,
    pub now: Option<KeyRow>,
}

/// What became of versions that were taken up.
pub struct Taken {
    /// The sequence of the last of them.
    pub sequence: u64,
    /// True if the key was in conflict and is not any more.
    pub conflict_ended: bool,
}

/// All changes of one group.
pub struct Draft {
    base: Arc<Snapshot>,
    /// The sequence of the first version in `drafted`.
    first: u64,
    pub drafted: Vec<Drafted>,
    pub keys: HashMap<Key, Cell>,
    pub raised: HashMap<ConflictId, u64>,
    pub changes: Vec<KeyChange>,
    /// Bytes of the values taken up.
    pub value_bytes: usize,
    names: HashMap<[u8; 16], Key>,
    histories: HashMap<Key, Loaded>,
    undo: Undo,
}

/// What takes back all that was done since the mark.
#[derive(Default)]
struct Undo {
    drafted: usize,
    changes: usize,
    rows: Vec<(Key, Option<KeyRow>)>,
    raised: Vec<ConflictId>,
}

impl Draft {
    pub fn new(base: Arc<Snapshot>) -> Draft {
        Draft {
            first: base.counts().last_sequence + 1,
            base,
            drafted: Vec::new(),
            keys: HashMap::new(),
            raised: HashMap::new(),
            changes: Vec::new(),
            value_bytes: 0,
            names: HashMap::new(),
            histories: HashMap::new(),
            undo: Undo::default(),
        }
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.drafted.is_empty()
    }

    /// The drafted versions with their sequences.
    pub fn sequenced(&self) -> impl Iterator<Item = (u64, &Drafted)> {
        (self.first..).zip(&self.drafted)
    }

    /// Everything from here on can be taken back.
    pub fn mark(&mut self) {
        self.undo =
            Undo { drafted: self.drafted.len(), changes: self.changes.len(), ..Undo::default() };
    }

    /// Takes back everything since the mark.
    pub fn undo(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        self.drafted.truncate(undo.drafted);
        self.changes.truncate(undo.changes);
        for id in undo.raised {
            self.raised.remove(&id);
        }
        for (key, row) in undo.rows.into_iter().rev() {
            self.histories.remove(&key);
            if row.is_none() {
                self.names.remove(&key.hash());
            }
            if let Some(cell) = self.keys.get_mut(&key) {
                cell.now = row;
            }
        }
        self.mark();
    }

    /// The row of a key as it is now; None if it has no history.
    pub fn row(&mut self, key: &Key) -> Result<Option<KeyRow>, Refusal> {
        match self.keys.entry(key.clone()) {
            Entry::Occupied(cell) => Ok(cell.get().now.clone()),
            Entry::Vacant(place) => {
                let row = self.base.tables.row(key)?;
                place.insert(Cell { before: row.clone(), now: row.clone() });
                Ok(row)
            }
        }
    }

    /// The key of which this is half of the hash.
    pub fn key_of(&self, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        match self.names.get(hash) {
            Some(key) => Ok(Some(key.clone())),
            None => self.base.tables.key_of(hash),
        }
    }

    /// All versions of a key as it is now; an empty history if it has none.
    pub fn loaded(&mut self, key: &Key) -> Result<&mut Loaded, Refusal> {
        let last = self.row(key)?.map_or(0, |row| row.last);
        let (base, first, drafted) = (&self.base, self.first, &self.drafted);
        let record = |at: u64| match at.checked_sub(first) {
            Some(index) => Ok(drafted[index as usize].record.clone()),
            None => base.tables.record(at),
        };
        match self.histories.entry(key.clone()) {
            Entry::Occupied(loaded) => Ok(loaded.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Loaded::read(key, last, record)?)),
        }
    }

    /// The value of a put of this key.
    pub fn value(
        &self,
        key: &Key,
        version: &VersionId,
        data: &DataHash,
        sequence: u64,
    ) -> Result<Value, Refusal> {
        match sequence.checked_sub(self.first) {
            None => self.base.tables.value(key, version, data, sequence),
            Some(index) => {
                let value = self.drafted.get(index as usize).and_then(|made| made.value.clone());
                value.ok_or_else(|| corrupt_key(key, format_args!("version {version} is no put")))
            }
        }
    }

    /// Takes new versions into a key's history. After a refusal the caller must undo.
    pub fn take(&mut self, key: &Key, versions: Versions, local: bool) -> Result<Taken, Refusal> {
        let before = self.row(key)?;
        self.undo.rows.push((key.clone(), before.clone()));
        let first = self.first + self.drafted.len() as u64;
        let after = match advanced(before.as_ref(), &versions, first) {
            Some(after) => {
                self.keep_history(key, &versions, first)?;
                after
            }
            None => self.insert(key, &versions, first)?,
        };
        let conflict = self.conflict(key, before.as_ref(), &after)?;
        let conflict_ended =
            before.as_ref().is_some_and(|row| row.view.in_conflict()) && !after.view.in_conflict();
        let made = self.append(key, before.as_ref(), versions);
        self.changes.push(KeyChange { state: after.state(key), made, local, conflict });
        let sequence = after.last;
        if before.is_none() {
            self.names.insert(key.hash(), key.clone());
        }
        if let Some(cell) = self.keys.get_mut(key) {
            cell.now = Some(after);
        }
        Ok(Taken { sequence, conflict_ended })
    }

    /// Writes down the records of new versions and gives the events that carry them.
    fn append(&mut self, key: &Key, before: Option<&KeyRow>, versions: Versions) -> Vec<Event> {
        let mut prev = before.map_or(0, |row| row.last);
        let mut made = Vec::with_capacity(versions.len());
        for (version, value) in versions {
            made.push(Event { key: key.clone(), version: version.clone(), value: value.clone() });
            self.value_bytes += value.as_ref().map_or(0, |value| value.as_bytes().len());
            let record = Record { key: key.clone(), version, prev };
            prev = self.first + self.drafted.len() as u64;
            self.drafted.push(Drafted { record, value });
        }
        made
    }

    /// A history that was loaded takes part in every change.
    fn keep_history(&mut self, key: &Key, versions: &Versions, first: u64) -> Result<(), Refusal> {
        if self.histories.contains_key(key) {
            insert_all(key, self.loaded(key)?, versions, first)?;
        }
        Ok(())
    }

    /// The slow way: by the whole history.
    fn insert(&mut self, key: &Key, versions: &Versions, first: u64) -> Result<KeyRow, Refusal> {
        let loaded = self.loaded(key)?;
        insert_all(key, loaded, versions, first)?;
        Ok(loaded.row())
    }

    /// The conflict event that is due after a change, if its set of sides was not raised before.
    fn conflict(
        &mut self,
        key: &Key,
        before: Option<&KeyRow>,
        after: &KeyRow,
    ) -> Result<Option<Raised>, Refusal> {
        if !after.view.in_conflict() {
            return Ok(None);
        }
        let hash = key.hash();
        let was = before.map(|row| row.view.conflict_addresses(hash)).unwrap_or_default();
        let addresses = after.view.conflict_addresses(hash);
        let id = conflict::id(key, &addresses);
        let due = conflict::grew(&was, &addresses) && !self.raised.contains_key(&id);
        if !due || self.base.tables.is_raised(&id)? {
            return Ok(None);
        }
        let history = &self.loaded(key)?.history;
        let raised = raised(history, key, after, id);
        self.raised.insert(id, after.last);
        self.undo.raised.push(id);
        Ok(Some(Raised { addresses, ..raised }))
    }
}

/// The row after a first version, or after one whose only parent is the only tip: without the history.
fn advanced(before: Option<&KeyRow>, versions: &Versions, sequence: u64) -> Option<KeyRow> {
    let [(version, _)] = &versions[..] else { return None };
    match before {
        None => {
            let view = version.is_first().then(|| View::first(version))?;
            Some(KeyRow::simple(view, version, sequence, 1))
        }
        Some(before) => {
            let mut view = before.view.clone();
            let advanced = view.advance(version);
            advanced.then(|| KeyRow::simple(view, version, sequence, before.versions + 1))
        }
    }
}

fn insert_all(
    key: &Key,
    loaded: &mut Loaded,
    versions: &Versions,
    first: u64,
) -> Result<(), Refusal> {
    for ((version, _), sequence) in versions.iter().zip(first..) {
        match loaded.insert(version.clone(), sequence)? {
            Inserted::New => {}
            Inserted::Known => {
                let words = format!("version {} of {:?} is known", version.id, key.as_str());
                return Err(Refusal::new(Code::BadVersion, words));
            }
            Inserted::Missing(_) => {
                let words = format!("parents of version {} of {:?}", version.id, key.as_str());
                return Err(Refusal::new(Code::MissingParent, format!("{words} are unknown")));
            }
        }
    }
    Ok(())
}

fn raised(history: &History, key: &Key, row: &KeyRow, id: ConflictId) -> Raised {
    let hash = key.hash();
    let sides = row.view.candidates.iter().zip(&row.speakers).map(|(object, speaker)| Side {
        version: *object.version(),
        address: object.address(hash),
        origin: speaker.origin,
        timestamp: speaker.timestamp,
    });
    Raised {
        id,
        key: key.clone(),
        base: conflict::base(history, &row.view),
        addresses: Vec::new(),
        sides: sides.collect(),
        ask_hooks: conflict::asks_hooks(history, &row.view),
    }
}
