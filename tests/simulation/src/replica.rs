//! A replica in memory: the smallest thing that obeys the rules, for tests.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use keepboth_core::conflict;
use keepboth_core::hash;
use keepboth_core::history::{History, Inserted};
use keepboth_core::ids::{ConflictId, DataHash, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::refusal::Refusal;
use keepboth_core::resolve::{self, Meaning};
use keepboth_core::retention;
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Version};
use keepboth_core::view::{Object, View};
use keepboth_core::write::{self, Condition, Intent, Made, Writer};

use crate::planted::Planted;

/// One key's history with its view, kept up step by step.
#[derive(Clone)]
pub struct Entry {
    /// Its versions.
    pub history: History,
    /// What readers see of it.
    pub view: View,
    /// What peers are told of it, if that is something else, and what readers' names are found in.
    apart: Option<(View, History)>,
}

impl Entry {
    fn new(key: &Key) -> Entry {
        Entry { history: History::new(key.clone()), view: View::default(), apart: None }
    }

    /// The heads and open splits, hidden ones too.
    pub fn tips(&self) -> &[VersionId] {
        &self.whole().tips
    }

    /// What readers would see if nothing were hidden.
    pub fn whole(&self) -> &View {
        self.apart.as_ref().map_or(&self.view, |(whole, _)| whole)
    }

    /// The part of the history that readers know of.
    fn readable(&self) -> &History {
        self.apart.as_ref().map_or(&self.history, |(_, readable)| readable)
    }

    /// Takes up versions that are made together.
    fn take(
        &mut self,
        versions: &[Version],
        hidden: &HashSet<VersionId>,
        planted: Option<Planted>,
    ) {
        let mut whole = match self.apart.take() {
            Some((whole, _)) => whole,
            None => std::mem::take(&mut self.view),
        };
        for version in versions {
            let inserted = self.history.insert(version.clone()).expect("a version in good form");
            assert_eq!(inserted, Inserted::New);
            if self.history.len() == 1 {
                whole = View::first(version);
            } else if !whole.advance(version) {
                whole = View::of(&self.history);
            }
        }
        assert_eq!(
            whole,
            View::of(&self.history),
            "the incremental view of {}",
            self.history.key()
        );
        self.show(whole, hidden, planted);
    }

    fn show(&mut self, whole: View, hidden: &HashSet<VersionId>, planted: Option<Planted>) {
        let hides = self.history.versions().iter().any(|version| hidden.contains(&version.id));
        let bends = planted.is_some_and(Planted::bends_views);
        if !hides && !bends {
            (self.view, self.apart) = (whole, None);
            return;
        }
        let readable = retention::pruned(&self.history, hidden);
        let readable = readable.unwrap_or_else(|| self.history.clone());
        let view = View::hiding(&readable, hidden);
        self.view = planted.map_or(view.clone(), |planted| planted.bend(&readable, view));
        self.apart = Some((whole, readable));
    }
}

/// A store without a disk.
#[derive(Clone)]
pub struct Replica {
    /// The store that it is.
    pub id: StoreId,
    /// What it holds.
    pub keys: BTreeMap<Key, Entry>,
    /// Versions whose parents have not come yet.
    pub waiting: Vec<(Key, Version)>,
    /// Conflict events raised here, in order.
    pub raised: Vec<ConflictId>,
    raised_once: HashSet<ConflictId>,
    /// Every address that a reader could see here at any time.
    pub shown: BTreeSet<Address>,
    /// Versions that are kept and not shown.
    pub hidden: HashSet<VersionId>,
    /// What is done wrong here on purpose.
    pub planted: Option<Planted>,
}

/// The key with this name.
pub fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

/// The hash of a string as a value.
pub fn data(text: &str) -> DataHash {
    hash::data_hash(&Value::string(text))
}

