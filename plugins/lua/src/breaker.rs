//! When a script that keeps failing is switched off, and when it is tried again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first time for which a script is off; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time for which a script is off.
const LONGEST: Duration = Duration::from_secs(300);

/// The switch of one script, shared by all threads that run it.
pub struct Breaker {
    /// Failures one after the other that switch it off.
    after: u32,
    failures: AtomicU32,
    off: Mutex<Option<Off>>,
}

struct Off {
    until: Instant,
    lasts: Duration,
    passed: u64,
}

impl Breaker {
    /// On, and switched off by so many failures one after the other.
    pub fn new(after: u32) -> Breaker {
        Breaker { after, failures: AtomicU32::new(0), off: Mutex::new(None) }
    }

    /// Whether the script runs. When it was off for long enough, one call tries it again.
    pub fn runs(&self, now: impl Fn() -> Instant) -> bool {
        if self.failures.load(Ordering::Relaxed) < self.after {
            return true;
        }
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(off) = off.as_mut() else { return true };
        let now = now();
        if now < off.until {
            off.passed += 1;
            return false;
        }
        off.until = now + off.lasts;
        true
    }

    /// The script did its work. If it was off: how many events had passed it.
    pub fn works(&self) -> Option<u64> {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        self.failures.store(0, Ordering::Relaxed);
        off.take().map(|off| off.passed)
    }

    /// The script failed. If that switches it off, or keeps it off: for how long.
    pub fn fails(&self, now: Instant) -> Option<Duration> {
        let mut off = self.off.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = self.failures.load(Ordering::Relaxed).saturating_add(1);
        self.failures.store(failures, Ordering::Relaxed);
        if failures < self.after {
            return None;
        }
        let (lasts, passed) =
            off.as_ref().map_or((FIRST, 0), |off| ((off.lasts * 2).min(LONGEST), off.passed));
        *off = Some(Off { until: now + lasts, lasts, passed });
        Some(lasts)
    }

    /// Whether the script is off.
    pub fn is_off(&self) -> bool {
        self.off.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_one_after_the_other_switch_off_for_longer_and_longer() {
        let breaker = Breaker::new(3);
        let start = Instant::now();
        assert_eq!(breaker.fails(start), None);
        assert_eq!(breaker.works(), None, "it was not off");
        assert_eq!((breaker.fails(start), breaker.fails(start)), (None, None));
        assert!(breaker.runs(|| start) && !breaker.is_off());
        assert_eq!(breaker.fails(start), Some(FIRST));
        assert!(!breaker.runs(|| start) && !breaker.runs(|| start) && breaker.is_off());
        let later = start + FIRST;
        assert!(breaker.runs(|| later), "one call tries it again");
        assert!(!breaker.runs(|| later), "and one only");
        assert_eq!(breaker.fails(later), Some(FIRST * 2));
        assert!(!breaker.runs(|| later + FIRST));
        assert!(breaker.runs(|| later + FIRST * 2));
        assert_eq!(breaker.works(), Some(4), "so many passed it");
        assert!(breaker.runs(|| later) && !breaker.is_off());
    }

    #[test]
    fn no_script_is_off_for_more_than_five_minutes() {
        let (breaker, start) = (Breaker::new(1), Instant::now());
        let longest = (0..20).filter_map(|_| breaker.fails(start)).max();
        assert_eq!(longest, Some(LONGEST));
    }
}
