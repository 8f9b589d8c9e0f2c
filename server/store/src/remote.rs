//! Versions from other stores, planned on a draft: known, waiting for a parent, going on, or a fork.

use std::collections::HashSet;

use keepboth_core::history::Inserted;
use keepboth_core::ids::{NodeId, StoreId, VersionId};
use keepboth_core::limits::{Stage, figure};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::Received;
use keepboth_core::version::{Change, Event, Version};

use crate::beside::{Asked, beside_a_gap};
use crate::draft::{Draft, Drafted, New, Source};
use crate::note::Note;
use crate::options::Options;
use crate::quota::{over_bytes, over_objects};
use crate::row::KeyRow;
use crate::task::{Incoming, KeyChange};

/// What versions from elsewhere are judged by.
pub struct Judge<'d> {
    pub draft: &'d mut Draft,
    pub options: &'d Options,
    pub store: StoreId,
    pub asked: &'d mut Asked,
    pub from: NodeId,
    pub maker: Option<NodeId>,
    pub now: u64,
}

impl Judge<'_> {
    /// Judges each version alone; those of one key that stand together are taken together.
    pub fn receive(mut self, events: Vec<Incoming>) -> Vec<Received> {
        self.receive_all(events)
    }

    fn receive_all(&mut self, events: Vec<Incoming>) -> Vec<Received> {
        let mut outcomes = Vec::with_capacity(events.len());
        let mut events = events.into_iter().peekable();
        while let Some(first) = events.next() {
            let key = first.event.key.clone();
            let mut group = vec![first];
            while let Some(next) = events.next_if(|next| next.event.key == key) {
                group.push(next);
            }
            let count = group.len();
            self.draft.mark();
            match self.group(&key, group) {
                Ok(received) => outcomes.extend(received),
                Err(refusal) => {
                    self.draft.undo();
                    outcomes.extend(vec![Received::Refused(refusal); count]);
                }
            }
        }
        outcomes
    }

    /// Judges versions that come in place of the histories of some keys, which are gone from the draft.
    /// Refused if something of these keys is not taken.
    pub fn replace(
        mut self,
        events: Vec<Incoming>,
        keys: &[(Key, u64)],
    ) -> Result<Vec<Received>, Refusal> {
        let replaces = |key: &Key| keys.iter().any(|(replaced, _)| replaced == key);
        let replaced: Vec<bool> = events.iter().map(|one| replaces(&one.event.key)).collect();
        let outcomes = self.receive_all(events);
        // What was here a moment ago is no sign that the store was put back.
        self.draft.own_came_back = false;
        for (outcome, _) in outcomes.iter().zip(replaced).filter(|(_, replaced)| *replaced) {
            match outcome {
                Received::Refused(refusal) => return Err(refusal.clone()),
                Received::Missing(parents) => {
                    let words = format!(
                        "a history that was to come in place of one here lacks {} parents",
                        parents.len()
                    );
                    return Err(Refusal::new(Code::MissingParent, words));
                }
                Received::New | Received::Known | Received::Quarantined(_) => {}
            }
        }
        Ok(outcomes)
    }

    fn group(&mut self, key: &Key, group: Vec<Incoming>) -> Result<Vec<Received>, Refusal> {
        let group = match <[Incoming; 1]>::try_from(group) {
            Ok([one]) => match self.alone(key, one)? {
                Ok(received) => return Ok(vec![received]),
                Err(one) => vec![one],
            },
            Err(group) => group,
        };
        let ids: HashSet<VersionId> = group.iter().map(|one| one.event.version.id).collect();
        let before = self.draft.begin(key)?;
        let (mut outcomes, mut batch, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut raised = Vec::new();
        for one in group {
            outcomes.push(self.one(key, one, &ids, &mut batch, &mut late, &mut raised)?);
        }
        if batch.is_empty() && late.is_empty() && raised.is_empty() {
            return Ok(outcomes);
        }
        let objects = before.as_ref().map_or(0, |row| row.share().objects);
        self.fill(key, &late)?;
        if !(late.is_empty() && raised.is_empty()) {
            // A note gives the key a new place in the feed.
            let noted = self.draft.next_sequence() + batch.len() as u64;
            self.draft.loaded(key)?.noted = noted;
        }
        let loaded = self.draft.loaded(key)?;
        // Counting settles what is superseded; if the batch has to be hidden, it supersedes nothing.
        let apart = (loaded.hidden.clone(), loaded.valueless.clone());
        let mut after = loaded.row();
        if after.share().objects > objects
            && let Some(refusal) = self.over_objects(after.share().objects - objects)
        {
            let loaded = self.draft.loaded(key)?;
            (loaded.hidden, loaded.valueless) = apart;
            after = self.hide(key, &mut batch, &mut outcomes, &refusal)?;
        }
        self.draft.own_came_back |= self.lost(key, &batch)?;
        let state = after.is_shown().then(|| after.state(key));
        self.draft.finish(key, before, after, batch, self.source())?;
        for (id, foot) in &raised {
            let loaded = self.draft.loaded(key)?;
            if let Some(at) = loaded.history.find(id) {
                let sequence = loaded.sequences[at];
                self.draft.set_gap(key, sequence, *foot)?;
            }
        }
        if !(late.is_empty() && raised.is_empty()) {
            self.draft.drafted.push(Drafted::Note { key: key.clone(), note: Note::Shown });
            let change =
                |state| KeyChange { state, made: late, local: false, maker: None, conflict: None };
            self.draft.changes.extend(state.map(change));
        }
        Ok(outcomes)
    }

    fn source(&self) -> Source {
        Source { local: false, from: self.from, maker: self.maker, now: self.now }
    }

    /// The common case, without a look at the history: a first version, or one that goes on from all
    /// there is. Anything else is given back.
    fn alone(&mut self, key: &Key, one: Incoming) -> Result<Result<Received, Incoming>, Refusal> {
        let Incoming { event, refused } = &one;
        let version = &event.version;
        if let Err(refusal) = check_form(key, version, event.value.is_some()) {
            return Ok(Ok(Received::Refused(refusal)));
        }
        let row = self.draft.row(key)?;
        let tips = match &row {
            None => &[],
            Some(row) if row.apart.is_none() => &row.view.tips[..],
            Some(_) => return Ok(Err(one)),
        };
        if tips.contains(&version.id) && event.gap.is_none() {
            return Ok(Ok(Received::Known));
        }
        let plain = event.value.is_some() == (version.change == Change::Put);
        let first = row.is_none() && self.over_objects(1).is_some();
        if tips != &version.parents[..] || !plain || first || refused.is_some() {
            return Ok(Err(one));
        }
        if self.verdict(event).is_some() {
            return Ok(Err(one));
        }
        let own = version.origin == self.store;
        let Incoming { event: Event { version, value, .. }, .. } = one;
        self.draft.take(key, vec![New::plain(version, value)], self.source())?;
        self.draft.own_came_back |= own;
        Ok(Ok(Received::New))
    }

    /// True if versions that were made here are new here, and were not forgotten: nothing that was
    /// known stands on them.
    fn lost(&mut self, key: &Key, batch: &[New]) -> Result<bool, Refusal> {
        let own: Vec<VersionId> = batch
            .iter()
            .filter(|new| new.version.origin == self.store)
            .map(|new| new.version.id)
            .collect();
        if own.is_empty() {
            return Ok(false);
        }
        let first = self.draft.next_sequence();
        let loaded = self.draft.loaded(key)?;
        let history = &loaded.history;
        let old = (0..history.len()).filter(|at| loaded.sequences[*at] < first);
        let below = history.with_ancestors(old);
        Ok(own.iter().filter_map(|id| history.find(id)).any(|at| !below[at]))
    }

    fn one(
        &mut self,
        key: &Key,
        one: Incoming,
        ids: &HashSet<VersionId>,
        batch: &mut Vec<New>,
        late: &mut Vec<Event>,
        raised: &mut Vec<(VersionId, VersionId)>,
    ) -> Result<Received, Refusal> {
        let Incoming { event, refused } = one;
        if let Err(refusal) = check_form(key, &event.version, event.value.is_some()) {
            return Ok(Received::Refused(refusal));
        }
        let sequence = self.draft.next_sequence() + batch.len() as u64;
        let id = event.version.id;
        let loaded = self.draft.loaded(key)?;
        if loaded.history.find(&id).is_some() {
            // The sender remembers more of what this version stands on.
            if let Some(foot) = event.gap
                && loaded.forgotten == 0
                && loaded.raise(&id, &foot)
            {
                raised.push((id, foot));
            }
            // A head whose value was unknown here gets it.
            let loaded = self.draft.loaded(key)?;
            let lacks = event.value.is_some() && loaded.valueless.contains(&id);
            if lacks && refused.or_else(|| self.verdict(&event)).is_none() {
                late.push(event);
            }
            return Ok(Received::Known);
        }
        if let Some(asked) = beside_a_gap(loaded, &event, ids)
            && self.asked.first(&id)
        {
            return Ok(Received::Missing(vec![asked]));
        }
        let refused = refused.or_else(|| self.verdict(&event));
        if refused.is_some()
            && let Some(full) = self.quarantine_is_full(&event, batch)
        {
            return Ok(Received::Refused(full));
        }
        let Event { version, value, gap, .. } = event;
        let new = New { version, value, gap, refused };
        match self.draft.loaded(key)?.take(&new, sequence) {
            Ok(Inserted::New) => {}
            Ok(Inserted::Known) => return Ok(Received::Known),
            Ok(Inserted::Missing(missing)) => return Ok(Received::Missing(missing)),
            Err(refusal) => return Ok(Received::Refused(refusal)),
        }
        let outcome = new.refused.clone().map_or(Received::New, Received::Quarantined);
        batch.push(new);
        Ok(outcome)
    }

    /// What the limits of this store say of a version.
    fn verdict(&self, event: &Event) -> Option<Refusal> {
        let value = event.value.as_ref()?;
        if let Err(refusal) = value.check_size(self.options.value_bytes_max, Stage::Peer) {
            return Some(refusal);
        }
        let bytes = self.draft.running.bytes + value.as_bytes().len() as u64;
        over_bytes(self.options, bytes)
    }

    fn over_objects(&self, more: u64) -> Option<Refusal> {
        over_objects(self.options, self.draft.running.objects + more)
    }

    fn quarantine_is_full(&self, event: &Event, batch: &[New]) -> Option<Refusal> {
        let size = |value: Option<&keepboth_core::value::Value>| {
            value.map_or(0, |value| value.as_bytes().len()) as u64
        };
        let hidden = || batch.iter().filter(|new| new.refused.is_some());
        let count = self.draft.running.quarantined + hidden().count() as u64 + 1;
        let bytes = self.draft.running.quarantined_bytes
            + hidden().map(|new| size(new.value.as_ref())).sum::<u64>()
            + size(event.value.as_ref());
        let (count_max, bytes_max) =
            (self.options.quarantine_max, self.options.quarantine_bytes_max);
        if count <= count_max && bytes <= bytes_max {
            return None;
        }
        let words = format!(
            "the quarantine is full: {} versions and {} bytes, the limits are {} and {}",
            figure(self.draft.running.quarantined as usize),
            figure(self.draft.running.quarantined_bytes as usize),
            figure(count_max as usize),
            figure(bytes_max as usize),
        );
        Some(Refusal::new(Code::QuotaExceeded, words))
    }

    /// Hides all that a batch brought, since it would make too many objects.
    fn hide(
        &mut self,
        key: &Key,
        batch: &mut [New],
        outcomes: &mut [Received],
        refusal: &Refusal,
    ) -> Result<KeyRow, Refusal> {
        for new in batch.iter_mut().filter(|new| new.refused.is_none()) {
            new.refused = Some(refusal.clone());
        }
        let hidden: u64 = batch
            .iter()
            .filter_map(|new| new.value.as_ref())
            .map(|value| value.as_bytes().len() as u64)
            .sum();
        if self.draft.running.quarantined + batch.len() as u64 > self.options.quarantine_max
            || self.draft.running.quarantined_bytes + hidden > self.options.quarantine_bytes_max
        {
            return Err(refusal.clone());
        }
        for outcome in outcomes.iter_mut().filter(|outcome| **outcome == Received::New) {
            *outcome = Received::Quarantined(refusal.clone());
        }
        let loaded = self.draft.loaded(key)?;
        loaded.hidden.extend(batch.iter().map(|new| new.version.id));
        Ok(loaded.row())
    }

    /// Values that came after their versions.
    fn fill(&mut self, key: &Key, late: &[Event]) -> Result<(), Refusal> {
        for event in late {
            let loaded = self.draft.loaded(key)?;
            let (id, value) = (event.version.id, event.value.clone());
            if let (Some(at), Some(value)) = (loaded.history.find(&id), value)
                && loaded.valueless.remove(&id)
            {
                let sequence = loaded.sequences[at];
                loaded.bytes += value.as_bytes().len() as u64;
                let size = value.as_bytes().len();
                if let Some(mut held) = self.draft.quarantined(key, &id)? {
                    held.value = Some((value.kind(), size));
                    self.draft.set_quarantined(key, id, Some(held))?;
                }
                self.draft.late.push((sequence, value));
            }
        }
        Ok(())
    }
}

/// What the rows rely on, should the caller not have checked the event.
fn check_form(key: &Key, version: &Version, valued: bool) -> Result<(), Refusal> {
    let put = version.change == Change::Put;
    let what = match (put, valued, version.is_first()) {
        (false, true, _) => "a value on a delete or split",
        (false, _, true) => "a delete or split without a parent",
        _ => return Ok(()),
    };
    let words = format!("version {} of {:?}: {what}", version.id, key.as_str());
    Err(Refusal::new(Code::BadVersion, words))
}
