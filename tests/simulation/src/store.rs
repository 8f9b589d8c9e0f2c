//! Stores in memory as a session sees them: replicas with values and a digest kept up step by step.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::conflict;
use keepboth_core::digest::{Digest, DigestTree, FANOUT, Prefix};
use keepboth_core::hash;
use keepboth_core::history::History;
use keepboth_core::ids::{ConflictId, DataHash, StoreId, VersionId};
use keepboth_core::limits::VALUE_BYTES_MAX;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{self, Entry, Held, Histories, Received};
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Event, Version};
use keepboth_core::view::{Object, View};
use keepboth_core::wire::{ConflictNote, ConflictSide, KeyTips};
use keepboth_core::write::{Condition, Intent};

use crate::replica::Replica;

/// What a client asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// A value under the name.
    Put(Value),
    /// Nothing under the name.
    Delete,
    /// A value in place of all sides of a conflict.
    Merge(Value),
}

/// One namespace on one node.
#[derive(Clone)]
pub struct Store {
    /// The versions and what readers see of them.
    pub replica: Replica,
    /// The largest value that it takes.
    pub value_bytes_max: usize,
    /// Versions that this store refuses, as a policy may.
    pub refuses: BTreeSet<VersionId>,
    /// Values that its schema refuses: from a client not taken, from a peer kept and not shown.
    pub schema: BTreeSet<DataHash>,
    /// Keys whose deletion everybody has: they count nowhere any more.
    pub forgotten: BTreeSet<Key>,
    /// The last sequence of anything that was dropped for good.
    pub dropped: u64,
    /// Every version that it had at any time.
    pub had: BTreeSet<(Key, VersionId)>,
    values: BTreeMap<DataHash, Value>,
    tree: DigestTree,
    hashes: BTreeMap<[u8; 16], Key>,
    /// Counts what was learned; of each key, when it was last changed; of each digest, when it held.
    sequence: u64,
    last: BTreeMap<Key, u64>,
    roots: BTreeMap<[u8; 32], u64>,
}

impl Store {
    /// An empty store.
    pub fn new(id: StoreId) -> Store {
        let mut replica = Replica::new(0);
        replica.id = id;
        Store {
            replica,
            value_bytes_max: VALUE_BYTES_MAX,
            refuses: BTreeSet::new(),
            schema: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            dropped: 0,
            had: BTreeSet::new(),
            values: BTreeMap::new(),
            tree: DigestTree::default(),
            hashes: BTreeMap::new(),
            sequence: 0,
            last: BTreeMap::new(),
            roots: BTreeMap::new(),
        }
    }

    /// The digest of all that it holds.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// The sequence of the last version.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The heads and open splits of a key.
    pub fn tips(&self, key: &Key) -> Vec<VersionId> {
        self.replica.keys.get(key).map(|entry| entry.tips().to_vec()).unwrap_or_default()
    }

    /// The tips that count in the digest.
    fn counted(&self, key: &Key) -> Vec<VersionId> {
        if self.forgotten.contains(key) { Vec::new() } else { self.tips(key) }
    }

    /// Makes the versions of one write.
    pub fn write(&mut self, name: &Name, wish: Wish, now: u64) -> Result<Vec<Event>, Refusal> {
        let (intent, value) = match wish {
            Wish::Put(value) => (Intent::Put(hash::data_hash(&value)), Some(value)),
            Wish::Delete => (Intent::Delete, None),
            Wish::Merge(value) => (Intent::Merge(hash::data_hash(&value)), Some(value)),
        };
        if let Some(value) = &value
            && self.schema.contains(&hash::data_hash(value))
        {
            return Err(self.breaks(name));
        }
        let key = self.replica.key_of(name).ok_or_else(|| Refusal::not_found("?"))?;
        let before = self.counted(&key);
        let made = self.replica.write(name, intent, Condition::None, now)?;
        self.values.extend(value.map(|value| (hash::data_hash(&value), value)));
        self.forgotten.remove(&key);
        self.had.extend(made.iter().map(|version| (key.clone(), version.id)));
        self.moved(&key, &before);
        Ok(made.iter().map(|version| self.event(&key, version)).collect())
    }

