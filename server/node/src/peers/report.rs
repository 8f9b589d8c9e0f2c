//! What the operator sees of every member: its link, what it shares, where it stands, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::ids::NodeId;
use keepboth_core::mesh::Grant;
use keepboth_core::name::Namespace;

use super::{Mesh, lock};
use crate::clock;

/// One member, or one URL at which nobody has answered yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Member {
    /// Who it is, once that is known.
    pub node: Option<NodeId>,
    /// Where it is dialled, or says it can be.
    pub urls: Vec<String>,
    /// Its software and version, as it last said.
    pub agent: Option<String>,
    /// False if it was removed from the mesh.
    pub admitted: bool,
    /// The namespaces that it may have; None for all.
    pub granted: Option<Vec<Namespace>>,
    /// Since when it is connected, in milliseconds since 1970; None if it is not.
    pub connected_since: Option<u64>,
    /// The last round trip, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Why it makes no progress.
    pub stalled: Option<Stalled>,
    /// Why the last attempt or link ended.
    pub error: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub error_at: Option<u64>,
    /// True if it was ever heard of which namespaces it has.
    pub is_known: bool,
    /// What it shares with this node.
    pub namespaces: Vec<Shared>,
}

impl Member {
    /// True if it may have this namespace and, as far as is known, has it.
    pub fn may_have(&self, namespace: &Namespace) -> bool {
        let has = self.namespaces.iter().any(|shared| shared.namespace == *namespace);
        self.node.is_none() || (self.admitted && (has || !self.is_known))
    }
}

/// A member that makes no progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// For what the link waits.
    pub blocked_on: &'static str,
    /// Events that it has not acknowledged.
    pub behind: u64,
}

/// A namespace that a member shares with this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its name.
    pub namespace: Namespace,
    /// Both show the same digest, and nothing is on its way. Always false while it is not connected.
    pub agrees: bool,
    /// Events that it has not acknowledged.
    pub behind: u64,
    /// It has everything that this node has up to this sequence; None if that was never seen.
    pub agreed: Option<u64>,
    /// When it was last there, in milliseconds since 1970.
    pub seen: Option<u64>,
    /// True if it was silent for so long that it holds nobody back any more.
    pub expired: bool,
    /// The parts of the policy in which it differs from this node: schema, limits, hooks, retention.
    pub policy_differs: Vec<&'static str>,
}

impl Mesh {
    /// Every member but this node, and every URL at which nobody has answered yet.
    pub fn report(&self) -> Vec<Member> {
        let dialled = lock(&self.dialled).clone();
        let grants: Vec<Grant> = {
            let roster = self.roster();
            roster.members.grants().filter(|grant| grant.node != self.node).cloned().collect()
        };
        let members: Vec<Member> = grants.into_iter().map(|grant| self.member(grant)).collect();
        // Where a member says it is, the error is shown with the member.
        let placed: BTreeSet<String> = members.iter().flat_map(|m| m.urls.clone()).collect();
        let unknown = dialled.iter().filter(|(_, dialled)| dialled.node.is_none());
        let unknown = unknown.filter(|(url, _)| !placed.contains(*url));
        let unknown = unknown.map(|(url, dialled)| Member {
            urls: vec![url.clone()],
            error: dialled.error.clone(),
            error_at: dialled.error.is_some().then_some(dialled.at),
            ..Member::default()
        });
        members.into_iter().chain(unknown).collect()
    }

    fn member(&self, grant: Grant) -> Member {
        let node = grant.node;
        let mut member = Member {
            node: Some(node),
            admitted: grant.admitted,
            granted: grant.namespaces.clone(),
            ..Member::default()
        };
        if let Some(about) = self.roster().members.about(&node) {
            member.is_known = true;
            member.urls.clone_from(&about.addresses);
            member.agent = Some(about.agent.clone()).filter(|agent| !agent.is_empty());
        }
        self.errors(&node, &mut member);
        member.namespaces = self.shared(&grant);
        let behind = member.namespaces.iter().map(|shared| shared.behind).sum();
        if let Some(entry) = lock(&self.links).get(&node) {
            member.urls.extend(entry.url.clone().filter(|url| !member.urls.contains(url)));
            member.agent = Some(entry.agent.clone());
            member.connected_since = Some(entry.since);
            member.round_trip_ms = entry.round_trip.map(|took| took.as_secs_f64() * 1_000.0);
            member.stalled = entry.stall.map(|stall| Stalled {
                since: clock::from_steady(stall.since),
                blocked_on: stall.blocked.words(),
                behind,
            });
        }
        member
    }

    /// Why the last link ended, or, if that is newer, why it cannot be dialled.
    fn errors(&self, node: &NodeId, member: &mut Member) {
        let dialled: BTreeMap<_, _> = lock(&self.dialled).clone();
        let ended = lock(&self.ended).get(node).cloned();
        let here = |(url, dialled): &(&String, &super::Dialled)| {
            dialled.node == Some(*node) || member.urls.contains(url)
        };
        let tried = dialled.iter().filter(here).map(|(_, dialled)| dialled.clone());
        let last = tried.chain(ended).filter(|d| d.error.is_some()).max_by_key(|d| d.at);
        if let Some(last) = last {
            (member.error, member.error_at) = (last.error, Some(last.at));
        }
    }

    fn shared(&self, grant: &Grant) -> Vec<Shared> {
        let (now, expire) = (clock::now(), self.rules.expire.as_millis());
        let about = self.roster().members.about(&grant.node).cloned();
        let hosted = about.map(|about| about.namespaces).unwrap_or_default();
        let all = self.namespaces.shared();
        let spaces = all.values();
        let spaces = spaces.filter(|s| grant.allows(&s.name) && hosted.contains(&s.name));
        let shared = spaces.map(|space| {
            let peer = space.peers().get(&grant.node).cloned();
            let mark = space.marks().get(&grant.node);
            let seen = mark.map_or(grant.at, |mark| mark.at);
            Shared {
                namespace: space.name.clone(),
                agrees: peer.as_ref().is_some_and(|peer| peer.agrees(space.store.root())),
                behind: peer.as_ref().map_or(0, |peer| peer.standing.behind),
                agreed: mark.map(|mark| mark.agreed),
                seen: mark.map(|mark| mark.at),
                expired: peer.is_none() && u128::from(now.saturating_sub(seen)) > expire,
                policy_differs: peer
                    .map(|peer| space.policy().differs(&peer.standing.policy))
                    .unwrap_or_default(),
            }
        });
        shared.collect()
    }
}
