//! What readers see of one history: a pure function of its versions, in time linear to their number.

use std::collections::{BTreeMap, HashSet};

use smallvec::{SmallVec, smallvec};

use crate::history::{At, History};
use crate::ids::{DataHash, VersionId};
use crate::name::{Address, Branch, branch_of};
use crate::version::{Change, Version};

/// One thing that a reader sees: live heads with the same value on the same kind of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The heads, sorted; the first speaks for the group.
    pub heads: SmallVec<[VersionId; 1]>,
    /// The hash of their value.
    pub data: DataHash,
    /// The half of a version id from which the object's address is made (rule 7).
    pub branch: Branch,
}

impl Object {
    /// The version that speaks for the object: the smallest id of the group.
    pub fn version(&self) -> &VersionId {
        &self.heads[0]
    }

    /// The address of the object, given the key's hash.
    pub fn address(&self, key: [u8; 16]) -> Address {
        Address { key, branch: self.branch }
    }
}

/// All that readers, writers and peers need to know of a history without walking it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The heads of the main line, live or deleted, twins included; sorted.
    pub main_heads: SmallVec<[VersionId; 1]>,
    /// What stands under the key: none, one (the object), or the sides of a conflict; sorted by version.
    pub candidates: SmallVec<[Object; 1]>,
    /// What stands under addresses only; sorted by version.
    pub detached: Vec<Object>,
    /// Splits without a child; sorted.
    pub open_splits: Vec<VersionId>,
    /// All heads of any line and all open splits, sorted: two stores with the same tips have the same history.
    pub tips: SmallVec<[VersionId; 1]>,
    /// Where the address of the only tip comes from, also while it is deleted; zeros if there are several tips.
    pub branch: Branch,
}

impl View {
    /// The view of a history that is exactly this first version.
    pub fn first(version: &Version) -> View {
        let object = Object {
            heads: smallvec![version.id],
            data: version.data,
            branch: branch_of(&version.id),
        };
        View {
            main_heads: smallvec![version.id],
            candidates: smallvec![object],
            tips: smallvec![version.id],
            branch: branch_of(&version.id),
            ..View::default()
        }
    }

    /// The view recomputed from the whole history.
    pub fn of(history: &History) -> View {
        View::hiding(history, &HashSet::new())
    }

    /// As [`View::of`], where these versions are never an object: heads set apart by a split are heads
    /// all the same. Hidden tips have to be left out of the history, see [`crate::retention::pruned`].
    pub fn hiding(history: &History, hidden: &HashSet<VersionId>) -> View {
        Lines::of(history).view(hidden)
    }

    /// Takes up a put or delete whose only parent is the only tip, without the history; false, and
    /// unchanged, if it is anything else. The line goes on and keeps its address.
    pub fn advance(&mut self, version: &Version) -> bool {
        let only_head = self.tips.len() == 1 && self.main_heads == self.tips;
        if !only_head || version.change == Change::Split || version.parents != self.tips {
            return false;
        }
        self.main_heads[0] = version.id;
        self.tips[0] = version.id;
        self.candidates.clear();
        if version.change == Change::Put {
            let (data, branch) = (version.data, self.branch);
            self.candidates.push(Object { heads: smallvec![version.id], data, branch });
        }
        true
    }

    /// The object under the key itself.
    pub fn object(&self) -> Option<&Object> {
        match &self.candidates[..] {
            [object] => Some(object),
            _ => None,
        }
    }

    /// Two or more candidates: the key names no object, each stands under its address.
    pub fn in_conflict(&self) -> bool {
        self.candidates.len() > 1
    }

    /// No object, neither under the key nor under an address.
    pub fn is_trash(&self) -> bool {
        self.candidates.is_empty() && self.detached.is_empty()
    }

    /// The sorted addresses of the sides, empty if the key is not in conflict.
    pub fn conflict_addresses(&self, key: [u8; 16]) -> Vec<Address> {
        if !self.in_conflict() {
            return Vec::new();
        }
        let mut addresses: Vec<Address> = self.candidates.iter().map(|o| o.address(key)).collect();
        addresses.sort_unstable();
        addresses
    }
}

/// Which heads stand above a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    None,
    One(At),
    Many,
}

impl Owner {
    fn and(self, other: Owner) -> Owner {
        match (self, other) {
            (Owner::None, owner) | (owner, Owner::None) => owner,
            (Owner::One(a), Owner::One(b)) if a == b => self,
            _ => Owner::Many,
        }
    }
}

/// A history with what its graph says of each version.
pub(crate) struct Lines<'h> {
    pub history: &'h History,
    main: Vec<bool>,
    heads: Vec<At>,
    owner: Vec<Owner>,
    /// The values of first versions that stand below a live head with parents.
    superseded: HashSet<DataHash>,
}

