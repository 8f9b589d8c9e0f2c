//! Webhooks: the changes of a namespace as CloudEvents over HTTP, at least once and in order for each key.
//!
//! Each target follows the feed of the namespace by itself. What it has not delivered stands in the
//! plugin's table, one row for each key, beside the place in the feed up to which it has read; so a crash
//! loses nothing, and a target that hangs holds up nobody but itself. An event tells what a key is at
//! the moment it is sent, so of changes that follow each other quickly only the last may be told.

use keepboth_core::plugin::{Factory, Make};

/// How a request is signed.
mod sign;
/// Where requests go and whom they trust.
mod address;
/// The settings.
mod settings;
/// Events.
mod event;
/// A target, read from its settings, or what is wrong with them.
mod target;
/// What an answer means, and when it is tried again.
mod verdict;
/// What waits for one target.
mod queue;
/// The rows of the table.
mod rows;
/// One request and its answer.
mod post;
/// What could not be delivered.
mod dead;
/// One change on its way.
mod deliver;
/// What is asked of targets, and what they say.
mod orders;
/// One target: what it reads from the feed and sends.
mod lane;
/// The plugin bound to one namespace.
mod plugin;

/// The plugin `webhook`.
pub const FACTORY: Factory = Factory {
    name: "webhook",
    about: "Tells HTTP servers what changes, at least once.",
    several: false,
    schema: settings::schema,
    make: Make::Plugin(plugin::build),
};
