//! What somebody decides about keys and versions, planned on a draft: judging, forgetting, replacing.

use keepboth_core::ids::VersionId;
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Event};

use crate::draft::{Draft, Drafted};
use crate::format::STATE_REMOVED;
use crate::loaded::next_of;
use crate::note::Note;
use crate::quarantine::Quarantined;
use crate::row::KeyRow;
use crate::task::{KeyChange, Verdict};

/// Ends the quarantine of a version; false if it is not in quarantine.
pub fn judge(
    draft: &mut Draft,
    key: &Key,
    version: &VersionId,
    verdict: Verdict,
) -> Result<bool, Refusal> {
    let before = draft.begin(key)?;
    let (Some(before), Some(held)) = (before, draft.quarantined(key, version)?) else {
        return Ok(false);
    };
    draft.set_quarantined(key, *version, None)?;
    match verdict {
        Verdict::Admit => admit(draft, key, &before, &held)?,
        Verdict::Discard => discard(draft, key, &before, &held)?,
    }
    Ok(true)
}

/// Readers see the version. A note gives the key a new place in the feed.
fn admit(draft: &mut Draft, key: &Key, before: &KeyRow, held: &Quarantined) -> Result<(), Refusal> {
    let noted = draft.next_sequence();
    let loaded = draft.loaded(key)?;
    loaded.hidden.remove(&held.version);
    loaded.noted = noted;
    let after = loaded.row();
    let at = loaded.history.find(&held.version);
    let version = at.map(|at| loaded.history.at(at).clone());
    let gap = at.and_then(|at| loaded.history.gap(at));
    let version = version.ok_or_else(|| {
        crate::failure::corrupt_key(key, format_args!("version {} is missing", held.version))
    })?;
    let value: Option<Value> = match version.change {
        Change::Put if held.value.is_some() => {
            Some(draft.value(key, &version.id, &version.data, held.sequence)?)
        }
        Change::Put | Change::Delete | Change::Split => None,
    };
    let conflict = draft.conflict(key, Some(before), &after)?;
    draft.settle_quarantine(key, Some(before), &after)?;
    let made = vec![Event { gap, ..Event::new(key.clone(), version, value) }];
    if after.is_shown() {
        draft.changes.push(KeyChange {
            state: after.state(key),
            made,
            local: false,
            maker: None,
            conflict,
        });
    }
    draft.drafted.push(Drafted::Note { key: key.clone(), note: Note::Shown });
    draft.set_row(key, Some(before), after);
    Ok(())
}

/// The version stays hidden without its value.
fn discard(
    draft: &mut Draft,
    key: &Key,
    before: &KeyRow,
    held: &Quarantined,
) -> Result<(), Refusal> {
    if held.value.is_some() {
        draft.removal.values.insert(held.sequence);
    }
    let loaded = draft.loaded(key)?;
    loaded.bytes = loaded.bytes.saturating_sub(held.bytes());
    let after = loaded.row();
    draft.set_row(key, Some(before), after);
    Ok(())
}

/// Forgets a key that is in the trash with exactly these tips; false if it is not.
pub fn forget(
    draft: &mut Draft,
    key: &Key,
    tips: &[VersionId],
    local: bool,
) -> Result<bool, Refusal> {
    let before = draft.begin(key)?;
    // With something hidden, other nodes may see an object where this one sees none.
    let Some(before) =
        before.filter(|row| row.is_trash() && row.view.tips[..] == *tips && row.all_tips() == tips)
    else {
        return Ok(false);
    };
    let noted = draft.next_sequence();
    drop_values(draft, key)?;
    let loaded = draft.loaded(key)?;
    (loaded.noted, loaded.forgotten, loaded.bytes) = (noted, noted, 0);
    let after = loaded.row();
    draft.drafted.push(Drafted::Note { key: key.clone(), note: Note::Forgotten });
    draft.set_row(key, Some(&before), after);
    if local {
        draft.removal.forgotten.push((key.clone(), tips.to_vec()));
    }
    Ok(true)
}

/// Drops the values of all puts of a key that nobody has to judge, and gives how many there were.
pub fn drop_values(draft: &mut Draft, key: &Key) -> Result<u64, Refusal> {
    let loaded = draft.loaded(key)?;
    let puts = (0..loaded.history.len()).filter(|at| {
        let version = loaded.history.at(*at);
        version.change == Change::Put && !loaded.hidden.contains(&version.id)
    });
    let puts: Vec<u64> = puts.map(|at| loaded.sequences[at]).collect();
    let (mut count, mut bytes) = (0, 0);
    for sequence in puts {
        if let Some(size) = draft.base().tables.value_size(sequence)? {
            draft.removal.values.insert(sequence);
            (count, bytes) = (count + 1, bytes + size);
        }
    }
    let loaded = draft.loaded(key)?;
    loaded.bytes = loaded.bytes.saturating_sub(bytes);
    Ok(count)
}

/// Drops all that is here of these keys, of each if nothing of it is newer than its sequence. Whoever has not
/// what comes in their place has to be told, as of what was forgotten.
pub fn drop_older(draft: &mut Draft, keys: &[(Key, u64)]) -> Result<(), Refusal> {
    for (key, last) in keys {
        let row = draft.begin(key)?;
        if let Some(row) = row.filter(|row| row.sequence() <= *last) {
            remove(draft, key, &row)?;
            removed(draft, draft.next_sequence())?;
        }
    }
    Ok(())
}

/// Remembers the last sequence of anything that went for good.
pub fn removed(draft: &mut Draft, sequence: u64) -> Result<(), Refusal> {
    let before = match draft.removal.state.get(STATE_REMOVED) {
        Some(before) => *before,
        None => draft.base().tables.number(STATE_REMOVED)?,
    };
    draft.removal.state.insert(STATE_REMOVED, before.max(sequence));
    Ok(())
}

/// Takes a key with all its rows away.
pub fn remove(draft: &mut Draft, key: &Key, row: &KeyRow) -> Result<(), Refusal> {
    let base = draft.base().clone();
    let mut at = row.last;
    while at != 0 {
        let record = next_of(key, at, |at| base.tables.record(at))?;
        draft.removal.records.insert(at);
        at = record.prev;
    }
    if let Some(apart) = &row.apart {
        draft.removal.notes.insert(apart.noted);
        for version in &apart.hidden {
            draft.set_quarantined(key, *version, None)?;
        }
    }
    draft.drop_row(key, row);
    Ok(())
}

/// A key whose rows are wrong must not hold up the others: it is left as it is.
pub fn skipped<T: Default>(key: &Key, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
    match outcome {
        Err(refusal) if refusal.code == Code::Corrupt => {
            tracing::error!(key = key.as_str(), "retention leaves it as it is: {refusal}");
            Ok(T::default())
        }
        outcome => outcome,
    }
}
