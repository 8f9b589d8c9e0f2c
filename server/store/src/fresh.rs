//! A new database comes into its place whole: until it can be opened, its file has another name.
//!
//! redb makes a file in several steps. One that a crash left between two of them could never be opened.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

use crate::journal::place::sync_folder;

/// Makes an empty database if there is no file, or one without a byte.
pub fn make(path: &Path) -> Result<(), DatabaseError> {
    let path = &target(path);
    if !is_empty(path).map_err(StorageError::Io)? {
        return Ok(());
    }
    let new = path.with_extension("new");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&new);
    let file = file.map_err(StorageError::Io)?;
    let left = file.try_clone().map_err(StorageError::Io)?;
    // Now it is locked, and what a crash may have left of it is nobody's.
    let backend = FileBackend::new(file)?;
    left.set_len(0).map_err(StorageError::Io)?;
    Database::builder().create_with_backend(backend)?;
    let placed = fs::rename(&new, path).and_then(|()| sync_folder(path));
    Ok(placed.map_err(StorageError::Io)?)
}

/// Where the file stands, or is to stand if a link leads to none yet.
fn target(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::read_link(path).map_or_else(|_| path.to_owned(), |to| folder.join(to))
}

fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(file) => Ok(file.len() == 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
