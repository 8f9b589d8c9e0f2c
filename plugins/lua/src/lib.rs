//! Lua hooks for Keepboth: scripts that change, refuse, merge and follow writes, in a sandbox that
//! they cannot leave. Modules stand bottom-up; each uses only those above it.

/// Texts for people: cut, in one line, with the nearest name.
mod words;
/// How long a script has been running.
mod deadline;
/// What stands in the config.
mod settings;
/// The three-way merge of JSON.
mod merge;
/// What went wrong in a script, where, in which words.
mod fault;
/// The limits that a script cannot catch.
mod limit;
/// What a running call lends and collects.
mod state;
/// A part of a lent value.
mod lent;
/// Between Lua values and JSON trees.
mod tree;
/// Lent values in Lua.
mod node;
/// The argument of a hook.
mod event;
/// Lua values as readable text.
mod show;
/// `kb.log` and `print`.
mod log;
/// The table `kb`.
mod api;
/// Names after `kb.` that do not exist.
mod scan;
/// A script's file.
mod script;
/// A VM in which a script can only compute and ask `kb`.
mod sandbox;
/// One script in one VM.
mod vm;
/// The scripts of a namespace on one thread.
mod worker;
/// The plugin as the server sees it.
mod plugin;

pub use plugin::FACTORY;
pub use settings::{OnFailure, Settings};
