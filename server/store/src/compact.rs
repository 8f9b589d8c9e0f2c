//! A file is made small: all rows are written in their order to a new file, which then takes its place.
//!
//! redb's own compaction moves pages into free places, but leaves half-empty ones as they are, and places that
//! are smaller than a pack stay free. Rows that come in order fill their pages. Until the new file is whole and
//! durable the old one is as it was.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::PathBuf;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase};

use crate::journal::place::sync_folder;
use crate::tables;

/// The new file, which stands beside that of the database until it is whole.
pub trait Unfinished: Send {
    /// An empty database in it, in the stead of what is there.
    fn make(&mut self, builder: &Builder) -> Result<Database, redb::Error>;

    /// Puts it in the place of the database's file.
    fn put(&mut self) -> io::Result<()>;

    /// Takes it away; true if it was there.
    fn remove(&mut self) -> io::Result<bool>;

    /// Makes durable which file has the place.
    fn sync(&mut self) -> io::Result<()>;
}

/// That of the database in this file.
pub struct UnfinishedFile(pub PathBuf);

impl UnfinishedFile {
    /// Where it stands, and the file itself: beside it, where a link leads to it.
    fn paths(&self) -> io::Result<(PathBuf, PathBuf)> {
        let path = fs::canonicalize(&self.0)?;
        Ok((path.with_extension("compacting"), path))
    }
}

impl Unfinished for UnfinishedFile {
    fn make(&mut self, builder: &Builder) -> Result<Database, redb::Error> {
        let (new, path) = self.paths()?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(new)?;
        let old = fs::metadata(path)?;
        file.set_permissions(old.permissions())?;
        // A server that runs as another user must not take the file from its owner.
        #[cfg(unix)]
        if (old.uid(), old.gid()) != file.metadata().map(|new| (new.uid(), new.gid()))? {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(builder.create_with_backend(FileBackend::new(file)?)?)
    }

    fn put(&mut self) -> io::Result<()> {
        let (new, path) = self.paths()?;
        fs::rename(new, path)
    }

    fn remove(&mut self) -> io::Result<bool> {
        let (new, _) = self.paths()?;
        match fs::remove_file(new) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let (_, path) = self.paths()?;
        sync_folder(&path)
    }
}

/// Puts a file with the same rows in the place of that of this database. After an error it has the rows that it
/// had.
pub fn compact(
    unfinished: &mut dyn Unfinished,
    database: Database,
    cache_bytes: usize,
) -> Result<(), redb::Error> {
    let made = copy(&database, unfinished, cache_bytes);
    // Nobody else can have opened the file: it is locked until the new one has its place.
    let placed = made.and_then(|()| Ok(unfinished.put().and_then(|()| unfinished.sync())?));
    if placed.is_err() {
        // If this fails, it goes when the file is opened.
        let _ = unfinished.remove();
    }
    database.close()?;
    placed
}

fn copy(from: &Database, to: &mut dyn Unfinished, cache_bytes: usize) -> Result<(), redb::Error> {
    let new = to.make(Database::builder().set_cache_size(cache_bytes))?;
    tables::copy(&from.begin_read()?, &new)?;
    Ok(new.close()?)
}
