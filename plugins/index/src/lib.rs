//! Secondary indexes: the objects of a namespace by what stands in their values.
//!
//! A thread follows the namespace's feed and keeps the rows of all indexes in the plugin's table, up to a
//! place in the feed that stands beside them. So a crash costs nothing but the way from there, and a
//! declaration that changed has its rows made anew.

use keepboth_core::plugin::{Factory, Make};

/// Scalars as bytes whose order is theirs.
mod order;
/// What an index has of a value.
mod pick;
/// The settings, and what is wrong with them.
mod settings;
/// The rows of the table.
mod rows;
/// How far each index has followed.
mod progress;
/// What a change of the feed does to the rows.
mod apply;
/// The thread that follows the feed.
mod follow;
/// The answers.
mod query;
/// The plugin bound to one namespace.
mod plugin;

/// The plugin `index`.
pub const FACTORY: Factory = Factory {
    name: "index",
    about: "Finds objects by what stands in their values.",
    several: false,
    schema: settings::schema,
    make: Make::Plugin(plugin::build),
};
