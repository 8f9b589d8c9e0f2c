//! The versions that each write makes: the table of writes, on the view of one key.

use smallvec::{SmallVec, smallvec};

use crate::ids::{DataHash, StoreId, VersionId};
use crate::name::{Key, Name};
use crate::refusal::{Code, Refusal};
use crate::resolve::Place;
use crate::version::{Parents, Version};
use crate::view::{Object, View};

/// What the writer wants to be true of the object before the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no object under the name.
    Absent,
    /// The object is this version, or its group contains it.
    Is(VersionId),
}

/// What is to become of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It gets the value with this hash.
    Put(DataHash),
    /// It is deleted.
    Delete,
    /// The sides of the conflict become one, with the value of this hash.
    Merge(DataHash),
}

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// The store in which the write is made.
    pub store: StoreId,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// The versions that a write makes, in order. One, or a split and its child.
pub type Made = SmallVec<[Version; 2]>;

/// A write to a key. `view` is None for a key without history.
///
/// Refused: a condition that does not hold (`version_mismatch`), a delete where there is no object
/// (`not_found`) or several (`in_conflict`), a merge where there is no conflict (`no_conflict`).
pub fn at_key(
    key: &Key,
    view: Option<&View>,
    intent: Intent,
    condition: Condition,
    writer: Writer,
) -> Result<Made, Refusal> {
    let Some(view) = view else { return at_new_key(key, intent, condition, writer) };
    check_key(key, view, condition)?;
    match intent {
        Intent::Delete if view.in_conflict() => {
            Err(Refusal::in_conflict(key.as_str(), view.conflict_addresses(key.hash())))
        }
        Intent::Delete if view.object().is_none() => Err(Refusal::not_found(key.as_str())),
        Intent::Merge(_) if !view.in_conflict() => Err(no_conflict(key)),
        Intent::Put(data) if view.in_conflict() => Ok(start_anew(view, data, writer)),
        Intent::Put(data) if view.main_heads.is_empty() => {
            // A split has arrived and its child has not: the write goes on from the split, as the child did.
            let parents = view.open_splits.iter().copied().collect();
            Ok(smallvec![Version::next(parents, data, writer.now, writer.store)])
        }
        Intent::Put(data) | Intent::Merge(data) => Ok(smallvec![on_main(view, data, writer)]),
        Intent::Delete => Ok(smallvec![on_main(view, DataHash::NONE, writer)]),
    }
}

/// A write to the object at a place, found by its address. A merge is not possible here.
pub fn at_object(
    name: &Name,
    view: &View,
    place: Place,
    intent: Intent,
    condition: Condition,
    writer: Writer,
) -> Result<Made, Refusal> {
    let object = view.at(place).ok_or_else(|| Refusal::not_found(&name.to_string()))?;
    check_object(&name.to_string(), Some(object), condition)?;
    let data = match intent {
        Intent::Put(data) => data,
        Intent::Delete => DataHash::NONE,
        Intent::Merge(_) => {
            let words = format!("{name} is one side; resolve the key that is in conflict");
            return Err(Refusal::new(Code::NoConflict, words));
        }
    };
    let parents: Parents = object.heads.iter().copied().collect();
    Ok(smallvec![Version::next(parents, data, writer.now, writer.store)])
}

fn at_new_key(
    key: &Key,
    intent: Intent,
    condition: Condition,
    writer: Writer,
) -> Result<Made, Refusal> {
    check_object(key.as_str(), None, condition)?;
    match intent {
        Intent::Put(data) => Ok(smallvec![Version::first(key, data, writer.now, writer.store)]),
        Intent::Delete => Err(Refusal::not_found(key.as_str())),
        Intent::Merge(_) => Err(no_conflict(key)),
    }
}

fn on_main(view: &View, data: DataHash, writer: Writer) -> Version {
    let parents = view.main_heads.iter().copied().collect();
    Version::next(parents, data, writer.now, writer.store)
}

/// Sets the sides apart and gives the key a value of its own.
fn start_anew(view: &View, data: DataHash, writer: Writer) -> Made {
    let sides = view.main_heads.iter().copied().collect();
    let split = Version::split(sides, writer.now, writer.store);
    let put = Version::next(smallvec![split.id], data, writer.now, writer.store);
    smallvec![split, put]
}

fn check_key(key: &Key, view: &View, condition: Condition) -> Result<(), Refusal> {
    if condition != Condition::None && view.in_conflict() {
        let mut refusal = mismatch(key.as_str(), "is in conflict", None);
        refusal.addresses = view.conflict_addresses(key.hash());
        return Err(refusal);
    }
    check_object(key.as_str(), view.object(), condition)
}

fn check_object(name: &str, object: Option<&Object>, condition: Condition) -> Result<(), Refusal> {
    match (condition, object) {
        (Condition::None, _) | (Condition::Absent, None) => Ok(()),
        (Condition::Is(version), Some(object)) if object.heads.contains(&version) => Ok(()),
        (Condition::Absent, Some(object)) => Err(mismatch(name, "exists", Some(*object.version()))),
        (Condition::Is(_), Some(object)) => {
            Err(mismatch(name, "has another version", Some(*object.version())))
        }
        (Condition::Is(_), None) => Err(mismatch(name, "does not exist", None)),
    }
}

fn mismatch(name: &str, what: &str, version: Option<VersionId>) -> Refusal {
    let now = version.map(|v| format!(" (it is {v})")).unwrap_or_default();
    let words = format!("the condition does not hold: {name:?} {what}{now}");
    Refusal { version, ..Refusal::new(Code::VersionMismatch, words) }
}

fn no_conflict(key: &Key) -> Refusal {
    Refusal::new(Code::NoConflict, format!("{:?} is not in conflict", key.as_str()))
}
