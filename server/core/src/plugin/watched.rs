//! What a plugin lets operators see while it runs: lines, warnings and the times of its calls.

use std::time::Duration;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For whoever writes the script or plugin.
    Debug,
    /// For whoever runs the server.
    Info,
    /// Something to look at.
    Warn,
    /// Something to do.
    Error,
}

impl LogLevel {
    /// Its name in answers and settings.
    pub fn as_str(self) -> &'static str {
        ["debug", "info", "warn", "error"][self as usize]
    }
}

/// A line in the log of a namespace's scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// Where it was said, for instance `scripts/NAME:LINE`.
    pub at: String,
    /// What was said, in one line.
    pub text: String,
}

/// The figures of one kind of calls.
pub trait Meter: Send + Sync {
    /// Counts a call that took so long.
    fn took(&self, time: Duration, failed: bool);
}
