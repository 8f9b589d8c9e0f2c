//! Scripts on trial, without a server: one event at a time, and all that it came to. What the command
//! line and the tests of scripts are made of.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Address, Key, Name, Namespace};
use keepboth_core::plugin::{
    Before, Conflict, Delete, Done, Draft, Effect, Failure, Host, Origin, Put, SettingsError, Side,
    Site, Source, StateChange, Worker,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use serde_json::Value as Json;

use crate::bound::Bound;
use crate::hook::Declared;
use crate::line::Line;
use crate::memory::{Memory, NOW, Was};
use crate::settings::{Settings, mistake};
use crate::state::Kept;
use crate::worker::LuaWorker;

/// Scripts of a namespace, loaded, with a store in memory.
pub struct Trial {
    bound: Arc<Bound>,
    worker: LuaWorker,
    memory: Arc<Memory>,
    lines: Kept,
}

/// A hook or timer that a script has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// `scripts/NAME`.
    pub script: String,
    /// What was declared, and where.
    pub declared: Declared,
    /// The script's place in the settings.
    pub at: usize,
    /// Its place among the hooks of its script.
    pub place: usize,
}

/// An event of a write.
#[derive(Debug, Clone)]
pub struct Event {
    /// The key.
    pub key: Key,
    /// Who writes.
    pub actor: String,
    /// Where the write comes from.
    pub source: Source,
    /// 0, or how many hooks led to it.
    pub depth: u8,
    /// Milliseconds since 1970.
    pub now: u64,
    /// The version that after hooks see.
    pub version: VersionId,
    /// The value before the write; without one, what the store in memory has.
    pub old: Option<Value>,
}

impl Event {
    /// An event of a client on this key.
    pub fn new(key: Key) -> Event {
        let (actor, source, version) = ("anonymous".into(), Source::Client, VersionId([1; 32]));
        Event { key, actor, source, depth: 0, now: NOW, version, old: None }
    }

    fn origin(&self) -> Origin {
        let origin = Origin::new(self.source, self.actor.as_str(), self.now);
        Origin { depth: self.depth, ..origin }
    }
}

/// What an event came to.
#[derive(Debug)]
pub struct Outcome {
    /// The value as hooks left it, or the merged one; None for all else, and for a conflict that is kept.
    pub value: Option<Value>,
    /// The refusal, of the script or because it failed.
    pub refused: Option<Refusal>,
    /// A failure that refuses nothing.
    pub failed: Option<String>,
    /// The writes that were asked for. They are in the store in memory.
    pub writes: Vec<Effect>,
    /// What was logged.
    pub log: Vec<Line>,
    /// How long the hooks took.
    pub took: Duration,
}

impl Trial {
    /// Loads scripts as the server would, without running their tests. All mistakes are told.
    pub fn new(site: &Site, settings: Json) -> Result<Trial, Vec<SettingsError>> {
        let lines = Kept::default();
        let bound = Bound::load(site, Settings::read(settings)?, Some(lines.clone()))?;
        let memory = Arc::new(Memory::new(site.namespace.clone()));
        // The slot is new, so it is empty.
        let _ = bound.ground.host.set(memory.clone());
        let bound = Arc::new(bound);
        let worker = LuaWorker::new(bound.clone()).map_err(|words| vec![mistake("", words)])?;
        let trial = Trial { bound, worker, memory, lines };
        trial.lines();
        Ok(trial)
    }

    /// All hooks and timers, in the order of scripts and lines.
    pub fn hooks(&self) -> Vec<Registered> {
        let scripts = self.bound.scripts.iter().enumerate();
        let hooks = scripts.flat_map(|(at, loaded)| {
            let declared = loaded.declared.iter().enumerate();
            declared.map(move |(place, declared)| Registered {
                script: loaded.script.chunk.to_string(),
                declared: declared.clone(),
                at,
                place,
            })
        });
        hooks.collect()
    }

