//! The plugins of one namespace, asked in the order of the config on threads of their own.

use std::sync::Arc;

use keepboth_core::limits::Stage;
use keepboth_core::name::Key;
use keepboth_core::plugin::{
    Conflict, Delete, Done, Effect, Failure, Plugin, Points, Put, Quarantined, Source, StateChange,
    Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use serde_json::Value as Json;

/// The life of a plugin.
pub mod life;

use crate::made::guarded;
use crate::meters::{Meters, Point};
use crate::protocol::PluginsTold;

/// A plugin of a namespace.
pub type Bound = life::Bound<dyn Plugin>;

/// The plugins of a namespace in their order.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Arc<[Arc<Bound>]>,
    points: Points,
}

impl Chain {
    /// A chain of these plugins.
    pub fn new(plugins: Vec<Arc<Bound>>) -> Chain {
        let points = plugins.iter().map(|bound| bound.says.points);
        let points = points.fold(Points::default(), Points::or);
        Chain { plugins: plugins.into(), points }
    }

    /// The same with those of an older chain in place of the new ones that would do what they do.
    pub fn keeping(&self, old: &Chain) -> Chain {
        let mut left: Vec<Arc<Bound>> = old.plugins.to_vec();
        let kept = self.plugins.iter().map(|new| {
            let same = left.iter().position(|old| old.is_as(new));
            same.map_or_else(|| new.clone(), |at| left.remove(at))
        });
        Chain::new(kept.collect())
    }

    /// True if both are the same plugins, not only alike.
    pub fn is(&self, other: &Chain) -> bool {
        let same = |(a, b): (&Arc<Bound>, &Arc<Bound>)| Arc::ptr_eq(a, b);
        self.plugins.len() == other.plugins.len()
            && self.plugins.iter().zip(other.plugins.iter()).all(same)
    }

    /// The plugins that the other chain does not have, each with its place.
    pub fn besides(&self, other: &Chain) -> Vec<(usize, Arc<Bound>)> {
        let is_other = |bound: &Arc<Bound>| other.plugins.iter().any(|o| Arc::ptr_eq(o, bound));
        let plugins = self.plugins.iter().cloned().enumerate();
        plugins.filter(|(_, bound)| !is_other(bound)).collect()
    }

    /// The hook points that at least one plugin has.
    pub fn points(&self) -> Points {
        self.points
    }

