//! Whether a store is empty, not synced or synced, and why.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use keepboth_core::digest::Digest;
use keepboth_core::ids::NodeId;
pub use keepboth_core::plugin::Level;
use keepboth_core::plugin::StateChange;
use keepboth_core::session::Standing;
use tokio::sync::futures::Notified;

use super::Space;
use super::stall::Stall;
use crate::clock;

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
    /// Why the link makes no progress.
    pub stall: Option<Stall>,
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
    if let Some(stall) = &peer.stall {
        let (behind, blocked) = (peer.standing.behind, stall.blocked.words());
        let since = clock::time_of_day(clock::from_steady(stall.since));
        return format!(
            "peer {node} is stalled: {behind} events behind since {since}, blocked on {blocked}"
        );
    }
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
        if let Some(PeerStanding { standing, .. }) = &standing {
            self.marks.note(node, standing, clock::now());
        }
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match standing {
            Some(standing) => peers.insert(node, standing.clone()) != Some(standing),
            None => peers.remove(&node).is_some(),
        };
        drop(peers);
        if changed {
            self.moved.notify_one();
            self.peers_moved.notify_waiters();
        }
    }

    /// The connected peers that have this namespace.
    pub fn peers(&self) -> BTreeMap<NodeId, PeerStanding> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends when a peer's standing has changed since this was called.
    pub fn peers_moved(&self) -> Notified<'_> {
        self.peers_moved.notified()
    }

    /// The state at this moment. Whoever sees a state that nobody was told of tells it: who asks now
    /// and waits for the next change then misses none.
    pub fn state(&self) -> State {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state(self.store.counts().keys, self.store.root(), &peers);
        drop(peers);
        let before = last.replace(now.level);
        match before {
            Some(before) if before != now.level => self.tell_change(before, &now),
            _ => {}
        }
        now
    }

    fn tell_change(&self, before: Level, now: &State) {
        tracing::info!(
            namespace = self.name.as_str(),
            "{} -> {}: {}",
            before.as_str(),
            now.level.as_str(),
            now.reason
        );
        self.entered[now.level as usize].fetch_add(1, Ordering::Relaxed);
        self.tell_state(before, now);
        let (namespace, reason) = (self.name.clone(), now.reason.clone());
        self.after.tell(StateChange { namespace, before, now: now.level, reason });
    }

    /// Looks at the state whenever something has moved, until the task is ended.
    pub async fn tell_states(&self) {
        loop {
            self.state();
            self.moved.notified().await;
        }
    }

    /// How often each state was entered since the namespace was opened.
    pub fn state_changes(&self) -> [(Level, u64); 3] {
        Level::ALL.map(|level| (level, self.entered[level as usize].load(Ordering::Relaxed)))
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
        PeerStanding { standing, url: None, stall: None }
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
