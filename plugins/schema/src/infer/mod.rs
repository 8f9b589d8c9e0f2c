//! A schema for values that are there: it accepts each of them, and says no more than what was seen.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::keywords::KIND;
use crate::lint::DIALECT;

/// Numbers and texts.
mod leaf;
/// Everything that was seen in one place.
mod shape;

use shape::Shape;

/// Values that were seen.
#[derive(Debug, Default)]
pub struct Inferred {
    kinds: BTreeMap<String, u64>,
    infinite: u64,
    shape: Shape,
}

impl Inferred {
    /// Takes in a value of this kind; `tree` is None for what JSON does not hold.
    pub fn add(&mut self, kind: &str, tree: Option<&Json>) {
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        match tree {
            Some(tree) => self.shape.add(tree, 0),
            None if kind == "number" => self.infinite += 1,
            None => {}
        }
    }

    /// How many values were seen.
    pub fn count(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// How many of them no schema lets pass: NaN and the infinities.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// The schema that accepts what was seen. `of` says in words what that is.
    pub fn schema(&self, of: &str) -> Json {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let comment = format!(
            "Inferred from the {} values of {of}{kinds}. Ranges and lists say what was seen, not what is \
             meant.",
            self.count()
        );
        let mut schema = self.shape.members();
        schema.insert("$schema".to_owned(), DIALECT.into());
        schema.insert("$comment".to_owned(), comment.into());
        if self.kinds.keys().any(|kind| kind == "bytes" || kind == "cbor") {
            schema.insert(KIND.to_owned(), self.kinds.keys().cloned().collect());
        }
        Json::Object(schema)
    }
}