    /// The names of the plugins, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plugins.iter().map(|bound| bound.name.as_str())
    }

    /// What the plugins warn of, and what their calls cost.
    pub fn told(&self) -> PluginsTold {
        life::told(self.plugins.iter())
    }

    /// Whether a version that a peer sent is shown here: the first refusal counts. None is a delete.
    pub fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
        self.plugins.iter().try_for_each(|bound| {
            bound.meters.time(Point::Admit, || {
                let asked = life::ask(&bound.name, || bound.plugin.admit(key, value));
                asked.unwrap_or_else(|words| Err(failed(words)))
            })
        })
    }

    /// What the first plugin says that knows an answer; only those of this name are asked, if there is
    /// one. May take its time.
    pub fn answer(
        &self,
        name: Option<&str>,
        op: &str,
        arguments: &Json,
    ) -> Option<Result<Json, Refusal>> {
        let asked = self.plugins.iter().filter(|bound| name.is_none_or(|name| bound.name == name));
        asked.into_iter().find_map(|bound| {
            // An op that it does not know is no failure of the plugin.
            let answer = bound.meters.time(Point::Answer, || {
                let call = || bound.plugin.answer(op, arguments);
                match guarded(&bound.name, call) {
                    Ok(None) => Ok(None),
                    Ok(Some(answer)) => answer.map(Some),
                    Err(words) => Err(failed(words)),
                }
            });
            answer.transpose()
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
            print.with(&bound.name).with(bound.says.fingerprint)
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

    /// Goes over to another chain, if it is another one. The workers of plugins that are in both stay,
    /// the others are dropped.
    pub fn follow(&mut self, chain: &Chain) {
        if Arc::ptr_eq(&self.chain.plugins, &chain.plugins) {
            return;
        }
        let mut old = std::mem::replace(self, Workers::new(chain.clone()));
        for (at, bound) in chain.plugins.iter().enumerate() {
            let before = old.chain.plugins.iter().position(|old| Arc::ptr_eq(old, bound));
            self.workers[at] = before.and_then(|before| old.workers[before].take());
        }
    }

    /// True if a plugin is to see writes before they are done.
    pub fn look_at_writes(&self) -> bool {
        self.chain.points.before_put || self.chain.points.before_delete
    }

    /// Asks every plugin; the first refusal counts. Afterwards the value is measured again.
    pub fn before_put(&mut self, put: &mut Put, value_bytes_max: usize) -> Result<(), Refusal> {
        for at in self.having(|points| points.before_put) {
            self.call(at, Point::BeforePut, failed, |worker| worker.before_put(put))?;
        }
        put.draft.value().check_size(value_bytes_max, Stage::Hook)
    }

    /// Asks every plugin; the first refusal counts.
    pub fn before_delete(&mut self, delete: &Delete) -> Result<(), Refusal> {
        for at in self.having(|points| points.before_delete) {
            self.call(at, Point::BeforeDelete, failed, |worker| worker.before_delete(delete))?;
        }
        Ok(())
    }

    /// Asks until a plugin merges. A failure is logged and the next plugin asked.
    pub fn conflict(&mut self, conflict: &Conflict) -> Option<Value> {
        for at in self.having(|points| points.conflict) {
            let asked = |worker: &mut dyn Worker| worker.conflict(conflict);
            match self.call(at, Point::Conflict, Failure, asked) {
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

    /// Tells every plugin that wants to hear of writes from there, and gives the writes that they ask
    /// for, each with the meters of who does.
    pub fn after(&mut self, done: &Done) -> Vec<(Arc<Meters>, Effect)> {
        let mut effects = Vec::new();
        let having = match done.origin.source {
            Source::Peer(_) => self.having(|points| points.after_replicated),
            _ => self.having(|points| points.after),
        };
        for at in having {
            let mut own = Vec::new();
            let told = self.call(at, Point::After, Failure, |worker| worker.after(done, &mut own));
            // What was asked for before a failure still counts.
            let meters = &self.chain.plugins[at].meters;
            effects.extend(own.into_iter().map(|effect| (meters.clone(), effect)));
            if let Err(Failure(words)) = told {
                let (namespace, key) = (done.namespace.as_str(), done.key.as_str());
                tracing::warn!(namespace, key, "after hook: {words}");
            }
        }
        effects
    }

    /// Tells every plugin that the store's state changed.
    pub fn state(&mut self, change: &StateChange) {
        for at in self.having(|points| points.state) {
            let told = self.call(at, Point::State, Failure, |worker| worker.state(change));
            if let Err(Failure(words)) = told {
                tracing::warn!(namespace = change.namespace.as_str(), "state hook: {words}");
            }
        }
    }

    /// Tells every plugin that a version is hidden.
    pub fn quarantine(&mut self, held: &Quarantined) {
        for at in self.having(|points| points.quarantine) {
            let told = self.call(at, Point::Quarantine, Failure, |worker| worker.quarantine(held));
            if let Err(Failure(words)) = told {
                let (namespace, key) = (held.namespace.as_str(), held.key.as_str());
                tracing::warn!(namespace, key, "quarantine hook: {words}");
            }
        }
    }

    /// The places of the plugins that have a point.
    fn having(&self, point: fn(Points) -> bool) -> impl Iterator<Item = usize> + use<> {
        let plugins = self.chain.plugins.clone();
        (0..plugins.len()).filter(move |at| point(plugins[*at].says.points))
    }

    /// Calls one worker. A panic ends that worker alone; a new one is made for the next call.
    fn call<T, E>(
        &mut self,
        at: usize,
        point: Point,
        error: impl Fn(String) -> E,
        call: impl FnOnce(&mut dyn Worker) -> Result<T, E>,
    ) -> Result<T, E> {
        let bound = &self.chain.plugins[at];
        let slot = &mut self.workers[at];
        bound.meters.time(point, || {
            let mut worker = match slot.take() {
                Some(worker) => worker,
                None => life::ask(&bound.name, || bound.plugin.worker())
                    .and_then(|made| made)
                    .map_err(|e| error(format!("plugin {} cannot start: {e}", bound.name)))?,
            };
            let outcome = life::ask(&bound.name, || call(worker.as_mut())).map_err(&error)?;
            *slot = Some(worker);
            outcome
        })
    }
}

fn failed(words: String) -> Refusal {
    Refusal::new(Code::HookFailed, words)
}
