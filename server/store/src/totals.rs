//! Counters and the digest of a namespace by bucket: kept up with every commit, and now and then on disk.
//!
//! A row of the table `digests`, in bytes, for each bucket that has keys: its second byte (1), digest
//! (32), and the numbers of keys, objects, conflicts and keys in the trash (4 each), and the bytes of
//! values (8).

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, WriteTransaction};

use keepboth_core::digest::{Digest, DigestTree, bucket};
use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use crate::apart::Share;
use crate::failure::{corrupt, corrupt_key, failed};
use crate::format::{DIGESTS, STATE, STATE_DIGESTS, TOUCHED};
use crate::layout::{BadRow, Reader, Writer};
use crate::record::Record;
use crate::row::KeyRow;
use crate::state::Counts;
use crate::tables::{Tables, stored_key};

/// Sequences after which the digests are written again. A store that was not closed counts anew the
/// buckets of at most so many keys when it is opened.
pub const MARK_EVERY: u64 = 32_768;

/// What all keys together amount to.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub tree: DigestTree,
    pub counts: Counts,
    shares: BTreeMap<u16, Share>,
    /// First bytes of buckets that changed since the rows were written.
    dirty: BTreeSet<u8>,
    /// The sequence that the rows tell of.
    pub marked: u64,
    /// Rows of keys that were read when the store was opened.
    pub rows_read: u64,
}

/// Rows of digests to be written.
pub struct Mark {
    rows: Vec<(u8, Vec<u8>)>,
    sequence: u64,
}

impl Totals {
    /// Reads what was written, and counts anew what changed since.
    pub fn read(tables: &Tables) -> Result<Totals, Refusal> {
        let mut totals = Totals { marked: tables.state(STATE_DIGESTS)?, ..Totals::default() };
        for entry in tables.digests.iter().map_err(failed)? {
            let (first, row) = entry.map_err(failed)?;
            let first = first.value();
            totals
                .read_row(first, row.value())
                .map_err(|e| corrupt(format_args!("digests {first}: {e}")))?;
        }
        let stale = stale(tables, totals.marked)?;
        // Neighbours in the table share pages: where much has to be read, all of it is faster.
        match stale.len() * 4 > totals.shares.len() && stale.len() > 64 {
            true => totals.recount_all(tables)?,
            false => stale.into_iter().try_for_each(|bucket| totals.recount(tables, bucket))?,
        }
        for entry in tables.quarantine.iter().map_err(failed)? {
            let (at, row) = entry.map_err(failed)?;
            let (key, version) = at.value();
            let (key, version) = (stored_key(key)?, keepboth_core::ids::VersionId(*version));
            let row = crate::quarantine::Quarantined::decode(key.clone(), version, row.value());
            let row = row.map_err(|e| corrupt_key(&key, e))?;
            totals.counts.quarantined += 1;
            totals.counts.quarantined_bytes += row.bytes();
        }
        totals.counts.last_sequence = tables.last_sequence()?;
        Ok(totals)
    }

    fn read_row(&mut self, first: u8, row: &[u8]) -> Result<(), BadRow> {
        let mut row = Reader(row);
        while !row.0.is_empty() {
            let bucket = u16::from_be_bytes([first, row.u8()?]);
            let digest = Digest::from_bytes(&row.array()?);
            let mut number = || row.array().map(|bytes| u64::from(u32::from_be_bytes(bytes)));
            let (keys, objects, conflicts, trash) = (number()?, number()?, number()?, number()?);
            let share = Share { keys, objects, conflicts, trash, bytes: row.u64()? };
            self.set(bucket, &digest, share);
        }
        Ok(())
    }

    fn set(&mut self, bucket: u16, digest: &Digest, share: Share) {
        self.tree.set(bucket, digest);
        let before = self.shares.remove(&bucket).unwrap_or_default();
        self.count(before, share);
        if share != Share::default() {
            self.shares.insert(bucket, share);
        }
    }

    fn count(&mut self, before: Share, after: Share) {
        let counts = &mut self.counts;
        let mut all = Share {
            keys: counts.keys,
            objects: counts.objects,
            conflicts: counts.conflicts,
            trash: counts.trash,
            bytes: counts.value_bytes,
        };
        all.add(after);
        all.remove(before);
        counts.keys = all.keys;
        counts.objects = all.objects;
        counts.conflicts = all.conflicts;
        counts.trash = all.trash;
        counts.value_bytes = all.bytes;
    }

