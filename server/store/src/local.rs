//! Writes made here, planned on a draft: the table of writes, and what is built on it.

use keepboth_core::conflict;
use keepboth_core::hash;
use keepboth_core::ids::{ConflictId, NodeId, VersionId};
use keepboth_core::limits::{PARENTS_MAX, Stage, figure};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::resolve::{Meaning, Place};
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use keepboth_core::write::{self, Condition, Intent, Writer};

use crate::draft::{Draft, New, Source};
use crate::options::Options;
use crate::quota::{over_bytes, over_objects};
use crate::row::KeyRow;
use crate::target::{place, target};
use crate::task::{Op, Resolution, Written};

/// One task's writes on a draft.
pub struct Local<'d> {
    pub draft: &'d mut Draft,
    pub writer: Writer,
    pub options: &'d Options,
}

impl Local<'_> {
    /// All writes or none. A refusal in a batch tells which of them it was.
    pub fn batch(mut self, ops: Vec<Op>) -> Result<Vec<Written>, Refusal> {
        let count = ops.len();
        self.draft.mark();
        let written: Result<Vec<Written>, Refusal> = ops
            .into_iter()
            .enumerate()
            .map(|(at, op)| match count {
                1 => self.op(op),
                _ => self.op(op).map_err(|refusal| refusal.in_batch(at)),
            })
            .collect();
        if written.is_err() {
            self.draft.undo();
        }
        written
    }

    /// A hook's merge; None if the key is not in exactly that conflict any more.
    pub fn merge(
        mut self,
        key: Key,
        conflict: ConflictId,
        value: Value,
    ) -> Result<Option<Written>, Refusal> {
        self.draft.mark();
        let row = self.draft.row(&key)?;
        if row.and_then(|row| conflict_of(&key, &row)) != Some(conflict) {
            return Ok(None);
        }
        let merged = self.write(
            Name::Key(key),
            Intent::Merge(hash::data_hash(&value)),
            Some(value),
            Condition::None,
        );
        if merged.is_err() {
            self.draft.undo();
        }
        merged.map(Some)
    }

    fn op(&mut self, op: Op) -> Result<Written, Refusal> {
        match op {
            Op::Put { name, value, condition } => self.put(name, value, condition),
            Op::Delete { name, condition } => self.write(name, Intent::Delete, None, condition),
            Op::Resolve { key, with, conflict } => self.resolve(key, with, conflict),
            Op::Revert { name, version, condition } => self.revert(name, version, condition),
            Op::Restore { key, version } => self.restore(key, version),
        }
    }

    fn put(&mut self, name: Name, value: Value, condition: Condition) -> Result<Written, Refusal> {
        self.write(name, Intent::Put(hash::data_hash(&value)), Some(value), condition)
    }

    /// Every write made here ends up in this.
    fn write(
        &mut self,
        name: Name,
        intent: Intent,
        value: Option<Value>,
        condition: Condition,
    ) -> Result<Written, Refusal> {
        if let Some(value) = &value {
            value.check_size(self.options.value_bytes_max, Stage::Write)?;
            let bytes = self.draft.running.bytes + value.as_bytes().len() as u64;
            if let Some(refusal) = over_bytes(self.options, bytes) {
                return Err(refusal);
            }
        }
        let target = target(self.draft, &name, condition)?;
        // Where all versions are hidden, the writer finds nothing.
        let shown = |row: &&KeyRow| !row.view.tips.is_empty();
        let view = target.row.as_ref().filter(shown).map(|row| &row.view);
        let made = match (target.place, view) {
            (Some(place), Some(view)) => {
                write::at_object(&name, view, place, intent, condition, self.writer)?
            }
            _ => write::at_key(&target.key, view, intent, condition, self.writer)?,
        };
        let Some(last) = made.last().cloned() else {
            return Err(Refusal::not_found(&name.to_string()));
        };
        let joined = made.iter().map(|made| made.parents.len()).max().unwrap_or(0);
        if joined > PARENTS_MAX {
            // No peer would take it.
            let (joined, limit) = (figure(joined), figure(PARENTS_MAX));
            let words = format!("{name} has {joined} heads; one version joins at most {limit}");
            let refusal = Refusal::new(Code::InConflict, words);
            return Err(refusal.hint("write to its sides, each under its address"));
        }
        let valued = |change| if change == Change::Put { value.clone() } else { None };
        let versions = made.into_iter().map(|made| {
            let value = valued(made.change);
            New::plain(made, value)
        });
        let objects = self.draft.running.objects;
        let (from, now) = (NodeId([0; 32]), self.writer.now);
        let source = Source { local: true, from, maker: None, now };
        let taken = self.draft.take(&target.key, versions.collect(), source)?;
        let now = self.draft.running.objects;
        if let Some(refusal) = over_objects(self.options, now).filter(|_| now > objects) {
            return Err(refusal);
        }
        Ok(Written {
            name,
            key: target.key,
            version: last.id,
            sequence: taken.sequence,
            change: last.change,
            data: last.data,
            conflict_ended: taken.conflict_ended,
        })
    }

    fn resolve(
        &mut self,
        key: Key,
        with: Resolution,
        conflict: Option<ConflictId>,
    ) -> Result<Written, Refusal> {
        let row = self.draft.row(&key)?.filter(|row| row.in_conflict());
        let Some(row) = row else {
            let words = format!("{:?} is not in conflict", key.as_str());
            return Err(Refusal::new(Code::NoConflict, words));
        };
        if conflict.is_some() && conflict != conflict_of(&key, &row) {
            return Err(other_sides(&key, &row));
        }
        let value = match with {
            Resolution::Value(value) => value,
            Resolution::Side(address) => self.side(&key, &row, &address)?,
        };
        let intent = Intent::Merge(hash::data_hash(&value));
        self.write(Name::Key(key), intent, Some(value), Condition::None)
    }

    /// The value of one side of a conflict, by its present or a former address.
    fn side(&mut self, key: &Key, row: &KeyRow, address: &Address) -> Result<Value, Refusal> {
        let meaning = match address.key == key.hash() {
            true => place(self.draft, key, row, address)?,
            false => Meaning::Unknown,
        };
        let side = match meaning {
            Meaning::One(Place::Main(at)) => row.view.candidates.get(at).zip(row.speakers.get(at)),
            _ => None,
        };
        let Some((object, speaker)) = side else {
            let words = format!("{address} is no side of the conflict at {:?}", key.as_str());
            let addresses = row.view.conflict_addresses(key.hash());
            return Err(Refusal { addresses, ..Refusal::new(Code::NotFound, words) });
        };
        self.draft.value(key, object.version(), &object.data, speaker.sequence)
    }

    fn revert(
        &mut self,
        name: Name,
        version: VersionId,
        condition: Condition,
    ) -> Result<Written, Refusal> {
        let target = target(self.draft, &name, condition)?;
        self.put_again(target.key, version, name, condition)
    }

    fn restore(&mut self, key: Key, version: Option<VersionId>) -> Result<Written, Refusal> {
        let not_found = || {
            let words = format!("{:?} is not in the trash", key.as_str());
            Refusal::new(Code::NotFound, words)
        };
        let row = self.draft.row(&key)?.filter(|row| row.is_trash()).ok_or_else(not_found)?;
        let version = match version {
            Some(version) => version,
            None => {
                let newest = self.draft.loaded(&key)?.newest_deleted_put(&row.view);
                newest.ok_or_else(not_found)?
            }
        };
        self.put_again(key.clone(), version, Name::Key(key), Condition::None)
    }

    /// A put of the value that a version of the same history has.
    fn put_again(
        &mut self,
        key: Key,
        version: VersionId,
        name: Name,
        condition: Condition,
    ) -> Result<Written, Refusal> {
        let hidden = self.draft.row(&key)?.is_some_and(|row| row.hides(&version));
        let put = self.draft.loaded(&key)?.put(&version).filter(|_| !hidden);
        let put = put.map(|(put, at)| (put.data, at));
        let Some((data, sequence)) = put else {
            let words = format!("version {version} is no put in the history of {:?}", key.as_str());
            return Err(Refusal::new(Code::NotFound, words));
        };
        let value =
            self.draft.value(&key, &version, &data, sequence).map_err(|e| match e.code {
                Code::ValueForgotten => Refusal { code: Code::NotFound, ..e },
                _ => e,
            })?;
        self.write(name, Intent::Put(data), Some(value), condition)
    }
}

/// The id of the conflict that a key is in now.
fn conflict_of(key: &Key, row: &KeyRow) -> Option<ConflictId> {
    let addresses = match row.in_conflict() {
        true => row.view.conflict_addresses(key.hash()),
        false => Vec::new(),
    };
    (!addresses.is_empty()).then(|| conflict::id(key, &addresses))
}

fn other_sides(key: &Key, row: &KeyRow) -> Refusal {
    let addresses = row.view.conflict_addresses(key.hash());
    let now = conflict::id(key, &addresses);
    let words = format!("the conflict at {:?} has other sides by now (it is {now})", key.as_str());
    Refusal { addresses, ..Refusal::new(Code::VersionMismatch, words) }
}
