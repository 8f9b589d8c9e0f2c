//! Conflict hooks: asked once for each set of sides, on one thread of the namespace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keepboth_core::limits::Stage;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Conflict, Side};
use keepboth_core::refusal::Refusal;
use keepboth_store::{Store, Task};
use tokio::sync::mpsc;

use super::Current;
use crate::clock;
use crate::hooks::{Chain, Workers};

/// Conflicts that may wait for their hook; beyond it, all conflicts are looked through again.
const QUEUE_MAX: usize = 1_000;
/// Conflicts that are read at once when looking through all.
const PAGE: usize = 100;

/// The sending end: never waits. Clones share the queue.
#[derive(Clone)]
pub struct Conflicts {
    /// Keys whose hooks are to be asked; None wakes the thread to look through all.
    queue: mpsc::Sender<Option<Key>>,
    missed: Arc<AtomicBool>,
    setup: Current,
    /// The other end of the queue, until a thread reads it.
    idle: Arc<Mutex<Option<mpsc::Receiver<Option<Key>>>>>,
}

impl Conflicts {
    /// A bounded queue of keys that nobody reads yet.
    pub fn new(setup: &Current) -> Conflicts {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let (missed, idle) = (Arc::default(), Arc::new(Mutex::new(Some(receiver))));
        Conflicts { queue, missed, setup: setup.clone(), idle }
    }

    /// Asks for a key's hooks to be run, if a plugin merges. If the queue is full, the thread later looks
    /// for itself.
    pub fn ask(&self, key: &Key) {
        if self.setup.load().chain.points().conflict
            && self.queue.try_send(Some(key.clone())).is_err()
        {
            self.missed.store(true, Ordering::Release);
        }
    }

    /// Has all conflicts looked through, if a plugin merges: what waited when the server last stopped had
    /// no turn, and a hook may be new. Starts the thread if that was not done.
    pub fn ask_all(&self, name: &Namespace, store: &Store) {
        if !self.setup.load().chain.points().conflict {
            return;
        }
        self.missed.store(true, Ordering::Release);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queue) = idle {
            let (namespace, store) = (name.clone(), store.clone());
            let (setup, missed) = (self.setup.clone(), self.missed.clone());
            super::spawn(format!("conflicts {name}"), move || {
                let workers = Workers::new(Chain::default());
                Thread { namespace, store, workers, setup, missed }.run(queue);
            });
        }
        // A full queue wakes the thread as well.
        let _ = self.queue.try_send(None);
    }
}

struct Thread {
    namespace: Namespace,
    store: Store,
    workers: Workers,
    setup: Current,
    missed: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Option<Key>>) {
        while let Some(key) = queue.blocking_recv() {
            if let Some(key) = key {
                self.ask(&key);
            }
            if queue.is_empty() && self.missed.swap(false, Ordering::AcqRel) {
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
        let setup = self.setup.load_full();
        self.workers.follow(&setup.chain);
        let Some(value) = self.workers.conflict(&conflict) else { return };
        if let Err(refusal) = value.check_size(setup.bounds.value_bytes_max, Stage::Hook) {
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
