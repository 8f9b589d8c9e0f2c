//! All namespaces of this node, as they are at this moment. Clients, links and metrics share this one set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;
use keepboth_store::OpenError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Write;
use super::made::{Made, database, set_aside};
use super::{MadeBy, NotStarted, Setup, Space, unknown};
use crate::clock;
use crate::meters::PluginMetrics;

/// Writes of a namespace's after-hooks that wait for their way in.
const EFFECTS_MAX: usize = 256;

/// Namespaces by name.
pub type Spaces = BTreeMap<Namespace, Arc<Space>>;

/// Why a namespace, or the list of them, cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSpaceError {
    /// A folder or file of the set.
    #[error("{what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A plugin of a new namespace, or one that takes the place of another.
    #[error(transparent)]
    Plugin(#[from] NotStarted),
    /// A namespace's database.
    #[error("namespace {namespace}: {error}")]
    Open {
        /// Which.
        namespace: Namespace,
        /// Why.
        error: OpenError,
    },
}

/// The set of namespaces. It changes as a whole: who has taken [`Namespaces::all`] keeps what he saw.
pub struct Namespaces {
    /// This node.
    node: NodeId,
    /// The folder of the databases.
    data: PathBuf,
    /// How long a namespace that is removed may take to finish what is under way.
    pub(super) grace: Duration,
    spaces: ArcSwap<Spaces>,
    changes: watch::Sender<u64>,
    /// What a namespace made by command gets.
    pub(super) by_command: ArcSwap<Setup>,
    /// One change at a time.
    turn: Semaphore,
    pub(super) tasks: TaskTracker,
    /// Ends the tasks of all namespaces.
    stop: CancellationToken,
    lanes: AtomicU64,
    /// What plugins count.
    metrics: PluginMetrics,
}

impl Namespaces {
    /// Opens the wanted namespaces and those that were made by command, which get the setup `by_command`.
    /// Finishes removals that a crash interrupted. Plugins run from [`Namespaces::begin`] on.
    pub fn open(
        node: NodeId,
        data: &Path,
        grace: Duration,
        wanted: Vec<(Namespace, Setup)>,
        by_command: Setup,
        metrics: PluginMetrics,
    ) -> Result<Arc<Namespaces>, OpenSpaceError> {
        let set = Arc::new(Namespaces {
            node,
            data: data.to_owned(),
            grace,
            spaces: ArcSwap::default(),
            changes: watch::Sender::new(0),
            by_command: ArcSwap::from_pointee(by_command.clone()),
            turn: Semaphore::new(1),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            lanes: AtomicU64::new(0),
            metrics,
        });
        let mut made = set.read_made()?;
        for name in std::mem::take(&mut made.removing) {
            set.set_aside(&name)?;
        }
        // What the configuration names now is its own from here on.
        made.namespaces.retain(|name| wanted.iter().all(|(wanted, _)| wanted != name));
        set.write_made(&made)?;
        let by_command = made.namespaces.into_iter().map(|name| (name, by_command.clone()));
        let spaces = wanted.into_iter().chain(by_command).map(|(name, setup)| {
            let space = set.open_one(&name, setup)?;
            Ok((name, space))
        });
        let spaces = spaces.collect::<Result<Spaces, OpenSpaceError>>()?;
        set.spaces.store(Arc::new(spaces));
        Ok(set)
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// A number for somebody whose writes keep their order.
    pub(super) fn next_lane(&self) -> u64 {
        self.lanes.fetch_add(1, Ordering::Relaxed)
    }

    /// The folder of the databases.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// All namespaces as they are now.
    pub fn all(&self) -> Arc<Spaces> {
        self.spaces.load_full()
    }

    /// The namespaces that peers may have, as they are now.
    pub fn shared(&self) -> Arc<Spaces> {
        let spaces = self.spaces.load();
        let shared = spaces.iter().filter(|(_, space)| space.setup().bounds.replicate);
        Arc::new(shared.map(|(name, space)| (name.clone(), space.clone())).collect())
    }

    /// The namespace of this name.
    pub fn get(&self, name: &Namespace) -> Option<Arc<Space>> {
        self.spaces.load().get(name).cloned()
    }

    /// The namespace of this name, or the refusal of whoever asked for it.
    pub fn need(&self, name: &Namespace) -> Result<Arc<Space>, Refusal> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// Tells of every change: a namespace came or went, or its setup became another. The number counts
    /// them. Subscribe first and look then, so that nothing is missed in between.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until nothing that was accepted is still on its way through hooks.
    pub async fn settle(&self) {
        for space in self.all().values() {
            space.settle().await;
        }
    }

    /// Ends all tasks and closes all databases. False if that failed.
    pub async fn close(&self) -> bool {
        self.stop.cancel();
        let spaces = self.all();
        let closed = tokio::task::spawn_blocking(move || {
            spaces.values().for_each(|space| {
                space.write_marks();
                space.store.close();
            });
        });
        let closed = closed.await.is_ok();
        self.tasks.close();
        let _ = tokio::time::timeout(self.grace, self.tasks.wait()).await;
        closed
    }

    /// Waits for the turn to change the set; nobody else changes it while the permit is held.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it, so there is always one.
        self.turn.acquire().await.ok()
    }

