//! What the clock says counts, whatever it said before: on a host whose clock can be set, which no real
//! one can.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use keepboth_core::ids::{NodeId, StoreId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Changed, Changes, Effect, Feed, Host, Level, Listed, Origin, Page, Plugin, Site, Source, Table,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_expiry::FACTORY;
use serde_json::json;

/// One object, which was written at 0, a clock, and what a hook says of deletes.
struct Fake {
    namespace: Namespace,
    now: AtomicU64,
    object: Mutex<Option<Key>>,
    refuses: bool,
    /// Told of each delete that is asked for, and of each wait for changes.
    told: mpsc::Sender<Told>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Delete { condition: Condition, now: u64 },
    Waits,
}

const VERSION: VersionId = VersionId([7; 32]);

impl Host for Fake {
    fn namespace(&self) -> Option<&Namespace> {
        Some(&self.namespace)
    }
    fn node(&self) -> NodeId {
        NodeId([1; 32])
    }
    fn now(&self) -> u64 {
        self.now.load(Ordering::SeqCst)
    }
    fn namespaces(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
    fn state(&self, _: &Namespace) -> Result<Level, Refusal> {
        Ok(Level::NotSynced)
    }
    fn is_elected(&self, _: &Namespace) -> Result<bool, Refusal> {
        Ok(false)
    }
    fn folder(&self) -> Result<PathBuf, Refusal> {
        Err(Refusal::new(Code::StoreFailed, "it has none"))
    }
    fn get(&self, _: &Namespace, _: &Name) -> Result<Option<Value>, Refusal> {
        Ok(None)
    }
    fn list(&self, _: &Namespace, _: &str, _: Option<&Key>, _: usize) -> Result<Page, Refusal> {
        let object = self.object.lock().expect("unpoisoned").clone();
        let listed = |key: Key| Listed {
            name: Name::Key(key.clone()),
            key,
            version: VERSION,
            timestamp: 0,
            value: Value::json(&json!(1)),
        };
        Ok(Page { items: object.map(listed).into_iter().collect(), next: None })
    }
    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        origin: Origin,
    ) -> Result<VersionId, Refusal> {
        assert_eq!((effect.value, origin.source), (None, Source::Timer));
        self.told.send(Told::Delete { condition, now: self.now() }).expect("somebody listens");
        if self.refuses {
            return Err(Refusal::new(Code::HookRefused, "it stays"));
        }
        *self.object.lock().expect("unpoisoned") = None;
        Ok(VersionId([8; 32]))
    }
    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        Err(Refusal::new(Code::StoreFailed, "it has none"))
    }
    fn shown(&self, _: &Namespace, _: &Key) -> Result<Option<Changed>, Refusal> {
        Ok(None)
    }
    fn feed(&self, _: &Namespace) -> Result<Feed, Refusal> {
        Ok(Feed { store: StoreId([1; 16]), epoch: 1, last: 0 })
    }
    fn changes(&self, _: &Namespace, after: u64, _: usize) -> Result<Changes, Refusal> {
        Ok(Changes { items: Vec::new(), next: after })
    }
    fn wait_changed(&self, _: &Namespace, after: u64, _: Duration) -> Result<u64, Refusal> {
        // The test may have all that it wants to know.
        let _ = self.told.send(Told::Waits);
        Ok(after)
    }
    fn spawn(&self, _: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        std::thread::spawn(run);
        Ok(())
    }

    fn count(&self, _: &'static str, _: u64) {}
    fn gauge(&self, _: &'static str, _: i64) {}
}

/// A plugin at work on an object that lasts a second.
fn start(refuses: bool) -> (Arc<Fake>, Arc<dyn Plugin>, mpsc::Receiver<Told>) {
    let namespace = Namespace::new("notes").expect("a namespace");
    let site = Site {
        namespace: namespace.clone(),
        folder: ".".into(),
        schemas: "schemas".into(),
        scripts: "scripts".into(),
        value_bytes_max: 65_536,
    };
    let plugin = FACTORY.build(&site, json!({"after": "1s", "per_second": 1000})).expect("sound");
    let (told, tells) = mpsc::channel();
    let object = Mutex::new(Some(Key::new("k").expect("a key")));
    let host = Arc::new(Fake { namespace, now: AtomicU64::new(500), object, refuses, told });
    plugin.start(host.clone()).expect("started");
    (host, plugin, tells)
}

/// Two rounds that begin after this moment, in which nothing is deleted.
fn quiet(tells: &mpsc::Receiver<Told>) {
    while tells.try_recv().is_ok() {}
    for _ in 0..3 {
        assert_eq!(tells.recv().expect("it is at work"), Told::Waits);
    }
}

/// The next delete.
fn delete(tells: &mpsc::Receiver<Told>) -> Told {
    tells.iter().find(|told| *told != Told::Waits).expect("it is at work")
}

#[test]
fn nothing_goes_before_the_clock_says_so_wherever_it_is_set() {
    let (host, plugin, tells) = start(false);
    for now in [500, 999, 10, 999] {
        host.now.store(now, Ordering::SeqCst);
        quiet(&tells);
    }
    host.now.store(1_000, Ordering::SeqCst);
    let told = Told::Delete { condition: Condition::Is(VERSION), now: 1_000 };
    assert_eq!(delete(&tells), told, "under the condition that it is what was judged");
    quiet(&tells);
    plugin.drain();
    plugin.stop();
}

#[test]
fn a_delete_that_a_hook_refuses_is_asked_for_again_a_minute_later() {
    let (host, plugin, tells) = start(true);
    for now in [1_000, 61_000, 121_000] {
        // The refusal of the last delete is noted at the time of that.
        quiet(&tells);
        host.now.store(now - 1, Ordering::SeqCst);
        quiet(&tells);
        host.now.store(now, Ordering::SeqCst);
        assert_eq!(delete(&tells), Told::Delete { condition: Condition::Is(VERSION), now });
    }
    plugin.stop();
}
