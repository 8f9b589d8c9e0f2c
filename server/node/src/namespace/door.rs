//! The one way in: a write takes room, passes the hooks in their order, and goes to the store.

use std::sync::{Arc, OnceLock};

use keepboth_core::limits::Stage;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Before, Delete, Draft, Origin, Put};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Resolution, Snapshot, Store, Task, Written};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::after::{self, After, Room};
use super::{Current, Setup, removed};
use crate::hooks::{Chain, Workers};

const ADDRESS_HINT: &str =
    "64 hex characters are always an address; put a prefix before it to use it as a key";

/// How the writer learns of the outcome: one entry for each item, or the refusal of all.
pub type Reply = Box<dyn FnOnce(Result<Vec<Written>, Refusal>) + Send>;

/// A request to write: all or nothing.
pub struct Write {
    /// What is to be written.
    pub items: Vec<Item>,
    /// Who asks.
    pub origin: Origin,
    /// Called once, from a thread that must not be held up.
    pub reply: Reply,
    /// The room that a hook's write shares with the write that led to it; None for a client's.
    pub room: Room,
}

/// One operation of a request.
pub struct Item {
    /// The operation.
    pub op: Op,
    /// The value's tree, if it was parsed anyway.
    pub tree: Option<Json>,
}

impl Item {
    /// A put of a value, or a delete.
    pub fn of(name: Name, value: Option<Value>, condition: Condition) -> Item {
        let op = match value {
            Some(value) => Op::Put { name, value, condition },
            None => Op::Delete { name, condition },
        };
        Item { op, tree: None }
    }
}

/// A namespace's entrance.
pub struct Door {
    /// Threads that run before-hooks, once there were any. Before that, writes go straight to the store;
    /// from then on all go this way, so that none overtakes one that waits for a hook.
    threads: OnceLock<Vec<mpsc::Sender<Entered>>>,
    setup: Current,
    passage: Passage,
}

/// A write, with the plugins and bounds that hold for it to its end, whatever the configuration becomes
/// meanwhile.
struct Entered {
    write: Write,
    setup: Arc<Setup>,
}

/// The way from the hooks to the store.
#[derive(Clone)]
struct Passage {
    namespace: Namespace,
    store: Store,
    after: Arc<After>,
    gone: CancellationToken,
}

impl Door {
    /// An entrance whose threads are started when hooks need them. `gone` says that the namespace was
    /// removed.
    pub fn new(
        name: &Namespace,
        store: &Store,
        setup: &Current,
        after: Arc<After>,
        gone: CancellationToken,
    ) -> Door {
        let (namespace, store) = (name.clone(), store.clone());
        let passage = Passage { namespace, store, after, gone };
        Door { threads: OnceLock::new(), setup: setup.clone(), passage }
    }

    /// Takes a write. Waits for room where a queue is full; the reply comes later, from elsewhere.
    /// Writes that the same `lane` (a connection) gives one after another keep their order.
    pub async fn write(&self, mut write: Write, lane: u64) {
        let setup = self.setup.load_full();
        if setup.chain.points().after && write.room.is_none() {
            write.room = self.passage.after.room(write.items.len()).await;
        }
        let Some(threads) = self.threads(&setup) else {
            let task = self.passage.task(write, setup);
            if let Err(task) = self.passage.store.submit(task).await {
                self.passage.refuse(task);
            }
            return;
        };
        let thread = &threads[lane as usize % threads.len()];
        if let Err(mpsc::error::SendError(entered)) = thread.send(Entered { write, setup }).await {
            (entered.write.reply)(Err(self.passage.closed()));
        }
    }

    /// The threads; None if no write has ever needed one.
    fn threads(&self, setup: &Setup) -> Option<&Vec<mpsc::Sender<Entered>>> {
        let points = setup.chain.points();
        if !points.before_put && !points.before_delete {
            return self.threads.get();
        }
        Some(self.threads.get_or_init(|| {
            let thread = |number| {
                let (sender, writes) = mpsc::channel(setup.bounds.queue_writes_max.max(1));
                let passage = self.passage.clone();
                let name = format!("hooks {} {number}", passage.namespace);
                super::spawn(name, move || run(writes, &passage));
                sender
            };
            (0..setup.bounds.hook_threads.max(1)).map(thread).collect()
        }))
    }
}

/// A thread of before-hooks.
fn run(mut writes: mpsc::Receiver<Entered>, passage: &Passage) {
    let mut workers = Workers::new(Chain::default());
    while let Some(Entered { mut write, setup }) = writes.blocking_recv() {
        workers.follow(&setup.chain);
        match passage.ask(&mut workers, &mut write, setup.bounds.value_bytes_max) {
            Ok(()) => {
                let task = passage.task(write, setup);
                if let Err(task) = passage.store.submit_blocking(task) {
                    passage.refuse(task);
                }
            }
            Err(refusal) => {
                if refusal.code == Code::HookFailed {
                    tracing::warn!(namespace = passage.namespace.as_str(), "{refusal}");
                }
                (write.reply)(Err(refusal));
            }
        }
    }
}

