//! What a plugin may use while it runs: the server seen from its threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use keepboth_core::ids::{NodeId, StoreId, VersionId};
use keepboth_core::limits::figure;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Changed, Changes, Earlier, Effect, Feed, Host, Level, Listed, LogLine, Meter, Now, Origin,
    Page, Table,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::{KeyState, OpenError, Shelf, Snapshot, Written};
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::door::{Item, Write};
use super::set::Namespaces;
use super::{Space, removed};
use crate::clock;
use crate::hooks::life::in_hook;
use crate::meters::Meters;

/// Most objects or changes in one answer.
const ITEMS_MAX: usize = 1_000;
/// Bytes of values after which a page ends.
const PAGE_BYTES: usize = 1 << 20;
/// The longest wait for a change.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether another plugin has let go of the table.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The file of a plugin's table, in its folder.
const TABLE: &str = "table.redb";
/// The folder of the folders of plugins, in the data folder.
const FOLDER: &str = "plugins";
/// The folder of plugins of the server, which no namespace can have.
const SERVER: &str = "@server";

/// The folder of a plugin of the server as a whole.
pub fn server_folder(data: &Path, plugin: &str) -> PathBuf {
    data.join(FOLDER).join(SERVER).join(plugin)
}

/// The host of one plugin.
pub struct PluginHost {
    set: Weak<Namespaces>,
    /// The namespace it is bound to: it may not be in the set yet when the plugin starts.
    own: Option<(Namespace, Weak<Space>)>,
    node: NodeId,
    folder: PathBuf,
    lane: u64,
    runtime: Handle,
    meters: Arc<Meters>,
    /// Set when the plugin is drained.
    over: CancellationToken,
}

impl PluginHost {
    /// The host of the plugin of this name, in a namespace or of the server. Called within the runtime.
    pub fn new(
        set: &Arc<Namespaces>,
        space: Option<&Arc<Space>>,
        plugin: &str,
        meters: &Arc<Meters>,
        over: &CancellationToken,
    ) -> PluginHost {
        let place = space.map_or(SERVER, |space| space.name.as_str());
        PluginHost {
            set: Arc::downgrade(set),
            own: space.map(|space| (space.name.clone(), Arc::downgrade(space))),
            node: set.node(),
            folder: set.data().join(FOLDER).join(place).join(plugin),
            lane: set.next_lane(),
            runtime: Handle::current(),
            meters: meters.clone(),
            over: over.clone(),
        }
    }

    fn set(&self) -> Result<Arc<Namespaces>, Refusal> {
        self.set.upgrade().ok_or_else(stopped)
    }

    fn space(&self, name: &Namespace) -> Result<Arc<Space>, Refusal> {
        let own = self.own.as_ref().filter(|(own, _)| own == name);
        match own.and_then(|(_, space)| space.upgrade()).filter(|space| !space.is_gone()) {
            Some(space) => Ok(space),
            None => self.set()?.need(name),
        }
    }

    fn snapshot(&self, name: &Namespace) -> Result<Arc<Snapshot>, Refusal> {
        Ok(self.space(name)?.store.snapshot())
    }

    /// Gives a write to the door.
    async fn enter(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<Entered, Refusal> {
        let space = self.space(&effect.namespace)?;
        let most = space.setup().bounds.hook_depth_max;
        if origin.depth > most {
            let words = format!(
                "hooks answered each other {most} deep, so {}/{} is not written",
                effect.namespace, effect.name
            );
            return Err(Refusal::new(Code::HookFailed, words).hint("limits.hook_depth_max"));
        }
        let (reply, entered) = oneshot::channel();
        let reply = Box::new(move |outcome| {
            // Whoever asked waits for it.
            let _ = reply.send(outcome);
        });
        let items = vec![Item::of(effect.name, effect.value, condition)];
        space.write(Write { items, origin, reply, room: None, alone: false }, self.lane).await;
        Ok(entered)
    }

    /// Who waits in a hook waits for himself.
    fn may_wait(&self, what: &str) -> Result<(), Refusal> {
        if !in_hook() {
            return Ok(());
        }
        let words = format!("a hook may not {what}: it would wait for what waits for it");
        Err(Refusal::new(Code::HookFailed, words)
            .hint("ask for writes by the list that after gets"))
    }
}

/// A write that is on its way; what becomes of it comes here.
type Entered = oneshot::Receiver<Result<Vec<Written>, Refusal>>;

/// The version that a write made.
async fn done(entered: Result<Entered, Refusal>) -> Result<VersionId, Refusal> {
    let lost = || Refusal::new(Code::StoreFailed, "whether it was written is unknown");
    let written = entered?.await.unwrap_or_else(|_| Err(lost()))?;
    written.last().map(|written| written.version).ok_or_else(lost)
}

fn stopped() -> Refusal {
    Refusal::new(Code::ShuttingDown, "the server has stopped")
}

impl Host for PluginHost {
    fn namespace(&self) -> Option<&Namespace> {
        self.own.as_ref().map(|(name, _)| name)
    }

