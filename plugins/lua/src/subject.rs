//! What an event tells of itself, besides its value.

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Delete, Done, Origin, Source};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;

use crate::hook::{Declared, Hook};

/// The event of a call.
#[derive(Debug)]
pub struct Subject {
    /// The hook that is called.
    pub hook: Hook,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug)]
pub enum What {
    /// A write on its way in: of a put all but its value.
    Before(Delete),
    /// A write that is durable, without its value.
    After(Done),
    /// A conflict.
    Conflict(Namespace, Key),
    /// A change of state.
    State(Namespace),
    /// The time of the timer that is declared at this place of its script.
    Timer(Namespace, usize),
}

impl Subject {
    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        match &self.what {
            What::Before(write) => &write.namespace,
            What::After(done) => &done.namespace,
            What::Conflict(namespace, _) | What::State(namespace) => namespace,
            What::Timer(namespace, ..) => namespace,
        }
    }

    /// The key of the history, if there is one.
    pub fn key(&self) -> Option<&Key> {
        match &self.what {
            What::Before(write) => Some(&write.key),
            What::After(done) => Some(&done.key),
            What::Conflict(_, key) => Some(key),
            What::State(_) | What::Timer(..) => None,
        }
    }

    /// Who asked for the write.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.what {
            What::Before(write) => Some(&write.origin),
            What::After(done) => Some(&done.origin),
            _ => None,
        }
    }

    /// The version that was made.
    pub fn version(&self) -> Option<&VersionId> {
        match &self.what {
            What::After(done) => Some(&done.version),
            _ => None,
        }
    }

    /// The value before the write; None if there was none or several.
    pub fn old(&self) -> Result<Option<Value>, Refusal> {
        let old = match &self.what {
            What::Before(write) => write.old(),
            What::After(done) => done.old(),
            _ => Ok(None),
        };
        old.or_else(|e| if e.code == Code::InConflict { Ok(None) } else { Err(e) })
    }

    /// Whether a handler that was declared so is meant, `at` its place among those of its script.
    pub fn is_for(&self, at: usize, declared: &Declared) -> bool {
        if let What::Timer(_, timer) = &self.what {
            return *timer == at;
        }
        let replicated = self.origin().is_some_and(|o| matches!(o.source, Source::Peer(_)));
        declared.hook == self.hook && declared.on.takes(replicated)
    }
}
