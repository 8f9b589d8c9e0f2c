//! New versions enter a key's history, and the key's row and records follow.

use keepboth_core::conflict;
use keepboth_core::history::{History, Inserted};
use keepboth_core::ids::{ConflictId, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::version::{Change, Event};
use keepboth_core::view::View;

use super::{Draft, Drafted, New, Source, Taken};
use crate::loaded::Loaded;
use crate::quarantine::Quarantined;
use crate::record::Record;
use crate::row::KeyRow;
use crate::task::{KeyChange, Raised, Side};

impl Draft {
    /// Takes new versions into a key's history, all or nothing. After a refusal the caller must undo.
    pub fn take(
        &mut self,
        key: &Key,
        versions: Vec<New>,
        source: Source,
    ) -> Result<Taken, Refusal> {
        let before = self.begin(key)?;
        let first = self.next_sequence();
        let after = match advanced(before.as_ref(), &versions, first) {
            Some(after) => {
                if let Some(loaded) = self.histories.get_mut(key) {
                    // A history that was loaded takes part in every change.
                    insert_all(key, loaded, &versions, first)?;
                }
                after
            }
            None => {
                let loaded = self.loaded(key)?;
                insert_all(key, loaded, &versions, first)?;
                loaded.row()
            }
        };
        self.finish(key, before, after, versions, source)
    }

    /// The row before a change of this key, which can be taken back from here on.
    pub fn begin(&mut self, key: &Key) -> Result<Option<KeyRow>, Refusal> {
        let before = self.row(key)?;
        self.undo.rows.push((key.clone(), before.clone()));
        Ok(before)
    }

    /// Writes down versions that stand in the loaded history, and how the key is after them.
    pub fn finish(
        &mut self,
        key: &Key,
        before: Option<KeyRow>,
        after: KeyRow,
        versions: Vec<New>,
        source: Source,
    ) -> Result<Taken, Refusal> {
        self.now = self.now.max(source.now);
        let conflict = self.conflict(key, before.as_ref(), &after)?;
        let conflict_ended =
            before.as_ref().is_some_and(KeyRow::in_conflict) && !after.in_conflict();
        self.settle_quarantine(key, before.as_ref(), &after)?;
        let hidden = after.apart.as_ref().map(|apart| apart.hidden.clone()).unwrap_or_default();
        let made = self.append(key, before.as_ref(), versions, &hidden, source)?;
        let hash = self.keys.get(key).map_or_else(|| key.hash(), |cell| cell.hash);
        if after.is_shown() && !made.is_empty() {
            let (state, local, maker) = (after.state_of(key, hash), source.local, source.maker);
            self.changes.push(KeyChange { state, made, local, maker, conflict });
        }
        let sequence = after.last;
        if before.is_none() {
            self.names.insert(hash, key.clone());
        }
        self.set_row(key, before.as_ref(), after);
        Ok(Taken { sequence, conflict_ended })
    }

    /// The row of a key from now on.
    pub fn set_row(&mut self, key: &Key, before: Option<&KeyRow>, after: KeyRow) {
        let was = before.map(KeyRow::share).unwrap_or_default();
        let is = after.share();
        self.running.objects = (self.running.objects + is.objects).saturating_sub(was.objects);
        self.running.bytes = (self.running.bytes + is.bytes).saturating_sub(was.bytes);
        if let Some(cell) = self.keys.get_mut(key) {
            cell.now = Some(after);
        }
    }

    /// The key has no row from now on.
    pub fn drop_row(&mut self, key: &Key, before: &KeyRow) {
        let was = before.share();
        self.running.objects = self.running.objects.saturating_sub(was.objects);
        self.running.bytes = self.running.bytes.saturating_sub(was.bytes);
        self.histories.remove(key);
        if let Some(cell) = self.keys.get_mut(key) {
            cell.now = None;
        }
    }

    /// Writes down the records of new versions and gives the events of those that readers may see.
    fn append(
        &mut self,
        key: &Key,
        before: Option<&KeyRow>,
        versions: Vec<New>,
        hidden: &[VersionId],
        source: Source,
    ) -> Result<Vec<Event>, Refusal> {
        let mut prev = before.map_or(0, |row| row.last);
        let mut made = Vec::with_capacity(versions.len());
        for New { version, value, gap, refused } in versions {
            let sequence = self.next_sequence();
            let size = value.as_ref().map_or(0, |value| value.as_bytes().len());
            self.value_bytes += size;
            // What something else of the same group stands on is superseded already.
            match refused.filter(|_| hidden.contains(&version.id)) {
                Some(refusal) => {
                    let row = Quarantined {
                        key: key.clone(),
                        version: version.id,
                        refusal,
                        change: version.change,
                        value: value.as_ref().map(|value| (value.kind(), size)),
                        since: source.now,
                        from: source.from,
                        sequence,
                    };
                    self.set_quarantined(key, version.id, Some(row))?;
                }
                None => {
                    let event = Event::new(key.clone(), version.clone(), value.clone());
                    made.push(Event { gap, ..event });
                }
            }
            let record = Record { key: key.clone(), version, prev, gap };
            prev = sequence;
            self.drafted.push(Drafted::Version { record: Box::new(record), value });
        }
        Ok(made)
    }

    /// The conflict event that is due after a change, if its set of sides was not raised before.
    pub fn conflict(
        &mut self,
        key: &Key,
        before: Option<&KeyRow>,
        after: &KeyRow,
    ) -> Result<Option<Raised>, Refusal> {
        if !after.in_conflict() {
            return Ok(None);
        }
        let hash = key.hash();
        let was = before.map(|row| row.view.conflict_addresses(hash)).unwrap_or_default();
        let addresses = after.view.conflict_addresses(hash);
        let id = conflict::id(key, &addresses);
        let due = conflict::grew(&was, &addresses) && !self.raised.contains_key(&id);
        if !due || self.base.tables.is_raised(&id)? {
            return Ok(None);
        }
        let history = self.loaded(key)?.visible();
        let raised = raised(&history, key, after, id);
        self.raised.insert(id, after.last);
        self.undo.raised.push(id);
        Ok(Some(Raised { addresses, ..raised }))
    }
}

/// The row after a first version, or after one whose only parent is the only tip: without the history.
fn advanced(before: Option<&KeyRow>, versions: &[New], sequence: u64) -> Option<KeyRow> {
    let [new] = versions else { return None };
    let version = &new.version;
    let valued = new.value.is_some() == (version.change == Change::Put);
    if !valued || new.gap.is_some() || new.refused.is_some() {
        return None;
    }
    let bytes = new.value.as_ref().map_or(0, |value| value.as_bytes().len()) as u64;
    match before {
        None => {
            let view = version.is_first().then(|| View::first(version))?;
            Some(KeyRow::simple(view, version, sequence, 1, bytes))
        }
        Some(before) if before.apart.is_none() => {
            let mut view = before.view.clone();
            let (versions, bytes) = (before.versions + 1, before.bytes + bytes);
            let advanced = view.advance(version);
            advanced.then(|| KeyRow::simple(view, version, sequence, versions, bytes))
        }
        Some(_) => None,
    }
}

fn insert_all(key: &Key, loaded: &mut Loaded, versions: &[New], first: u64) -> Result<(), Refusal> {
    for (new, sequence) in versions.iter().zip(first..) {
        let id = new.version.id;
        match loaded.take(new, sequence)? {
            Inserted::New => {}
            Inserted::Known => {
                let words = format!("version {id} of {:?} is known", key.as_str());
                return Err(Refusal::new(Code::BadVersion, words));
            }
            Inserted::Missing(_) => {
                let words = format!("parents of version {id} of {:?}", key.as_str());
                return Err(Refusal::new(Code::MissingParent, format!("{words} are unknown")));
            }
        }
    }
    Ok(())
}

impl Loaded {
    /// Takes a new version in, with all that its history counts.
    pub fn take(&mut self, new: &New, sequence: u64) -> Result<Inserted, Refusal> {
        let (id, change) = (new.version.id, new.version.change);
        let inserted = self.insert(new.version.clone(), new.gap, sequence)?;
        if inserted == Inserted::New {
            // Whatever it was, it lives again.
            self.forgotten = 0;
            self.bytes += new.value.as_ref().map_or(0, |value| value.as_bytes().len()) as u64;
            if new.refused.is_some() {
                self.hidden.insert(id);
            }
            if change == Change::Put && new.value.is_none() {
                self.valueless.insert(id);
            }
        }
        Ok(inserted)
    }
}

fn raised(history: &History, key: &Key, row: &KeyRow, id: ConflictId) -> Raised {
    let hash = key.hash();
    let sides = row.view.candidates.iter().zip(&row.speakers).map(|(object, speaker)| Side {
        version: *object.version(),
        address: object.address(hash),
        origin: speaker.origin,
        timestamp: speaker.timestamp,
    });
    Raised {
        id,
        key: key.clone(),
        base: conflict::base(history, &row.view),
        addresses: Vec::new(),
        sides: sides.collect(),
        ask_hooks: conflict::asks_hooks(history, &row.view),
    }
}