impl<'h> Lines<'h> {
    pub fn of(history: &'h History) -> Lines<'h> {
        let heads: Vec<At> = (0..history.len()).filter(|at| history.is_head(*at)).collect();
        let mut lines = Lines {
            history,
            main: main_line(history),
            owner: owners(history, &heads),
            heads,
            superseded: HashSet::new(),
        };
        lines.superseded = lines.superseded_first_values();
        lines
    }

    /// Rule: an untouched twin does not count.
    pub fn is_twin(&self, head: At) -> bool {
        let version = self.history.at(head);
        version.is_first() && self.superseded.contains(&version.data)
    }

    /// The live heads with parents above which stands a first version with this value.
    pub fn displacing(&self, data: &DataHash) -> Vec<At> {
        let firsts = (0..self.history.len()).filter(|at| {
            let version = self.history.at(*at);
            version.is_first() && version.data == *data
        });
        let mut heads = self.live_heads_below(firsts);
        heads.retain(|head| !self.history.at(*head).is_first());
        heads
    }

    /// The live heads that stand on any of these versions, seen along lines: not through a split to its parents.
    pub fn live_heads_below(&self, from: impl Iterator<Item = At>) -> Vec<At> {
        let history = self.history;
        let mut reached = vec![false; history.len()];
        for at in from {
            reached[at] = true;
        }
        for at in 0..history.len() {
            if !history.is_split(at) {
                reached[at] |= history.parents(at).iter().any(|parent| reached[*parent]);
            }
        }
        self.heads.iter().copied().filter(|h| reached[*h] && history.is_live_head(*h)).collect()
    }

    /// The address of a head is made from the first version of its own branch (rule 7).
    pub fn branch(&self, head: At) -> Branch {
        let history = self.history;
        let mut at = head;
        loop {
            let own = history.parents(at).iter().copied().filter(|parent| {
                self.owner[*parent] == Owner::One(head) && !history.is_split(*parent)
            });
            match own.min_by_key(|parent| history.at(*parent).id) {
                Some(parent) => at = parent,
                None => return branch_of(&history.at(at).id),
            }
        }
    }

    fn view(&self, hidden: &HashSet<VersionId>) -> View {
        let history = self.history;
        let id = |at: At| history.at(at).id;
        let mut open_splits: Vec<VersionId> = (0..history.len())
            .filter(|at| history.is_split(*at) && history.children(*at).is_empty())
            .map(id)
            .collect();
        open_splits.sort_unstable();
        let mut main_heads: SmallVec<[VersionId; 1]> =
            self.heads.iter().filter(|head| self.main[**head]).map(|head| id(*head)).collect();
        main_heads.sort_unstable();
        let mut tips: SmallVec<[VersionId; 1]> =
            self.heads.iter().map(|head| id(*head)).chain(open_splits.iter().copied()).collect();
        tips.sort_unstable();
        let branch = match (&self.heads[..], tips.len()) {
            ([only], 1) => self.branch(*only),
            _ => [0; 16],
        };
        let candidates = self.objects(true, hidden).into();
        let detached = self.objects(false, hidden);
        View { main_heads, candidates, detached, open_splits, tips, branch }
    }

    /// The live heads of the main line or of all detached lines, without twins, grouped by value.
    fn objects(&self, main: bool, hidden: &HashSet<VersionId>) -> Vec<Object> {
        let mut groups: BTreeMap<DataHash, SmallVec<[At; 1]>> = BTreeMap::new();
        for head in self.heads.iter().copied() {
            let live = self.history.is_live_head(head) && !self.is_twin(head);
            if self.main[head] == main && live && !hidden.contains(&self.history.at(head).id) {
                groups.entry(self.history.at(head).data).or_default().push(head);
            }
        }
        let mut objects: Vec<Object> =
            groups.into_iter().map(|(data, heads)| self.object(data, heads)).collect();
        objects.sort_unstable_by_key(|object| object.heads[0]);
        objects
    }

    fn object(&self, data: DataHash, mut heads: SmallVec<[At; 1]>) -> Object {
        heads.sort_unstable_by_key(|head| self.history.at(*head).id);
        Object {
            branch: self.branch(heads[0]),
            heads: heads.iter().map(|head| self.history.at(*head).id).collect(),
            data,
        }
    }

    fn superseded_first_values(&self) -> HashSet<DataHash> {
        let history = self.history;
        let mut below = vec![false; history.len()];
        for head in &self.heads {
            below[*head] = history.is_live_head(*head) && !history.at(*head).is_first();
        }
        for at in (0..history.len()).rev() {
            if below[at] && !history.is_split(at) {
                history.parents(at).iter().for_each(|parent| below[*parent] = true);
            }
        }
        let firsts = (0..history.len()).filter(|at| below[*at] && history.at(*at).is_first());
        firsts.map(|at| history.at(at).data).collect()
    }
}

/// Rule 3: not detached, and a first version, a child of a split, or a child of the main line.
fn main_line(history: &History) -> Vec<bool> {
    let mut main = vec![false; history.len()];
    for at in 0..history.len() {
        let detached = history.children(at).iter().any(|child| history.is_split(*child));
        let parents = history.parents(at);
        main[at] = !history.is_split(at)
            && !detached
            && (parents.is_empty()
                || parents.iter().any(|parent| main[*parent] || history.is_split(*parent)));
    }
    main
}

/// For each version the one head above it, or that there are several; a split's parents are not above its children.
fn owners(history: &History, heads: &[At]) -> Vec<Owner> {
    let mut owner = vec![Owner::None; history.len()];
    for head in heads {
        owner[*head] = Owner::One(*head);
    }
    for at in (0..history.len()).rev() {
        if !history.is_split(at) {
            for parent in history.parents(at) {
                owner[*parent] = owner[*parent].and(owner[at]);
            }
        }
    }
    owner
}
