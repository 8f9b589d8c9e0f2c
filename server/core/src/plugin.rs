//! The contract between the server and its plugins.
//!
//! A plugin is bound to one namespace by `[[namespaces.NAME.plugins]]` in the config; their order
//! there is the order in which they are asked. Its life:
//!
//! 1. [`Factory::build`] checks the settings and everything they name (files, schemas, scripts). An
//!    error here ends the start with exit code 78 and `keepboth check` with the place in the file.
//! 2. [`Plugin::worker`] is called once on each thread that runs hooks; what it returns stays on
//!    that thread and need not be `Send`.
//! 3. [`Worker`]'s methods are called for the hook points that [`Plugin::points`] names. A panic in
//!    one becomes a refusal or a log line, never a dead server, and the worker is made anew.
//! 4. When the configuration is read again, a new plugin is made. What came in before is finished by the
//!    old one, what comes after goes to the new one, and nothing meets both.
//! 5. Workers and plugin are dropped when nothing waits for them any more, or the server stops.
//!
//! [`Plugin::admit`] and [`Plugin::fingerprint`] are called on the plugin itself, from any thread.
//!
//! The smallest whole plugin is `plugins/audit`: copy it.
//!
//! [`Factory::build`]: crate::plugin::Factory::build
//! [`Plugin::worker`]: crate::plugin::Plugin::worker
//! [`Plugin::points`]: crate::plugin::Plugin::points
//! [`Plugin::admit`]: crate::plugin::Plugin::admit
//! [`Plugin::fingerprint`]: crate::plugin::Plugin::fingerprint
//! [`Worker`]: crate::plugin::Worker

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::ids::VersionId;
use crate::name::{Address, Key, Name, Namespace};
use crate::refusal::Refusal;
use crate::value::Value;
use crate::version::Change;

/// How a plugin is made from its settings. The server has a const list of these.
#[derive(Clone, Copy)]
pub struct Factory {
    /// The name after `use =` in the config.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// The JSON Schema of its settings; they are checked against it before `build`.
    pub schema: fn() -> Json,
    /// Makes the plugin for one namespace. `settings` is the table of the config without `use`.
    pub build: fn(site: &Site, settings: Json) -> Built,
}

/// A plugin, or all mistakes in its settings.
pub type Built = Result<Arc<dyn Plugin>, Vec<SettingsError>>;

/// Where a plugin is bound.
#[derive(Debug, Clone)]
pub struct Site {
    /// The namespace whose writes it sees.
    pub namespace: Namespace,
    /// The folder of the schemas; files outside it are not read.
    pub schemas: PathBuf,
    /// The folder of the scripts; files outside it are not read.
    pub scripts: PathBuf,
    /// Most bytes of a value in this namespace.
    pub value_bytes_max: usize,
}

/// A mistake in a plugin's settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    /// JSON pointer (RFC 6901) into the settings, for the line and column in the config file.
    pub pointer: String,
    /// What is wrong and what would be right; names file and line if the fault is in another file.
    pub message: String,
}

/// The hook points that a plugin has. Points that nobody has cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Points {
    /// [`Worker::before_put`].
    pub before_put: bool,
    /// [`Worker::before_delete`].
    pub before_delete: bool,
    /// [`Worker::conflict`].
    pub conflict: bool,
    /// [`Worker::after`].
    pub after: bool,
    /// [`Worker::state`].
    pub state: bool,
}

/// A plugin bound to a namespace.
pub trait Plugin: Send + Sync {
    /// The hook points that it has.
    fn points(&self) -> Points;

    /// Makes what runs on one thread. An error is logged and refuses the writes that need it.
    fn worker(&self) -> Result<Box<dyn Worker>, String>;

    /// Whether a version that a peer sent is shown here: None is a delete. What is refused is kept in
    /// quarantine and asked for again when the settings change; it never changes. Must depend on its
    /// arguments alone, and be quick: it runs where peers' changes are taken.
    fn admit(&self, _key: &Key, _value: Option<&Value>) -> Result<(), Refusal> {
        Ok(())
    }

    /// A hash of the settings and of the contents of all files that they name: two nodes at which it is
    /// the same treat writes alike. [`crate::policy::Fingerprint`] makes it.
    fn fingerprint(&self) -> [u8; 32];
}

/// A hook's failure, in words for the log: it names script and line where there are any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

/// The hooks of one plugin on one thread. Every method has a default that does nothing.
pub trait Worker {
    /// Before a put, resolve, revert or restore that is made here is committed; never for what peers
    /// send. May change the value or refuse. Called once for each write, before its place in the
    /// order is fixed; a few milliseconds here hold up this namespace's writes only.
    fn before_put(&mut self, _put: &mut Put) -> Result<(), Refusal> {
        Ok(())
    }

    /// Before a delete that is made here is committed. May refuse.
    fn before_delete(&mut self, _delete: &Delete) -> Result<(), Refusal> {
        Ok(())
    }

    /// Once for each set of sides of a conflict that this node learns of. A value merges them, None
    /// leaves it to the next plugin and at last keeps all. Must depend on its argument alone, so that
    /// all nodes answer alike. A failure is logged and keeps all.
    fn conflict(&mut self, _conflict: &Conflict) -> Result<Option<Value>, Failure> {
        Ok(None)
    }

