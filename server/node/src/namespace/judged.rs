//! Operations as before-hooks are asked about them, and what becomes of them then.

use std::sync::Arc;

use keepboth_core::name::{Key, Name};
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use keepboth_store::{Op, Resolution, Snapshot};

use super::door::Item;

const ADDRESS_HINT: &str =
    "64 hex characters are always an address; put a prefix before it to use it as a key";

/// What the hooks made of a write.
#[derive(Default)]
pub struct Asked {
    /// The operations.
    pub ops: Vec<Op>,
    /// True if a hook asked for the value before an operation, and so was told something that another
    /// write may change.
    pub looked: bool,
    /// True if an operation has a condition because of that.
    pub guarded: bool,
}

impl Asked {
    /// Adds an operation that holds only for what its hooks saw, unless it says itself for what.
    pub fn add(&mut self, mut op: Op, seen: Condition) {
        if let Op::Put { condition, .. } | Op::Delete { condition, .. } = &mut op
            && *condition == Condition::None
            && seen != Condition::None
        {
            *condition = seen;
            self.guarded = true;
        }
        self.ops.push(op);
    }
}

/// The operations as they were asked for.
pub fn ops_of(items: Vec<Item>) -> Vec<Op> {
    items.into_iter().map(|item| item.op).collect()
}

/// What an operation names.
pub fn name_of(op: &Op) -> Name {
    match op {
        Op::Put { name, .. } | Op::Delete { name, .. } | Op::Revert { name, .. } => name.clone(),
        Op::Resolve { key, .. } | Op::Restore { key, .. } => Name::Key(key.clone()),
    }
}

/// What an operation that hooks have seen makes of the object.
pub fn value_of(op: &Op) -> Option<Value> {
    match op {
        Op::Put { value, .. } | Op::Resolve { with: Resolution::Value(value), .. } => {
            Some(value.clone())
        }
        _ => None,
    }
}

/// True if it names a state in which alone it is to be done.
pub fn is_conditional(op: &Op) -> bool {
    match op {
        Op::Put { condition, .. } | Op::Delete { condition, .. } | Op::Revert { condition, .. } => {
            *condition != Condition::None
        }
        Op::Resolve { conflict, .. } => conflict.is_some(),
        Op::Restore { .. } => true,
    }
}

/// The key that a name belongs to, for hooks that look at keys.
pub fn key_of(snapshot: &Arc<Snapshot>, name: &Name) -> Result<Key, Refusal> {
    match name {
        Name::Key(key) => Ok(key.clone()),
        Name::Address(_) => {
            let key = snapshot.key_of(name)?;
            key.ok_or_else(|| Refusal::not_found(&name.to_string()).hint(ADDRESS_HINT))
        }
    }
}

/// Writes that name an old value become writes with that value, so that hooks see it. The value of a
/// version never changes, so nothing can come between.
pub fn with_value(snapshot: &Arc<Snapshot>, op: &Op) -> Result<Op, Refusal> {
    Ok(match op {
        Op::Revert { name, version, condition } => {
            let value = snapshot.value_of(name, version)?;
            Op::Put { name: name.clone(), value, condition: *condition }
        }
        Op::Restore { key, version } => {
            let newest = snapshot.restorable(key)?;
            let name = Name::Key(key.clone());
            let value = snapshot.value_of(&name, version.as_ref().unwrap_or(&newest))?;
            Op::Put { name, value, condition: Condition::Absent }
        }
        Op::Resolve { key, with: Resolution::Side(side), conflict } => {
            let value = snapshot.get(&Name::Address(*side))?.value;
            let with = Resolution::Value(value);
            Op::Resolve { key: key.clone(), with, conflict: *conflict }
        }
        Op::Put { .. } | Op::Delete { .. } | Op::Resolve { .. } => op.clone(),
    })
}
