//! The plugin bound to one namespace: its thread, and who asks it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keepboth_core::plugin::{Built, Host, Plugin, Points, Site, Thread, Worker};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::Value as Json;

use crate::follow::Follower;
use crate::progress::{Late, Progress};
use crate::query;
use crate::settings::{self, Index};

/// Makes the plugin, or tells all that is wrong with the declarations.
pub fn build(_: &Site, settings: Json) -> Built {
    let indexes: Arc<[Index]> = settings::read(settings)?.into();
    let (progress, running, thread) = Default::default();
    Ok(Arc::new(Indexes { indexes, progress, running, thread }))
}

struct Indexes {
    indexes: Arc<[Index]>,
    progress: Arc<Progress>,
    running: Arc<Running>,
    thread: Thread,
}

/// The longest that a question waits, whatever it says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What those who ask see from start to stop.
#[derive(Default)]
struct Running {
    /// None until the table is open, and again when it must be given back.
    follower: Mutex<Option<Arc<Follower>>>,
    opened: Condvar,
}

impl Running {
    /// Has those who wait for the table look again. What they wait for was changed before: under the lock,
    /// so that nobody has looked already and does not wait yet.
    fn tell(&self) {
        let _looking = lock(&self.follower);
        self.opened.notify_all();
    }
}

/// Gives the table back if the thread panics, and tells those who ask.
struct Fallen<'a> {
    progress: &'a Progress,
    running: &'a Running,
}

impl Fallen<'_> {
    /// Gives the table back, so that it can be opened again.
    fn fall(&self, why: &str) {
        self.progress.fall(why);
        let follower = lock(&self.running.follower).take();
        // Its table is closed, which may take its time, while nobody waits for the lock.
        drop(follower);
        self.running.tell();
    }
}

impl Drop for Fallen<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fall("its thread panicked and is started again");
        }
    }
}

struct Nothing;

impl Worker for Nothing {}

impl Plugin for Indexes {
    fn points(&self) -> Points {
        Points::default()
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Nothing))
    }

    fn fingerprint(&self) -> [u8; 32] {
        let print = Fingerprint::new().with("index");
        self.indexes.iter().fold(print, |print, index| print.with(index.id)).finish()
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let namespace = host.namespace().ok_or("it is for a namespace")?.clone();
        let (indexes, progress) = (self.indexes.clone(), self.progress.clone());
        let (running, own) = (self.running.clone(), host.clone());
        self.thread.start(&format!("index {namespace}"), host, move |end| {
            let fallen = Fallen { progress: &progress, running: &running };
            let open = |table| {
                let follower = Arc::new(Follower {
                    host: own.clone(),
                    namespace: namespace.clone(),
                    indexes: indexes.clone(),
                    table,
                    progress: progress.clone(),
                    falls: progress.falls(),
                });
                *lock(&running.follower) = Some(follower.clone());
                running.tell();
                follower
            };
            end.work_again(own.as_ref(), "follow", || {
                let (what, outcome) = match own.table() {
                    Ok(table) => ("the indexes do not go on", open(table).run()),
                    Err(refusal) => ("there are no indexes", Err(refusal)),
                };
                (what, outcome.inspect_err(|refusal| fallen.fall(&refusal.message)))
            });
        })
    }

    fn answer(&self, op: &str, arguments: &Json) -> Option<Result<Json, Refusal>> {
        let answer = match op {
            "query" => query::query,
            "indexes" => |follower: &Follower, _: &Json, _| query::indexes(follower),
            _ => return None,
        };
        let within = Duration::from_millis(arguments["wait_ms"].as_u64().unwrap_or_default());
        // The table and the index are waited for together.
        let until = Instant::now() + within.min(WAIT_MAX);
        Some(match self.follower(until) {
            Some(follower) => answer(&follower, arguments, until),
            None => Err(self.not_there(arguments)),
        })
    }

    fn drain(&self) {
        self.thread.drain();
        self.progress.end();
        self.running.tell();
    }

    fn stop(&self) {
        self.thread.stop();
        lock(&self.running.follower).take();
    }
}

impl Indexes {
    /// What knows the answers, when the table is open: one that takes the place of another waits for it.
    fn follower(&self, until: Instant) -> Option<Arc<Follower>> {
        let follower = lock(&self.running.follower);
        let within = until.saturating_duration_since(Instant::now());
        let hopeless = || self.progress.is_over() || self.progress.why_stuck().is_some();
        let waited = self
            .running
            .opened
            .wait_timeout_while(follower, within, |follower| follower.is_none() && !hopeless());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn not_there(&self, asked: &Json) -> Refusal {
        if self.progress.is_over() {
            return Late::Over.refusal("", 0);
        }
        let why = self.progress.why_stuck().unwrap_or_else(|| "its table is not open yet".into());
        let name = asked["index"].as_str().unwrap_or_default();
        let words = format!("the index {name} is not there: {why}");
        Refusal::new(Code::IndexBehind, words)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
