//! When timers run: at whole multiples of their period since 1970 in UTC, so that all nodes mean the
//! same moment and a restart neither repeats nor puts off a turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepboth_core::plugin::{Host, LogLevel, LogLine, Origin, Source};

use crate::bound::Bound;
use crate::hook::Every;
use crate::worker::LuaWorker;

/// The longest sleep: a clock that was set is noticed after it.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// The next turn of each timer.
pub struct Schedule {
    periods: Vec<u64>,
    next: Vec<u64>,
}

impl Schedule {
    /// Timers of these periods, in milliseconds; none is due at once.
    pub fn new(periods: Vec<u64>, now: u64) -> Schedule {
        let next = periods.iter().map(|period| following(*period, now)).collect();
        Schedule { periods, next }
    }

    /// The timers that are due. A turn that was missed is not made up for.
    pub fn due(&mut self, now: u64) -> Vec<usize> {
        let mut due = Vec::new();
        for (at, (period, next)) in self.periods.iter().zip(&mut self.next).enumerate() {
            if *next <= now {
                due.push(at);
                *next = following(*period, now);
            } else if *next - now > *period {
                // The clock was set back.
                *next = following(*period, now);
            }
        }
        due
    }

    /// How long until the next turn.
    pub fn wait(&self, now: u64) -> Duration {
        let next = self.next.iter().min().map_or(u64::MAX, |next| next.saturating_sub(now));
        Duration::from_millis(next).min(SLEEP_MAX)
    }
}

fn following(period: u64, now: u64) -> u64 {
    (now / period).saturating_add(1).saturating_mul(period)
}

/// The thread that runs the timers of one namespace.
pub struct Timers {
    ends: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Timers {
    /// Starts the thread.
    pub fn start(bound: &Arc<Bound>, host: Arc<dyn Host>) -> Result<Timers, String> {
        let ends = Arc::new(AtomicBool::new(false));
        let (bound, ended) = (bound.clone(), ends.clone());
        let thread = thread::Builder::new().name(format!("timers {}", bound.ground.namespace));
        let thread = thread.spawn(move || run(&bound, &*host, &ended));
        let thread = thread.map_err(|e| format!("the timers' thread cannot be started: {e}"))?;
        Ok(Timers { ends, thread: Mutex::new(Some(thread)) })
    }

    /// No turn begins any more.
    pub fn drain(&self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.thread().unpark();
        }
    }

    /// Waits for the turn that runs.
    pub fn stop(&self) {
        self.drain();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic in it was logged where it was caught.
        let _ = thread.map(JoinHandle::join);
    }
}

fn run(bound: &Arc<Bound>, host: &dyn Host, ends: &AtomicBool) {
    let timers: Vec<(usize, usize, Every)> = bound
        .timers()
        .filter_map(|(script, at, declared)| Some((script, at, declared.timer.clone()?)))
        .collect();
    let periods = timers.iter().map(|(_, _, every)| every.period.as_millis() as u64).collect();
    let mut schedule = Schedule::new(periods, host.now());
    let mut worker = None;
    while !ends.load(Ordering::Relaxed) {
        let now = host.now();
        for due in schedule.due(now) {
            let (script, at, every) = &timers[due];
            if ends.load(Ordering::Relaxed) {
                return;
            }
            let turn = || turn(bound, host, &mut worker, (*script, *at, every), now);
            let outcome = catch_unwind(AssertUnwindSafe(turn));
            let outcome = outcome.unwrap_or_else(|_| Err("a panic".into()));
            if let Err(words) = outcome {
                let namespace = bound.ground.namespace.as_str();
                tracing::warn!(namespace, "timer of {}: {words}", every.text);
            }
        }
        thread::park_timeout(schedule.wait(host.now()));
    }
}

/// One turn of a timer: on every node, or here if this node is the elected one.
fn turn(
    bound: &Arc<Bound>,
    host: &dyn Host,
    worker: &mut Option<LuaWorker>,
    (script, at, every): (usize, usize, &Every),
    now: u64,
) -> Result<(), String> {
    let namespace = &bound.ground.namespace;
    if !every.everywhere && !host.is_elected(namespace).map_err(|e| e.message)? {
        return Ok(());
    }
    let mut own = match worker.take() {
        Some(worker) => worker,
        None => LuaWorker::new(bound.clone())?,
    };
    let effects = own.timer(script, at, now);
    *worker = Some(own);
    let actor = &bound.scripts[script].script.chunk;
    for effect in effects? {
        let target = format!("{}/{}", effect.namespace, effect.name);
        let matter = format!("writes of timers to {}", effect.namespace);
        let origin = Origin::new(Source::Timer, actor.clone(), now);
        let refused = host.write(effect, origin).err();
        let words = refused.map(|refusal| format!("a write to {target} was refused: {refusal}"));
        if let Some(words) = &words {
            tracing::warn!("timer of {}: {words}", every.text);
            let (at, text) = (actor.to_string(), words.clone());
            host.log(&LogLine { level: LogLevel::Error, at, text });
        }
        host.warn(&matter, words);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_runs_at_whole_multiples_of_its_period() {
        let mut schedule = Schedule::new(vec![1_000, 60_000], 59_500);
        assert_eq!(schedule.due(59_500), Vec::<usize>::new(), "none at once");
        assert_eq!(schedule.wait(59_500), Duration::from_millis(500));
        assert_eq!(schedule.due(60_000), [0, 1]);
        assert_eq!(schedule.due(60_999), Vec::<usize>::new());
        assert_eq!(schedule.due(75_400), [0], "what was missed is not made up for");
        assert_eq!(schedule.wait(75_400), Duration::from_millis(600));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_a_timer() {
        let mut schedule = Schedule::new(vec![1_000], 1_000_000);
        assert_eq!(schedule.due(5_000), Vec::<usize>::new());
        assert_eq!(schedule.due(6_000), [0]);
    }
}
