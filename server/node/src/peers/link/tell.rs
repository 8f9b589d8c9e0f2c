//! What the store's news become for a peer: events made here, and those that reach it by this node only.

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::session::Input;
use keepboth_core::wire::{ConflictNote, ConflictSide, KeyTips};
use keepboth_store::Raised;

use super::Link;
use crate::namespace::news::News;

impl Link {
    pub(super) fn on_news(&mut self, namespace: &Namespace, news: &News) {
        let News::Commit(published) = news else { return };
        let commit = &published.commit;
        for (maker, told) in published.live(self.mesh.node) {
            if !self.tells(maker, namespace) {
                continue;
            }
            self.handle(Input::Made {
                namespace: namespace.clone(),
                sequence: commit.counts.last_sequence,
                root: commit.root,
                maker: *maker,
                told: told.clone(),
                room: self.outbox.bytes() < self.mesh.rules.outbox_bytes_max,
            });
        }
        if !commit.forgotten.is_empty() {
            let keys = commit
                .forgotten
                .iter()
                .map(|(key, tips)| KeyTips { key: key.clone(), tips: tips.clone() });
            let (namespace, keys) = (namespace.clone(), keys.collect());
            self.handle(Input::Forgot { namespace, keys });
        }
        for raised in commit.changes.iter().filter_map(|change| change.conflict.as_ref()) {
            let first = self.spaces.get(namespace).is_some_and(|space| !space.heard(&raised.id));
            if first {
                self.handle(Input::Conflict(note(namespace, raised)));
            }
        }
    }

    /// Commits were missed: nothing up to here counts as told to the peer.
    pub(super) fn on_missed(&mut self, namespace: Namespace) {
        let Some(space) = self.spaces.get(&namespace) else { return };
        let (sequence, root) = (space.store.counts().last_sequence, space.store.root());
        let (maker, told, room) = (self.mesh.node, Vec::new(), false);
        self.handle(Input::Made { namespace, sequence, root, maker, told, room });
    }

    /// True if the peer is to hear from here what this node made.
    fn tells(&self, maker: &NodeId, namespace: &Namespace) -> bool {
        *maker == self.mesh.node
            || self.peer != Some(*maker) && self.reaches_by_me(maker, namespace)
    }

    fn reaches_by_me(&self, maker: &NodeId, namespace: &Namespace) -> bool {
        let route = self.mesh.roster().members.route(maker, namespace);
        self.peer.is_some_and(|peer| route.contains(&peer))
    }
}

fn note(namespace: &Namespace, raised: &Raised) -> ConflictNote {
    let sides = raised.sides.iter().map(|side| ConflictSide {
        version: side.version,
        branch: side.address.branch,
        origin: side.origin,
    });
    ConflictNote {
        namespace: namespace.clone(),
        key: raised.key.clone(),
        id: raised.id,
        base: raised.base,
        sides: sides.collect(),
    }
}
