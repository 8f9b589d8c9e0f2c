//! A sum over (key, tips) of a namespace, kept up with every write, that two stores compare and narrow down.

use std::fmt;

use crate::ids::{VersionId, hex};

/// The sum of the hashes of a set of entries; equal sets have equal sums, in whatever order they were
/// added (an additive multiset hash, Bellare and Micciancio 1997, over four lanes of 64 bits).
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Digest([u64; 4]);

impl Digest {
    /// The digest of one key with these tips. A store without the key counts nothing for it.
    ///
    /// Tips are the heads and the splits without a child. Heads alone would not tell a store that
    /// holds such a split from one that does not, though their readers see different things.
    pub fn entry(key: &[u8; 16], tips: &[VersionId]) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("keepboth v1 digest");
        hasher.update(key);
        for tip in tips {
            hasher.update(&tip.0);
        }
        Digest::from_bytes(hasher.finalize().as_bytes())
    }

    /// Adds an entry or a set.
    pub fn add(&mut self, other: &Digest) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }

    /// Takes an entry or a set away.
    pub fn remove(&mut self, other: &Digest) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_sub(theirs);
        }
    }

    /// The 32 bytes that are sent.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        for (bytes, lane) in out.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&lane.to_be_bytes());
        }
        out
    }

    /// The digest that was sent as these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Digest {
        let mut lanes = [0; 4];
        for (lane, bytes) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            *lane = bytes.iter().fold(0, |lane, byte| lane << 8 | u64::from(*byte));
        }
        Digest(lanes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.to_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", hex(&self.to_bytes()[..4]))
    }
}

/// How many parts each level of a [`DigestTree`] has.
pub const FANOUT: usize = 64;

/// Digests of a namespace by the hash of the key: 64 branches of 64 buckets. 134 KiB in memory.
#[derive(Debug, Clone)]
pub struct DigestTree {
    root: Digest,
    branches: Vec<Digest>,
    buckets: Vec<Digest>,
}

impl Default for DigestTree {
    fn default() -> DigestTree {
        DigestTree {
            root: Digest::default(),
            branches: vec![Digest::default(); FANOUT],
            buckets: vec![Digest::default(); FANOUT * FANOUT],
        }
    }
}

/// The bucket of a key: the first 12 bits of its hash.
pub fn bucket(key: &[u8; 16]) -> u16 {
    u16::from(key[0]) << 4 | u16::from(key[1] >> 4)
}

impl DigestTree {
    /// Replaces a key's tips; no tips means that the key was not there or is not there any more.
    pub fn replace(&mut self, key: &[u8; 16], before: &[VersionId], after: &[VersionId]) {
        let bucket = usize::from(bucket(key));
        let parts =
            [&mut self.root, &mut self.branches[bucket / FANOUT], &mut self.buckets[bucket]];
        let before = (!before.is_empty()).then(|| Digest::entry(key, before));
        let after = (!after.is_empty()).then(|| Digest::entry(key, after));
        for part in parts {
            if let Some(before) = &before {
                part.remove(before);
            }
            if let Some(after) = &after {
                part.add(after);
            }
        }
    }

    /// The digest of the whole namespace.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The digests of all branches.
    pub fn branches(&self) -> &[Digest] {
        &self.branches
    }

    /// The digests of a branch's buckets; empty if there is no such branch.
    pub fn buckets(&self, branch: u16) -> &[Digest] {
        let from = usize::from(branch) * FANOUT;
        self.buckets.get(from..from + FANOUT).unwrap_or(&[])
    }
}
