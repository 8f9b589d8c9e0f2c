//! What stands on disk, FORMAT 6: one redb file for each namespace, with these tables, and beside it,
//! while the store is open, its journal.
//!
//! Integers inside rows are big-endian, or LEB128 where it is said that they have as many bytes as they
//! need; so have the lengths of lists. A *sequence* counts the versions of a store from 1 in
//! the order in which it learned them, and the notes about them; it means nothing on another store,
//! and is never given twice. A put appends to `records` and `values`, and many of their rows stand in one of
//! redb's: [`crate::pack`]. It writes at no random place: its rows of `keys` and `names` are appended to `late`,
//! from where they come to their tables many at a time, in order: [`crate::late`].
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | a word | bytes; written when the file is made, and when it is found to be a copy or put back from a backup |
//! | `keys` | the key's text | the row of a key: [`crate::row`], `bytes.rs` there |
//! | `names` | first 16 bytes of `blake3(key)`: the first half of its addresses, and what the digest's ranges are made of | the key's text |
//! | `late` | the number of a piece | a piece of what is to come to `keys` and `names`: [`crate::late`]. Empty when the store was closed |
//! | `records` | sequence | the record of a version: [`crate::record`] |
//! | `values` | sequence of a put | the value's tag (one byte), then its bytes; their hash is the version's data hash, checked on every read. Absent if the value was forgotten |
//! | `conflicts` | text of a key that is in conflict now | nothing |
//! | `trash` | text of a key that has a history and no object | the sequence that took its last object away (8), when this store learned of it in milliseconds since 1970 (8), 1 if its values are gone, else 0 (1) |
//! | `aging` | the last byte of a row of `trash`, its time, the key's text | nothing; so what is due is found without a look at the rest |
//! | `raised` | id of a conflict | the sequence at which its event was raised; it is raised once |
//! | `quarantine` | text of a key, id of a version | why it is hidden from readers: [`crate::quarantine`] |
//! | `notes` | sequence | what happened to a key without a new version: 0 it was forgotten, 1 a version of it came out of quarantine (1), the key's text |
//! | `peers` | id of a node | the sequence up to which that node has what is here (8), how many digests were shown to it and seen of it (8 each; older rows have one number or none there), and when, in milliseconds since 1970 (8) |
//! | `digests` | first byte of the hashes of a range of keys | for each of its buckets that has keys: [`crate::totals`] |
//! | `changes` | a number that grows with every commit | what the buckets that it has changed amount to: [`crate::totals`]; since `digests` was written |
//! | `state` | a word | a number |
//!
//! Words in `meta`: `format` (4 bytes), `namespace` (text), `store` (16 bytes, a version 4 UUID: the
//! origin of what is written here), `epoch` (8 bytes, 1 in a new store), `node` (32 bytes: the node
//! that has the store), `journal` (the run of the journal (16), the generation of its records that goes on
//! from this file (8), how many records of the run are in the file (8), 1 if answers do not wait for the disk (1); see
//! below).
//!
//! Words in `state`: `sequence` (the newest that was ever given when something was removed), `digests`
//! (the sequence that the rows of `digests` tell of), `walked` (the sequence up to which retention has
//! been), `rules` (by which it went: how many
//! values are kept, times 2^32, and how many records), `removed` (the largest sequence of a version of a
//! key that was removed for good). A word that is not there is 0.
//!
//! The records of one key form a list from the newest to the oldest: the key's row names the last,
//! each record the one before. `records` and `notes` together are also the feed of changes: read
//! upwards, an entry whose key has a larger sequence is skipped, and one entry for each key remains,
//! the latest.
//!
//! The last sequence is the largest of the last of `records`, the last of `notes` and `sequence`.
//!
//! A forgotten key keeps its row and records, without values, until every peer knows; it counts
//! nowhere. Then both go, and its note.
//!
//! The journal of `notes.redb` is `notes.journal-a` and `notes.journal-b`; its form stands in
//! [`crate::journal::record`]. Each group of writes is appended to it and synced, which makes it durable;
//! a little later several groups are written to the tables together, without a sync. After some megabytes
//! the next generation of records begins in the other of the two files, and the database is made durable with
//! all of the generation before and the number of the new one in `journal`. So the file of the database is
//! that of the last such moment, and with the records of the generation that it names, and of the next, it is
//! whole. A store that is closed makes the database durable with the generation [`GENERATION_NONE`] and
//! removes the journal: then the file is whole alone. A store that only reads makes no journal.
//!
//! The digest and the counters are kept by bucket. When the file is opened, they are read, and those that
//! changed since; no row of a key is.

use redb::TableDefinition;

/// The format of the file. A file of another format is not opened.
pub const FORMAT: u32 = 6;

/// The form of a table of packs: the first sequence of each to its bytes.
pub type Packs = TableDefinition<'static, u64, &'static [u8]>;

/// Words about the file itself.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Key to its row.
pub const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
/// Half of a key's hash to the key.
pub const NAMES: TableDefinition<&[u8; 16], &str> = TableDefinition::new("names");
/// Rows of the two before that are not there yet, in pieces.
pub const LATE: TableDefinition<u64, &[u8]> = TableDefinition::new("late");
/// Sequence to the record of a version, in packs.
pub const RECORDS: Packs = TableDefinition::new("records");
/// Sequence to the value of a put, in packs.
pub const VALUES: Packs = TableDefinition::new("values");
/// Keys in conflict.
pub const CONFLICTS: TableDefinition<&str, ()> = TableDefinition::new("conflicts");
/// Keys in the trash.
pub const TRASH: TableDefinition<&str, &[u8]> = TableDefinition::new("trash");
/// Keys in the trash by stage and age.
pub const AGING: TableDefinition<(u8, u64, &str), ()> = TableDefinition::new("aging");
/// Conflicts whose event was raised.
pub const RAISED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("raised");
/// Hidden versions that somebody has to judge.
pub const QUARANTINE: TableDefinition<(&str, &[u8; 32]), &[u8]> =
    TableDefinition::new("quarantine");
/// Sequence to what happened to a key without a version.
pub const NOTES: TableDefinition<u64, &[u8]> = TableDefinition::new("notes");
/// Node to what it has.
pub const PEERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("peers");
/// First byte of a hash to digests and counters.
pub const DIGESTS: TableDefinition<u8, &[u8]> = TableDefinition::new("digests");
/// Number of a commit to the digests and counters that it has changed.
pub const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
/// Numbers that the store keeps of its own work.
pub const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");

/// In `meta`: the number of the format.
pub const META_FORMAT: &str = "format";
/// In `meta`: the namespace's name.
pub const META_NAMESPACE: &str = "namespace";
/// In `meta`: the store's id.
pub const META_STORE: &str = "store";
/// In `meta`: the store's epoch.
pub const META_EPOCH: &str = "epoch";
/// In `meta`: the node that has the store.
pub const META_NODE: &str = "node";
/// In `meta`: what is needed of the journal.
pub const META_JOURNAL: &str = "journal";
/// The generation that needs no journal.
pub const GENERATION_NONE: u64 = u64::MAX;

/// In `state`: the newest sequence when something was removed.
pub const STATE_SEQUENCE: &str = "sequence";
/// In `state`: the sequence that the digests tell of.
pub const STATE_DIGESTS: &str = "digests";
/// In `state`: how far retention has walked.
pub const STATE_WALKED: &str = "walked";
/// In `state`: the rules by which it walked.
pub const STATE_RULES: &str = "rules";
/// In `state`: the largest sequence of a forgotten key that is gone.
pub const STATE_REMOVED: &str = "removed";
