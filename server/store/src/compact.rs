//! A file is made small: all rows are written in their order to a new file, which then takes its place.
//!
//! redb's own compaction moves pages into free places, but leaves half-empty ones as they are, and places that
//! are smaller than a pack stay free. Rows that come in order fill their pages. Until the new file is whole and
//! durable the old one is as it was.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase};

use crate::journal::place::sync_folder;
use crate::tables;

/// Where the new file stands until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("compacting")
}

/// Takes away what a compaction left that was cut off; true if there was something. Only for who has the database
/// of this file.
pub fn clean_up(path: &Path) -> bool {
    // It stands beside the file itself, where a link leads to it.
    let Ok(path) = fs::canonicalize(path) else { return false };
    let left = unfinished(&path);
    match fs::remove_file(&left) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(file = %left.display(), "what is left of a compaction: {error}");
            false
        }
    }
}

/// Puts a file with the same rows in the place of this one, of which this is the database. After an error it is
/// as it was.
pub fn compact(path: &Path, database: Database, cache_bytes: usize) -> Result<(), redb::Error> {
    let path = &fs::canonicalize(path)?;
    let new = unfinished(path);
    let made = copy(&database, path, &new, cache_bytes);
    let placed = made.and_then(|()| {
        // Nobody else can have opened the file: it is locked until the new one has its place.
        fs::rename(&new, path)?;
        Ok(sync_folder(path)?)
    });
    if placed.is_err() {
        clean_up(path);
    }
    database.close()?;
    placed
}

fn copy(from: &Database, path: &Path, to: &Path, cache_bytes: usize) -> Result<(), redb::Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(to)?;
    let old = fs::metadata(path)?;
    file.set_permissions(old.permissions())?;
    // A server that runs as another user must not take the file from its owner.
    #[cfg(unix)]
    if (old.uid(), old.gid()) != file.metadata().map(|new| (new.uid(), new.gid()))? {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    let file = FileBackend::new(file)?;
    let new = Database::builder().set_cache_size(cache_bytes).create_with_backend(file)?;
    tables::copy(&from.begin_read()?, &new)?;
    Ok(new.close()?)
}
