//! Conflict hooks: asked once for each set of sides, on one thread of the namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepboth_core::limits::Stage;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Conflict, Side};
use keepboth_core::refusal::Refusal;
use keepboth_store::{Store, Task};
use tokio::sync::mpsc;

use crate::clock;
use crate::hooks::{Chain, Workers};

/// Conflicts that may wait for their hook; beyond it, all conflicts are looked through again.
const QUEUE_MAX: usize = 1_000;
/// Conflicts that are read at once when looking through all.
const PAGE: usize = 100;

/// The sending end: never waits.
pub struct Conflicts {
    queue: mpsc::Sender<Key>,
    missed: Arc<AtomicBool>,
}

/// The receiving end.
pub struct Asked {
    queue: mpsc::Receiver<Key>,
    missed: Arc<AtomicBool>,
}

/// A bounded queue of keys whose conflict hooks are to be asked.
pub fn queue() -> (Conflicts, Asked) {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let missed = Arc::new(AtomicBool::new(false));
    (Conflicts { queue: sender, missed: missed.clone() }, Asked { queue: receiver, missed })
}

impl Conflicts {
    /// Asks for a key's hooks to be run. If the queue is full, the thread later looks for itself.
    pub fn ask(&self, key: &Key) {
        if self.queue.try_send(key.clone()).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

/// Starts the thread, if a plugin merges.
pub fn start(name: &Namespace, store: &Store, chain: &Chain, value_bytes_max: usize, asked: Asked) {
    if !chain.points().conflict {
        return;
    }
    let (namespace, store, chain) = (name.clone(), store.clone(), chain.clone());
    super::spawn(format!("conflicts {name}"), move || {
        let workers = Workers::new(chain);
        Thread { namespace, store, workers, value_bytes_max }.run(asked);
    });
}

struct Thread {
    namespace: Namespace,
    store: Store,
    workers: Workers,
    value_bytes_max: usize,
}

impl Thread {
    fn run(mut self, mut asked: Asked) {
        // What waited when the server last stopped had no turn, and a hook may be new.
        self.ask_all();
        while let Some(key) = asked.queue.blocking_recv() {
            self.ask(&key);
            if asked.queue.is_empty() && asked.missed.swap(false, Ordering::AcqRel) {
                self.ask_all();
            }
        }
    }

    fn ask_all(&mut self) {
        let mut after: Option<Key> = None;
        loop {
            let page = self.store.snapshot().conflicts(after.as_ref(), PAGE);
            let Ok(page) = page.map_err(|e| self.log(after.as_ref(), &e)) else { return };
            page.items.iter().for_each(|item| self.ask(&item.key));
            match page.next {
                Some(next) => after = Some(next),
                None => return,
            }
        }
    }

    /// Asks the hooks of one key, and writes the merge. The store makes it only if the sides are still the same.
    fn ask(&mut self, key: &Key) {
        let view = match self.store.snapshot().conflict(key) {
            Ok(view) if view.ask_hooks => view,
            Ok(_) => return,
            // It was resolved while it waited.
            Err(_) => return,
        };
        let conflict = Conflict {
            namespace: self.namespace.clone(),
            key: key.clone(),
            base: view.base.and_then(|(_, value)| value),
            sides: view
                .sides
                .into_iter()
                .map(|side| Side {
                    version: side.version,
                    address: side.address,
                    value: side.value,
                })
                .collect(),
        };
        let Some(value) = self.workers.conflict(&conflict) else { return };
        if let Err(refusal) = value.check_size(self.value_bytes_max, Stage::Hook) {
            return self.log(Some(key), &refusal);
        }
        let (name, place) = (self.namespace.clone(), key.clone());
        let done = Box::new(move |outcome: Result<_, Refusal>| {
            if let Err(refusal) = outcome {
                tracing::warn!(namespace = name.as_str(), key = place.as_str(), "merge: {refusal}");
            }
        });
        let task =
            Task::Merge { key: key.clone(), conflict: view.id, value, now: clock::now(), done };
        // A closed store makes no merge; the conflict stays.
        let _ = self.store.submit_blocking(task);
    }

    fn log(&self, key: Option<&Key>, refusal: &Refusal) {
        let key = key.map(Key::as_str).unwrap_or_default();
        tracing::warn!(namespace = self.namespace.as_str(), key, "conflict hook: {refusal}");
    }
}
