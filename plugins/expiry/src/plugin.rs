//! The plugin: settings, the check before a put, and the thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepboth_core::name::Namespace;
use keepboth_core::pattern::Pattern;
use keepboth_core::period;
use keepboth_core::plugin::{
    Built, Host, Plugin, Points, Put, SettingsError, Site, Thread, Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::{Code, Refusal};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::round::Round;
use crate::rules::Rules;

/// What a key's period says if its objects do not end.
const NEVER: &str = "never";

/// The settings of the plugin `expiry`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long objects last from their last change on, if nothing below says otherwise: `"30d"`.
    pub after: Option<String>,
    /// Patterns of keys, and how long their objects last: `"1h"`, or `"never"`. `*` is any run of
    /// characters, `?` one. The pattern with the longest beginning before its first `*` or `?` holds.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// The member of values that says when they end: a time (RFC 3339), or milliseconds since 1970.
    pub field: Option<String>,
    /// The member of values that says how long they last from their last change on: `"15m"`, or
    /// milliseconds.
    pub ttl_field: Option<String>,
    /// How many objects may be deleted in a second, so that others have their turn.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_second: u32,
}

fn thousand() -> u32 {
    1_000
}

/// The JSON Schema of the settings.
pub fn settings_schema() -> Json {
    schemars::schema_for!(Settings).to_value()
}

/// Makes the plugin, or tells all that is wrong.
pub fn build(site: &Site, settings: Json) -> Built {
    let fault = |pointer: String, message: String| SettingsError { pointer, message };
    let fingerprint = Fingerprint::new().with("expiry").with(settings.to_string()).finish();
    let settings: Settings =
        serde_json::from_value(settings).map_err(|e| vec![fault(String::new(), e.to_string())])?;
    let mut faults = Vec::new();
    let mut lasts = |pointer: String, text: &str| match period::parse(text) {
        Ok(Duration::ZERO) => {
            faults.push(fault(pointer, "objects last at least 1ms".into()));
            None
        }
        Ok(period) => Some(period),
        Err(words) => {
            faults.push(fault(pointer, format!("{text:?}: {words}")));
            None
        }
    };
    let after = settings.after.as_ref().and_then(|text| lasts("/after".into(), text));
    let mut keys = Vec::new();
    for (pattern, text) in &settings.keys {
        let pointer = format!("/keys/{}", pattern.replace('~', "~0").replace('/', "~1"));
        let period = if text == NEVER { None } else { lasts(pointer, text) };
        keys.push((Pattern::new(pattern), period));
    }
    let (field, ttl_field) = (settings.field, settings.ttl_field);
    if settings.after.is_none() && keys.is_empty() && field.is_none() && ttl_field.is_none() {
        let words = "nothing ever ends: set after, keys, field or ttl_field";
        faults.push(fault("/use".into(), words.into()));
    }
    if field.is_some() && field == ttl_field {
        faults.push(fault("/ttl_field".into(), "field has the same name".into()));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    keys.sort_by_cached_key(|(pattern, _)| pattern.rank());
    Ok(Arc::new(Expiry {
        namespace: site.namespace.clone(),
        rules: Arc::new(Rules { field, ttl_field, keys, after }),
        per_second: settings.per_second,
        fingerprint,
        thread: Thread::default(),
    }))
}

struct Expiry {
    namespace: Namespace,
    rules: Arc<Rules>,
    per_second: u32,
    fingerprint: [u8; 32],
    thread: Thread,
}

impl Plugin for Expiry {
    fn points(&self) -> Points {
        Points { before_put: self.rules.look_into_values(), ..Points::default() }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Reader(self.rules.clone())))
    }

    fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let (namespace, rules) = (self.namespace.clone(), self.rules.clone());
        let (per_second, own) = (self.per_second, host.clone());
        self.thread.start(&format!("expiry {namespace}"), host, move |end| {
            Round::new(own.clone(), namespace.clone(), rules.clone(), per_second).run(end);
        })
    }

    fn drain(&self) {
        self.thread.drain();
    }

    fn stop(&self) {
        self.thread.stop();
    }
}

/// Refuses values whose members say when they end, and say it in no form that is known.
struct Reader(Arc<Rules>);

impl Worker for Reader {
    fn before_put(&mut self, put: &mut Put) -> Result<(), Refusal> {
        let Some(value) = put.draft.tree() else { return Ok(()) };
        let read = self.0.own_end(value, 0);
        read.map(drop).map_err(|words| Refusal::new(Code::HookRefused, words))
    }
}
