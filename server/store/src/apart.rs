//! What few keys have besides their view, and what every key adds to the counters.

use keepboth_core::ids::VersionId;

/// What is known of a key that holds more than it shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Apart {
    /// The tips that peers are shown: with hidden versions, and without those that have no value yet.
    pub tips: Vec<VersionId>,
    /// Versions in quarantine, and discarded ones, that nothing stands on; sorted.
    pub hidden: Vec<VersionId>,
    /// Puts whose values were forgotten elsewhere, and on which nothing stands here yet; sorted.
    pub valueless: Vec<VersionId>,
    /// The sequence of the newest note about the key; 0 if there is none.
    pub noted: u64,
    /// The sequence of the note which says that the key is forgotten; 0 if it is not.
    pub forgotten: u64,
}

/// What one key, or a range of keys, adds to the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pub keys: u64,
    pub objects: u64,
    pub conflicts: u64,
    pub trash: u64,
    pub bytes: u64,
}

impl Share {
    pub fn add(&mut self, other: Share) {
        self.keys += other.keys;
        self.objects += other.objects;
        self.conflicts += other.conflicts;
        self.trash += other.trash;
        self.bytes += other.bytes;
    }

    /// Takes away what was added before.
    pub fn remove(&mut self, other: Share) {
        self.keys = self.keys.saturating_sub(other.keys);
        self.objects = self.objects.saturating_sub(other.objects);
        self.conflicts = self.conflicts.saturating_sub(other.conflicts);
        self.trash = self.trash.saturating_sub(other.trash);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}
