//! What the operator sees of every member: its link, what it shares, where it stands, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use keepboth_core::ids::NodeId;
use keepboth_core::mesh::Grant;
use keepboth_core::name::Namespace;

use super::{Mesh, lock};
use crate::clock;
use crate::namespace::Space;
use crate::protocol::{Member, PeerStatus, Shared, Stalled};

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

    /// The peers that have the namespace, and those that may have it and are not connected. Each is told of
    /// once, also while its link begins or ends.
    pub fn peers_of(&self, space: &Space) -> Vec<PeerStatus> {
        let links = lock(&self.links);
        let mut peers = space.peer_statuses();
        let shown = links.iter().filter(|(_, entry)| entry.shown).map(|(node, _)| *node);
        let shown: BTreeSet<NodeId> = shown.chain(peers.iter().filter_map(|p| p.node)).collect();
        drop(links);
        if !space.setup().bounds.replicate {
            return peers;
        }
        let members = self.report().into_iter();
        let others = members.filter(|member| {
            member.node.is_none_or(|node| !shown.contains(&node))
                && self.may_have(member, &space.name)
        });
        peers.extend(others.map(|member| PeerStatus {
            node: member.node,
            url: member.urls.first().cloned(),
            connected: false,
            agrees: false,
            behind: 0,
            stalled: None,
            error: member.error,
            last_exchange: None,
        }));
        peers
    }

    /// True if a member may have this namespace and, as far as is known, has it.
    fn may_have(&self, member: &Member, namespace: &Namespace) -> bool {
        let Some(node) = member.node else { return true };
        let has = member.namespaces.iter().any(|shared| shared.ns == *namespace);
        member.admitted && (has || self.roster().members.about(&node).is_none())
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
            member.round_trip_us =
                entry.round_trip.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            member.stalled = entry.stall.map(|stall| Stalled {
                since: clock::from_steady(stall.since),
                blocked_on: stall.blocked.words().to_owned(),
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
                ns: space.name.clone(),
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
