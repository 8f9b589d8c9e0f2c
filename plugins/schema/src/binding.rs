//! What is bound to a pattern of keys: one schema file for all values, or one for each kind.

use std::collections::BTreeMap;

use keepboth_core::plugin::Draft;
use keepboth_core::refusal::{Code, Refusal};
use schemars::{JsonSchema, Schema as SettingsSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::folder::Folder;
use crate::keywords::{KIND, join};
use crate::lint::KINDS;
use crate::schema::Schema;

/// What the settings bind to a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Binding {
    /// A file for values of every kind.
    File(String),
    /// For each kind of value what it must obey; kinds that are not named are refused.
    Kinds(BTreeMap<String, Rule>),
}

/// What values of one kind must obey.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Rule {
    /// True lets all values of the kind pass, false none.
    All(bool),
    /// A file.
    File(String),
}

/// Written by hand, so that a mistake is told as one of the key that has it.
impl JsonSchema for Binding {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Binding".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> SettingsSchema {
        let rule = |kind: &&str| {
            let words =
                format!("A file for values of the kind {kind}; true lets all of them pass.");
            ((*kind).to_owned(), json!({"description": words, "type": ["string", "boolean"]}))
        };
        let properties: Map<String, Json> = KINDS.iter().map(rule).collect();
        json_schema!({
            "description": "A file for all values, or a table with a file for each kind of value.",
            "type": ["string", "object"],
            "properties": properties,
            "additionalProperties": false,
            "minProperties": 1
        })
    }
}

/// A binding with its schemas compiled.
#[derive(Debug)]
pub enum Bound {
    /// One for all.
    One(Box<Schema>),
    /// By kind; None lets all pass. What is not named is refused.
    Kinds(BTreeMap<String, Option<Schema>>),
}

impl Bound {
    /// Loads the files of a binding, or tells all that is wrong with them: each mistake with the pointer
    /// of the setting below `pointer`.
    pub fn load(
        folder: &Folder,
        binding: &Binding,
        pointer: &str,
    ) -> Result<Bound, Vec<(String, String)>> {
        let load = |file: &str, pointer: String| {
            let told = |found: Vec<crate::fault::Fault>| {
                let told = found.into_iter().map(|fault| (pointer.clone(), fault.to_string()));
                told.collect::<Vec<_>>()
            };
            Schema::load(folder, file).map_err(told)
        };
        let rules = match binding {
            Binding::File(file) => {
                return load(file, pointer.to_owned()).map(|schema| Bound::One(Box::new(schema)));
            }
            Binding::Kinds(rules) => rules,
        };
        let (mut bound, mut faults) = (BTreeMap::new(), Vec::new());
        for (kind, rule) in rules {
            let here = join(pointer, kind);
            let schema = match rule {
                Rule::All(false) => continue,
                Rule::All(true) => None,
                Rule::File(file) => match load(file, here.clone()) {
                    Ok(schema) if !schema.takes(kind) => {
                        let words = format!(
                            "{file}: its {KIND} does not name {kind}, to which it is bound"
                        );
                        faults.push((here, words));
                        continue;
                    }
                    Ok(schema) => Some(schema),
                    Err(found) => {
                        faults.extend(found);
                        continue;
                    }
                },
            };
            bound.insert(kind.clone(), schema);
        }
        if faults.is_empty() { Ok(Bound::Kinds(bound)) } else { Err(faults) }
    }

    /// The schema for this value; None if all of its kind pass.
    pub fn schema_of(&self, value: &mut Draft) -> Result<Option<&Schema>, Refusal> {
        match self {
            Bound::One(schema) => Ok(Some(schema)),
            Bound::Kinds(rules) => {
                let kind = value.value().kind().as_str();
                rules.get(kind).map(Option::as_ref).ok_or_else(|| {
                    let allowed: Vec<&str> = rules.keys().map(String::as_str).collect();
                    let allowed = allowed.join(", ");
                    let words = format!("values of kind {kind} are not allowed at this key");
                    Refusal::new(Code::SchemaRefused, words)
                        .hint(format!("allowed here: {allowed}"))
                })
            }
        }
    }
}
