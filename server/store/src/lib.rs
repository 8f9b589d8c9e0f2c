//! Keepboth's durable store: for each namespace a redb database with a journal before it, one thread that
//! commits, and snapshots that read.
//!
//! Modules stand bottom-up; each uses only those above it.

/// Bounds and sizes of a store.
pub mod options;
/// What stands on disk: every table, its key and its value.
mod format;
/// Why a store cannot be opened.
mod error;
/// How rows are laid out in bytes.
mod layout;
/// The row of a note.
mod note;
/// The row of a key in the trash.
mod trash;
/// The row of a version in quarantine.
pub mod quarantine;
/// What readers and watchers are told of a key.
pub mod state;
/// What few keys have besides their view.
mod apart;
/// The row of a key.
mod row;
/// The row of a version.
mod record;
/// What the commit thread answers, and tells after a commit.
pub mod told;
/// What is asked of the commit thread.
pub mod task;
/// Rows that are durable in the journal and that the database does not have yet.
mod pending;
/// Rows that are to be written, as bytes.
mod rows;
/// One table as readers see it.
mod view;
/// Tables of which many rows stand in one row of redb.
mod pack;
/// How storage errors become refusals.
mod failure;
/// A history built from its records.
mod rebuild;
/// All versions of one key, read from their rows.
mod loaded;
/// How a transaction becomes durable.
mod durable;
/// What a database says of its journal.
mod word;
/// What makes a group durable before redb has it.
mod journal;
/// The tables as one commit left them.
mod tables;
/// Rows that come to their tables late.
mod late;
/// A new database comes into its place whole.
mod fresh;
/// A file is made small.
mod compact;
/// A disk that takes no writes, as one that does.
mod overlay;
/// Where the database stands, how it is opened, and what it is.
mod disk;
/// Which keys are surely new.
mod filter;
/// What stands in the journal comes into the database.
mod replay;
/// The thread that brings the database up to the journal.
mod behind;
/// Counters and the digest, kept up with every commit.
mod totals;
/// The newest durable state, read without locks.
pub mod snapshot;
/// What one task of retention takes away.
mod removal;
/// What a group of tasks will change, before it is written.
mod draft;
/// What a written name stands for in a draft.
mod target;
/// Limits of a namespace.
mod quota;
/// Versions that stand next to a gap.
mod beside;
/// Versions from peers, planned on a draft.
mod remote;
/// Writes made here and hooks' merges, planned on a draft.
mod local;
/// What somebody decides about keys and versions, planned on a draft.
mod verdict;
/// One step of retention, planned on a draft.
mod collect;
/// A draft as the rows that it writes.
mod commit;
/// The database and the journal together.
mod ledger;
/// Each task on a draft, with its answer.
mod plan;
/// What the commit thread shares with readers.
mod shared;
/// A database that was opened, with its digests and counters.
mod opened;
/// The thread that takes tasks, commits them in groups and answers.
mod committer;
/// Who commits, one at a time.
mod seat;
/// The store as the rest of the server sees it.
mod store;
/// A table of a plugin's own.
mod shelf;
/// The same rows in bare redb transactions and in a bare journal, for benchmarks.
pub mod baseline;

pub use compact::Unfinished;
pub use error::OpenError;
pub use journal::file::JournalFile;
pub use journal::place::journal_of;
pub use keepboth_core::session::{Entry, Held, Histories};
pub use options::{Durability, Options};
pub use quarantine::Quarantined;
pub use seat::Rest;
pub use shelf::Shelf;
pub use snapshot::{
    ConflictDetail, ConflictSide, Found, Keys, Listed, Page, Past, PastPage, QuarantinePage,
    Snapshot,
};
pub use state::{Counts, Deleted, KeyState, Shown};
pub use store::Store;
pub use task::{
    Collected, Commit, Incoming, Keep, KeyChange, Op, Place, Raised, Received, Resolution, Side,
    Task, Verdict, Written,
};