    /// Takes one event of a peer, as the commit thread does.
    pub fn receive(&mut self, event: &Event) -> Received {
        let (key, version) = (&event.key, &event.version);
        if self.refuses.contains(&version.id) {
            return Received::Refused(self.breaks(key));
        }
        let none = History::new(key.clone());
        let history = self.replica.keys.get(key).map_or(&none, |entry| &entry.history);
        if history.find(&version.id).is_some() {
            return Received::Known;
        }
        let unknown = version.parents.iter().filter(|id| history.find(id).is_none());
        let unknown: Vec<VersionId> = unknown.copied().collect();
        if !unknown.is_empty() {
            return Received::Missing(unknown);
        }
        let is_split = |id: &&VersionId| history.find(id).is_some_and(|at| history.is_split(at));
        if let Err(refusal) = version.check_parents(version.parents.iter().filter(is_split).count())
        {
            return Received::Refused(refusal);
        }
        let before = self.counted(key);
        let hidden = version.change == Change::Put && self.schema.contains(&version.data);
        if hidden {
            self.replica.hidden.insert(version.id);
        }
        self.forgotten.remove(key);
        self.values.extend(event.value.clone().map(|value| (version.data, value)));
        self.replica.learn(key, version);
        self.had.insert((key.clone(), version.id));
        self.moved(key, &before);
        if hidden { Received::Quarantined(self.breaks(key)) } else { Received::New }
    }

    fn breaks(&self, what: &impl std::fmt::Display) -> Refusal {
        Refusal::new(Code::SchemaRefused, format!("{what} breaks the schema"))
    }

    /// The schema refuses nothing any more; gives the keys of what it hid, to be looked at again.
    pub fn lift_schema(&mut self) -> Vec<Key> {
        self.schema.clear();
        let hidden = std::mem::take(&mut self.replica.hidden);
        let hides = |history: &History| history.versions().iter().any(|v| hidden.contains(&v.id));
        let keys = self.replica.keys.iter().filter(|(_, entry)| hides(&entry.history));
        keys.map(|(key, _)| key.clone()).collect()
    }

    /// Keys that are deleted, were not forgotten, and did not change after this sequence.
    pub fn trash(&self, last: u64) -> Vec<KeyTips> {
        let deleted = |key: &&Key| !self.forgotten.contains(*key) && self.is_deleted(key);
        let old = self.last.iter().filter(|(_, at)| **at <= last).map(|(key, _)| key);
        let tips = |key: &Key| KeyTips { key: key.clone(), tips: self.tips(key) };
        old.filter(deleted).map(tips).collect()
    }

    /// True if it is deleted for everybody: what is hidden here may be an object elsewhere.
    pub fn is_deleted(&self, key: &Key) -> bool {
        self.replica.keys.get(key).is_some_and(|entry| entry.whole().is_trash())
    }

    /// Forgets a deleted key that has exactly these tips; false if it is anything else.
    pub fn forget(&mut self, key: &KeyTips) -> bool {
        let deleted = self.is_deleted(&key.key) && self.tips(&key.key) == key.tips;
        if !deleted || !self.forgotten.insert(key.key.clone()) {
            return false;
        }
        self.moved(&key.key, &key.tips);
        true
    }

    /// Drops a key with all that is known of it.
    pub fn drop_key(&mut self, key: &Key) {
        let before = self.counted(key);
        self.tree.replace(&key.hash(), &before, &[]);
        self.replica.keys.remove(key);
        self.hashes.remove(&key.hash());
        self.forgotten.remove(key);
        let last = self.last.remove(key).unwrap_or(0);
        self.dropped = self.dropped.max(last);
    }

    /// Drops for good what was forgotten up to this sequence.
    pub fn purge(&mut self, upto: u64) {
        let old = self.forgotten.iter().filter(|key| self.last[*key] <= upto);
        for key in old.cloned().collect::<Vec<_>>() {
            self.drop_key(&key);
        }
    }

    /// True if the version is here.
    pub fn knows(&self, key: &Key, version: &VersionId) -> bool {
        let entry = self.replica.keys.get(key);
        entry.is_some_and(|entry| entry.history.find(version).is_some())
    }

    /// True if the version is here, or was at any time.
    pub fn has_had(&self, key: &Key, version: &VersionId) -> bool {
        self.had.contains(&(key.clone(), *version))
    }

    /// True if the key with this half of a hash is here and not forgotten.
    pub fn keeps(&self, hash: &[u8; 16]) -> bool {
        self.hashes.get(hash).is_some_and(|key| !self.forgotten.contains(key))
    }

