//! What an event came to, as JSON.

use keepboth_core::plugin::{Effect, LogLine};
use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use keepboth_lua::trial::Outcome;
use serde_json::{Map, Value as Json, json};

/// A value as it stands in frames.
pub fn wire(value: &Value) -> Json {
    // What is written is JSON.
    serde_json::from_str(&value.to_wire()).unwrap_or_default()
}

/// All that an event came to, but its time; what there is nothing of is left out. What scripts log
/// stands without its place: another script says the same in another line.
pub fn as_json(outcome: &Outcome) -> Json {
    let mut tree = Map::new();
    if let Some(value) = &outcome.value {
        tree.insert("value".into(), wire(value));
    }
    if let Some(refusal) = outcome.refused.as_ref().filter(|r| r.code == Code::HookRefused) {
        tree.insert("refused".into(), json!({"code": refusal.reason, "message": refusal.message}));
    }
    if let Some(words) = outcome.fault() {
        tree.insert("failed".into(), words.into());
    }
    for (name, items) in [
        ("writes", outcome.writes.iter().map(write).collect::<Vec<Json>>()),
        ("log", outcome.log.iter().map(line).collect()),
    ] {
        if !items.is_empty() {
            tree.insert(name.into(), items.into());
        }
    }
    Json::Object(tree)
}

fn write(effect: &Effect) -> Json {
    let object = format!("{}/{}", effect.namespace, effect.name);
    match &effect.value {
        Some(value) => json!({"put": object, "value": wire(value)}),
        None => json!({"delete": object}),
    }
}

fn line(line: &LogLine) -> Json {
    json!({"level": line.level.as_str(), "text": line.text})
}
