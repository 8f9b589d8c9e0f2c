//! The plugin bound to one namespace: a thread for all its targets, one that watches the feed, and who asks.

use std::any::Any;
use std::ops::Bound;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Built, Host, Plugin, Points, RowChange, Site, Table, Thread, Worker};
use keepboth_core::refusal::{Code, Refusal};
use serde_json::Value as Json;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dead::{ROWS_MAX, rows_between};
use crate::deliver::Shared;
use crate::lane;
use crate::orders::{ORDERS_MAX, Question, Way};
use crate::rows::{self, LETTERS};
use crate::target::{self, Target};

/// How long one wait for a change lasts.
const WAIT: Duration = Duration::from_secs(60);

/// Makes the plugin, or tells all that is wrong with its targets.
pub fn build(site: &Site, settings: Json) -> Built {
    let (targets, fingerprint) = target::read(site, settings)?;
    let targets = targets.into_iter().map(Arc::new).collect();
    Ok(Arc::new(Webhooks {
        targets,
        fingerprint,
        stop: CancellationToken::new(),
        lanes: Arc::default(),
        thread: Thread::default(),
    }))
}

/// The ways to the targets at work.
type Lanes = Arc<Mutex<Vec<Way>>>;

struct Webhooks {
    targets: Vec<Arc<Target>>,
    fingerprint: [u8; 32],
    stop: CancellationToken,
    lanes: Lanes,
    thread: Thread,
}

struct Nothing;

impl Worker for Nothing {}

impl Plugin for Webhooks {
    fn points(&self) -> Points {
        Points::default()
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Nothing))
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let namespace = host.namespace().ok_or("it is for a namespace")?.clone();
        let (targets, stop, lanes) = (self.targets.clone(), self.stop.clone(), self.lanes.clone());
        let own = host.clone();
        self.thread.start(&format!("webhook {namespace}"), host, move |end| {
            end.work_again(own.as_ref(), "all", || {
                let outcome = own.table().and_then(|table| {
                    let (host, namespace, stop) = (own.clone(), namespace.clone(), stop.clone());
                    let waiting = AtomicI64::new(0);
                    let shared = Shared { host, namespace, table, stop, waiting };
                    run(Arc::new(shared), &targets, &lanes)
                });
                ("nothing is told", outcome)
            });
        })
    }

    fn answer(&self, op: &str, arguments: &Json) -> Option<Result<Json, Refusal>> {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let question = Question::read(op, arguments, &names)?;
        // The lock is not held while the targets are waited for.
        let ways = lock(&self.lanes).clone();
        Some(question.and_then(|question| question.put(&ways)))
    }

    fn drain(&self) {
        self.thread.drain();
        self.stop.cancel();
    }

    fn stop(&self) {
        self.stop.cancel();
        self.thread.stop();
    }
}

/// What ends all targets before it is over: they are taken up again from their rows.
enum Ended {
    Panic(Box<dyn Any + Send>),
    /// The table is to be opened again.
    Refused(Refusal),
}

/// Serves all targets until it is over. A panic of one, or a table that fails, ends the others too, and goes on here.
fn run(shared: Arc<Shared>, targets: &[Arc<Target>], lanes: &Lanes) -> Result<(), Refusal> {
    // Nothing is sent of which it could not be kept that it was.
    shared.table.write(&[], true)?;
    forget_others(shared.table.as_ref(), targets)?;
    shared.host.warn("all", None);
    let failed = |e| Refusal::new(Code::StoreFailed, format!("no runtime for requests: {e}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let ended = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let (news, changed) = watch::channel(0);
        for target in targets {
            let (sender, orders) = mpsc::channel(ORDERS_MAX);
            lock(lanes).push((target.name.clone(), sender));
            tasks.spawn(lane::run(shared.clone(), target.clone(), changed.clone(), orders));
        }
        // It has no part in the table, which must be given back although it still waits.
        let (host, namespace) = (shared.host.clone(), shared.namespace.clone());
        let stop = shared.stop.clone();
        tasks.spawn_blocking(move || {
            watch_feed(host.as_ref(), &namespace, &stop, &news);
            Ok(())
        });
        drop(changed);
        while let Some(joined) = tasks.join_next().await {
            match lane::joined(joined) {
                Ok(None | Some(Ok(()))) => {}
                Ok(Some(Err(refusal))) => return Some(Ended::Refused(refusal)),
                Err(panic) => return Some(Ended::Panic(panic)),
            }
        }
        None
    });
    lock(lanes).clear();
    // A name that is still being looked up must not hold up the stop.
    runtime.shutdown_background();
    drop(shared);
    match ended {
        None => Ok(()),
        Some(Ended::Refused(refusal)) => Err(refusal),
        Some(Ended::Panic(panic)) => resume_unwind(panic),
    }
}

/// Says when there is something new in the feed, until there is nobody who listens, or it is over.
fn watch_feed(
    host: &dyn Host,
    namespace: &Namespace,
    stop: &CancellationToken,
    news: &watch::Sender<u64>,
) {
    let mut last = 0;
    while !stop.is_cancelled()
        && let Ok(now) = host.wait_changed(namespace, last, WAIT)
    {
        last = now;
        if news.send(now).is_err() {
            return;
        }
    }
}

/// Removes the rows of targets that are not declared any more.
fn forget_others(table: &dyn Table, targets: &[Arc<Target>]) -> Result<(), Refusal> {
    for letter in LETTERS {
        let mut from = Bound::Included(vec![letter]);
        loop {
            let found = rows_between(table, &from, &Bound::Excluded(vec![letter + 1]), ROWS_MAX)?;
            let Some((last, _)) = found.last() else { break };
            from = Bound::Excluded(last.clone());
            let is_other = |key: &[u8]| match rows::take_apart(key) {
                Some((name, _)) => !targets.iter().any(|target| target.name == name),
                None => true,
            };
            let gone = found.into_iter().filter(|(key, _)| is_other(key));
            let gone: Vec<RowChange> = gone.map(|(key, _)| (key, None)).collect();
            if !gone.is_empty() {
                table.write(&gone, true)?;
            }
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
