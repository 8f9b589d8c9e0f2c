//! The namespaces that were made by command: a small file of the data folder that outlives the process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use keepboth_core::name::Namespace;
use keepboth_store::journal_of;
use serde::{Deserialize, Serialize};

/// The file in the data folder.
const FILE: &str = "namespaces.json";
/// The folder of the databases of removed namespaces, in the data folder.
const REMOVED: &str = "removed";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Made {
    /// The namespaces that were made by command.
    pub namespaces: BTreeSet<Namespace>,
    /// Namespaces whose database is on its way to the folder of removed ones: the next start finishes
    /// what a crash left half done.
    pub removing: BTreeSet<Namespace>,
}

/// The form of the file.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Form {
    namespaces: Vec<String>,
    removing: Vec<String>,
}

impl Made {
    /// Reads the file; without one nothing was made by command.
    pub fn read(data: &Path) -> io::Result<Made> {
        let text = match fs::read(data.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Made::default()),
            text => text?,
        };
        let form: Form = serde_json::from_slice(&text)?;
        let names = |names: Vec<String>| {
            let names = names.iter().map(|name| Namespace::new(name));
            names.collect::<Result<_, _>>().map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
        };
        Ok(Made { namespaces: names(form.namespaces)?, removing: names(form.removing)? })
    }

    /// Writes the file so that it is there whole or as it was.
    pub fn write(&self, data: &Path) -> io::Result<()> {
        let names = |names: &BTreeSet<Namespace>| names.iter().map(ToString::to_string).collect();
        let form = Form { namespaces: names(&self.namespaces), removing: names(&self.removing) };
        let new = data.join(FILE).with_extension("new");
        let mut file = File::create(&new)?;
        serde_json::to_writer_pretty(&mut file, &form)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, data.join(FILE))?;
        sync_folder(data)
    }
}

/// The file of a namespace's database.
pub fn database(data: &Path, namespace: &Namespace) -> PathBuf {
    data.join(format!("{namespace}.redb"))
}

/// Moves the closed database of a namespace to the folder of removed ones, with its journal if a failure left
/// one, and says where it is now; None if there is none. `now` is in milliseconds since 1970 and becomes a part of the name.
pub fn set_aside(data: &Path, namespace: &Namespace, now: u64) -> io::Result<Option<PathBuf>> {
    let (from, folder) = (database(data, namespace), data.join(REMOVED));
    if !from.try_exists()? {
        return Ok(None);
    }
    crate::atomic::folder(&folder)?;
    let to = free(&folder, &format!("{namespace}-{}", time(now)))?;
    for (journal, beside) in journal_of(&from).iter().zip(journal_of(&to)) {
        match fs::rename(journal, beside) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::rename(&from, &to)?;
    sync_folder(&folder)?;
    sync_folder(data)?;
    Ok(Some(to))
}

/// A file of this name that is not there yet: renaming over one would delete it.
fn free(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let mut file = folder.join(format!("{name}.redb"));
    let mut number = 1;
    while file.try_exists()? {
        number += 1;
        file = folder.join(format!("{name}-{number}.redb"));
    }
    Ok(file)
}

/// `20231114T221320Z`.
fn time(now: u64) -> String {
    let time = i64::try_from(now).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A rename is durable when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Namespace {
        Namespace::new(text).expect("a namespace")
    }

    #[test]
    fn the_file_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Made::read(folder.path()).expect("nothing"), Made::default());
        let made = Made { namespaces: [name("a"), name("b")].into(), removing: [name("c")].into() };
        made.write(folder.path()).expect("written");
        assert_eq!(Made::read(folder.path()).expect("read"), made);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_list() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "{", "[1]", "{\"namespaces\":[\"No\"]}", "{\"later\":1}"] {
            fs::write(folder.path().join(FILE), text).expect("written");
            assert!(Made::read(folder.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_that_was_set_aside_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(set_aside(folder.path(), &name("a"), 0).expect("nothing to do"), None);
        for number in ["1", "2", "3"] {
            fs::write(database(folder.path(), &name("a")), number).expect("written");
            for journal in journal_of(&database(folder.path(), &name("a"))) {
                fs::write(journal, number).expect("written");
            }
            let file = set_aside(folder.path(), &name("a"), 1_700_000_000_123).expect("moved");
            let file = file.expect("a file");
            assert_eq!(fs::read_to_string(&file).expect("read"), number);
            for journal in journal_of(&file) {
                assert_eq!(fs::read_to_string(journal).expect("read"), number);
            }
            assert!(file.ends_with("removed/a-20231114T221320Z.redb") == (number == "1"));
        }
        assert!(!database(folder.path(), &name("a")).exists());
    }
}
