//! How long a script has been running: the only clock of this crate, read by one thread for all.
//!
//! Reading a clock at every loop of a script would make it four times as slow, so a thread counts
//! milliseconds into an atomic and scripts compare that. It sleeps while no script runs.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Milliseconds that the timer was awake.
static MS: AtomicU64 = AtomicU64::new(0);
/// Calls that run now, on all threads.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// Whether a call ran since the timer last looked.
static SEEN: AtomicBool = AtomicBool::new(false);
static ASLEEP: AtomicBool = AtomicBool::new(false);
static TIMER: OnceLock<Thread> = OnceLock::new();

const TICK: Duration = Duration::from_millis(4);
/// A machine that was suspended must not fail the call that it was in: a tick counts for so much.
const TICK_COUNTS_AT_MOST_MS: u64 = 20;
const TICKS_BEFORE_SLEEP: u32 = 250;

/// Starts the timer, once for the process.
pub fn start() -> io::Result<()> {
    if TIMER.get().is_some() {
        return Ok(());
    }
    let handle = thread::Builder::new().name("keepboth-lua-timer".into()).spawn(run)?;
    // Two plugins built at once may start two timers; the second one finds that it is not needed.
    let _ = TIMER.set(handle.thread().clone());
    Ok(())
}

/// One call under a time limit; over when it is dropped.
#[derive(Debug)]
pub struct Call {
    late_at: u64,
}

impl Call {
    /// Starts to count.
    pub fn start(limit_ms: u64) -> Call {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        SEEN.store(true, Ordering::Relaxed);
        if ASLEEP.load(Ordering::SeqCst)
            && let Some(timer) = TIMER.get()
        {
            timer.unpark();
        }
        Call { late_at: now().saturating_add(limit_ms) }
    }

    /// The count at which this call is late.
    pub fn late_at(&self) -> u64 {
        self.late_at
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a call may still take once the clock says that it is late. On a busy machine others may have had all of
/// its time, so from then on the thread's own time counts.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    limit_ms: u64,
    /// The count since which the call is late.
    from: u64,
    /// The thread's own time when that was seen.
    used: Duration,
}

/// By the clock a call takes at most so many times its limit.
const LIMITS_AT_MOST: u64 = 10;

impl Grace {
    /// The call is late since this count; its thread has used so much.
    pub fn new(limit_ms: u64, from: u64, used: Duration) -> Grace {
        Grace { limit_ms, from, used }
    }

    /// The count at which to look again; None if the call has had its time: half its limit, or all of it ten
    /// times by the clock.
    pub fn late_at(&self, now: u64, used: Duration) -> Option<u64> {
        let half = Duration::from_millis(self.limit_ms.div_ceil(2));
        let left = half.saturating_sub(used.saturating_sub(self.used)).as_micros().div_ceil(1_000);
        let end = self.from.saturating_add((LIMITS_AT_MOST - 1) * self.limit_ms);
        (left > 0 && now < end).then(|| end.min(now + left as u64))
    }
}

/// The time that this thread has had on a processor; None where the system does not tell.
pub fn own_time() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).ok()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The count of milliseconds; it stands still while nothing runs.
pub fn now() -> u64 {
    MS.load(Ordering::Relaxed)
}

fn run() {
    let (mut last, mut idle) = (Instant::now(), 0);
    loop {
        if TIMER.get().is_some_and(|timer| timer.id() != thread::current().id()) {
            return;
        }
        thread::park_timeout(TICK);
        let passed = last.elapsed();
        let ms = passed.as_millis().min(u128::from(TICK_COUNTS_AT_MOST_MS)) as u64;
        if ms > 0 {
            last += passed;
            MS.fetch_add(ms, Ordering::Relaxed);
        }
        idle = if SEEN.swap(false, Ordering::Relaxed) { 0 } else { idle + 1 };
        if idle >= TICKS_BEFORE_SLEEP {
            sleep();
            (last, idle) = (Instant::now(), 0);
        }
    }
}

/// Waits until a call starts. A call first counts itself and then looks whether the timer sleeps;
/// the timer first says that it sleeps and then looks for calls: one of them sees the other.
fn sleep() {
    ASLEEP.store(true, Ordering::SeqCst);
    while RUNNING.load(Ordering::SeqCst) == 0 {
        thread::park();
    }
    ASLEEP.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_late_call_has_half_its_limit_of_its_own_time() {
        let grace = Grace::new(50, 1_000, MS(7));
        assert_eq!(grace.late_at(1_000, MS(7)), Some(1_025));
        assert_eq!(grace.late_at(1_025, MS(31)), Some(1_026));
        assert_eq!(grace.late_at(1_026, MS(32)), None);
    }

    #[test]
    fn a_call_that_gets_no_processor_ends_after_ten_times_its_limit() {
        let grace = Grace::new(50, 50, MS(0));
        let mut looks = Vec::new();
        let mut now = 50;
        while let Some(next) = grace.late_at(now, MS(0)) {
            now = next;
            looks.push(now);
        }
        assert_eq!((looks.len(), now), (18, 500));
    }

    #[test]
    fn the_shortest_limit_ends_as_well() {
        let grace = Grace::new(1, 1, MS(0));
        assert_eq!(grace.late_at(1, Duration::from_micros(1)), Some(2));
        assert_eq!(grace.late_at(2, MS(1)), None);
        assert_eq!(grace.late_at(10, MS(0)), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_sees_its_own_time_go_on() {
        let (begun, mut sum) = (own_time().expect("a time"), 0_u64);
        while own_time().expect("a time") == begun {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
