//! The contract between the server and its plugins.
//!
//! A plugin is a crate that knows this crate alone; `plugins/audit` is the smallest whole one, and
//! `docs/PLUGINS.md` the way to a first one of your own.
//! There are two kinds. A [`Plugin`] is bound to one namespace by `[[namespaces.NAME.plugins]]` and sees
//! its writes; a [`Gate`] is bound to the server by `[[plugins]]` and says who may connect and do what.
//! The order in the config is the order in which they are asked, at every point.
//!
//! # Life
//!
//! | step | what is called | when |
//! | --- | --- | --- |
//! | configure | [`Factory::schema`], then the function in [`Make`] | at the start, at a reload, and by `keepboth check`, which does this and nothing else. All mistakes are told at once, each with file, line and column; where some settings do not fit the schema, it is asked for its mistakes in the rest, which it is given without them. Opens no port, starts no thread, writes nothing. |
//! | start | [`Plugin::start`] | once, when its namespace is open and before anybody can write to it. An error ends the start of the server with exit code 78 and the place in the config. |
//! | run | the points below | |
//! | reload | [`Plugin::fingerprint`] | one whose fingerprint is what it was stays, with what it remembers. Otherwise the new one is started, then writes go to it, and then the old one is drained and stopped. If a start fails, all old ones stay and the reload says why. When only files were saved that a plugin reads, one that is faulty stays as it was, or what is faulty of it ([`Plugin::renewed`]). |
//! | drain | [`Plugin::drain`] | it begins no new work. Writes that it saw before still come to their end with it. |
//! | stop | [`Plugin::stop`] | it ends its threads and waits for them. Nothing is called afterwards; workers may be dropped later. |
//!
//! A stopping server drains all plugins, answers what is under way, lets after-hooks finish, and stops the
//! plugins before it closes the stores, all within `server.shutdown_grace`. A process that is killed calls
//! nothing: what must not be lost belongs into [`Host::table`], [`Host::folder`] or a namespace.
//!
//! # Points
//!
//! | point | called | on | may change | an error means | may take |
//! | --- | --- | --- | --- | --- | --- |
//! | [`Gate::connect`] | once for each WebSocket of a client or node, and each scrape of metrics | a thread for blocking work | nothing | 403, no connection | a second; the client waits |
//! | [`Gate::authenticate`] | once for each connection, again for each `hello` with a token | the same | who the client is and what it may | 401, or the hello is refused | a second; the client waits |
//! | authorize | for every request, by the server from [`Grants`] and [`Pass`] | the connection's task | nothing | `forbidden` or `unauthenticated` | it is no code of a plugin |
//! | [`Worker::before_put`] | once for each value that is written here | a hook thread | the value | the write is refused, in a batch all of it | a few ms: the namespace's writes wait |
//! | [`Worker::before_delete`] | once for each delete that is made here | a hook thread | nothing | the same | the same |
//! | [`Plugin::admit`] | once for each version of a peer, and again when the rules change | a link's task | whether readers see it | the version goes to quarantine | microseconds: the link waits |
//! | [`Worker::conflict`] | once for each set of sides | the conflict thread | the merged value | the log has it, all sides stay | what it needs: other conflicts wait |
//! | [`Worker::after`] | once for each durable write: made here with [`Points::after`], of a peer with [`Points::after_replicated`] | the after thread | further writes | the log has it | on average less than the writes come in; then clients wait at the door |
//! | [`Worker::state`] | when the store's state is another | the after thread | nothing | the log has it | the same |
//! | [`Worker::quarantine`] | once for each version that is hidden | the after thread | nothing | the log has it | the same |
//! | [`Plugin::answer`] | for each `query` and `plugin` of a client | a thread for blocking work | what it likes | the client has it | a minute; other questions than 64 are refused meanwhile |
//!
//! Each namespace has its own threads: `limits.hook_threads` for the hooks before writes, one for
//! conflicts, one after. A worker stays on its thread and need not be `Send`. No plugin runs on the
//! thread that commits. What peers sent is told only if it came live and there is room: nobody waits for
//! these hooks, and what was missed is counted (`keepboth_untold_total`) and logged. Who must not miss
//! anything follows the feed: [`Host::changes`].
//!
//! A panic at any point becomes a refusal or a log line, never a dead server; a worker that panicked is
//! made anew. Calls, errors and times of each point are in `keepboth status NAMESPACE` and in the metrics
//! `keepboth_plugin_*`. A write that [`Worker::after`] asked for and that is refused stands in the log of the
//! scripts, is counted, and is warned of in the status.
//!
//! # Running
//!
//! [`Plugin::start`] gets a [`Host`]: what a plugin may use while it runs. Its methods block, so they
//! are for threads of the plugin's own. A [`Thread`] is one that a panic does not end: its work is begun
//! again, after pauses that double, and log, status and metrics tell of it.
//!
//! [`Factory::schema`]: crate::plugin::Factory::schema
//! [`Gate`]: crate::plugin::Gate
//! [`Gate::authenticate`]: crate::plugin::Gate::authenticate
//! [`Gate::connect`]: crate::plugin::Gate::connect
//! [`Grants`]: crate::plugin::Grants
//! [`Host`]: crate::plugin::Host
//! [`Host::changes`]: crate::plugin::Host::changes
//! [`Host::folder`]: crate::plugin::Host::folder
//! [`Host::table`]: crate::plugin::Host::table
//! [`Make`]: crate::plugin::Make
//! [`Pass`]: crate::plugin::Pass
//! [`Plugin`]: crate::plugin::Plugin
//! [`Plugin::admit`]: crate::plugin::Plugin::admit
//! [`Plugin::answer`]: crate::plugin::Plugin::answer
//! [`Plugin::drain`]: crate::plugin::Plugin::drain
//! [`Plugin::fingerprint`]: crate::plugin::Plugin::fingerprint
//! [`Plugin::renewed`]: crate::plugin::Plugin::renewed
//! [`Plugin::start`]: crate::plugin::Plugin::start
//! [`Plugin::stop`]: crate::plugin::Plugin::stop
//! [`Points::after`]: crate::plugin::Points::after
//! [`Points::after_replicated`]: crate::plugin::Points::after_replicated
//! [`Thread`]: crate::plugin::Thread
//! [`Worker::after`]: crate::plugin::Worker::after
//! [`Worker::before_delete`]: crate::plugin::Worker::before_delete
//! [`Worker::before_put`]: crate::plugin::Worker::before_put
//! [`Worker::conflict`]: crate::plugin::Worker::conflict
//! [`Worker::quarantine`]: crate::plugin::Worker::quarantine
//! [`Worker::state`]: crate::plugin::Worker::state

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::name::{Key, Namespace};
use crate::refusal::Refusal;
use crate::value::Value;

