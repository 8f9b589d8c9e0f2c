//! What a running call lends to its script, and what the script asks for in it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use keepboth_core::plugin::{Draft, Effect, Host};
use keepboth_core::value::Value;
use mlua::AnyUserData;
use serde_json::Value as Json;

use crate::cbor::{Item, encode};
use crate::hook::Hook;
use crate::line::{Line, Rate};
use crate::subject::Subject;
use crate::words::size;

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

/// The server, once it has started the plugin.
pub type HostSlot = Arc<OnceLock<Arc<dyn Host>>>;

/// Lines that somebody keeps.
pub type Kept = Arc<Mutex<Vec<Line>>>;

/// The state of one VM, shared by all that its script holds.
pub type Shared = Rc<RefCell<State>>;

/// What the running call has.
pub struct State {
    /// Counts calls; what a script keeps from an earlier one is told by it.
    pub epoch: u64,
    /// The event, while a hook runs.
    pub subject: Option<Rc<Subject>>,
    /// The values that are lent: one for an event, all sides of a conflict.
    pub roots: Vec<Draft>,
    /// The userdata of the first of them, once the script asked for it.
    pub first: Option<AnyUserData>,
    /// The first of them as a CBOR item, once the script asked for it.
    pub item: Option<Item>,
    /// Whether that was changed.
    pub item_changed: bool,
    /// What was before the write, once the script asked for it.
    pub old: Option<mlua::Value>,
    /// The server.
    pub host: HostSlot,
    /// Set by `kb.reject`, which a script cannot take back.
    pub rejection: Option<Rejection>,
    /// Writes asked for.
    pub effects: Vec<Effect>,
    /// Reads of the store.
    pub reads: usize,
    /// Lines that this call logged.
    pub lines: usize,
    /// Lines over time.
    pub rate: Rate,
    /// The lines, where somebody keeps them instead of the server's log.
    pub kept: Option<Kept>,
    /// Whether a decision of `kb.merge3` runs.
    pub merging: bool,
    built: usize,
    built_max: usize,
}

impl State {
    /// The state of a VM whose calls may build values of so many bytes.
    pub fn new(built_max: usize, host: HostSlot, kept: Option<Kept>) -> State {
        State {
            epoch: 0,
            subject: None,
            roots: Vec::new(),
            first: None,
            item: None,
            item_changed: false,
            old: None,
            host,
            rejection: None,
            effects: Vec::new(),
            reads: 0,
            lines: 0,
            rate: Rate::new(Instant::now()),
            kept,
            merging: false,
            built: 0,
            built_max,
        }
    }

    /// Begins a call.
    pub fn begin(&mut self, subject: Option<Rc<Subject>>, roots: Vec<Draft>) {
        self.epoch += 1;
        (self.subject, self.roots) = (subject, roots);
        (self.lines, self.reads, self.built, self.merging) = (0, 0, 0, false);
    }

    /// Ends a call: all that it lent is over.
    pub fn end(&mut self) -> Ended {
        self.epoch += 1;
        (self.subject, self.first, self.old) = (None, None, None);
        (self.item, self.item_changed) = (None, false);
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

    /// Takes a CBOR item that was changed where it stands over into the value.
    pub fn settle(&mut self) -> Result<(), String> {
        let (Some(item), Some(draft), true) =
            (&self.item, self.roots.first_mut(), self.item_changed)
        else {
            return Ok(());
        };
        draft.set(Value::cbor(&encode(item)).map_err(|e| format!("ev.value: {}", e.message))?);
        self.item_changed = false;
        Ok(())
    }

    /// The lent value, if it is JSON.
    pub fn tree(&mut self, root: usize) -> Option<&Json> {
        self.roots.get_mut(root)?.tree()
    }

    /// The lent value to be changed; only a put's can be.
    pub fn writable(&mut self, root: usize) -> Result<&mut Draft, String> {
        match (self.hook(), self.roots.get_mut(root)) {
            (Some(Hook::OnPut), Some(draft)) if root == 0 => Ok(draft),
            (Some(Hook::OnPut), _) => Err("the value is read-only; only ev.value changes".into()),
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

impl Ended {
    /// What a call leaves behind that never began.
    pub fn with(roots: Vec<Draft>) -> Ended {
        Ended { roots, rejection: None, effects: Vec::new() }
    }
}

/// A draft of nothing, to stand where one was taken away.
pub fn no_draft() -> Draft {
    Draft::new(Value::bytes(Vec::new()), None)
}

const OVER: &str = "this event is over; copy what is needed later while its hook runs";
