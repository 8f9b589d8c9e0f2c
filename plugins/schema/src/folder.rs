//! Schema files and nothing else, from one folder and nowhere else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonschema::{Retrieve, Uri};
use keepboth_core::json;
use keepboth_core::limits::figure;
use serde_json::Value as Json;

use crate::fault::{Fault, Place};
use crate::lint;
use crate::words::{REMOTE, SCHEME};

/// Most bytes of a schema file.
const FILE_BYTES_MAX: usize = 256 << 10;
/// Most files of one schema: its own, and those that it draws in by `$ref`.
const FILES_MAX: usize = 100;

/// The folder of the schemas, and what was read from it: each file once, so that all that is made of
/// it is made of the same text.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    read: Arc<Mutex<BTreeMap<String, Outcome>>>,
}

/// A file that was read, or what is wrong with it.
type Outcome = Result<Arc<SchemaFile>, Vec<Fault>>;

/// A schema file that is sound by itself.
#[derive(Debug)]
pub struct SchemaFile {
    /// Its name in the folder.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The schema.
    pub json: Json,
}

impl SchemaFile {
    /// A mistake at this pointer.
    pub fn fault(&self, pointer: &str, message: impl Into<String>) -> Fault {
        Fault::at(&self.name, &self.text, pointer, message)
    }
}

impl Folder {
    /// The folder need not exist until a file in it is read.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned(), read: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every sound file that was read, by its name, also what a `$ref` named.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let known = self.known();
        let sound = known.values().filter_map(|outcome| outcome.as_ref().ok());
        sound.map(|file| (file.name.clone(), file.text.clone().into_bytes())).collect()
    }

    /// Reads a schema file, if that was not done yet, and looks for what is wrong with it by itself.
    pub fn read(&self, name: &str) -> Result<Arc<SchemaFile>, Vec<Fault>> {
        if let Some(outcome) = self.known().get(name) {
            return outcome.clone();
        }
        if self.known().len() >= FILES_MAX {
            return Err(vec![Fault::new(name, format!("is over the limit of {FILES_MAX} files"))]);
        }
        let outcome = self.load(name).map(Arc::new);
        self.known().insert(name.to_owned(), outcome.clone());
        outcome
    }

    fn load(&self, name: &str) -> Result<SchemaFile, Vec<Fault>> {
        let bytes = self.bytes(name).map_err(|why| vec![Fault::new(name, why)])?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let valid = e.utf8_error().valid_up_to();
            vec![Fault::new(name, format!("is not UTF-8 at byte {}", figure(valid + 1)))]
        })?;
        // The parser counts levels itself, so that a deep file is an error and no full stack.
        let json = json::parse(text.as_bytes()).map_err(|e| vec![not_json(name, &e)])?;
        let file = SchemaFile { name: name.to_owned(), text, json };
        let found = lint::faults(&file.json);
        if found.is_empty() {
            return Ok(file);
        }
        let faults = found.into_iter().map(|found| file.fault(&found.pointer, found.message));
        let mut faults: Vec<Fault> = faults.collect();
        faults.sort_by_key(|fault| fault.place);
        Err(faults)
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        check_name(name)?;
        let folder = self.path.display();
        let missing = |e: io::Error| format!("cannot read it in {folder}: {e}");
        // Resolved, a link shows where it leads.
        let root = self.path.canonicalize().map_err(missing)?;
        let path = self.path.join(name).canonicalize().map_err(missing)?;
        if !path.starts_with(&root) {
            return Err(format!("leads out of the schemas folder {folder}"));
        }
        if !path.metadata().map_err(missing)?.is_file() {
            return Err("is not a regular file".to_owned());
        }
        let mut file = File::open(&path).map_err(missing)?;
        read_whole(&mut file, |file| file.metadata().map(|metadata| stamp(&metadata)))
            .map_err(missing)?
    }
}

/// Its length, and when it was last written: what tells whether a file is another one.
fn stamp(metadata: &Metadata) -> (u64, Option<std::time::SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// Reads a file to its end, within the limit, and only as one that stays the same meanwhile.
fn read_whole<F: Read, S: PartialEq>(
    file: &mut F,
    stamp: impl Fn(&F) -> io::Result<S>,
) -> io::Result<Result<Vec<u8>, String>> {
    let before = stamp(file)?;
    let mut bytes = Vec::new();
    file.by_ref().take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Ok(Err(format!("is over the limit of {} bytes", figure(FILE_BYTES_MAX))));
    }
    if stamp(file)? != before {
        return Ok(Err("was changed while it was read; have it read again".to_owned()));
    }
    Ok(Ok(bytes))
}

fn not_json(name: &str, error: &serde_json::Error) -> Fault {
    let words = error.to_string();
    let place = Place { line: error.line(), column: error.column() };
    let tail = format!(" at line {} column {}", place.line, place.column);
    let message = words.strip_suffix(&tail).unwrap_or(&words);
    Fault { place: (place.line > 0).then_some(place), ..Fault::new(name, message) }
}

/// A name inside the folder: parts of plain characters with `/` between them.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err("is outside the schemas folder; a name has no leading / and no ..".to_owned());
    }
    let part_is_plain = |part: &str| !part.is_empty() && part.chars().all(plain);
    if name.len() > 255 || !name.split('/').all(part_is_plain) {
        return Err("is no name of a schema file: letters, digits, . _ - with / between".to_owned());
    }
    Ok(())
}

impl Retrieve for Folder {
    /// What a `$ref` names, if it is in the folder. This is the only way by which a validator gets
    /// at files, and there is none to the network.
    fn retrieve(&self, uri: &Uri<String>) -> Result<Json, Box<dyn Error + Send + Sync>> {
        let local = uri.scheme().as_str() == SCHEME
            && uri.authority().is_none_or(|authority| authority.as_str().is_empty())
            && uri.query().is_none();
        if !local {
            return Err(format!("{}: {}", REMOTE, uri.as_str()).into());
        }
        let name = uri.path().as_str().trim_start_matches('/');
        let told = |faults: Vec<Fault>| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        self.read(name).map(|file| file.json.clone()).map_err(|faults| told(faults).into())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_is_not_taken() {
        let stamps = Cell::new(0);
        let read = |step: u32| {
            let stamp = |_: &&[u8]| Ok(stamps.replace(stamps.get() + step));
            read_whole(&mut b"true".as_slice(), stamp).expect("read")
        };
        assert_eq!(read(0), Ok(b"true".to_vec()));
        let words = "was changed while it was read; have it read again";
        assert_eq!(read(1), Err(words.to_owned()));
    }
}
