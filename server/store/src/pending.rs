//! Rows that are durable in the journal and that the database does not have yet.
//!
//! Each group of writes adds a run: its rows in the order of their keys. A run that is not much longer than
//! the next is merged with it, so there are few, each about twice as long as the next (the logarithmic
//! method of Bentley and Saxe, 1980). Runs never change, so a snapshot shares them for as long as it lives;
//! and of a row they hold only where it stands in its group.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use itertools::{EitherOrBoth, Itertools};
use redb::Key;
use smallvec::{SmallVec, smallvec};

/// A range of keys as redb has them, in redb's order.
pub type Bounds = (Bound<Bytes>, Bound<Bytes>);

/// Rows of one table above those that are below.
pub struct Pending<K> {
    /// True if none of the rows below are there any more.
    pub cleared: bool,
    /// The oldest first.
    runs: Vec<Arc<Run>>,
    _key: PhantomData<fn() -> K>,
}

/// Rows in the order of their keys, of each key one.
struct Run {
    rows: Vec<Row>,
    /// The bytes that the rows stand in: as a rule those of one group, as long as groups are few.
    groups: SmallVec<[Bytes; 1]>,
}

/// Where a key and its row stand in a group.
#[derive(Clone, Copy)]
pub struct Row {
    group: u32,
    key: Part,
    /// None if the key went.
    row: Option<Part>,
}

/// Some of a group's bytes: they have far less than four billion.
#[derive(Clone, Copy)]
struct Part {
    at: u32,
    length: u32,
}

/// What is said of a key, where it stands.
pub struct Found<'p> {
    run: &'p Run,
    row: Row,
}

impl Row {
    /// A key that has this row now, or none.
    pub fn new(key: Range<usize>, row: Option<Range<usize>>) -> Row {
        Row { group: 0, key: Part::of(key), row: row.map(Part::of) }
    }
}

impl Part {
    fn of(range: Range<usize>) -> Part {
        Part { at: range.start as u32, length: range.len() as u32 }
    }

    fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.length as usize
    }
}

impl Run {
    fn key(&self, row: &Row) -> &[u8] {
        &self.groups[row.group as usize][row.key.range()]
    }

    fn compare<K: Key>(&self, row: &Row, key: &[u8]) -> Ordering {
        K::compare(self.key(row), key)
    }

    /// A run of what one group says, of which the last holds.
    fn of<K: Key>(group: Bytes, mut rows: Vec<Row>) -> Run {
        let key = |row: &Row| &group[row.key.range()];
        let order = |a: &Row, b: &Row| K::compare(key(a), key(b));
        if !rows.is_sorted_by(|a, b| order(a, b).is_lt()) {
            rows.sort_by(order);
            // The first of two is kept, and shall be the later.
            rows.reverse();
            rows.dedup_by(|a, b| order(a, b).is_eq());
            rows.reverse();
        }
        Run { rows, groups: smallvec![group] }
    }

    /// Both in one; what the newer says holds.
    fn merge<K: Key>(older: &Run, newer: &Run) -> Run {
        let groups = older.groups.iter().chain(&newer.groups).cloned().collect();
        let moved = |row: &Row| Row { group: row.group + older.groups.len() as u32, ..*row };
        let mut rows = Vec::with_capacity(older.rows.len() + newer.rows.len());
        let behind = match (older.rows.last(), newer.rows.first()) {
            (Some(last), Some(first)) => older.compare::<K>(last, newer.key(first)).is_lt(),
            _ => true,
        };
        if behind {
            rows.extend_from_slice(&older.rows);
            rows.extend(newer.rows.iter().map(moved));
        } else {
            let order = |a: &&Row, b: &&Row| older.compare::<K>(a, newer.key(b));
            rows.extend(older.rows.iter().merge_join_by(&newer.rows, order).map(|either| {
                match either {
                    EitherOrBoth::Left(row) => *row,
                    EitherOrBoth::Right(row) | EitherOrBoth::Both(_, row) => moved(row),
                }
            }));
        }
        Run { rows, groups }
    }
}