    /// When the key was last changed; None if there is no such key.
    pub fn last(&self, key: &Key) -> Option<u64> {
        self.last.get(key).copied()
    }

    /// The names of the objects of a key.
    pub fn names(&self, key: &Key) -> Vec<Name> {
        let Some(view) = self.replica.view(key) else { return Vec::new() };
        let address = |object: &Object| Name::Address(object.address(key.hash()));
        let main = match view.object() {
            Some(_) => vec![Name::Key(key.clone())],
            None => view.candidates.iter().map(address).collect(),
        };
        main.into_iter().chain(view.detached.iter().map(address)).collect()
    }

    fn moved(&mut self, key: &Key, before: &[VersionId]) {
        let half = key.hash();
        self.tree.replace(&half, before, &self.counted(key));
        self.hashes.insert(half, key.clone());
        self.sequence += 1;
        self.last.insert(key.clone(), self.sequence);
        self.roots.insert(self.root().to_bytes(), self.sequence);
    }

    fn digest(&self, key: &Key, hash: &[u8; 16]) -> Digest {
        let counted = self.counted(key);
        if counted.is_empty() { Digest::default() } else { Digest::entry(hash, &counted) }
    }

    fn event(&self, key: &Key, version: &Version) -> Event {
        let value = self.values.get(&version.data).cloned();
        Event::new(key.clone(), version.clone(), value)
    }

    /// What is sent of a key to one who has these versions.
    pub fn beyond(&self, key: &Key, have: &[VersionId]) -> Vec<Event> {
        self.beyond_from(key, have, 0).map(|(_, event)| event).collect()
    }

    /// The same from a place in the history on, with the places.
    fn beyond_from(
        &self,
        key: &Key,
        have: &[VersionId],
        from: usize,
    ) -> impl Iterator<Item = (usize, Event)> {
        let history = self.replica.keys.get(key).map(|entry| &entry.history);
        let unknown = history.into_iter().flat_map(move |history| {
            let known = history.with_ancestors(have.iter().filter_map(|id| history.find(id)));
            let versions = history.versions().iter().enumerate().skip(from);
            versions.filter(move |(at, _)| !known[*at])
        });
        unknown.map(|(at, version)| (at, self.event(key, version)))
    }

    /// The note of the conflict in which a key is now.
    pub fn note(&self, namespace: &Namespace, key: &Key, id: ConflictId) -> ConflictNote {
        let entry = &self.replica.keys[key];
        let side = |object: &Object| ConflictSide {
            version: *object.version(),
            branch: object.branch,
            origin: entry.history.at(entry.history.find(object.version()).expect("known")).origin,
        };
        ConflictNote {
            namespace: namespace.clone(),
            key: key.clone(),
            id,
            base: conflict::base(&entry.history, &entry.view),
            sides: entry.view.candidates.iter().map(side).collect(),
        }
    }

    /// How many keys there are, forgotten ones too.
    pub fn keys(&self) -> usize {
        self.replica.keys.len()
    }

    /// Holds what was kept up step by step against what a recomputation gives.
    pub fn check(&self) {
        self.is_sound().expect("a sound store");
    }

    /// As [`Store::check`], with what is wrong in words.
    pub fn is_sound(&self) -> Result<(), String> {
        let mut fresh = DigestTree::default();
        let counts = |key: &&Key| !self.forgotten.contains(*key);
        for key in self.replica.keys.keys().filter(counts) {
            let history = &self.replica.keys[key].history;
            fresh.replace(&key.hash(), &[], &View::of(history).tips);
        }
        if self.tree != fresh {
            return Err("the digest is not what is held".into());
        }
        for (key, entry) in &self.replica.keys {
            for version in entry.history.versions() {
                let checked = self.event(key, version).check(self.value_bytes_max);
                checked.map_err(|refusal| refusal.to_string())?;
            }
        }
        Ok(())
    }

    /// What readers see of every key.
    pub fn views(&self) -> BTreeMap<Key, View> {
        let kept = self.kept().filter(|key| self.replica.view(key).is_some());
        kept.map(|key| (key.clone(), self.replica.keys[key].view.clone())).collect()
    }

    /// The keys that are not forgotten.
    fn kept(&self) -> impl Iterator<Item = &Key> {
        self.replica.keys.keys().filter(|key| !self.forgotten.contains(*key))
    }

