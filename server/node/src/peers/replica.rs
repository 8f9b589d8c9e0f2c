//! What a link reads of this node's stores.

use keepboth_core::digest::{Digest, FANOUT, Prefix};
use keepboth_core::history::History;
use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Entry, Held, Histories, Replica};
use keepboth_core::version::Event;

use crate::namespace::{Space, Spaces};

/// The shared namespaces, as a session reads them.
pub struct Stores<'s>(pub &'s Spaces);

impl Stores<'_> {
    fn space(&self, namespace: &Namespace) -> Result<&Space, Refusal> {
        let space = self.0.get(namespace).map(AsRef::as_ref);
        space.ok_or_else(|| {
            Refusal::new(Code::UnknownNamespace, format!("no namespace {namespace} here"))
        })
    }
}

impl Replica for Stores<'_> {
    fn root(&self, namespace: &Namespace) -> Digest {
        self.space(namespace).map(|space| space.store.root()).unwrap_or_default()
    }

    fn sequence(&self, namespace: &Namespace) -> u64 {
        self.space(namespace).map(|space| space.store.counts().last_sequence).unwrap_or_default()
    }

    fn sequence_of(&self, namespace: &Namespace, root: &Digest) -> Option<u64> {
        self.space(namespace).ok()?.store.sequence_of(root)
    }

    fn children(&self, namespace: &Namespace, prefix: Prefix) -> Result<[Digest; FANOUT], Refusal> {
        self.space(namespace)?.store.snapshot().children(prefix)
    }

    fn entries(
        &self,
        namespace: &Namespace,
        prefix: Prefix,
        most: usize,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        self.space(namespace)?.store.snapshot().entries(prefix, most)
    }

    fn key_of(&self, namespace: &Namespace, hash: &[u8; 16]) -> Result<Option<Key>, Refusal> {
        self.space(namespace)?.store.snapshot().key_of_hash(hash)
    }

    fn held(&self, namespace: &Namespace, key: &Key) -> Result<Option<Held>, Refusal> {
        self.space(namespace)?.store.snapshot().held(key)
    }

    fn history(&self, namespace: &Namespace, key: &Key) -> Result<Option<History>, Refusal> {
        self.space(namespace)?.store.snapshot().load_history(key)
    }

    fn known(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        self.space(namespace)?.store.snapshot().known(key)
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
        self.space(namespace)?.store.snapshot().missing_page(key, have, known, after, bytes)
    }

    fn page(
        &self,
        namespace: &Namespace,
        first: [u8; 16],
        last: [u8; 16],
        bytes: usize,
    ) -> Result<Histories, Refusal> {
        self.space(namespace)?.store.snapshot().page(first, last, bytes)
    }
}