/// What hooks are told.
mod event;
/// A value on its way in.
mod draft;
/// Rows of a plugin's own that outlive the process.
mod table;
/// What a plugin may use while it runs.
mod host;
/// What a plugin lets operators see.
mod watched;
/// Panics of plugins, caught.
mod caught;
/// A thread of a plugin's own.
mod thread;
/// Who may do what.
mod grants;
/// Who may connect, and who that is.
mod gate;

pub use caught::caught;
pub use draft::Draft;
pub use event::{
    Before, Conflict, Delete, Done, Earlier, Effect, Level, Origin, Put, Quarantined, Side, Source,
    StateChange,
};
pub use gate::{Arrival, BuiltGate, Credentials, Gate, Identity, Pass, ServerSite};
pub use grants::{Grant, Grants, Right, Rights};
pub use host::{Changed, Changes, Feed, Host, Listed, Now, Page};
pub use table::{Row, RowChange, Table, behind};
pub use thread::{End, Thread};
pub use watched::{LogLevel, LogLine, Meter};

/// How a plugin is made from its settings. The server has a const list of these.
#[derive(Clone, Copy)]
pub struct Factory {
    /// The name after `use =` in the config. No two factories have the same.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// True if one place may use it several times, with different settings.
    pub several: bool,
    /// The JSON Schema of its settings; they are checked against it before they are given to `make`.
    pub schema: fn() -> Json,
    /// What it makes.
    pub make: Make,
}

/// What a factory makes from settings: the table of the config without `use`.
#[derive(Clone, Copy)]
pub enum Make {
    /// A plugin for one namespace.
    Plugin(fn(site: &Site, settings: Json) -> Built),
    /// A plugin for the server as a whole.
    Gate(fn(site: &ServerSite, settings: Json) -> BuiltGate),
}

impl Factory {
    /// Makes a plugin for a namespace.
    pub fn build(&self, site: &Site, settings: Json) -> Built {
        match self.make {
            Make::Plugin(make) => self.guarded(|| make(site, settings)),
            Make::Gate(_) => {
                let words =
                    format!("{:?} is for the server as a whole: use it in [[plugins]]", self.name);
                Err(vec![SettingsError { pointer: "/use".into(), message: words }])
            }
        }
    }

