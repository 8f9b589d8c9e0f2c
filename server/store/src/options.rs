//! Bounds and sizes of a store, each with the default that was measured to be good.

use keepboth_core::limits::VALUE_BYTES_MAX;

/// How a store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of a value; a larger one is refused at the write. 65,536 by default, and never more.
    pub value_bytes_max: usize,
    /// Memory for pages of the database. 64 MiB by default.
    pub cache_bytes: usize,
    /// Tasks that may wait for the commit thread; who comes later waits for room. 4,096 by default.
    pub queue_tasks_max: usize,
    /// Most tasks that share one transaction and one fsync. 2,048 by default.
    pub group_tasks_max: usize,
    /// Bytes of values after which no further task joins a transaction. 8 MiB by default.
    pub group_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            value_bytes_max: VALUE_BYTES_MAX,
            cache_bytes: 64 * 1024 * 1024,
            queue_tasks_max: 4_096,
            group_tasks_max: 2_048,
            group_bytes_max: 8 * 1024 * 1024,
        }
    }
}
