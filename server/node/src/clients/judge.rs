//! What operators decide on versions that are hidden and on keys that were deleted.

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::{Quarantined, Task, Verdict};
use tokio::sync::oneshot;

use super::Clients;
use crate::namespace::unfit::{Finding, Summary};
use crate::protocol::{Answer, Estimate, Held, HeldAt, ITEMS_BYTES_MAX, Page, Unfit};

/// Most characters of a reason that a list shows.
const REASON_CHARS_MAX: usize = 1_000;

impl Clients {
    /// A page of the versions in quarantine.
    pub(super) fn quarantine(
        &self,
        ns: &Namespace,
        after: Option<HeldAt>,
        limit: usize,
    ) -> Result<Answer, Refusal> {
        let snapshot = self.space(ns)?.store.snapshot();
        let after = after.map(|at| (at.key, at.version));
        let page = snapshot.quarantine(after.as_ref(), limit)?;
        let mut next = page.next.map(|(key, version)| HeldAt { key, version });
        let (mut items, mut bytes) = (Vec::new(), 0);
        for item in page.items.into_iter().map(held) {
            bytes += item.bytes_estimate();
            if bytes > ITEMS_BYTES_MAX {
                let last: Option<&Held> = items.last();
                next = last.map(|l| HeldAt { key: l.key.clone(), version: l.version });
                break;
            }
            items.push(item);
        }
        Ok(Answer::Quarantine(Page { items, next }))
    }

    /// A page of the objects that break the schemas.
    pub(super) fn schema_report(
        &self,
        ns: &Namespace,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Answer, Refusal> {
        let space = self.space(ns)?;
        let summary = space.unfit().summary();
        let (findings, mut next) = space.unfit().page(after, limit);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for Finding { key, name, version, refusal } in findings {
            let item = Unfit { key, name, version, refusal };
            bytes += item.bytes_estimate();
            if bytes > ITEMS_BYTES_MAX {
                // All of one key stand in one page.
                items.retain(|other: &Unfit| other.key != item.key);
                next = items.last().map(|last| last.key.clone());
                break;
            }
            items.push(item);
        }
        let Summary { bound, done, checked, unfit } = summary;
        Ok(Answer::SchemaReport { page: Page { items, next }, bound, done, checked, unfit })
    }

    /// Ends the quarantine of a version.
    pub(super) async fn judge(
        &self,
        ns: Namespace,
        key: Key,
        version: VersionId,
        admit: bool,
    ) -> Result<Answer, Refusal> {
        let verdict = if admit { Verdict::Admit } else { Verdict::Discard };
        let space = self.space(&ns)?;
        if !space.judge(key.clone(), version, verdict).await? {
            let words =
                format!("version {version} of {:?} is not in quarantine here", key.as_str());
            return Err(Refusal::new(Code::NotFound, words).hint("`keepboth quarantine ls` lists"));
        }
        // What was admitted against the rules is an object that breaks them.
        space.look_at_key(key.clone()).await?;
        Ok(Answer::Judged { ns, key, version, admitted: admit })
    }

    /// Asks plugins and limits again.
    pub(super) async fn quarantine_retry(&self, ns: Namespace) -> Result<Answer, Refusal> {
        let retried = self.space(&ns)?.retry_quarantine().await?;
        Ok(Answer::Retried { ns, admitted: retried.admitted, held: retried.held })
    }

    /// Drops a key of the trash at once, on all nodes.
    pub(super) async fn purge(&self, ns: Namespace, key: Key) -> Result<Answer, Refusal> {
        let space = self.space(&ns)?;
        let snapshot = space.store.snapshot();
        let state = snapshot.state(&key)?;
        let trashed = state.filter(|state| state.deleted.is_some() && state.shown.is_empty());
        let state = trashed.ok_or_else(|| {
            let words = format!("there is no key {:?} in the trash", key.as_str());
            Refusal::new(Code::NotFound, words).hint("only what was deleted can be purged")
        })?;
        let (answer, answered) = oneshot::channel();
        let done = Box::new(move |outcome| {
            // Whoever asked may be gone; it is done all the same.
            let _ = answer.send(outcome);
        });
        let keys = vec![(key.clone(), state.view.tips.to_vec())];
        let task = Task::Forget { keys, local: true, purge: true, done };
        let closed = || Refusal::new(Code::ShuttingDown, "the namespace is closed");
        space.store.submit(task).await.map_err(|_| closed())?;
        match answered.await.map_err(|_| closed())?? {
            0 => {
                let words = format!(
                    "{:?} is not in the trash alone: it has changed just now, or has versions in quarantine",
                    key.as_str()
                );
                let hint = "`keepboth quarantine ls` lists them; admit or discard them first";
                Err(Refusal::new(Code::NotFound, words).hint(hint))
            }
            _ => {
                tracing::info!(namespace = ns.as_str(), key = key.as_str(), "purged by a client");
                Ok(Answer::Purged { ns, key })
            }
        }
    }
}

fn held(item: Quarantined) -> Held {
    let mut refusal = item.refusal;
    if let Some((end, _)) = refusal.message.char_indices().nth(REASON_CHARS_MAX) {
        refusal.message.truncate(end);
        refusal.message.push('…');
    }
    Held {
        key: item.key,
        version: item.version,
        change: item.change,
        value: item.value,
        since: item.since,
        from: item.from,
        refusal,
    }
}
