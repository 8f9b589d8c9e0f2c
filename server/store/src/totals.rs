//! Counters and the digest of a namespace by bucket: kept up with every commit, and now and then on disk.
//!
//! A row of the table `digests`, in bytes, for each bucket that has keys: its second byte (1), digest
//! (32), and the numbers of keys, objects, conflicts and keys in the trash and of the bytes of values, each
//! in as many bytes as it needs. A row of the table `changes` has the same for each bucket that one commit has changed, as
//! it was after the commit, with both bytes of the bucket: so a store that was not closed is opened
//! without a look at its keys.

use std::collections::BTreeSet;

use keepboth_core::digest::{Digest, DigestTree, bucket};
use keepboth_core::refusal::Refusal;

use crate::apart::Share;
use crate::failure::{corrupt, corrupt_key, failed};
use crate::format::{CHANGES, DIGESTS, STATE, STATE_DIGESTS};
use crate::layout::{BadRow, Reader, Writer};
use crate::row::KeyRow;
use crate::rows::Rows;
use crate::state::Counts;
use crate::tables::{Tables, stored_key};

/// Changes of buckets after which the digests are written again: so many are read at most, and those of
/// one more commit, when a store is opened that was not closed.
const MARK_EVERY: u64 = 32_768;

/// What all keys together amount to.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub tree: DigestTree,
    pub counts: Counts,
    shares: Shares,
    /// First bytes of buckets that changed since the rows were written.
    dirty: BTreeSet<u8>,
    /// The sequence that the rows tell of.
    marked: u64,
    /// How many changes were written since, and the number of the next commit's.
    changes: u64,
    next: u64,
    /// Changes that were read when the store was opened.
    pub changes_read: u64,
}

/// The counters of each bucket: those with the same first byte together, once one of them has keys.
#[derive(Debug, Clone, Default)]
struct Shares(Vec<Vec<Share>>);

impl Shares {
    fn of(&self, bucket: u16) -> Share {
        let [first, second] = bucket.to_be_bytes().map(usize::from);
        self.0.get(first).and_then(|row| row.get(second)).copied().unwrap_or_default()
    }

    /// Sets the counters of a bucket and gives those before.
    fn set(&mut self, bucket: u16, share: Share) -> Share {
        let [first, second] = bucket.to_be_bytes().map(usize::from);
        if self.0.is_empty() {
            self.0.resize_with(256, Vec::new);
        }
        let row = &mut self.0[first];
        if row.is_empty() {
            row.resize(256, Share::default());
        }
        std::mem::replace(&mut row[second], share)
    }

    /// The buckets with this first byte that have keys.
    fn row(&self, first: u8) -> impl Iterator<Item = (u16, Share)> {
        let row = self.0.get(usize::from(first)).into_iter().flatten();
        let all = (0..=255)
            .zip(row)
            .map(move |(second, share)| (u16::from_be_bytes([first, second]), *share));
        all.filter(|(_, share)| *share != Share::default())
    }
}

/// What buckets amount to after a commit.
pub struct Buckets(Vec<(u16, (Digest, Share))>);

/// The first half of a key's hash, and its row before and after.
pub type Change<'c> = ([u8; 16], Option<&'c KeyRow>, Option<&'c KeyRow>);

/// Rows of digests to be written.
pub struct Mark {
    rows: Vec<(u8, Vec<u8>)>,
    sequence: u64,
}

impl Totals {
    /// Reads what was written at the last mark, and what changed since.
    pub fn read(tables: &Tables) -> Result<Totals, Refusal> {
        let mut totals = Totals { marked: tables.number(STATE_DIGESTS)?, ..Totals::default() };
        for entry in tables.digests().all().map_err(failed)? {
            let (first, row) = entry.map_err(failed)?;
            let first = first.value();
            totals
                .read_row(first, row.value())
                .map_err(|e| corrupt(format_args!("digests {first}: {e}")))?;
        }
        for entry in tables.changes().all().map_err(failed)? {
            let (at, row) = entry.map_err(failed)?;
            let at = at.value();
            let mut row = Reader(row.value());
            while !row.0.is_empty() {
                let change = row.array().map(u16::from_be_bytes);
                let change = change.and_then(|bucket| Ok((bucket, read_bucket(&mut row)?)));
                let (bucket, (digest, share)) =
                    change.map_err(|e| corrupt(format_args!("changes {at}: {e}")))?;
                totals.set(bucket, &digest, share);
                totals.dirty.insert((bucket >> 8) as u8);
                totals.changes += 1;
            }
            totals.next = at + 1;
        }
        totals.changes_read = totals.changes;
        for entry in tables.quarantine().all().map_err(failed)? {
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
            let (digest, share) = read_bucket(&mut row)?;
            self.set(bucket, &digest, share);
        }
        Ok(())
    }