    /// After a write that was made here is durable. Cannot refuse. May ask for further writes, which
    /// pass all hooks of their namespace in their turn. A failure is logged; what was asked for before
    /// it still counts.
    fn after(&mut self, _done: &Done, _writes: &mut Vec<Effect>) -> Result<(), Failure> {
        Ok(())
    }

    /// After the namespace's store went from one state to another. Changes that come while one is told
    /// are told as one. Cannot write. A failure is logged.
    fn state(&mut self, _change: &StateChange) -> Result<(), Failure> {
        Ok(())
    }
}

/// How far a store agrees with its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// No history.
    #[default]
    Empty,
    /// Histories, and no peer connected, or one that differs or has not acknowledged everything.
    NotSynced,
    /// Histories, at least one peer connected, and all connected ones show the same digest.
    Synced,
}

impl Level {
    /// All states, in the order of their names in [`Level::as_str`].
    pub const ALL: [Level; 3] = [Level::Empty, Level::NotSynced, Level::Synced];

    /// The state's name in frames.
    pub fn as_str(self) -> &'static str {
        ["empty", "not_synced", "synced"][self as usize]
    }
}

/// A store that went from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The namespace.
    pub namespace: Namespace,
    /// The state that was left.
    pub before: Level,
    /// The state that holds now.
    pub now: Level,
    /// Why, in words for people.
    pub reason: String,
}

/// Who asked for a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name that the client gave in its hello, or `anonymous`.
    pub actor: Arc<str>,
    /// 0 for a client's write, one more for what a hook after it asked for, and so on.
    pub depth: u8,
    /// Milliseconds since 1970 when the write came in.
    pub now: u64,
}

/// A put on its way in.
#[derive(Debug)]
pub struct Put {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that is written: a key or an address.
    pub name: Name,
    /// The key of the history that is written: the name itself, or the key that the address belongs to.
    pub key: Key,
    /// Who asked.
    pub origin: Origin,
    /// The value, to be read or changed.
    pub draft: Draft,
}

/// A delete on its way in.
#[derive(Debug)]
pub struct Delete {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that is deleted: a key or an address.
    pub name: Name,
    /// The key of the history that is written.
    pub key: Key,
    /// Who asked.
    pub origin: Origin,
}

/// A conflict as hooks see it: nothing in it differs between nodes that hold the same versions.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The namespace.
    pub namespace: Namespace,
    /// The key in conflict.
    pub key: Key,
    /// The nearest common ancestor's value, if there is one and it is kept.
    pub base: Option<Value>,
    /// The sides, sorted by version.
    pub sides: Vec<Side>,
}

/// One side of a conflict.
#[derive(Debug, Clone)]
pub struct Side {
    /// The version that speaks for the side.
    pub version: VersionId,
    /// The address under which it is an object.
    pub address: Address,
    /// Its value.
    pub value: Value,
}

/// A write that is durable.
#[derive(Debug, Clone)]
pub struct Done {
    /// The namespace.
    pub namespace: Namespace,
    /// The name that was written.
    pub name: Name,
    /// The key of the history.
    pub key: Key,
    /// The version that the write made.
    pub version: VersionId,
    /// What it did: a put or a delete.
    pub change: Change,
    /// The value of a put; None for a delete.
    pub value: Option<Value>,
    /// Who asked.
    pub origin: Origin,
}

/// A write that a hook asks for after another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Where; may be another namespace of this server.
    pub namespace: Namespace,
    /// What.
    pub name: Name,
    /// The value to put; None deletes.
    pub value: Option<Value>,
}

/// A value that hooks read and change, parsed at most once and written back at most once.
#[derive(Debug, Clone)]
pub struct Draft {
    value: Value,
    tree: Option<Json>,
    changed: bool,
}

impl Draft {
    /// A value, with its tree if the caller has parsed it anyway.
    pub fn new(value: Value, tree: Option<Json>) -> Draft {
        Draft { value, tree, changed: false }
    }

    /// The value as a JSON tree; None for bytes, cbor, NaN and infinities.
    pub fn tree(&mut self) -> Option<&Json> {
        if self.tree.is_none() {
            self.tree = self.value.to_json();
        }
        self.tree.as_ref()
    }

    /// The tree to change in place. The value is made from it again when it is next read.
    pub fn tree_mut(&mut self) -> Option<&mut Json> {
        self.tree()?;
        self.changed = true;
        self.tree.as_mut()
    }

    /// Replaces the value by one of any kind.
    pub fn set(&mut self, value: Value) {
        *self = Draft::new(value, None);
    }

    /// Replaces the value by the one of this tree.
    pub fn set_tree(&mut self, tree: Json) {
        self.tree = Some(tree);
        self.changed = true;
    }

    /// The value as it stands now.
    pub fn value(&mut self) -> &Value {
        if let (true, Some(tree)) = (self.changed, &self.tree) {
            self.value = Value::json(tree);
            self.changed = false;
        }
        &self.value
    }

    /// The value as it stands at the end.
    pub fn into_value(mut self) -> Value {
        self.value();
        self.value
    }
}
