//! An audit trail: every write of a namespace leaves an entry in another one, or in a file. The plugin to copy.
//!
//! A plugin is a crate that knows `keepboth-core` alone. It has four parts, which stand here in the
//! order in which the server meets them: the [`FACTORY`], its [`Settings`], the plugin bound to one
//! namespace, and the worker that runs on one thread. In the config it looks like this:
//!
//! ```toml
//! [[namespaces.notes.plugins]]
//! use = "audit"
//! to = "trail"
//! ```

use std::sync::Arc;

use keepboth_core::ids::hex;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{
    Claim, Done, Effect, Factory, Failure, Make, Plugin, Points, SettingsError, Site, Worker,
};
use keepboth_core::policy::Fingerprint;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

/// What an entry says.
mod entry;
/// A file as the trail: lines, put aside when it is full.
mod trail;
/// The same plugin with a file as its trail, which it opens at the start.
mod file;

/// First, what the server has in its list of plugins: a name, a sentence, whether one
/// namespace may use it several times, and two functions.
pub const FACTORY: Factory = Factory {
    name: "audit",
    about: "Writes down in another namespace or in a file who wrote what and when.",
    // The server checks the settings against this schema first, so that mistakes have their line,
    // their column and a "did you mean" without any work here.
    several: true,
    schema: || schemars::schema_for!(Settings).to_value(),
    make: Make::Plugin(build),
};

/// Second, the settings: a struct. Its comments are the help that editors show.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The namespace that gets the entries. Not the one that is watched.
    /// Without it `trail`, unless there is a file.
    pub to: Option<String>,
    /// The file that gets the entries instead, a line of JSON each.
    pub file: Option<file::Settings>,
}

/// Third, what turns settings into a plugin, once for each namespace that uses it. What is wrong must come up
/// here, at the start, and not with the first write. Each error points at the setting that it means.
fn build(site: &Site, settings: Json) -> Result<Arc<dyn Plugin>, Vec<SettingsError>> {
    let fault = |at: &str, message: String| vec![SettingsError { pointer: at.into(), message }];
    let settings: Settings =
        serde_json::from_value(settings).map_err(|e| fault("", e.to_string()))?;
    let named = settings.to.is_some();
    let to = match (settings.to, settings.file) {
        (Some(_), Some(_)) => {
            return Err(fault("/file", "either to or file; use it twice to have both".into()));
        }
        (None, Some(settings)) => return Ok(file::build(site, settings)),
        (to, None) => to.unwrap_or_else(|| "trail".to_owned()),
    };
    let to = Namespace::new(&to).map_err(|refusal| fault("/to", refusal.message))?;
    if to == site.namespace {
        // Its entries would be writes that ask for entries.
        let words = format!("\"{to}\" is the namespace that is watched; name another one");
        return Err(fault("/to", words));
    }
    Ok(Arc::new(Audit { to, named }))
}

/// The plugin bound to one namespace. All threads share it, so it holds only what never changes.
struct Audit {
    to: Namespace,
    /// Whether the settings name it.
    named: bool,
}

impl Plugin for Audit {
    fn points(&self) -> Points {
        // Only these hooks are called; the others cost nothing.
        Points { after: true, ..Points::default() }
    }

    fn worker(&self) -> Result<Box<dyn Worker>, String> {
        Ok(Box::new(Clerk { to: self.to.clone() }))
    }

    /// Two of them with the same trail would leave every entry twice, which the server refuses.
    fn claims(&self) -> Vec<Claim> {
        let pointer = if self.named { "/to" } else { "/use" };
        vec![Claim { what: format!("the namespace {}", self.to), pointer: pointer.into() }]
    }

    /// Two nodes with the same fingerprint do the same. A plugin that reads files takes their contents too.
    fn fingerprint(&self) -> [u8; 32] {
        Fingerprint::new().with("audit").with(self.to.as_str()).finish()
    }
}

/// Fourth, what runs on one thread. It need not be `Send` and may keep what it likes between calls.
struct Clerk {
    to: Namespace,
}

impl Worker for Clerk {
    /// Called when the write is durable. Whatever is asked for here passes the hooks of its own
    /// namespace; two namespaces that audit each other are stopped by `limits.hook_depth_max`.
    fn after(&mut self, done: &Done, writes: &mut Vec<Effect>) -> Result<(), Failure> {
        let key = entry_key(done).map_err(|refusal| Failure(refusal.message))?;
        let value = Some(Value::json(&entry::of(done)));
        writes.push(Effect { namespace: self.to.clone(), name: Name::Key(key), value });
        Ok(())
    }
}

/// `NAMESPACE/KEY/VERSION`. A key too long for that stands as half of its hash, as in addresses.
fn entry_key(done: &Done) -> Result<Key, Refusal> {
    let (namespace, version) = (&done.namespace, &done.version);
    Key::new(&format!("{namespace}/{}/{version}", done.key))
        .or_else(|_| Key::new(&format!("{namespace}/{}/{version}", hex(&done.key.hash()))))
}
