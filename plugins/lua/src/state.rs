//! What a running call lends to its script, and what the script asks for in it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Draft, Effect, Origin};
use keepboth_core::value::Value;
use mlua::AnyUserData;
use serde_json::Value as Json;

use crate::words::size;

/// The hooks that a script can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before a put.
    OnPut,
    /// Before a delete.
    OnDelete,
    /// At a conflict.
    OnConflict,
    /// After a put.
    AfterPut,
    /// After a delete.
    AfterDelete,
    /// After a change of the store's state.
    OnState,
}

/// For each hook, in the order of [`Hook::ALL`], whether a script has it.
pub type Had = [bool; Hook::ALL.len()];

impl Hook {
    /// All hooks.
    pub const ALL: [Hook; 6] = [
        Hook::OnPut,
        Hook::OnDelete,
        Hook::OnConflict,
        Hook::AfterPut,
        Hook::AfterDelete,
        Hook::OnState,
    ];

    /// The name by which a script registers it.
    pub fn as_str(self) -> &'static str {
        ["on_put", "on_delete", "on_conflict", "after_put", "after_delete", "on_state"]
            [self as usize]
    }
}

/// What an event tells of itself, besides its value.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The hook that is called.
    pub hook: Hook,
    /// The namespace.
    pub namespace: Namespace,
    /// The key of the history; None at a change of state.
    pub key: Option<Key>,
    /// Who asked; None at a conflict and a change of state.
    pub origin: Option<Origin>,
    /// The version that was made, in after hooks.
    pub version: Option<VersionId>,
}

/// A refusal by `kb.reject`.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// The script's own code.
    pub code: String,
    /// The script's words.
    pub message: String,
    /// `scripts/NAME:LINE`.
    pub place: String,
}

/// The state of one VM, shared by all that its script holds.
pub type Shared = Rc<RefCell<State>>;

/// What the running call has.
pub struct State {
    /// Counts calls; what a script keeps from an earlier one is told by it.
    pub epoch: u64,
    /// The event, while a hook runs.
    pub subject: Option<Subject>,
    /// The values that are lent: one for an event, all sides of a conflict.
    pub roots: Vec<Draft>,
    /// The userdata of the first of them, once the script asked for it.
    pub first: Option<AnyUserData>,
    /// Set by `kb.reject`, which a script cannot take back.
    pub rejection: Option<Rejection>,
    /// Writes asked for.
    pub effects: Vec<Effect>,
    /// Lines logged.
    pub lines: usize,
    /// Whether a decision of `kb.merge3` runs.
    pub merging: bool,
    built: usize,
    built_max: usize,
}

impl State {
    /// The state of a VM whose calls may build values of so many bytes.
    pub fn new(built_max: usize) -> State {
        State {
            epoch: 0,
            subject: None,
            roots: Vec::new(),
            first: None,
            rejection: None,
            effects: Vec::new(),
            lines: 0,
            merging: false,
            built: 0,
            built_max,
        }
    }

    /// Begins a call.
    pub fn begin(&mut self, subject: Option<Subject>, roots: Vec<Draft>) {
        self.epoch += 1;
        (self.subject, self.roots) = (subject, roots);
        (self.lines, self.built, self.merging) = (0, 0, false);
    }

    /// Ends a call: all that it lent is over.
    pub fn end(&mut self) -> Ended {
        self.epoch += 1;
        self.subject = None;
        self.first = None;
        Ended {
            roots: std::mem::take(&mut self.roots),
            rejection: self.rejection.take(),
            effects: std::mem::take(&mut self.effects),
        }
    }

    /// Refuses what was lent in another call.
    pub fn live(&self, epoch: u64) -> Result<(), String> {
        if self.epoch == epoch { Ok(()) } else { Err(OVER.into()) }
    }

    /// The hook that runs.
    pub fn hook(&self) -> Option<Hook> {
        self.subject.as_ref().map(|s| s.hook)
    }

    /// The lent value, if it is JSON.
    pub fn tree(&mut self, root: usize) -> Option<&Json> {
        self.roots.get_mut(root)?.tree()
    }

    /// The lent value to be changed; only a put's can be.
    pub fn writable(&mut self, root: usize) -> Result<&mut Draft, String> {
        match (self.hook(), self.roots.get_mut(root)) {
            (Some(Hook::OnPut), Some(draft)) => Ok(draft),
            (Some(hook), _) => {
                Err(format!("the value is read-only in {}; only on_put changes it", hook.as_str()))
            }
            (None, _) => Err(OVER.into()),
        }
    }

    /// Counts bytes that were built outside the VM's own memory; false when it is too much.
    pub fn build(&mut self, bytes: usize) -> Result<(), String> {
        self.built = self.built.saturating_add(bytes);
        if self.built > self.built_max {
            return Err(format!("this call built more than {} of values", size(self.built_max)));
        }
        Ok(())
    }
}

/// What a call leaves behind.
pub struct Ended {
    /// The values that were lent.
    pub roots: Vec<Draft>,
    /// What `kb.reject` said.
    pub rejection: Option<Rejection>,
    /// Writes asked for.
    pub effects: Vec<Effect>,
}

/// A draft of nothing, to stand where one was taken away.
pub fn no_draft() -> Draft {
    Draft::new(Value::bytes(Vec::new()), None)
}

/// The actor of an event without one.
pub fn actor(origin: Option<&Origin>) -> Option<&Arc<str>> {
    origin.map(|o| &o.actor)
}

const OVER: &str = "this event is over; copy what is needed later while its hook runs";
