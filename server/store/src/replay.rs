//! What stands in the journal of a store that was not closed comes into its database.

use std::io;

use redb::{Database, ReadableTable, StorageBackend, WriteTransaction};

use keepboth_core::ids::StoreId;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{GENERATION_NONE, META, META_EPOCH};
use crate::journal::place::Place;
use crate::journal::record::{read_first, tail};
use crate::rows;
use crate::word::{Run, Word, settle};

/// Brings the database up to its journal, which is then taken away.
pub fn replay(
    disk: &mut Disk,
    database: &Database,
    store: &StoreId,
    word: Option<Word>,
) -> Result<(), OpenError> {
    let needed = word.filter(|word| word.generation != GENERATION_NONE);
    let Some(place) = disk.place() else {
        return match needed {
            Some(_) => Err(disk.no_journal("it is kept without one")),
            None => Ok(()),
        };
    };
    let bytes = place.find().and_then(|file| file.map(|file| read(&*file)).transpose());
    let bytes = bytes.map_err(|e| disk.failed(format_args!("its journal: {e}")))?;
    let Some(word) = needed else {
        let last = word.map(|word| word.run);
        let cleared = put_away(disk, bytes.as_deref(), last);
        return cleared.map_err(|e| disk.failed(format_args!("its journal: {e}")));
    };
    let bytes = bytes.ok_or_else(|| disk.no_journal("it is missing"))?;
    let found = records(disk, &bytes, store, &word)?;
    let lost = bytes.is_empty() || word.lossy;
    let settled = Word { generation: GENERATION_NONE, lossy: false, ..word };
    let written = settle(database, &settled, |to| {
        found.iter().try_for_each(|rows| rows::write(rows, to))?;
        if lost { next_epoch(to) } else { Ok(()) }
    });
    written.map_err(|e| match e {
        redb::Error::Corrupted(what) => disk.corrupt(what),
        e => disk.failed(e),
    })?;
    let (file, records) = (disk.path().display(), found.len());
    match lost {
        true => tracing::warn!(
            %file, records,
            "the store was not closed and may have lost writes that were answered: cursors of watchers \
             begin anew"
        ),
        false => {
            tracing::info!(%file, records, "the store was not closed: its journal is written to it")
        }
    }
    let removed = disk.place().map_or(Ok(()), Place::remove);
    removed.map_err(|e| disk.failed(format_args!("its journal: {e}")))
}

fn read(file: &dyn StorageBackend) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read(0, &mut bytes)?;
    Ok(bytes)
}

/// The rows of the records that the database has not.
fn records<'j>(
    disk: &Disk,
    bytes: &'j [u8],
    store: &StoreId,
    word: &Word,
) -> Result<Vec<&'j [u8]>, OpenError> {
    if bytes.is_empty() {
        // So somebody says that it is lost.
        return Ok(Vec::new());
    }
    let (of, run) =
        read_first(bytes).map_err(|e| disk.no_journal(format_args!("it is {}", e.0)))?;
    if of != *store {
        return Err(disk.no_journal(format_args!("it is that of store {of}, this is {store}")));
    }
    if run != word.run {
        return Err(disk.no_journal("it is the store's journal of another time"));
    }
    let found = tail(bytes, &run, word.generation).map_err(|e| disk.no_journal(e))?;
    // The database has some, if it was closed and opened after an error.
    let new = found.into_iter().skip(usize::try_from(word.number).unwrap_or(usize::MAX));
    Ok(new.map(|rows| &bytes[rows]).collect())
}

/// A journal that the database does not need.
fn put_away(disk: &mut Disk, bytes: Option<&[u8]>, last: Option<Run>) -> io::Result<()> {
    let file = disk.path().to_owned();
    let (Some(bytes), Some(place)) = (bytes, disk.place()) else { return Ok(()) };
    let needless = match read_first(bytes) {
        // The power went while it was removed, or before anything was written to it.
        Ok((_, run)) => Some(run) == last || tail(bytes, &run, 0).is_ok_and(|all| all.is_empty()),
        Err(_) => bytes.iter().all(|byte| *byte == 0),
    };
    if needless {
        return place.remove();
    }
    tracing::warn!(
        file = %file.display(), journal = %place.path().display(),
        "the store was closed, and a journal of another time lies beside it: it is put aside"
    );
    place.set_aside()
}

/// Sequences may be given a second time, so those of before mean nothing any more.
fn next_epoch(to: &WriteTransaction) -> Result<(), redb::Error> {
    let mut meta = to.open_table(META)?;
    let epoch = meta.get(META_EPOCH)?.and_then(|row| row.value().try_into().ok());
    let epoch = epoch.map_or(0, u64::from_be_bytes) + 1;
    meta.insert(META_EPOCH, &epoch.to_be_bytes()[..])?;
    Ok(())
}
