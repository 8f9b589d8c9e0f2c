//! The row of a key: its view, and who speaks for each of its objects.

use smallvec::{SmallVec, smallvec};

use keepboth_core::ids::{StoreId, VersionId};
use keepboth_core::name::{Key, Name};
use keepboth_core::version::{Change, Version};
use keepboth_core::view::{Object, View};

use crate::apart::{Apart, Share};
use crate::state::{Deleted, KeyState, Shown};

/// Its bytes.
mod bytes;

/// Where and when the version was made that speaks for an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    pub sequence: u64,
    pub timestamp: u64,
    pub origin: StoreId,
}

/// What the store knows of a key without walking its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub last: u64,
    pub versions: u64,
    /// Bytes of the values that are kept of it.
    pub bytes: u64,
    pub view: View,
    /// One for each candidate, then one for each detached object.
    pub speakers: SmallVec<[Speaker; 1]>,
    pub deleted: Option<Deleted>,
    /// What few keys have.
    pub apart: Option<Box<Apart>>,
}

impl KeyRow {
    /// The tips that the digest counts; none for a forgotten key.
    pub fn tips(&self) -> &[VersionId] {
        if self.forgotten().is_some() { &[] } else { self.all_tips() }
    }

    /// The tips of the history, also of a forgotten key.
    pub fn all_tips(&self) -> &[VersionId] {
        match &self.apart {
            Some(apart) if !apart.hidden.is_empty() || !apart.valueless.is_empty() => &apart.tips,
            _ => &self.view.tips,
        }
    }

    /// The sequence of the note that forgot the key, if it is forgotten.
    pub fn forgotten(&self) -> Option<u64> {
        self.apart.as_ref().map(|apart| apart.forgotten).filter(|at| *at != 0)
    }

    /// True for a version that readers must not see.
    pub fn hides(&self, version: &VersionId) -> bool {
        let apart = self.apart.as_ref();
        apart.is_some_and(|a| a.hidden.contains(version) || a.valueless.contains(version))
    }

    /// The place of the key in the feed of changes.
    pub fn sequence(&self) -> u64 {
        self.last.max(self.apart.as_ref().map_or(0, |apart| apart.noted))
    }

    /// True if the key is there for readers, if only in the trash.
    pub fn is_shown(&self) -> bool {
        !self.view.tips.is_empty() && self.forgotten().is_none()
    }

    /// No object, neither under the key nor under an address.
    pub fn is_trash(&self) -> bool {
        self.is_shown() && self.view.is_trash()
    }

    /// Two or more objects compete for the key.
    pub fn in_conflict(&self) -> bool {
        self.is_shown() && self.view.in_conflict()
    }

    /// What the key adds to the counters. A forgotten key has values of nobody, and counts nowhere.
    pub fn share(&self) -> Share {
        let shown = self.is_shown();
        Share {
            keys: u64::from(!self.tips().is_empty()),
            objects: if shown { self.speakers.len() as u64 } else { 0 },
            conflicts: u64::from(self.in_conflict()),
            trash: u64::from(self.is_trash()),
            bytes: self.bytes,
        }
    }

    /// The row of a key whose only tip is this version, which is also its last.
    pub fn simple(view: View, version: &Version, last: u64, versions: u64, bytes: u64) -> KeyRow {
        let (timestamp, origin) = (version.timestamp, version.origin);
        let (speakers, deleted) = match version.change {
            Change::Put => (smallvec![Speaker { sequence: last, timestamp, origin }], None),
            _ => {
                let deleted = Deleted { version: version.id, timestamp, origin, sequence: last };
                (SmallVec::new(), Some(deleted))
            }
        };
        KeyRow { last, versions, bytes, view, speakers, deleted, apart: None }
    }

    /// The objects with their speakers, candidates first.
    pub fn objects(&self) -> impl Iterator<Item = (&Object, &Speaker)> {
        self.view.candidates.iter().chain(&self.view.detached).zip(&self.speakers)
    }

    /// What readers are told.
    pub fn state(&self, key: &Key) -> KeyState {
        self.state_of(key, key.hash())
    }

    /// The same, of a key with this half of its hash.
    pub fn state_of(&self, key: &Key, hash: [u8; 16]) -> KeyState {
        let candidates = self.view.candidates.len();
        let shown = self.objects().enumerate().map(|(at, (object, speaker))| {
            let address = object.address(hash);
            let whole = candidates == 1 && at == 0;
            Shown {
                name: if whole { Name::Key(key.clone()) } else { Name::Address(address) },
                address,
                version: *object.version(),
                data: object.data,
                timestamp: speaker.timestamp,
                origin: speaker.origin,
                sequence: speaker.sequence,
                detached: at >= candidates,
            }
        });
        KeyState {
            key: key.clone(),
            sequence: self.sequence(),
            versions: self.versions,
            shown: shown.collect(),
            view: self.view.clone(),
            deleted: self.deleted,
        }
    }
}
