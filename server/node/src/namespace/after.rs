//! After-hooks: told of every write that was made here and is durable, of every change of state, and of what
//! peers send as far as there is room, on one thread of the namespace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keepboth_core::ids::NodeId;
use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::{Before, Done, Origin, Quarantined, Source, StateChange};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::{Change, Event};
use keepboth_core::write::Condition;
use keepboth_store::{Commit, Op, Resolution, Store, Written};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::asked::Asked;
use super::door::{Item, Write};
use super::script_log::ScriptLog;
use super::{Current, Setup};
use crate::clock;
use crate::hooks::{Chain, Workers};
use crate::meters::PluginMetrics;

/// How often the log says that something was not told, in milliseconds.
const COMPLAIN_EVERY_MS: u64 = 60_000;

/// The way to the after-hooks.
pub struct After {
    queue: mpsc::UnboundedSender<Job>,
    /// The queue's bound: a client's write takes its room at the door, and waits there.
    room: Arc<Semaphore>,
    room_max: u32,
    /// The bound of what peers cause: nobody waits for room here.
    peers_room: Arc<Semaphore>,
    /// When the log last said that something was not told.
    complained: AtomicU64,
    metrics: PluginMetrics,
    name: Namespace,
    setup: Current,
    /// The thread, until it is first needed.
    idle: Mutex<Option<Thread>>,
}

/// The end of the queue that the thread will read.
pub struct Jobs(mpsc::UnboundedReceiver<Job>);

/// Something to tell, and the chain that is told: the one that the write met on its way in.
struct Job {
    what: What,
    setup: Arc<Setup>,
    room: Room,
}

enum What {
    Done(Box<Done>),
    State(StateChange),
    Held(Box<Quarantined>),
}

/// Room in the queue for the writes of one request. What hooks write because of it shares this room
/// instead of waiting for its own: its depth bounds it, and hooks must never wait for other hooks. So
/// room that is given back means that everything a client's write led to is done.
pub type Room = Option<Arc<OwnedSemaphorePermit>>;

impl After {
    /// The queue, and its end that waits for a thread.
    pub fn new(name: &Namespace, setup: &Current, metrics: PluginMetrics) -> (Arc<After>, Jobs) {
        let (queue, jobs) = mpsc::unbounded_channel();
        let room_max = setup.load().bounds.after_queue_max;
        let room_max = u32::try_from(room_max).unwrap_or(u32::MAX).max(1);
        let after = After {
            queue,
            room: Arc::new(Semaphore::new(room_max as usize)),
            room_max,
            peers_room: Arc::new(Semaphore::new(room_max as usize)),
            complained: AtomicU64::new(0),
            metrics,
            name: name.clone(),
            setup: setup.clone(),
            idle: Mutex::default(),
        };
        (Arc::new(after), Jobs(jobs))
    }

    /// The thread is started when a plugin has something to do there. `effects` takes what hooks write.
    pub fn serve(
        &self,
        jobs: Jobs,
        store: &Store,
        script_log: &Arc<ScriptLog>,
        effects: mpsc::Sender<(Namespace, Write)>,
    ) {
        let (name, store, jobs) = (self.name.clone(), store.clone(), jobs.0);
        let thread = Thread { name, jobs, store, script_log: script_log.clone(), effects };
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
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

    /// Tells of what peers sent live, if a plugin wants to hear it. Never waits: what finds no room is not
    /// told.
    pub fn replicated(&self, commit: &Commit) {
        let live = commit.changes.iter().filter_map(|change| Some((change, change.maker?)));
        let mut live = live.filter(|(change, _)| !change.local).peekable();
        if live.peek().is_none() {
            return;
        }
        let setup = self.setup.load_full();
        if !setup.chain.points().after_replicated {
            return;
        }
        for (change, maker) in live {
            let made = change.made.iter().filter(|event| event.version.change != Change::Split);
            for event in made {
                self.offer(&setup, || What::Done(Box::new(replicated(&self.name, event, maker))));
            }
        }
    }

    /// Tells of versions that were hidden, if a plugin wants to hear it. Never waits likewise.
    pub fn held(&self, held: Vec<Quarantined>) {
        let setup = self.setup.load_full();
        if setup.chain.points().quarantine {
            held.into_iter().for_each(|held| self.offer(&setup, || What::Held(Box::new(held))));
        }
    }

    /// Queues what a peer caused, if there is room.
    fn offer(&self, setup: &Arc<Setup>, what: impl FnOnce() -> What) {
        if let Ok(room) = self.peers_room.clone().try_acquire_owned() {
            let (what, setup, room) = (what(), setup.clone(), Some(Arc::new(room)));
            return self.send(Job { what, setup, room });
        }
        self.metrics.untold(&self.name);
        let (now, before) = (clock::steady(), self.complained.load(Ordering::Relaxed));
        if before == 0 || now.saturating_sub(before) >= COMPLAIN_EVERY_MS {
            self.complained.store(now.max(1), Ordering::Relaxed);
            let namespace = self.name.as_str();
            tracing::warn!(
                namespace,
                "hooks are not told of all that peers send: too much waits (limits.after_queue_max); \
                 the metric keepboth_untold_total counts it"
            );
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

/// What the hooks are told of a version of a peer.
fn replicated(namespace: &Namespace, event: &Event, maker: NodeId) -> Done {
    let version = &event.version;
    Done {
        namespace: namespace.clone(),
        name: Name::Key(event.key.clone()),
        key: event.key.clone(),
        version: version.id,
        change: version.change,
        value: event.value.clone(),
        origin: Origin::new(Source::Peer(maker), maker.to_string(), version.timestamp),
        before: Before::nothing(),
    }
}

/// What the thread needs.
struct Thread {
    name: Namespace,
    jobs: mpsc::UnboundedReceiver<Job>,
    store: Store,
    script_log: Arc<ScriptLog>,
    effects: mpsc::Sender<(Namespace, Write)>,
}

impl Thread {
    fn run(mut self) {
        let mut workers = Workers::new(Chain::default());
        while let Some(Job { what, setup, room }) = self.jobs.blocking_recv() {
            workers.follow(&setup.chain);
            match what {
                What::State(change) => workers.state(&change),
                What::Held(held) => workers.quarantine(&held),
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
        for (meters, effect) in workers.after(done) {
            let origin = done.origin.caused_by(Source::Hook, clock::now());
            let asked = Asked {
                meters,
                from: format!("{}/{}", done.namespace, done.key),
                namespace: effect.namespace.clone(),
                name: effect.name.to_string(),
                script_log: self.script_log.clone(),
            };
            if origin.depth > depth_max {
                let words = format!("hooks answered each other {depth_max} deep");
                asked.ended(Err(Refusal::new(Code::HookFailed, words)));
                continue;
            }
            let report = move |outcome: Result<Vec<Written>, Refusal>| asked.ended(outcome);
            let item = Item::of(effect.name, effect.value, Condition::None);
            let room = room.clone();
            let write =
                Write { items: vec![item], origin, reply: Box::new(report), room, alone: false };
            self.effects.blocking_send((effect.namespace, write)).ok()?;
        }
        Some(())
    }
}
