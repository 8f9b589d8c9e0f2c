//! The file of tokens: JSON, with the hash of each secret and never the secret.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use keepboth_core::limits::figure;
use keepboth_core::plugin::Grants;
use serde::{Deserialize, Serialize};

use crate::form::check_name;
use crate::{grants, secret};

/// Most tokens in a file.
pub const TOKENS_MAX: usize = 10_000;
/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// What others may do with the file so that it is not refused: the group may read it.
#[cfg(unix)]
const OTHERS: u32 = 0o027;

/// The tokens of a file, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// All that are there; one that was revoked is not.
    pub tokens: Vec<Entry>,
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// 16 hex characters, which stand in the token too.
    pub id: String,
    /// Whose it is: the name under which hooks and the audit trail see the writes. No two are the same.
    pub name: String,
    /// The Argon2 hash of the secret, in PHC form.
    pub hash: String,
    /// What it allows, in the form of [`grants`].
    pub grants: Vec<String>,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// Until when it holds; without it, until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl Entry {
    /// What it allows.
    pub fn grants(&self) -> Result<Grants, String> {
        grants::parse_all(&self.grants)
    }

    fn check(&self) -> Result<(), String> {
        if !secret::is_id(&self.id) {
            return Err(format!("id {:?} is not {} hex characters", self.id, secret::ID_CHARS));
        }
        check_name(&self.name)?;
        secret::check_hash(&self.hash).map_err(|words| format!("hash: {words}"))?;
        self.grants().map(drop)
    }
}

impl Book {
    /// Reads a file. None if it is not there: nobody has made a token yet. An error names the file, and
    /// the line or token that is wrong, and what would be right. A file that others may change or read
    /// is refused.
    pub fn read(path: &Path) -> Result<Option<Book>, String> {
        let wrong = |what: String| format!("the file of tokens {}: {what}", path.display());
        let meta = match fs::metadata(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            meta => meta.map_err(|e| wrong(format!("cannot be read: {e}")))?,
        };
        if !meta.is_file() {
            return Err(wrong("is no regular file".into()));
        }
        if meta.len() > FILE_BYTES_MAX {
            let (size, most) = (figure(meta.len() as usize), figure(FILE_BYTES_MAX as usize));
            return Err(wrong(format!("has {size} bytes, the limit is {most}")));
        }
        private(&meta).map_err(wrong)?;
        let text = fs::read_to_string(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        Book::parse(&text).map(Some).map_err(wrong)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Book, String> {
        let book: Book = serde_json::from_str(text).map_err(|e| {
            format!(
                "is not whole, or was changed by hand: {e}; put it back from a backup, or remove \
                     it and make the tokens anew"
            )
        })?;
        if book.tokens.len() > TOKENS_MAX {
            let (here, most) = (figure(book.tokens.len()), figure(TOKENS_MAX));
            return Err(format!("has {here} tokens, the limit is {most}"));
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (at, entry) in book.tokens.iter().enumerate() {
            let wrong = |what: String| format!("token {} of it: {what}", at + 1);
            entry.check().map_err(wrong)?;
            if !ids.insert(&entry.id) || !names.insert(&entry.name) {
                return Err(wrong(format!("{} ({}) stands there twice", entry.name, entry.id)));
            }
        }
        Ok(book)
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        // Texts and numbers always have a form.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    /// The token of this id or name.
    pub fn find(&self, word: &str) -> Option<&Entry> {
        self.tokens.iter().find(|entry| entry.id == word || entry.name == word)
    }
}

/// Refuses a file that others may read or change.
#[cfg(unix)]
fn private(meta: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = meta.permissions().mode() & 0o777;
    match mode & OTHERS {
        0 => Ok(()),
        _ => Err(format!(
            "others may read or change it (mode {mode:o}); say: chmod 600, or 640 for its group to read"
        )),
    }
}

#[cfg(not(unix))]
fn private(_: &fs::Metadata) -> Result<(), String> {
    Ok(())
}
