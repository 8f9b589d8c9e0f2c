//! How data, versions and addresses are hashed: BLAKE3, with its `derive_key` mode for versions.

use crate::ids::{DataHash, VersionId};
use crate::value::Value;

/// `blake3(tag ++ bytes)` of a value.
pub fn data_hash(value: &Value) -> DataHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[value.kind() as u8]).update(value.as_bytes());
    DataHash(*hasher.finalize().as_bytes())
}

/// The id of a version without parents: `kdf("keepboth v1 first", key ++ data_hash ++ timestamp)`,
/// the timestamp as 8 bytes, big-endian, in milliseconds since 1970.
pub fn first(key: &str, data: &DataHash, timestamp: u64) -> VersionId {
    let mut hasher = blake3::Hasher::new_derive_key("keepboth v1 first");
    hasher.update(key.as_bytes()).update(&data.0).update(&timestamp.to_be_bytes());
    VersionId(*hasher.finalize().as_bytes())
}

/// The id of an update, a merge or a delete: `kdf("keepboth v1 next", parents ++ data_hash)`.
/// The parents must be sorted.
pub fn next(parents: &[VersionId], data: &DataHash) -> VersionId {
    let mut hasher = blake3::Hasher::new_derive_key("keepboth v1 next");
    for parent in parents {
        hasher.update(&parent.0);
    }
    VersionId(*hasher.update(&data.0).finalize().as_bytes())
}

/// The id of a split: `kdf("keepboth v1 split", parents)`. The parents must be sorted.
pub fn split(parents: &[VersionId]) -> VersionId {
    let mut hasher = blake3::Hasher::new_derive_key("keepboth v1 split");
    for parent in parents {
        hasher.update(&parent.0);
    }
    VersionId(*hasher.finalize().as_bytes())
}
