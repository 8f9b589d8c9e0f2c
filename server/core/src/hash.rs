//! How data, versions and addresses are hashed: BLAKE3, with its `derive_key` mode for versions.

use std::sync::OnceLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::ids::{DataHash, VersionId};
use crate::value::Value;

/// A context of BLAKE3's `derive_key`, whose key is computed once.
pub(crate) struct Context {
    words: &'static str,
    key: OnceLock<ContextKey>,
}

impl Context {
    pub(crate) const fn new(words: &'static str) -> Context {
        Context { words, key: OnceLock::new() }
    }

    /// As `blake3::Hasher::new_derive_key`.
    pub(crate) fn hasher(&self) -> blake3::Hasher {
        let key = self.key.get_or_init(|| hash_derive_key_context(self.words));
        blake3::Hasher::new_from_context_key(key)
    }
}

static FIRST: Context = Context::new("keepboth v1 first");
static NEXT: Context = Context::new("keepboth v1 next");
static SPLIT: Context = Context::new("keepboth v1 split");

/// `blake3(tag ++ bytes)` of a value.
pub fn data_hash(value: &Value) -> DataHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[value.kind() as u8]).update(value.as_bytes());
    DataHash(*hasher.finalize().as_bytes())
}

/// The id of a version without parents: `kdf("keepboth v1 first", key ++ data_hash ++ timestamp)`,
/// the timestamp as 8 bytes, big-endian, in milliseconds since 1970.
pub fn first(key: &str, data: &DataHash, timestamp: u64) -> VersionId {
    let mut hasher = FIRST.hasher();
    hasher.update(key.as_bytes()).update(&data.0).update(&timestamp.to_be_bytes());
    VersionId(*hasher.finalize().as_bytes())
}

/// The id of an update, a merge or a delete: `kdf("keepboth v1 next", parents ++ data_hash)`.
/// The parents must be sorted.
pub fn next(parents: &[VersionId], data: &DataHash) -> VersionId {
    let mut hasher = NEXT.hasher();
    for parent in parents {
        hasher.update(&parent.0);
    }
    VersionId(*hasher.update(&data.0).finalize().as_bytes())
}

/// The id of a split: `kdf("keepboth v1 split", parents)`. The parents must be sorted.
pub fn split(parents: &[VersionId]) -> VersionId {
    let mut hasher = SPLIT.hasher();
    for parent in parents {
        hasher.update(&parent.0);
    }
    VersionId(*hasher.finalize().as_bytes())
}
