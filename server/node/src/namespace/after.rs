//! After-hooks: told of every write that was made here and is durable, on one thread of the namespace.

use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Done, Origin};
use keepboth_core::version::Change;
use keepboth_store::{Op, Resolution, Store, Written};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Bounds;
use super::door::{Item, Write};
use crate::hooks::{Chain, Workers};

/// The way to the after-hooks. Clones share the queue and its bound.
#[derive(Clone)]
pub struct After {
    queue: mpsc::UnboundedSender<(Done, Room)>,
    /// The queue's bound: a client's write takes its room at the door, and waits there.
    room: Arc<Semaphore>,
    room_max: u32,
}

/// Room in the queue for the writes of one request. What hooks write because of it shares this room
/// instead of waiting for its own: its depth bounds it, and hooks must never wait for other hooks. So
/// room that is given back means that everything a client's write led to is done.
pub type Room = Option<Arc<OwnedSemaphorePermit>>;

impl After {
    /// Starts the thread, if a plugin has something to do there. `effects` takes what hooks write.
    pub fn start(
        name: &Namespace,
        store: &Store,
        chain: &Chain,
        bounds: &Bounds,
        effects: mpsc::Sender<(Namespace, Write)>,
    ) -> Option<After> {
        if !chain.points().after {
            return None;
        }
        let (queue, jobs) = mpsc::unbounded_channel();
        let room_max = u32::try_from(bounds.after_queue_max).unwrap_or(u32::MAX).max(1);
        let (chain, depth_max, store) = (chain.clone(), bounds.hook_depth_max, store.clone());
        super::spawn(format!("after {name}"), move || {
            run(jobs, &store, chain, depth_max, &effects)
        });
        Some(After { queue, room: Arc::new(Semaphore::new(room_max as usize)), room_max })
    }

    /// Waits for room for so many writes.
    pub async fn room(&self, writes: usize) -> Room {
        let writes = u32::try_from(writes).unwrap_or(u32::MAX).min(self.room_max);
        self.room.clone().acquire_many_owned(writes).await.ok().map(Arc::new)
    }

    /// Queues the hooks of writes that are durable.
    pub fn push(&self, done: Vec<Done>, room: Room) {
        for done in done {
            // The thread ends only after the last sender is gone, so this arrives.
            let _ = self.queue.send((done, room.clone()));
        }
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
    };
    ops.iter().zip(written).map(done).collect()
}

fn run(
    mut jobs: mpsc::UnboundedReceiver<(Done, Room)>,
    store: &Store,
    chain: Chain,
    depth_max: u8,
    effects: &mpsc::Sender<(Namespace, Write)>,
) {
    let mut workers = Workers::new(chain);
    while let Some((mut done, room)) = jobs.blocking_recv() {
        if done.value.is_none() && done.change == Change::Put {
            match store.snapshot().value_of(&done.name, &done.version) {
                Ok(value) => done.value = Some(value),
                Err(refusal) => {
                    let (namespace, key) = (done.namespace.as_str(), done.key.as_str());
                    tracing::warn!(namespace, key, "after hooks are not told: {refusal}");
                    continue;
                }
            }
        }
        for effect in workers.after(&done) {
            let depth = done.origin.depth + 1;
            let target = format!("{}/{}", effect.namespace, effect.name);
            if depth > depth_max {
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
            let origin = Origin { depth, ..done.origin.clone() };
            let item = Item::of(effect.name, effect.value);
            let room = room.clone();
            let write = Write { items: vec![item], origin, reply: Box::new(report), room };
            if effects.blocking_send((effect.namespace, write)).is_err() {
                return;
            }
        }
    }
}
