//! How storage errors become refusals: a disk that fails, and a disk that lies.

use std::fmt;

use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};

/// A storage error as clients see it.
pub fn failed(error: impl Into<redb::Error>) -> Refusal {
    match error.into() {
        redb::Error::Corrupted(what) => {
            Refusal::new(Code::Corrupt, format!("the database is corrupt: {what}"))
        }
        redb::Error::DatabaseClosed => {
            Refusal::new(Code::StoreFailed, "the database was closed meanwhile; ask again")
        }
        error => Refusal::new(Code::StoreFailed, format!("the disk failed: {error}")),
    }
}

/// A commit that failed: whether it is there is unknown.
pub fn unknown(error: &redb::Error) -> Refusal {
    let words = format!("the disk failed ({error}); whether the write is there is unknown");
    Refusal::new(Code::StoreFailed, words)
}

/// A panic while a task was committed, most likely by damaged pages: whether it is there is unknown.
pub fn lost() -> Refusal {
    let words = "the store gave up while this was written; whether it is there is unknown";
    Refusal::new(Code::StoreFailed, words)
        .hint("the server's log says why; what is there can still be read")
}

/// Nothing is written any more after such a panic.
pub fn gave_up() -> Refusal {
    let words = "the store gave up after a failure; nothing was written";
    Refusal::new(Code::StoreFailed, words)
        .hint("the server's log says why; what is there can still be read")
}

/// A row that cannot be what was written there.
pub fn corrupt(what: impl fmt::Display) -> Refusal {
    Refusal::new(Code::Corrupt, format!("the database is corrupt: {what}"))
        .hint("repair it from a peer or a backup")
}

/// A row of a key that cannot be what was written there.
pub fn corrupt_key(key: &Key, what: impl fmt::Display) -> Refusal {
    corrupt(format_args!("key {:?}: {what}", key.as_str()))
}
