//! Objects that are there and break the schemas that hold now. A stricter schema makes some, and so does
//! an operator who admits one from quarantine. They stay as they are; they are counted, listed and logged.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepboth_core::limits::figure;
use keepboth_core::name::{Key, Name};
use keepboth_core::refusal::Refusal;
use keepboth_store::{KeyState, Snapshot};
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Space;
use super::found::Found;
pub use super::found::{Finding, Summary};
use super::news::News;

/// Objects that are looked at together.
const PAGE: usize = 256;
/// Bytes of their values.
const PAGE_BYTES: usize = 1 << 20;
/// Most characters of a reason.
const REASON_CHARS_MAX: usize = 500;
/// How long after a failure all objects are looked at again.
const RETRY: Duration = Duration::from_secs(10);
/// Objects that the log names.
const LOGGED_MAX: usize = 3;

/// What was found so far.
#[derive(Default)]
pub struct Unfit {
    found: Mutex<Found>,
    /// Told when the schemas are others.
    changed: Notify,
}

impl Unfit {
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub fn summary(&self) -> Summary {
        self.found().summary
    }

    /// A page of the findings in the order of keys, those of one key together, and where to go on.
    pub fn page(&self, after: Option<&Key>, limit: usize) -> (Vec<Finding>, Option<Key>) {
        let found = self.found();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut items: Vec<Finding> = Vec::new();
        for (_, findings) in found.by_key.range::<Key, _>((from, Bound::Unbounded)) {
            if items.len() >= limit {
                return (items.clone(), items.last().map(|last| last.key.clone()));
            }
            items.extend(findings.iter().cloned());
        }
        (items, None)
    }

    /// Begins anew if the schemas are others than those that were looked with.
    pub fn hold_against(&self, schemas: [u8; 4], bound: bool) {
        let mut found = self.found();
        if found.schemas != Some(schemas) {
            found.begin(Some(schemas), bound);
            self.changed.notify_one();
        }
    }
}

impl Space {
    /// Objects that break the schemas.
    pub fn unfit(&self) -> &Unfit {
        &self.unfit
    }

    /// Holds all objects against the schemas now and whenever these have changed, and keeps the findings
    /// up to date, until the task is ended. Nothing waits for it.
    pub async fn tend_unfit(self: &Arc<Space>) {
        loop {
            // Who listens first and looks then misses nothing in between.
            let (news, mut failed) = (self.listen(), false);
            if !self.unfit.summary().done {
                match self.look_at_all().await {
                    Ok(true) => self.log_findings(),
                    // The schemas are others by now.
                    Ok(false) => continue,
                    Err(refusal) => {
                        let namespace = self.name.as_str();
                        tracing::warn!(
                            namespace,
                            "schemas: not all objects looked at, in {} s once more: {refusal}",
                            RETRY.as_secs()
                        );
                        failed = true;
                    }
                }
            }
            tokio::select! {
                () = self.unfit.changed.notified() => {}
                () = self.follow(news) => {}
                () = sleep(RETRY), if failed => {}
            }
            if failed {
                // What was found so far would be found again.
                self.unfit.found().begin_again();
            }
        }
    }

    /// Looks at all objects, page by page, and at the end at what was written meanwhile by whoever was
    /// under way when the schemas changed. False if they became others meanwhile.
    async fn look_at_all(self: &Arc<Space>) -> Result<bool, Refusal> {
        let round = self.unfit.found().round;
        let mut sequence = self.store.counts().last_sequence;
        let mut after = None;
        loop {
            let (space, from) = (self.clone(), after);
            let page = blocking(move || space.look_at_page(from.as_ref(), round)).await?;
            let Some(next) = page else { break };
            after = Some(next);
        }
        while sequence < self.store.counts().last_sequence {
            let (space, from) = (self.clone(), sequence);
            sequence = blocking(move || space.look_at_changes(from, round)).await?;
        }
        let mut found = self.unfit.found();
        let finished = found.round == round;
        found.summary.done |= finished;
        Ok(finished)
    }

    fn look_at_page(&self, after: Option<&Key>, round: u64) -> Result<Option<Key>, Refusal> {
        let page = self.store.snapshot().list("", after, PAGE, PAGE_BYTES, true)?;
        let mut findings: BTreeMap<Key, Vec<Finding>> = BTreeMap::new();
        let checked = page.items.len() as u64;
        for item in page.items {
            let Err(refusal) = self.admit(&item.key, item.value.as_ref()) else { continue };
            let (key, name, version) = (item.key, item.name, item.version);
            let finding = Finding { key: key.clone(), name, version, refusal: cut(refusal) };
            findings.entry(key).or_default().push(finding);
        }
        let mut found = self.unfit.found();
        if found.round != round {
            return Ok(None);
        }
        found.summary.checked += checked;
        findings.into_iter().for_each(|(key, findings)| found.put(key, findings));
        Ok(page.next)
    }

