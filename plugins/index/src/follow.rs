//! The thread that follows the feed and keeps the rows.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Feed, Host, RowChange, Table, behind};
use keepboth_core::refusal::{Code, Refusal};

use crate::apply::{Done, Seen, apply};
use crate::progress::Progress;
use crate::rows::{self, ENTRY, KEY, PLACE, Place};
use crate::settings::Index;

/// Changes that are taken at once, in one transaction.
const CHANGES_MAX: usize = 256;
/// Rows that are removed at once.
const REMOVED_MAX: usize = 1_000;
/// How long rows may wait to be durable, and how long after a failure it is tried again. A crash costs the
/// way from there.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it waits for a change where nothing is left to be done.
const IDLE: Duration = Duration::from_secs(60);

/// What the thread works with.
pub struct Follower {
    /// The server.
    pub host: Arc<dyn Host>,
    /// The namespace.
    pub namespace: Namespace,
    /// The indexes.
    pub indexes: Arc<[Index]>,
    /// The rows.
    pub table: Arc<dyn Table>,
    /// Who waits.
    pub progress: Arc<Progress>,
    /// How often the thread had fallen when this was opened.
    pub falls: u64,
}

impl Follower {
    /// Follows until it is over. What fails is tried again. Refused with `store_failed` when the table has failed:
    /// then it is to be opened again.
    pub fn run(&self) -> Result<(), Refusal> {
        while !self.progress.is_over() {
            let Err(refusal) = self.follow() else { break };
            match refusal.code {
                Code::ShuttingDown | Code::UnknownNamespace => break,
                // It may as well be the store that failed.
                Code::StoreFailed if self.table.write(&[], true).is_err() => return Err(refusal),
                _ => {}
            }
            self.host.fails("follow", format!("the indexes do not go on: {refusal}"));
            self.progress.stuck(&refusal.message);
            // Waits for the end too.
            let _ = self.host.wait_changed(&self.namespace, u64::MAX, PAUSE);
        }
        // What is not durable is made anew from the feed.
        if let Err(refusal) = self.table.write(&[], true) {
            tracing::warn!(namespace = %self.namespace, "the indexes were not closed: {refusal}");
        }
        self.progress.end();
        Ok(())
    }

    fn follow(&self) -> Result<(), Refusal> {
        // A disk that takes nothing is noticed before the table is said to be well.
        self.table.write(&[], true)?;
        self.forget_others()?;
        let mut places = Vec::new();
        for index in self.indexes.iter() {
            let row = self.table.get(&rows::key(PLACE, &index.id, &[]))?;
            places.push(row.as_deref().and_then(Place::decode));
        }
        let mut unsure = false;
        while !self.progress.is_over() {
            let feed = self.host.feed(&self.namespace)?;
            for (index, place) in self.indexes.iter().zip(&mut places) {
                if !place.is_some_and(|p| (p.store, p.epoch) == (feed.store, feed.epoch)) {
                    *place = Some(self.begin(index, &feed)?);
                }
            }
            self.publish(&places, &feed);
            let from =
                places.iter().flatten().map(|place| place.sequence).min().unwrap_or_default();
            if from < feed.last {
                unsure = self.step(from, &mut places, &feed)?;
                continue;
            }
            let within = if unsure { PAUSE } else { IDLE };
            let last = self.host.wait_changed(&self.namespace, from, within)?;
            if last <= from {
                // After a long rest it shows whether the table has failed meanwhile.
                self.table.write(&[], unsure)?;
                unsure = false;
            }
        }
        Ok(())
    }

