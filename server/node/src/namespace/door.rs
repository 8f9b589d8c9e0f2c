//! The one way in: a write takes room, passes the hooks in their order, and goes to the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use keepboth_core::limits::Stage;
use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::{Before, Delete, Draft, Origin, Put};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Resolution, Rest, Snapshot, Store, Task, Written};
use serde_json::Value as Json;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::after::{self, After, Room};
use super::judged::{self, Asked};
use super::look::Look;
use super::{Current, Setup, removed};
use crate::hooks::{Chain, Workers};

/// How often hooks judge a write whose old value is replaced under them. Each time another write won.
const ROUNDS_MAX: usize = 64;

/// True while a thread of the runtime commits.
static COMMITS_HERE: AtomicBool = AtomicBool::new(false);

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
    /// True if nothing else of its writer is under way: then nobody loses if this thread commits it.
    pub alone: bool,
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

    /// Takes a write. Waits for room where a queue is full; the reply comes later, from elsewhere, or it was given
    /// and there is a rest to be done after it.
    /// Writes that the same `lane` (a connection) gives one after another keep their order.
    pub async fn write(&self, mut write: Write, lane: u64) -> Option<Rest> {
        let setup = self.setup.load_full();
        if setup.chain.points().after && write.room.is_none() {
            write.room = self.passage.after.room(write.items.len()).await;
        }
        let Some(threads) = self.threads(&setup) else {
            let (ops, alone) = (judged::ops_of(std::mem::take(&mut write.items)), write.alone);
            let task = self.passage.task(ops, write, setup, None);
            return self.passage.give(task, alone).await;
        };
        let thread = &threads[lane as usize % threads.len()];
        if let Err(mpsc::error::SendError(entered)) = thread.send(Entered { write, setup }).await {
            (entered.write.reply)(Err(self.passage.closed()));
        }
        None
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
        write.alone &= writes.is_empty();
        passage.pass(&mut workers, write, &setup);
    }
}

impl Passage {
    fn closed(&self) -> Refusal {
        if self.gone.is_cancelled() {
            return removed(&self.namespace);
        }
        let closed =
            || Refusal::new(Code::ShuttingDown, "the namespace is closed; nothing was written");
        self.store.gave_up().unwrap_or_else(closed)
    }

    /// Lets the hooks judge a write and gives it to the store. One that was judged by an old value is
    /// waited for, so that the next of its connection is judged by what it made; if that value was
    /// replaced meanwhile, the hooks judge anew.
    fn pass(&self, workers: &mut Workers, mut write: Write, setup: &Arc<Setup>) {
        let mut settled = false;
        for _ in 0..ROUNDS_MAX {
            let (snapshot, mut asked) = (self.store.snapshot(), Asked::default());
            let limit = setup.bounds.value_bytes_max;
            if let Err(refusal) = self.ask(workers, &mut write, &snapshot, limit, &mut asked) {
                if asked.looked && !settled {
                    settled = true;
                    self.settle();
                    if !Arc::ptr_eq(&snapshot, &self.store.snapshot()) {
                        continue;
                    }
                }
                if refusal.code == Code::HookFailed {
                    tracing::warn!(namespace = self.namespace.as_str(), "{refusal}");
                }
                return (write.reply)(Err(refusal));
            }
            let alone = write.alone;
            if !asked.guarded {
                return self.submit(self.task(asked.ops, write, setup.clone(), None), alone);
            }
            let (back, overtaken) = oneshot::channel();
            self.submit(self.task(asked.ops, write, setup.clone(), Some(back)), alone);
            let Ok(again) = overtaken.blocking_recv() else { return };
            write = again;
        }
        let words = format!(
            "the value changed {ROUNDS_MAX} times while a rule looked at it; nothing was written"
        );
        let hint = "send it again; a batch names an object either by its key or by its address";
        (write.reply)(Err(Refusal::new(Code::Overloaded, words).hint(hint)));
    }

    /// Gives the store a task from a task of the server. One that is alone is committed here if the store is
    /// idle, which spares waking two threads; at most one at a time, so that the others of the runtime's
    /// threads go on.
    async fn give(&self, task: Task, alone: bool) -> Option<Rest> {
        let here = alone
            && self.store.is_idle()
            && Handle::current().metrics().num_workers() > 1
            && !COMMITS_HERE.swap(true, Ordering::SeqCst);
        let task = if here { self.store.commit_here(task) } else { Err(task) };
        if here {
            COMMITS_HERE.store(false, Ordering::SeqCst);
        }
        match task {
            Ok(rest) => return Some(rest),
            Err(task) => {
                if let Err(task) = self.store.submit(task).await {
                    task.refuse(self.closed());
                }
            }
        }
        None
    }

