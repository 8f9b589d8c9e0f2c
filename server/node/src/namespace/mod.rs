//! One namespace of this node: its store, its hooks, what it tells the world, and where it stands.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use keepboth_core::ids::{ConflictId, NodeId, StoreId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::Quarantined;
use keepboth_core::policy::Policy;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_store::{OpenError, Rest, Store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use crate::meters::PluginMetrics;

/// What the configuration says of a namespace: bounds and plugins.
pub mod setup;
/// How many writes a namespace takes in a second.
mod rate;
/// What scripts said of late.
pub mod script_log;
/// What becomes of the writes that after-hooks ask for.
mod asked;
/// After-hooks.
pub mod after;
/// Conflict hooks.
pub mod conflicts;
/// A write from its request to its commit: the one way in.
pub mod door;
mod judged;
mod look;
/// What watchers and peers are told: the one way out.
pub mod news;
/// Up to where each member has everything.
pub mod marks;
/// Peers that are slow, stuck or silent.
pub mod stall;
/// What a plugin may use while it runs.
pub mod host;
/// The life of plugins.
mod plugins;
/// Versions that are hidden, looked at again.
pub mod quarantine;
/// Objects that break the schemas that hold now.
pub mod unfit;
/// What was found of them.
mod found;
/// Whether the store is empty, not synced or synced, and why.
pub mod state;
/// The namespaces that were made by command, and the folder of removed ones.
mod made;
/// All namespaces of this node, as they are at this moment.
pub mod set;
/// Namespaces come and go.
pub mod change;

pub use change::Changes;
pub use made::database;
use marks::Marks;
use news::News;
pub use plugins::NotStarted;
pub use set::{Namespaces, OpenSpaceError, Spaces};
pub use setup::{Bounds, Current, MadeBy, Setup, policy};
use state::PeerStanding;

/// Commits that a watcher or a peer may lag behind before it must catch up from the store.
const NEWS_MAX: usize = 128;
/// Conflicts of which the node remembers that a peer announced them.
const HEARD_MAX: usize = 10_000;

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
    /// What its scripts said of late.
    pub script_log: Arc<script_log::ScriptLog>,
    setup: Current,
    door: door::Door,
    after: Arc<after::After>,
    conflicts: conflicts::Conflicts,
    news: broadcast::Sender<Arc<News>>,
    peers: Mutex<BTreeMap<NodeId, PeerStanding>>,
    heard: Mutex<Heard>,
    write_units: Arc<Semaphore>,
    rate: Mutex<rate::Bucket>,
    moved: Arc<Notify>,
    /// The state that everybody was told of.
    last: Mutex<Option<state::Level>>,
    peers_moved: Notify,
    marks: Marks,
    /// How often each state was entered.
    entered: [AtomicU64; 3],
    /// Set when the namespace is removed from this node.
    gone: CancellationToken,
    /// Told when the setup has become another.
    setup_changed: Notify,
    /// The quarantine is looked through by one at a time.
    retrying: tokio::sync::Mutex<()>,
    /// Objects that break the schemas that hold now.
    unfit: unfit::Unfit,
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
        setup: Setup,
        node: NodeId,
        metrics: PluginMetrics,
        effects: mpsc::Sender<(Namespace, door::Write)>,
    ) -> Result<Arc<Space>, OpenError> {
        let (news, _) = broadcast::channel(NEWS_MAX);
        let moved = Arc::new(Notify::new());
        let options = setup.bounds.options(node);
        let unfit = unfit::Unfit::default();
        setup.hold_against(&unfit);
        let setup: Current = Arc::new(ArcSwap::from_pointee(setup));
        let conflicts = conflicts::Conflicts::new(&setup);
        let (after, after_thread) = after::After::new(&name, &setup, metrics);
        let tell = {
            let (news, moved, conflicts) = (news.clone(), moved.clone(), conflicts.clone());
            // The thread after writes has the store, so the store has no more than a way to it.
            let after = Arc::downgrade(&after);
            move |commit: keepboth_store::Commit| {
                commit.changes.iter().filter_map(|c| c.conflict.as_ref()).for_each(|raised| {
                    if raised.ask_hooks {
                        conflicts.ask(&raised.key);
                    }
                });
                if let Some(after) = after.upgrade() {
                    after.replicated(&commit);
                }
                // Nobody listens: nothing is told, and nothing is lost. Who comes just now looks at the store,
                // which has the commit already.
                if news.receiver_count() > 0 {
                    let _ = news.send(Arc::new(News::commit(commit)));
                }
                moved.notify_one();
            }
        };
        let store = Store::open(file, &name, options, tell)?;
        let script_log = Arc::default();
        after.serve(after_thread, &store, &script_log, effects);
        let kept = store
            .snapshot()
            .agreed()
            .map_err(|e| OpenError::Corrupt { path: file.to_owned(), what: e.to_string() })?;
        let marks = Marks::new(kept);
        let gone = CancellationToken::new();
        let door = door::Door::new(&name, &store, &setup, after.clone(), gone.clone());
        Ok(Arc::new(Space {
            name,
            store,
            script_log,
            setup,
            door,
            after,
            conflicts,
            news,
            peers: Mutex::default(),
            heard: Mutex::default(),
            write_units: Arc::new(Semaphore::new(WRITE_UNITS as usize)),
            rate: Mutex::default(),
            moved,
            last: Mutex::default(),
            peers_moved: Notify::new(),
            marks,
            entered: Default::default(),
            gone,
            setup_changed: Notify::new(),
            retrying: tokio::sync::Mutex::default(),
            unfit,
        }))
    }

    /// Lets hooks merge what was in conflict before: now that they are there.
    fn look_for_conflicts(&self) {
        self.conflicts.ask_all(&self.name, &self.store);
    }

    /// Tells hooks of versions that were hidden.
    pub fn tell_held(&self, held: Vec<Quarantined>) {
        self.after.held(held);
    }

    /// True if a hook wants to hear of versions that are hidden.
    pub fn tells_held(&self) -> bool {
        self.setup().chain.points().quarantine
    }

    /// What the configuration says of it at this moment.
    pub fn setup(&self) -> Guard<Arc<Setup>> {
        self.setup.load()
    }

    /// What this node accepts and keeps here, as hashes to be compared with other nodes.
    pub fn policy(&self) -> Policy {
        let setup = self.setup();
        policy(&setup.bounds, &setup.chain)
    }

    /// What the plugins say of a version that a peer sends.
    pub fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
        self.setup().chain.admit(key, value)
    }

    /// Up to where each member has everything.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Goes over to another setup at once. Writes that are under way keep the one that they met at the
    /// door to their end. Gives the old one.
    pub fn apply(&self, setup: Setup) -> Arc<Setup> {
        self.store.set_options(setup.bounds.options(self.store.options().node));
        let setup = Arc::new(setup);
        let old = self.setup.swap(setup.clone());
        setup.hold_against(&self.unfit);
        self.conflicts.ask_all(&self.name, &self.store);
        self.setup_changed.notify_one();
        old
    }

    /// Takes so many writes of a client into account; refuses them if there were too many of late.
    pub fn take_rate(&self, writes: usize, now: u64) -> Result<(), Refusal> {
        let Some(per_second) = self.setup().bounds.writes_per_second else { return Ok(()) };
        let mut bucket = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = bucket.take(writes, per_second, now);
        taken.map_err(|wait_ms| rate::too_early(&self.name, writes, per_second, wait_ms))
    }

    /// Nobody is let in any more, and watches end.
    pub fn leave(&self) {
        self.gone.cancel();
    }

    /// True once the namespace is removed from this node.
    pub fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Ends when the namespace is removed from this node.
    pub async fn until_gone(&self) {
        self.gone.cancelled().await;
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
    pub async fn write(&self, write: door::Write, lane: u64) -> Option<Rest> {
        if self.is_gone() {
            (write.reply)(Err(removed(&self.name)));
            return None;
        }
        self.door.write(write, lane).await
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.store.id()
    }

    /// Waits until every client's write is answered, and nothing is still on its way through hooks.
    pub async fn settle(&self) {
        let _ = self.write_units.acquire_many(WRITE_UNITS).await;
        self.after.settle().await;
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

/// The refusal of whatever is asked of a namespace that is not here.
pub fn unknown(name: &Namespace) -> Refusal {
    let words = format!("there is no namespace {:?}", name.as_str());
    Refusal::new(Code::UnknownNamespace, words).hint("`status` lists the namespaces of this server")
}

/// The refusal of what was under way when the namespace was removed.
pub fn removed(name: &Namespace) -> Refusal {
    let words = format!("the namespace {:?} was removed from this server", name.as_str());
    Refusal::new(Code::UnknownNamespace, words)
}

/// Starts a thread that ends with the queue it reads.
fn spawn(name: String, run: impl FnOnce() + Send + 'static) {
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(run);
    if let Err(error) = spawned {
        // Its queue is closed then, and what would go there is refused.
        tracing::error!("cannot start the thread {name:?}: {error}");
    }
}