    /// The store in memory, which `kb.get` and `kb.list` read.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.bound.ground.namespace
    }

    /// Runs `on_put`. The time has what it costs to write a changed value anew.
    pub fn put(&mut self, event: &Event, value: Value) -> Outcome {
        let mut put = self.event_of_put(event, value);
        let ((refused, value), took) = timed(|| {
            let refused = self.worker.before_put(&mut put).err();
            (refused, put.draft.into_value())
        });
        Outcome { value: refused.is_none().then_some(value), refused, ..self.outcome(took) }
    }

    /// The time of a put that no script sees.
    pub fn bare_put(&self, event: &Event, value: Value) -> Duration {
        let put = self.event_of_put(event, value);
        timed(|| put.draft.into_value()).1
    }

    fn event_of_put(&self, event: &Event, value: Value) -> Put {
        // A server has the tree of what comes as JSON.
        let tree = value.to_json();
        Put {
            namespace: self.namespace().clone(),
            name: Name::Key(event.key.clone()),
            key: event.key.clone(),
            origin: event.origin(),
            draft: Draft::new(value, tree),
            before: self.before(event),
        }
    }

    /// Runs `on_delete`.
    pub fn delete(&mut self, event: &Event) -> Outcome {
        let delete = Delete {
            namespace: self.namespace().clone(),
            name: Name::Key(event.key.clone()),
            key: event.key.clone(),
            origin: event.origin(),
            before: self.before(event),
        };
        let (refused, took) = timed(|| self.worker.before_delete(&delete).err());
        Outcome { refused, ..self.outcome(took) }
    }

    /// Runs `after_put`, or without a value `after_delete`.
    pub fn after(&mut self, event: &Event, value: Option<Value>) -> Outcome {
        let done = Done {
            namespace: self.namespace().clone(),
            name: Name::Key(event.key.clone()),
            key: event.key.clone(),
            version: event.version,
            change: if value.is_some() { Change::Put } else { Change::Delete },
            value,
            origin: event.origin(),
            before: self.before(event),
        };
        let mut writes = Vec::new();
        let (result, took) = timed(|| self.worker.after(&done, &mut writes));
        self.followed(result.map(|()| writes), took)
    }

    /// Runs `on_conflict`; the value merges, None keeps all sides.
    pub fn conflict(&mut self, key: &Key, base: Option<Value>, sides: Vec<Value>) -> Outcome {
        let side = |(n, value): (usize, Value)| {
            let version = VersionId([n as u8; 32]);
            let address = Address { key: key.hash(), branch: [n as u8; 16] };
            Side { version, address, value }
        };
        let sides = sides.into_iter().enumerate().map(side).collect();
        let conflict =
            Conflict { namespace: self.namespace().clone(), key: key.clone(), base, sides };
        let (result, took) = timed(|| self.worker.conflict(&conflict));
        let mut outcome = self.outcome(took);
        match result {
            Ok(value) => outcome.value = value,
            Err(Failure(words)) => outcome.failed = Some(words),
        }
        outcome
    }

    /// Runs `on_state`.
    pub fn state(&mut self, change: &StateChange) -> Outcome {
        let (result, took) = timed(|| self.worker.state(change));
        self.followed(result.map(|()| Vec::new()), took)
    }

    /// Runs one timer, whatever its time and whoever is elected.
    pub fn timer(&mut self, timer: &Registered, now: u64) -> Outcome {
        self.memory.set_now(now);
        let (result, took) = timed(|| self.worker.timer(timer.at, timer.place, now));
        self.followed(result.map_err(Failure), took)
    }

    fn before(&self, event: &Event) -> Before {
        let stored = || {
            let name = Name::Key(event.key.clone());
            self.memory.get(self.namespace(), &name).ok().flatten()
        };
        let old = event.old.clone().or_else(stored);
        old.map_or_else(Before::nothing, |old| Before::of(Arc::new(Was(old))))
    }

    fn followed(&self, result: Result<Vec<Effect>, Failure>, took: Duration) -> Outcome {
        let mut outcome = self.outcome(took);
        match result {
            Ok(writes) => outcome.writes = writes,
            Err(Failure(words)) => outcome.failed = Some(words),
        }
        for write in &outcome.writes {
            self.memory.set(&write.namespace, &write.name, write.value.clone());
        }
        outcome
    }

    fn outcome(&self, took: Duration) -> Outcome {
        let (value, refused, failed, writes) = (None, None, None, Vec::new());
        Outcome { value, refused, failed, writes, log: self.lines(), took }
    }

    fn lines(&self) -> Vec<Line> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outcome {
    /// What went wrong in the script itself, if anything did.
    pub fn fault(&self) -> Option<&str> {
        let refused = self.refused.as_ref().filter(|refusal| refusal.code == Code::HookFailed);
        self.failed.as_deref().or(refused.map(|refusal| refusal.message.as_str()))
    }
}

fn timed<R>(run: impl FnOnce() -> R) -> (R, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}
