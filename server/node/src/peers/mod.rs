//! The connections between nodes: dialling, answering, and one link for each pair of nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::namespace::Space;

/// What a link reads of this node's stores.
pub mod replica;
/// The frames of a link, over whichever WebSocket carries them.
pub mod socket;
/// One connection to another node, from greeting to close.
pub mod link;
/// Dialling configured peers, again and again.
pub mod dial;

/// The namespaces of this node, by name.
pub type Spaces = BTreeMap<Namespace, Arc<Space>>;

/// How links behave, from the config.
#[derive(Debug, Clone)]
pub struct Rules {
    /// First pause before dialling again.
    pub reconnect_min: Duration,
    /// Longest pause before dialling again.
    pub reconnect_max: Duration,
    /// How often a difference that exchange does not mend is looked at again.
    pub compare_every: Duration,
    /// Bytes that may wait for a slow peer before live events are left to repair.
    pub outbox_bytes_max: usize,
    /// How often a peer is pinged; two missed end the link.
    pub ping_every: Duration,
    /// How soon the other side must greet.
    pub hello_within: Duration,
}

/// What the operator sees of a peer.
#[derive(Debug, Clone, Default)]
pub struct PeerInfo {
    /// Where it is dialled, if this node dials it.
    pub url: Option<String>,
    /// Who it is, once it has greeted.
    pub node: Option<NodeId>,
    /// True while a link is up.
    pub connected: bool,
    /// Why the last attempt or link ended.
    pub error: Option<String>,
}

/// All links of this node.
pub struct Mesh {
    /// This node.
    pub node: NodeId,
    /// The namespaces that peers may have.
    pub spaces: Spaces,
    /// How links behave.
    pub rules: Rules,
    /// Ends all links.
    pub stop: CancellationToken,
    /// All tasks of links.
    pub tasks: TaskTracker,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    links: Mutex<BTreeMap<NodeId, Entry>>,
    dialled: Mutex<BTreeMap<String, PeerInfo>>,
    changed: Notify,
}

/// The link that stands for a pair of nodes.
struct Entry {
    number: u64,
    dialler: NodeId,
    url: Option<String>,
    stop: CancellationToken,
}

impl Mesh {
    /// A node without links.
    pub fn new(
        node: NodeId,
        spaces: Spaces,
        rules: Rules,
        stop: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Arc<Mesh> {
        Arc::new(Mesh {
            node,
            spaces,
            rules,
            stop,
            tasks: TaskTracker::new(),
            metrics,
            links: Mutex::default(),
            dialled: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Takes up a link whose peer has greeted. Of two links between the same nodes the one that the
    /// smaller node id dialled stays, and of two that the same node dialled the newer; both sides
    /// decide alike. False if this link has to go.
    fn enter(&self, node: NodeId, link: &link::Link) -> bool {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let dialler = if link.url.is_some() { self.node } else { node };
        if let Some(old) = links.get(&node) {
            let newer_wins = old.dialler == dialler || dialler < old.dialler;
            if !newer_wins {
                return false;
            }
            old.stop.cancel();
        }
        let (stop, url) = (link.stop.clone(), link.url.clone());
        links.insert(node, Entry { number: link.number, dialler, url, stop });
        self.metrics.peers_connected.set(links.len() as i64);
        true
    }

    /// Does something for a link, unless another one has taken its place: nobody comes between.
    fn if_current(&self, node: NodeId, number: u64, act: impl FnOnce()) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&node).is_some_and(|entry| entry.number == number) {
            act();
        }
    }

    /// Forgets a link, unless a newer one has taken its place.
    fn leave(&self, node: NodeId, number: u64) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let own = links.get(&node).is_some_and(|entry| entry.number == number);
        if own {
            links.remove(&node);
            self.metrics.peers_connected.set(links.len() as i64);
        }
        drop(links);
        self.changed.notify_waiters();
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).contains_key(node)
    }

    fn note(&self, url: &str, note: impl FnOnce(&mut PeerInfo)) {
        let mut dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        note(dialled.entry(url.to_owned()).or_default());
    }

    /// All peers: the connected ones, and those that are dialled in vain.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let dialled = self.dialled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut peers: Vec<PeerInfo> = links
            .iter()
            .map(|(node, entry)| PeerInfo {
                url: entry.url.clone(),
                node: Some(*node),
                connected: true,
                error: None,
            })
            .collect();
        for (url, info) in dialled.iter() {
            if !info.node.is_some_and(|node| links.contains_key(&node)) {
                let url = Some(url.clone());
                peers.push(PeerInfo { url, connected: false, ..info.clone() });
            }
        }
        peers
    }
}

/// Most characters of what a peer said that the log shows.
const WORDS_MAX: usize = 1_000;

/// Words of a peer for the log: no line breaks, no control characters, and not without end.
fn one_line(words: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    words.chars().take(WORDS_MAX).map(plain).collect()
}
