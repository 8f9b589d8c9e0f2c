//! A thread of a plugin's own, which a panic does not end.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{Host, caught};
use crate::refusal::{Code, Refusal};

/// The pause after a first panic; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause. Whoever ran for longer than this begins with the shortest again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pauses of what is begun again after each failure.
#[derive(Debug)]
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses(PAUSE)
    }
}

impl Pauses {
    /// What ran for long went well meanwhile: then the next pause is the shortest.
    fn ran(&mut self, time: Duration) {
        if time > PAUSE_MAX {
            self.0 = PAUSE;
        }
    }

    /// The next pause; the one after it is twice as long.
    fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// Set when a thread has to end.
#[derive(Debug, Default)]
pub struct End(Mutex<bool>, Condvar);

impl End {
    /// Ends it.
    pub fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.1.notify_all();
    }

    /// Waits for so long, or until the end. True at the end.
    pub fn wait(&self, time: Duration) -> bool {
        let over = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.1.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Works until the work returns well, is refused with `shutting_down`, or it is over. After another refusal it is
    /// begun again, after a pause that doubles from 100 ms up to a minute. The work says what does not go on; the
    /// host is told that it [fails](Host::fails), until the work takes that back.
    pub fn work_again(
        &self,
        host: &dyn Host,
        warning: &str,
        mut work: impl FnMut() -> (&'static str, Result<(), Refusal>),
    ) {
        let mut pauses = Pauses::default();
        loop {
            let begun = host.now();
            let (what, Err(refusal)) = work() else { return };
            if refusal.code == Code::ShuttingDown {
                return;
            }
            pauses.ran(since(host, begun));
            host.fails(warning, format!("{what}: {refusal}"));
            if self.wait(pauses.pause()) {
                return;
            }
        }
    }
}

/// How long ago that was.
fn since(host: &dyn Host, begun: u64) -> Duration {
    Duration::from_millis(host.now().saturating_sub(begun))
}

/// A thread of a plugin's own, from [`super::Plugin::start`] to [`super::Plugin::stop`].
#[derive(Debug, Default)]
pub struct Thread {
    end: Arc<End>,
    /// Set when it has ended; there once it was started.
    ended: OnceLock<Arc<End>>,
}

impl Thread {
    /// Starts it under this name, once: it works until the work returns. If that panics, it is begun again
    /// after a pause; the log of the server, the warnings in `status` and the counter `panics` tell of it.
    pub fn start(
        &self,
        name: &str,
        host: Arc<dyn Host>,
        mut work: impl FnMut(&End) + Send + 'static,
    ) -> Result<(), String> {
        let (end, ended) = (self.end.clone(), Arc::<End>::default());
        let (own, thread, when) = (host.clone(), name.to_owned(), ended.clone());
        let run = move || {
            go_on(&thread, own.as_ref(), &end, &mut work);
            drop((work, own));
            when.set();
        };
        host.spawn(name, Box::new(run))?;
        let _ = self.ended.set(ended);
        Ok(())
    }

    /// Has the work end, and waits for nothing.
    pub fn drain(&self) {
        self.end.set();
    }

    /// Has the work end, and waits until it has.
    pub fn stop(&self) {
        self.end.set();
        if let Some(ended) = self.ended.get() {
            while !ended.wait(PAUSE_MAX) {}
        }
    }
}

/// Works until the work returns, or it is over in a pause after a panic.
fn go_on(thread: &str, host: &dyn Host, end: &End, work: &mut impl FnMut(&End)) {
    let (mut pauses, mut count) = (Pauses::default(), 0_u64);
    loop {
        let begun = host.now();
        let Err(words) = caught(|| work(end)) else { return };
        count += 1;
        pauses.ran(since(host, begun));
        let told = format!(
            "the thread {thread} panicked, {count} times by now: {words}; each time it is started again"
        );
        host.error(&told);
        host.warn(thread, Some(told));
        host.count("panics", 1);
        if end.wait(pauses.pause()) {
            return;
        }
    }
}