    /// Every version of every key.
    pub fn versions(&self) -> BTreeSet<(Key, VersionId)> {
        let ids = |key: &Key| {
            let versions = self.replica.keys[key].history.versions();
            versions.iter().map(|v| (key.clone(), v.id)).collect::<Vec<_>>()
        };
        self.kept().flat_map(ids).collect()
    }
}

/// All namespaces of one node.
#[derive(Clone, Default)]
pub struct Stores(pub BTreeMap<Namespace, Store>);

impl session::Replica for Stores {
    fn root(&self, namespace: &Namespace) -> Digest {
        self.0[namespace].root()
    }

    fn sequence(&self, namespace: &Namespace) -> u64 {
        self.0[namespace].sequence
    }

    fn sequence_of(&self, namespace: &Namespace, root: &Digest) -> Option<u64> {
        self.0[namespace].roots.get(&root.to_bytes()).copied()
    }

    fn children(&self, namespace: &Namespace, prefix: Prefix) -> Result<[Digest; FANOUT], Refusal> {
        let store = &self.0[namespace];
        if let Some(children) = store.tree.children(prefix) {
            return Ok(children);
        }
        let mut children = [Digest::default(); FANOUT];
        for (hash, key) in store.hashes.range(prefix.first()..=prefix.last()) {
            children[usize::from(prefix.nibble(hash))].add(&store.digest(key, hash));
        }
        Ok(children)
    }

    fn entries(
        &self,
        namespace: &Namespace,
        prefix: Prefix,
        most: usize,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let store = &self.0[namespace];
        let range = store.hashes.range(prefix.first()..=prefix.last());
        let range = range.filter(|(_, key)| !store.forgotten.contains(*key));
        let entries = range.take(most + 1).map(|(hash, key)| Entry {
            hash: *hash,
            key: key.clone(),
            tips: store.tips(key),
        });
        let entries: Vec<Entry> = entries.collect();
        Ok((entries.len() <= most).then_some(entries))
    }

    fn key_of(&self, namespace: &Namespace, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        Ok(self.0[namespace].hashes.get(hash).cloned())
    }

    fn held(&self, namespace: &Namespace, key: &Key) -> Result<Option<Held>, Refusal> {
        let store = &self.0[namespace];
        let last = store.last.get(key).copied();
        let forgotten = store.forgotten.contains(key);
        Ok(last.map(|last| Held { tips: store.tips(key), last, forgotten }))
    }

    fn history(&self, namespace: &Namespace, key: &Key) -> Result<Option<History>, Refusal> {
        Ok(self.0[namespace].replica.keys.get(key).map(|entry| entry.history.clone()))
    }

    fn known(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        let entry = self.0[namespace].replica.keys.get(key);
        let landmarks = |history: &History| {
            history.landmarks(1_000).into_iter().map(|at| history.at(at).id).collect()
        };
        Ok(entry.map(|entry| landmarks(&entry.history)).unwrap_or_default())
    }

    fn missing(
        &self,
        namespace: &Namespace,
        key: &Key,
        have: &[VersionId],
        known: &[VersionId],
        after: Option<u64>,
        bytes: usize,
    ) -> Result<(Vec<Event>, Option<u64>), Refusal> {
        let (there, from) = ([have, known].concat(), after.unwrap_or(0) as usize);
        let (mut page, mut size) = (Vec::new(), 0);
        for (at, event) in self.0[namespace].beyond_from(key, &there, from) {
            if size > bytes {
                return Ok((page, Some(at as u64)));
            }
            size += 200 + event.key.as_str().len();
            page.push(event);
        }
        Ok((page, None))
    }

    fn page(
        &self,
        namespace: &Namespace,
        first: [u8; 16],
        last: [u8; 16],
        bytes: usize,
    ) -> Result<Histories, Refusal> {
        let (store, mut page, mut size) = (&self.0[namespace], Histories::default(), 0);
        for (hash, key) in store.hashes.range(first..=last) {
            if size > bytes {
                page.next = Some(*hash);
                break;
            }
            if store.forgotten.contains(key) {
                continue;
            }
            let history = store.beyond(key, &[]);
            size += history.iter().map(|event| 200 + event.key.as_str().len()).sum::<usize>();
            page.events.extend(history);
        }
        Ok(page)
    }
}
