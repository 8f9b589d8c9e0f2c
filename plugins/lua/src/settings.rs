//! What stands in the config for this plugin.

use keepboth_core::limits::figure;
use keepboth_core::plugin::SettingsError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The settings of `use = "lua"`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Files in the scripts folder, in the order in which they are asked.
    #[schemars(length(min = 1))]
    pub scripts: Vec<String>,
    /// Milliseconds that one script may take for one event. Loading it may take 1,000 at least. One that is not
    /// done by then has half as many of its own left; waiting for the processor or the disk it may take ten times
    /// as many in all.
    #[serde(default = "time_limit_ms")]
    #[schemars(range(min = 1, max = 10_000))]
    pub time_limit_ms: u64,
    /// Bytes that one script may hold, on each thread that runs it.
    #[serde(default = "memory_limit")]
    #[schemars(range(min = 1_048_576, max = 1_073_741_824))]
    pub memory_limit: usize,
    /// What happens to a write when a script fails or hits a limit.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// With `on_failure = "disable"`: failures one after the other that switch a script off.
    #[serde(default = "disable_after")]
    #[schemars(range(min = 1, max = 1_000))]
    pub disable_after: u32,
    /// Whatever the scripts want to know; they read it as `kb.options`.
    #[serde(default)]
    pub options: Map<String, Json>,
}

/// What happens to a write when a script fails or hits a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The write is refused: no write passes unguarded.
    #[default]
    Reject,
    /// The write goes on as it was before the failing script; the log tells of it.
    Pass,
    /// The write is refused, until the script has failed so often that it is switched off: for a
    /// second, then two, four and so on up to five minutes writes pass without it, and then it is tried
    /// again. The log and the metrics tell of it.
    Disable,
}

fn time_limit_ms() -> u64 {
    50
}

fn disable_after() -> u32 {
    5
}

fn memory_limit() -> usize {
    16 << 20
}

impl Settings {
    /// Reads the settings, or says everything that is wrong with them.
    pub fn read(settings: Json) -> Result<Settings, Vec<SettingsError>> {
        let settings: Settings =
            serde_json::from_value(settings).map_err(|e| vec![mistake("", e.to_string())])?;
        let mut mistakes = Vec::new();
        if settings.scripts.is_empty() {
            mistakes.push(mistake("/scripts", "name at least one file of the scripts folder"));
        }
        for (i, name) in settings.scripts.iter().enumerate() {
            if settings.scripts[..i].contains(name) {
                let words = format!("{name:?} stands twice; a script runs once for each event");
                mistakes.push(mistake(format!("/scripts/{i}"), words));
            }
        }
        if !(1..=10_000).contains(&settings.time_limit_ms) {
            let words = format!("{} ms; it is 1 to 10,000 ms", settings.time_limit_ms);
            mistakes.push(mistake("/time_limit_ms", words));
        }
        if !(1..=1_000).contains(&settings.disable_after) {
            let words = format!("{} failures; it is 1 to 1,000", settings.disable_after);
            mistakes.push(mistake("/disable_after", words));
        }
        if !(1 << 20..=1 << 30).contains(&settings.memory_limit) {
            let size = figure(settings.memory_limit);
            let words = format!("{size} bytes; it is 1,048,576 (1 MiB) to 1,073,741,824 (1 GiB)");
            mistakes.push(mistake("/memory_limit", words));
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// The JSON Schema of the settings.
    pub fn schema() -> Json {
        schemars::schema_for!(Settings).to_value()
    }
}

/// A mistake at this place of the settings.
pub fn mistake(pointer: impl Into<String>, message: impl Into<String>) -> SettingsError {
    SettingsError { pointer: pointer.into(), message: message.into() }
}
