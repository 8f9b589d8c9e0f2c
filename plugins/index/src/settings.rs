//! The settings: which indexes there are.

use std::collections::BTreeMap;

use keepboth_core::pattern::Pattern;
use keepboth_core::plugin::SettingsError;
use keepboth_core::policy::Fingerprint;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// Most indexes of one namespace.
const INDEXES_MAX: usize = 32;
/// Most characters of the name of an index.
const NAME_CHARS_MAX: usize = 64;

/// The settings of the plugin `index`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The indexes by their names, which stand in queries.
    #[schemars(extend("minProperties" = 1))]
    pub indexes: BTreeMap<String, Declared>,
}

/// What an index has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Where in a value: a JSON pointer, for instance `/author` or `/meta/day`; the empty text is the value
    /// as a whole. An array there stands for each of its elements. Objects that have nothing there are
    /// not in the index.
    pub path: String,
    /// Patterns of keys: only objects whose key fits one of them are in the index. `*` is any run of
    /// characters, `?` one.
    #[serde(default = "all")]
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// An index that is declared.
#[derive(Debug)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its JSON pointer.
    pub path: String,
    /// Its keys as they are declared.
    pub keys: Vec<String>,
    /// What its rows begin with: another declaration has other rows.
    pub id: [u8; 8],
    patterns: Vec<Pattern>,
}

impl Index {
    fn new(name: &str, declared: &Declared) -> Index {
        let print = Fingerprint::new().with(name).with(&declared.path);
        let print = declared.keys.iter().fold(print, |print, keys| print.with(keys)).finish();
        let mut id = [0; 8];
        id.copy_from_slice(&print[..8]);
        Index {
            name: name.to_owned(),
            path: declared.path.clone(),
            keys: declared.keys.clone(),
            id,
            patterns: declared.keys.iter().map(|keys| Pattern::new(keys)).collect(),
        }
    }

    /// True if the objects of a key may be in it.
    pub fn wants(&self, key: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(key))
    }
}

/// The JSON Schema of the settings.
pub fn schema() -> Json {
    schemars::schema_for!(Settings).to_value()
}

/// The indexes, or all that is wrong with them.
pub fn read(settings: Json) -> Result<Vec<Index>, Vec<SettingsError>> {
    let fault = |pointer: String, message: String| SettingsError { pointer, message };
    let settings: Settings =
        serde_json::from_value(settings).map_err(|e| vec![fault(String::new(), e.to_string())])?;
    let mut faults = Vec::new();
    if settings.indexes.len() > INDEXES_MAX {
        let words = format!("{} indexes, the limit is {INDEXES_MAX}", settings.indexes.len());
        faults.push(fault("/indexes".into(), words));
    }
    for (name, declared) in &settings.indexes {
        let pointer = format!("/indexes/{}", name.replace('~', "~0").replace('/', "~1"));
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            let words = format!("the name of an index has 1 to {NAME_CHARS_MAX} characters");
            faults.push(fault(pointer.clone(), words));
        }
        if let Some(words) = bad_pointer(&declared.path) {
            faults.push(fault(format!("{pointer}/path"), words));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(settings.indexes.iter().map(|(name, declared)| Index::new(name, declared)).collect())
}

/// What is wrong with a JSON pointer.
fn bad_pointer(path: &str) -> Option<String> {
    if !path.is_empty() && !path.starts_with('/') {
        return Some(format!(
            "{path:?} is no JSON pointer: it begins with a slash, as \"/{path}\" does, or is empty"
        ));
    }
    let mut escapes = path.split('~').skip(1);
    escapes.find(|rest| !rest.starts_with(['0', '1'])).map(|_| {
        format!("{path:?} is no JSON pointer: in it ~ is written ~0, and a slash in a name ~1")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(settings: Json) -> Vec<(String, String)> {
        let faults = read(settings).expect_err("refused");
        faults.into_iter().map(|fault| (fault.pointer, fault.message)).collect()
    }

    #[test]
    fn every_bad_pointer_is_told_with_its_place_and_what_would_be_right() {
        let found = faults(json!({"indexes": {
            "a": {"path": "author"}, "b/c": {"path": "/a~b"}, "d": {"path": "/ok~0~1"}, "e": {"path": "/a~"}}}));
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].0, "/indexes/a/path");
        assert!(found[0].1.contains("as \"/author\" does"), "{found:?}");
        assert_eq!(found[1].0, "/indexes/b~1c/path");
        assert!(found[1].1.contains("~ is written ~0"), "{found:?}");
    }

    #[test]
    fn the_number_of_indexes_and_their_names_are_bounded() {
        let indexes: serde_json::Map<String, Json> =
            (0..33).map(|n| (format!("i{n}"), json!({"path": ""}))).collect();
        assert_eq!(faults(json!({"indexes": indexes}))[0].1, "33 indexes, the limit is 32");
        assert_eq!(faults(json!({"indexes": {"": {"path": ""}}})).len(), 1);
        let long = "n".repeat(65);
        assert_eq!(faults(json!({"indexes": {long: {"path": ""}}})).len(), 1);
    }

    #[test]
    fn another_declaration_is_another_index() {
        let id = |settings: Json| read(settings).expect("indexes")[0].id;
        let one = id(json!({"indexes": {"a": {"path": "/x"}}}));
        assert_eq!(one, id(json!({"indexes": {"a": {"path": "/x", "keys": ["*"]}}})));
        assert_ne!(one, id(json!({"indexes": {"a": {"path": "/y"}}})));
        assert_ne!(one, id(json!({"indexes": {"a": {"path": "/x", "keys": ["n/*"]}}})));
    }
}
