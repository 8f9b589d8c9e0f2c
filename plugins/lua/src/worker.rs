//! The scripts of one namespace on one thread, and what their failures mean for a write.

use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{
    Conflict, Delete, Done, Draft, Effect, Failure, Put, StateChange, Worker,
};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value as Stored;

use crate::event::{self, replace};
use crate::fault::Fault;
use crate::script::Script;
use crate::settings::{OnFailure, Settings};
use crate::state::{Had, Hook, Rejection, Subject, no_draft};
use crate::tree::to_stored;
use crate::vm::{Called, Failed, Vm};
use crate::words::one_line;

/// The scripts of one namespace, checked and compiled.
pub struct Bound {
    /// The namespace.
    pub namespace: Namespace,
    /// The settings.
    pub settings: Settings,
    /// Each script with the hooks it has, in the order of [`Hook::ALL`].
    pub scripts: Vec<(Script, Had)>,
}

/// Implements the hooks by the scripts.
pub struct LuaWorker {
    bound: Arc<Bound>,
    /// One VM for each script; None after it was thrown away, until the script is needed again.
    vms: Vec<Option<Vm>>,
}

impl LuaWorker {
    /// Loads all scripts.
    pub fn new(bound: Arc<Bound>) -> Result<LuaWorker, String> {
        let mut worker = LuaWorker { vms: bound.scripts.iter().map(|_| None).collect(), bound };
        for at in 0..worker.vms.len() {
            let script = worker.bound.scripts[at].0.chunk.clone();
            worker.vm(at).map_err(|fault| {
                format!("{}: {}", fault.place.as_deref().unwrap_or(&script), fault.words)
            })?;
        }
        Ok(worker)
    }

    /// The script's VM, made anew if it was thrown away.
    fn vm(&mut self, at: usize) -> Result<&Vm, Fault> {
        let bound = &self.bound;
        let slot = &mut self.vms[at];
        if slot.is_none() {
            let (script, _) = &bound.scripts[at];
            *slot = Some(Vm::load(script, &bound.namespace, &bound.settings)?);
        }
        slot.as_ref().ok_or_else(|| Fault { place: None, words: "no VM".into(), memory: false })
    }

    /// The scripts that have this hook.
    fn with(&self, hook: Hook) -> Vec<usize> {
        let scripts = self.bound.scripts.iter().enumerate();
        scripts.filter(|(_, (_, hooks))| hooks[hook as usize]).map(|(at, _)| at).collect()
    }

    /// Throws away a VM that hit a limit and passes on what the call came to.
    fn settle<R>(&mut self, at: usize, called: Called<R>) -> Called<R> {
        if called.spoiled {
            self.vms[at] = None;
        }
        called
    }

    /// A failure in words.
    fn words(&self, at: usize, subject: &Subject, fault: &Fault) -> String {
        let place = fault.place.as_deref().unwrap_or(&self.bound.scripts[at].0.chunk);
        let (hook, namespace, words) = (subject.hook.as_str(), &subject.namespace, &fault.words);
        let key = subject.key.as_ref().map(|key| one_line(key.as_str(), 80));
        let key = key.map_or_else(String::new, |key| format!(", key \"{key}\""));
        format!("hook failed: {place} ({hook}, namespace {namespace}{key}): {words}")
    }

    /// What a failed before-hook means; Ok lets the write pass.
    fn verdict(&self, at: usize, subject: &Subject, failed: Failed) -> Result<(), Refusal> {
        let fault = match failed {
            Failed::Rejected(rejection) => return Err(refused(rejection)),
            Failed::Fault(fault) => fault,
        };
        let words = self.words(at, subject, &fault);
        match self.bound.settings.on_failure {
            OnFailure::Reject => Err(Refusal::new(Code::HookFailed, words)),
            OnFailure::Pass => {
                tracing::warn!(target: "keepboth::script", "{words}; the write passed");
                Ok(())
            }
        }
    }

    fn put_by(&mut self, at: usize, subject: &Subject, put: &mut Put) -> Result<(), Refusal> {
        let pass = self.bound.settings.on_failure == OnFailure::Pass;
        let before = pass.then(|| put.draft.clone());
        let called = match self.vm(at) {
            Err(fault) => return self.verdict(at, subject, Failed::Fault(fault)),
            Ok(vm) => {
                let draft = std::mem::replace(&mut put.draft, no_draft());
                vm.call(subject.clone(), vec![draft], Vm::event, |vm, returned| {
                    let (lua, state) = vm.inner();
                    replace(lua, state, &returned).map(|()| None::<()>)
                })
            }
        };
        let mut called = self.settle(at, called);
        if let Some(draft) = called.ended.roots.pop() {
            put.draft = draft;
        }
        let Err(failed) = called.result else { return Ok(()) };
        if let Some(before) = before {
            put.draft = before;
        }
        self.verdict(at, subject, failed)
    }

