//! Timers on their own thread, with a host whose clock runs as fast as it is looked at.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Changed, Changes, Effect, Feed, Host, Level, Origin, Page, Plugin, Source, Table,
};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_lua::Memory;
use serde_json::json;

use crate::harness::*;

/// An hour passes whenever somebody looks at the clock.
struct Rushing {
    memory: Memory,
    now: AtomicU64,
    wrote: SyncSender<(Effect, Origin)>,
}

const HOUR: u64 = 3_600_000;

impl Host for Rushing {
    fn namespace(&self) -> Option<&Namespace> {
        self.memory.namespace()
    }
    fn node(&self) -> NodeId {
        self.memory.node()
    }
    fn now(&self) -> u64 {
        self.now.fetch_add(HOUR, Ordering::SeqCst)
    }
    fn namespaces(&self) -> Vec<Namespace> {
        self.memory.namespaces()
    }
    fn state(&self, namespace: &Namespace) -> Result<Level, Refusal> {
        self.memory.state(namespace)
    }
    fn is_elected(&self, namespace: &Namespace) -> Result<bool, Refusal> {
        self.memory.is_elected(namespace)
    }
    fn folder(&self) -> Result<PathBuf, Refusal> {
        self.memory.folder()
    }
    fn get(&self, namespace: &Namespace, name: &Name) -> Result<Option<Value>, Refusal> {
        self.memory.get(namespace, name)
    }
    fn list(&self, ns: &Namespace, p: &str, a: Option<&Key>, n: usize) -> Result<Page, Refusal> {
        self.memory.list(ns, p, a, n)
    }
    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<VersionId, Refusal> {
        // A test that has seen enough does not listen any more.
        let _ = self.wrote.try_send((effect.clone(), origin.clone()));
        self.memory.write_if(effect, condition, origin)
    }
    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        self.memory.table()
    }

    fn shown(&self, namespace: &Namespace, key: &Key) -> Result<Option<Changed>, Refusal> {
        self.memory.shown(namespace, key)
    }

    fn feed(&self, namespace: &Namespace) -> Result<Feed, Refusal> {
        self.memory.feed(namespace)
    }
    fn changes(&self, namespace: &Namespace, n: u64, limit: usize) -> Result<Changes, Refusal> {
        self.memory.changes(namespace, n, limit)
    }
    fn wait_changed(&self, ns: &Namespace, after: u64, d: Duration) -> Result<u64, Refusal> {
        self.memory.wait_changed(ns, after, d)
    }
    fn spawn(&self, _: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        std::thread::spawn(run);
        Ok(())
    }

    fn count(&self, name: &'static str, by: u64) {
        self.memory.count(name, by);
    }
    fn gauge(&self, name: &'static str, value: i64) {
        self.memory.gauge(name, value);
    }
}

fn started(source: &str, elected: bool) -> (Arc<dyn Plugin>, Receiver<(Effect, Origin)>) {
    let scripts = Scripts::new(&[("a.luau", source)]);
    let plugin = scripts.build(json!({"scripts": ["a.luau"], "time_limit_ms": 5_000}));
    let plugin = plugin.unwrap_or_else(|e| panic!("{e:?}"));
    let (wrote, heard) = sync_channel(16);
    let memory = Memory::new(namespace());
    memory.set_elected(elected);
    plugin.start(Arc::new(Rushing { memory, now: AtomicU64::new(0), wrote })).expect("started");
    (plugin, heard)
}

const BOTH: &str = "kb.every('1h', function(ev) kb.put('notes', 'one', ev.timestamp) end)
    kb.every('1h', function(ev) kb.put('notes', 'all', ev.namespace) end, { on = 'every' })";

#[test]
fn timers_of_the_elected_node_write_with_their_source() {
    let (plugin, heard) = started(BOTH, true);
    let (first, origin) = heard.recv().expect("a write");
    assert_eq!(
        (first.name.to_string(), origin.source, origin.depth),
        ("one".into(), Source::Timer, 0)
    );
    assert_eq!(&*origin.actor, "scripts/a.luau");
    assert_eq!(first.value, Some(Value::number(origin.now as f64)));
    let (second, _) = heard.recv().expect("a write");
    assert_eq!(second.value, Some(Value::string("notes")));
    plugin.drain();
    plugin.stop();
}

#[test]
fn another_node_runs_only_what_runs_on_every_node() {
    let (plugin, heard) = started(BOTH, false);
    for _ in 0..3 {
        assert_eq!(heard.recv().expect("a write").0.name.to_string(), "all");
    }
    plugin.stop();
}

#[test]
fn a_timer_that_fails_runs_again_and_leaves_others_alone() {
    let source =
        "kb.every('1h', function() kb.put('notes', 'lost', 1) error('no') end, { on = 'every' })
        kb.every('1h', function() while true do end end, { on = 'every' })
        kb.every('1h', function() kb.put('notes', 'good', 1) end, { on = 'every' })";
    let scripts = Scripts::new(&[("a.luau", source)]);
    let plugin = scripts.build(json!({"scripts": ["a.luau"], "time_limit_ms": 20}));
    let plugin = plugin.unwrap_or_else(|e| panic!("{e:?}"));
    let (wrote, heard) = sync_channel(16);
    let memory = Memory::new(namespace());
    plugin.start(Arc::new(Rushing { memory, now: AtomicU64::new(0), wrote })).expect("started");
    for _ in 0..2 {
        assert_eq!(heard.recv().expect("a write").0.name.to_string(), "good");
    }
    plugin.stop();
}

#[test]
fn a_plugin_that_is_stopped_ends_its_thread() {
    let (plugin, heard) = started(BOTH, true);
    plugin.drain();
    plugin.stop();
    plugin.stop();
    // The thread is gone, and with it who could send: what is left ends.
    drop(plugin);
    assert!(heard.iter().count() <= 16);
}
