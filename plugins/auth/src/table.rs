//! The tokens of the file as they are now, and those of them that this process has verified.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use keepboth_core::plugin::{Identity, Pass};

use crate::book::{Book, Entry};
use crate::form::random;

/// Most tokens that are known without a hash; the one that was verified first gives way.
const VERIFIED_MAX: usize = 4_096;

/// A token of the file.
#[derive(Debug)]
pub struct Record {
    /// What the file says.
    pub entry: Entry,
    /// Who shows it.
    pub identity: Identity,
}

/// The tokens of a file, read again when it has changed.
pub struct Table {
    file: PathBuf,
    stamp: Option<Stamp>,
    records: HashMap<String, Arc<Record>>,
    /// Why the file cannot be used.
    fault: Option<String>,
    verified: Verified,
}

/// By this one sees that a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    Absent,
    Unreadable,
    There { modified: Option<SystemTime>, bytes: u64, number: u64 },
}

impl Stamp {
    fn of(file: &Path) -> Stamp {
        match fs::metadata(file) {
            Ok(meta) => Stamp::There {
                modified: meta.modified().ok(),
                bytes: meta.len(),
                number: number(&meta),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Stamp::Absent,
            Err(_) => Stamp::Unreadable,
        }
    }
}

/// A file that takes the place of another has another number; one whose mode was changed another time.
#[cfg(unix)]
fn number(meta: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let changed = (meta.ctime() as u64).wrapping_mul(1_000_000_000);
    meta.ino() ^ changed.wrapping_add(meta.ctime_nsec() as u64).rotate_left(32)
}

#[cfg(not(unix))]
fn number(_: &fs::Metadata) -> u64 {
    0
}

impl Table {
    /// The tokens of this file, which may not be there yet. An error if it cannot be used.
    pub fn open(file: PathBuf) -> Result<Table, String> {
        let verified = Verified::new()?;
        let (stamp, records, fault) = (None, HashMap::new(), None);
        let mut table = Table { file, stamp, records, fault, verified };
        table.refresh();
        match table.fault {
            Some(fault) => Err(fault),
            None => Ok(table),
        }
    }

    /// Reads the file again if it has changed. What is gone from it is revoked at once. While it cannot
    /// be used nothing is revoked, and nobody comes in by it. True if it was read.
    pub fn refresh(&mut self) -> bool {
        // Before it is read: what changes in between is seen the next time.
        let stamp = Stamp::of(&self.file);
        if self.stamp.as_ref() == Some(&stamp) {
            return false;
        }
        let read = Book::read(&self.file).and_then(|book| self.take(book.unwrap_or_default()));
        self.fault = read.err();
        if let Some(fault) = &self.fault {
            tracing::error!("nobody new is let in by stored tokens: {fault}");
        }
        self.stamp = Some(stamp);
        true
    }

    fn take(&mut self, book: Book) -> Result<(), String> {
        let mut old = std::mem::take(&mut self.records);
        for entry in book.tokens {
            let record = match old.remove(&entry.id) {
                Some(same) if same.entry == entry => same,
                other => {
                    other.into_iter().for_each(|gone| gone.identity.pass.revoke());
                    let (actor, pass) = (entry.name.as_str().into(), Pass::until(entry.expires));
                    let identity = Identity { actor, grants: entry.grants()?, pass };
                    Arc::new(Record { entry, identity })
                }
            };
            self.records.insert(record.entry.id.clone(), record);
        }
        old.values().for_each(|gone| gone.identity.pass.revoke());
        self.verified.forget(&old);
        Ok(())
    }

    /// Why nobody comes in by the file at this moment.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The token with this id.
    pub fn find(&self, id: &str) -> Option<Arc<Record>> {
        self.records.get(id).cloned()
    }

    /// The token, if this process has verified it before and the file still has it.
    pub fn verified(&self, token: &str) -> Option<Arc<Record>> {
        let id = self.verified.ids.get(&self.verified.key_of(token))?;
        self.find(id)
    }

