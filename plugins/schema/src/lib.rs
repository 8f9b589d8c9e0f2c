//! JSON Schema for Keepboth: values are checked by their key before they are written, and events by their form.

use keepboth_core::plugin::{Factory, Make};

/// What a validator finds, in words with file, place and rule.
mod words;
/// Mistakes in a schema that validators pass over in silence.
mod lint;
/// Schema files and nothing else, from one folder and nowhere else.
mod folder;
/// A schema file, checked and compiled.
mod schema;
/// The plugin: settings, patterns, and the check before a put.
mod plugin;
/// The forms of the system's own events and requests.
pub mod events;

pub use plugin::Settings;

/// The plugin `schema`.
pub const FACTORY: Factory = Factory {
    name: "schema",
    about: "Refuses values that break the JSON Schema bound to their key.",
    several: true,
    schema: plugin::settings_schema,
    make: Make::Plugin(plugin::build),
};
