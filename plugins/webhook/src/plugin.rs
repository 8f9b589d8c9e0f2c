//! The plugin bound to one namespace: a thread for all its targets, one that watches the feed, and who asks.

use std::ops::Bound;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use keepboth_core::plugin::{Built, Host, Plugin, Points, RowChange, Site, Table, Worker};
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
        thread: Mutex::default(),
    }))
}

/// The ways to the targets at work.
type Lanes = Arc<Mutex<Vec<Way>>>;

struct Webhooks {
    targets: Vec<Arc<Target>>,
    fingerprint: [u8; 32],
    stop: CancellationToken,
    lanes: Lanes,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let thread = std::thread::Builder::new().name(format!("webhook {namespace}"));
        let thread = thread.spawn(move || {
            let outcome = host.table().and_then(|table| {
                let waiting = AtomicI64::new(0);
                let shared = Shared { host, namespace: namespace.clone(), table, stop, waiting };
                run(Arc::new(shared), targets, &lanes)
            });
            if let Err(refusal) = outcome
                && refusal.code != Code::ShuttingDown
            {
                tracing::error!(%namespace, "there are no webhooks: {refusal}");
            }
        });
        *lock(&self.thread) = Some(thread.map_err(|e| format!("no thread: {e}"))?);
        Ok(())
    }

    fn answer(&self, op: &str, arguments: &Json) -> Option<Result<Json, Refusal>> {
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        let question = Question::read(op, arguments, &names)?;
        // The lock is not held while the targets are waited for.
        let ways = lock(&self.lanes).clone();
        Some(question.and_then(|question| question.put(&ways)))
    }

    fn drain(&self) {
        self.stop.cancel();
    }

    fn stop(&self) {
        self.stop.cancel();
        let thread = lock(&self.thread).take();
        // A panic of the thread was told where it was.
        let _ = thread.map(JoinHandle::join);
    }
}

/// Serves all targets until it is over.
fn run(shared: Arc<Shared>, targets: Vec<Arc<Target>>, lanes: &Lanes) -> Result<(), Refusal> {
    forget_others(shared.table.as_ref(), &targets)?;
    let failed = |e| Refusal::new(Code::StoreFailed, format!("no runtime for requests: {e}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (news, changed) = watch::channel(0);
    let watcher = {
        let shared = shared.clone();
        std::thread::spawn(move || watch_feed(&shared, &news))
    };
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for target in targets {
            let (sender, orders) = mpsc::channel(ORDERS_MAX);
            lock(lanes).push((target.name.clone(), sender));
            tasks.spawn(lane::run(shared.clone(), target, changed.clone(), orders));
        }
        while tasks.join_next().await.is_some() {}
    });
    lock(lanes).clear();
    // A name that is still being looked up must not hold up the stop.
    runtime.shutdown_background();
    let _ = watcher.join();
    Ok(())
}

/// Says when there is something new in the feed, until there is nobody who listens, or it is over.
fn watch_feed(shared: &Shared, news: &watch::Sender<u64>) {
    let mut last = 0;
    while !shared.stop.is_cancelled()
        && let Ok(now) = shared.host.wait_changed(&shared.namespace, last, WAIT)
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
