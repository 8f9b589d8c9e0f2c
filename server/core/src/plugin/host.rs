//! What a plugin may use while it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Level, LogLine, Meter, Origin, Table};
use crate::address::Address;
use crate::ids::{NodeId, StoreId, VersionId};
use crate::name::{Key, Name, Namespace};
use crate::refusal::Refusal;
use crate::value::Value;
use crate::write::Condition;

/// The server, as a plugin that runs sees it. Its methods may be called from any thread of the plugin's
/// own, for as long as the plugin has it; after the server has stopped they refuse with `shutting_down`.
///
/// Hooks may read here too. [`Host::write`], [`Host::wait_changed`] and [`Host::table`] would have a hook
/// wait for what waits for the hook, so there they are refused with `hook_failed`: a hook asks for a write
/// by [`super::Worker::after`].
///
/// A namespace that is not here is refused with `unknown_namespace`.
pub trait Host: Send + Sync {
    /// The namespace that the plugin is bound to; None for a gate.
    fn namespace(&self) -> Option<&Namespace>;

    /// This node.
    fn node(&self) -> NodeId;

    /// Milliseconds since 1970.
    fn now(&self) -> u64;

    /// The namespaces of this node, sorted.
    fn namespaces(&self) -> Vec<Namespace>;

    /// How far a namespace agrees with its peers.
    fn state(&self, namespace: &Namespace) -> Result<Level, Refusal>;

    /// True if this node has the smallest id among itself and the connected peers that share the
    /// namespace: for work that one node should do for all. Best effort: while a link is down or just
    /// made, several nodes hold it true, or none, so the work must bear being done twice.
    fn is_elected(&self, namespace: &Namespace) -> Result<bool, Refusal>;

    /// A folder of the plugin's own that outlives the process, `DATA/plugins/NAMESPACE/PLUGIN`; made
    /// when it is first asked for. A namespace that uses a plugin several times has one folder for all.
    /// It stays when the plugin or the namespace goes.
    fn folder(&self) -> Result<PathBuf, Refusal>;

    /// An ordered table of the plugin's own, in the file `table.redb` of its folder; made when it is first
    /// asked for. One plugin has it at a time: one that takes the place of another waits here until that
    /// one has dropped it, so this is for a thread of the plugin's own and not for
    /// [`super::Plugin::start`]; and a plugin drops it in [`super::Plugin::stop`]. A namespace should use
    /// it in a plugin that it can use only once.
    fn table(&self) -> Result<Arc<dyn Table>, Refusal>;

    /// The value of an object; None if there is none. Refused with `in_conflict` and the addresses if
    /// the name stands for several.
    fn get(&self, namespace: &Namespace, name: &Name) -> Result<Option<Value>, Refusal>;

    /// Objects in the order of their keys: those that begin so and stand behind `after`, about `limit`
    /// of them, at most 1,000. All objects of one key stand in one page.
    fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Refusal>;

    /// Writes: goes in at the namespace's door, passes its hooks, and comes back when it is durable
    /// with the version that it made. Waits where a client would wait. Refused with `hook_failed` if
    /// the origin's depth is over `limits.hook_depth_max`; see [`Origin::caused_by`]. Rights and the rate
    /// of writes are for clients and do not hold here.
    fn write(&self, effect: Effect, origin: Origin) -> Result<VersionId, Refusal> {
        self.write_if(effect, Condition::None, origin)
    }

    /// As [`Host::write`], if the condition holds when the write has its place in the order. Refused
    /// with `version_mismatch` if it does not; nothing is changed then.
    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<VersionId, Refusal>;

    /// Several writes, each as [`Host::write_if`] by itself: what becomes of each, in their order. They wait for
    /// the disk together, which is as quick as one alone. Others who write meanwhile wait behind all of them, so
    /// there should not be more than some dozens.
    fn write_each(
        &self,
        writes: Vec<(Effect, Condition)>,
        origin: &Origin,
    ) -> Vec<Result<VersionId, Refusal>> {
        let write = |(effect, condition)| self.write_if(effect, condition, origin.clone());
        writes.into_iter().map(write).collect()
    }

    /// Where a namespace's feed stands. In the feed each key stands once, at its last change.
    fn feed(&self, namespace: &Namespace) -> Result<Feed, Refusal>;

