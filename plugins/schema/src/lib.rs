//! JSON Schema for Keepboth: values are checked by their key before they are written, and events by their form.

use keepboth_core::plugin::{Factory, Make};

/// The keywords of a schema, and how to get at the schemas within a schema.
mod keywords;
/// How often the schemas of a file ask a value.
mod work;
/// What a validator finds, in words with file, place and rule.
mod words;
/// A mistake in a schema file, with line and column.
mod fault;
/// Mistakes in a schema that validators pass over in silence.
mod lint;
/// Schema files and nothing else, from one folder and nowhere else.
mod folder;
/// Where each `$ref` leads.
mod refs;
/// A schema file, checked and compiled.
mod schema;
/// What is bound to a pattern of keys.
mod binding;
/// The plugin: settings, patterns, and the check before a put.
mod plugin;
/// What stands in a schema file as its own test.
pub mod vectors;
/// A schema for values that are there.
pub mod infer;
/// The forms of the system's own events and requests.
pub mod events;

pub use fault::{Fault, Place};
pub use folder::Folder;
pub use plugin::Settings;
pub use schema::Schema;

/// The plugin `schema`.
pub const FACTORY: Factory = Factory {
    name: "schema",
    about: "Refuses values that break the JSON Schema bound to their key.",
    several: true,
    schema: plugin::settings_schema,
    make: Make::Plugin(plugin::build),
};