    /// Takes some changes up. True if the rows are not durable yet.
    fn step(
        &self,
        from: u64,
        places: &mut Vec<Option<Place>>,
        feed: &Feed,
    ) -> Result<bool, Refusal> {
        let found = match self.host.changes(&self.namespace, from, CHANGES_MAX) {
            Err(refusal) if refusal.code == Code::BadCursor => {
                // Deletes were forgotten that some index has not seen.
                for (index, place) in self.indexes.iter().zip(places) {
                    if place.is_some_and(|place| place.sequence == from) {
                        *place = Some(self.begin(index, feed)?);
                    }
                }
                return Ok(true);
            }
            found => found?,
        };
        let full = found.items.len() >= CHANGES_MAX;
        let (mut changes, mut cut) = (Vec::new(), 0);
        let mut next = places.clone();
        for changed in &found.items {
            let objects = self.objects(&changed.key)?;
            for (index, place) in self.indexes.iter().zip(&mut next) {
                let Some(place) = place else { continue };
                if changed.sequence <= place.sequence {
                    continue;
                }
                let Done { added, removed, cut: more } =
                    apply(index, self.table.as_ref(), &changed.key, &objects, &mut changes)?;
                place.entries = (place.entries + added).saturating_sub(removed);
                cut += more;
            }
        }
        for (index, place) in self.indexes.iter().zip(&mut next) {
            let Some(place) = place else { continue };
            place.sequence = place.sequence.max(found.next);
            changes.push((rows::key(PLACE, &index.id, &[]), Some(place.encode())));
        }
        self.table.write(&changes, full)?;
        *places = next;
        self.host.count("changes", found.items.len() as u64);
        if cut > 0 {
            self.host.count("cut", cut);
        }
        Ok(!full)
    }

    /// The objects of a key as they are now, sides of a conflict and what was set apart included.
    fn objects(&self, key: &Key) -> Result<Vec<Seen>, Refusal> {
        let page = self.host.list(&self.namespace, key.as_str(), None, 1)?;
        let own = page.items.into_iter().filter(|object| object.key == *key);
        Ok(own.map(|object| Seen { tree: object.value.to_json(), object }).collect())
    }

    fn publish(&self, places: &[Option<Place>], feed: &Feed) {
        self.progress.moved(places);
        self.host.warn("follow", None);
        let reached = places.iter().flatten().map(|place| place.sequence).min();
        let behind = feed.last.saturating_sub(reached.unwrap_or_default());
        self.host.gauge("behind", i64::try_from(behind).unwrap_or(i64::MAX));
        let entries: u64 = places.iter().flatten().map(|place| place.entries).sum();
        self.host.gauge("entries", i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Begins an index anew, without rows.
    fn begin(&self, index: &Index, feed: &Feed) -> Result<Place, Refusal> {
        self.forget(&index.id)?;
        let place = Place { store: feed.store, epoch: feed.epoch, sequence: 0, entries: 0 };
        let row = (rows::key(PLACE, &index.id, &[]), Some(place.encode()));
        self.table.write(&[row], false)?;
        Ok(place)
    }

    /// Removes the rows of indexes that are not declared any more.
    fn forget_others(&self) -> Result<(), Refusal> {
        let mut from = Bound::Included(vec![ENTRY]);
        while let Some((key, _)) =
            self.table.range(as_slice(&from), Bound::Unbounded, 1)?.into_iter().next()
        {
            let Some(id) = key.get(1..9).and_then(|id| <[u8; 8]>::try_from(id).ok()) else {
                self.table.write(&[(key, None)], false)?;
                continue;
            };
            if !self.indexes.iter().any(|index| index.id == id) {
                self.forget(&id)?;
            }
            from = match behind(&key[..9]) {
                Bound::Excluded(behind) => Bound::Included(behind),
                other => other,
            };
        }
        Ok(())
    }

    /// Removes all rows of an index: its place first, so that a crash leaves none with rows missing.
    fn forget(&self, id: &[u8; 8]) -> Result<(), Refusal> {
        for letter in [PLACE, ENTRY, KEY] {
            let prefix = rows::key(letter, id, &[]);
            let end = behind(&prefix);
            loop {
                let from = Bound::Included(&prefix[..]);
                let found = self.table.range(from, as_slice(&end), REMOVED_MAX)?;
                if found.is_empty() {
                    break;
                }
                let changes: Vec<RowChange> =
                    found.into_iter().map(|(key, _)| (key, None)).collect();
                self.table.write(&changes, true)?;
            }
        }
        Ok(())
    }
}

/// The bound of a slice.
pub fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
