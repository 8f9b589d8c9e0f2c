//! The plugins of one namespace, asked in the order of the config on threads of their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use keepboth_core::limits::Stage;
use keepboth_core::name::Key;
use keepboth_core::plugin::{
    Conflict, Delete, Done, Effect, Failure, Plugin, Points, Put, StateChange, Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;

/// A plugin and the name that the config uses for it.
#[derive(Clone)]
pub struct Bound {
    /// The name after `use =`.
    pub name: String,
    /// The plugin, made for this namespace.
    pub plugin: Arc<dyn Plugin>,
}

/// The plugins of a namespace in their order.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Arc<[Bound]>,
    points: Points,
}

impl Chain {
    /// A chain of these plugins.
    pub fn new(plugins: Vec<Bound>) -> Chain {
        let mut points = Points::default();
        for bound in &plugins {
            let own = bound.plugin.points();
            points.before_put |= own.before_put;
            points.before_delete |= own.before_delete;
            points.conflict |= own.conflict;
            points.after |= own.after;
            points.state |= own.state;
        }
        Chain { plugins: plugins.into(), points }
    }

    /// The hook points that at least one plugin has.
    pub fn points(&self) -> Points {
        self.points
    }

    /// The names of the plugins, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|bound| bound.name.as_str())
    }

    /// Whether a version that a peer sent is shown here: the first refusal counts. None is a delete.
    pub fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
        self.plugins.iter().try_for_each(|bound| {
            let asked = catch_unwind(AssertUnwindSafe(|| bound.plugin.admit(key, value)));
            asked.unwrap_or_else(|panic| Err(failed(panicked(&bound.name, panic.as_ref()))))
        })
    }

    /// A hash of all plugins with their settings and files, in their order.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint_of(|_| true).finish()
    }

    /// The same of those plugins whose name is wanted.
    pub fn fingerprint_of(&self, wanted: impl Fn(&str) -> bool) -> Fingerprint {
        let bound = self.plugins.iter().filter(|bound| wanted(&bound.name));
        bound.fold(Fingerprint::new(), |print, bound| {
            print.with(&bound.name).with(bound.plugin.fingerprint())
        })
    }
}

/// The plugins' workers on one thread, each made when it is first needed.
pub struct Workers {
    chain: Chain,
    workers: Vec<Option<Box<dyn Worker>>>,
}

impl Workers {
    /// No worker is made yet.
    pub fn new(chain: Chain) -> Workers {
        let workers = chain.plugins.iter().map(|_| None).collect();
        Workers { chain, workers }
    }

    /// Goes over to another chain, if it is another one. The workers of the old one are dropped.
    pub fn follow(&mut self, chain: &Chain) {
        if !Arc::ptr_eq(&self.chain.plugins, &chain.plugins) {
            *self = Workers::new(chain.clone());
        }
    }

    /// True if a plugin is to see writes before they are done.
    pub fn look_at_writes(&self) -> bool {
        self.chain.points.before_put || self.chain.points.before_delete
    }

    /// Asks every plugin; the first refusal counts. Afterwards the value is measured again.
    pub fn before_put(&mut self, put: &mut Put, value_bytes_max: usize) -> Result<(), Refusal> {
        for at in self.having(|points| points.before_put) {
            self.call(at, |worker| worker.before_put(put)).unwrap_or_else(|e| Err(failed(e)))?;
        }
        put.draft.value().check_size(value_bytes_max, Stage::Hook)
    }

    /// Asks every plugin; the first refusal counts.
    pub fn before_delete(&mut self, delete: &Delete) -> Result<(), Refusal> {
        for at in self.having(|points| points.before_delete) {
            let outcome = self.call(at, |worker| worker.before_delete(delete));
            outcome.unwrap_or_else(|e| Err(failed(e)))?;
        }
        Ok(())
    }

    /// Asks until a plugin merges. A failure is logged and the next plugin asked.
    pub fn conflict(&mut self, conflict: &Conflict) -> Option<Value> {
        for at in self.having(|points| points.conflict) {
            let outcome = self.call(at, |worker| worker.conflict(conflict));
            match outcome.unwrap_or_else(|e| Err(Failure(e))) {
                Ok(Some(value)) => return Some(value),
                Ok(None) => {}
                Err(Failure(words)) => {
                    let (namespace, key) = (conflict.namespace.as_str(), conflict.key.as_str());
                    tracing::warn!(namespace, key, "conflict hook: {words}; all sides are kept");
                }
            }
        }
        None
    }

    /// Tells every plugin, and gives the writes that they ask for.
    pub fn after(&mut self, done: &Done) -> Vec<Effect> {
        let mut effects = Vec::new();
        for at in self.having(|points| points.after) {
            let mut own = Vec::new();
            let outcome = self.call(at, |worker| worker.after(done, &mut own));
            // What was asked for before a failure still counts.
            effects.append(&mut own);
            if let Err(Failure(words)) = outcome.unwrap_or_else(|e| Err(Failure(e))) {
                let (namespace, key) = (done.namespace.as_str(), done.key.as_str());
                tracing::warn!(namespace, key, "after hook: {words}");
            }
        }
        effects
    }

    /// Tells every plugin that the store's state changed.
    pub fn state(&mut self, change: &StateChange) {
        for at in self.having(|points| points.state) {
            let outcome = self.call(at, |worker| worker.state(change));
            if let Err(Failure(words)) = outcome.unwrap_or_else(|e| Err(Failure(e))) {
                tracing::warn!(namespace = change.namespace.as_str(), "state hook: {words}");
            }
        }
    }

    fn having(&self, point: impl Fn(Points) -> bool) -> Vec<usize> {
        let plugins = self.chain.plugins.iter().enumerate();
        plugins.filter(|(_, bound)| point(bound.plugin.points())).map(|(at, _)| at).collect()
    }

    /// Calls one worker. A panic ends that worker alone; a new one is made for the next call.
    fn call<T>(&mut self, at: usize, ask: impl FnOnce(&mut dyn Worker) -> T) -> Result<T, String> {
        let bound = &self.chain.plugins[at];
        let slot = &mut self.workers[at];
        if slot.is_none() {
            let made = bound.plugin.worker();
            *slot = Some(made.map_err(|e| format!("plugin {} cannot start: {e}", bound.name))?);
        }
        let Some(worker) = slot else { return Err(format!("plugin {} is gone", bound.name)) };
        let outcome = catch_unwind(AssertUnwindSafe(|| ask(worker.as_mut())));
        outcome.map_err(|panic| {
            *slot = None;
            panicked(&bound.name, panic.as_ref())
        })
    }
}

fn panicked(name: &str, panic: &(dyn Any + Send)) -> String {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("plugin {name} panicked: {words}")
}

fn failed(words: String) -> Refusal {
    Refusal::new(Code::HookFailed, words)
}
