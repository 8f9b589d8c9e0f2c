//! What stands in the journal of a store that was not closed comes into its database.

use std::io;

use bytes::Bytes;
use redb::{Database, ReadableTable, WriteTransaction};

use keepboth_core::ids::StoreId;

use crate::disk::{Access, Disk};
use crate::error::OpenError;
use crate::format::{GENERATION_NONE, META, META_EPOCH};
use crate::journal::half;
use crate::journal::place::journal_of;
use crate::journal::record::{BadTail, read_first, tail};
use crate::late;
use crate::tables::Layer;
use crate::word::{Run, Word, settle};

/// Brings the database up to its journal, which is then taken away; a database for readers alone leaves it as it is.
pub fn replay(
    disk: &mut Disk,
    database: &Database,
    store: &StoreId,
    word: Option<Word>,
) -> Result<(), OpenError> {
    let needed = word.filter(|word| word.generation != GENERATION_NONE);
    let Some(places) = disk.places() else {
        return match needed {
            Some(_) => Err(disk.no_journal(0, "it is kept without one")),
            None => Ok(()),
        };
    };
    let [a, b] = places.each_mut().map(|place| place.read());
    let files = a.and_then(|a| Ok([a, b?]));
    let files = files.map_err(|e| disk.failed(format_args!("its journal: {e}")))?;
    let for_readers = disk.access() != Access::Write;
    let Some(word) = needed else {
        if for_readers {
            return Ok(());
        }
        let last = word.map(|word| word.run);
        let cleared = put_away(disk, &files, last);
        return cleared.map_err(|e| disk.failed(format_args!("its journal: {e}")));
    };
    let (rows, records) = rows(disk, &files, store, &word)?;
    let (mut late, _) = late::open(database).map_err(|e| disk.broken(e))?;
    let lost = !for_readers && (files.iter().flatten().any(Bytes::is_empty) || word.lossy);
    let settled = Word { generation: GENERATION_NONE, lossy: false, ..word };
    let written = settle(database, &settled, |to| {
        late.write(&rows, to, usize::MAX)?;
        if lost { next_epoch(to) } else { Ok(()) }
    });
    written.map_err(|e| disk.broken(e))?;
    if for_readers {
        return Ok(());
    }
    let file = disk.path().display();
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
    let removed = disk.remove_journal();
    removed.map_err(|e| disk.failed(format_args!("its journal: {e}")))
}

/// The rows that the database has not, and of how many records they are.
fn rows(
    disk: &Disk,
    files: &[Option<Bytes>; 2],
    store: &StoreId,
    word: &Word,
) -> Result<(Layer, usize), OpenError> {
    let mut rows = Layer::default();
    for (at, file) in files.iter().enumerate() {
        let bytes = file.as_ref().ok_or_else(|| disk.no_journal(at, "it is missing"))?;
        if bytes.is_empty() {
            // So somebody says that it is lost.
            continue;
        }
        let (of, run) =
            read_first(bytes).map_err(|e| disk.no_journal(at, format_args!("it is {}", e.0)))?;
        if of != *store {
            let words = format_args!("it is that of store {of}, this is {store}");
            return Err(disk.no_journal(at, words));
        }
        if run != word.run {
            return Err(disk.no_journal(at, "it is the store's journal of another time"));
        }
    }
    let [Some(a), Some(b)] = files else { return Ok((rows, 0)) };
    if [a, b][half(word.generation)].is_empty() {
        // What comes after what is lost is of no use.
        return Ok((rows, 0));
    }
    let mut found = tail([a, b], word).map_err(|e| match e {
        BadTail::Damaged { file, .. } => disk.no_journal(file, e),
        BadTail::Later => disk.no_journal(0, e),
    })?;
    if let Access::Read { records } = disk.access() {
        // They are numbered, and the first is that which the database lacks.
        found.truncate(records.saturating_sub(word.number) as usize);
    }
    let records = found.len();
    for (file, range) in found {
        let added = rows.add(&[a, b][file].slice(range));
        added.map_err(|e| disk.corrupt(format_args!("rows in its journal: {e}")))?;
    }
    Ok((rows, records))
}

/// A journal that the database does not need.
fn put_away(disk: &mut Disk, files: &[Option<Bytes>; 2], last: Option<Run>) -> io::Result<()> {
    // The power went while it was removed, or before anything was written to it.
    let all: Vec<&[u8]> = files.iter().flatten().map(|bytes| &bytes[..]).collect();
    let needless = all.iter().all(|bytes| match read_first(bytes) {
        Ok((_, run)) => Some(run) == last || is_unused(&all, run),
        Err(_) => bytes.iter().all(|byte| *byte == 0),
    });
    if needless {
        return disk.remove_journal();
    }
    let (file, journal) = (disk.path().to_owned(), journal_of(disk.path()));
    tracing::warn!(
        file = %file.display(), journal = ?journal,
        "the store was closed, and a journal of another time lies beside it: it is put aside"
    );
    let places = disk.places();
    places.into_iter().flatten().try_for_each(|place| place.set_aside())
}

/// True if no group was ever written to this journal.
fn is_unused(files: &[&[u8]], run: Run) -> bool {
    let word = Word { run, generation: 0, number: 0, lossy: false };
    let [a, b] = [0, 1].map(|at| files.get(at).copied().unwrap_or_default());
    tail([a, b], &word).is_ok_and(|all| all.is_empty())
}

/// Sequences may be given a second time, so those of before mean nothing any more.
fn next_epoch(to: &WriteTransaction) -> Result<(), redb::Error> {
    let mut meta = to.open_table(META)?;
    let epoch = meta.get(META_EPOCH)?.and_then(|row| row.value().try_into().ok());
    let epoch = epoch.map_or(0, u64::from_be_bytes) + 1;
    meta.insert(META_EPOCH, &epoch.to_be_bytes()[..])?;
    Ok(())
}
