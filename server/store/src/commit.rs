//! A draft becomes durable: all its rows in one redb transaction with one fsync.

use redb::{Database, Durability, WriteTransaction};

use crate::draft::{Cell, Draft};
use crate::format::{CONFLICTS, KEYS, NAMES, RAISED, RECORDS, TRASH, VALUES};
use crate::row::KeyRow;
use keepboth_core::name::Key;

/// Writes the draft. After an error it is unknown whether it is there, and redb refuses everything
/// until the database is opened again.
pub fn write(database: &Database, draft: &Draft) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    append(&transaction, draft)?;
    let mut changed: Vec<(&Key, &Cell, &KeyRow)> = draft.keys.iter().filter_map(changed).collect();
    // In the order of the table, neighbours share pages.
    changed.sort_unstable_by_key(|(key, ..)| key.as_str());
    keys(&transaction, &changed)?;
    names(&transaction, &changed)?;
    conflicts(&transaction, &changed)?;
    trash(&transaction, &changed)?;
    raised(&transaction, draft)?;
    transaction.commit()?;
    Ok(())
}

type Changed<'d> = [(&'d Key, &'d Cell, &'d KeyRow)];

/// The cells that are not as they were.
pub fn changed<'d>((key, cell): (&'d Key, &'d Cell)) -> Option<(&'d Key, &'d Cell, &'d KeyRow)> {
    let now = cell.now.as_ref()?;
    let last = cell.before.as_ref().map_or(0, |before| before.last);
    (now.last != last).then_some((key, cell, now))
}

fn append(transaction: &WriteTransaction, draft: &Draft) -> Result<(), redb::Error> {
    let mut records = transaction.open_table(RECORDS)?;
    for (sequence, drafted) in draft.sequenced() {
        records.insert(sequence, &drafted.record.encode()[..])?;
    }
    let mut values = transaction.open_table(VALUES)?;
    for (sequence, drafted) in draft.sequenced() {
        if let Some(value) = &drafted.value {
            let bytes = value.as_bytes();
            let mut row = values.insert_reserve(sequence, bytes.len() + 1)?;
            let row = row.as_mut();
            row[0] = value.kind() as u8;
            row[1..].copy_from_slice(bytes);
        }
    }
    Ok(())
}

fn keys(transaction: &WriteTransaction, changed: &Changed<'_>) -> Result<(), redb::Error> {
    let mut keys = transaction.open_table(KEYS)?;
    for (key, _, now) in changed {
        keys.insert(key.as_str(), &now.encode()[..])?;
    }
    Ok(())
}

fn names(transaction: &WriteTransaction, changed: &Changed<'_>) -> Result<(), redb::Error> {
    let new = changed.iter().filter(|(_, cell, _)| cell.before.is_none());
    let mut hashes: Vec<([u8; 16], &str)> =
        new.map(|(key, ..)| (key.hash(), key.as_str())).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    hashes.sort_unstable();
    let mut names = transaction.open_table(NAMES)?;
    for (hash, key) in hashes {
        names.insert(&hash, key)?;
    }
    Ok(())
}

fn conflicts(transaction: &WriteTransaction, changed: &Changed<'_>) -> Result<(), redb::Error> {
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(|row| row.view.in_conflict());
        match (was, now.view.in_conflict()) {
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

fn trash(transaction: &WriteTransaction, changed: &Changed<'_>) -> Result<(), redb::Error> {
    for (key, cell, now) in changed {
        let was = cell.before.as_ref().is_some_and(|row| row.view.is_trash());
        match (was, now.view.is_trash()) {
            (false, true) => {
                transaction.open_table(TRASH)?.insert(key.as_str(), now.last)?;
            }
            (true, false) => {
                transaction.open_table(TRASH)?.remove(key.as_str())?;
            }
            _ => {}
        }
    }
    Ok(())
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
