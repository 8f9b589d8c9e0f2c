//! A peer that makes no progress is named, and cut off if that lasts.

use super::{End, Link};
use crate::clock;
use crate::namespace::stall::Progress;
use crate::peers::replica::Stores;

impl Link {
    /// Notices a peer that makes no progress, and ends the link if that lasts.
    pub(super) fn look_for_stalls(&mut self) -> Result<(), End> {
        let (Some(node), now) = (self.peer, clock::steady()) else { return Ok(()) };
        let heard =
            now.saturating_sub(u64::try_from(self.heard.elapsed().as_millis()).unwrap_or(u64::MAX));
        let standings = self.session.standings(&Stores(&self.spaces));
        let progress = Progress {
            writing_since: self.outbox.stuck_since(),
            heard: self.may_read().then_some(heard),
            unacked_since: standings.iter().filter_map(|(_, s)| s.waiting_since).min(),
        };
        let stall = progress.stall(now, self.mesh.rules.stall_after);
        let mut told = false;
        self.mesh.if_current(node, self.number, |entry| {
            told = entry.stall.map(|stall| stall.blocked) != stall.map(|stall| stall.blocked);
            entry.stall = stall;
        });
        if told {
            match stall {
                Some(stall) => {
                    self.mesh.metrics.stalls.inc();
                    let behind: u64 = standings.iter().map(|(_, s)| s.behind).sum();
                    let waits_for = stall.blocked.words();
                    tracing::warn!(peer = %self.name(), behind, "stalled: it waits for {waits_for}");
                }
                None => tracing::info!(peer = %self.name(), "makes progress again"),
            }
            self.publish();
        }
        match progress.stall(now, self.mesh.rules.cut_after) {
            Some(stall) => {
                let (after, words) =
                    (now.saturating_sub(stall.since) / 1000, stall.blocked.words());
                Err(End::Lost(format!("no progress for {after} s: it waited for {words}")))
            }
            None => Ok(()),
        }
    }
}
