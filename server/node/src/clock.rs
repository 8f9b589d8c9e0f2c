//! The one place that reads the clocks.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as far as this machine knows. Informs people; decides nothing.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since this process first asked; never goes back.
pub fn steady() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The time of day, in UTC, of a moment in milliseconds since 1970.
pub fn time_of_day(moment: u64) -> String {
    let seconds = moment / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The time since 1970 of a moment of the steady clock, both in milliseconds.
pub fn from_steady(moment: u64) -> u64 {
    now().saturating_sub(steady().saturating_sub(moment))
}
