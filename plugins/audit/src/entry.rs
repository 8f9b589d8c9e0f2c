//! What an entry says.

use keepboth_core::plugin::Done;
use keepboth_core::version::Change;
use serde_json::{Value as Json, json};

/// Who wrote what and when. The value itself is not written down.
pub fn of(done: &Done) -> Json {
    json!({
        "actor": &*done.origin.actor,
        "at": done.origin.now,
        "change": change(done.change),
        "key": done.key.as_str(),
        "name": done.name.to_string(),
        "namespace": done.namespace.as_str(),
        "version": done.version.to_string(),
    })
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Put => "put",
        Change::Delete => "delete",
        Change::Split => "split",
    }
}
