//! What waits for one target: one entry for each key, with the last change of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most keys that wait for one target. Then it reads no further in the feed, which keeps the rest.
pub const WAITING_MAX: usize = 10_000;

/// A change of a key that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The change's place in the feed.
    pub sequence: u64,
    /// How often it, or a change before it, was tried in vain.
    pub attempts: u32,
    /// When it is tried, in milliseconds since 1970.
    pub due: u64,
}

/// Who is to be told what next.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<Arc<str>, Waiting>,
    /// Those that are not under way, the first due first, of equal ones the first in the feed.
    due: BTreeSet<(u64, u64, Arc<str>)>,
}

impl Queue {
    /// Takes up what is on disk.
    pub fn load(&mut self, key: &str, waiting: Waiting) {
        let key: Arc<str> = key.into();
        self.due.insert((waiting.due, waiting.sequence, key.clone()));
        self.waiting.insert(key, waiting);
    }

    /// The key has changed. What was to be told of it before is not any more: this takes its place, its
    /// attempts and its pause, and does not overtake what is under way.
    pub fn changed(&mut self, key: &str, sequence: u64, now: u64) -> Waiting {
        if let Some((key, waiting)) = self.waiting.get_key_value(key) {
            let (key, old) = (key.clone(), *waiting);
            let new = Waiting { sequence, ..old };
            if self.due.remove(&(old.due, old.sequence, key.clone())) {
                self.due.insert((new.due, new.sequence, key.clone()));
            }
            self.waiting.insert(key, new);
            return new;
        }
        let waiting = Waiting { sequence, attempts: 0, due: now };
        self.load(key, waiting);
        waiting
    }

    /// The first that is due, which is under way from now on.
    pub fn next(&mut self, now: u64) -> Option<(Arc<str>, Waiting)> {
        let first = self.due.first().filter(|(due, ..)| *due <= now)?.clone();
        self.due.remove(&first);
        let waiting = *self.waiting.get(&first.2)?;
        Some((first.2, waiting))
    }

    /// When the next is due.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// A change that was under way is at its end. If another one has taken its place, that is due now.
    pub fn done(&mut self, key: &str, sequence: u64, now: u64) -> Option<Waiting> {
        match self.waiting.get(key) {
            Some(waiting) if waiting.sequence != sequence => {
                let waiting = Waiting { sequence: waiting.sequence, attempts: 0, due: now };
                self.load(key, waiting);
                Some(waiting)
            }
            _ => {
                self.waiting.remove(key);
                None
            }
        }
    }

    /// A change that was under way is tried again, or the one that has taken its place is.
    pub fn again(&mut self, key: &str, attempts: u32, due: u64) -> Option<Waiting> {
        let waiting = Waiting { attempts, due, ..*self.waiting.get(key)? };
        self.load(key, waiting);
        Some(waiting)
    }

    /// How many wait, those under way included.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(queue: &mut Queue, now: u64) -> Option<(String, u64)> {
        queue.next(now).map(|(key, waiting)| (key.to_string(), waiting.sequence))
    }

    #[test]
    fn the_first_due_comes_first_and_a_key_is_under_way_once() {
        let mut queue = Queue::default();
        queue.changed("b", 2, 10);
        queue.changed("a", 1, 10);
        assert_eq!(next(&mut queue, 9), None);
        assert_eq!(next(&mut queue, 10), Some(("a".into(), 1)));
        queue.changed("a", 3, 11);
        assert_eq!(next(&mut queue, 20), Some(("b".into(), 2)));
        assert_eq!(next(&mut queue, 20), None, "a is under way");
        assert_eq!(queue.done("b", 2, 20), None);
        let again = queue.done("a", 1, 20).expect("it has changed meanwhile");
        assert_eq!(again, Waiting { sequence: 3, attempts: 0, due: 20 });
        assert_eq!(next(&mut queue, 20), Some(("a".into(), 3)));
        assert_eq!(queue.done("a", 3, 20), None);
        assert_eq!((queue.len(), queue.next_due()), (0, None));
    }

    #[test]
    fn what_changes_while_it_waits_keeps_its_pause_and_its_attempts() {
        let mut queue = Queue::default();
        queue.changed("a", 1, 0);
        queue.next(0);
        assert_eq!(queue.again("a", 1, 500), Some(Waiting { sequence: 1, attempts: 1, due: 500 }));
        let changed = queue.changed("a", 2, 100);
        assert_eq!(changed, Waiting { sequence: 2, attempts: 1, due: 500 });
        assert_eq!((queue.len(), queue.next_due()), (1, Some(500)));
        assert_eq!(next(&mut queue, 499), None);
        assert_eq!(next(&mut queue, 500), Some(("a".into(), 2)));
        queue.changed("a", 3, 600);
        assert_eq!(queue.again("a", 2, 700).map(|waiting| waiting.sequence), Some(3));
    }
}
