//! What a group of tasks will change, before it is written: rows in memory on top of the newest snapshot.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use keepboth_core::ids::{ConflictId, DataHash, NodeId, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::session;
use keepboth_core::value::Value;
use keepboth_core::version::Version;

use crate::failure::corrupt_key;
use crate::filter::Known;
use crate::loaded::Loaded;
use crate::note::Note;
use crate::quarantine::Quarantined;
use crate::record::Record;
use crate::removal::Removal;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;
use crate::task::KeyChange;

/// New versions enter a key's history.
mod take;
/// What is in quarantine.
mod hidden;

/// A version that is to be taken up; a put with its value, unless that was forgotten elsewhere.
pub struct New {
    pub version: Version,
    pub value: Option<Value>,
    pub gap: Option<VersionId>,
    /// Why readers must not see it.
    pub refused: Option<Refusal>,
}

impl New {
    pub fn plain(version: Version, value: Option<Value>) -> New {
        New { version, value, gap: None, refused: None }
    }
}

/// Where versions come from.
#[derive(Clone, Copy)]
pub struct Source {
    pub local: bool,
    pub from: NodeId,
    pub maker: Option<NodeId>,
    pub now: u64,
}

/// A version of a key.
pub type Place = (Key, VersionId);

/// What will be written under a new sequence.
pub enum Drafted {
    Version { record: Box<Record>, value: Option<Value> },
    Note { key: Key, note: Note },
}

/// A key that was looked at: as it was before the group, and as it is now.
pub struct Cell {
    /// The first half of the key's hash.
    pub hash: [u8; 16],
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

/// Counters as the group goes on, for what has a limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Running {
    pub objects: u64,
    pub bytes: u64,
    pub quarantined: u64,
    pub quarantined_bytes: u64,
}

/// All changes of one group.
pub struct Draft {
    base: Arc<Snapshot>,
    /// Which keys the base may have; none if nothing is known of that.
    known: Option<Arc<Known>>,
    /// The sequence of the first in `drafted`.
    first: u64,
    pub drafted: Vec<Drafted>,
    pub keys: HashMap<Key, Cell>,
    pub raised: HashMap<ConflictId, u64>,
    pub changes: Vec<KeyChange>,
    /// Bytes of the values taken up.
    pub value_bytes: usize,
    pub running: Running,
    /// What comes into quarantine, and what leaves it.
    pub quarantine: HashMap<Place, Option<Quarantined>>,
    /// Values that came after their versions, by sequence.
    pub late: Vec<(u64, Value)>,
    /// Stored records that stand on a nearer ancestor than before, by sequence.
    pub nearer: HashMap<u64, Record>,
    /// What peers have.
    pub marks: HashMap<NodeId, session::Mark>,
    /// Milliseconds since 1970, of the latest task.
    pub now: u64,
    /// True if a version that was made here came back from elsewhere.
    pub own_came_back: bool,
    /// What is taken away; of tasks that are alone in their group.
    pub removal: Removal,
    names: HashMap<[u8; 16], Key>,
    histories: HashMap<Key, Loaded>,
    undo: Undo,
}

/// What takes back all that was done since the mark.
#[derive(Default)]
struct Undo {
    drafted: usize,
    changes: usize,
    late: usize,
    nearer: Vec<(u64, Option<Record>)>,
    running: Running,
    rows: Vec<(Key, Option<KeyRow>)>,
    raised: Vec<ConflictId>,
    quarantine: Vec<(Place, Option<Option<Quarantined>>)>,
}

impl Draft {
    pub fn new(base: Arc<Snapshot>, known: Option<Arc<Known>>) -> Draft {
        let counts = base.counts();
        Draft {
            first: counts.last_sequence + 1,
            running: Running {
                objects: counts.objects,
                bytes: counts.value_bytes,
                quarantined: counts.quarantined,
                quarantined_bytes: counts.quarantined_bytes,
            },
            base,
            known,
            drafted: Vec::new(),
            keys: HashMap::new(),
            raised: HashMap::new(),
            changes: Vec::new(),
            value_bytes: 0,
            quarantine: HashMap::new(),
            late: Vec::new(),
            nearer: HashMap::new(),
            marks: HashMap::new(),
            now: 0,
            own_came_back: false,
            removal: Removal::default(),
            names: HashMap::new(),
            histories: HashMap::new(),
            undo: Undo::default(),
        }
    }

