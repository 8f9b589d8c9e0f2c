//! All versions of one key: a graph in which every version's parents are known, or an ancestor in their stead.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::ids::VersionId;
use crate::name::{Branch, Key};
use crate::refusal::{Code, Refusal};
use crate::version::{Change, Version};

/// The position of a version in its history; parents stand before their children.
pub type At = usize;

/// Of so many of the newest versions each that is near a fork or a merge is a landmark.
const TANGLED_RECENT: usize = 512;

/// What became of a version that was offered to a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is new and now part of the history.
    New,
    /// It was there already; nothing changed.
    Known,
    /// Nothing changed: these parents are unknown.
    Missing(Vec<VersionId>),
}

/// The versions of one key, in an order in which parents come first.
#[derive(Debug, Clone)]
pub struct History {
    key: Key,
    versions: Vec<Version>,
    index: HashMap<VersionId, At>,
    parents: Vec<SmallVec<[At; 1]>>,
    children: Vec<SmallVec<[At; 2]>>,
    /// Which versions stand on an ancestor instead of their only parent, which was forgotten.
    gaps: HashMap<At, VersionId>,
}

impl History {
    /// The empty history of a key.
    pub fn new(key: Key) -> History {
        History {
            key,
            versions: Vec::new(),
            index: HashMap::new(),
            parents: Vec::new(),
            children: Vec::new(),
            gaps: HashMap::new(),
        }
    }

    /// Adds a version whose record was checked by [`Version::check`]. Refused if its form does not
    /// fit its parents' kinds.
    pub fn insert(&mut self, version: Version) -> Result<Inserted, Refusal> {
        self.insert_over(version, None)
    }

    /// As [`History::insert`], for a version whose only parent may have been forgotten: `gap` is the
    /// nearest ancestor that is still known, and stands in for the parent. A known parent needs none.
    pub fn insert_over(
        &mut self,
        version: Version,
        gap: Option<VersionId>,
    ) -> Result<Inserted, Refusal> {
        if self.index.contains_key(&version.id) {
            return Ok(Inserted::Known);
        }
        let mut parents: SmallVec<[At; 1]> = SmallVec::new();
        let mut missing = Vec::new();
        for id in &version.parents {
            match self.index.get(id) {
                Some(at) => parents.push(*at),
                None => missing.push(*id),
            }
        }
        let mut over = None;
        if let (Some(foot), [_], true) = (gap, &missing[..], version.parents.len() == 1) {
            // What lay between was a line of puts and deletes on a put or delete.
            match self.find(&foot) {
                None => missing = vec![foot],
                Some(foot) if self.is_split(foot) || version.change == Change::Split => {
                    let words = format!("version {}: a gap next to a split", version.id);
                    return Err(Refusal::new(Code::BadVersion, words));
                }
                Some(at) => {
                    missing.clear();
                    parents.push(at);
                    over = Some(foot);
                }
            }
        }
        if !missing.is_empty() {
            return Ok(Inserted::Missing(missing));
        }
        version.check_parents(parents.iter().filter(|p| self.is_split(**p)).count())?;
        let at = self.versions.len();
        for parent in &parents {
            self.children[*parent].push(at);
        }
        self.index.insert(version.id, at);
        self.gaps.extend(over.map(|foot| (at, foot)));
        self.versions.push(version);
        self.parents.push(parents);
        self.children.push(SmallVec::new());
        Ok(Inserted::New)
    }

    /// The key under which the history began.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// All versions, parents before children.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.versions.len()
    }

    /// True for a key that was never written.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The version at a position of this history.
    pub fn at(&self, at: At) -> &Version {
        &self.versions[at]
    }

    /// Where a version stands, if it is known.
    pub fn find(&self, id: &VersionId) -> Option<At> {
        self.index.get(id).copied()
    }

    /// Where the version stands from whose id this half of an address was made.
    pub fn find_branch(&self, branch: &Branch) -> Option<At> {
        self.versions.iter().position(|v| v.id.0[..16] == branch[..])
    }

    /// The positions of a version's parents.
    pub fn parents(&self, at: At) -> &[At] {
        &self.parents[at]
    }

    /// The positions of a version's children.
    pub fn children(&self, at: At) -> &[At] {
        &self.children[at]
    }

    /// The ancestor on which a version stands because its only parent was forgotten.
    pub fn gap(&self, at: At) -> Option<VersionId> {
        self.gaps.get(&at).copied()
    }

    /// The versions that stand on a gap, in no order.
    pub fn gaps(&self) -> impl Iterator<Item = At> {
        self.gaps.keys().copied()
    }

    /// True if the version at this position is a split.
    pub fn is_split(&self, at: At) -> bool {
        self.versions[at].change == Change::Split
    }

    /// A put or delete that is no parent of a put or delete.
    pub fn is_head(&self, at: At) -> bool {
        !self.is_split(at) && self.children[at].iter().all(|child| self.is_split(*child))
    }

    /// A head that is a put.
    pub fn is_live_head(&self, at: At) -> bool {
        self.versions[at].change == Change::Put && self.is_head(at)
    }

    /// Places by which another node that has some of this history can tell what is here, newest first and
    /// at most `most`: what has no children, what stands on gaps, ever fewer of the others the older they
    /// are; and where much was written at once all that is near a fork or a merge, for there no version
    /// speaks for many.
    pub fn landmarks(&self, most: usize) -> Vec<At> {
        let plain = |at: At| self.parents(at).len() < 2 && self.children(at).len() == 1;
        let is_plain = |at: At| plain(at) && self.children(at).iter().all(|child| plain(*child));
        let tangled = (self.len().saturating_sub(TANGLED_RECENT)..self.len()).rev();
        let mut places: Vec<At> = tangled.filter(|at| !is_plain(*at)).collect();
        let mut back = 1;
        while back <= self.len() {
            places.push(self.len() - back);
            back += 1 + back / 4;
        }
        places.extend(self.gaps());
        places.extend((0..self.len()).filter(|at| self.children(*at).is_empty()));
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.dedup();
        places.truncate(most);
        places
    }

    /// Marks the positions and all that they stand on, through splits too.
    pub fn with_ancestors(&self, from: impl IntoIterator<Item = At>) -> Vec<bool> {
        let mut marked = vec![false; self.len()];
        for at in from {
            marked[at] = true;
        }
        for at in (0..self.len()).rev() {
            if marked[at] {
                for parent in &self.parents[at] {
                    marked[*parent] = true;
                }
            }
        }
        marked
    }
}
