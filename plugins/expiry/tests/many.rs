//! More objects than are remembered, all at their end: they go in bounded rounds, a few at a time, and whoever
//! writes meanwhile is heard between two rounds. On a host in memory, which sees every call.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use keepboth_core::hash;
use keepboth_core::ids::{DataHash, NodeId, StoreId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Changed, Changes, Effect, Feed, Host, Level, Listed, Now, Origin, Page, Site, Table,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_expiry::FACTORY;
use serde_json::json;

/// Half as many again as the plugin remembers.
const OBJECTS: usize = 150_000;
/// A tenth of `per_second`: what a round may look at.
const ROUND_MAX: usize = 20_000;
const NOW: u64 = 1_000_000;

#[derive(Default)]
struct Objects {
    values: BTreeMap<Key, Value>,
    /// How many are at their end.
    over: usize,
    /// What was written since the start.
    mine: Vec<Key>,
    /// Deletes since the feed was last looked at, and most of them.
    deletes: usize,
    deletes_most: usize,
    /// Most deletes that were asked for at once.
    together_most: usize,
}

struct Store {
    namespace: Namespace,
    objects: Mutex<Objects>,
    /// Told when nothing is left that is at its end.
    done: mpsc::Sender<()>,
}

impl Store {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().expect("unpoisoned")
    }

    /// Somebody writes whenever the plugin looks at the feed, until all is over.
    fn looked(&self) -> MutexGuard<'_, Objects> {
        let mut objects = self.objects();
        objects.deletes = 0;
        if objects.over > 0 {
            let written = key(&format!("mine/{:06}", objects.mine.len()));
            objects.values.insert(written.clone(), lasting());
            objects.mine.push(written);
        }
        objects
    }
}

fn lasting() -> Value {
    Value::json(&json!({"expires_at": NOW + 1}))
}

fn version_of(key: &Key) -> VersionId {
    hash::first(key.as_str(), &DataHash::NONE, 0)
}

fn key(name: &str) -> Key {
    Key::new(name).expect("a key")
}

impl Host for Store {
    fn namespace(&self) -> Option<&Namespace> {
        Some(&self.namespace)
    }
    fn node(&self) -> NodeId {
        NodeId([1; 32])
    }
    fn now(&self) -> u64 {
        NOW
    }
    fn namespaces(&self) -> Vec<Namespace> {
        vec![self.namespace.clone()]
    }
    fn state(&self, _: &Namespace) -> Result<Level, Refusal> {
        Ok(Level::NotSynced)
    }
    fn is_elected(&self, _: &Namespace) -> Result<bool, Refusal> {
        Ok(true)
    }
    fn folder(&self) -> Result<PathBuf, Refusal> {
        Err(Refusal::new(Code::StoreFailed, "it has none"))
    }
    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        Err(Refusal::new(Code::StoreFailed, "it has none"))
    }
    fn get(&self, _: &Namespace, _: &Name) -> Result<Option<Value>, Refusal> {
        Ok(None)
    }
    fn list(
        &self,
        _: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let objects = self.objects();
        let from = match after {
            Some(after) => Bound::Excluded(after.clone()),
            None if prefix.is_empty() => Bound::Unbounded,
            None => Bound::Included(key(prefix)),
        };
        let found = objects.values.range((from, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.as_str().starts_with(prefix));
        let listed = |(key, value): (&Key, &Value)| Listed {
            name: Name::Key(key.clone()),
            key: key.clone(),
            version: version_of(key),
            timestamp: 0,
            value: value.clone(),
        };
        let items: Vec<Listed> = found.take(limit).map(listed).collect();
        let next = items.last().filter(|_| items.len() == limit).map(|item| item.key.clone());
        Ok(Page { items, next })
    }
    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        _: Origin,
    ) -> Result<VersionId, Refusal> {
        let Name::Key(key) = effect.name else { panic!("an address") };
        let judged = version_of(&key);
        assert_eq!((effect.value, condition), (None, Condition::Is(judged)));
        let mut objects = self.objects();
        assert!(objects.values.remove(&key).is_some(), "{key:?} goes once");
        objects.over -= 1;
        objects.deletes += 1;
        objects.deletes_most = objects.deletes_most.max(objects.deletes);
        if objects.over == 0 {
            self.done.send(()).expect("the test waits");
        }
        Ok(judged)
    }
    fn write_each(
        &self,
        writes: Vec<(Effect, Condition)>,
        origin: &Origin,
    ) -> Vec<Result<VersionId, Refusal>> {
        let most = self.objects().together_most.max(writes.len());
        self.objects().together_most = most;
        let write = |(effect, condition)| self.write_if(effect, condition, origin.clone());
        writes.into_iter().map(write).collect()
    }
    fn shown(&self, _: &Namespace, _: &Key) -> Result<Option<Changed>, Refusal> {
        Ok(None)
    }
    fn feed(&self, _: &Namespace) -> Result<Feed, Refusal> {
        let last = self.looked().mine.len() as u64;
        Ok(Feed { store: StoreId([1; 16]), epoch: 1, last })
    }
    fn changes(&self, _: &Namespace, after: u64, limit: usize) -> Result<Changes, Refusal> {
        let objects = self.looked();
        let told = objects.mine.get(after as usize..).unwrap_or_default().iter().take(limit);
        let items = (after + 1..).zip(told).map(|(sequence, key)| {
            let now = Now::Value { version: VersionId([7; 32]), timestamp: NOW, value: lasting() };
            Changed { key: key.clone(), sequence, made_here: true, now }
        });
        let items: Vec<Changed> = items.collect();
        Ok(Changes { next: after + items.len() as u64, items })
    }
    fn wait_changed(&self, _: &Namespace, after: u64, _: Duration) -> Result<u64, Refusal> {
        Ok(after)
    }
    fn spawn(&self, _: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        std::thread::spawn(run);
        Ok(())
    }
    fn count(&self, _: &'static str, _: u64) {}
    fn gauge(&self, _: &'static str, _: i64) {}
}

#[test]
fn more_than_are_remembered_go_in_bounded_rounds_between_which_others_write() {
    let namespace = Namespace::new("notes").expect("a namespace");
    let site = Site {
        namespace: namespace.clone(),
        folder: ".".into(),
        schemas: "schemas".into(),
        scripts: "scripts".into(),
        value_bytes_max: 65_536,
    };
    let settings = json!({"field": "expires_at", "per_second": ROUND_MAX * 10});
    let plugin = FACTORY.build(&site, settings).expect("sound");
    let value = |n: usize| Value::json(&json!({"expires_at": n}));
    let values = (0..OBJECTS).map(|n| (key(&format!("over/{n:06}")), value(n))).collect();
    let (done, is_done) = mpsc::channel();
    let objects = Objects { values, over: OBJECTS, ..Objects::default() };
    let store = Store { namespace, objects: Mutex::new(objects), done };
    let host = Arc::new(store);
    plugin.start(host.clone()).expect("started");
    is_done.recv_timeout(Duration::from_secs(300)).expect("all of them go");
    plugin.stop();
    let objects = host.objects();
    let left: Vec<&Key> = objects.values.keys().collect();
    assert_eq!(left, objects.mine.iter().collect::<Vec<_>>(), "what is not at its end stays");
    assert!(objects.mine.len() >= OBJECTS / ROUND_MAX, "{} writes", objects.mine.len());
    assert!(objects.deletes_most <= ROUND_MAX, "{} in one round", objects.deletes_most);
    assert_eq!(objects.together_most, 64, "others wait behind no more");
}
