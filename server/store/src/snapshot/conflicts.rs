//! Keys in conflict with all that a hook or a person needs to end it, and keys in the trash.

use std::ops::Bound;

use redb::Value as Stored;

use keepboth_core::conflict;
use keepboth_core::ids::{ConflictId, DataHash, StoreId, VersionId};
use keepboth_core::name::{Address, Key};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;

use crate::failure::{corrupt_key, failed};
use crate::loaded::Loaded;
use crate::snapshot::Snapshot;
use crate::state::KeyState;
use crate::tables::stored_key;
use crate::trash::TrashRow;
use crate::view::View;

/// Some keys, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The keys, in order.
    pub items: Vec<KeyState>,
    /// Pass it as `after` for the next page; None when there is nothing more.
    pub next: Option<Key>,
}

/// A conflict with the values of its base and its sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictDetail {
    /// The hash of the key and the sides' addresses.
    pub id: ConflictId,
    /// The key in conflict.
    pub key: Key,
    /// The nearest common ancestor and its value; no value if it is a delete or not kept any more.
    pub base: Option<(VersionId, Option<Value>)>,
    /// The sides, sorted by version.
    pub sides: Vec<ConflictSide>,
    /// False if every side is a merge of merges: hooks are not asked again.
    pub ask_hooks: bool,
}

/// One side of a conflict with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictSide {
    /// The address under which it stands.
    pub address: Address,
    /// The version that speaks for it.
    pub version: VersionId,
    /// The hash of its value.
    pub data: DataHash,
    /// Its value.
    pub value: Value,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
    /// The version's place in the order of this store.
    pub sequence: u64,
}

impl Snapshot {
    /// The keys in conflict, in order, behind `after`.
    pub fn conflicts(&self, after: Option<&Key>, limit: usize) -> Result<Keys, Refusal> {
        self.keys_of(self.tables.conflicts(), after, limit)
    }

    /// The keys in the trash, in order, behind `after`.
    pub fn trash(&self, after: Option<&Key>, limit: usize) -> Result<Keys, Refusal> {
        self.keys_of(self.tables.trash(), after, limit)
    }

    /// When this store learned that a key was deleted, in milliseconds since 1970; None if it is not in
    /// the trash.
    pub fn deleted_since(&self, key: &Key) -> Result<Option<u64>, Refusal> {
        let row = self.tables.trash().get(key.as_str()).map_err(failed)?;
        let row = row.map(|row| TrashRow::decode(row.value())).transpose();
        Ok(row.map_err(|e| corrupt_key(key, e))?.map(|row| row.since))
    }

    /// A conflict with its values. Refused: `no_conflict` if the key is not in conflict.
    pub fn conflict(&self, key: &Key) -> Result<ConflictDetail, Refusal> {
        let row = self.tables.row(key)?.filter(|row| row.in_conflict());
        let loaded = row.as_ref().map(|_| self.tables.loaded(key)).transpose()?.flatten();
        let (Some(row), Some(loaded)) = (row, loaded) else {
            let words = format!("{:?} is not in conflict", key.as_str());
            return Err(Refusal::new(Code::NoConflict, words));
        };
        let state = row.state(key);
        let sides = state.shown.into_iter().filter(|shown| !shown.detached).map(|shown| {
            Ok(ConflictSide {
                value: self.tables.value(key, &shown.version, &shown.data, shown.sequence)?,
                address: shown.address,
                version: shown.version,
                data: shown.data,
                timestamp: shown.timestamp,
                origin: shown.origin,
                sequence: shown.sequence,
            })
        });
        Ok(ConflictDetail {
            id: conflict::id(key, &row.view.conflict_addresses(key.hash())),
            key: key.clone(),
            sides: sides.collect::<Result<_, Refusal>>()?,
            base: conflict::base(&loaded.visible(), &row.view)
                .map(|base| self.base_value(key, &loaded, base).map(|value| (base, value)))
                .transpose()?,
            ask_hooks: conflict::asks_hooks(&loaded.visible(), &row.view),
        })
    }

    /// The nearest common ancestor of the sides of a conflict; None if there is none or no conflict.
    pub fn base(&self, key: &Key) -> Result<Option<VersionId>, Refusal> {
        let row = self.tables.row(key)?.filter(|row| row.in_conflict());
        let loaded = row.as_ref().map(|_| self.tables.loaded(key)).transpose()?.flatten();
        let both = row.zip(loaded);
        Ok(both.and_then(|(row, loaded)| conflict::base(&loaded.visible(), &row.view)))
    }

    fn base_value(
        &self,
        key: &Key,
        loaded: &Loaded,
        base: VersionId,
    ) -> Result<Option<Value>, Refusal> {
        let put = loaded.put(&base);
        match put.map(|(put, at)| self.tables.value(key, &base, &put.data, at)).transpose() {
            Err(refusal) if refusal.code == Code::ValueForgotten => Ok(None),
            value => value,
        }
    }

    fn keys_of<V: Stored + 'static>(
        &self,
        table: View<'_, &'static str, V>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Keys, Refusal> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_str()));
        let mut items: Vec<KeyState> = Vec::new();
        for entry in table.range::<&str>((from, Bound::Unbounded)).map_err(failed)? {
            if items.len() >= limit {
                let next = items.last().map(|state| state.key.clone());
                return Ok(Keys { items, next });
            }
            let (key, _) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let state = self.state(&key)?;
            items.push(state.ok_or_else(|| corrupt_key(&key, "it has no row"))?);
        }
        Ok(Keys { items, next: None })
    }
}
