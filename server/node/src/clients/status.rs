//! How the node and its namespaces are.

use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;

use super::Clients;
use crate::clock;
use crate::gates::Access;
use crate::namespace::{Space, news};
use crate::protocol::{NamespaceStatus, PluginsTold, Status};

impl Clients {
    /// The status of the node, with one namespace or all that the client may know. What hooks cost is told of
    /// one only, for the answer is one frame.
    pub fn status(&self, only: Option<&Namespace>, access: &Access) -> Result<Status, Refusal> {
        let namespaces = match only {
            Some(name) => vec![self.namespace_status(self.space(name)?.as_ref())],
            None => {
                let all = self.namespaces.all();
                let known = all.values().filter(|space| access.knows(&space.name));
                known.map(|space| self.namespace_status(space)).map(without_hooks).collect()
            }
        };
        Ok(Status {
            node: self.node,
            twin: self.has_twin(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: clock::steady().saturating_sub(self.started) / 1000,
            namespaces,
            connections: usize::try_from(self.metrics.connections.get()).unwrap_or_default(),
            plugins: match access.need_admin() {
                Ok(()) => {
                    let mut told = self.gates.load().told();
                    told.warnings.extend(self.not_taken.load().warnings());
                    told
                }
                Err(_) => PluginsTold::default(),
            },
        })
    }

    pub(super) fn namespace_status(&self, space: &Space) -> NamespaceStatus {
        let (state, counts) = (space.state(), space.store.counts());
        let mut plugins = space.setup().chain.told();
        let trouble = space.store.trouble().map(|refusal| format!("store: {}", refusal.message));
        plugins.warnings.extend(trouble);
        NamespaceStatus {
            name: space.name.clone(),
            state: news::level(state.level),
            reason: state.reason,
            keys: counts.keys,
            objects: counts.objects,
            conflicts: counts.conflicts,
            trash: counts.trash,
            quarantined: counts.quarantined,
            unfit: space.unfit().summary().unfit,
            plugins,
            sequence: counts.last_sequence,
            store: space.id(),
            peers: self.mesh.peers_of(space),
        }
    }
}

fn without_hooks(mut status: NamespaceStatus) -> NamespaceStatus {
    status.plugins.hooks.clear();
    status
}
