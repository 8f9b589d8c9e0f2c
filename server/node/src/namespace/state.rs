//! Whether a store is empty, not synced or synced, and why.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use keepboth_core::digest::Digest;
use keepboth_core::ids::NodeId;
use keepboth_core::session::Standing;

use super::Space;

/// The states of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// No history.
    #[default]
    Empty,
    /// Histories, and no peer connected, or one that differs or has not acknowledged everything.
    NotSynced,
    /// Histories, at least one peer connected, and all connected ones show the same digest.
    Synced,
}

impl Level {
    /// The state's name in frames.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Empty => "empty",
            Level::NotSynced => "not_synced",
            Level::Synced => "synced",
        }
    }
}

/// A state with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Which.
    pub level: Level,
    /// Why, in words.
    pub reason: String,
}

/// What is known of one connected peer that has the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStanding {
    /// Its digest and what is under way, as its session last knew.
    pub standing: Standing,
    /// Where it was dialled, if this node dialled it.
    pub url: Option<String>,
}

impl PeerStanding {
    /// Nothing is under way and its digest is this one.
    pub fn agrees(&self, root: Digest) -> bool {
        self.standing.settled && self.standing.theirs == Some(root)
    }
}

/// The rules of the states.
pub fn state(keys: u64, root: Digest, peers: &BTreeMap<NodeId, PeerStanding>) -> State {
    if keys == 0 {
        return State { level: Level::Empty, reason: "no history".into() };
    }
    if peers.is_empty() {
        return State { level: Level::NotSynced, reason: "no peer is connected".into() };
    }
    let differing = peers.iter().filter(|(_, peer)| !peer.agrees(root));
    let reasons: Vec<String> = differing.map(|(node, peer)| why(node, peer, root)).collect();
    if reasons.is_empty() {
        return State { level: Level::Synced, reason: "all connected peers agree".into() };
    }
    State { level: Level::NotSynced, reason: reasons.join("; ") }
}

fn why(node: &NodeId, peer: &PeerStanding, root: Digest) -> String {
    let node = &node.to_string()[..8];
    match peer.standing {
        Standing { theirs: None, .. } => format!("peer {node} has not shown its digest yet"),
        Standing { behind, .. } if behind > 0 => {
            format!("peer {node} is {behind} behind in acknowledging events")
        }
        Standing { theirs: Some(theirs), .. } if theirs != root => {
            format!("peer {node} shows another digest")
        }
        _ => format!("exchanging with peer {node}"),
    }
}

impl Space {
    /// Takes up where a peer stands, or that it is gone.
    pub fn set_peer(&self, node: NodeId, standing: Option<PeerStanding>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match standing {
            Some(standing) => peers.insert(node, standing.clone()) != Some(standing),
            None => peers.remove(&node).is_some(),
        };
        drop(peers);
        if changed {
            self.moved.notify_one();
        }
    }

    /// The connected peers that have this namespace.
    pub fn peers(&self) -> BTreeMap<NodeId, PeerStanding> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state at this moment.
    pub fn state(&self) -> State {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        state(self.store.counts().keys, self.store.root(), &peers)
    }

    /// Tells every change of state to whom it concerns, until the task is ended. Changes that come
    /// while one is being told are told as one.
    pub async fn tell_states(&self) {
        let mut last = self.state();
        loop {
            self.moved.notified().await;
            let now = self.state();
            if now.level != last.level {
                tracing::info!(
                    namespace = self.name.as_str(),
                    "{} -> {}: {}",
                    last.level.as_str(),
                    now.level.as_str(),
                    now.reason
                );
                self.tell_state(last.level, &now);
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes(&[byte; 32])
    }

    fn peer(theirs: Option<Digest>, behind: u64) -> PeerStanding {
        let standing = Standing { theirs, behind, settled: behind == 0, ..Standing::default() };
        PeerStanding { standing, url: None }
    }

    fn at(keys: u64, peers: &[PeerStanding]) -> State {
        let peers = peers.iter().enumerate().map(|(n, peer)| (NodeId([n as u8; 32]), peer.clone()));
        state(keys, digest(1), &peers.collect())
    }

    #[test]
    fn a_store_without_history_is_empty_whoever_is_connected() {
        assert_eq!(at(0, &[]).level, Level::Empty);
        assert_eq!(at(0, &[peer(Some(digest(1)), 0)]).level, Level::Empty);
    }

    #[test]
    fn a_store_is_synced_when_every_connected_peer_agrees() {
        let same = peer(Some(digest(1)), 0);
        assert_eq!(at(1, std::slice::from_ref(&same)).level, Level::Synced);
        assert_eq!(at(1, &[same.clone(), same]).level, Level::Synced);
    }

    #[test]
    fn any_difference_is_not_synced_with_its_reason() {
        let same = peer(Some(digest(1)), 0);
        for (peers, why) in [
            (vec![], "no peer is connected"),
            (vec![same.clone(), peer(None, 0)], "peer 01010101 has not shown its digest yet"),
            (vec![same.clone(), peer(Some(digest(2)), 0)], "peer 01010101 shows another digest"),
            (
                vec![peer(Some(digest(1)), 3), same],
                "peer 00000000 is 3 behind in acknowledging events",
            ),
        ] {
            let state = at(1, &peers);
            assert_eq!((state.level, state.reason.as_str()), (Level::NotSynced, why));
        }
    }
}
