//! Bounds and sizes of a store, each with the default that was measured to be good.

use std::time::Duration;

use keepboth_core::ids::NodeId;
use keepboth_core::limits::VALUE_BYTES_MAX;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk.
    #[default]
    Sync,
    /// When the operating system has it; it is on the disk after this time at the latest. A power cut,
    /// or a crash of the system, may cost what was answered meanwhile; the end of the process costs
    /// nothing. What peers sent, and what was decided about keys, is on the disk before its answer
    /// all the same.
    Interval(Duration),
}

/// How a store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The node that has the store. A file of another node is a copy, and gets an id of its own.
    pub node: NodeId,
    /// Most bytes of a value; a larger one is refused at the write, and one of a peer is quarantined.
    /// 65,536 by default, and never more.
    pub value_bytes_max: usize,
    /// Memory for pages of the database. 64 MiB by default. Changes when the store is opened.
    pub cache_bytes: usize,
    /// Tasks that may wait for the commit thread; who comes later waits for room. 4,096 by default.
    /// Changes when the store is opened.
    pub queue_tasks_max: usize,
    /// When a write is answered. [`Durability::Sync`] by default.
    pub durability: Durability,
    /// Bytes of the journal after which it goes on in its other file and the database is made durable. A
    /// file is longer by what comes while that is done. 32 MiB by default.
    pub journal_bytes_max: usize,
    /// Bytes of the rows of keys that wait until they move to their tables, many at a time. Up to twice as
    /// many are in memory. 16 MiB by default.
    pub late_bytes_max: usize,
    /// Most tasks that share one transaction and one fsync. 2,048 by default.
    pub group_tasks_max: usize,
    /// Bytes of values after which no further task joins a transaction. 8 MiB by default.
    pub group_bytes_max: usize,
    /// Most objects; a write that adds one is refused, one of a peer is quarantined. None by default.
    pub objects_max: Option<u64>,
    /// Most bytes of stored values, earlier ones included; likewise. None by default.
    pub bytes_max: Option<u64>,
    /// Most bytes of values in quarantine; what comes then is refused. 64 MiB by default.
    pub quarantine_bytes_max: u64,
    /// Most versions in quarantine. 100,000 by default.
    pub quarantine_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            node: NodeId([0; 32]),
            value_bytes_max: VALUE_BYTES_MAX,
            cache_bytes: 64 * 1024 * 1024,
            queue_tasks_max: 4_096,
            durability: Durability::Sync,
            journal_bytes_max: 32 * 1024 * 1024,
            late_bytes_max: 16 * 1024 * 1024,
            group_tasks_max: 2_048,
            group_bytes_max: 8 * 1024 * 1024,
            objects_max: None,
            bytes_max: None,
            quarantine_bytes_max: 64 * 1024 * 1024,
            quarantine_max: 100_000,
        }
    }
}
