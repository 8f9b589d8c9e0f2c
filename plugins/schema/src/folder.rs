//! Schema files and nothing else, from one folder and nowhere else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::{Retrieve, Uri};
use keepboth_core::json;
use keepboth_core::limits::figure;
use serde_json::Value as Json;

use crate::lint;
use crate::words::{REMOTE, SCHEME};

/// Most bytes of a schema file.
const FILE_BYTES_MAX: usize = 256 << 10;
/// Most files that one schema may draw in by `$ref`.
const FILES_MAX: usize = 100;

/// The folder of the schemas.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    drawn_in: Arc<AtomicUsize>,
    read: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Folder {
    /// The folder need not exist until a file in it is read.
    pub fn new(path: &Path) -> Folder {
        Folder { path: path.to_owned(), drawn_in: Arc::default(), read: Arc::default() }
    }

    /// Every file that was read, by its name, also by what a `$ref` named.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads a schema file and looks for what is wrong with it by itself. Errors name the file.
    pub fn read(&self, name: &str) -> Result<Json, Vec<String>> {
        let text = self.text(name).map_err(|why| vec![format!("{name}: {why}")])?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(name.to_owned(), text.clone());
        drop(read);
        // The parser counts levels itself, so that a deep file is an error and no full stack.
        let schema = json::parse(&text).map_err(|e| vec![format!("{name}: {e}")])?;
        let faults = lint::faults(&schema);
        if faults.is_empty() {
            return Ok(schema);
        }
        Err(faults.into_iter().map(|fault| format!("{name}: {fault}")).collect())
    }

    fn text(&self, name: &str) -> Result<Vec<u8>, String> {
        check_name(name)?;
        let folder = self.path.display();
        let missing = |e: std::io::Error| format!("cannot read it in {folder}: {e}");
        // Resolved, a link shows where it leads.
        let root = self.path.canonicalize().map_err(missing)?;
        let path = self.path.join(name).canonicalize().map_err(missing)?;
        if !path.starts_with(&root) {
            return Err(format!("leads out of the schemas folder {folder}"));
        }
        if !path.metadata().map_err(missing)?.is_file() {
            return Err("is not a regular file".to_owned());
        }
        let mut text = Vec::new();
        let limit = FILE_BYTES_MAX as u64 + 1;
        File::open(&path).map_err(missing)?.take(limit).read_to_end(&mut text).map_err(missing)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(format!("is over the limit of {} bytes", figure(FILE_BYTES_MAX)));
        }
        Ok(text)
    }
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
        if self.drawn_in.fetch_add(1, Ordering::Relaxed) >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files by $ref").into());
        }
        let name = uri.path().as_str().trim_start_matches('/');
        self.read(name).map_err(|faults| faults.join("; ").into())
    }
}
