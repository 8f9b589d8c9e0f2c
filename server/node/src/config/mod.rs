//! The configuration file: its form, its checks, and errors with file, line and column.

/// When a write is answered.
mod durability;
/// The settings and their defaults.
mod shape;
/// A mistake with its place, written as compilers write theirs.
mod error;
/// File and environment as one tree that knows where its parts were written.
mod tree;
/// What the JSON Schema finds wrong, in words.
mod mistake;
/// Settings without what is faulty in them.
mod sound;
/// What a schema cannot say.
mod rules;
/// The files of certificates and keys that are named.
mod certificates;
/// The plugins of each namespace, made from their settings.
mod bind;
/// From texts to a checked configuration.
mod load;

pub use bind::Bound;
pub use durability::Durability;
pub use error::{ConfigError, ConfigErrors, Place};
pub use load::{Loaded, check, renew};
pub use rules::peer_url;
pub use shape::{
    Config, History, Limits, LogFormat, MemberConfig, Mesh, NamespaceConfig, PluginConfig, Server,
    Tls, Trash, schema,
};
pub use tree::ENVIRONMENT_PREFIX;

#[cfg(test)]
mod tests;
