//! Objects that go when their time is over.
//!
//! Every node judges for itself and makes the same delete: the id of a delete is determined by the
//! version that it stands on, so nodes that do so at the same time, or apart from each other, agree. The
//! delete is under the condition that this version is still there, so a put that comes at the same time
//! wins, and its object lives on.
//!
//! Nothing is kept on disk. At the start, and after more objects with an end were found than are
//! remembered, the whole namespace is looked through, page by page; from then on the feed of changes is
//! followed. So a restart misses nothing, and memory is bounded by [`clock::REMEMBERED_MAX`] keys.

use keepboth_core::plugin::{Factory, Make};

/// When an object ends: by its own fields, by its key, or by the namespace.
pub mod rules;
/// The keys whose time comes next.
pub mod clock;
/// What a thread of its own does: follows the feed, and deletes.
mod round;
/// The plugin: settings, the check before a put, and the thread.
mod plugin;

pub use plugin::Settings;

/// The plugin `expiry`.
pub const FACTORY: Factory = Factory {
    name: "expiry",
    about: "Deletes objects when their time is over.",
    several: false,
    schema: plugin::settings_schema,
    make: Make::Plugin(plugin::build),
};