    /// Shows another set to everybody.
    pub(super) fn publish(&self, spaces: Spaces) {
        self.spaces.store(Arc::new(spaces));
        self.tell_changed();
    }

    /// Tells everybody that the set, or the setup of a namespace, is another.
    pub(super) fn tell_changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Opens a namespace's database, without showing it to anybody.
    pub(super) fn open_one(
        self: &Arc<Self>,
        name: &Namespace,
        setup: Setup,
    ) -> Result<Arc<Space>, OpenSpaceError> {
        let (effects, wanted) = mpsc::channel(EFFECTS_MAX);
        let (file, metrics) = (database(&self.data, name), self.metrics.clone());
        let opened = Space::open(name.clone(), &file, setup, self.node, metrics, effects);
        let space =
            opened.map_err(|error| OpenSpaceError::Open { namespace: name.clone(), error })?;
        self.tasks.spawn(route_effects(self.clone(), wanted));
        Ok(space)
    }

    /// Starts what runs beside a namespace until it is gone.
    pub(super) fn attend(&self, space: &Arc<Space>) {
        space.look_for_conflicts();
        let (space, stop) = (space.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = space.until_gone() => {}
                () = space.tell_states() => {}
                () = space.tend_quarantine() => {}
            }
        });
    }

    /// The list of those that were made by command.
    pub(super) fn read_made(&self) -> Result<Made, OpenSpaceError> {
        Made::read(&self.data).map_err(self.io("cannot read the list of namespaces in"))
    }

    /// Makes the list durable, if it is another than the one that is there.
    pub(super) fn write_made(&self, made: &Made) -> Result<(), OpenSpaceError> {
        if self.read_made()? == *made {
            return Ok(());
        }
        made.write(&self.data).map_err(self.io("cannot write the list of namespaces in"))
    }

    /// Moves a namespace's closed database away; tells where it is, if there was one.
    pub(super) fn set_aside(&self, name: &Namespace) -> Result<Option<PathBuf>, OpenSpaceError> {
        let moved = set_aside(&self.data, name, clock::now());
        let moved = moved.map_err(self.io("cannot move a removed database in"))?;
        if let Some(file) = &moved {
            let (namespace, file) = (name.as_str(), file.display());
            tracing::warn!(namespace, "the namespace was removed; its database is now {file}");
        }
        Ok(moved)
    }

    fn io(&self, what: &'static str) -> impl Fn(std::io::Error) -> OpenSpaceError + '_ {
        move |error| OpenSpaceError::Io { what, path: self.data.clone(), error }
    }
}

impl Space {
    /// True if it was made by command.
    pub fn is_by_command(&self) -> bool {
        self.setup().made_by == MadeBy::Command
    }
}

/// Takes what after-hooks of one namespace want written to the door of its namespace, as any other write.
/// Each namespace has its own task, so that it waits only for what its own hooks write to.
async fn route_effects(set: Arc<Namespaces>, mut wanted: mpsc::Receiver<(Namespace, Write)>) {
    let lane = set.next_lane();
    loop {
        let wanted = tokio::select! {
            () = set.stop.cancelled() => return,
            wanted = wanted.recv() => wanted,
        };
        let Some((namespace, mut write)) = wanted else { return };
        match set.need(&namespace) {
            Ok(space) => {
                write.origin.now = clock::now();
                space.write(write, lane).await;
            }
            Err(refusal) => (write.reply)(Err(refusal)),
        }
    }
}
