//! A draft becomes durable: all its rows in one redb transaction with one fsync.

use redb::{Database, Durability, ReadableTable, WriteTransaction};

use keepboth_core::name::Key;
use keepboth_core::value::Value;

use crate::draft::{Cell, Draft, Drafted};
use crate::format::{
    AGING, CONFLICTS, KEYS, META, META_EPOCH, NAMES, NOTES, PEERS, QUARANTINE, RAISED, RECORDS,
    STATE, STATE_SEQUENCE, TRASH, VALUES,
};
use crate::layout::Writer;
use crate::row::KeyRow;
use crate::totals::{Buckets, Mark};
use crate::trash::TrashRow;

/// After this time, in milliseconds, what a peer has is written for good even if nothing else is.
const MARK_STALE: u64 = 5 * 60 * 1_000;

/// What is written besides the draft.
pub struct Besides {
    /// The epoch from now on.
    pub epoch: Option<u64>,
    /// The digests and counters, and how far they tell.
    pub mark: Option<Mark>,
    /// What the buckets that it changes amount to after it, and the number of the commit.
    pub buckets: (u64, Buckets),
}

/// Writes the draft. After an error it is unknown whether it is there, and redb refuses everything
/// until the database is opened again.
pub fn write(database: &Database, draft: &Draft, besides: &Besides) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    let stale = marks(&transaction, draft)?;
    let lazy = draft.is_empty() && besides.epoch.is_none() && besides.mark.is_none() && !stale;
    // What peers have may get lost: an older mark is true as well, and the next commit keeps it.
    let durability = if lazy { Durability::None } else { Durability::Immediate };
    transaction.set_durability(durability)?;
    if besides.mark.is_some() {
        // After a crash soon after it, the file need not be read as a whole.
        transaction.set_quick_repair(true);
    }
    append(&transaction, draft)?;
    let mut changed: Vec<Changed<'_>> = draft.keys.iter().filter_map(changed).collect();
    // In the order of the table, neighbours share pages.
    changed.sort_unstable_by_key(|(key, ..)| key.as_str());
    keys(&transaction, &changed)?;
    names(&transaction, &changed)?;
    conflicts(&transaction, &changed)?;
    trash(&transaction, &changed, draft)?;
    raised(&transaction, draft)?;
    quarantine(&transaction, draft)?;
    if let Some(epoch) = besides.epoch {
        transaction.open_table(META)?.insert(META_EPOCH, &epoch.to_be_bytes()[..])?;
    }
    if let Some(mark) = &besides.mark {
        mark.write(&transaction)?;
    }
    // The mark tells of the state before this draft.
    besides.buckets.1.write(&transaction, besides.buckets.0)?;
    removal(&transaction, draft)?;
    transaction.commit()?;
    Ok(())
}

/// A key, what is known of it, and its row from now on; none if it goes.
pub type Changed<'d> = (&'d Key, &'d Cell, Option<&'d KeyRow>);

/// The cells that are not as they were.
pub fn changed<'d>((key, cell): (&'d Key, &'d Cell)) -> Option<Changed<'d>> {
    (cell.now != cell.before).then_some((key, cell, cell.now.as_ref()))
}

fn append(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    if draft.drafted.is_empty() && draft.late.is_empty() && draft.nearer.is_empty() {
        return Ok(());
    }
    let mut records = transaction.open_table(RECORDS)?;
    for (sequence, record) in &draft.nearer {
        records.insert(*sequence, &record.encode()[..])?;
    }
    for (sequence, drafted) in draft.sequenced() {
        match drafted {
            Drafted::Version { record, .. } => {
                records.insert(sequence, &record.encode()[..])?;
            }
            Drafted::Note { key, note } => {
                transaction.open_table(NOTES)?.insert(sequence, &note.encode(key)[..])?;
            }
        }
    }
    let mut values = transaction.open_table(VALUES)?;
    let new = draft.sequenced().filter_map(|(sequence, drafted)| match drafted {
        Drafted::Version { value: Some(value), .. } => Some((sequence, value)),
        _ => None,
    });
    let late = draft.late.iter().map(|(sequence, value)| (*sequence, value));
    for (sequence, value) in new.chain(late) {
        put_value(&mut values, sequence, value)?;
    }
    Ok(())
}

fn put_value(
    values: &mut redb::Table<'_, u64, &'static [u8]>,
    sequence: u64,
    value: &Value,
) -> Result<(), redb::Error> {
    let bytes = value.as_bytes();
    let mut row = values.insert_reserve(sequence, bytes.len() + 1)?;
    let row = row.as_mut();
    row[0] = value.kind() as u8;
    row[1..].copy_from_slice(bytes);
    Ok(())
}

