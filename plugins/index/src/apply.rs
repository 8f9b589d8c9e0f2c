//! What a change of the feed does to the rows of one index.

use std::collections::BTreeMap;

use keepboth_core::name::{Key, Name};
use keepboth_core::plugin::{Listed, RowChange, Table};
use keepboth_core::refusal::{Code, Refusal};
use serde_json::Value as Json;

use crate::pick::pick;
use crate::rows::{self, ENTRY, KEY};
use crate::settings::Index;

/// An object with its value as a tree; None where JSON has nothing for it.
pub struct Seen {
    /// The object.
    pub object: Listed,
    /// Its value.
    pub tree: Option<Json>,
}

/// What was done.
#[derive(Default)]
pub struct Done {
    /// Entries that came.
    pub added: u64,
    /// Entries that went.
    pub removed: u64,
    /// Objects that have more values than an index takes.
    pub cut: u64,
}

/// The changes of rows with which the index has what the objects of a key are now.
pub fn apply(
    index: &Index,
    table: &dyn Table,
    key: &Key,
    objects: &[Seen],
    changes: &mut Vec<RowChange>,
) -> Result<Done, Refusal> {
    let row = rows::key(KEY, &index.id, key.as_str().as_bytes());
    let old = match table.get(&row)? {
        Some(joined) => rows::split(&joined).ok_or_else(|| corrupt(key))?,
        None => Vec::new(),
    };
    let mut done = Done::default();
    let new = match index.wants(key.as_str()) {
        true => entries(index, objects, &mut done),
        false => BTreeMap::new(),
    };
    for entry in old.iter().filter(|entry| !new.contains_key(*entry)) {
        changes.push((rows::key(ENTRY, &index.id, entry), None));
        done.removed += 1;
    }
    done.added += new.keys().filter(|entry| !old.contains(entry)).count() as u64;
    if !new.keys().eq(&old) {
        let joined = (!new.is_empty()).then(|| rows::join(new.keys()));
        changes.push((row, joined));
    }
    changes.extend(
        new.into_iter().map(|(entry, value)| (rows::key(ENTRY, &index.id, &entry), Some(value))),
    );
    Ok(done)
}

/// The entries of the objects of a key, each with the value of its row.
fn entries(index: &Index, objects: &[Seen], done: &mut Done) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    for Seen { object, tree } in objects {
        let Some(tree) = tree else { continue };
        let (picked, more) = pick(tree, &index.path);
        done.cut += u64::from(more);
        let value = match &object.name {
            Name::Key(_) => object.version.0.to_vec(),
            Name::Address(_) => [&object.version.0[..], object.key.as_str().as_bytes()].concat(),
        };
        let name = object.name.to_string();
        for mut entry in picked {
            entry.extend_from_slice(name.as_bytes());
            found.insert(entry, value.clone());
        }
    }
    found
}

fn corrupt(key: &Key) -> Refusal {
    let words = format!("the rows of the indexes are corrupt: key {:?}", key.as_str());
    Refusal::new(Code::Corrupt, words).hint("stop the server and remove the plugin's table.redb")
}