    /// Makes a plugin for the server as a whole.
    pub fn build_gate(&self, site: &ServerSite, settings: Json) -> BuiltGate {
        match self.make {
            Make::Gate(make) => self.guarded(|| make(site, settings)),
            Make::Plugin(_) => {
                let words = format!(
                    "{:?} is for a namespace: use it in [[namespaces.NAME.plugins]]",
                    self.name
                );
                Err(vec![SettingsError { pointer: "/use".into(), message: words }])
            }
        }
    }

    /// Makes a plugin. A panic becomes a mistake in the settings, which it was made from.
    fn guarded<T>(
        &self,
        make: impl FnOnce() -> Result<T, Vec<SettingsError>>,
    ) -> Result<T, Vec<SettingsError>> {
        caught(make).unwrap_or_else(|words| {
            let message = format!("the plugin {} panicked when it was made: {words}", self.name);
            Err(vec![SettingsError { pointer: "/use".into(), message }])
        })
    }
}

/// A plugin, or all mistakes in its settings.
pub type Built = Result<Arc<dyn Plugin>, Vec<SettingsError>>;

/// A plugin that was made anew, and what it did not take up.
pub type Renewed = (Arc<dyn Plugin>, Vec<SettingsError>);

/// Where a plugin is bound.
#[derive(Debug, Clone)]
pub struct Site {
    /// The namespace whose writes it sees.
    pub namespace: Namespace,
    /// The folder from which relative paths in settings hold: that of the config file.
    pub folder: PathBuf,
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

/// What a plugin must have to itself in its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it is, in words that are the same for the same thing: `the file /var/log/a.jsonl`.
    pub what: String,
    /// JSON pointer into the settings of what names it; `/use` if nothing does.
    pub pointer: String,
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
    /// [`Worker::after`] for what is written here.
    pub after: bool,
    /// [`Worker::after`] for what peers send live.
    pub after_replicated: bool,
    /// [`Worker::state`].
    pub state: bool,
    /// [`Worker::quarantine`].
    pub quarantine: bool,
}

impl Points {
    /// The points that one of both has.
    pub fn or(self, other: Points) -> Points {
        Points {
            before_put: self.before_put | other.before_put,
            before_delete: self.before_delete | other.before_delete,
            conflict: self.conflict | other.conflict,
            after: self.after | other.after,
            after_replicated: self.after_replicated | other.after_replicated,
            state: self.state | other.state,
            quarantine: self.quarantine | other.quarantine,
        }
    }
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

    /// What it must have to itself: two plugins of one name that claim the same are a mistake in the
    /// configuration of their namespace.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    /// Makes it anew by the same settings after files that they name were saved: what is faulty stays as it
    /// is here, and is told. None if it takes up all or nothing; then the factory makes it.
    fn renewed(&self, _site: &Site) -> Option<Renewed> {
        None
    }

    /// Begins what it does on its own accord, for instance a thread that follows the feed. What the
    /// host is asked for here must not wait for long. See the life of a plugin above.
    fn start(&self, _host: Arc<dyn Host>) -> Result<(), String> {
        Ok(())
    }

    /// Answers a client who asks by the request `query` (then `op` is `query`) or `plugin`; None if it
    /// knows no such op. The arguments are an object. The answer is one too, of at most a frame's bytes.
    /// May wait, for a minute at most, and for nothing once the plugin is drained.
    fn answer(&self, _op: &str, _arguments: &Json) -> Option<Result<Json, Refusal>> {
        None
    }

    /// Begins no new work from now on. May take until what it does on its own accord is at rest.
    fn drain(&self) {}

    /// Ends its threads. Called once, after [`Plugin::drain`].
    fn stop(&self) {}
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

    /// After a write is durable: one made here, or one of a peer ([`Source::Peer`]) with
    /// [`Points::after_replicated`]. Cannot refuse. May ask for further writes, which pass all hooks of
    /// their namespace in their turn. A failure is logged; what was asked for before it still counts.
    fn after(&mut self, _done: &Done, _writes: &mut Vec<Effect>) -> Result<(), Failure> {
        Ok(())
    }

    /// After the namespace's store went from one state to another. Changes that come while one is told
    /// are told as one. Cannot write. A failure is logged.
    fn state(&mut self, _change: &StateChange) -> Result<(), Failure> {
        Ok(())
    }

    /// After a version of a peer was kept back from readers. Cannot write. A failure is logged.
    fn quarantine(&mut self, _held: &Quarantined) -> Result<(), Failure> {
        Ok(())
    }
}