impl<'p> Found<'p> {
    fn group(&self) -> &'p Bytes {
        &self.run.groups[self.row.group as usize]
    }

    pub fn key(&self) -> &'p [u8] {
        &self.group()[self.row.key.range()]
    }

    /// The row; none if the key went.
    pub fn row(&self) -> Option<&'p [u8]> {
        self.row.row.map(|row| &self.group()[row.range()])
    }

    /// The same, for as long as they are held.
    pub fn shared_key(&self) -> Bytes {
        self.group().slice(self.row.key.range())
    }

    pub fn shared_row(&self) -> Option<Bytes> {
        self.row.row.map(|row| self.group().slice(row.range()))
    }
}

impl<K: Key + 'static> Pending<K> {
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.runs.is_empty()
    }

    /// No fewer than the rows that are said here.
    pub fn len_max(&self) -> usize {
        self.runs.iter().map(|run| run.rows.len()).sum()
    }

    /// What is said of a key here.
    pub fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        self.runs.iter().rev().find_map(|run| {
            let at = run.rows.binary_search_by(|row| run.compare::<K>(row, key)).ok()?;
            Some(Found { run, row: run.rows[at] })
        })
    }

    /// Adds what a group says, of which the last holds.
    pub fn add(&mut self, group: &Bytes, rows: Vec<Row>) {
        if !rows.is_empty() {
            self.runs.push(Arc::new(Run::of::<K>(group.clone(), rows)));
            self.merge(2);
        }
    }

    /// Merges runs until each is more than so many times as long as the next.
    pub fn merge(&mut self, times: usize) {
        let Some(mut run) = self.runs.pop() else { return };
        while let Some(last) = self.runs.pop_if(|last| last.rows.len() <= times * run.rows.len()) {
            run = Arc::new(Run::merge::<K>(&last, &run));
        }
        self.runs.push(run);
    }

    pub fn clear(&mut self) {
        *self = Pending { cleared: true, ..Pending::default() };
    }

    /// What is said here, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        self.range((Bound::Unbounded, Bound::Unbounded))
    }

    /// What is said here of the keys of a range, in their order.
    pub fn range(&self, (from, to): Bounds) -> impl Iterator<Item = Found<'_>> {
        let runs = self.runs.iter().enumerate().map(|(age, run)| {
            let before = |row: &Row| match &from {
                Bound::Included(from) => run.compare::<K>(row, from).is_lt(),
                Bound::Excluded(from) => run.compare::<K>(row, from).is_le(),
                Bound::Unbounded => false,
            };
            let within = |row: &Row| match &to {
                Bound::Included(to) => run.compare::<K>(row, to).is_le(),
                Bound::Excluded(to) => run.compare::<K>(row, to).is_lt(),
                Bound::Unbounded => true,
            };
            let rows = &run.rows[run.rows.partition_point(before)..];
            let rows = &rows[..rows.partition_point(within)];
            rows.iter().map(move |row| (age, Found { run, row: *row }))
        });
        // Of equal keys the one that was said last comes first.
        let merged = runs.kmerge_by(|(a, one), (b, other)| {
            K::compare(one.key(), other.key()).then(b.cmp(a)).is_lt()
        });
        merged.map(|(_, found)| found).dedup_by(|a, b| a.key() == b.key())
    }
}

impl<K> Default for Pending<K> {
    fn default() -> Pending<K> {
        Pending { cleared: false, runs: Vec::new(), _key: PhantomData }
    }
}

impl<K> Clone for Pending<K> {
    fn clone(&self) -> Pending<K> {
        // With room for one more, which is what a layer is cloned for.
        let mut runs = Vec::with_capacity(self.runs.len() + 1);
        runs.extend_from_slice(&self.runs);
        Pending { cleared: self.cleared, runs, _key: PhantomData }
    }
}
