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

use crate::folder::Folder;
use crate::schema::Schema;

/// The settings of the plugin `schema`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Patterns of keys, and for each the file in the schemas folder that its values must obey: `*`
    /// is any run of characters, `?` one. Of several patterns the one with the longest beginning
    /// before its first `*` or `?` holds.
    #[schemars(extend("minProperties" = 1))]
    pub bind: BTreeMap<String, String>,
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
    for (pattern, file) in &settings.bind {
        let pointer = format!("/bind/{}", pattern.replace('~', "~0").replace('/', "~1"));
        let folder = Folder::new(&site.schemas);
        match Schema::load(&folder, file) {
            Ok(schema) => bound.push((Pattern::new(pattern), schema)),
            Err(found) => faults.extend(found.into_iter().map(|f| fault(pointer.clone(), f))),
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
    let bound = settings.bind.iter().fold(start, |print, (key, file)| print.with(key).with(file));
    // A mark between the two lists, so that neither can pass for a part of the other.
    let marked = bound.with_number(Some(contents.len() as u64));
    contents.iter().fold(marked, |print, (name, text)| print.with(name).with(text)).finish()
}

/// The patterns in the order in which they are asked.
#[derive(Debug)]
struct Bindings {
    bound: Vec<(Pattern, Schema)>,
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

    /// The same check as before a put; a delete has nothing to be checked.
    fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
        let Some(value) = value else { return Ok(()) };
        self.bindings.check(key, &mut Draft::new(value.clone(), None))
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
        self.bindings.check(&put.key, &mut put.draft)
    }
}

impl Bindings {
    fn check(&self, key: &Key, value: &mut Draft) -> Result<(), Refusal> {
        match self.of_key(key.as_str())? {
            Some(schema) => schema.check(value),
            None => Ok(()),
        }
    }

    /// The schema that holds for a key; None if the key is free.
    fn of_key(&self, key: &str) -> Result<Option<&Schema>, Refusal> {
        let found = self.bound.iter().find(|(pattern, _)| pattern.matches(key));
        if found.is_none() && self.strict {
            let patterns: Vec<_> = self.bound.iter().map(|(p, _)| p.as_str()).collect();
            let words = format!("no schema is bound to the key {key:?}");
            let hint = format!("keys here match one of {}", patterns.join(", "));
            return Err(Refusal::new(Code::SchemaRefused, words).hint(hint));
        }
        Ok(found.map(|(_, schema)| schema))
    }
}
