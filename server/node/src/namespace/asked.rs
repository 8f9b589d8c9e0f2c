//! What becomes of the writes that after-hooks ask for, and how it is told.

use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{LogLevel, LogLine};
use keepboth_core::refusal::Refusal;
use keepboth_store::Written;

use super::script_log::ScriptLog;
use crate::clock;
use crate::meters::Meters;

/// A write that a hook asked for.
pub(super) struct Asked {
    /// Those of the plugin that did.
    pub meters: Arc<Meters>,
    /// The object after whose write it did.
    pub from: String,
    /// The namespace of the write.
    pub namespace: Namespace,
    /// The name of the object that it would write.
    pub name: String,
    /// Where a refusal is told.
    pub script_log: Arc<ScriptLog>,
}

impl Asked {
    /// Nobody waits for what becomes of it. So a refusal is counted, stands in the log of the scripts, and status
    /// warns of it until a write to that namespace is taken again; the log of the server has the first.
    pub fn ended(self, outcome: Result<Vec<Written>, Refusal>) {
        let matter = format!("writes to {}", self.namespace);
        let Err(refusal) = outcome else {
            self.meters.warn(&matter, None);
            return;
        };
        let words = format!(
            "a write to {}/{}, after that of {}, was refused: {refusal}",
            self.namespace, self.name, self.from
        );
        self.meters.count("writes_refused", 1);
        let (at, text) = (self.meters.plugin().to_owned(), words.clone());
        self.script_log.push(&LogLine { level: LogLevel::Error, at, text }, clock::now());
        if self.meters.warn(&matter, Some(words.clone())) {
            tracing::warn!("plugin {}: {words}", self.meters.plugin());
        }
    }
}
