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
