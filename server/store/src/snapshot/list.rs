//! Pages of objects in the order of their keys.

use std::ops::Bound;

use keepboth_core::ids::{DataHash, StoreId, VersionId};
use keepboth_core::name::{Key, Name};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;

use crate::failure::{corrupt_key, failed};
use crate::row::KeyRow;
use crate::snapshot::{SCAN_ROWS_MAX, Snapshot};
use crate::tables::stored_key;
use crate::view::Pairs;

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key of its history.
    pub key: Key,
    /// The key, or the address under which it stands.
    pub name: Name,
    /// The version that speaks for it.
    pub version: VersionId,
    /// The hash of its value.
    pub data: DataHash,
    /// Milliseconds since 1970 at the version's origin.
    pub timestamp: u64,
    /// The store that made the version.
    pub origin: StoreId,
    /// The version's place in the order of this store.
    pub sequence: u64,
    /// Its value, if it was asked for.
    pub value: Option<Value>,
    /// True for a side of a conflict.
    pub conflict: bool,
    /// True for an object that a split set apart: it stands under its address only.
    pub detached: bool,
}

/// Some objects, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects, in the order of their keys; all objects of one key stand in one page.
    pub items: Vec<Listed>,
    /// Pass it as `after` for the next page; None when there is nothing more. A page may be empty
    /// and go on, where many keys are in the trash.
    pub next: Option<Key>,
}

impl Snapshot {
    /// The objects of the keys that start with `prefix` and stand behind `after`. A page ends before
    /// the key with which it would have more than `limit_items` objects or `limit_bytes` of values
    /// (without values: of keys); the first key with objects always fits.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit_items: usize,
        limit_bytes: usize,
        with_values: bool,
    ) -> Result<Page, Refusal> {
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut last: Option<Key> = None;
        for (looked, entry) in self.keys_behind(prefix, after)?.enumerate() {
            let (key, row) = entry.map_err(failed)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            if looked >= SCAN_ROWS_MAX {
                return Ok(Page { items, next: last });
            }
            let key = stored_key(key.value())?;
            let row = KeyRow::decode(row.value()).map_err(|e| corrupt_key(&key, e))?;
            let full = !items.is_empty() && items.len() + row.speakers.len() > limit_items;
            let objects = if full || !row.is_shown() {
                Vec::new()
            } else {
                self.listed(&key, &row, with_values)?
            };
            let more: usize = objects.iter().map(size).sum();
            if full || !items.is_empty() && bytes + more > limit_bytes {
                return Ok(Page { items, next: last });
            }
            bytes += more;
            items.extend(objects);
            last = Some(key);
        }
        Ok(Page { items, next: None })
    }

    pub(super) fn keys_behind(
        &self,
        prefix: &str,
        after: Option<&Key>,
    ) -> Result<Pairs<'_, &'static str, &'static [u8]>, Refusal> {
        let from = match after.map(Key::as_str) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.tables.keys().range::<&str>((from, Bound::Unbounded)).map_err(failed)
    }

    fn listed(&self, key: &Key, row: &KeyRow, with_values: bool) -> Result<Vec<Listed>, Refusal> {
        let conflict = row.view.in_conflict();
        let objects = row.state(key).shown.into_iter().map(|shown| {
            let value = with_values
                .then(|| self.tables.value(key, &shown.version, &shown.data, shown.sequence))
                .transpose()?;
            Ok(Listed {
                key: key.clone(),
                name: shown.name,
                version: shown.version,
                data: shown.data,
                timestamp: shown.timestamp,
                origin: shown.origin,
                sequence: shown.sequence,
                value,
                conflict: conflict && !shown.detached,
                detached: shown.detached,
            })
        });
        objects.collect()
    }
}

fn size(item: &Listed) -> usize {
    item.value.as_ref().map_or(0, |value| value.as_bytes().len()) + item.key.as_str().len()
}
