//! What operators ask of scripts: what they said of late, and what they say next.

use std::time::Duration;

use keepboth_core::refusal::{Code, Refusal};
use tokio::time::timeout;

use super::connection::Connection;
use super::out::Slot;
use crate::namespace::removed;
use crate::protocol::{Answer, Call, ITEMS_BYTES_MAX};

impl Connection {
    /// Answers with lines of scripts, at once or when there is one. Who waits holds one of the
    /// connection's requests, and nothing else.
    pub async fn hook_log(&self, id: u64, call: Call, slot: Slot) {
        let Call::HookLog { ns, after, limit, wait_ms } = call else {
            let refusal = Refusal::new(Code::UnknownMethod, "not the log of scripts");
            return self.answer(slot, id, Err(refusal));
        };
        let space = match self.clients.space(&ns) {
            Ok(space) => space,
            Err(refusal) => return self.answer(slot, id, Err(refusal)),
        };
        let limit = self.clients.page(limit);
        let read = space.script_log.read(after, limit, ITEMS_BYTES_MAX);
        if wait_ms == 0 || !read.lines.is_empty() {
            return self.answer_read(slot, id, Answer::HookLog(read)).await;
        }
        let (left, metrics) = (self.left.clone(), self.clients.metrics.clone());
        let unread = self.unread.clone();
        self.clients.tasks.spawn(async move {
            let lines = space.script_log.wait(after, limit, ITEMS_BYTES_MAX);
            let outcome = tokio::select! {
                biased;
                () = left.cancelled() => Ok(read),
                () = space.until_gone() => Err(removed(&ns)),
                lines = timeout(Duration::from_millis(wait_ms), lines) => Ok(lines.unwrap_or(read)),
            };
            if let Err(refusal) = &outcome {
                metrics.refused(refusal.code);
            }
            tokio::select! {
                out = unread.sized(id, outcome.map(Answer::HookLog)) => { slot.send(out); }
                () = left.cancelled() => {}
            }
        });
    }
}
