//! Peers that are slow, stuck or silent: noticed within seconds, named, and cut off when it must be.

use std::time::Duration;

/// What a link waits for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// The peer takes nothing from its socket.
    Socket,
    /// The peer says nothing, not even that it lives.
    Silence,
    /// The peer does not acknowledge what it was sent.
    Acknowledgement,
}

impl Blocked {
    /// What is waited for, in words.
    pub fn words(self) -> &'static str {
        match self {
            Blocked::Socket => "the socket: the peer reads nothing",
            Blocked::Silence => "a sign of life: the peer says nothing",
            Blocked::Acknowledgement => "an acknowledgement",
        }
    }
}

/// A peer that makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Since when, by the steady clock in milliseconds.
    pub since: u64,
    /// For what the link waits.
    pub blocked: Blocked,
}

/// When a link last made progress, by the steady clock in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Since when bytes wait and none was written; None if none wait.
    pub writing_since: Option<u64>,
    /// When something was heard; None while this node itself does not read.
    pub heard: Option<u64>,
    /// Since when the oldest event waits to be acknowledged.
    pub unacked_since: Option<u64>,
}

impl Progress {
    /// What the link has waited for longest, if that is longer than `after`.
    pub fn stall(&self, now: u64, after: Duration) -> Option<Stall> {
        let waits = [
            (self.writing_since, Blocked::Socket),
            (self.heard, Blocked::Silence),
            (self.unacked_since, Blocked::Acknowledgement),
        ];
        let stalls = waits
            .into_iter()
            .filter_map(|(since, blocked)| since.map(|since| Stall { since, blocked }));
        let oldest = stalls.min_by_key(|stall| stall.since)?;
        (u128::from(now.saturating_sub(oldest.since)) >= after.as_millis()).then_some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stalls_on_what_it_has_waited_for_longest() {
        let five = Duration::from_secs(5);
        let fine = Progress { writing_since: None, heard: Some(9_000), unacked_since: None };
        assert_eq!(fine.stall(10_000, five), None);
        let slow = Progress { writing_since: Some(4_000), unacked_since: Some(3_000), ..fine };
        let stall = Stall { since: 3_000, blocked: Blocked::Acknowledgement };
        assert_eq!(slow.stall(10_000, five), Some(stall));
        assert_eq!(slow.stall(7_000, five), None);
        assert_eq!(Progress::default().stall(u64::MAX, five), None);
    }
}
