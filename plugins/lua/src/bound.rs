//! The scripts of a namespace as all threads see them, and what their failures come to.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use keepboth_core::plugin::{Meter, SettingsError, Site};

use crate::breaker::Breaker;
use crate::deadline;
use crate::fault::Fault;
use crate::hook::{Declared, Hook};
use crate::line::{Level, Line};
use crate::script::Script;
use crate::settings::{OnFailure, Settings, mistake};
use crate::state::{HostSlot, Kept};
use crate::subject::Subject;
use crate::vm::{Ground, Vm};
use crate::words::one_line;

/// The scripts of one namespace, checked and compiled.
pub struct Bound {
    /// Namespace, settings and server.
    pub ground: Ground,
    /// The scripts in the order in which they are asked.
    pub scripts: Vec<Loaded>,
}

/// A script that was loaded once to see what it declares.
pub struct Loaded {
    /// The script.
    pub script: Script,
    /// Its hooks and timers, in its order.
    pub declared: Vec<Declared>,
    breaker: Breaker,
    /// One for each hook, once it was called.
    meters: [OnceLock<Option<Arc<dyn Meter>>>; Hook::COUNT],
}

impl Loaded {
    /// Reads and loads the script at this place of the settings.
    fn read(site: &Site, at: usize, name: &str, ground: &Ground) -> Result<Loaded, SettingsError> {
        let script = Script::read(&site.scripts, name);
        let loaded = script.and_then(|script| Loaded::new(script, ground));
        loaded.map_err(|words| mistake(format!("/scripts/{at}"), words))
    }

    /// Loads a script once. An error names its place.
    pub fn new(script: Script, ground: &Ground) -> Result<Loaded, String> {
        let told = |fault: Fault| {
            let place = fault.place.as_deref().unwrap_or(&script.chunk);
            format!("{place}: {}{}", fault.words, script.line_of(place))
        };
        let vm = Vm::load(&script, ground).map_err(told)?;
        let declared: Vec<Declared> = vm.declared().cloned().collect();
        if declared.iter().any(|declared| declared.hook == Hook::OnConflict) {
            Vm::load_for_conflict(&script, ground).map_err(told)?;
        }
        if declared.is_empty() {
            let names = Hook::ALL.map(Hook::as_str).join(", ");
            return Err(format!(
                "{}: registers no hook for namespace {}; the hooks are {names}, and kb.every",
                script.chunk, ground.namespace
            ));
        }
        let after = match ground.settings.on_failure {
            OnFailure::Disable => ground.settings.disable_after,
            OnFailure::Reject | OnFailure::Pass => u32::MAX,
        };
        Ok(Loaded { script, declared, breaker: Breaker::new(after), meters: Default::default() })
    }

    /// Whether it has a handler of this hook.
    pub fn has(&self, hook: Hook) -> bool {
        self.declared.iter().any(|declared| declared.hook == hook)
    }

    /// Whether it has an after hook for writes made here, or for those of peers.
    pub fn follows(&self, replicated: bool) -> bool {
        let after = |d: &Declared| matches!(d.hook, Hook::AfterPut | Hook::AfterDelete);
        self.declared.iter().any(|d| after(d) && d.on.takes(replicated))
    }

    /// Whether it runs now: it may be switched off. A conflict is always shown to it.
    pub fn runs(&self, hook: Hook) -> bool {
        hook == Hook::OnConflict || self.breaker.runs(Instant::now)
    }
}

