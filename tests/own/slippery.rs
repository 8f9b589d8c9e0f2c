//! The plugins that come along, on a server whose methods panic or hang now and then: so their own threads do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Arrival, Built, BuiltGate, Changed, Changes, Credentials, Effect, Factory, Feed, Gate, Host,
    Identity, Level, LogLine, Make, Meter, Origin, Page, Plugin, Points, ServerSite, Site, Table,
    Worker,
};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use serde_json::Value as Json;

macro_rules! slippery {
    ($name:ident, $inner:path, $text:literal) => {
        /// The plugin under another name, on such a server.
        pub const $name: Factory = Factory {
            name: $text,
            make: Make::Plugin(|site: &Site, settings: Json| -> Built {
                Ok(Arc::new(Slippery($inner.build(site, settings)?)))
            }),
            ..$inner
        };
    };
}

slippery!(INDEX, keepboth_index::FACTORY, "slippery_index");
slippery!(WEBHOOK, keepboth_webhook::FACTORY, "slippery_webhook");
slippery!(EXPIRY, keepboth_expiry::FACTORY, "slippery_expiry");
slippery!(LUA, keepboth_lua::FACTORY, "slippery_lua");

/// The plugin `auth` likewise.
pub const AUTH: Factory = Factory {
    name: "slippery_auth",
    make: Make::Gate(|site: &ServerSite, settings: Json| -> BuiltGate {
        Ok(Arc::new(SlipperyGate(keepboth_auth::FACTORY.build_gate(site, settings)?)))
    }),
    ..keepboth_auth::FACTORY
};

struct Slippery(Arc<dyn Plugin>);

impl Plugin for Slippery {
    fn points(&self) -> Points {
        self.0.points()
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        self.0.worker()
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint()
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        self.0.start(Ice::over(host))
    }

    fn answer(&self, op: &str, arguments: &Json) -> Option<Result<Json, Refusal>> {
        self.0.answer(op, arguments)
    }

    fn drain(&self) {
        self.0.drain();
    }

    fn stop(&self) {
        self.0.stop();
    }
}

struct SlipperyGate(Arc<dyn Gate>);

impl Gate for SlipperyGate {
    fn authenticates(&self) -> bool {
        self.0.authenticates()
    }

    fn connect(&self, arrival: &Arrival) -> Result<(), Refusal> {
        self.0.connect(arrival)
    }

    fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>, Refusal> {
        self.0.authenticate(credentials)
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint()
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        self.0.start(Ice::over(host))
    }

    fn drain(&self) {
        self.0.drain();
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// A host of which each of these panics once: `changes`, `shown` and `list` when they come to the key
/// `slip/METHOD`, `is_elected` at its first call, and `warn` when a thread called `auth` says something of the
/// file of tokens. `table`, and `shown` of the key `hang`, hang as long as there is a file `hold` in the
/// plugin's folder.
struct Ice {
    host: Arc<dyn Host>,
    /// What has slipped.
    slipped: Mutex<BTreeSet<&'static str>>,
}

impl Ice {
    fn over(host: Arc<dyn Host>) -> Arc<Ice> {
        Arc::new(Ice { host, slipped: Mutex::default() })
    }

    fn slip(&self, method: &'static str) {
        let first = self.slipped.lock().unwrap_or_else(PoisonError::into_inner).insert(method);
        assert!(!first, "it slips at {method}");
    }

    fn hang(&self) {
        let hold = self.host.folder().expect("a folder").join("hold");
        while hold.exists() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn look(&self, method: &'static str, key: &Key) {
        if key.as_str().strip_prefix("slip/") == Some(method) {
            self.slip(method);
        }
    }
}

impl Host for Ice {
    fn namespace(&self) -> Option<&Namespace> {
        self.host.namespace()
    }

    fn node(&self) -> NodeId {
        self.host.node()
    }

    fn now(&self) -> u64 {
        self.host.now()
    }

    fn namespaces(&self) -> Vec<Namespace> {
        self.host.namespaces()
    }

    fn state(&self, namespace: &Namespace) -> Result<Level, Refusal> {
        self.host.state(namespace)
    }

    fn is_elected(&self, namespace: &Namespace) -> Result<bool, Refusal> {
        self.slip("is_elected");
        self.host.is_elected(namespace)
    }

    fn folder(&self) -> Result<PathBuf, Refusal> {
        self.host.folder()
    }

    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        self.hang();
        self.host.table()
    }

    fn get(&self, namespace: &Namespace, name: &Name) -> Result<Option<Value>, Refusal> {
        self.host.get(namespace, name)
    }

    fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let page = self.host.list(namespace, prefix, after, limit)?;
        page.items.iter().for_each(|item| self.look("list", &item.key));
        Ok(page)
    }

    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<VersionId, Refusal> {
        self.host.write_if(effect, condition, origin)
    }

    fn write_each(
        &self,
        writes: Vec<(Effect, Condition)>,
        origin: &Origin,
    ) -> Vec<Result<VersionId, Refusal>> {
        self.host.write_each(writes, origin)
    }

    fn feed(&self, namespace: &Namespace) -> Result<Feed, Refusal> {
        self.host.feed(namespace)
    }

    fn changes(&self, namespace: &Namespace, after: u64, limit: usize) -> Result<Changes, Refusal> {
        let changes = self.host.changes(namespace, after, limit)?;
        changes.items.iter().for_each(|changed| self.look("changes", &changed.key));
        Ok(changes)
    }

    fn shown(&self, namespace: &Namespace, key: &Key) -> Result<Option<Changed>, Refusal> {
        self.look("shown", key);
        if key.as_str() == "hang" {
            self.hang();
        }
        self.host.shown(namespace, key)
    }

    fn wait_changed(
        &self,
        namespace: &Namespace,
        after: u64,
        within: Duration,
    ) -> Result<u64, Refusal> {
        self.host.wait_changed(namespace, after, within)
    }

    fn spawn(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        self.host.spawn(name, run)
    }

    fn count(&self, name: &'static str, by: u64) {
        self.host.count(name, by);
    }

    fn gauge(&self, name: &'static str, value: i64) {
        self.host.gauge(name, value);
    }

    fn meter(&self, script: &str, hook: &'static str) -> Option<Arc<dyn Meter>> {
        self.host.meter(script, hook)
    }

    fn log(&self, line: &LogLine) {
        self.host.log(line);
    }

    fn error(&self, words: &str) {
        self.host.error(words);
    }

    fn warn(&self, matter: &str, words: Option<String>) -> bool {
        if matter == "tokens" && std::thread::current().name() == Some("auth") {
            self.slip("warn");
        }
        self.host.warn(matter, words)
    }
}
