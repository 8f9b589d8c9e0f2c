//! One namespace of this node: its store, its hooks, what it tells the world, and where it stands.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use keepboth_core::ids::{ConflictId, NodeId, StoreId};
use keepboth_core::name::Namespace;
use keepboth_store::{OpenError, Store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, mpsc};

use crate::hooks::Chain;

/// After-hooks.
pub mod after;
/// Conflict hooks.
pub mod conflicts;
/// A write from its request to its commit: the one way in.
pub mod door;
/// What watchers and peers are told: the one way out.
pub mod news;
/// Whether the store is empty, not synced or synced, and why.
pub mod state;

use news::News;
use state::PeerStanding;

/// Commits that a watcher or a peer may lag behind before it must catch up from the store.
const NEWS_MAX: usize = 128;
/// Conflicts of which the node remembers that a peer announced them.
const HEARD_MAX: usize = 10_000;

/// Bounds of a namespace, from the config.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Most bytes of a value.
    pub value_bytes_max: usize,
    /// Threads that run before-hooks.
    pub hook_threads: usize,
    /// Writes that may wait for their turn in the hooks, and in the store.
    pub queue_writes_max: usize,
    /// Writes whose after-hooks have not run yet; further ones wait at the door.
    pub after_queue_max: usize,
    /// How deep hooks may answer each other's writes.
    pub hook_depth_max: u8,
    /// True if peers may have it.
    pub replicate: bool,
}

/// Bytes of clients' writes that may be on their way to the disk, in units of [`WRITE_UNIT`]: 64 MiB.
const WRITE_UNITS: u32 = 65_536;
/// Bytes for which a write takes one unit of room.
const WRITE_UNIT: usize = 1_024;

/// Room for the bytes of a write; given back when it is answered.
pub type ByteRoom = Option<OwnedSemaphorePermit>;

/// A namespace that is open.
pub struct Space {
    /// Its name.
    pub name: Namespace,
    /// Its store.
    pub store: Store,
    /// Its bounds.
    pub bounds: Bounds,
    door: door::Door,
    news: broadcast::Sender<Arc<News>>,
    peers: Mutex<BTreeMap<NodeId, PeerStanding>>,
    heard: Mutex<Heard>,
    write_units: Arc<Semaphore>,
    moved: Arc<Notify>,
}

/// Conflicts that peers announced, the oldest forgotten first.
#[derive(Default)]
struct Heard(VecDeque<ConflictId>);

impl Space {
    /// Opens or creates the namespace's database and starts its threads. `effects` takes what
    /// after-hooks want written.
    pub fn open(
        name: Namespace,
        file: &Path,
        chain: Chain,
        bounds: Bounds,
        effects: mpsc::Sender<(Namespace, door::Write)>,
    ) -> Result<Arc<Space>, OpenError> {
        let (news, _) = broadcast::channel(NEWS_MAX);
        let moved = Arc::new(Notify::new());
        let heard = Mutex::default();
        let (conflicts, asked) = conflicts::queue();
        let options = keepboth_store::Options {
            value_bytes_max: bounds.value_bytes_max,
            queue_tasks_max: bounds.queue_writes_max,
            ..Default::default()
        };
        let tell = {
            let (news, moved) = (news.clone(), moved.clone());
            let asks = chain.points().conflict;
            move |commit: keepboth_store::Commit| {
                if asks {
                    commit.changes.iter().filter_map(|c| c.conflict.as_ref()).for_each(|raised| {
                        if raised.ask_hooks {
                            conflicts.ask(&raised.key);
                        }
                    });
                }
                // Nobody listens: nothing is told, and nothing is lost.
                let _ = news.send(Arc::new(News::commit(commit)));
                moved.notify_one();
            }
        };
        let store = Store::open(file, &name, options, tell)?;
        conflicts::start(&name, &store, &chain, bounds.value_bytes_max, asked);
        let after = after::After::start(&name, &store, &chain, &bounds, effects);
        let door = door::Door::start(&name, &store, &chain, &bounds, after);
        let peers = Mutex::default();
        Ok(Arc::new(Space {
            write_units: Arc::new(Semaphore::new(WRITE_UNITS as usize)),
            name,
            store,
            bounds,
            door,
            news,
            peers,
            heard,
            moved,
        }))
    }

    /// Everything that happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// Waits for room for a write of so many bytes, so that what waits is bounded in bytes too.
    pub async fn byte_room(&self, bytes: usize) -> ByteRoom {
        let units = u32::try_from(bytes / WRITE_UNIT).unwrap_or(WRITE_UNITS);
        let units = (units + 1).min(WRITE_UNITS);
        self.write_units.clone().acquire_many_owned(units).await.ok()
    }

    /// Takes a write; see [`door::Door::write`].
    pub async fn write(&self, write: door::Write, lane: u64) {
        self.door.write(write, lane).await;
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.store.id()
    }

    /// Waits until nothing that was accepted is still on its way through hooks.
    pub async fn settle(&self) {
        self.door.settle().await;
    }

    /// Remembers that a peer announced a conflict, so that this node does not.
    pub fn hear(&self, conflict: ConflictId) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if !heard.0.contains(&conflict) {
            if heard.0.len() == HEARD_MAX {
                heard.0.pop_front();
            }
            heard.0.push_back(conflict);
        }
    }

    /// True if a peer has announced the conflict.
    pub fn heard(&self, conflict: &ConflictId) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).0.contains(conflict)
    }
}

/// Starts a thread that ends with the queue it reads.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(run);
    if let Err(error) = spawned {
        // Its queue is closed then, and what would go there is refused.
        tracing::error!("cannot start the thread {name:?}: {error}");
    }
}