impl Bound {
    /// Loads the scripts of the settings. All mistakes are told, each with its script.
    pub fn load(
        site: &Site,
        settings: Settings,
        kept: Option<Kept>,
    ) -> Result<Bound, Vec<SettingsError>> {
        let start = deadline::start();
        start.map_err(|e| vec![mistake("", format!("the timer thread cannot be started: {e}"))])?;
        let (namespace, host) = (site.namespace.clone(), HostSlot::default());
        let ground = Ground { namespace, settings, host, kept };
        let (mut scripts, mut mistakes) = (Vec::new(), Vec::new());
        for (at, name) in ground.settings.scripts.iter().enumerate() {
            match Loaded::read(site, at, name, &ground) {
                Ok(loaded) => scripts.push(loaded),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(Bound { ground, scripts }) } else { Err(mistakes) }
    }

    /// Loads the same scripts anew. One that is faulty, or does not stand a test, stays as it is here, and
    /// is told. None if one cannot even be loaded as it was.
    pub fn renewed(
        &self,
        site: &Site,
        test: impl Fn(usize, &str) -> Result<(), SettingsError>,
    ) -> Option<(Bound, Vec<SettingsError>)> {
        let Ground { namespace, settings, .. } = &self.ground;
        let (namespace, settings) = (namespace.clone(), settings.clone());
        let ground = Ground { namespace, settings, host: HostSlot::default(), kept: None };
        let (mut scripts, mut faulty) = (Vec::new(), Vec::new());
        for (at, name) in ground.settings.scripts.iter().enumerate() {
            let read = Loaded::read(site, at, name, &ground);
            let read = read.and_then(|loaded| test(at, name).map(|()| loaded));
            scripts.push(match read {
                Ok(loaded) => loaded,
                Err(mistake) => {
                    faulty.push(mistake);
                    Loaded::new(self.scripts[at].script.clone(), &ground).ok()?
                }
            });
        }
        Some((Bound { ground, scripts }, faulty))
    }

    /// The script at this place did its work.
    pub fn worked(&self, at: usize) {
        if let Some(passed) = self.scripts[at].breaker.works() {
            let (script, namespace) = (&self.scripts[at].script.chunk, &self.ground.namespace);
            let words = format!(
                "{script} works again and is switched on in namespace {namespace}; {passed} events passed without it"
            );
            tracing::warn!(target: "keepboth::script", "{words}");
            self.log(Level::Warn, script, words);
            self.tell_off(at, None);
        }
    }

    /// The script at this place failed.
    pub fn failed(&self, at: usize, hook: Hook) {
        self.count(failures(hook));
        if hook == Hook::OnConflict {
            return;
        }
        if let Some(lasts) = self.scripts[at].breaker.fails(Instant::now()) {
            let (script, namespace) = (&self.scripts[at].script.chunk, &self.ground.namespace);
            let failures = self.ground.settings.disable_after;
            let off = format!(
                "{script} is switched off: it failed {failures} times or more, one after the other"
            );
            let words = format!(
                "{off}; for {} s writes to namespace {namespace} pass WITHOUT it",
                lasts.as_secs()
            );
            tracing::error!(target: "keepboth::script", "{words}");
            self.log(Level::Error, script, words);
            self.tell_off(at, Some(format!("{off}; writes pass WITHOUT it until it works again")));
        }
    }

    /// Adds to a counter of the metrics.
    pub fn count(&self, name: &'static str) {
        if let Some(host) = self.ground.host.get() {
            host.count(name, 1);
        }
    }

    /// The figures of a hook of the script at this place, if anybody measures.
    pub fn meter(&self, at: usize, hook: Hook) -> Option<&dyn Meter> {
        let host = self.ground.host.get()?;
        let Loaded { script, meters, .. } = &self.scripts[at];
        let meter = meters[hook as usize].get_or_init(|| host.meter(&script.chunk, hook.as_str()));
        meter.as_deref()
    }

    /// Says in the status and the metrics what is off: the script at this place, or not any more.
    fn tell_off(&self, at: usize, words: Option<String>) {
        if let Some(host) = self.ground.host.get() {
            host.warn(&self.scripts[at].script.chunk, words);
            let off = self.scripts.iter().filter(|loaded| loaded.breaker.is_off()).count();
            host.gauge("scripts_off", off as i64);
        }
    }

    fn log(&self, level: Level, at: &str, text: String) {
        if let Some(host) = self.ground.host.get() {
            host.log(&Line { level, at: at.to_owned(), text });
        }
    }

    /// A failure in words, which the log of scripts has as well.
    pub fn report(&self, at: usize, subject: &Subject, fault: &Fault) -> String {
        let words = self.words(at, subject, fault);
        let place = fault.place.as_deref().unwrap_or(&self.scripts[at].script.chunk);
        self.log(Level::Error, place, words.clone());
        words
    }

    /// A failure in words: script, line, hook, namespace, key, what happened, and the line itself.
    fn words(&self, at: usize, subject: &Subject, fault: &Fault) -> String {
        let script = &self.scripts[at].script;
        let place = fault.place.as_deref().unwrap_or(&script.chunk);
        let (hook, namespace, words) = (subject.hook.as_str(), subject.namespace(), &fault.words);
        let key = subject.key().map(|key| one_line(key.as_str(), 80));
        let key = key.map_or_else(String::new, |key| format!(", key \"{key}\""));
        let line = script.line_of(place);
        format!("hook failed: {place} ({hook}, namespace {namespace}{key}): {words}{line}")
    }

    /// The timers of all scripts: script, place among its hooks, and when.
    pub fn timers(&self) -> impl Iterator<Item = (usize, usize, &Declared)> {
        self.scripts.iter().enumerate().flat_map(|(script, loaded)| {
            let declared = loaded.declared.iter().enumerate();
            let timers = declared.filter(|(_, declared)| declared.timer.is_some());
            timers.map(move |(at, declared)| (script, at, declared))
        })
    }
}

/// The name under which a hook's failures are counted.
fn failures(hook: Hook) -> &'static str {
    [
        "on_put_failed",
        "on_delete_failed",
        "on_conflict_failed",
        "after_put_failed",
        "after_delete_failed",
        "on_state_failed",
        "every_failed",
    ][hook as usize]
}
