//! After-hooks: told of every write that was made here and is durable, and of every change of state, on
//! one thread of the namespace.

use std::sync::{Arc, Mutex, PoisonError};

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Before, Done, Origin, Source, StateChange};
use keepboth_core::version::Change;
use keepboth_store::{Op, Resolution, Store, Written};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::door::{Item, Write};
use super::{Current, Setup};
use crate::clock;
use crate::hooks::{Chain, Workers};

/// The way to the after-hooks. Clones share the queue and its bound.
#[derive(Clone)]
pub struct After {
    queue: mpsc::UnboundedSender<Job>,
    /// The queue's bound: a client's write takes its room at the door, and waits there.
    room: Arc<Semaphore>,
    room_max: u32,
    setup: Current,
    /// The thread, until it is first needed.
    idle: Arc<Mutex<Option<Thread>>>,
}

/// Something to tell, and the chain that is told: the one that the write met on its way in.
struct Job {
    what: What,
    setup: Arc<Setup>,
    room: Room,
}

enum What {
    Done(Box<Done>),
    State(StateChange),
}

/// Room in the queue for the writes of one request. What hooks write because of it shares this room
/// instead of waiting for its own: its depth bounds it, and hooks must never wait for other hooks. So
/// room that is given back means that everything a client's write led to is done.
pub type Room = Option<Arc<OwnedSemaphorePermit>>;

impl After {
    /// The thread is started when a plugin has something to do there. `effects` takes what hooks write.
    pub fn new(
        name: &Namespace,
        store: &Store,
        setup: &Current,
        effects: mpsc::Sender<(Namespace, Write)>,
    ) -> After {
        let (queue, jobs) = mpsc::unbounded_channel();
        let room_max = setup.load().bounds.after_queue_max;
        let room_max = u32::try_from(room_max).unwrap_or(u32::MAX).max(1);
        let thread = Thread { name: name.clone(), jobs, store: store.clone(), effects };
        After {
            queue,
            room: Arc::new(Semaphore::new(room_max as usize)),
            room_max,
            setup: setup.clone(),
            idle: Arc::new(Mutex::new(Some(thread))),
        }
    }

    /// Starts the thread, if that was not done.
    fn start(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = idle {
            super::spawn(format!("after {}", thread.name), move || thread.run());
        }
    }

    /// Waits for room for so many writes.
    pub async fn room(&self, writes: usize) -> Room {
        let writes = u32::try_from(writes).unwrap_or(u32::MAX).min(self.room_max);
        self.room.clone().acquire_many_owned(writes).await.ok().map(Arc::new)
    }

    /// Queues the hooks of writes that are durable: those of the setup that the writes met at the door.
    pub fn push(&self, done: Vec<Done>, setup: &Arc<Setup>, room: Room) {
        for done in done {
            let (what, setup) = (What::Done(Box::new(done)), setup.clone());
            self.send(Job { what, setup, room: room.clone() });
        }
    }

    /// Tells of a change of state, if a plugin wants to hear it. Never waits: a change that finds no room
    /// is not told, and the log says so.
    pub fn tell(&self, change: StateChange) {
        let setup = self.setup.load_full();
        if !setup.chain.points().state {
            return;
        }
        match self.room.clone().try_acquire_owned() {
            Ok(room) => {
                let (what, room) = (What::State(change), Some(Arc::new(room)));
                self.send(Job { what, setup, room });
            }
            Err(_) => {
                let namespace = change.namespace.as_str();
                tracing::warn!(namespace, "state hooks are not told: too many after-hooks wait");
            }
        }
    }

    fn send(&self, job: Job) {
        self.start();
        // The thread ends only after the last sender is gone, so this arrives.
        let _ = self.queue.send(job);
    }

    /// Waits until the hooks of all clients' writes have run, and what they wrote is durable.
    pub async fn settle(&self) {
        let _ = self.room.acquire_many(self.room_max).await;
    }
}

/// What the hooks are told of each write of a request. The value of a version that was reverted to or
/// restored is read when its turn comes.
pub fn done(namespace: &Namespace, ops: &[Op], written: &[Written], origin: &Origin) -> Vec<Done> {
    let done = |(op, written): (&Op, &Written)| Done {
        namespace: namespace.clone(),
        name: written.name.clone(),
        key: written.key.clone(),
        version: written.version,
        change: written.change,
        value: match op {
            Op::Put { value, .. } => Some(value.clone()),
            Op::Resolve { with: Resolution::Value(value), .. } => Some(value.clone()),
            _ => None,
        },
        origin: origin.clone(),
        before: Before::nothing(),
    };
    ops.iter().zip(written).map(done).collect()
}

/// What the thread needs.
struct Thread {
    name: Namespace,
    jobs: mpsc::UnboundedReceiver<Job>,
    store: Store,
    effects: mpsc::Sender<(Namespace, Write)>,
}

impl Thread {
    fn run(mut self) {
        let mut workers = Workers::new(Chain::default());
        while let Some(Job { what, setup, room }) = self.jobs.blocking_recv() {
            workers.follow(&setup.chain);
            match what {
                What::State(change) => workers.state(&change),
                What::Done(done) => {
                    let Some(mut done) = self.whole(*done) else { continue };
                    done.before = Before::of(self.store.snapshot());
                    if self.tell(&mut workers, &done, &setup, &room).is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// With the value that a put made; None if it cannot be read any more.
    fn whole(&self, mut done: Done) -> Option<Done> {
        if done.value.is_some() || done.change != Change::Put {
            return Some(done);
        }
        match self.store.snapshot().value_of(&done.name, &done.version) {
            Ok(value) => {
                done.value = Some(value);
                Some(done)
            }
            Err(refusal) => {
                let (namespace, key) = (done.namespace.as_str(), done.key.as_str());
                tracing::warn!(namespace, key, "after hooks are not told: {refusal}");
                None
            }
        }
    }

    /// Tells the hooks and passes on what they want written. None if nobody takes that any more.
    fn tell(&self, workers: &mut Workers, done: &Done, setup: &Setup, room: &Room) -> Option<()> {
        let depth_max = setup.bounds.hook_depth_max;
        for effect in workers.after(done) {
            let origin = done.origin.caused_by(Source::Hook, clock::now());
            let target = format!("{}/{}", effect.namespace, effect.name);
            if origin.depth > depth_max {
                let from = format!("{}/{}", done.namespace, done.key);
                tracing::warn!(
                    "hook of {from} may not write {target}: hooks answered each other {depth_max} deep"
                );
                continue;
            }
            let report = move |outcome: Result<Vec<Written>, keepboth_core::refusal::Refusal>| {
                if let Err(refusal) = outcome {
                    tracing::warn!("a hook's write to {target} was refused: {refusal}");
                }
            };
            let item = Item::of(effect.name, effect.value);
            let room = room.clone();
            let write = Write { items: vec![item], origin, reply: Box::new(report), room };
            self.effects.blocking_send((effect.namespace, write)).ok()?;
        }
        Some(())
    }
}
