//! Rows that are durable in the journal and that the database does not have yet.
//!
//! They are kept in maps that share what did not change (Okasaki 1998, red-black trees with path copying):
//! a snapshot holds one for as long as it lives, and the next group adds to its own.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::Bound;

use bytes::Bytes;
use redb::Key;
use rpds::RedBlackTreeMapSync;

/// A key as redb has it, in redb's order.
pub struct At<K>(pub Bytes, PhantomData<fn() -> K>);

/// What a key is looked up by.
trait Raw<K> {
    fn raw(&self) -> &[u8];
}

/// The bytes of a key that somebody else holds.
struct Lent<'b>(&'b [u8]);

impl<K: Key> At<K> {
    pub fn new(bytes: Bytes) -> At<K> {
        At(bytes, PhantomData)
    }

    /// A key of its own.
    pub fn of<'k>(key: &K::SelfType<'k>) -> At<K> {
        At::new(Bytes::copy_from_slice(K::as_bytes(key).as_ref()))
    }
}

impl<K> Raw<K> for At<K> {
    fn raw(&self) -> &[u8] {
        &self.0
    }
}

impl<K> Raw<K> for Lent<'_> {
    fn raw(&self) -> &[u8] {
        self.0
    }
}

impl<'b, K: Key + 'static> Borrow<dyn Raw<K> + 'b> for At<K> {
    fn borrow(&self) -> &(dyn Raw<K> + 'b) {
        self
    }
}

impl<K: Key> Ord for dyn Raw<K> + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        K::compare(self.raw(), other.raw())
    }
}

impl<K: Key> PartialOrd for dyn Raw<K> + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> Eq for dyn Raw<K> + '_ {}

impl<K: Key> PartialEq for dyn Raw<K> + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Key> Ord for At<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        K::compare(&self.0, &other.0)
    }
}

impl<K: Key> PartialOrd for At<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> Eq for At<K> {}

impl<K: Key> PartialEq for At<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

/// A range of keys.
pub type Bounds<K> = (Bound<At<K>>, Bound<At<K>>);

/// Rows of one table above those that are below.
pub struct Pending<K> {
    /// True if none of the rows below are there any more.
    pub cleared: bool,
    /// The last that was written of each key; none if it went.
    rows: RedBlackTreeMapSync<At<K>, Option<Bytes>>,
}

impl<K: Key + 'static> Pending<K> {
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.rows.is_empty()
    }

    /// The row of a key, or that it went; None if nothing is said of it here.
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        let found = self.rows.get(&Lent(key) as &dyn Raw<K>);
        found.map(Option::as_ref).or(self.cleared.then_some(None))
    }

    pub fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        self.rows.insert_mut(At::new(key), row);
    }

    pub fn clear(&mut self) {
        *self = Pending { cleared: true, rows: RedBlackTreeMapSync::new_sync() };
    }

    /// What is said here, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&At<K>, &Option<Bytes>)> {
        self.rows.iter()
    }

    /// What is said here of the keys of a range, in their order.
    pub fn range(&self, bounds: Bounds<K>) -> impl Iterator<Item = (&At<K>, &Option<Bytes>)> {
        // The map wants bounds in their order.
        let ordered = match (&bounds.0, &bounds.1) {
            (Bound::Included(from), Bound::Included(to)) => from <= to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from < to,
            _ => true,
        };
        ordered.then(|| self.rows.range::<At<K>, _>(bounds)).into_iter().flatten()
    }
}

impl<K: Key> Default for Pending<K> {
    fn default() -> Pending<K> {
        Pending { cleared: false, rows: RedBlackTreeMapSync::new_sync() }
    }
}

impl<K: Key> Clone for Pending<K> {
    fn clone(&self) -> Pending<K> {
        Pending { cleared: self.cleared, rows: self.rows.clone() }
    }
}

impl<K> Clone for At<K> {
    fn clone(&self) -> At<K> {
        At(self.0.clone(), PhantomData)
    }
}