impl Passage {
    fn closed(&self) -> Refusal {
        match self.gone.is_cancelled() {
            true => removed(&self.namespace),
            false => {
                Refusal::new(Code::ShuttingDown, "the namespace is closed; nothing was written")
            }
        }
    }

    fn refuse(&self, task: Task) {
        if let Task::Local { done, .. } = task {
            done(Err(self.closed()));
        }
    }

    /// Lets the hooks see every item; a refusal of one refuses all.
    fn ask(
        &self,
        workers: &mut Workers,
        write: &mut Write,
        value_bytes_max: usize,
    ) -> Result<(), Refusal> {
        let several = write.items.len() > 1;
        // Before-hooks were there once and are not any more: nothing is to be read for them.
        if !workers.look_at_writes() {
            return Ok(());
        }
        for (number, item) in write.items.iter_mut().enumerate() {
            let outcome = self.ask_item(workers, item, &write.origin, value_bytes_max);
            outcome.map_err(|r| if several { r.in_batch(number) } else { r })?;
        }
        Ok(())
    }

    fn ask_item(
        &self,
        workers: &mut Workers,
        item: &mut Item,
        origin: &Origin,
        value_bytes_max: usize,
    ) -> Result<(), Refusal> {
        let snapshot = self.store.snapshot();
        with_value(&snapshot, &mut item.op)?;
        let namespace = self.namespace.clone();
        let (name, value) = match &mut item.op {
            Op::Delete { name, .. } => {
                let (name, key) = (name.clone(), key_of(&snapshot, name)?);
                let origin = origin.clone();
                let before = Before::of(snapshot);
                return workers.before_delete(&Delete { namespace, name, key, origin, before });
            }
            Op::Put { name, value, .. } => (name.clone(), value),
            Op::Resolve { key, with: Resolution::Value(value), .. } => {
                (Name::Key(key.clone()), value)
            }
            Op::Resolve { .. } | Op::Revert { .. } | Op::Restore { .. } => return Ok(()),
        };
        let key = key_of(&snapshot, &name)?;
        let draft = Draft::new(value.clone(), item.tree.take());
        let (origin, before) = (origin.clone(), Before::of(snapshot));
        let mut put = Put { namespace, name, key, origin, draft, before };
        workers.before_put(&mut put, value_bytes_max)?;
        *value = put.draft.into_value();
        Ok(())
    }

    fn task(&self, write: Write, setup: Arc<Setup>) -> Task {
        let Write { items, origin, reply, room } = write;
        let ops: Vec<Op> = items.into_iter().map(|item| item.op).collect();
        let now = origin.now;
        let done: Reply = if setup.chain.points().after {
            let (after, namespace, told) =
                (self.after.clone(), self.namespace.clone(), ops.clone());
            Box::new(move |outcome| {
                let done =
                    outcome.as_ref().ok().map(|w| after::done(&namespace, &told, w, &origin));
                reply(outcome);
                after.push(done.unwrap_or_default(), &setup, room);
            })
        } else if room.is_some() {
            Box::new(move |outcome| {
                reply(outcome);
                drop(room);
            })
        } else {
            reply
        };
        Task::Local { ops, now, done }
    }
}

/// The key that a name belongs to, for hooks that look at keys.
fn key_of(snapshot: &Arc<Snapshot>, name: &Name) -> Result<Key, Refusal> {
    match name {
        Name::Key(key) => Ok(key.clone()),
        Name::Address(_) => {
            let key = snapshot.key_of(name)?;
            key.ok_or_else(|| Refusal::not_found(&name.to_string()).hint(ADDRESS_HINT))
        }
    }
}

/// Writes that name an old value become writes with that value, so that hooks see it. The value of a
/// version never changes, so nothing can come between.
fn with_value(snapshot: &Arc<Snapshot>, op: &mut Op) -> Result<(), Refusal> {
    *op = match op {
        Op::Revert { name, version, condition } => {
            let value = snapshot.value_of(name, version)?;
            Op::Put { name: name.clone(), value, condition: *condition }
        }
        Op::Restore { key, version } => {
            let newest = snapshot.restorable(key)?;
            let name = Name::Key(key.clone());
            let value = snapshot.value_of(&name, version.as_ref().unwrap_or(&newest))?;
            Op::Put { name, value, condition: Condition::Absent }
        }
        Op::Resolve { key, with: Resolution::Side(side), conflict } => {
            let value = snapshot.get(&Name::Address(*side))?.value;
            let with = Resolution::Value(value);
            Op::Resolve { key: key.clone(), with, conflict: *conflict }
        }
        Op::Put { .. } | Op::Delete { .. } | Op::Resolve { .. } => return Ok(()),
    };
    Ok(())
}

/// Refuses a value over the namespace's limit before anything else is done with it.
pub fn check_client_value(value: &Value, limit: usize) -> Result<(), Refusal> {
    value.check_size(limit, Stage::Client)
}
