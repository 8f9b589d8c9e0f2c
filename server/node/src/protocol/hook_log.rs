//! What scripts said of late, as it is answered.

use super::estimate::Estimate;
use super::sink::Sink;

/// Some lines of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookLog {
    /// The lines, the oldest first.
    pub lines: Vec<Logged>,
    /// What to give as `after` for what follows.
    pub next: u64,
    /// Lines before these that are gone since there was no room for them.
    pub dropped: u64,
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its number, from 1.
    pub number: u64,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// `scripts/NAME:LINE`.
    pub at: String,
    /// What was said.
    pub text: String,
}

impl Estimate for Logged {
    fn bytes_estimate(&self) -> usize {
        const FIELDS_BYTES: usize = 120;
        FIELDS_BYTES + self.at.as_str().bytes_estimate() + self.text.as_str().bytes_estimate()
    }
}

pub(super) fn put_hook_log<S: Sink>(s: &mut S, log: &HookLog) {
    s.map(|s| {
        s.name("lines");
        s.list(&log.lines, |s, line| {
            s.map(|s| {
                s.count("number", line.number);
                s.count("timestamp", line.timestamp);
                s.say("level", line.level);
                s.say("at", &line.at);
                s.say("text", &line.text);
            });
        });
        s.count("next", log.next);
        s.count("dropped", log.dropped);
    });
}