    /// Makes room for changes of so many keys.
    pub fn reserve(&mut self, keys: usize) {
        self.keys.reserve(keys);
        self.names.reserve(keys);
        self.drafted.reserve(keys);
        self.changes.reserve(keys);
    }

    /// An empty one on the same state.
    pub fn anew(&self) -> Draft {
        Draft::new(self.base.clone(), self.known.clone())
    }

    /// True if there is nothing to write but marks of peers.
    pub fn is_empty(&self) -> bool {
        self.drafted.is_empty()
            && self.late.is_empty()
            && self.nearer.is_empty()
            && self.quarantine.is_empty()
            && self.removal.is_empty()
    }

    /// The newest state on which the draft is made.
    pub fn base(&self) -> &Arc<Snapshot> {
        &self.base
    }

    /// What will be written, with its sequences.
    pub fn sequenced(&self) -> impl Iterator<Item = (u64, &Drafted)> {
        (self.first..).zip(&self.drafted)
    }

    /// The next new sequence.
    pub fn next_sequence(&self) -> u64 {
        self.first + self.drafted.len() as u64
    }

    /// Everything from here on can be taken back.
    pub fn mark(&mut self) {
        self.undo = Undo {
            drafted: self.drafted.len(),
            changes: self.changes.len(),
            late: self.late.len(),
            running: self.running,
            ..Undo::default()
        };
    }

    /// Takes back everything since the mark.
    pub fn undo(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        self.drafted.truncate(undo.drafted);
        self.changes.truncate(undo.changes);
        self.late.truncate(undo.late);
        self.running = undo.running;
        for (sequence, before) in undo.nearer.into_iter().rev() {
            match before {
                Some(before) => self.nearer.insert(sequence, before),
                None => self.nearer.remove(&sequence),
            };
        }
        for id in undo.raised {
            self.raised.remove(&id);
        }
        for (at, before) in undo.quarantine.into_iter().rev() {
            match before {
                Some(before) => self.quarantine.insert(at, before),
                None => self.quarantine.remove(&at),
            };
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
                let hash = key.hash();
                let row = match &self.known {
                    Some(known) if known.is_new(&hash) => None,
                    _ => self.base.tables.row(key)?,
                };
                place.insert(Cell { hash, before: row.clone(), now: row.clone() });
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
        if !self.histories.contains_key(key) {
            let row = self.row(key)?;
            let loaded = Loaded::read(key, row.as_ref(), |at| self.record(key, at))?;
            self.histories.insert(key.clone(), loaded);
        }
        let loaded = self.histories.get_mut(key);
        loaded.ok_or_else(|| corrupt_key(key, "its history is not there"))
    }

    /// The record with this sequence, drafted or stored.
    fn record(&self, key: &Key, at: u64) -> Result<Record, Refusal> {
        let Some(index) = at.checked_sub(self.first) else {
            return match self.nearer.get(&at) {
                Some(record) => Ok(record.clone()),
                None => self.base.tables.record(at),
            };
        };
        match self.drafted.get(index as usize) {
            Some(Drafted::Version { record, .. }) => Ok(Record::clone(record)),
            _ => Err(corrupt_key(key, format_args!("its list names sequence {at}"))),
        }
    }

    /// The record with this sequence stands on this ancestor from now on.
    pub fn set_gap(&mut self, key: &Key, at: u64, foot: VersionId) -> Result<(), Refusal> {
        let record = Record { gap: Some(foot), ..self.record(key, at)? };
        let drafted = at.checked_sub(self.first).and_then(|i| self.drafted.get_mut(i as usize));
        match drafted {
            Some(Drafted::Version { record: drafted, .. }) => **drafted = record,
            _ => self.undo.nearer.push((at, self.nearer.insert(at, record))),
        }
        Ok(())
    }

    /// The value of a put of this key. Refused: `value_forgotten` if it is not kept any more.
    pub fn value(
        &self,
        key: &Key,
        version: &VersionId,
        data: &DataHash,
        sequence: u64,
    ) -> Result<Value, Refusal> {
        if let Some((_, late)) = self.late.iter().find(|(at, _)| *at == sequence) {
            return Ok(late.clone());
        }
        let Some(index) = sequence.checked_sub(self.first) else {
            return self.base.tables.value(key, version, data, sequence);
        };
        match self.drafted.get(index as usize) {
            Some(Drafted::Version { value: Some(value), .. }) => Ok(value.clone()),
            _ => Err(corrupt_key(key, format_args!("version {version} is no put"))),
        }
    }
}