    fn set(&mut self, bucket: u16, digest: &Digest, share: Share) {
        self.tree.set(bucket, digest);
        let before = self.shares.set(bucket, share);
        self.count(before, share);
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

    /// What the buckets of these keys amount to, which were so before and are so after.
    pub fn after<'c>(&self, changed: impl Iterator<Item = Change<'c>>) -> Buckets {
        let mut changed: Vec<_> = changed.collect();
        changed.sort_unstable_by_key(|(hash, ..)| bucket(hash));
        let of_one = changed.chunk_by(|(a, ..), (b, ..)| bucket(a) == bucket(b));
        let buckets = of_one.map(|changed| {
            let bucket = bucket(&changed[0].0);
            let (mut digest, mut share) = (self.tree.bucket(bucket), self.shares.of(bucket));
            for (hash, before, after) in changed {
                let tips = |row: Option<&'c KeyRow>| row.map_or(&[][..], KeyRow::tips);
                digest.add(&Digest::change(hash, tips(*before), tips(*after)));
                share.add(after.map(KeyRow::share).unwrap_or_default());
                share.remove(before.map(KeyRow::share).unwrap_or_default());
            }
            (bucket, (digest, share))
        });
        Buckets(buckets.collect())
    }

    /// The number under which the next commit's changes are written.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes up what was written.
    pub fn take(&mut self, buckets: &Buckets) {
        for (bucket, (digest, share)) in &buckets.0 {
            self.set(*bucket, digest, *share);
            self.dirty.insert((bucket >> 8) as u8);
        }
        self.changes += buckets.0.len() as u64;
        self.next += 1;
    }

    /// True if so much has changed that the digests should be written again.
    pub fn is_due(&self) -> bool {
        self.changes >= MARK_EVERY
    }

    /// The rows that changed since the last mark.
    pub fn mark(&self) -> Mark {
        let row = |first: &u8| {
            let mut row = Writer::default();
            for (bucket, share) in self.shares.row(*first) {
                row.u8(bucket as u8);
                write_bucket(&mut row, &self.tree.bucket(bucket), &share);
            }
            (*first, row.0)
        };
        Mark { rows: self.dirty.iter().map(row).collect(), sequence: self.counts.last_sequence }
    }

    /// The rows are written.
    pub fn marked(&mut self, mark: &Mark) {
        self.dirty.clear();
        self.marked = mark.sequence;
        self.changes = 0;
    }

    /// True if there is anything to write.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.marked != self.counts.last_sequence
    }
}

impl Mark {
    /// The rows, and how far they tell.
    pub fn redo(&self, rows: &mut Rows) {
        let mut digests = rows.of(DIGESTS);
        for (first, row) in &self.rows {
            match row.is_empty() {
                true => digests.remove(first),
                false => digests.put(first, &row[..]),
            }
        }
        rows.of(CHANGES).clear();
        rows.of(STATE).put(STATE_DIGESTS, self.sequence);
    }
}

impl Buckets {
    /// The row of what they amount to, under the number of the commit.
    pub fn redo(&self, rows: &mut Rows, number: u64) {
        if self.0.is_empty() {
            return;
        }
        let mut row = Writer(Vec::with_capacity(self.0.len() * 42));
        for (bucket, (digest, share)) in &self.0 {
            row.bytes(&bucket.to_be_bytes());
            write_bucket(&mut row, digest, share);
        }
        rows.of(CHANGES).put(number, &row.0[..]);
    }
}

fn write_bucket(row: &mut Writer, digest: &Digest, share: &Share) {
    row.bytes(&digest.to_bytes());
    for number in [share.keys, share.objects, share.conflicts, share.trash, share.bytes] {
        row.number(number);
    }
}

fn read_bucket(row: &mut Reader<'_>) -> Result<(Digest, Share), BadRow> {
    let digest = Digest::from_bytes(&row.array()?);
    let mut number = || row.number();
    let (keys, objects, conflicts, trash) = (number()?, number()?, number()?, number()?);
    Ok((digest, Share { keys, objects, conflicts, trash, bytes: number()? }))
}