    /// The keys that changed after a sequence, as they are now, at most 1,000 and at most `limit` of
    /// them. Whoever keeps [`Changes::next`] on disk together with [`Feed::store`] and [`Feed::epoch`]
    /// goes on there after a restart and misses no key; a change of either means to begin anew with 0.
    /// Refused with `bad_cursor` if the sequence is ahead of the store, or deletes that came after it
    /// are forgotten: then begin anew too.
    fn changes(&self, namespace: &Namespace, after: u64, limit: usize) -> Result<Changes, Refusal>;

    /// What readers see under a key at this moment, with its place in the feed; None if nothing is known
    /// of the key.
    fn shown(&self, namespace: &Namespace, key: &Key) -> Result<Option<Changed>, Refusal>;

    /// Waits until the feed stands further than this sequence, or until the time is over, at most a
    /// minute. Gives where it stands. A plugin that stops should not wait for longer than it may take
    /// to stop. Refused with `shutting_down` when the server stops.
    fn wait_changed(
        &self,
        namespace: &Namespace,
        after: u64,
        within: Duration,
    ) -> Result<u64, Refusal>;

    /// Runs this on a new thread of this name. [`super::Thread`] is the way to have one that can be ended
    /// and that a panic does not end.
    fn spawn(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String>;

    /// Adds to a counter, which stands in the metrics as `keepboth_plugin_count_total` with the labels
    /// `namespace`, `plugin` and `name`.
    fn count(&self, name: &'static str, by: u64);

    /// Sets a gauge, which stands in the metrics as `keepboth_plugin_gauge` with the same labels.
    fn gauge(&self, name: &'static str, value: i64);

    /// The figures of a hook of a script, which stand in the metrics as `keepboth_hook_seconds` and
    /// `keepboth_hook_errors_total` with the labels `namespace`, `plugin`, `script` and `hook`. To be asked
    /// for once and kept. None where nobody measures.
    fn meter(&self, _script: &str, _hook: &'static str) -> Option<Arc<dyn Meter>> {
        None
    }

    /// Keeps a line in the log of the namespace's scripts, which `keepboth hook log` shows: the last 1,000,
    /// each cut to 1 KiB. It does not go to the server's log.
    fn log(&self, _line: &LogLine) {}

    /// Says in the server's log that something of the plugin has failed.
    fn error(&self, _words: &str) {}

    /// Has the status of the namespace warn of something that lasts, until None is said of the same
    /// matter, or the plugin is gone. True if that changes whether it is warned of.
    fn warn(&self, _matter: &str, _words: Option<String>) -> bool {
        true
    }

    /// Warns of something that fails and is tried again; the server's log says so once, when it begins.
    fn fails(&self, matter: &str, words: String) {
        if self.warn(matter, Some(words.clone())) {
            self.error(&words);
        }
    }
}

/// A page of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub items: Vec<Listed>,
    /// Pass it as `after` for the next page; None when there is nothing more. A page may be empty and
    /// go on.
    pub next: Option<Key>,
}

/// An object in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, or the address under which it stands.
    pub name: Name,
    /// The key of its history.
    pub key: Key,
    /// The version that speaks for it.
    pub version: VersionId,
    /// Milliseconds since 1970 when the version was made.
    pub timestamp: u64,
    /// Its value.
    pub value: Value,
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// The store that counts: another one begins anew.
    pub store: StoreId,
    /// Grows when the store was put back from a backup: sequences then mean something else.
    pub epoch: u64,
    /// The sequence of the last change.
    pub last: u64,
}

/// Some changes, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The keys, in the order of their last changes.
    pub items: Vec<Changed>,
    /// Pass it as `after` for what follows. It may move on while `items` is empty; there is nothing more
    /// when it is [`Feed::last`].
    pub next: u64,
}

/// A key that changed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: Key,
    /// Its place in the feed.
    pub sequence: u64,
    /// True if the version that speaks for it, the delete, or a side of the conflict was made at this node,
    /// whoever made it elsewhere as well; also if that is not known any more.
    pub made_here: bool,
    /// What readers see under it.
    pub now: Now,
}

/// What readers see under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// One object.
    Value {
        /// The version that speaks for it.
        version: VersionId,
        /// Milliseconds since 1970 when the version was made.
        timestamp: u64,
        /// Its value.
        value: Value,
    },
    /// Several, each under its address.
    Conflict(Vec<Address>),
    /// Nothing.
    Nothing,
}