    fn look_at_changes(&self, after: u64, round: u64) -> Result<u64, Refusal> {
        let snapshot = self.store.snapshot();
        let (states, next) = snapshot.changes(after, PAGE)?;
        for state in states {
            let findings = self.look_at(&snapshot, &state)?;
            self.unfit.found().replace(round, state.key, findings);
        }
        Ok(next)
    }

    /// What does not fit among the objects of a key.
    fn look_at(&self, snapshot: &Snapshot, state: &KeyState) -> Result<Vec<Finding>, Refusal> {
        let key = &state.key;
        let under_key = state.object().map(|shown| shown.version);
        let mut findings = Vec::new();
        for shown in &state.shown {
            let value = snapshot.value_of(&Name::Key(key.clone()), &shown.version)?;
            let Err(refusal) = self.admit(key, Some(&value)) else { continue };
            let name = match under_key == Some(shown.version) && !shown.detached {
                true => Name::Key(key.clone()),
                false => Name::Address(shown.address),
            };
            let (key, version, refusal) = (key.clone(), shown.version, cut(refusal));
            findings.push(Finding { key, name, version, refusal });
        }
        Ok(findings)
    }

    /// Follows what becomes of the objects that were found. Ends when all must be looked at anew.
    async fn follow(self: &Arc<Space>, mut news: broadcast::Receiver<Arc<News>>) {
        loop {
            if self.unfit.summary().unfit == 0 {
                // Nothing to follow until the schemas change, and no news to be kept for that.
                drop(news);
                return std::future::pending().await;
            }
            let keys: Vec<Key> = match news.recv().await {
                Ok(item) => self.found_among(&item),
                Err(RecvError::Lagged(_)) => self.unfit.found().by_key.keys().cloned().collect(),
                Err(RecvError::Closed) => return std::future::pending().await,
            };
            if keys.is_empty() {
                continue;
            }
            let space = self.clone();
            if let Err(refusal) = blocking(move || space.look_again(keys)).await {
                tracing::warn!(namespace = self.name.as_str(), "schemas: {refusal}");
            }
            let mut found = self.unfit.found();
            if found.by_key.is_empty() && found.more > 0 {
                // The list has room for those that were only counted.
                found.begin_again();
                return;
            }
        }
    }

    fn found_among(&self, news: &News) -> Vec<Key> {
        let News::Commit(published) = news else { return Vec::new() };
        let found = self.unfit.found();
        let changed = published.commit.changes.iter().map(|change| &change.state.key);
        changed.filter(|key| found.by_key.contains_key(*key)).cloned().collect()
    }

    /// Looks at a key that an operator has changed the rules for.
    pub async fn look_at_key(self: &Arc<Space>, key: Key) -> Result<(), Refusal> {
        if self.unfit.summary().bound {
            let space = self.clone();
            blocking(move || space.look_again(vec![key])).await?;
            self.unfit.changed.notify_one();
        }
        Ok(())
    }

    fn look_again(&self, keys: Vec<Key>) -> Result<(), Refusal> {
        let (round, snapshot) = (self.unfit.found().round, self.store.snapshot());
        for key in keys {
            let findings = match snapshot.state(&key)? {
                Some(state) => self.look_at(&snapshot, &state)?,
                None => Vec::new(),
            };
            self.unfit.found().replace(round, key, findings);
        }
        Ok(())
    }

    fn log_findings(&self) {
        let (namespace, Summary { checked, unfit, .. }) =
            (self.name.as_str(), self.unfit.summary());
        let (first, _) = self.unfit.page(None, LOGGED_MAX);
        let count = |n: u64| figure(usize::try_from(n).unwrap_or(usize::MAX));
        let (checked, all) = (count(checked), count(unfit));
        if unfit == 0 {
            tracing::info!(namespace, "schemas: all {checked} objects fit");
            return;
        }
        tracing::warn!(
            namespace,
            "schemas: {all} of {checked} objects do not fit; `keepboth schema report {namespace}` lists them"
        );
        for finding in first.iter().take(LOGGED_MAX) {
            let (name, refusal) = (finding.name.to_string(), &finding.refusal);
            tracing::warn!(namespace, name, "schemas: does not fit: {}", refusal.message);
        }
    }
}

/// The refusal with a message of bounded length.
fn cut(mut refusal: Refusal) -> Refusal {
    if let Some((end, _)) = refusal.message.char_indices().nth(REASON_CHARS_MAX) {
        refusal.message.truncate(end);
        refusal.message.push('…');
    }
    refusal
}

async fn blocking<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let early = |e| {
        let words = format!("it ended early: {e}");
        Refusal::new(keepboth_core::refusal::Code::StoreFailed, words)
    };
    spawn_blocking(look).await.map_err(early)?
}