    /// Remembers a token that was verified, unless it was revoked meanwhile.
    pub fn remember(&mut self, token: &str, record: &Arc<Record>) {
        if self.find(&record.entry.id).is_some_and(|now| Arc::ptr_eq(&now, record)) {
            self.verified.add(token, &record.entry.id);
        }
    }
}

/// Tokens that were verified, each by its hash under a key of this process: a text that is no token
/// tells nothing by how long it is looked for.
struct Verified {
    key: [u8; 32],
    ids: HashMap<[u8; 32], String>,
    order: VecDeque<[u8; 32]>,
}

impl Verified {
    fn new() -> Result<Verified, String> {
        Ok(Verified { key: random()?, ids: HashMap::new(), order: VecDeque::new() })
    }

    fn key_of(&self, token: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, token.as_bytes()).as_bytes()
    }

    fn add(&mut self, token: &str, id: &str) {
        let key = self.key_of(token);
        if self.ids.insert(key, id.to_owned()).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > VERIFIED_MAX {
            let oldest = self.order.pop_front();
            oldest.map(|key| self.ids.remove(&key));
        }
    }

    fn forget(&mut self, gone: &HashMap<String, Arc<Record>>) {
        if gone.is_empty() {
            return;
        }
        self.ids.retain(|_, id| !gone.contains_key(id));
        self.order.retain(|key| self.ids.contains_key(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn entry(secret: &Secret, name: &str) -> Entry {
        Entry {
            id: secret.id.clone(),
            name: name.into(),
            hash: secret.hash().expect("a hash"),
            grants: vec!["read:notes".into()],
            created: 0,
            expires: None,
        }
    }

    /// As the command does: another file takes the place of the old one.
    fn write(file: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let new = file.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("private");
        fs::rename(&new, file).expect("moved");
    }

    #[test]
    fn a_token_that_is_gone_from_the_file_is_revoked_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens.json");
        let mut table = Table::open(file.clone()).expect("a file that is not there yet");
        let (anna, bert) = (Secret::random().expect("anna"), Secret::random().expect("bert"));
        let mut book = Book { tokens: vec![entry(&anna, "anna"), entry(&bert, "bert")] };
        write(&file, &book.text());
        table.refresh();
        let records = [&anna, &bert].map(|secret| {
            let record = table.find(&secret.id).expect("a record");
            assert!(secret.is_of(&record.entry.hash));
            table.remember(&secret.token(), &record);
            assert!(table.verified(&secret.token()).is_some());
            record
        });
        book.tokens.remove(0);
        write(&file, &book.text());
        table.refresh();
        assert!(table.verified(&anna.token()).is_none() && table.find(&anna.id).is_none());
        assert!(records[0].identity.pass.check(0).is_err());
        assert!(records[1].identity.pass.check(0).is_ok(), "nothing else is touched");
        assert!(table.verified(&bert.token()).is_some());
        table.remember(&anna.token(), &records[0]);
        assert!(table.verified(&anna.token()).is_none(), "who was late is not remembered");
        book.tokens[0].grants = vec!["all:*".into()];
        write(&file, &book.text());
        table.refresh();
        assert!(records[1].identity.pass.check(0).is_err(), "other grants are another token");
    }

    #[test]
    fn a_file_that_cannot_be_used_lets_nobody_in_and_revokes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokens.json");
        let anna = Secret::random().expect("anna");
        let book = Book { tokens: vec![entry(&anna, "anna")] };
        write(&file, &book.text());
        let mut table = Table::open(file.clone()).expect("a table");
        let record = table.find(&anna.id).expect("a record");
        write(&file, &book.text()[..100]);
        table.refresh();
        assert!(table.fault().expect("a fault").contains("is not whole"));
        assert!(record.identity.pass.check(0).is_ok());
        write(&file, &book.text());
        table.refresh();
        assert_eq!(table.fault(), None);
        assert!(Arc::ptr_eq(&record, &table.find(&anna.id).expect("the same")));
    }

    #[test]
    fn no_more_than_so_many_verified_tokens_are_remembered() {
        let mut verified = Verified::new().expect("randomness");
        for n in 0..=VERIFIED_MAX {
            verified.add(&n.to_string(), "id");
            verified.add(&n.to_string(), "id");
        }
        assert_eq!((verified.ids.len(), verified.order.len()), (VERIFIED_MAX, VERIFIED_MAX));
        assert!(!verified.ids.contains_key(&verified.key_of("0")));
    }
}