    fn after_by(
        &mut self,
        at: usize,
        subject: &Subject,
        done: &Done,
    ) -> Result<Vec<Effect>, String> {
        let roots = done.value.iter().map(|v| Draft::new(v.clone(), None)).collect();
        let called = match self.vm(at) {
            Err(fault) => return Err(self.words(at, subject, &fault)),
            Ok(vm) => vm.call(subject.clone(), roots, Vm::event, |_, _| Ok(None::<()>)),
        };
        let called = self.settle(at, called);
        match called.result {
            Ok(_) => Ok(called.ended.effects),
            Err(failed) => Err(self.words(at, subject, &plain(failed))),
        }
    }

    fn conflict_by(
        &mut self,
        at: usize,
        subject: &Subject,
        conflict: &Conflict,
    ) -> Result<Option<Stored>, Failure> {
        let values = conflict.base.iter().chain(conflict.sides.iter().map(|side| &side.value));
        let roots = values.map(|value| Draft::new(value.clone(), None)).collect();
        let called = match self.vm(at) {
            Err(fault) => return Err(Failure(self.words(at, subject, &fault))),
            Ok(vm) => vm.call(
                subject.clone(),
                roots,
                |vm| {
                    let (lua, state) = vm.inner();
                    event::conflict(lua, state, conflict).map(mlua::Value::Table)
                },
                |vm, returned| {
                    let merged = to_stored(vm.inner().0, &returned, "the merged value")?;
                    Ok(Some(merged.into_stored()))
                },
            ),
        };
        let called = self.settle(at, called);
        called.result.map_err(|failed| Failure(self.words(at, subject, &plain(failed))))
    }
}

impl Worker for LuaWorker {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        let subject = Subject {
            hook: Hook::OnPut,
            namespace: put.namespace.clone(),
            key: Some(put.key.clone()),
            origin: Some(put.origin.clone()),
            version: None,
        };
        self.with(Hook::OnPut).into_iter().try_for_each(|at| self.put_by(at, &subject, put))
    }

    fn before_delete(&mut self, delete: &Delete) -> Result<(), Refusal> {
        let subject = Subject {
            hook: Hook::OnDelete,
            namespace: delete.namespace.clone(),
            key: Some(delete.key.clone()),
            origin: Some(delete.origin.clone()),
            version: None,
        };
        for at in self.with(Hook::OnDelete) {
            let called = match self.vm(at) {
                Err(fault) => {
                    self.verdict(at, &subject, Failed::Fault(fault))?;
                    continue;
                }
                Ok(vm) => vm.call(subject.clone(), Vec::new(), Vm::event, |_, _| Ok(None::<()>)),
            };
            if let Err(failed) = self.settle(at, called).result {
                self.verdict(at, &subject, failed)?;
            }
        }
        Ok(())
    }

    fn conflict(&mut self, conflict: &Conflict) -> Result<Option<Stored>, Failure> {
        let subject = Subject {
            hook: Hook::OnConflict,
            namespace: conflict.namespace.clone(),
            key: Some(conflict.key.clone()),
            origin: None,
            version: None,
        };
        for at in self.with(Hook::OnConflict) {
            if let Some(merged) = self.conflict_by(at, &subject, conflict)? {
                return Ok(Some(merged));
            }
        }
        Ok(None)
    }

    fn after(&mut self, done: &Done, writes: &mut Vec<Effect>) -> Result<(), Failure> {
        let hook = if done.value.is_some() { Hook::AfterPut } else { Hook::AfterDelete };
        let subject = Subject {
            hook,
            namespace: done.namespace.clone(),
            key: Some(done.key.clone()),
            origin: Some(done.origin.clone()),
            version: Some(done.version),
        };
        let mut failures = Vec::new();
        for at in self.with(hook) {
            match self.after_by(at, &subject, done) {
                Ok(effects) => writes.extend(effects),
                Err(words) => failures.push(words),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure(failures.join("; "))) }
    }

    fn state(&mut self, change: &StateChange) -> Result<(), Failure> {
        let subject = Subject {
            hook: Hook::OnState,
            namespace: change.namespace.clone(),
            key: None,
            origin: None,
            version: None,
        };
        let mut failures = Vec::new();
        for at in self.with(Hook::OnState) {
            let called = match self.vm(at) {
                Err(fault) => {
                    failures.push(self.words(at, &subject, &fault));
                    continue;
                }
                Ok(vm) => {
                    let argument =
                        |vm: &Vm| event::state(vm.inner().0, change).map(mlua::Value::Table);
                    vm.call(subject.clone(), Vec::new(), argument, |_, _| Ok(None::<()>))
                }
            };
            if let Err(failed) = self.settle(at, called).result {
                failures.push(self.words(at, &subject, &plain(failed)));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure(failures.join("; "))) }
    }
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
