//! The scripts of one namespace on one thread, and what their failures mean for a write.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use keepboth_core::plugin::{
    Conflict, Delete, Done, Draft, Effect, Failure, Put, StateChange, Worker,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value as Stored;
use mlua::Value;

use crate::bound::Bound;
use crate::event::{self, replace};
use crate::fault::Fault;
use crate::hook::Hook;
use crate::settings::OnFailure;
use crate::state::{Ended, Rejection, no_draft};
use crate::subject::{Subject, What};
use crate::tree::to_stored;
use crate::vm::{Failed, Vm};

/// Implements the hooks by the scripts.
pub struct LuaWorker {
    bound: Arc<Bound>,
    /// One VM for each script; None after it was thrown away, until the script is needed again.
    vms: Vec<Option<Vm>>,
}

impl LuaWorker {
    /// Loads all scripts.
    pub fn new(bound: Arc<Bound>) -> Result<LuaWorker, String> {
        let load = |loaded: &crate::bound::Loaded| {
            let vm = Vm::load(&loaded.script, &bound.ground).map_err(|fault| {
                let place = fault.place.as_deref().unwrap_or(&loaded.script.chunk);
                format!("{place}: {}", fault.words)
            });
            vm.map(Some)
        };
        let vms = bound.scripts.iter().map(load).collect::<Result<_, String>>()?;
        Ok(LuaWorker { bound, vms })
    }

    /// The scripts that have this hook and run.
    fn with(&self, hook: Hook) -> impl Iterator<Item = usize> + use<> {
        let bound = self.bound.clone();
        (0..bound.scripts.len()).filter(move |at| {
            let loaded = &bound.scripts[*at];
            if !loaded.has(hook) {
                return false;
            }
            let runs = loaded.runs(hook);
            if !runs {
                bound.count("events_unguarded");
            }
            runs
        })
    }

    /// Calls one script. A VM that hit a limit is thrown away. A conflict is shown to a VM of its own,
    /// which has seen nothing else: what a script remembers must not make nodes differ.
    fn call<R>(
        &mut self,
        at: usize,
        subject: &Rc<Subject>,
        roots: Vec<Draft>,
        argument: impl FnOnce(&Vm) -> mlua::Result<Value>,
        each: impl Fn(&Vm, Value) -> Result<Option<R>, String>,
    ) -> (Result<Option<R>, Failed>, Ended) {
        let meter = self.bound.meter(at, subject.hook).map(|meter| (meter, Instant::now()));
        let (script, ground) = (&self.bound.scripts[at].script, &self.bound.ground);
        let (slot, alone) = (&mut self.vms[at], subject.hook == Hook::OnConflict);
        let vm = match slot.take_if(|_| !alone) {
            Some(vm) => Ok(vm),
            None if alone => Vm::load_for_conflict(script, ground),
            None => Vm::load(script, ground),
        };
        let (result, ended) = match vm {
            Err(fault) => (Err(Failed::Fault(fault)), Ended::with(roots)),
            Ok(vm) => {
                let called = vm.call(subject, roots, argument, each);
                if !called.spoiled && !alone {
                    *slot = Some(vm);
                }
                (called.result, called.ended)
            }
        };
        if let Some((meter, started)) = meter {
            meter.took(started.elapsed(), matches!(result, Err(Failed::Fault(_))));
        }
        match &result {
            Err(Failed::Fault(_)) => self.bound.failed(at, subject.hook),
            Ok(_) | Err(Failed::Rejected(_)) => self.bound.worked(at),
        }
        (result, ended)
    }

    /// What a failed before-hook means; Ok lets the write pass.
    fn verdict(&self, at: usize, subject: &Subject, failed: Failed) -> Result<(), Refusal> {
        let fault = match failed {
            Failed::Rejected(rejection) => return Err(refused(rejection)),
            Failed::Fault(fault) => fault,
        };
        let words = self.bound.report(at, subject, &fault);
        match self.bound.ground.settings.on_failure {
            OnFailure::Reject | OnFailure::Disable => Err(Refusal::new(Code::HookFailed, words)),
            OnFailure::Pass => {
                self.bound.count("events_unguarded");
                tracing::warn!(target: "keepboth::script", "a write passed unguarded: {words}");
                Ok(())
            }
        }
    }

    fn put_by(&mut self, at: usize, subject: &Rc<Subject>, put: &mut Put) -> Result<(), Refusal> {
        let pass = self.bound.ground.settings.on_failure == OnFailure::Pass;
        let before = pass.then(|| put.draft.clone());
        let draft = std::mem::replace(&mut put.draft, no_draft());
        let (result, ended) = self.call(at, subject, vec![draft], Vm::event, |vm, returned| {
            let (lua, state) = vm.inner();
            replace(lua, state, &returned).map(|()| None::<()>)
        });
        if let Some(draft) = ended.roots.into_iter().next() {
            put.draft = draft;
        }
        let Err(failed) = result else { return Ok(()) };
        if let Some(before) = before {
            put.draft = before;
        }
        self.verdict(at, subject, failed)
    }

