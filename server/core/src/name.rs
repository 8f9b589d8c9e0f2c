//! Names: of namespaces, keys as they were first written, and addresses of a history's lines.

use std::fmt;
use std::sync::Arc;

pub use crate::address::{Address, Branch, branch_of};
use crate::limits::{KEY_BYTES_MAX, figure};
use crate::refusal::{Code, Refusal};

/// A namespace's name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks the form of a namespace's name.
    pub fn new(text: &str) -> Result<Namespace, Refusal> {
        let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let rest = |c: u8| first(c) || matches!(c, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        if (1..=64).contains(&bytes.len()) && first(bytes[0]) && bytes.iter().all(|c| rest(*c)) {
            return Ok(Namespace(text.into()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Refusal::new(
            Code::UnknownNamespace,
            format!(
                "{shown:?} is not a namespace's name: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
            ),
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name under which an object was first written: 1 to 1,024 bytes of UTF-8 as given, no NUL, no address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks the form of a key.
    pub fn new(text: &str) -> Result<Key, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new(Code::BadKey, "the key is empty; a key has 1 to 1,024 bytes"));
        }
        if text.len() > KEY_BYTES_MAX {
            let (size, limit) = (figure(text.len()), figure(KEY_BYTES_MAX));
            let words = format!("the key is {size} bytes, the limit is {limit} bytes");
            return Err(Refusal::new(Code::BadKey, words));
        }
        if let Some(at) = text.bytes().position(|b| b == 0) {
            let words = format!("the key has a NUL at byte {at}; a key has none");
            return Err(Refusal::new(Code::BadKey, words));
        }
        if Address::find(text).is_some() {
            let words = format!("{text:?} is 64 hex characters, which are always an address");
            return Err(Refusal::new(Code::ReservedKey, words)
                .hint("put a prefix before it, for instance id/"));
        }
        Ok(Key(text.into()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 bytes of the key's hash: the first half of every address of this key.
    pub fn hash(&self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&blake3::hash(self.0.as_bytes()).as_bytes()[..16]);
        half
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client calls an object by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// The key of a history.
    Key(Key),
    /// One line of some key's history.
    Address(Address),
}

impl Name {
    /// Reads a name: 64 lower-case hex characters are an address, all else is a key.
    pub fn new(text: &str) -> Result<Name, Refusal> {
        match Address::find(text) {
            Some(address) => Ok(Name::Address(address)),
            None => Key::new(text).map(Name::Key),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Key(key) => key.fmt(f),
            Name::Address(address) => address.fmt(f),
        }
    }
}
