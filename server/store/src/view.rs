//! One table as readers see it: its rows in the database with those above them.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use bytes::Bytes;
use itertools::{EitherOrBoth, Itertools};
use redb::{AccessGuard, Key, ReadOnlyTable, ReadableTableMetadata, StorageError, Value};

use crate::pending::{Bounds, Found, Pending};

/// So many layers stand above the database.
pub const ABOVE: usize = 4;

/// One table of a snapshot.
pub struct View<'t, K: Key + 'static, V: Value + 'static> {
    pub stored: &'t ReadOnlyTable<K, V>,
    /// Newest first.
    pub above: [&'t Pending<K>; ABOVE],
}

/// A key or a row, wherever it stands.
pub enum Cell<V: Value + 'static> {
    Stored(AccessGuard<'static, V>),
    Pending(Bytes, PhantomData<V>),
}

impl<V: Value + 'static> Cell<V> {
    fn pending(bytes: Bytes) -> Cell<V> {
        Cell::Pending(bytes, PhantomData)
    }

    pub fn value(&self) -> V::SelfType<'_> {
        match self {
            Cell::Stored(guard) => guard.value(),
            Cell::Pending(bytes, _) => V::from_bytes(bytes),
        }
    }
}

/// The rows of a table that stand above the database, newest first.
pub struct Above<'t, K>(pub [&'t Pending<K>; ABOVE]);

impl<'t, K: Key + 'static> Above<'t, K> {
    /// The row of a key, or that it is not there; None if the database has to be asked.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.0.iter().find_map(|above| match above.get(key) {
            Some(found) => Some(found.shared_row()),
            None => above.cleared.then_some(None),
        })
    }

    /// What is said of the keys of a range, in their order.
    pub fn range(&self, bounds: Bounds) -> impl Iterator<Item = Found<'t>> + use<'t, K> {
        // What is below one that was cleared is not there any more.
        let end = self.0.iter().position(|above| above.cleared).map_or(ABOVE, |at| at + 1);
        let layers = self.0.into_iter().take(end).enumerate();
        let layers = layers.map(|(age, above)| above.range(bounds.clone()).map(move |f| (age, f)));
        let merged = layers.kmerge_by(|(a, one), (b, other)| {
            K::compare(one.key(), other.key()).then(a.cmp(b)).is_lt()
        });
        merged.map(|(_, found)| found).dedup_by(|a, b| a.key() == b.key())
    }
}

/// A range of keys as redb has them.
pub fn bounds<'k, K: Key + 'static, B: Borrow<K::SelfType<'k>> + 'k>(
    range: &impl RangeBounds<B>,
) -> Bounds {
    let of = |key: &B| Bytes::copy_from_slice(K::as_bytes(key.borrow()).as_ref());
    (range.start_bound().map(of), range.end_bound().map(of))
}

/// A key with its row.
pub type Pair<K, V> = (Cell<K>, Cell<V>);

/// Keys with their rows.
pub type Pairs<'t, K, V> = Box<dyn Iterator<Item = Result<Pair<K, V>, StorageError>> + 't>;

impl<'t, K: Key + 'static, V: Value + 'static> View<'t, K, V> {
    pub fn get<'k>(
        &self,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<Cell<V>>, StorageError> {
        if !self.above.iter().all(|above| above.is_empty()) {
            let bytes = K::as_bytes(key.borrow());
            if let Some(row) = Above(self.above).get(bytes.as_ref()) {
                return Ok(row.map(Cell::pending));
            }
        }
        Ok(self.stored.get(key)?.map(Cell::Stored))
    }