    /// Calls a hook that can neither refuse nor answer; the writes that it asks for.
    fn follow(
        &mut self,
        at: usize,
        subject: &Rc<Subject>,
        roots: Vec<Draft>,
        argument: impl FnOnce(&Vm) -> mlua::Result<Value>,
    ) -> Result<Vec<Effect>, String> {
        let (result, ended) = self.call(at, subject, roots, argument, |_, _| Ok(None::<()>));
        let done = result.map(|_| ended.effects);
        done.map_err(|failed| self.bound.report(at, subject, &plain(failed)))
    }

    /// Calls one timer of the script at this place; the writes that it asks for.
    pub fn timer(&mut self, at: usize, timer: usize, now: u64) -> Result<Vec<Effect>, String> {
        if !self.bound.scripts[at].runs(Hook::Timer) {
            return Ok(Vec::new());
        }
        let namespace = self.bound.ground.namespace.clone();
        let what = What::Timer(namespace.clone(), timer);
        let subject = Rc::new(Subject { hook: Hook::Timer, what });
        self.follow(at, &subject, Vec::new(), |vm| {
            event::timer(vm.inner().0, &namespace, now).map(Value::Table)
        })
    }
}

impl Worker for LuaWorker {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        let write = Delete {
            namespace: put.namespace.clone(),
            name: put.name.clone(),
            key: put.key.clone(),
            origin: put.origin.clone(),
            before: put.before.clone(),
        };
        let subject = Rc::new(Subject { hook: Hook::OnPut, what: What::Before(write) });
        self.with(Hook::OnPut).try_for_each(|at| self.put_by(at, &subject, put))
    }

    fn before_delete(&mut self, delete: &Delete) -> Result<(), Refusal> {
        let write = Delete {
            namespace: delete.namespace.clone(),
            name: delete.name.clone(),
            key: delete.key.clone(),
            origin: delete.origin.clone(),
            before: delete.before.clone(),
        };
        let subject = Rc::new(Subject { hook: Hook::OnDelete, what: What::Before(write) });
        for at in self.with(Hook::OnDelete) {
            let each = |_: &Vm, _| Ok(None::<()>);
            if let (Err(failed), _) = self.call(at, &subject, Vec::new(), Vm::event, each) {
                self.verdict(at, &subject, failed)?;
            }
        }
        Ok(())
    }

    fn conflict(&mut self, conflict: &Conflict) -> Result<Option<Stored>, Failure> {
        let what = What::Conflict(conflict.namespace.clone(), conflict.key.clone());
        let subject = Rc::new(Subject { hook: Hook::OnConflict, what });
        for at in self.with(Hook::OnConflict) {
            let values = conflict.base.iter().chain(conflict.sides.iter().map(|side| &side.value));
            let roots = values.map(|value| Draft::new(value.clone(), None)).collect();
            let argument = |vm: &Vm| {
                let (lua, state) = vm.inner();
                event::conflict(lua, state, conflict).map(Value::Table)
            };
            let (result, _) = self.call(at, &subject, roots, argument, |vm, returned| {
                let merged = to_stored(vm.inner().0, &returned, "the merged value")?;
                Ok(Some(merged.into_stored()))
            });
            match result {
                Ok(None) => {}
                Ok(merged) => return Ok(merged),
                Err(failed) => {
                    return Err(Failure(self.bound.report(at, &subject, &plain(failed))));
                }
            }
        }
        Ok(None)
    }

    fn after(&mut self, done: &Done, writes: &mut Vec<Effect>) -> Result<(), Failure> {
        let hook = if done.value.is_some() { Hook::AfterPut } else { Hook::AfterDelete };
        let subject = Rc::new(Subject { hook, what: What::After(done.clone()) });
        let mut failures = Vec::new();
        for at in self.with(hook) {
            let meant = |(place, declared)| subject.is_for(place, declared);
            if !self.bound.scripts[at].declared.iter().enumerate().any(meant) {
                continue;
            }
            let roots = done.value.iter().map(|v| Draft::new(v.clone(), None)).collect();
            match self.follow(at, &subject, roots, Vm::event) {
                Ok(effects) => writes.extend(effects),
                Err(words) => failures.push(words),
            }
        }
        all_worked(failures)
    }

    fn state(&mut self, change: &StateChange) -> Result<(), Failure> {
        let what = What::State(change.namespace.clone());
        let subject = Rc::new(Subject { hook: Hook::OnState, what });
        let mut failures = Vec::new();
        for at in self.with(Hook::OnState) {
            let argument = |vm: &Vm| event::state(vm.inner().0, change).map(Value::Table);
            failures.extend(self.follow(at, &subject, Vec::new(), argument).err());
        }
        all_worked(failures)
    }
}

fn all_worked(failures: Vec<String>) -> Result<(), Failure> {
    if failures.is_empty() { Ok(()) } else { Err(Failure(failures.join("; "))) }
}

fn refused(rejection: Rejection) -> Refusal {
    let words = format!("{} ({})", rejection.message, rejection.place);
    let mut refusal = Refusal::new(Code::HookRefused, words);
    refusal.reason = Some(rejection.code.into());
    refusal
}

/// A failure where nothing can be refused.
fn plain(failed: Failed) -> Fault {
    match failed {
        Failed::Fault(fault) => fault,
        Failed::Rejected(r) => Fault { place: Some(r.place), words: r.message, memory: false },
    }
}
