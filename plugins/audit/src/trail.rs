//! A file of lines that is put aside when it is full.
//!
//! `audit.jsonl` is written to. When the next line would make it too large it becomes `audit.jsonl.1`,
//! that becomes `audit.jsonl.2`, and so on; the last goes. An entry that cannot be written leaves no
//! part of a line behind, and whoever wanted it is told.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How large files become, how many there are, and when a line is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of a file.
    pub bytes: u64,
    /// Most files besides the one that is written to.
    pub kept: u32,
    /// True if each line is on disk before the next one is taken; otherwise the system writes it within
    /// half a minute or so, and a file that is put aside is on disk.
    pub sync: bool,
}

/// A trail in a file. All who name the same file share it, or one would put it aside under another.
pub struct Trail {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    bytes: u64,
}

/// The trails of this process that somebody has. A plugin whose settings change is started before the
/// old one is stopped, so both have the file for a while.
static TRAILS: Mutex<BTreeMap<PathBuf, Weak<Trail>>> = Mutex::new(BTreeMap::new());

/// The path without links and detours. Fails if its folder is not there.
pub fn whole(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(folder.unwrap_or(Path::new(".")).canonicalize()?.join(name))
}

impl Trail {
    /// The trail in this file, which is made if it is not there. Fails if it cannot be written to.
    pub fn at(path: &Path) -> io::Result<Arc<Trail>> {
        let path = whole(path)?;
        let mut trails = TRAILS.lock().unwrap_or_else(PoisonError::into_inner);
        trails.retain(|_, trail| trail.strong_count() > 0);
        if let Some(trail) = trails.get(&path).and_then(Weak::upgrade) {
            return Ok(trail);
        }
        let open = Mutex::new(Some(Open::at(&path)?));
        let trail = Arc::new(Trail { path: path.clone(), open });
        trails.insert(path, Arc::downgrade(&trail));
        Ok(trail)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. After an error it is not there, and the next one is tried anew.
    pub fn add(&self, line: &str, bounds: Bounds) -> io::Result<()> {
        let mut kept = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match kept.take() {
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        let mut open = self.with_room(open, line.len() as u64 + 1, bounds)?;
        let written = open.write(line, bounds.sync);
        // A part of a line is cut off. A file that cannot be mended is opened anew for the next line.
        let mended = written.is_ok() || open.mend().is_ok();
        *kept = mended.then_some(open);
        written
    }

    /// Has all lines on disk.
    pub fn settle(&self) -> io::Result<()> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    /// The file, or an empty one in its place if the line does not fit any more.
    fn with_room(&self, open: Open, bytes: u64, bounds: Bounds) -> io::Result<Open> {
        if open.bytes == 0 || open.bytes + bytes <= bounds.bytes {
            return Ok(open);
        }
        open.file.sync_data()?;
        drop(open);
        for number in (1..bounds.kept).rev() {
            match rename(self.aside(number), self.aside(number + 1)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        match bounds.kept {
            0 => File::create(&self.path).map(drop)?,
            _ => rename(&self.path, self.aside(1))?,
        }
        Open::at(&self.path)
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let mut bytes = file.seek(SeekFrom::End(0))?;
        if bytes > 0 {
            // A line whose end a power cut took stays as it is; the next one begins behind it.
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Open { file, bytes })
    }

    fn mend(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    fn write(&mut self, line: &str, sync: bool) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        if sync {
            self.file.sync_data()?;
        }
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}
