//! A value on its way in, as hooks read and change it.

use serde_json::Value as Json;

use crate::value::Value;

/// A value that hooks read and change, parsed at most once and written back at most once.
#[derive(Debug, Clone)]
pub struct Draft {
    value: Value,
    tree: Option<Json>,
    changed: bool,
}

impl Draft {
    /// A value, with its tree if the caller has parsed it anyway.
    pub fn new(value: Value, tree: Option<Json>) -> Draft {
        Draft { value, tree, changed: false }
    }

    /// The value as a JSON tree; None for bytes, cbor, NaN and infinities.
    pub fn tree(&mut self) -> Option<&Json> {
        if self.tree.is_none() {
            self.tree = self.value.to_json();
        }
        self.tree.as_ref()
    }

    /// The tree to change in place. The value is made from it again when it is next read.
    pub fn tree_mut(&mut self) -> Option<&mut Json> {
        self.tree()?;
        self.changed = true;
        self.tree.as_mut()
    }

    /// Replaces the value by one of any kind.
    pub fn set(&mut self, value: Value) {
        *self = Draft::new(value, None);
    }

    /// Replaces the value by the one of this tree.
    pub fn set_tree(&mut self, tree: Json) {
        self.tree = Some(tree);
        self.changed = true;
    }

    /// The value as it stands now.
    pub fn value(&mut self) -> &Value {
        if let (true, Some(tree)) = (self.changed, &self.tree) {
            self.value = Value::json(tree);
            self.changed = false;
        }
        &self.value
    }

    /// The value as it stands at the end.
    pub fn into_value(mut self) -> Value {
        self.value();
        self.value
    }
}
