//! What was found of objects that break a schema: listed by key up to a bound, and counted.

use std::collections::BTreeMap;

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Name};
use keepboth_core::refusal::Refusal;

/// Most keys whose unfit objects are listed; those of further ones are only counted.
const KEYS_MAX: usize = 1_000;

/// An object that breaks a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key of its history.
    pub key: Key,
    /// The key, or the address under which it stands.
    pub name: Name,
    /// The version that speaks for it.
    pub version: VersionId,
    /// What a write of its value would be answered.
    pub refusal: Refusal,
}

/// How far the objects were looked at, and how many do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// True if schemas are bound to keys here.
    pub bound: bool,
    /// True if all objects were looked at since the schemas changed.
    pub done: bool,
    /// How many were looked at.
    pub checked: u64,
    /// How many do not fit.
    pub unfit: u64,
}

/// The findings of one namespace.
#[derive(Default)]
pub(super) struct Found {
    /// The fingerprint of the schemas; None before the first look.
    pub(super) schemas: Option<[u8; 4]>,
    /// How often it began anew: what was found in an earlier round does not count.
    pub(super) round: u64,
    pub(super) summary: Summary,
    pub(super) by_key: BTreeMap<Key, Vec<Finding>>,
    /// Unfit objects of keys that are not listed.
    pub(super) more: u64,
}

impl Found {
    /// Forgets what was found.
    pub(super) fn begin(&mut self, schemas: Option<[u8; 4]>, bound: bool) {
        let summary = Summary { bound, done: !bound, ..Summary::default() };
        *self = Found { schemas, round: self.round + 1, summary, ..Found::default() };
    }

    /// Forgets what was found by the schemas that hold still.
    pub(super) fn begin_again(&mut self) {
        self.begin(self.schemas, self.summary.bound);
    }

    /// Takes up what a key has, of which nothing was counted in this round without being listed.
    pub(super) fn put(&mut self, key: Key, findings: Vec<Finding>) {
        let gone = self.by_key.remove(&key).map_or(0, |findings| findings.len() as u64);
        let n = findings.len() as u64;
        self.summary.unfit = self.summary.unfit.saturating_sub(gone) + n;
        if n == 0 {
            return;
        }
        if self.by_key.len() < KEYS_MAX {
            self.by_key.insert(key, findings);
        } else {
            self.more += n;
        }
    }

    /// Takes up what a key has that was looked at again in this round. A key that is only counted is not
    /// known by name, and must not be counted twice.
    pub(super) fn replace(&mut self, round: u64, key: Key, findings: Vec<Finding>) {
        if self.round == round && (self.more == 0 || self.by_key.contains_key(&key)) {
            self.put(key, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use keepboth_core::refusal::Code;

    use super::*;

    fn key(n: usize) -> Key {
        Key::new(&format!("k{n:04}")).expect("a key")
    }

    fn finding(key: Key) -> Finding {
        let refusal = Refusal::new(Code::SchemaRefused, "it does not fit");
        Finding { name: Name::Key(key.clone()), key, version: VersionId([1; 32]), refusal }
    }

    /// A round in which so many keys did not fit.
    fn found(keys: usize) -> Found {
        let mut found = Found::default();
        found.begin(Some([1; 4]), true);
        (0..keys).map(key).for_each(|key| found.put(key.clone(), vec![finding(key)]));
        found
    }

    #[test]
    fn a_key_that_is_looked_at_again_is_counted_once_whether_it_is_listed_or_not() {
        let mut found = found(KEYS_MAX + 5);
        let (round, all) = (found.round, KEYS_MAX as u64 + 5);
        assert_eq!((found.by_key.len(), found.more, found.summary.unfit), (KEYS_MAX, 5, all));
        for n in [0, KEYS_MAX - 1, KEYS_MAX, KEYS_MAX + 4] {
            found.replace(round, key(n), vec![finding(key(n))]);
            assert_eq!((found.more, found.summary.unfit), (5, all), "key {n}");
        }
        found.replace(round, key(0), Vec::new());
        assert_eq!((found.by_key.len(), found.summary.unfit), (KEYS_MAX - 1, all - 1));
    }

    #[test]
    fn a_page_that_comes_to_a_key_that_was_looked_at_before_counts_it_once() {
        let mut found = found(0);
        found.replace(found.round, key(7), vec![finding(key(7))]);
        found.put(key(7), vec![finding(key(7))]);
        assert_eq!(found.summary.unfit, 1);
        found.put(key(7), Vec::new());
        assert_eq!((found.summary.unfit, found.by_key.len()), (0, 0));
    }

    #[test]
    fn what_was_looked_at_by_earlier_schemas_does_not_count() {
        let mut found = found(3);
        let before = found.round;
        found.begin(Some([2; 4]), true);
        found.replace(before, key(1), vec![finding(key(1))]);
        assert_eq!((found.summary.unfit, found.by_key.len()), (0, 0));
    }
}
