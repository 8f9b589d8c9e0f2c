//! Keepboth's durable store: one redb database for each namespace, one thread that commits, snapshots that read.
//!
//! Modules stand bottom-up; each uses only those above it.

/// Bounds and sizes of a store.
pub mod options;
/// What stands on disk: every table, its key and its value.
mod format;
/// How rows are laid out in bytes.
mod layout;
/// What readers and watchers are told of a key.
pub mod state;
/// The row of a key.
mod row;
/// The row of a version.
mod record;
/// What is asked of the commit thread and what it answers.
pub mod task;
/// How storage errors become refusals.
mod failure;
/// All versions of one key, read from their rows.
mod loaded;
/// Where the database stands, how it is opened, and what it is.
mod disk;
/// The tables as one commit left them.
mod tables;
/// Counters and the digest, kept up with every commit.
mod totals;
/// The newest durable state, read without locks.
pub mod snapshot;
/// What a group of tasks will change, before it is written.
mod draft;
/// What a written name stands for in a draft.
mod target;
/// Writes made here, planned on a draft.
mod local;
/// Versions from peers and hooks' merges, planned on a draft.
mod remote;
/// A draft becomes durable in one transaction.
mod commit;
/// The thread that takes tasks, commits them in groups and answers.
mod committer;
/// The store as the rest of the server sees it.
mod store;
/// The same rows in bare redb transactions, for benchmarks.
pub mod baseline;

pub use disk::OpenError;
pub use options::Options;
pub use snapshot::{
    ConflictDetail, ConflictSide, Found, Keys, Listed, Page, Past, PastPage, Snapshot,
};
pub use state::{Counts, Deleted, KeyState, Shown};
pub use store::Store;
pub use task::{Commit, KeyChange, Op, Raised, Received, Resolution, Side, Task, Written};