    /// The rows of a range of keys, in the order of these.
    pub fn range<'k, B: Borrow<K::SelfType<'k>> + 'k>(
        &self,
        range: impl RangeBounds<B>,
    ) -> Result<Pairs<'t, K, V>, StorageError> {
        let above = Above(self.above).range(bounds::<K, B>(&range));
        let cleared = self.above.iter().any(|above| above.cleared);
        let stored = self.stored.range(range)?.filter(move |_| !cleared);
        let stored = stored.map_ok(|(key, row)| (Cell::Stored(key), Cell::Stored(row)));
        let merged = above.merge_join_by(stored, |above, stored| match stored {
            Ok((key, _)) => K::compare(above.key(), K::as_bytes(&key.value()).as_ref()),
            Err(_) => std::cmp::Ordering::Greater,
        });
        Ok(Box::new(merged.filter_map(|either| match either {
            EitherOrBoth::Right(stored) => Some(stored),
            EitherOrBoth::Left(found) | EitherOrBoth::Both(found, _) => {
                let row = found.shared_row()?;
                Some(Ok((Cell::pending(found.shared_key()), Cell::pending(row))))
            }
        })))
    }

    /// No fewer than the rows that there are, and not many more.
    pub fn len_max(&self) -> Result<u64, StorageError> {
        let above: usize = self.above.iter().map(|above| above.len_max()).sum();
        Ok(self.stored.len()? + above as u64)
    }

    /// The last key; looks at all rows if some stand above the database.
    pub fn last(&self) -> Result<Option<Cell<K>>, StorageError> {
        if self.above.iter().all(|above| above.is_empty()) {
            let last = self.stored.range::<K::SelfType<'static>>(..)?.next_back().transpose()?;
            return Ok(last.map(|(key, _)| Cell::Stored(key)));
        }
        // An error is said again and again, so the first one ends it.
        self.all()?.try_fold(None, |_, pair| pair.map(|(key, _)| Some(key)))
    }

    /// All rows, in the order of their keys.
    pub fn all(&self) -> Result<Pairs<'t, K, V>, StorageError> {
        self.range::<K::SelfType<'static>>(..)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;
    use std::sync::Arc;

    use bytes::Bytes;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use crate::format::{AGING, RECORDS};
    use crate::rows::{FREE, Rows};
    use crate::tables::{Layer, Tables, create};

    /// Rows of two tables, one of them of keys of several parts.
    type Model = (BTreeMap<u64, Vec<u8>>, BTreeMap<(u8, u64, String), ()>);

    /// Changes that are seldom large and sometimes take everything away.
    fn change(rng: &mut StdRng, model: &mut Model) -> Layer {
        let mut layer = Layer::default();
        for _ in 0..rng.random_range(0..3) {
            let mut rows = Rows::with_capacity(0);
            if rng.random_bool(0.1) {
                rows.of(RECORDS).clear();
                model.0.clear();
            }
            for _ in 0..rng.random_range(0..6) {
                // Numbers whose bytes stand in another order than they.
                let at = rng.random_range(0..8) * 100;
                let key = (rng.random_range(0..2), at, "k".repeat(rng.random_range(0..3)));
                let (mut records, put) = (rows.of(RECORDS), rng.random_bool(0.6));
                if put {
                    let row = vec![rng.random::<u8>(); 3];
                    records.put(at, &row[..]);
                    model.0.insert(at, row);
                } else {
                    records.remove(at);
                    model.0.remove(&at);
                }
                let (mut aging, place) = (rows.of(AGING), (key.0, key.1, &key.2[..]));
                if put {
                    aging.put(place, ());
                    model.1.insert(key, ());
                } else {
                    aging.remove(place);
                    model.1.remove(&key);
                }
            }
            layer.add(&Bytes::from(rows.into_bytes()).slice(FREE..)).expect("rows");
        }
        layer
    }

    #[test]
    fn readers_see_what_was_written_last_wherever_it_stands() {
        for seed in 0..300 {
            let (mut rng, mut model) = (StdRng::seed_from_u64(seed), Model::default());
            let database = Database::builder().create_with_backend(InMemoryBackend::new());
            let database = database.expect("a database");
            let transaction = database.begin_write().expect("a transaction");
            create(&transaction).expect("tables");
            change(&mut rng, &mut model).write(&transaction).expect("written");
            transaction.commit().expect("a commit");
            let mut tables = Tables::open(&database).expect("tables");
            let [moving, waiting, older] = [(); 3].map(|()| Arc::new(change(&mut rng, &mut model)));
            (tables.late, tables.older) = ([waiting, moving], older);
            tables.newer = Arc::new(change(&mut rng, &mut model));

            let all = tables.records().range(..).expect("rows");
            let all: BTreeMap<u64, Vec<u8>> = all
                .map(|row| row.map(|(at, row)| (at, row.value().to_vec())).expect("a row"))
                .collect();
            assert_eq!(all, model.0, "seed {seed}");
            for at in (0..8).map(|n| n * 100) {
                let row = tables.records().get(at).expect("read");
                let row = row.map(|row| row.value().to_vec());
                assert_eq!(row.as_ref(), model.0.get(&at), "seed {seed}: {at}");
                let range = (Bound::Excluded(at), Bound::Included(at + 300));
                let there = tables.records().range(range).expect("rows");
                let there: Vec<u64> = there.map(|row| row.expect("a row").0).collect();
                let expected: Vec<u64> = model.0.range(range).map(|(at, _)| *at).collect();
                assert_eq!(there, expected, "seed {seed}: behind {at}");
            }
            let aging = tables.aging().range((0, 200, "")..(1, 300, "k")).expect("rows");
            let aging: Vec<(u8, u64, String)> = aging
                .map(|row| {
                    let (at, _) = row.expect("a row");
                    let (stage, since, key) = at.value();
                    (stage, since, key.to_owned())
                })
                .collect();
            let range = (0, 200, String::new())..(1, 300, "k".to_owned());
            let expected: Vec<_> = model.1.range(range).map(|(at, _)| at.clone()).collect();
            assert_eq!(aging, expected, "seed {seed}");
        }
    }
}