    /// Counts all keys of a bucket anew.
    fn recount(&mut self, tables: &Tables, bucket: u16) -> Result<(), Refusal> {
        let (mut tree, mut share) = (DigestTree::default(), Share::default());
        let prefix = keepboth_core::digest::Prefix::bucket(bucket);
        let (from, last) = (prefix.first(), prefix.last());
        for entry in tables.names.range::<&[u8; 16]>(&from..=&last).map_err(failed)? {
            let (hash, key) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let row = tables.row(&key)?.ok_or_else(|| corrupt_key(&key, "it has no row"))?;
            tree.replace(hash.value(), &[], row.tips());
            share.add(row.share());
            self.rows_read += 1;
        }
        self.set(bucket, &tree.root(), share);
        self.dirty.insert((bucket >> 8) as u8);
        Ok(())
    }

    /// Counts all keys anew.
    fn recount_all(&mut self, tables: &Tables) -> Result<(), Refusal> {
        self.tree = DigestTree::default();
        self.shares.clear();
        self.counts = Counts::default();
        self.dirty = (0..=u8::MAX).collect();
        for entry in tables.keys.iter().map_err(failed)? {
            let (key, row) = entry.map_err(failed)?;
            let key = stored_key(key.value())?;
            let row = KeyRow::decode(row.value()).map_err(|e| corrupt_key(&key, e))?;
            self.replace(&key, None, Some(&row));
            self.rows_read += 1;
        }
        Ok(())
    }

    /// Takes a changed key into account.
    pub fn replace(&mut self, key: &Key, before: Option<&KeyRow>, after: Option<&KeyRow>) {
        let hash = key.hash();
        let bucket = bucket(&hash);
        let tips = [before, after].map(|row| row.map_or(&[][..], KeyRow::tips));
        self.tree.replace(&hash, tips[0], tips[1]);
        let share = |row: Option<&KeyRow>| row.map(KeyRow::share).unwrap_or_default();
        let (before, after) = (share(before), share(after));
        let own = self.shares.entry(bucket).or_default();
        own.add(after);
        own.remove(before);
        if *own == Share::default() {
            self.shares.remove(&bucket);
        }
        self.count(before, after);
        self.dirty.insert((bucket >> 8) as u8);
    }

    /// The rows that changed since the last mark.
    pub fn mark(&self) -> Mark {
        let row = |first: &u8| {
            let mut row = Writer::default();
            let range = u16::from_be_bytes([*first, 0])..=u16::from_be_bytes([*first, 255]);
            for (bucket, share) in self.shares.range(range) {
                row.u8(*bucket as u8).bytes(&self.tree.bucket(*bucket).to_bytes());
                for number in [share.keys, share.objects, share.conflicts, share.trash] {
                    row.length(number as usize);
                }
                row.u64(share.bytes);
            }
            (*first, row.0)
        };
        Mark { rows: self.dirty.iter().map(row).collect(), sequence: self.counts.last_sequence }
    }

    /// The rows are written.
    pub fn marked(&mut self, mark: &Mark) {
        self.dirty.clear();
        self.marked = mark.sequence;
    }

    /// True if there is anything to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.marked != self.counts.last_sequence
    }
}

impl Mark {
    /// Writes the rows, and how far they tell.
    pub fn write(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let mut digests = transaction.open_table(DIGESTS)?;
        for (first, row) in &self.rows {
            match row.is_empty() {
                true => digests.remove(first)?,
                false => digests.insert(first, &row[..])?,
            };
        }
        transaction.open_table(TOUCHED)?.retain(|_, ()| false)?;
        transaction.open_table(STATE)?.insert(STATE_DIGESTS, self.sequence)?;
        Ok(())
    }
}

/// The buckets of keys that changed after the rows of digests were written.
fn stale(tables: &Tables, marked: u64) -> Result<BTreeSet<u16>, Refusal> {
    let mut buckets = BTreeSet::new();
    for entry in tables.records.range(marked + 1..).map_err(failed)? {
        let (at, row) = entry.map_err(failed)?;
        let bad = |e| corrupt(format_args!("record {}: {e}", at.value()));
        buckets.insert(bucket(&Record::decode(row.value()).map_err(bad)?.key.hash()));
    }
    for entry in tables.notes.range(marked + 1..).map_err(failed)? {
        let (at, row) = entry.map_err(failed)?;
        let bad = |e| corrupt(format_args!("note {}: {e}", at.value()));
        buckets.insert(bucket(&crate::note::Note::decode(row.value()).map_err(bad)?.1.hash()));
    }
    for entry in tables.touched.iter().map_err(failed)? {
        buckets.insert(entry.map_err(failed)?.0.value());
    }
    Ok(buckets)
}