    /// As `give`, from a thread of the hooks.
    fn submit(&self, task: Task, alone: bool) {
        let task = if alone { self.store.commit_here(task).map(drop) } else { Err(task) };
        if let Err(task) = task
            && let Err(task) = self.store.submit_blocking(task)
        {
            task.refuse(self.closed());
        }
    }

    /// Waits for what is on its way to the store.
    fn settle(&self) {
        let (sender, settled) = oneshot::channel();
        let done: Reply = Box::new(move |_| drop(sender));
        self.submit(Task::Local { ops: Vec::new(), now: 0, done }, false);
        // Nothing is ever sent: it ends when the store has come so far.
        let _: Result<(), _> = settled.blocking_recv();
    }

    /// Lets the hooks see every item; a refusal of one refuses all.
    fn ask(
        &self,
        workers: &mut Workers,
        write: &mut Write,
        snapshot: &Arc<Snapshot>,
        value_bytes_max: usize,
        asked: &mut Asked,
    ) -> Result<(), Refusal> {
        // Before-hooks were there once and are not any more: nothing is to be read for them, and nobody
        // judges anew.
        if !workers.look_at_writes() {
            asked.ops = judged::ops_of(std::mem::take(&mut write.items));
            return Ok(());
        }
        let several = write.items.len() > 1;
        let own = write.items.iter().any(|item| judged::is_conditional(&item.op));
        let mut made = HashMap::new();
        for (number, item) in write.items.iter_mut().enumerate() {
            let before = if several { made.get(&judged::name_of(&item.op)).cloned() } else { None };
            let look = Arc::new(Look::new(snapshot.clone(), before));
            let outcome = self.ask_item(workers, item, &look, &write.origin, value_bytes_max);
            asked.looked |= look.seen() != Condition::None;
            let op = outcome.map_err(|r| if several { r.in_batch(number) } else { r })?;
            if several {
                made.insert(judged::name_of(&op), judged::value_of(&op));
            }
            asked.add(op, look.seen());
        }
        // A mismatch may then be of a condition that was asked for, which is the writer's to know.
        asked.guarded &= !own;
        Ok(())
    }

    fn ask_item(
        &self,
        workers: &mut Workers,
        item: &mut Item,
        look: &Arc<Look>,
        origin: &Origin,
        value_bytes_max: usize,
    ) -> Result<Op, Refusal> {
        let (namespace, origin) = (self.namespace.clone(), origin.clone());
        let before = Before::of(look.clone());
        let mut op = judged::with_value(look.snapshot(), &item.op)?;
        let (name, value) = match &mut op {
            Op::Delete { name, .. } => {
                let (name, key) = (name.clone(), judged::key_of(look.snapshot(), name)?);
                workers.before_delete(&Delete { namespace, name, key, origin, before })?;
                return Ok(op);
            }
            Op::Put { name, value, .. } => (name.clone(), value),
            Op::Resolve { key, with: Resolution::Value(value), .. } => {
                (Name::Key(key.clone()), value)
            }
            Op::Resolve { .. } | Op::Revert { .. } | Op::Restore { .. } => return Ok(op),
        };
        let key = judged::key_of(look.snapshot(), &name)?;
        let draft = Draft::new(value.clone(), item.tree.take());
        let mut put = Put { namespace, name, key, origin, draft, before };
        workers.before_put(&mut put, value_bytes_max)?;
        *value = put.draft.into_value();
        Ok(op)
    }

    /// The store's task of a write. With `back` the write is given back if a condition does not hold;
    /// otherwise `back` is dropped when it has ended.
    fn task(
        &self,
        ops: Vec<Op>,
        write: Write,
        setup: Arc<Setup>,
        back: Option<oneshot::Sender<Write>>,
    ) -> Task {
        let now = write.origin.now;
        let after = setup.chain.points().after;
        if !after && write.room.is_none() && back.is_none() {
            return Task::Local { ops, now, done: write.reply };
        }
        let told = after.then(|| (self.after.clone(), self.namespace.clone(), ops.clone()));
        let done: Reply = Box::new(move |outcome| {
            let overtaken = outcome.as_ref().is_err_and(|r| r.code == Code::VersionMismatch);
            if overtaken && let Some(back) = back {
                // The thread of the hooks waits for it.
                let _ = back.send(write);
                return;
            }
            let Write { origin, reply, room, .. } = write;
            let done = told.as_ref().zip(outcome.as_ref().ok());
            let done =
                done.map(|((_, namespace, told), w)| after::done(namespace, told, w, &origin));
            reply(outcome);
            if let Some((after, ..)) = told {
                after.push(done.unwrap_or_default(), &setup, room);
            }
            // Only now may the next one be answered.
            drop(back);
        });
        Task::Local { ops, now, done }
    }
}

/// Refuses a value over the namespace's limit before anything else is done with it.
pub fn check_client_value(value: &Value, limit: usize) -> Result<(), Refusal> {
    value.check_size(limit, Stage::Client)
}