impl Replica {
    /// An empty store with this number.
    pub fn new(number: u8) -> Replica {
        Replica {
            id: StoreId([number; 16]),
            keys: BTreeMap::new(),
            waiting: Vec::new(),
            raised: Vec::new(),
            raised_once: HashSet::new(),
            shown: BTreeSet::new(),
            hidden: HashSet::new(),
            planted: None,
        }
    }

    fn writer(&self, now: u64) -> Writer {
        Writer { store: self.id, now }
    }

    /// What readers see of a key.
    pub fn view(&self, key: &Key) -> Option<&View> {
        let seen = |entry: &&Entry| !entry.readable().is_empty();
        self.keys.get(key).filter(seen).map(|entry| &entry.view)
    }

    /// The history that an address belongs to.
    fn entry_of(&self, address: &Address) -> Option<&Entry> {
        self.keys.values().find(|entry| entry.history.key().hash() == address.key)
    }

    /// The key under which the history of a name began.
    pub fn key_of(&self, name: &Name) -> Option<Key> {
        match name {
            Name::Key(key) => Some(key.clone()),
            Name::Address(address) => self.entry_of(address).map(|e| e.history.key().clone()),
        }
    }

    /// What an address means here.
    pub fn meaning(&self, address: &Address) -> Meaning {
        self.entry_of(address).map_or(Meaning::Unknown, |entry| {
            resolve::meaning(entry.readable(), &entry.view, &address.branch)
        })
    }

    /// The key of an address, and the live heads that stand on it.
    pub fn live_heads(&self, address: &Address) -> Option<(Key, Vec<VersionId>)> {
        let entry = self.entry_of(address)?;
        let heads = resolve::live_heads(&entry.history, &address.branch)?;
        Some((entry.history.key().clone(), heads))
    }

    /// Plans and applies a write by a reader's name.
    pub fn write(
        &mut self,
        name: &Name,
        intent: Intent,
        condition: Condition,
        now: u64,
    ) -> Result<Made, Refusal> {
        let writer = self.writer(now);
        let (key, made) = match name {
            Name::Key(key) => {
                (key.clone(), write::at_key(key, self.view(key), intent, condition, writer)?)
            }
            Name::Address(address) => {
                let entry = self.entry_of(address).ok_or_else(|| Refusal::not_found("?"))?;
                match resolve::meaning(entry.readable(), &entry.view, &address.branch) {
                    Meaning::One(place) => {
                        let made =
                            write::at_object(name, &entry.view, place, intent, condition, writer)?;
                        (entry.history.key().clone(), made)
                    }
                    Meaning::Several(all) => return Err(Refusal::in_conflict("?", all)),
                    Meaning::Gone | Meaning::Unknown => return Err(Refusal::not_found("?")),
                }
            }
        };
        self.apply(&key, &made);
        self.learn_waiting(&key);
        Ok(made)
    }

    /// Takes versions that are made together, as one transaction does.
    fn apply(&mut self, key: &Key, versions: &[Version]) {
        let entry = self.keys.entry(key.clone()).or_insert_with(|| Entry::new(key));
        let before = entry.view.conflict_addresses(key.hash());
        entry.take(versions, &self.hidden, self.planted);
        self.look(key, &before);
    }

    /// Shows what was hidden of a key, or hides nothing that is not hidden any more.
    pub fn look_again(&mut self, key: &Key) {
        let Some(entry) = self.keys.get_mut(key) else { return };
        let before = entry.view.conflict_addresses(key.hash());
        entry.show(View::of(&entry.history), &self.hidden, self.planted);
        self.look(key, &before);
    }

    /// Remembers what a reader can see, and raises a conflict.
    fn look(&mut self, key: &Key, before: &[Address]) {
        let entry = &self.keys[key];
        let after = entry.view.conflict_addresses(key.hash());
        let detached = entry.view.detached.iter().map(|object| object.address(key.hash()));
        self.shown.extend(after.iter().copied().chain(detached));
        if conflict::grew(before, &after) {
            let id = conflict::id(key, &after);
            if self.raised_once.insert(id) {
                self.raised.push(id);
            }
        }
    }

