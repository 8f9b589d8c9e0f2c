//! Reading: what the stores answer, from a snapshot, without waiting for anyone.

use keepboth_core::conflict;
use keepboth_core::limits::VALUE_BYTES_MAX;
use keepboth_core::name::{Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_store::{ConflictDetail, KeyState};

use super::Clients;
use crate::namespace::news;
use crate::protocol::{
    Answer, Base, Call, Conflict, Estimate, ITEMS_BYTES_MAX, Listed, Object, Page, Recorded, Side,
    Trashed,
};

/// Bytes of values after which a page ends, so that hardly any has to leave values out.
const PAGE_BYTES: usize = 256 * 1024;

impl Clients {
    /// Answers a call that only reads.
    pub fn read(&self, call: Call) -> Result<Answer, Refusal> {
        match call {
            Call::Get { ns, key } => self.get(&ns, &key),
            Call::GetVersion { ns, key, version } => {
                let snapshot = self.space(&ns)?.store.snapshot();
                let value = snapshot.value_of(&key, &version)?;
                let (of, past) = snapshot.version(&key, &version)?;
                let (timestamp, origin) = (past.timestamp, past.origin);
                Ok(Answer::Object(Object { key: of, name: key, version, value, timestamp, origin }))
            }
            Call::List { ns, prefix, after, limit, values } => {
                let (limit, prefix) = (self.page(limit), prefix.unwrap_or_default());
                let snapshot = self.space(&ns)?.store.snapshot();
                let page = snapshot.list(&prefix, after.as_ref(), limit, PAGE_BYTES, values)?;
                let mut items: Vec<Listed> = page.items.into_iter().map(listed).collect();
                fit(&mut items, |item| item.value = None);
                let next = cut(&mut items, |item| &item.key).or(page.next);
                Ok(Answer::List(Page { items, next }))
            }
            Call::History { ns, key, after, limit } => {
                let snapshot = self.space(&ns)?.store.snapshot();
                let after = after.map(|version| snapshot.version(&key, &version)).transpose()?;
                let after = after.map(|(_, past)| past.sequence);
                let page = snapshot.history(&key, after, self.page(limit))?;
                let next = page.next.and(page.items.last().map(|past| past.version));
                let mut items = page.items.into_iter().map(recorded).collect();
                let next = cut(&mut items, |item: &Recorded| &item.version).or(next);
                Ok(Answer::History(Page { items, next }))
            }
            Call::Conflicts { ns, after, limit } => {
                let snapshot = self.space(&ns)?.store.snapshot();
                let page = snapshot.conflicts(after.as_ref(), self.page(limit))?;
                let mut items = page.items.iter().map(conflict_of).collect();
                let next = cut(&mut items, |item: &Conflict| &item.key).or(page.next);
                Ok(Answer::Conflicts(Page { items, next }))
            }
            Call::Conflict { ns, key } => {
                let snapshot = self.space(&ns)?.store.snapshot();
                Ok(Answer::Conflict(detail(snapshot.conflict(&key)?)))
            }
            Call::Trash { ns, after, limit } => {
                let snapshot = self.space(&ns)?.store.snapshot();
                let page = snapshot.trash(after.as_ref(), self.page(limit))?;
                let mut items = page.items.iter().filter_map(trashed).collect();
                let next = cut(&mut items, |item: &Trashed| &item.key).or(page.next);
                Ok(Answer::Trash(Page { items, next }))
            }
            Call::SchemaReport { ns, after, limit } => {
                self.schema_report(&ns, after.as_ref(), self.page(limit))
            }
            Call::Quarantine { ns, after, limit } => self.quarantine(&ns, after, self.page(limit)),
            Call::Peers { after, limit } => Ok(self.peers(after.as_deref(), limit)),
            other => {
                let words = format!("{} is not read from a store", other.method());
                Err(Refusal::new(Code::UnknownMethod, words))
            }
        }
    }

    fn get(&self, ns: &Namespace, name: &Name) -> Result<Answer, Refusal> {
        let found = self.space(ns)?.store.snapshot().get(name)?;
        Ok(Answer::Object(Object {
            key: found.key,
            name: found.name,
            version: found.version,
            value: found.value,
            timestamp: found.timestamp,
            origin: found.origin,
        }))
    }

    pub(super) fn page(&self, limit: Option<usize>) -> usize {
        limit.unwrap_or(usize::MAX).clamp(1, self.limits.load().page_items_max)
    }
}

fn listed(item: keepboth_store::Listed) -> Listed {
    Listed {
        name: item.name,
        key: item.key,
        version: item.version,
        kind: item.value.as_ref().map(Value::kind),
        value: item.value,
        conflict: item.conflict,
        detached: item.detached,
        timestamp: item.timestamp,
        origin: item.origin,
    }
}

fn recorded(past: keepboth_store::Past) -> Recorded {
    Recorded {
        version: past.version,
        change: past.change,
        parents: past.parents,
        timestamp: past.timestamp,
        origin: past.origin,
        head: past.head,
        kind: past.value.map(|(kind, _)| kind),
        bytes: past.value.map(|(_, bytes)| bytes),
    }
}

fn conflict_of(state: &KeyState) -> Conflict {
    let addresses = state.view.conflict_addresses(state.key.hash());
    let sides = state.shown.iter().filter(|shown| !shown.detached);
    Conflict {
        key: state.key.clone(),
        id: conflict::id(&state.key, &addresses),
        base: None,
        sides: sides.map(news::side).collect(),
    }
}

fn detail(detail: ConflictDetail) -> Conflict {
    let sides = detail.sides.into_iter().map(|side| Side {
        address: side.address,
        version: side.version,
        value: Some(side.value),
        timestamp: side.timestamp,
        origin: side.origin,
    });
    let mut sides: Vec<Side> = sides.collect();
    fit(&mut sides, |side| side.value = None);
    Conflict {
        key: detail.key,
        id: detail.id,
        base: detail.base.map(|(version, value)| Base { version, value }),
        sides,
    }
}

/// Takes the values from the items with which the answer would be over the bytes of a frame; each of
/// them can be got alone.
fn fit<T: Estimate>(items: &mut [T], leave_out: impl Fn(&mut T)) {
    let mut bytes = items.iter().map(Estimate::bytes_estimate).sum::<usize>();
    for item in items.iter_mut().rev() {
        if bytes + VALUE_BYTES_MAX <= ITEMS_BYTES_MAX {
            return;
        }
        bytes -= item.bytes_estimate();
        leave_out(item);
        bytes += item.bytes_estimate();
    }
}

/// Leaves as many items as one frame holds, at least one, and all with the same name or none; gives the
/// last of these names if others were left out.
fn cut<T: Estimate, N: Clone + PartialEq>(
    items: &mut Vec<T>,
    name: impl Fn(&T) -> &N,
) -> Option<N> {
    let mut bytes = 0;
    let fits = |item: &&T| {
        bytes += item.bytes_estimate();
        bytes <= ITEMS_BYTES_MAX
    };
    let held = items.iter().take_while(fits).count().max(1);
    let beyond = name(items.get(held)?);
    let whole = items[..held].iter().rposition(|item| name(item) != beyond);
    // What is too large for a frame alone stands in one all the same.
    let whole =
        whole.map_or_else(|| items.iter().take_while(|i| name(i) == beyond).count(), |at| at + 1);
    let left_out = whole < items.len();
    items.truncate(whole);
    items.last().filter(|_| left_out).map(|item| name(item).clone())
}

fn trashed(state: &KeyState) -> Option<Trashed> {
    let by = state.deleted?;
    let (version, timestamp, origin) = (by.version, by.timestamp, by.origin);
    Some(Trashed { key: state.key.clone(), version, timestamp, origin })
}
