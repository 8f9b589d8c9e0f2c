//! What operators ask about the other nodes, and decide on them.

use std::time::Duration;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use tokio_util::sync::CancellationToken;

use super::Clients;
use crate::clock;
use crate::metrics::PeerFigures;
use crate::namespace::Space;
use crate::protocol::{Acks, Answer, Estimate, ITEMS_BYTES_MAX, Member, Members, Page, SHARED_MAX};

impl Clients {
    /// True if a copy of this node runs elsewhere.
    pub(super) fn has_twin(&self) -> bool {
        self.mesh.roster().members.has_twin()
    }

    /// Where each other member stands, for the metrics.
    pub fn peer_figures(&self) -> Vec<PeerFigures> {
        let members = self.mesh.report().into_iter().filter(|member| member.admitted);
        let figures = members.filter_map(|member| {
            Some(PeerFigures {
                node: member.node?,
                connected: member.connected_since.is_some(),
                stalled: member.stalled.is_some(),
                behind: member.namespaces.iter().map(|shared| shared.behind).sum(),
                round_trip_seconds: member.round_trip_us.map(|us| us as f64 / 1_000_000.0),
            })
        });
        figures.collect()
    }

    /// A page of the other members.
    pub fn peers(&self, after: Option<&str>, limit: Option<usize>) -> Answer {
        let most = limit.unwrap_or(usize::MAX).clamp(1, self.limits.load().page_items_max);
        let mut members: Vec<Member> = self.mesh.report().into_iter().map(fitting).collect();
        members.sort_by_cached_key(name);
        members.retain(|member| after.is_none_or(|after| name(member).as_str() > after));
        let (mut bytes, mut fitting) = (0, 0);
        for member in &members {
            bytes += member.bytes_estimate();
            if fitting == most || (fitting > 0 && bytes > ITEMS_BYTES_MAX) {
                break;
            }
            fitting += 1;
        }
        let next = (fitting < members.len()).then(|| name(&members[fitting - 1]));
        members.truncate(fitting);
        let page = Page { items: members, next };
        Answer::Peers(Members { node: self.node, twin: self.has_twin(), page })
    }

    /// Makes an invitation.
    pub(super) fn invite(
        &self,
        namespaces: Option<Vec<Namespace>>,
        expires_ms: u64,
    ) -> Result<Answer, Refusal> {
        let expires = clock::now().saturating_add(expires_ms);
        let token = self.mesh.invite(namespaces, expires)?;
        Ok(Answer::Invited { token: token.to_string(), expires })
    }

    /// Admits a node, unless it is a member with the same rights.
    pub(super) fn peer_add(
        &self,
        node: NodeId,
        namespaces: Option<Vec<Namespace>>,
    ) -> Result<Answer, Refusal> {
        let grant = self.mesh.roster().members.grant(&node).cloned();
        let same = grant.is_some_and(|grant| grant.admitted && grant.namespaces == namespaces);
        if !same || node == self.node {
            self.mesh.decide(node, true, namespaces)?;
        }
        Ok(Answer::PeerAdded { node, added: !same })
    }

    /// Removes a node that is or was a member.
    pub(super) fn peer_rm(&self, node: NodeId) -> Result<Answer, Refusal> {
        let grant = self.mesh.roster().members.grant(&node).cloned();
        if grant.is_none() && node != self.node {
            let words = format!("the node {node} is no member of this mesh");
            return Err(Refusal::new(Code::NotFound, words).hint("`keepboth peer ls` lists them"));
        }
        let removed = grant.is_none_or(|grant| grant.admitted);
        if removed {
            self.mesh.decide(node, false, None)?;
        }
        Ok(Answer::PeerRemoved { node, removed })
    }

    /// Whether a version is everywhere, as far as it is known in time, or when the connection ends.
    pub(super) async fn acks(
        &self,
        ns: &Namespace,
        name: &Name,
        version: Option<VersionId>,
        within_ms: u64,
        left: &CancellationToken,
    ) -> Result<Answer, Refusal> {
        let space = self.space(ns)?;
        let (key, version) = which(&space, name, version)?;
        let within = Duration::from_millis(within_ms);
        let members = tokio::select! {
            biased;
            members = self.mesh.acks(&space, &key, version, within) => members?,
            () = left.cancelled() => self.mesh.acks(&space, &key, version, Duration::ZERO).await?,
        };
        Ok(Answer::Acks(Acks { key, version, members }))
    }
}

/// The version that is meant; without one, what the name shows now, or the delete that emptied it.
fn which(
    space: &Space,
    name: &Name,
    version: Option<VersionId>,
) -> Result<(Key, VersionId), Refusal> {
    let snapshot = space.store.snapshot();
    match (version, name) {
        (Some(version), Name::Key(key)) => Ok((key.clone(), version)),
        (Some(version), Name::Address(_)) => {
            let key = snapshot.key_of(name)?;
            let key = key.ok_or_else(|| Refusal::not_found(&name.to_string()))?;
            Ok((key, version))
        }
        (None, _) => match snapshot.get(name) {
            Ok(found) => Ok((found.key, found.version)),
            Err(refusal) => {
                let deleted = match (refusal.code, name) {
                    (Code::NotFound, Name::Key(key)) => snapshot.state(key)?,
                    _ => None,
                };
                let deleted = deleted.and_then(|state| state.deleted.map(|by| (state.key, by)));
                deleted.map(|(key, by)| (key, by.version)).ok_or(refusal)
            }
        },
    }
}

/// Under what a member is found in the list: its id, or where it is dialled.
fn name(member: &Member) -> String {
    let url = || member.urls.first().cloned().unwrap_or_default();
    member.node.map_or_else(url, |node| node.to_string())
}

fn fitting(mut member: Member) -> Member {
    let namespaces = &mut member.namespaces;
    if namespaces.len() > SHARED_MAX {
        namespaces.sort_by_key(|shared| shared.agrees);
        namespaces.truncate(SHARED_MAX);
    }
    member
}
