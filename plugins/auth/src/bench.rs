//! How many hashes are computed at once: each takes 19 MiB and a whole core for tens of milliseconds.

use std::sync::{Condvar, Mutex, PoisonError};

use keepboth_core::refusal::{Code, Refusal};

/// A few places, and a queue before them.
#[derive(Debug)]
pub struct Bench {
    places: usize,
    queue: usize,
    /// How many compute, and how many wait.
    taken: Mutex<(usize, usize)>,
    left: Condvar,
}

impl Bench {
    /// So many places; so many may wait for one.
    pub fn new(places: usize, queue: usize) -> Bench {
        Bench { places, queue, taken: Mutex::default(), left: Condvar::new() }
    }

    /// Computes on a place, for which it waits if it must. Refused with `overloaded` if too many wait.
    pub fn run<T>(&self, compute: impl FnOnce() -> T) -> Result<T, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.0 == self.places {
            if taken.1 == self.queue {
                let words = format!(
                    "{} tokens are being verified and {} wait; try again in a second",
                    self.places, self.queue
                );
                return Err(Refusal::new(Code::Overloaded, words));
            }
            taken.1 += 1;
            let full = |taken: &mut (usize, usize)| taken.0 == self.places;
            let waited = self.left.wait_while(taken, full);
            taken = waited.unwrap_or_else(PoisonError::into_inner);
            taken.1 -= 1;
        }
        taken.0 += 1;
        drop(taken);
        let _place = Place(self);
        Ok(compute())
    }
}

/// A place, given back also after a panic.
struct Place<'a>(&'a Bench);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_finds_all_places_and_the_queue_full_is_refused_at_once() {
        let bench = Bench::new(1, 1);
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        std::thread::scope(|scope| {
            let bench = &bench;
            scope.spawn(move || {
                bench.run(|| {
                    begun.send(()).expect("told");
                    wait.recv().expect("told to go on");
                })
            });
            begins.recv().expect("it computes");
            let second = scope.spawn(move || bench.run(|| 2));
            while bench.taken.lock().expect("unpoisoned").1 == 0 {
                std::thread::yield_now();
            }
            let refusal = bench.run(|| 3).expect_err("refused");
            assert_eq!(refusal.code, Code::Overloaded);
            assert!(refusal.message.contains("1 tokens are being verified and 1 wait"));
            go.send(()).expect("told");
            assert_eq!(second.join().expect("no panic"), Ok(2));
        });
        assert_eq!(bench.run(|| 4), Ok(4));
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let bench = Bench::new(1, 0);
        let panic = std::panic::AssertUnwindSafe(|| bench.run(|| panic!("as it should")));
        assert!(std::panic::catch_unwind(panic).is_err());
        assert_eq!(bench.run(|| 1), Ok(1));
    }
}
