//! A line that a script logs, and how many it may log over time: a burst, and then so many a second.

use std::time::{Duration, Instant};

pub use keepboth_core::plugin::{LogLevel as Level, LogLine as Line};

/// Lines that a VM may log at once.
const BURST: u32 = 640;
/// The time after which one more may be logged.
const EACH: Duration = Duration::from_millis(20);

/// What one VM may still log.
pub struct Rate {
    left: u32,
    since: Instant,
    dropped: u64,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Log it, after saying how many were dropped before it.
    Log(u64),
    /// Drop it.
    Drop,
}

impl Rate {
    /// A whole burst from now on.
    pub fn new(now: Instant) -> Rate {
        Rate { left: BURST, since: now, dropped: 0 }
    }

    /// Asks for one line.
    pub fn take(&mut self, now: Instant) -> Turn {
        let passed = now.saturating_duration_since(self.since);
        let more = (passed.as_millis() / EACH.as_millis()).min(u128::from(BURST)) as u32;
        if more > 0 {
            self.left = (self.left + more).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.dropped += 1;
            return Turn::Drop;
        }
        self.left -= 1;
        Turn::Log(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_fifty_a_second_and_what_was_dropped_is_told() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..BURST {
            assert_eq!(rate.take(start), Turn::Log(0));
        }
        for _ in 0..7 {
            assert_eq!(rate.take(start), Turn::Drop);
        }
        assert_eq!(rate.take(start + EACH), Turn::Log(7));
        assert_eq!(rate.take(start + EACH), Turn::Drop);
        let second = start + EACH + Duration::from_secs(1);
        assert_eq!(rate.take(second), Turn::Log(1));
        let passed = (0..100).filter(|_| rate.take(second) != Turn::Drop).count();
        assert_eq!(passed, 49, "fifty a second");
    }
}
