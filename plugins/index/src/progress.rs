//! How far each index has followed the feed, for those who wait for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use keepboth_core::refusal::{Code, Refusal};

use crate::rows::Place;

/// Told by the thread that follows, read by those who ask.
#[derive(Default)]
pub struct Progress {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// In the order of the declarations; None before the first rows.
    places: Vec<Option<Place>>,
    /// Why it does not go on.
    stuck: Option<String>,
    /// How often all has to be opened again.
    falls: u64,
    /// True from then on until it was: what was there may have to be made anew.
    fallen: bool,
    over: bool,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The indexes have come so far, and nothing is in the way.
    pub fn moved(&self, places: &[Option<Place>]) {
        let mut state = self.state();
        if state.places != places || state.stuck.is_some() {
            state.places = places.to_vec();
            state.stuck = None;
            state.fallen = false;
            self.moved.notify_all();
        }
    }

    /// Something is in the way; it is tried again.
    pub fn stuck(&self, why: &str) {
        self.state().stuck = Some(why.to_owned());
    }

    /// As [`Progress::stuck`], and all has to be opened again: who waits has to let go of the table for that.
    pub fn fall(&self, why: &str) {
        let mut state = self.state();
        state.stuck = Some(why.to_owned());
        state.falls += 1;
        state.fallen = true;
        self.moved.notify_all();
    }

    /// Nothing comes any more; nobody waits on.
    pub fn end(&self) {
        self.state().over = true;
        self.moved.notify_all();
    }

    /// True once it was ended.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Where an index is.
    pub fn place(&self, at: usize) -> Option<Place> {
        self.state().places.get(at).copied().flatten()
    }

    /// Why it does not go on, if it does not.
    pub fn why_stuck(&self) -> Option<String> {
        self.state().stuck.clone()
    }

    /// How often it has fallen.
    pub fn falls(&self) -> u64 {
        self.state().falls
    }

    /// Waits until an index has followed to a sequence, but not longer than `until`, and not once there were
    /// more falls than these.
    pub fn wait(&self, at: usize, sequence: u64, until: Instant, falls: u64) -> Result<(), Late> {
        let mut state = self.state();
        loop {
            let place = state.places.get(at).copied().flatten();
            let reached = place.map_or(0, |place| place.sequence);
            if place.is_some() && reached >= sequence && !state.fallen {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.over {
                return Err(Late::Over);
            }
            if left.is_zero() || state.falls != falls {
                return Err(Late::Behind { reached, why: state.stuck.clone() });
            }
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Why somebody has waited in vain.
#[derive(Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing comes any more.
    Over,
    /// It is at this sequence, and this is in its way.
    Behind { reached: u64, why: Option<String> },
}

impl Late {
    /// The refusal of a question to the index of this name that needs the changes up to `sequence`.
    pub fn refusal(self, index: &str, sequence: u64) -> Refusal {
        match self {
            Late::Over => Refusal::new(Code::ShuttingDown, "the index is being stopped"),
            Late::Behind { reached, why } => {
                let figure =
                    |n| keepboth_core::limits::figure(usize::try_from(n).unwrap_or(usize::MAX));
                let (reached, sequence) = (figure(reached), figure(sequence));
                let why = why.map(|why| format!(", and does not go on: {why}")).unwrap_or_default();
                let words = format!("the index {index} is at change {reached} of {sequence}{why}");
                Refusal::new(Code::IndexBehind, words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepboth_core::ids::StoreId;

    fn at(sequence: u64) -> Option<Place> {
        Some(Place { store: StoreId([1; 16]), epoch: 1, sequence, entries: 0 })
    }

    #[test]
    fn who_waits_goes_on_when_the_index_is_there_and_hears_where_it_is_if_not() {
        let progress = Progress::default();
        let none = Instant::now();
        let late = progress.wait(0, 0, none, 0).expect_err("nothing is there");
        assert_eq!(late, Late::Behind { reached: 0, why: None });
        progress.moved(&[at(4_000), at(9_000)]);
        assert_eq!(progress.wait(1, 9_000, none, 0), Ok(()));
        progress.stuck("the disk failed");
        let refusal = progress.wait(0, 9_000, none, 0).expect_err("late").refusal("by", 9_000);
        let words = "the index by is at change 4,000 of 9,000, and does not go on: the disk failed";
        assert_eq!((refusal.code, refusal.message.as_str()), (Code::IndexBehind, words));
        progress.moved(&[at(4_000), at(9_000)]);
        assert_eq!(
            progress.why_stuck(),
            None,
            "it goes on, also where there is nothing to be done"
        );
        let long = Instant::now() + std::time::Duration::from_secs(600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| progress.wait(0, 9_000, long, 0));
            progress.moved(&[at(9_000), at(9_000)]);
            assert_eq!(waiting.join().expect("no panic"), Ok(()));
            let waiting = scope.spawn(|| progress.wait(0, 9_001, long, 0));
            progress.fall("a panic");
            let fallen = || Err(Late::Behind { reached: 9_000, why: Some("a panic".into()) });
            assert_eq!(waiting.join().expect("no panic"), fallen());
            assert_eq!(progress.wait(0, 9_001, long, 0), fallen(), "also who comes late");
            assert_eq!(progress.wait(0, 9_000, long, 0), fallen(), "and who needs what was there");
            let waiting = scope.spawn(|| progress.wait(0, 9_001, long, progress.falls()));
            progress.end();
            assert_eq!(waiting.join().expect("no panic"), Err(Late::Over));
        });
    }
}