    /// Learns one version from another store, in any order, any number of times.
    pub fn learn(&mut self, key: &Key, version: &Version) {
        version.check(key).expect("a version in good form");
        if self.keys.get(key).is_some_and(|entry| entry.history.find(&version.id).is_some()) {
            return;
        }
        if self.knows(key, &version.parents) {
            self.apply(key, std::slice::from_ref(version));
            self.learn_waiting(key);
        } else if !self.waiting.iter().any(|(_, waiting)| waiting.id == version.id) {
            self.waiting.push((key.clone(), version.clone()));
        }
    }

    fn knows(&self, key: &Key, versions: &[VersionId]) -> bool {
        let history = self.keys.get(key).map(|entry| &entry.history);
        versions.iter().all(|id| history.is_some_and(|history| history.find(id).is_some()))
    }

    fn learn_waiting(&mut self, key: &Key) {
        let ready = |replica: &Replica| {
            replica.waiting.iter().position(|(k, v)| k == key && replica.knows(k, &v.parents))
        };
        while let Some(at) = ready(self) {
            let (key, version) = self.waiting.remove(at);
            // The same version may have been made here while it waited.
            if !self.knows(&key, &[version.id]) {
                self.apply(&key, &[version]);
            }
        }
    }

    /// Learns all that another store knows of a key.
    pub fn learn_key(&mut self, from: &Replica, key: &Key) {
        let Some(entry) = from.keys.get(key) else { return };
        for version in entry.history.versions() {
            self.learn(key, version);
        }
    }

    /// Learns all that another store knows.
    pub fn learn_all(&mut self, from: &Replica) {
        for key in from.keys.keys() {
            self.learn_key(from, key);
        }
    }

    /// Conflicts that were raised before this replica was put back to an old copy are not raised again.
    pub fn keep_raised(&mut self, former: &Replica) {
        self.raised = former.raised.clone();
        self.raised_once = former.raised_once.clone();
    }

    /// Every object that a reader sees: its name, version and value's hash.
    pub fn objects(&self) -> BTreeMap<String, (VersionId, DataHash)> {
        let mut objects = BTreeMap::new();
        for (key, entry) in &self.keys {
            let shown = |name: String, object: &Object| (name, (*object.version(), object.data));
            match &entry.view.candidates[..] {
                [one] => objects.extend([shown(key.to_string(), one)]),
                sides => objects
                    .extend(sides.iter().map(|o| shown(o.address(key.hash()).to_string(), o))),
            }
            let detached = entry.view.detached.iter();
            objects.extend(detached.map(|o| shown(o.address(key.hash()).to_string(), o)));
        }
        objects
    }

    /// Puts of this replica that stand for something nobody has followed up and nobody sees: must be none.
    pub fn lost(&self) -> Vec<VersionId> {
        let mut lost = Vec::new();
        for entry in self.keys.values() {
            let shown: HashSet<DataHash> =
                entry.view.candidates.iter().chain(&entry.view.detached).map(|o| o.data).collect();
            for (at, version) in entry.history.versions().iter().enumerate() {
                let hidden = self.hidden.contains(&version.id);
                let put = version.change == Change::Put && !hidden;
                let untouched = put && entry.history.is_head(at);
                let twin = version.is_first() && displaced(&entry.history, version);
                if untouched && !shown.contains(&version.data) && !twin {
                    lost.push(version.id);
                }
            }
        }
        lost
    }
}

/// True if somebody went on from a first version with the same value, and that line lives.
fn displaced(history: &History, twin: &Version) -> bool {
    (0..history.len()).any(|head| {
        let above = history.with_ancestors([head]);
        history.is_live_head(head)
            && !history.at(head).is_first()
            && (0..history.len()).any(|at| {
                above[at] && history.at(at).is_first() && history.at(at).data == twin.data
            })
    })
}
