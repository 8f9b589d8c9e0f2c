//! What a before-hook saw of the object that is to be written, so that the write holds only for that.

use std::sync::{Arc, OnceLock};

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Name};
use keepboth_core::plugin::Earlier;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::Snapshot;

/// The store before one operation, which remembers whether it was asked and what it said.
pub struct Look {
    snapshot: Arc<Snapshot>,
    /// What an earlier operation of the same batch makes of the object, if one does.
    made: Option<Option<Value>>,
    seen: OnceLock<Condition>,
}

impl Look {
    /// A look at this snapshot, or at what an earlier operation of the same batch makes.
    pub fn new(snapshot: Arc<Snapshot>, made: Option<Option<Value>>) -> Look {
        Look { snapshot, made, seen: OnceLock::new() }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The condition under which the store would say again what it said. [`Condition::None`] if nobody
    /// asked, if the answer lies in the batch itself, and for a name that stands for several objects.
    pub fn seen(&self) -> Condition {
        self.seen.get().copied().unwrap_or_default()
    }
}

impl Earlier for Look {
    fn value(&self, name: &Name) -> Result<Option<Value>, Refusal> {
        if let Some(made) = &self.made {
            return Ok(made.clone());
        }
        match self.snapshot.get(name) {
            Ok(found) => {
                self.seen.get_or_init(|| Condition::Is(found.version));
                Ok(Some(found.value))
            }
            Err(refusal) if refusal.code == Code::NotFound => {
                // A write to an address that is unknown is refused in any case.
                if matches!(name, Name::Key(_)) {
                    self.seen.get_or_init(|| Condition::Absent);
                }
                Ok(None)
            }
            Err(refusal) if refusal.code == Code::ValueForgotten => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    fn replaced_by(&self, key: &Key, version: &VersionId) -> Result<Option<Value>, Refusal> {
        self.snapshot.replaced_by(key, version)
    }
}
