//! How the node and its namespaces are.

use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;

use super::Clients;
use crate::clock;
use crate::namespace::{Space, news};
use crate::protocol::{NamespaceStatus, PeerStatus, Status};

impl Clients {
    /// The status of the node, with one or all namespaces.
    pub fn status(&self, only: Option<&Namespace>) -> Result<Status, Refusal> {
        let namespaces = match only {
            Some(name) => vec![self.namespace_status(self.space(name)?)],
            None => self.spaces.values().map(|space| self.namespace_status(space)).collect(),
        };
        Ok(Status {
            node: self.node,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: clock::steady().saturating_sub(self.started) / 1000,
            namespaces,
            connections: usize::try_from(self.metrics.connections.get()).unwrap_or_default(),
        })
    }

    fn namespace_status(&self, space: &Space) -> NamespaceStatus {
        let (state, counts) = (space.state(), space.store.counts());
        NamespaceStatus {
            name: space.name.clone(),
            state: news::level(state.level),
            reason: state.reason,
            keys: counts.keys,
            objects: counts.objects,
            conflicts: counts.conflicts,
            trash: counts.trash,
            sequence: counts.last_sequence,
            store: space.id(),
            peers: self.peers(space),
        }
    }

    /// The peers that have the namespace, and those that are dialled in vain.
    fn peers(&self, space: &Space) -> Vec<PeerStatus> {
        let mut peers = space.peer_statuses();
        if !space.bounds.replicate {
            return peers;
        }
        for info in self.mesh.peers().into_iter().filter(|info| !info.connected) {
            peers.push(PeerStatus {
                node: info.node,
                url: info.url,
                connected: false,
                agrees: false,
                behind: 0,
                error: info.error,
                last_exchange: None,
            });
        }
        peers
    }
}
