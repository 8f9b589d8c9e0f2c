//! What an address means in one history: it stays good for ever, whatever became of its line (rule 8).

use std::collections::BTreeSet;

use crate::history::History;
use crate::ids::VersionId;
use crate::name::{Address, Branch};
use crate::view::{Lines, Object, View};

/// Where an object stands in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In [`View::candidates`].
    Main(usize),
    /// In [`View::detached`].
    Detached(usize),
}

/// What an address stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// No version of this history has that id: the address is unknown here.
    Unknown,
    /// The line ended in deletes.
    Gone,
    /// One object, under whatever name it has now.
    One(Place),
    /// Several objects, with the address of each, sorted.
    Several(Vec<Address>),
}

impl View {
    /// The object at a place of this view.
    pub fn at(&self, place: Place) -> Option<&Object> {
        match place {
            Place::Main(at) => self.candidates.get(at),
            Place::Detached(at) => self.detached.get(at),
        }
    }

    /// The object that is now shown under this address, without a look at the history.
    pub fn shown(&self, branch: &Branch) -> Option<Place> {
        let at = |objects: &[Object]| objects.iter().position(|o| o.branch == *branch);
        at(&self.candidates).map(Place::Main).or_else(|| at(&self.detached).map(Place::Detached))
    }

    fn place_of(&self, head: &VersionId) -> Option<Place> {
        let at = |objects: &[Object]| objects.iter().position(|o| o.heads.contains(head));
        at(&self.candidates).map(Place::Main).or_else(|| at(&self.detached).map(Place::Detached))
    }
}

/// The live heads above which the version stands from whose id the address was made, sorted; a twin
/// among them is not replaced. None if there is no such version.
pub fn live_heads(history: &History, branch: &Branch) -> Option<Vec<VersionId>> {
    let at = history.find_branch(branch)?;
    let heads = Lines::of(history).live_heads_below(std::iter::once(at));
    let mut ids: Vec<VersionId> = heads.into_iter().map(|head| history.at(head).id).collect();
    ids.sort_unstable();
    Some(ids)
}

/// What an address of this history means. `view` is the history's view.
pub fn meaning(history: &History, view: &View, branch: &Branch) -> Meaning {
    let Some(at) = history.find_branch(branch) else { return Meaning::Unknown };
    let lines = Lines::of(history);
    let mut places = BTreeSet::new();
    for head in lines.live_heads_below(std::iter::once(at)) {
        let stand_in =
            if lines.is_twin(head) { lines.displacing(&history.at(head).data) } else { vec![head] };
        places.extend(stand_in.into_iter().filter_map(|head| view.place_of(&history.at(head).id)));
    }
    let key = history.key().hash();
    match places.len() {
        0 => Meaning::Gone,
        1 => places.first().map_or(Meaning::Gone, |place| Meaning::One(*place)),
        _ => {
            let objects = places.into_iter().filter_map(|place| view.at(place));
            let mut addresses: Vec<Address> = objects.map(|o| o.address(key)).collect();
            addresses.sort_unstable();
            Meaning::Several(addresses)
        }
    }
}
