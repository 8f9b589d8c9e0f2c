//! Versions in quarantine are looked at again when what refused them may have changed.

use std::sync::Arc;

use keepboth_core::ids::VersionId;
use keepboth_core::limits::{Stage, figure};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::Change;
use keepboth_store::{Quarantined, Task, Verdict};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::Space;
use crate::clock;

/// Versions that are looked at together.
const PAGE: usize = 50;

/// What became of the versions in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retried {
    /// Readers see so many from now on.
    pub admitted: u64,
    /// So many stay hidden.
    pub held: u64,
}

impl Space {
    /// Ends the quarantine of a version. False if it is not in quarantine.
    pub async fn judge(
        &self,
        key: Key,
        version: VersionId,
        verdict: Verdict,
    ) -> Result<bool, Refusal> {
        let (answer, answered) = oneshot::channel();
        let done = Box::new(move |outcome| {
            // Whoever asked may be gone; it is done all the same.
            let _ = answer.send(outcome);
        });
        let task = Task::Judge { key, version, verdict, now: clock::now(), done };
        let closed = || Refusal::new(Code::ShuttingDown, "the namespace is closed");
        self.store.submit(task).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Asks plugins and limits again of every version in quarantine, and admits those that pass now.
    pub async fn retry_quarantine(self: &Arc<Space>) -> Result<Retried, Refusal> {
        let _turn = self.retrying.lock().await;
        let (mut retried, mut after) = (Retried::default(), None);
        loop {
            let (space, from) = (self.clone(), after);
            let page = spawn_blocking(move || space.passing(from.as_ref())).await;
            let early = |e| Refusal::new(Code::StoreFailed, format!("it ended early: {e}"));
            let (passing, held, next) = page.map_err(early)??;
            retried.held += held;
            for item in passing {
                // What was admitted before it may have used up the quota.
                let admit = self.is_within_quota(&item)?
                    && self.judge(item.key, item.version, Verdict::Admit).await?;
                *(if admit { &mut retried.admitted } else { &mut retried.held }) += 1;
            }
            after = next;
            if after.is_none() {
                return Ok(retried);
            }
        }
    }

    /// Those versions of a page that plugins and limits let pass, the number of the others, and where to
    /// go on.
    #[allow(clippy::type_complexity)]
    fn passing(
        &self,
        after: Option<&(Key, VersionId)>,
    ) -> Result<(Vec<Quarantined>, u64, Option<(Key, VersionId)>), Refusal> {
        let snapshot = self.store.snapshot();
        let page = snapshot.quarantine(after, PAGE)?;
        let limit = self.setup().bounds.value_bytes_max;
        let (mut passing, mut held) = (Vec::new(), 0);
        for item in page.items {
            let value = snapshot.quarantined_value(&item.key, &item.version)?;
            let size = value.as_ref().map_or(Ok(()), |v| v.check_size(limit, Stage::Peer));
            match size.and_then(|()| self.admit(&item.key, value.as_ref())) {
                Ok(()) => passing.push(item),
                Err(_) => held += 1,
            }
        }
        Ok((passing, held, page.next))
    }

    /// True if the namespace may hold this version too. Its bytes are counted already.
    fn is_within_quota(&self, item: &Quarantined) -> Result<bool, Refusal> {
        let (setup, counts) = (self.setup(), self.store.counts());
        let bytes = setup.bounds.bytes_max.is_none_or(|max| counts.value_bytes <= max);
        let Some(objects_max) = setup.bounds.objects_max else { return Ok(bytes) };
        let shown = self.store.snapshot().state(&item.key)?.is_some_and(|s| !s.shown.is_empty());
        let one_more = !shown || item.refusal.code == Code::QuotaExceeded;
        let more = u64::from(item.change == Change::Put && one_more);
        Ok(bytes && (more == 0 || counts.objects + more <= objects_max))
    }

    /// Looks through the quarantine now and whenever the setup has changed, until the task is ended.
    pub async fn tend_quarantine(self: &Arc<Space>) {
        loop {
            if self.store.counts().quarantined > 0 {
                let namespace = self.name.as_str();
                match self.retry_quarantine().await {
                    Ok(Retried { admitted, held }) => {
                        let (admitted, held) = (figure(admitted as usize), figure(held as usize));
                        tracing::info!(
                            namespace,
                            "quarantine: {admitted} versions were admitted, {held} stay hidden"
                        );
                    }
                    Err(refusal) => {
                        tracing::warn!(namespace, "quarantine: not looked through: {refusal}");
                    }
                }
            }
            self.setup_changed.notified().await;
        }
    }
}
