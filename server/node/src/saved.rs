//! Notices that scripts or schemas were saved. It looks at the files instead of asking the system to be
//! told: that holds for every disk, and for editors that put a new file in place of the old one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
pub const EVERY: Duration = Duration::from_secs(1);
/// Most files and folders that are looked at.
const FILES_MAX: usize = 10_000;
/// The files that matter, by how their names end.
const ENDINGS: [&str; 3] = ["luau", "lua", "json"];

/// The files of some folders as they are now: size and time of the last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Files {
    /// Looks at the folders and all below them. What cannot be read is not there.
    pub fn look(folders: &[PathBuf]) -> Files {
        let (mut files, mut left) = (Files::default(), FILES_MAX);
        folders.iter().for_each(|folder| files.add(folder, &mut left));
        files
    }

    fn add(&mut self, folder: &Path, left: &mut usize) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let path = entry.path();
            // A link to a folder is not followed: it could lead around in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&path, left);
            } else if path.extension().is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending))
                && let Ok(state) = fs::metadata(&path)
            {
                self.0.insert(path, (state.len(), state.modified().ok()));
            }
        }
    }
}

/// Decides when what was saved is to be read: once it has stood still from one look to the next.
#[derive(Debug, Default)]
pub struct Saved {
    last: Option<Files>,
    read: Option<Files>,
}

impl Saved {
    /// Takes in a look; true if the files are to be read. That is so once after the start too, for what
    /// was saved while the server started.
    pub fn take(&mut self, files: Files) -> bool {
        let rests = self.last.as_ref() == Some(&files);
        let new = self.read.as_ref() != Some(&files);
        if rests && new {
            self.read = Some(files.clone());
        }
        self.last = Some(files);
        rests && new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).expect("a file");
    }

    #[test]
    fn what_was_saved_is_read_once_it_rests() {
        let folder = tempfile::tempdir().expect("a folder");
        let look = || Files::look(&[folder.path().to_owned()]);
        let mut saved = Saved::default();
        assert!(!saved.take(look()));
        assert!(saved.take(look()), "once after the start");
        assert!(!saved.take(look()));
        write(folder.path(), "a.luau", "1");
        assert!(!saved.take(look()), "it may not be whole yet");
        write(folder.path(), "a.luau", "1 + 1");
        assert!(!saved.take(look()), "it was not");
        assert!(saved.take(look()));
        assert!(!saved.take(look()));
        fs::remove_file(folder.path().join("a.luau")).expect("removed");
        assert!(!saved.take(look()));
        assert!(saved.take(look()), "a file that is gone is a change");
    }

    #[test]
    fn only_scripts_and_schemas_are_looked_at_also_in_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("deep")).expect("a folder");
        for name in ["a.luau", "deep/b.schema.json", "notes.txt", ".a.luau.swp"] {
            write(folder.path(), name, "x");
        }
        std::os::unix::fs::symlink(folder.path(), folder.path().join("round")).expect("a link");
        let found = Files::look(&[folder.path().to_owned(), folder.path().join("none")]);
        let names = found.0.keys().map(|path| path.strip_prefix(folder.path()).expect("below"));
        let names: Vec<String> = names.map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["a.luau", "deep/b.schema.json"]);
    }
}
