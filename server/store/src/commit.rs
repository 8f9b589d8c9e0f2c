//! A draft as the rows that it writes.

use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;
use keepboth_core::session;

use crate::draft::{Cell, Draft, Drafted};
use crate::failure::failed;
use crate::format::{
    AGING, CONFLICTS, KEYS, META, META_EPOCH, NAMES, NOTES, PEERS, QUARANTINE, RAISED, RECORDS,
    STATE, STATE_SEQUENCE, TRASH, VALUES,
};
use crate::layout::Writer;
use crate::row::KeyRow;
use crate::rows::Rows;
use crate::totals::{Buckets, Mark};
use crate::trash::TrashRow;

/// After this time, in milliseconds, what a peer has is written for good even if nothing else is.
const MARK_STALE: u64 = 5 * 60 * 1_000;

/// About as many bytes as the rows of a version have, besides its value.
pub const ROW_BYTES: usize = 640;

/// What is written besides the draft.
pub struct Besides {
    /// The epoch from now on.
    pub epoch: Option<u64>,
    /// The digests and counters, and how far they tell.
    pub mark: Option<Mark>,
    /// What the buckets that it changes amount to after it, and the number of the commit.
    pub buckets: (u64, Buckets),
}

/// What a draft writes.
pub struct Redo {
    /// As [`Rows`] makes them.
    pub rows: Vec<u8>,
    /// True if it may get lost when the power goes. What peers have may: an older mark is true as well,
    /// and the next commit keeps it.
    pub lazy: bool,
}

/// The rows of the draft. Refused if the disk fails, or is found to be corrupt: then nothing was done.
pub fn redo(draft: &Draft, changed: &[Changed<'_>], besides: &Besides) -> Result<Redo, Refusal> {
    let mut rows = Rows::with_capacity(draft.value_bytes + ROW_BYTES * draft.drafted.len());
    let stale = marks(&mut rows, draft)?;
    let lazy = draft.is_empty() && besides.epoch.is_none() && besides.mark.is_none() && !stale;
    append(&mut rows, draft);
    keys(&mut rows, changed);
    names(&mut rows, changed);
    conflicts(&mut rows, changed);
    trash(&mut rows, changed, draft)?;
    raised(&mut rows, draft);
    quarantine(&mut rows, draft);
    if let Some(epoch) = besides.epoch {
        rows.of(META).put(META_EPOCH, &epoch.to_be_bytes()[..]);
    }
    if let Some(mark) = &besides.mark {
        mark.redo(&mut rows);
    }
    // The mark tells of the state before this draft.
    besides.buckets.1.redo(&mut rows, besides.buckets.0);
    removal(&mut rows, draft)?;
    Ok(Redo { rows: rows.into_bytes(), lazy })
}

/// A key, what is known of it, and its row from now on; none if it goes.
pub type Changed<'d> = (&'d Key, &'d Cell, Option<&'d KeyRow>);

/// The cells that are not as they were, in the order of the tables, where neighbours share pages.
pub fn changed(draft: &Draft) -> Vec<Changed<'_>> {
    let cells = draft.keys.iter().filter(|(_, cell)| cell.now != cell.before);
    let mut changed: Vec<Changed<'_>> =
        cells.map(|(key, cell)| (key, cell, cell.now.as_ref())).collect();
    changed.sort_unstable_by_key(|(key, ..)| key.as_str());
    changed
}

fn append(rows: &mut Rows, draft: &Draft) {
    if draft.drafted.is_empty() && draft.late.is_empty() && draft.nearer.is_empty() {
        return;
    }
    let mut records = rows.of(RECORDS);
    for (sequence, record) in &draft.nearer {
        records.put(*sequence, &record.encode()[..]);
    }
    for (sequence, drafted) in draft.sequenced() {
        if let Drafted::Version { record, .. } = drafted {
            records.put(sequence, &record.encode()[..]);
        }
    }
    let mut notes = rows.of(NOTES);
    for (sequence, drafted) in draft.sequenced() {
        if let Drafted::Note { key, note } = drafted {
            notes.put(sequence, &note.encode(key)[..]);
        }
    }
    let new = draft.sequenced().filter_map(|(sequence, drafted)| match drafted {
        Drafted::Version { value: Some(value), .. } => Some((sequence, value)),
        _ => None,
    });
    let late = draft.late.iter().map(|(sequence, value)| (*sequence, value));
    let mut values = rows.of(VALUES);
    for (sequence, value) in new.chain(late) {
        values.put_parts(sequence, &[&[value.kind() as u8], value.as_bytes()]);
    }
}

