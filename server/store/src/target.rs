//! What a written name stands for in a draft: a key, or an object found by its address.

use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::resolve::{self, Meaning, Place};
use keepboth_core::write::Condition;

use crate::draft::Draft;
use crate::row::KeyRow;

/// The history that a write goes to.
pub struct Target {
    pub key: Key,
    /// None for a key without history.
    pub row: Option<KeyRow>,
    /// The object that an address stands for; None for a key.
    pub place: Option<Place>,
}

/// Finds it. Refused: `not_found` for an address that means nothing here, `reserved_key` if the
/// writer wanted to create one, `in_conflict` for an address that means several objects.
pub fn target(draft: &mut Draft, name: &Name, condition: Condition) -> Result<Target, Refusal> {
    match name {
        Name::Key(key) => Ok(Target { key: key.clone(), row: draft.row(key)?, place: None }),
        Name::Address(address) => at_address(draft, address, condition),
    }
}

fn at_address(
    draft: &mut Draft,
    address: &Address,
    condition: Condition,
) -> Result<Target, Refusal> {
    let Some(key) = draft.key_of(&address.key)? else { return Err(unknown(address, condition)) };
    let row = draft.row(&key)?.filter(KeyRow::is_shown);
    let Some(row) = row else { return Err(unknown(address, condition)) };
    let place = match place(draft, &key, &row, address)? {
        Meaning::One(place) => place,
        Meaning::Several(all) => return Err(Refusal::in_conflict(&address.to_string(), all)),
        Meaning::Gone => return Err(Refusal::not_found(&address.to_string())),
        Meaning::Unknown => return Err(unknown(address, condition)),
    };
    Ok(Target { key, row: Some(row), place: Some(place) })
}

/// What an address of this key means: what is shown under it, or what its history says.
pub fn place(
    draft: &mut Draft,
    key: &Key,
    row: &KeyRow,
    address: &Address,
) -> Result<Meaning, Refusal> {
    if let Some(place) = row.view.shown(&address.branch) {
        return Ok(Meaning::One(place));
    }
    let loaded = draft.loaded(key)?;
    Ok(resolve::meaning(&loaded.visible(), &row.view, &address.branch))
}

fn unknown(address: &Address, condition: Condition) -> Refusal {
    if condition == Condition::Absent {
        let words =
            format!("{:?} is 64 hex characters, which are always an address", address.to_string());
        return Refusal::new(Code::ReservedKey, words)
            .hint("put a prefix before it, for instance id/");
    }
    Refusal::not_found(&address.to_string()).hint(
        "64 hex characters are always an address, and this one is unknown here; \
         to use it as a key, put a prefix before it, for instance id/",
    )
}
