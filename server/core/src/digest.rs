//! A sum over (key, tips) of a namespace, kept up with every write, that two stores compare and narrow down.

use std::collections::BTreeMap;
use std::fmt;

use crate::hash::Context;
use crate::ids::{VersionId, hex};

static DIGEST: Context = Context::new("keepboth v1 digest");

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
        let mut hasher = DIGEST.hasher();
        hasher.update(key);
        for tip in tips {
            hasher.update(&tip.0);
        }
        Digest::from_bytes(hasher.finalize().as_bytes())
    }

    /// What is added when a key's tips change; no tips: it is not there.
    pub fn change(key: &[u8; 16], before: &[VersionId], after: &[VersionId]) -> Digest {
        let mut change = Digest::default();
        if !after.is_empty() {
            change.add(&Digest::entry(key, after));
        }
        if !before.is_empty() {
            change.remove(&Digest::entry(key, before));
        }
        change
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

    /// The first 8 bytes, which are sent where a chance of 2^-64 of missing a difference is small enough:
    /// the whole digest shows it in the end.
    pub fn short(&self) -> u64 {
        self.0[0]
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

/// A range of keys: those whose hash begins with these nibbles (half bytes). Comparing stores narrows a
/// difference down from the whole range to smaller ones, one nibble at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Prefix {
    /// The nibbles, the first in the highest bits; zeros behind the last.
    path: u64,
    len: u8,
}

/// Nibbles of the longest [`Prefix`].
pub const PREFIX_NIBBLES_MAX: u8 = 16;
/// Into how many ranges a range is divided.
pub const FANOUT: usize = 16;
/// Nibbles of a bucket: a [`DigestTree`] knows the digests of ranges this long and longer ranges only.
pub const BUCKET_NIBBLES: u8 = 4;

impl Prefix {
    /// The range of all keys.
    pub const WHOLE: Prefix = Prefix { path: 0, len: 0 };

    /// The range with these nibbles; None if there are more than 16, or bits behind the last.
    pub fn new(path: u64, len: u8) -> Option<Prefix> {
        let rest = match len {
            0 => path,
            1..PREFIX_NIBBLES_MAX => path << (4 * u32::from(len)),
            PREFIX_NIBBLES_MAX => 0,
            _ => return None,
        };
        (rest == 0).then_some(Prefix { path, len })
    }

    /// The bucket with this number: its four nibbles.
    pub fn bucket(number: u16) -> Prefix {
        Prefix { path: u64::from(number) << 48, len: BUCKET_NIBBLES }
    }

    /// The nibbles, the first in the highest bits.
    pub fn path(self) -> u64 {
        self.path
    }

    /// How many nibbles there are. The shorter the prefix, the wider the range.
    pub fn nibbles(self) -> u8 {
        self.len
    }

    /// One of the 16 ranges within this one; None if it has all its nibbles.
    pub fn child(self, nibble: u8) -> Option<Prefix> {
        (self.len < PREFIX_NIBBLES_MAX && usize::from(nibble) < FANOUT).then(|| Prefix {
            path: self.path | u64::from(nibble) << (60 - 4 * u32::from(self.len)),
            len: self.len + 1,
        })
    }

    /// True for the hash of a key in this range.
    pub fn contains(self, key: &[u8; 16]) -> bool {
        let differing = self.path ^ first_half(key);
        self.len == 0 || differing >> (64 - 4 * u32::from(self.len)) == 0
    }

    /// Which of the 16 ranges within this one a key of it is in.
    pub fn nibble(self, key: &[u8; 16]) -> u8 {
        let shift = 60 - 4 * u32::from(self.len.min(PREFIX_NIBBLES_MAX - 1));
        (first_half(key) >> shift & 0xf) as u8
    }

    /// The smallest hash of the range.
    pub fn first(self) -> [u8; 16] {
        whole(self.path, 0)
    }

    /// The largest hash of the range.
    pub fn last(self) -> [u8; 16] {
        let rest = match self.len {
            0 => u64::MAX,
            len => u64::MAX.checked_shr(4 * u32::from(len)).unwrap_or(0),
        };
        whole(self.path | rest, u64::MAX)
    }
}

fn first_half(key: &[u8; 16]) -> u64 {
    key[..8].iter().fold(0, |half, byte| half << 8 | u64::from(*byte))
}

fn whole(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

/// Digests of a namespace by the hash of the key: one for each bucket that has keys, at most 65,536 of
/// about 50 bytes. Ranges wider than a bucket are summed up when they are asked for; what is narrower,
/// a store computes from its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestTree {
    root: Digest,
    buckets: BTreeMap<u16, Digest>,
}

/// The bucket of a key: the first 16 bits of its hash.
pub fn bucket(key: &[u8; 16]) -> u16 {
    u16::from_be_bytes([key[0], key[1]])
}

impl DigestTree {
    /// Replaces a key's tips; no tips means that the key was not there or is not there any more.
    pub fn replace(&mut self, key: &[u8; 16], before: &[VersionId], after: &[VersionId]) {
        self.add(bucket(key), &Digest::change(key, before, after));
    }

    /// Adds a digest to a bucket, for instance one that was kept.
    pub fn add(&mut self, bucket: u16, digest: &Digest) {
        self.root.add(digest);
        let own = self.buckets.entry(bucket).or_default();
        own.add(digest);
        if *own == Digest::default() {
            self.buckets.remove(&bucket);
        }
    }

    /// Sets a bucket to what its keys give.
    pub fn set(&mut self, bucket: u16, digest: &Digest) {
        let before = match *digest == Digest::default() {
            true => self.buckets.remove(&bucket),
            false => self.buckets.insert(bucket, *digest),
        };
        self.root.add(digest);
        self.root.remove(&before.unwrap_or_default());
    }

    /// The digest of the whole namespace.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The digest of a bucket.
    pub fn bucket(&self, bucket: u16) -> Digest {
        self.buckets.get(&bucket).copied().unwrap_or_default()
    }

    /// The buckets that have keys, with their digests, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (u16, Digest)> {
        self.buckets.iter().map(|(bucket, digest)| (*bucket, *digest))
    }

    /// The digests of the 16 ranges within a range; None if they are narrower than buckets.
    pub fn children(&self, prefix: Prefix) -> Option<[Digest; FANOUT]> {
        if prefix.nibbles() >= BUCKET_NIBBLES {
            return None;
        }
        let mut children = [Digest::default(); FANOUT];
        let (first, last) = (bucket(&prefix.first()), bucket(&prefix.last()));
        let shift = 4 * u32::from(BUCKET_NIBBLES - 1 - prefix.nibbles());
        for (bucket, digest) in self.buckets.range(first..=last) {
            children[usize::from(bucket >> shift & 0xf)].add(digest);
        }
        Some(children)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> [u8; 16] {
        blake3::hash(&n.to_be_bytes()).as_bytes()[..16].try_into().expect("16 bytes")
    }

    #[test]
    fn a_range_holds_exactly_the_keys_between_its_ends_and_its_children_divide_it() {
        for n in 0..200 {
            let (hash, mut prefix) = (key(n), Prefix::WHOLE);
            for _ in 0..PREFIX_NIBBLES_MAX {
                assert!(prefix.contains(&hash) && prefix.first() <= hash && hash <= prefix.last());
                let nibble = prefix.nibble(&hash);
                let other = prefix.child(nibble ^ 1).expect("a child");
                assert!(!other.contains(&hash) && (hash < other.first() || other.last() < hash));
                prefix = prefix.child(nibble).expect("a child");
                assert_eq!(Prefix::new(prefix.path(), prefix.nibbles()), Some(prefix));
            }
            assert!(prefix.contains(&hash) && prefix.child(0).is_none());
        }
        assert_eq!(Prefix::new(1, 0), None);
        assert_eq!(Prefix::new(1, 15), None);
        assert_eq!(Prefix::new(0, 17), None);
    }

    #[test]
    fn the_children_of_a_range_add_up_to_it_on_every_level() {
        let mut tree = DigestTree::default();
        for n in 0..5_000 {
            tree.replace(&key(n), &[], &[VersionId([n as u8; 32])]);
        }
        for n in 0..1_000 {
            tree.replace(&key(n), &[VersionId([n as u8; 32])], &[]);
        }
        let sum = |prefix| {
            let mut sum = Digest::default();
            tree.children(prefix).expect("children").iter().for_each(|child| sum.add(child));
            sum
        };
        assert_eq!(sum(Prefix::WHOLE), tree.root());
        let children = tree.children(Prefix::WHOLE).expect("children");
        for nibble in 0..FANOUT as u8 {
            let child = Prefix::WHOLE.child(nibble).expect("a child");
            assert_eq!(sum(child), children[usize::from(nibble)]);
        }
        assert_eq!(tree.children(Prefix::bucket(7)), None);
        for n in 1_000..5_000 {
            tree.replace(&key(n), &[VersionId([n as u8; 32])], &[]);
        }
        assert_eq!(tree, DigestTree::default(), "what is empty takes no memory");
    }
}
