//! What stands on disk, FORMAT 1: one redb file for each namespace, with these tables.
//!
//! All integers inside rows are big-endian. A *sequence* counts the versions of a store from 1 in
//! the order in which it learned them; it means nothing on another store. Only `keys` is written at
//! random places when an object that exists is put; `records` and `values` are appended.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | a word | bytes; written once, when the file is made |
//! | `keys` | the key's text | the row of a key: [`crate::row`] |
//! | `names` | first 16 bytes of `blake3(key)`: the first half of its addresses, and what the digest's buckets are made of | the key's text |
//! | `records` | sequence | the record of a version: [`crate::record`] |
//! | `values` | sequence of a put | the value's tag (one byte), then its bytes; their hash is the version's data hash, checked on every read |
//! | `conflicts` | text of a key that is in conflict now | nothing |
//! | `trash` | text of a key that has a history and no object | the sequence that took its last object away |
//! | `raised` | id of a conflict | the sequence at which its event was raised; it is raised once |
//!
//! Words in `meta`: `format` (4 bytes), `namespace` (text), `store` (16 bytes, a version 4 UUID: the
//! origin of what is written here), `epoch` (8 bytes, 1 in a new store).
//!
//! The records of one key form a list from the newest to the oldest: the key's row names the last,
//! each record the one before. `records` is also the feed of changes: read upwards, a record whose
//! key has a larger last sequence is skipped, and one entry for each key remains, the latest.
//!
//! The last sequence is the last key of `records`. Counters and the digest are not stored: they are
//! made by one scan of `keys` when the file is opened.

use redb::TableDefinition;

/// The format of the file. A file of a newer format is not opened.
pub const FORMAT: u32 = 1;

/// Words about the file itself.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Key to its row.
pub const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
/// Half of a key's hash to the key.
pub const NAMES: TableDefinition<&[u8; 16], &str> = TableDefinition::new("names");
/// Sequence to the record of a version.
pub const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// Sequence to the value of a put.
pub const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");
/// Keys in conflict.
pub const CONFLICTS: TableDefinition<&str, ()> = TableDefinition::new("conflicts");
/// Keys in the trash.
pub const TRASH: TableDefinition<&str, u64> = TableDefinition::new("trash");
/// Conflicts whose event was raised.
pub const RAISED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("raised");

/// In `meta`: the number of the format.
pub const META_FORMAT: &str = "format";
/// In `meta`: the namespace's name.
pub const META_NAMESPACE: &str = "namespace";
/// In `meta`: the store's id.
pub const META_STORE: &str = "store";
/// In `meta`: the store's epoch.
pub const META_EPOCH: &str = "epoch";
