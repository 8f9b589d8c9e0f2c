//! What a session wants of the stores.

use std::sync::Arc;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::Quarantined;
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{Input, Received, Ticket};
use keepboth_core::version::Event;
use keepboth_core::wire::KeyTips;
use keepboth_core::write::Condition;
use keepboth_store::{Incoming, Op, Task};

use super::{End, Link};
use crate::clock;
use crate::namespace::Space;

impl Link {
    fn space(&self, namespace: &Namespace) -> Option<Arc<Space>> {
        self.spaces.get(namespace).cloned()
    }

    /// Gives events to the store, each with what the namespace's plugins say of it, and the keys whose
    /// histories go for them.
    pub(super) async fn apply(
        &mut self,
        ticket: Ticket,
        events: Vec<Event>,
        replaces: Vec<(Key, u64)>,
    ) -> Result<(), End> {
        let Some(space) = self.space(&ticket.namespace) else { return Ok(()) };
        let keys = events.iter().map(|event| event.key.clone()).collect();
        self.applying += 1;
        let (applied, maker) = (self.applied.clone(), ticket.maker);
        let Some(from) = self.session.node() else { return Ok(()) };
        let named = |event: &Event| (event.key.clone(), event.version.id);
        let told = space.tells_held().then(|| (space.clone(), events.iter().map(named).collect()));
        let done = Box::new(move |outcome: Result<Vec<Received>, Refusal>| {
            let outcomes = outcome.unwrap_or_else(|refusal| vec![Received::Refused(refusal)]);
            if let Some((space, names)) = told {
                tell_held(&space, names, &outcomes, from);
            }
            let _ = applied.send(Input::Applied { ticket, keys, outcomes });
        });
        let judged = events.into_iter().map(|event| {
            let refused = space.admit(&event.key, event.value.as_ref()).err();
            Incoming { event, refused }
        });
        let (events, now) = (judged.collect(), clock::now());
        let task = match replaces {
            keys if keys.is_empty() => Task::Remote { events, from, maker, now, done },
            keys => Task::Replace { keys, events, from, now, done },
        };
        submit(&space, task).await
    }

    pub(super) async fn forget(
        &mut self,
        namespace: &Namespace,
        keys: Vec<KeyTips>,
    ) -> Result<(), End> {
        let Some(space) = self.space(namespace) else { return Ok(()) };
        for key in keys.iter().filter(|key| is_early(&space, &key.key)) {
            tracing::info!(
                peer = %self.name(),
                namespace = namespace.as_str(),
                key = key.key.as_str(),
                "purged at the peer: it has dropped this from the trash before its time"
            );
        }
        let keys = keys.into_iter().map(|key| (key.key, key.tips)).collect();
        let done = Box::new(|_| {});
        submit(&space, Task::Forget { keys, local: false, purge: false, done }).await
    }

    /// Deletes what was deleted elsewhere and forgotten while this node was away, and forgets it if it
    /// lies in the trash: there the two could not agree until the trash is emptied here.
    pub(super) async fn bury(
        &mut self,
        namespace: &Namespace,
        key: Key,
        last: u64,
    ) -> Result<(), End> {
        let Some(space) = self.space(namespace) else { return Ok(()) };
        let Ok(Some(state)) = space.store.snapshot().state(&key) else { return Ok(()) };
        if state.sequence > last {
            return Ok(());
        }
        if state.shown.is_empty() {
            return self
                .forget(namespace, vec![KeyTips { key, tips: state.view.tips.to_vec() }])
                .await;
        }
        tracing::warn!(
            namespace = namespace.as_str(),
            key = key.as_str(),
            "deleted: it was deleted elsewhere while this node was away; it can be restored from the trash"
        );
        let ops = state
            .shown
            .into_iter()
            .map(|shown| Op::Delete { name: shown.name, condition: Condition::Is(shown.version) });
        let ops = ops.collect();
        // A write that comes between wins; the next comparison sees it.
        let done = Box::new(|_| {});
        submit(&space, Task::Local { ops, now: clock::now(), done }).await
    }
}

/// Tells hooks of the versions that were hidden.
fn tell_held(space: &Space, names: Vec<(Key, VersionId)>, outcomes: &[Received], from: NodeId) {
    let held = names.into_iter().zip(outcomes).filter_map(|((key, version), outcome)| {
        let Received::Quarantined(reason) = outcome else { return None };
        let (namespace, reason) = (space.name.clone(), reason.clone());
        Some(Quarantined { namespace, key, version, from, reason })
    });
    space.tell_held(held.collect());
}

/// Nodes that keep the trash for the same time forget a key within this time of each other, unless one of
/// them had heard much later of the delete. Milliseconds.
const APART: u64 = 60 * 60 * 1_000;

/// True if this node itself would keep a deleted key for longer.
fn is_early(space: &Space, key: &Key) -> bool {
    let since = space.store.snapshot().deleted_since(key).ok().flatten();
    let forget = space.setup().bounds.keep().trash_forget;
    since.is_some_and(|since| since.saturating_add(forget) > clock::now().saturating_add(APART))
}

async fn submit(space: &Space, task: Task) -> Result<(), End> {
    space.store.submit(task).await.map_err(|_| End::Stopping)
}
