//! The plugin: settings, patterns, and the check before a put.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepboth_core::name::Key;
use keepboth_core::pattern::Pattern;
use keepboth_core::plugin::{Draft, Plugin, Points, Put, SettingsError, Site, Worker};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::binding::{Binding, Bound, Rule};
use crate::folder::Folder;
use crate::keywords::join;
use crate::schema::Schema;

/// The settings of the plugin `schema`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Patterns of keys, and for each the file in the schemas folder that its values must obey, or a
    /// table with a file for each kind of value: `*` is any run of characters, `?` one. Of several
    /// patterns the one with the longest beginning before its first `*` or `?` holds.
    #[schemars(extend("minProperties" = 1))]
    pub bind: BTreeMap<String, Binding>,
    /// Refuses keys that no pattern matches. Without it they are free.
    #[serde(default)]
    pub strict: bool,
}

/// The JSON Schema of the settings.
pub fn settings_schema() -> Json {
    schemars::schema_for!(Settings).to_value()
}

/// Compiles all schemas, or tells all that is wrong with them.
pub fn build(site: &Site, settings: Json) -> Result<Arc<dyn Plugin>, Vec<SettingsError>> {
    let fault = |pointer: String, message: String| SettingsError { pointer, message };
    let settings: Settings =
        serde_json::from_value(settings).map_err(|e| vec![fault(String::new(), e.to_string())])?;
    let (mut bound, mut faults) = (Vec::new(), Vec::new());
    let mut contents = BTreeMap::new();
    for (pattern, binding) in &settings.bind {
        let folder = Folder::new(&site.schemas);
        match Bound::load(&folder, binding, &join("/bind", pattern)) {
            Ok(schemas) => bound.push((Pattern::new(pattern), schemas)),
            Err(found) => faults.extend(found.into_iter().map(|(at, words)| fault(at, words))),
        }
        contents.extend(folder.contents());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let fingerprint = fingerprint(&settings, &contents);
    bound.sort_by_cached_key(|(pattern, _)| pattern.rank());
    let bindings = Arc::new(Bindings { bound, strict: settings.strict });
    Ok(Arc::new(Guard { bindings, fingerprint }))
}

fn fingerprint(settings: &Settings, contents: &BTreeMap<String, Vec<u8>>) -> [u8; 32] {
    let start = Fingerprint::new().with("schema").with([u8::from(settings.strict)]);
    let bound = settings.bind.iter().fold(start, |print, (key, binding)| match binding {
        Binding::File(file) => print.with(key).with(file),
        // A mark that no file's name has, so that no two settings give the same list.
        Binding::Kinds(rules) => {
            rules.iter().fold(print.with(key).with("*"), |print, (kind, rule)| match rule {
                Rule::All(all) => print.with(kind).with([u8::from(*all)]),
                Rule::File(file) => print.with(kind).with(file),
            })
        }
    });
    // A mark between the two lists, so that neither can pass for a part of the other.
    let marked = bound.with_number(Some(contents.len() as u64));
    contents.iter().fold(marked, |print, (name, text)| print.with(name).with(text)).finish()
}

/// The patterns in the order in which they are asked.
#[derive(Debug)]
struct Bindings {
    bound: Vec<(Pattern, Bound)>,
    strict: bool,
}

struct Guard {
    bindings: Arc<Bindings>,
    fingerprint: [u8; 32],
}

impl Plugin for Guard {
    fn points(&self) -> Points {
        Points { before_put: true, ..Points::default() }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Checker { bindings: Arc::clone(&self.bindings) }))
    }

    /// The same check as before a put, without its rules for steps: what stood there before is another
    /// thing on each node. A delete has nothing to be checked.
    fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
        let Some(value) = value else { return Ok(()) };
        let mut value = Draft::new(value.clone(), None);
        match self.bindings.of(key, &mut value)? {
            Some(schema) => schema.check(&mut value),
            None => Ok(()),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

struct Checker {
    bindings: Arc<Bindings>,
}

impl Worker for Checker {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        // A side of a conflict, named by its address, obeys the schema of its key.
        let Some(schema) = self.bindings.of(&put.key, &mut put.draft)? else { return Ok(()) };
        schema.check(&mut put.draft)?;
        if !schema.looks_back() {
            return Ok(());
        }
        let mut old = earlier(put)?.map(|value| Draft::new(value, None));
        schema.check_step(old.as_mut(), &mut put.draft)
    }
}

/// What stood there before; None if nothing did, or several objects that are in conflict.
fn earlier(put: &Put) -> Result<Option<Value>, Refusal> {
    match put.old() {
        Err(refusal) if refusal.code == Code::InConflict => Ok(None),
        outcome => outcome,
    }
}

impl Bindings {
    /// The schema that holds for a value at a key; None if there is none.
    fn of(&self, key: &Key, value: &mut Draft) -> Result<Option<&Schema>, Refusal> {
        self.of_key(key.as_str())?.map_or(Ok(None), |bound| bound.schema_of(value))
    }

    /// What is bound to a key; None if the key is free.
    fn of_key(&self, key: &str) -> Result<Option<&Bound>, Refusal> {
        let found = self.bound.iter().find(|(pattern, _)| pattern.matches(key));
        if found.is_none() && self.strict {
            let patterns: Vec<_> = self.bound.iter().map(|(p, _)| p.as_str()).collect();
            let words = format!("no schema is bound to the key {key:?}");
            let hint = format!("keys here match one of {}", patterns.join(", "));
            return Err(Refusal::new(Code::SchemaRefused, words).hint(hint));
        }
        Ok(found.map(|(_, bound)| bound))
    }
}
