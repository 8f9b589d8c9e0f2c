//! The keys whose time comes next: so many are remembered, and the others are known to come later.

use std::collections::{BTreeSet, HashMap};

use keepboth_core::name::Key;

/// Most keys that are remembered.
pub const REMEMBERED_MAX: usize = 100_000;

/// Keys in the order in which their time comes. A key stands here at the earliest time at which it may
/// have to be judged; it may turn out then that it lives on.
#[derive(Debug)]
pub struct Clock {
    most: usize,
    order: BTreeSet<(u64, Key)>,
    times: HashMap<Key, u64>,
    /// The time of the first key that is not remembered.
    beyond: Option<u64>,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new(REMEMBERED_MAX)
    }
}

impl Clock {
    /// One that remembers so many.
    pub fn new(most: usize) -> Clock {
        Clock { most, order: BTreeSet::new(), times: HashMap::new(), beyond: None }
    }

    /// Takes a key that is to be judged at this time. If there are too many, the last is not remembered.
    pub fn add(&mut self, key: &Key, time: u64) {
        if self.beyond.is_some_and(|beyond| time >= beyond) {
            return;
        }
        match self.times.get_mut(key) {
            Some(earlier) if *earlier <= time => return,
            Some(later) => {
                self.order.remove(&(*later, key.clone()));
                *later = time;
            }
            None => {
                self.times.insert(key.clone(), time);
            }
        }
        self.order.insert((time, key.clone()));
        if self.order.len() > self.most
            && let Some((time, key)) = self.order.pop_last()
        {
            self.times.remove(&key);
            self.beyond = Some(time);
        }
    }

    /// Takes out the first key whose time has come.
    pub fn due(&mut self, now: u64) -> Option<Key> {
        if self.order.first().is_none_or(|(time, _)| *time > now) {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.times.remove(&key);
        Some(key)
    }

    /// The time at which there is something to do; None if nothing is known to come.
    pub fn next(&self) -> Option<u64> {
        self.order.first().map(|(time, _)| *time).or(self.beyond)
    }

    /// True if the time has come of keys that are not remembered: the namespace has to be looked
    /// through again.
    pub fn is_beyond(&self, now: u64) -> bool {
        self.order.is_empty() && self.beyond.is_some_and(|beyond| beyond <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).expect("a key")
    }

    #[test]
    fn keys_come_in_the_order_of_their_times_and_each_once() {
        let mut clock = Clock::default();
        for (name, time) in [("b", 20), ("a", 10), ("c", 30), ("b", 5), ("a", 40)] {
            clock.add(&key(name), time);
        }
        assert_eq!(clock.next(), Some(5));
        assert_eq!(clock.due(4), None);
        let due: Vec<_> = std::iter::from_fn(|| clock.due(30)).collect();
        assert_eq!(due, [key("b"), key("a"), key("c")]);
        assert_eq!((clock.next(), clock.is_beyond(u64::MAX)), (None, false));
    }

    #[test]
    fn of_too_many_the_first_are_remembered_and_the_rest_is_known_to_come() {
        let mut clock = Clock::new(2);
        for time in [40, 10, 30, 20, 50] {
            clock.add(&key(&time.to_string()), time);
        }
        assert_eq!((clock.order.len(), clock.times.len(), clock.beyond), (2, 2, Some(30)));
        assert_eq!(clock.due(20), Some(key("10")));
        clock.add(&key("45"), 45);
        assert_eq!(clock.due(50), Some(key("20")));
        assert_eq!(clock.due(50), None, "what stands beyond is found by looking through all");
        assert_eq!(clock.next(), Some(30));
        assert!(!clock.is_beyond(29) && clock.is_beyond(30));
    }
}