fn keys(transaction: &WriteTransaction, changed: &[Changed<'_>]) -> Result<(), redb::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let mut keys = transaction.open_table(KEYS)?;
    for (key, _, now) in changed {
        match now {
            Some(now) => keys.insert(key.as_str(), &now.encode()[..])?,
            None => keys.remove(key.as_str())?,
        };
    }
    Ok(())
}

fn names(transaction: &WriteTransaction, changed: &[Changed<'_>]) -> Result<(), redb::Error> {
    let moved = changed.iter().filter(|(_, cell, now)| cell.before.is_some() != now.is_some());
    let mut hashes: Vec<([u8; 16], &str, bool)> =
        moved.map(|(key, _, now)| (key.hash(), key.as_str(), now.is_some())).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    hashes.sort_unstable();
    let mut names = transaction.open_table(NAMES)?;
    for (hash, key, is_there) in hashes {
        match is_there {
            true => names.insert(&hash, key)?,
            false => names.remove(&hash)?,
        };
    }
    Ok(())
}

fn conflicts(transaction: &WriteTransaction, changed: &[Changed<'_>]) -> Result<(), redb::Error> {
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(KeyRow::in_conflict);
        match (was, now.is_some_and(KeyRow::in_conflict)) {
            (false, true) => {
                transaction.open_table(CONFLICTS)?.insert(key.as_str(), ())?;
            }
            (true, false) => {
                transaction.open_table(CONFLICTS)?.remove(key.as_str())?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn trash(
    transaction: &WriteTransaction,
    changed: &[Changed<'_>],
    draft: &Draft,
) -> Result<(), redb::Error> {
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(KeyRow::is_trash);
        let deleted = now.filter(|now| now.is_trash()).map(|now| now.last);
        match (was, deleted) {
            (false, Some(last)) => to_trash(transaction, key, last, draft.now, 0)?,
            (true, None) => {
                from_trash(transaction, key)?;
            }
            _ => {}
        }
    }
    for key in &draft.removal.emptied {
        if let Some((last, since)) = from_trash(transaction, key)? {
            to_trash(transaction, key, last, since, 1)?;
        }
    }
    Ok(())
}

fn to_trash(
    transaction: &WriteTransaction,
    key: &Key,
    last: u64,
    since: u64,
    stage: u8,
) -> Result<(), redb::Error> {
    let row = TrashRow { last, since, stage }.encode();
    transaction.open_table(TRASH)?.insert(key.as_str(), &row[..])?;
    transaction.open_table(AGING)?.insert((stage, since, key.as_str()), ())?;
    Ok(())
}

/// Takes a key out of the trash and gives the sequence and the time of its row.
fn from_trash(
    transaction: &WriteTransaction,
    key: &Key,
) -> Result<Option<(u64, u64)>, redb::Error> {
    let mut trash = transaction.open_table(TRASH)?;
    let row = trash.remove(key.as_str())?.map(|row| row.value().to_vec());
    let Some(row) = row.and_then(|row| TrashRow::decode(&row).ok()) else { return Ok(None) };
    transaction.open_table(AGING)?.remove((row.stage, row.since, key.as_str()))?;
    Ok(Some((row.last, row.since)))
}

fn raised(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    if draft.raised.is_empty() {
        return Ok(());
    }
    let mut raised = transaction.open_table(RAISED)?;
    for (id, sequence) in &draft.raised {
        raised.insert(&id.0, *sequence)?;
    }
    Ok(())
}

fn quarantine(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    if draft.quarantine.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(QUARANTINE)?;
    for ((key, version), row) in &draft.quarantine {
        match row {
            Some(row) => table.insert((key.as_str(), &version.0), &row.encode()[..])?,
            None => table.remove((key.as_str(), &version.0))?,
        };
    }
    Ok(())
}

/// Writes what peers have; true if one of them was last written so long before that it must not get
/// lost: after a crash, the store would look like one that was put back from a backup.
fn marks(transaction: &WriteTransaction, draft: &Draft) -> Result<bool, redb::Error> {
    if draft.marks.is_empty() {
        return Ok(false);
    }
    let (mut peers, mut stale) = (transaction.open_table(PEERS)?, false);
    for (node, (sequence, at)) in &draft.marks {
        let mut row = Writer::default();
        row.u64(*sequence).u64(*at);
        let before = peers.insert(&node.0, &row.0[..])?;
        let before = before.and_then(|row| row.value().last_chunk().copied());
        let before = before.map(u64::from_be_bytes);
        stale |= before.is_some_and(|before| at.saturating_sub(before) > MARK_STALE);
    }
    Ok(stale)
}

/// What retention takes away.
fn removal(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    let removal = &draft.removal;
    if removal.is_empty() {
        return Ok(());
    }
    let mut records = transaction.open_table(RECORDS)?;
    let mut values = transaction.open_table(VALUES)?;
    for sequence in &removal.records {
        records.remove(*sequence)?;
        values.remove(*sequence)?;
    }
    for (sequence, record) in &removal.rewritten {
        records.insert(*sequence, &record.encode()[..])?;
    }
    for sequence in &removal.values {
        values.remove(*sequence)?;
    }
    let mut notes = transaction.open_table(NOTES)?;
    for sequence in &removal.notes {
        notes.remove(*sequence)?;
    }
    let mut state = transaction.open_table(STATE)?;
    for (word, number) in &removal.state {
        state.insert(*word, *number)?;
    }
    // The last record may be gone, and its sequence must not be given again.
    let given = draft.next_sequence() - 1;
    let kept = state.get(STATE_SEQUENCE)?.map_or(0, |row| row.value());
    state.insert(STATE_SEQUENCE, given.max(kept))?;
    Ok(())
}
