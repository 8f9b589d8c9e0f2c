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
/// CBOR items.
mod cbor;
/// The hooks that scripts can have.
mod hook;
/// A line that a script logs.
mod line;
/// What went wrong in a script, where, in which words.
mod fault;
/// The limits that a script cannot catch.
mod limit;
/// What an event tells of itself.
mod subject;
/// What a running call lends and collects.
mod state;
/// A part of a lent JSON value.
mod lent;
/// What Lua holds of CBOR items.
mod held;
/// Why a Lua value does not fit, and how large it may be.
mod misfit;
/// Between Lua values and JSON trees.
mod tree;
/// Lua values as CBOR items.
mod take;
/// Lua values as readable text.
mod show;
/// CBOR items in Lua.
mod items;
/// Lent values in Lua.
mod node;
/// The argument of a hook.
mod event;
/// `kb.log` and `print`.
mod log;
/// Tables that a script can only read.
mod named;
/// What a script registers.
mod register;
/// The table `kb`.
mod api;
/// What editors know of scripts.
mod types;
/// Names after `kb.` that do not exist.
mod scan;
/// Loops whose order depends on addresses.
mod order;
/// A script's file.
mod script;
/// A VM in which a script can only compute and ask `kb`.
mod sandbox;
/// One script in one VM.
mod vm;
/// When a failing script is switched off.
mod breaker;
/// The scripts of a namespace, as all threads see them.
mod bound;
/// The scripts of a namespace on one thread.
mod worker;
/// A server in memory.
mod memory;
/// Scripts on trial, without a server.
pub mod trial;
/// Where two values differ.
mod diff;
/// The tests of a script.
mod testing;
/// All mistakes of a script.
mod check;
/// When timers run.
mod timers;
/// The plugin as the server sees it.
mod plugin;

pub use check::{Checked, Mistake, check};
pub use diff::{Difference, differences};
pub use hook::{Declared, Every, Hook, On};
pub use line::{Level, Line};
pub use memory::{Memory, Was};
pub use plugin::FACTORY;
pub use settings::{OnFailure, Settings};
pub use testing::{Suite, Tested, run_suite, run_tests, test_of};
pub use types::{EDITOR_SETTINGS, definitions};
