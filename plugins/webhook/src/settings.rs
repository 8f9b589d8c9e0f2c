//! The settings: which targets there are, and what each is told.

use std::collections::BTreeMap;

use keepboth_core::unit::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The settings of the plugin `webhook`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The targets by their names. A name stands for what is still to be delivered: under another one a
    /// target begins anew.
    #[schemars(extend("minProperties" = 1))]
    pub targets: BTreeMap<String, Declared>,
}

/// What is told to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An object has a value.
    Put,
    /// There is no object any more.
    Delete,
    /// Several objects stand behind one key.
    Conflict,
}

/// Which nodes of a mesh tell a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// The one at which it was made.
    #[default]
    Local,
    /// Every one that hears of it.
    Every,
}

/// A target.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Where events are posted: https://… or http://…. Redirects are not followed.
    pub url: String,
    /// What is told.
    #[serde(default = "all_kinds")]
    #[schemars(length(min = 1))]
    pub events: Vec<Kind>,
    /// Which nodes of a mesh tell: with `local` the one at which a change was made, so that those with the same
    /// settings tell it once; with `every` each one that has the target, whoever made the change. What several
    /// nodes make alike, a delete of `expiry` or a merge of a hook, each of them tells; a conflict, each that made
    /// a side of it.
    #[serde(default)]
    pub on: On,
    /// Patterns of keys: only keys that fit one of them are told of. `*` is any run of characters, `?` one.
    #[serde(default = "all_keys")]
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// The file with the secret that signs requests, seen from the config file: `whsec_` and base64,
    /// or any text.
    pub secret_file: Option<String>,
    /// The variable of the environment that has the secret instead.
    pub secret_env: Option<String>,
    /// The PEM file with the authorities that may have signed the certificate of an https target,
    /// instead of those of the system; seen from the config file.
    pub ca: Option<String>,
    /// Whether a target that is new is told of everything that is there. Otherwise it hears of what
    /// changes from now on.
    #[serde(default)]
    pub initial: bool,
    /// Most requests under way at once. There is never more than one for the same key.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: usize,
    /// How long connecting may take.
    #[serde(default = "five_seconds")]
    pub connect_within: Period,
    /// How long the answer may take.
    #[serde(default = "half_a_minute")]
    pub answer_within: Period,
    /// The pause after the first failure; it doubles with each, less up to a half by chance.
    #[serde(default = "a_second")]
    pub retry_min: Period,
    /// The longest pause.
    #[serde(default = "an_hour")]
    pub retry_max: Period,
    /// After so many attempts an event is dead.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
    /// Most dead events that are kept; then the oldest goes.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub dead_max: u64,
}

fn all_kinds() -> Vec<Kind> {
    vec![Kind::Put, Kind::Delete, Kind::Conflict]
}

fn all_keys() -> Vec<String> {
    vec!["*".to_owned()]
}

fn four() -> usize {
    4
}

fn five_seconds() -> Period {
    Period::secs(5)
}

fn half_a_minute() -> Period {
    Period::secs(30)
}

fn a_second() -> Period {
    Period::secs(1)
}

fn an_hour() -> Period {
    Period::secs(3_600)
}

fn twenty() -> u32 {
    20
}

fn ten_thousand() -> u64 {
    10_000
}

/// The JSON Schema of the settings.
pub fn schema() -> Json {
    schemars::schema_for!(Settings).to_value()
}
