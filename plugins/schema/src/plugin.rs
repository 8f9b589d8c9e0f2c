//! The plugin: settings, patterns, and the check before a put.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepboth_core::plugin::{Plugin, Points, Put, SettingsError, Site, Worker};
use keepboth_core::refusal::{Code, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::folder::Folder;
use crate::pattern::Pattern;
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
    for (pattern, file) in &settings.bind {
        let pointer = format!("/bind/{}", pattern.replace('~', "~0").replace('/', "~1"));
        match Schema::load(&Folder::new(&site.schemas), file) {
            Ok(schema) => bound.push((Pattern::new(pattern), schema)),
            Err(found) => faults.extend(found.into_iter().map(|f| fault(pointer.clone(), f))),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    bound.sort_by_cached_key(|(pattern, _)| pattern.rank());
    Ok(Arc::new(Guard { bindings: Arc::new(Bindings { bound, strict: settings.strict }) }))
}

/// The patterns in the order in which they are asked.
#[derive(Debug)]
struct Bindings {
    bound: Vec<(Pattern, Schema)>,
    strict: bool,
}

struct Guard {
    bindings: Arc<Bindings>,
}

impl Plugin for Guard {
    fn points(&self) -> Points {
        Points { before_put: true, ..Points::default() }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Checker { bindings: Arc::clone(&self.bindings) }))
    }
}

struct Checker {
    bindings: Arc<Bindings>,
}

impl Worker for Checker {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        // A side of a conflict, named by its address, obeys the schema of its key.
        match self.bindings.of_key(put.key.as_str())? {
            Some(schema) => schema.check(&mut put.draft),
            None => Ok(()),
        }
    }
}

impl Bindings {
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
