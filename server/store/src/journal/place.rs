//! Where a journal stands: beside the file of its database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::{self, JournalFile};

/// A place for one file of a journal.
pub trait Place: Send {
    /// What stands in the file, if there is one.
    fn read(&mut self) -> io::Result<Option<Bytes>>;

    /// A new, empty one, in the stead of any that is there; its name is durable.
    fn make(&mut self) -> io::Result<Box<dyn JournalFile>>;

    /// Takes it away, if it is there.
    fn remove(&mut self) -> io::Result<()>;

    /// Takes it away where it does no harm and can still be looked at, if it is there.
    fn set_aside(&mut self) -> io::Result<()>;

    /// Its name, for messages.
    fn path(&self) -> PathBuf;
}

/// Where the two files of the journal of the database in this file stand while the store is open, and after
/// a crash.
pub fn journal_of(database: &Path) -> [PathBuf; 2] {
    ["journal-a", "journal-b"].map(|extension| database.with_extension(extension))
}

/// A file.
pub struct FilePlace(pub PathBuf);

impl Place for FilePlace {
    fn read(&mut self) -> io::Result<Option<Bytes>> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn make(&mut self) -> io::Result<Box<dyn JournalFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&self.0)?;
        sync_folder(&self.0)?;
        file::open(file, &self.0)
    }

    fn remove(&mut self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn set_aside(&mut self) -> io::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        // One that was put aside before stays.
        let mut name = self.0.clone();
        name.as_mut_os_string().push("-unused");
        let (first, mut number) = (name.clone(), 1);
        while name.exists() {
            number += 1;
            name.clone_from(&first);
            name.as_mut_os_string().push(format!("-{number}"));
        }
        fs::rename(&self.0, name)
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

/// Makes the names in the folder of this file durable.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A disk of the caller's, for tests with faults: an empty one has no journal.
pub struct BackendPlace<F>(pub F);

impl<B: JournalFile, F: FnMut() -> B + Send> Place for BackendPlace<F> {
    fn read(&mut self) -> io::Result<Option<Bytes>> {
        let disk = (self.0)();
        let length = usize::try_from(disk.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        disk.read(0, &mut bytes)?;
        Ok((length > 0).then(|| bytes.into()))
    }

    fn make(&mut self) -> io::Result<Box<dyn JournalFile>> {
        let disk = (self.0)();
        disk.set_len(0)?;
        Ok(Box::new(disk))
    }

    fn remove(&mut self) -> io::Result<()> {
        (self.0)().set_len(0)
    }

    fn set_aside(&mut self) -> io::Result<()> {
        self.remove()
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("(memory)")
    }
}
