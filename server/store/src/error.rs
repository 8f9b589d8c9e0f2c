//! Why a store cannot be opened, in words for the one who runs the server.

use std::path::PathBuf;

use crate::format::FORMAT;

/// Why a store cannot be opened. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this process, has the file.
    #[error("{path}: another process has this store open", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path}: not a Keepboth store ({what})", path = path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What speaks against it.
        what: String,
    },
    /// A newer version of the server wrote it.
    #[error("{path}: format {found}, and this server reads {FORMAT}; use a newer server", path = path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// An older version of the server wrote it, in a format that was never released.
    #[error("{path}: format {found}, which this server does not read any more (it reads {FORMAT}); export the objects with the server that wrote it and import them here", path = path.display())]
    OlderFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is the store of another namespace.
    #[error("{path}: the store of namespace {found:?}, expected {expected:?}", path = path.display())]
    OtherNamespace {
        /// The file.
        path: PathBuf,
        /// Whose store it is.
        found: String,
        /// Whose store was asked for.
        expected: String,
    },
    /// The store was not closed, and the journal beside it is missing or another's.
    #[error(
        "{path}: the store was not closed, and its newest writes stand in {journal}: {what}. Put the \
         right journal back; if it is lost, put an empty file in its place: the store then opens \
         without those writes",
        path = path.display(), journal = journal.display()
    )]
    Journal {
        /// The file of the database.
        path: PathBuf,
        /// The file of the journal.
        journal: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What it holds cannot be what was written.
    #[error("{path}: corrupt: {what}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The disk or the operating system refused.
    #[error("{path}: {what}", path = path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// In words.
        what: String,
    },
}
