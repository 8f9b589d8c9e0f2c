//! A server in memory, for trials: a store without histories, a clock that is set, a node of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Changed, Changes, Earlier, Effect, Feed, Host, Level, Listed, Origin, Page, Table,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;

/// The time of a trial, unless it is set: in 2023, in milliseconds since 1970.
pub const NOW: u64 = 1_700_000_000_000;

/// A server in memory.
pub struct Memory {
    namespace: Namespace,
    inner: Mutex<Inner>,
}

struct Inner {
    values: BTreeMap<(Namespace, String), Value>,
    now: u64,
    elected: bool,
    counts: BTreeMap<&'static str, u64>,
    gauges: BTreeMap<&'static str, i64>,
    warnings: BTreeMap<String, String>,
}

impl Memory {
    /// An empty store.
    pub fn new(namespace: Namespace) -> Memory {
        let (values, counts, gauges, warnings) = Default::default();
        let inner = Inner { values, now: NOW, elected: true, counts, gauges, warnings };
        Memory { namespace, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts or, without a value, deletes.
    pub fn set(&self, namespace: &Namespace, name: &Name, value: Option<Value>) {
        let place = (namespace.clone(), name.to_string());
        let values = &mut self.inner().values;
        match value {
            Some(value) => drop(values.insert(place, value)),
            None => drop(values.remove(&place)),
        }
    }

    /// Sets the clock.
    pub fn set_now(&self, now: u64) {
        self.inner().now = now;
    }

    /// A counter of the metrics.
    pub fn counted(&self, name: &str) -> u64 {
        self.inner().counts.get(name).copied().unwrap_or(0)
    }

    /// A gauge of the metrics, once it was set.
    pub fn gauged(&self, name: &str) -> Option<i64> {
        self.inner().gauges.get(name).copied()
    }

    /// What the status would warn of.
    pub fn warnings(&self) -> Vec<String> {
        self.inner().warnings.values().cloned().collect()
    }

    /// Says whether this node is the elected one.
    pub fn set_elected(&self, elected: bool) {
        self.inner().elected = elected;
    }
}

/// A trial has no histories: equal values are one version.
fn version_of(value: &Value) -> VersionId {
    VersionId(*blake3::hash(value.as_bytes()).as_bytes())
}

/// What a trial has no form of.
fn none_here<T>(what: &str) -> Result<T, Refusal> {
    Err(Refusal::new(Code::HookFailed, format!("a trial has no {what}")))
}

impl Host for Memory {
    fn namespace(&self) -> Option<&Namespace> {
        Some(&self.namespace)
    }

    fn node(&self) -> NodeId {
        NodeId([0; 32])
    }

    fn now(&self) -> u64 {
        self.inner().now
    }

    fn namespaces(&self) -> Vec<Namespace> {
        let mut names: Vec<Namespace> =
            self.inner().values.keys().map(|(name, _)| name.clone()).collect();
        names.push(self.namespace.clone());
        names.sort();
        names.dedup();
        names
    }

    fn state(&self, _: &Namespace) -> Result<Level, Refusal> {
        Ok(Level::NotSynced)
    }

    fn is_elected(&self, _: &Namespace) -> Result<bool, Refusal> {
        Ok(self.inner().elected)
    }

    fn folder(&self) -> Result<PathBuf, Refusal> {
        none_here("folder")
    }

    fn get(&self, namespace: &Namespace, name: &Name) -> Result<Option<Value>, Refusal> {
        Ok(self.inner().values.get(&(namespace.clone(), name.to_string())).cloned())
    }

    fn list(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let inner = self.inner();
        let mut items = Vec::new();
        for ((ns, key), value) in &inner.values {
            let behind = after.is_none_or(|after| key.as_str() > after.as_str());
            if ns != namespace || !key.starts_with(prefix) || !behind {
                continue;
            }
            let key = Key::new(key)?;
            let (name, version, timestamp) = (Name::Key(key.clone()), version_of(value), inner.now);
            items.push(Listed { name, key, version, timestamp, value: value.clone() });
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Page { items, next })
    }

    fn write_if(
        &self,
        effect: Effect,
        condition: Condition,
        _: Origin,
    ) -> Result<VersionId, Refusal> {
        let there = self.get(&effect.namespace, &effect.name)?.as_ref().map(version_of);
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => there.is_none(),
            Condition::Is(version) => there == Some(version),
        };
        if !holds {
            let words = format!("{}/{} is another version", effect.namespace, effect.name);
            return Err(Refusal::new(Code::VersionMismatch, words));
        }
        let version = effect.value.as_ref().map_or(VersionId([0; 32]), version_of);
        self.set(&effect.namespace, &effect.name, effect.value);
        Ok(version)
    }

    fn table(&self) -> Result<Arc<dyn Table>, Refusal> {
        none_here("table")
    }

    fn shown(&self, _: &Namespace, _: &Key) -> Result<Option<Changed>, Refusal> {
        none_here("feed")
    }

    fn feed(&self, _: &Namespace) -> Result<Feed, Refusal> {
        none_here("feed")
    }

    fn changes(&self, _: &Namespace, _: u64, _: usize) -> Result<Changes, Refusal> {
        none_here("feed")
    }

    fn wait_changed(&self, _: &Namespace, _: u64, _: Duration) -> Result<u64, Refusal> {
        none_here("feed")
    }

    fn spawn(&self, _: &str, run: Box<dyn FnOnce() + Send>) -> Result<(), String> {
        std::thread::spawn(run);
        Ok(())
    }

    fn count(&self, name: &'static str, by: u64) {
        *self.inner().counts.entry(name).or_default() += by;
    }

    fn gauge(&self, name: &'static str, value: i64) {
        self.inner().gauges.insert(name, value);
    }

    fn warn(&self, matter: &str, words: Option<String>) -> bool {
        let warnings = &mut self.inner().warnings;
        match words {
            Some(words) => warnings.insert(matter.to_owned(), words).is_none(),
            None => warnings.remove(matter).is_some(),
        }
    }
}

/// A value that was there before a write.
pub struct Was(pub Value);

impl Earlier for Was {
    fn value(&self, _: &Name) -> Result<Option<Value>, Refusal> {
        Ok(Some(self.0.clone()))
    }

    fn replaced_by(&self, _: &Key, _: &VersionId) -> Result<Option<Value>, Refusal> {
        Ok(Some(self.0.clone()))
    }
}
