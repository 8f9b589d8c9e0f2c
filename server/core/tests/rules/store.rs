//! Stores in memory as a session sees them: replicas with values and a digest kept up step by step.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::conflict;
use keepboth_core::digest::{self, Digest, DigestTree, FANOUT};
use keepboth_core::hash;
use keepboth_core::history::History;
use keepboth_core::ids::{ConflictId, DataHash, StoreId, VersionId};
use keepboth_core::limits::VALUE_BYTES_MAX;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::Refusal;
use keepboth_core::session::{self, Received};
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::view::View;
use keepboth_core::wire::{ConflictNote, ConflictSide, KeyTips};
use keepboth_core::write::{Condition, Intent};

use crate::replica::Replica;

/// What a client asks for.
#[derive(Debug, Clone)]
pub enum Wish {
    Put(Value),
    Delete,
    Merge(Value),
}

/// One namespace on one node.
#[derive(Clone)]
pub struct Store {
    pub replica: Replica,
    pub value_bytes_max: usize,
    /// Versions that this store refuses, as a policy may.
    pub refuses: BTreeSet<VersionId>,
    values: BTreeMap<DataHash, Value>,
    tree: DigestTree,
    buckets: BTreeMap<u16, BTreeSet<Key>>,
}

impl Store {
    pub fn new(id: StoreId) -> Store {
        let mut replica = Replica::new(0);
        replica.id = id;
        Store {
            replica,
            value_bytes_max: VALUE_BYTES_MAX,
            refuses: BTreeSet::new(),
            values: BTreeMap::new(),
            tree: DigestTree::default(),
            buckets: BTreeMap::new(),
        }
    }

    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    pub fn tips(&self, key: &Key) -> Vec<VersionId> {
        self.replica.view(key).map(|view| view.tips.to_vec()).unwrap_or_default()
    }

    /// Makes the versions of one write.
    pub fn write(&mut self, name: &Name, wish: Wish, now: u64) -> Result<Vec<Event>, Refusal> {
        let (intent, value) = match wish {
            Wish::Put(value) => (Intent::Put(hash::data_hash(&value)), Some(value)),
            Wish::Delete => (Intent::Delete, None),
            Wish::Merge(value) => (Intent::Merge(hash::data_hash(&value)), Some(value)),
        };
        let key = self.replica.key_of(name).ok_or_else(|| Refusal::not_found("?"))?;
        let before = self.tips(&key);
        let made = self.replica.write(name, intent, Condition::None, now)?;
        self.values.extend(value.map(|value| (hash::data_hash(&value), value)));
        self.moved(&key, &before);
        Ok(made.iter().map(|version| self.event(&key, version)).collect())
    }

    /// Takes one event of a peer, as the commit thread does.
    pub fn receive(&mut self, event: &Event) -> Received {
        let (key, version) = (&event.key, &event.version);
        if self.refuses.contains(&version.id) {
            let code = keepboth_core::refusal::Code::SchemaRefused;
            return Received::Refused(Refusal::new(code, format!("{key} breaks the schema")));
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
        let before = self.tips(key);
        self.values.extend(event.value.clone().map(|value| (version.data, value)));
        self.replica.learn(key, version);
        self.moved(key, &before);
        Received::New
    }

    fn moved(&mut self, key: &Key, before: &[VersionId]) {
        let half = key.hash();
        self.tree.replace(&half, before, &self.tips(key));
        self.buckets.entry(digest::bucket(&half)).or_default().insert(key.clone());
    }

    fn event(&self, key: &Key, version: &Version) -> Event {
        let value = self.values.get(&version.data).cloned();
        Event { key: key.clone(), version: version.clone(), value }
    }

    /// What is sent of a key to one who has these versions.
    pub fn beyond(&self, key: &Key, have: &[VersionId]) -> Vec<Event> {
        let Some(entry) = self.replica.keys.get(key) else { return Vec::new() };
        let known = entry.history.with_ancestors(have.iter().filter_map(|i| entry.history.find(i)));
        let versions = entry.history.versions().iter().enumerate();
        let unknown = versions.filter(|(at, _)| !known[*at]);
        unknown.map(|(_, version)| self.event(key, version)).collect()
    }

    /// The note of the conflict in which a key is now.
    pub fn note(&self, namespace: &Namespace, key: &Key, id: ConflictId) -> ConflictNote {
        let entry = &self.replica.keys[key];
        let side = |object: &keepboth_core::view::Object| ConflictSide {
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

    /// Holds what was kept up step by step against what a recomputation gives.
    pub fn check(&self) {
        let mut fresh = DigestTree::default();
        for (key, entry) in &self.replica.keys {
            fresh.replace(&key.hash(), &[], &View::of(&entry.history).tips);
        }
        assert_eq!(self.tree.root(), fresh.root(), "the root");
        assert_eq!(self.tree.branches(), fresh.branches(), "the branches");
        for branch in 0..FANOUT as u16 {
            assert_eq!(self.tree.buckets(branch), fresh.buckets(branch), "branch {branch}");
        }
        for (key, entry) in &self.replica.keys {
            for version in entry.history.versions() {
                self.event(key, version).check(self.value_bytes_max).expect("what is held is good");
            }
        }
    }

    pub fn views(&self) -> BTreeMap<Key, View> {
        self.replica.keys.iter().map(|(key, entry)| (key.clone(), entry.view.clone())).collect()
    }

    pub fn versions(&self) -> BTreeSet<(Key, VersionId)> {
        let entries = self.replica.keys.iter();
        let ids = |(key, entry): (&Key, &crate::replica::Entry)| {
            let key = key.clone();
            entry.history.versions().iter().map(move |v| (key.clone(), v.id)).collect::<Vec<_>>()
        };
        entries.flat_map(ids).collect()
    }
}

/// All namespaces of one node.
#[derive(Clone, Default)]
pub struct Stores(pub BTreeMap<Namespace, Store>);

impl session::Replica for Stores {
    fn root(&self, namespace: &Namespace) -> Digest {
        self.0[namespace].root()
    }

    fn branches(&self, namespace: &Namespace) -> Vec<Digest> {
        self.0[namespace].tree.branches().to_vec()
    }

    fn buckets(&self, namespace: &Namespace, branch: u16) -> Vec<Digest> {
        self.0[namespace].tree.buckets(branch).to_vec()
    }

    fn bucket_keys(&self, namespace: &Namespace, bucket: u16) -> Result<Vec<KeyTips>, Refusal> {
        let store = &self.0[namespace];
        let keys = store.buckets.get(&bucket).into_iter().flatten();
        Ok(keys.map(|key| KeyTips { key: key.clone(), tips: store.tips(key) }).collect())
    }

    fn tips(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        Ok(self.0[namespace].tips(key))
    }

    fn missing(
        &self,
        namespace: &Namespace,
        key: &Key,
        have: &[VersionId],
    ) -> Result<Vec<Event>, Refusal> {
        Ok(self.0[namespace].beyond(key, have))
    }

    fn value_bytes_max(&self, namespace: &Namespace) -> usize {
        self.0[namespace].value_bytes_max
    }
}
