//! What the plugin promises, one file for each subject.

mod harness;

mod bounds;
mod plugin;
