//! What other stores compare: digests of ranges, and keys with their tips.

use std::sync::PoisonError;

use keepboth_core::digest::{BUCKET_NIBBLES, Digest, FANOUT, Prefix};
use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Entry, Held, Mark};
use keepboth_core::wire::Exchanged;

use crate::failure::{corrupt_key, failed};
use crate::layout::Reader;
use crate::row::KeyRow;
use crate::snapshot::Snapshot;
use crate::tables::stored_key;

impl Snapshot {
    /// The digests of the 16 ranges within a range. Down to buckets they are those of the newest
    /// commit, which may be later than this snapshot; below, they are counted from its keys.
    pub fn children(&self, prefix: Prefix) -> Result<[Digest; FANOUT], Refusal> {
        if prefix.nibbles() < BUCKET_NIBBLES {
            let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(totals.tree.children(prefix).unwrap_or_default());
        }
        let mut children = [Digest::default(); FANOUT];
        self.each(prefix.first(), prefix.last(), |hash, _, row| {
            if !row.tips().is_empty() {
                let child = usize::from(prefix.nibble(&hash));
                children[child].add(&Digest::entry(&hash, row.tips()));
            }
            Ok(true)
        })?;
        Ok(children)
    }

    /// The keys of a range with their tips, in the order of their hashes; None if there are more than
    /// `most`.
    pub fn entries(&self, prefix: Prefix, most: usize) -> Result<Option<Vec<Entry>>, Refusal> {
        let mut entries = Vec::new();
        self.each(prefix.first(), prefix.last(), |hash, key, row| {
            if !row.tips().is_empty() {
                entries.push(Entry { hash, key, tips: row.tips().to_vec() });
            }
            Ok(entries.len() <= most)
        })?;
        Ok((entries.len() <= most).then_some(entries))
    }

    /// What the store has of a key; None if it has nothing.
    pub fn held(&self, key: &Key) -> Result<Option<Held>, Refusal> {
        Ok(self.tables.row(key)?.map(|row| Held {
            tips: row.all_tips().to_vec(),
            last: row.sequence(),
            forgotten: row.forgotten().is_some(),
        }))
    }

    /// The heads and open splits of a key that the digest counts, sorted; none if it has no history
    /// here.
    pub fn tips(&self, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        Ok(self.tables.row(key)?.map(|row| row.tips().to_vec()).unwrap_or_default())
    }

    /// The key with this half of a hash; None if it has no history here.
    pub fn key_of_hash(&self, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        self.tables.key_of(hash)
    }

    /// What other nodes have, and what this node remembers of them.
    pub fn agreed(&self) -> Result<Vec<(NodeId, Mark)>, Refusal> {
        let mut marks = Vec::new();
        for entry in self.tables.peers().range::<&[u8; 32]>(..).map_err(failed)? {
            let (node, row) = entry.map_err(failed)?;
            let node = NodeId(*node.value());
            let mut row = Reader(row.value());
            let read = row.u64().and_then(|agreed| {
                let exchanged = match row.0.len() {
                    24.. => Exchanged { shown: row.u64()?, seen: row.u64()? },
                    // Rows of before count something else, or nothing.
                    16.. => row.u64().map(|_| Exchanged::default())?,
                    _ => Exchanged::default(),
                };
                Ok(Mark { agreed, exchanged, at: row.u64()? })
            });
            let bad = |e| crate::failure::corrupt(format_args!("the mark of node {node}: {e}"));
            marks.push((node, read.map_err(bad)?));
        }
        Ok(marks)
    }

    /// Calls `one` with the keys between two halves of hashes, in order, until it says no.
    pub(super) fn each(
        &self,
        from: [u8; 16],
        last: [u8; 16],
        mut one: impl FnMut([u8; 16], Key, KeyRow) -> Result<bool, Refusal>,
    ) -> Result<(), Refusal> {
        for entry in self.tables.names().range::<&[u8; 16]>(&from..=&last).map_err(failed)? {
            let (hash, key) = entry.map_err(failed)?;
            let (hash, key) = (*hash.value(), stored_key(key.value())?);
            let row = self.tables.row(&key)?;
            let row = row.ok_or_else(|| corrupt_key(&key, "it has no row"))?;
            if !one(hash, key, row)? {
                break;
            }
        }
        Ok(())
    }
}
