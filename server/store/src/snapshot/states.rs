//! What a watch begins with: the keys that show something, each as a whole.

use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use crate::failure::{corrupt_key, failed};
use crate::row::KeyRow;
use crate::snapshot::{Keys, Snapshot};
use crate::tables::stored_key;

impl Snapshot {
    /// The keys that start with `prefix`, stand behind `after` and show at least one object.
    pub fn states(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Keys, Refusal> {
        let mut items = Vec::new();
        for entry in self.keys_behind(prefix, after)? {
            let (key, row) = entry.map_err(failed)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let key = stored_key(key.value())?;
            if items.len() >= limit {
                let next = items.last().map(|state: &crate::KeyState| state.key.clone());
                return Ok(Keys { items, next });
            }
            let row = KeyRow::decode(row.value()).map_err(|e| corrupt_key(&key, e))?;
            if row.is_shown() && !row.is_trash() {
                items.push(row.state(&key));
            }
        }
        Ok(Keys { items, next: None })
    }
}
