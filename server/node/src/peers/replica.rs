//! What a link reads of this node's stores.

use keepboth_core::digest::Digest;
use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::Replica;
use keepboth_core::version::Event;
use keepboth_core::wire::KeyTips;

use super::Spaces;
use crate::namespace::Space;

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

    fn branches(&self, namespace: &Namespace) -> Vec<Digest> {
        self.space(namespace).map(|space| space.store.branches()).unwrap_or_default()
    }

    fn buckets(&self, namespace: &Namespace, branch: u16) -> Vec<Digest> {
        self.space(namespace).map(|space| space.store.buckets(branch)).unwrap_or_default()
    }

    fn bucket_keys(&self, namespace: &Namespace, bucket: u16) -> Result<Vec<KeyTips>, Refusal> {
        let keys = self.space(namespace)?.store.snapshot().bucket_keys(bucket)?;
        Ok(keys.into_iter().map(|(key, tips)| KeyTips { key, tips: tips.to_vec() }).collect())
    }

    fn tips(&self, namespace: &Namespace, key: &Key) -> Result<Vec<VersionId>, Refusal> {
        let state = self.space(namespace)?.store.snapshot().state(key)?;
        Ok(state.map(|state| state.view.tips.to_vec()).unwrap_or_default())
    }

    fn missing(
        &self,
        namespace: &Namespace,
        key: &Key,
        have: &[VersionId],
    ) -> Result<Vec<Event>, Refusal> {
        self.space(namespace)?.store.snapshot().missing(key, have)
    }

    fn value_bytes_max(&self, namespace: &Namespace) -> usize {
        self.space(namespace).map(|space| space.bounds.value_bytes_max).unwrap_or_default()
    }
}