fn keys(rows: &mut Rows, changed: &[Changed<'_>]) {
    let mut keys = rows.of(KEYS);
    for (key, _, now) in changed {
        match now {
            Some(now) => keys.put(key.as_str(), &now.encode()[..]),
            None => keys.remove(key.as_str()),
        }
    }
}

fn names(rows: &mut Rows, changed: &[Changed<'_>]) {
    let moved = changed.iter().filter(|(_, cell, now)| cell.before.is_some() != now.is_some());
    let mut hashes: Vec<([u8; 16], &str, bool)> =
        moved.map(|(key, cell, now)| (cell.hash, key.as_str(), now.is_some())).collect();
    hashes.sort_unstable();
    let mut names = rows.of(NAMES);
    for (hash, key, is_there) in hashes {
        match is_there {
            true => names.put(&hash, key),
            false => names.remove(&hash),
        }
    }
}

fn conflicts(rows: &mut Rows, changed: &[Changed<'_>]) {
    let mut conflicts = rows.of(CONFLICTS);
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(KeyRow::in_conflict);
        match (was, now.is_some_and(KeyRow::in_conflict)) {
            (false, true) => conflicts.put(key.as_str(), ()),
            (true, false) => conflicts.remove(key.as_str()),
            _ => {}
        }
    }
}

fn trash(rows: &mut Rows, changed: &[Changed<'_>], draft: &Draft) -> Result<(), Refusal> {
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(KeyRow::is_trash);
        let deleted = now.filter(|now| now.is_trash()).map(|now| now.last);
        // It may have left the trash and come back within the group: then it is as new there.
        let anew = cell.before.as_ref().is_some_and(|row| Some(row.last) != deleted);
        match (was, deleted) {
            (true, Some(last)) if anew => {
                from_trash(rows, key, draft)?;
                to_trash(rows, key, TrashRow { last, since: draft.now, stage: 0 });
            }
            (false, Some(last)) => {
                to_trash(rows, key, TrashRow { last, since: draft.now, stage: 0 });
            }
            (true, None) => {
                from_trash(rows, key, draft)?;
            }
            _ => {}
        }
    }
    for key in &draft.removal.emptied {
        let stays = draft.keys.get(key).and_then(|cell| cell.now.as_ref());
        if stays.is_some_and(KeyRow::is_trash)
            && let Some(before) = from_trash(rows, key, draft)?
        {
            to_trash(rows, key, TrashRow { stage: 1, ..before });
        }
    }
    Ok(())
}

fn to_trash(rows: &mut Rows, key: &Key, row: TrashRow) {
    rows.of(TRASH).put(key.as_str(), &row.encode()[..]);
    rows.of(AGING).put((row.stage, row.since, key.as_str()), ());
}

/// Takes a key out of the trash and gives the row that it had there.
fn from_trash(rows: &mut Rows, key: &Key, draft: &Draft) -> Result<Option<TrashRow>, Refusal> {
    let row = draft.base().tables.trash().get(key.as_str()).map_err(failed)?;
    let row = row.and_then(|row| TrashRow::decode(row.value()).ok());
    let Some(row) = row else { return Ok(None) };
    rows.of(TRASH).remove(key.as_str());
    rows.of(AGING).remove((row.stage, row.since, key.as_str()));
    Ok(Some(row))
}

fn raised(rows: &mut Rows, draft: &Draft) {
    let mut raised = rows.of(RAISED);
    for (id, sequence) in &draft.raised {
        raised.put(&id.0, *sequence);
    }
}

fn quarantine(rows: &mut Rows, draft: &Draft) {
    let mut table = rows.of(QUARANTINE);
    for ((key, version), row) in &draft.quarantine {
        match row {
            Some(row) => table.put((key.as_str(), &version.0), &row.encode()[..]),
            None => table.remove((key.as_str(), &version.0)),
        }
    }
}

/// What peers have; true if one of them was last written so long before that it must not get lost:
/// after a crash, the store would look like one that was put back from a backup.
fn marks(rows: &mut Rows, draft: &Draft) -> Result<bool, Refusal> {
    let (mut peers, mut stale) = (rows.of(PEERS), false);
    for (node, session::Mark { agreed, exchanged, at }) in &draft.marks {
        let mut row = Writer::default();
        row.u64(*agreed).u64(exchanged.shown).u64(exchanged.seen).u64(*at);
        peers.put(&node.0, &row.0[..]);
        let before = draft.base().tables.peers().get(&node.0).map_err(failed)?;
        let before = before.and_then(|row| row.value().last_chunk().copied());
        let before = before.map(u64::from_be_bytes);
        stale |= before.is_some_and(|before| at.saturating_sub(before) > MARK_STALE);
    }
    Ok(stale)
}

/// What retention takes away.
fn removal(rows: &mut Rows, draft: &Draft) -> Result<(), Refusal> {
    let removal = &draft.removal;
    if removal.is_empty() {
        return Ok(());
    }
    let mut records = rows.of(RECORDS);
    removal.records.iter().for_each(|sequence| records.remove(*sequence));
    for (sequence, record) in &removal.rewritten {
        records.put(*sequence, &record.encode()[..]);
    }
    let mut values = rows.of(VALUES);
    let gone = removal.records.iter().chain(&removal.values);
    gone.for_each(|sequence| values.remove(*sequence));
    let mut notes = rows.of(NOTES);
    removal.notes.iter().for_each(|sequence| notes.remove(*sequence));
    let mut state = rows.of(STATE);
    for (word, number) in &removal.state {
        state.put(*word, *number);
    }
    // The last record may be gone, and its sequence must not be given again.
    let given = draft.next_sequence() - 1;
    state.put(STATE_SEQUENCE, given.max(draft.base().tables.number(STATE_SEQUENCE)?));
    Ok(())
}