    fn node(&self) -> NodeId {
        self.node
    }

    fn now(&self) -> u64 {
        clock::now()
    }

    fn namespaces(&self) -> Vec<Namespace> {
        self.set.upgrade().map(|set| set.all().keys().cloned().collect()).unwrap_or_default()
    }

    fn state(&self, namespace: &Namespace) -> Result<Level, Refusal> {
        Ok(self.space(namespace)?.state().level)
    }

    fn is_elected(&self, namespace: &Namespace) -> Result<bool, Refusal> {
        let peers = self.space(namespace)?.peers();
        Ok(peers.keys().next().is_none_or(|smallest| self.node < *smallest))
    }

    fn folder(&self) -> Result<PathBuf, Refusal> {
        let made = crate::atomic::folder(&self.folder);
        made.map(|()| self.folder.clone()).map_err(|e| {
            let words = format!("cannot make the folder {}: {e}", self.folder.display());
            Refusal::new(Code::StoreFailed, words)
        })
    }

    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        self.may_wait("open a table")?;
        let file = self.folder()?.join(TABLE);
        loop {
            match Shelf::open(&file) {
                Ok(shelf) => return Ok(Arc::new(shelf)),
                Err(OpenError::Locked { .. }) => self.runtime.block_on(async {
                    tokio::select! {
                        biased;
                        () = self.over.cancelled() => Err(stopped()),
                        () = sleep(LOOK_EVERY) => Ok(()),
                    }
                })?,
                Err(error) => return Err(Refusal::new(Code::StoreFailed, error.to_string())),
            }
        }
    }

    fn get(&self, namespace: &Namespace, name: &Name) -> Result<Option<Value>, Refusal> {
        self.snapshot(namespace)?.value(name)
    }

    fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let limit = limit.clamp(1, ITEMS_MAX);
        let page = self.snapshot(namespace)?.list(prefix, after, limit, PAGE_BYTES, true)?;
        let items = page.items.into_iter().filter_map(|item| {
            let (version, timestamp) = (item.version, item.timestamp);
            Some(Listed { name: item.name, key: item.key, version, timestamp, value: item.value? })
        });
        Ok(Page { items: items.collect(), next: page.next })
    }

    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<VersionId, Refusal> {
        self.may_wait("write")?;
        self.runtime.block_on(async { done(self.enter(effect, condition, origin).await).await })
    }

    fn write_each(
        &self,
        writes: Vec<(Effect, Condition)>,
        origin: &Origin,
    ) -> Vec<Result<VersionId, Refusal>> {
        if let Err(refusal) = self.may_wait("write") {
            return writes.iter().map(|_| Err(refusal.clone())).collect();
        }
        self.runtime.block_on(async {
            let (mut entered, mut outcomes) = (Vec::new(), Vec::new());
            for (effect, condition) in writes {
                entered.push(self.enter(effect, condition, origin.clone()).await);
            }
            for entered in entered {
                outcomes.push(done(entered).await);
            }
            outcomes
        })
    }

    fn feed(&self, namespace: &Namespace) -> Result<Feed, Refusal> {
        let store = &self.space(namespace)?.store;
        let last = store.counts().last_sequence;
        Ok(Feed { store: store.id(), epoch: store.epoch(), last })
    }

    fn changes(&self, namespace: &Namespace, after: u64, limit: usize) -> Result<Changes, Refusal> {
        let space = self.space(namespace)?;
        let snapshot = space.store.snapshot();
        let (last, forgotten) = (snapshot.counts().last_sequence, space.store.forgotten_high());
        let what = match after {
            _ if after > last => "ahead of the store",
            1.. if after < forgotten => "older than deletes that were forgotten since",
            _ => "",
        };
        if !what.is_empty() {
            let (after, last) = (figure(after as usize), figure(last as usize));
            let words = format!("{after} is {what}, which is at {last}");
            return Err(Refusal::new(Code::BadCursor, words).hint("begin anew with 0"));
        }
        let (states, next) = snapshot.changes(after, limit.clamp(1, ITEMS_MAX))?;
        let store = space.store.id();
        let items = states.into_iter().map(|state| changed(&snapshot, store, state));
        Ok(Changes { items: items.collect::<Result<_, _>>()?, next })
    }

    fn shown(&self, namespace: &Namespace, key: &Key) -> Result<Option<Changed>, Refusal> {
        let space = self.space(namespace)?;
        let snapshot = space.store.snapshot();
        let state = snapshot.state(key)?;
        state.map(|state| changed(&snapshot, space.store.id(), state)).transpose()
    }

    fn wait_changed(
        &self,
        namespace: &Namespace,
        after: u64,
        within: Duration,
    ) -> Result<u64, Refusal> {
        self.may_wait("wait for changes")?;
        let space = self.space(namespace)?;
        let last = || space.store.counts().last_sequence;
        let changed = async {
            // Whoever listens first and looks then misses nothing.
            let mut news = space.listen();
            while last() <= after {
                match news.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(stopped()),
                }
            }
            Ok(())
        };
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.over.cancelled() => Err(stopped()),
                () = space.until_gone() => Err(removed(&space.name)),
                outcome = timeout(within.min(WAIT_MAX), changed) => outcome.unwrap_or(Ok(())),
            }
        })?;
        Ok(last())
    }

    fn spawn(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        spawned.map(drop).map_err(|e| format!("cannot start the thread {name}: {e}"))
    }

    fn count(&self, name: &'static str, by: u64) {
        self.meters.count(name, by);
    }

    fn gauge(&self, name: &'static str, value: i64) {
        self.meters.gauge(name, value);
    }

    fn meter(&self, script: &str, hook: &'static str) -> Option<Arc<dyn Meter>> {
        Some(self.meters.hook(script, hook))
    }

    fn log(&self, line: &LogLine) {
        let space = self.own.as_ref().and_then(|(_, space)| space.upgrade());
        if let Some(space) = space {
            space.script_log.push(line, clock::now());
        }
    }

    fn error(&self, words: &str) {
        let namespace = self.own.as_ref().map(|(name, _)| name.as_str());
        tracing::error!(namespace, "plugin {}: {words}", self.meters.plugin());
    }

    fn warn(&self, matter: &str, words: Option<String>) -> bool {
        self.meters.warn(matter, words)
    }
}

/// A key as readers of the snapshot see it, in this store.
fn changed(snapshot: &Snapshot, store: StoreId, state: KeyState) -> Result<Changed, Refusal> {
    let made_here = if state.view.in_conflict() {
        state.shown.iter().any(|side| !side.detached && side.origin == store)
    } else {
        let origin = state.object().map(|shown| shown.origin);
        origin.or(state.deleted.map(|d| d.origin)).is_none_or(|origin| origin == store)
    };
    let now = if state.view.in_conflict() {
        Now::Conflict(state.view.conflict_addresses(state.key.hash()))
    } else {
        match state.object() {
            Some(shown) => {
                let (version, timestamp) = (shown.version, shown.timestamp);
                let value = snapshot.value_of(&Name::Key(state.key.clone()), &version)?;
                Now::Value { version, timestamp, value }
            }
            None => Now::Nothing,
        }
    };
    Ok(Changed { key: state.key, sequence: state.sequence, made_here, now })
}
