//! Counters and gauges in the OpenMetrics text format that Prometheus reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use keepboth_core::ids::NodeId;
use keepboth_core::refusal::Code;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::meters::PluginMetrics;
use crate::namespace::Spaces;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNamespace {
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    namespace: String,
    state: &'static str,
}

/// A node is shown by the beginning of its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPeer {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMethod {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: CodeLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CodeLabel(Code);

impl EncodeLabelValue for CodeLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}

/// Where another member of the mesh stands at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerFigures {
    /// Who it is.
    pub node: NodeId,
    /// True while a link to it is up.
    pub connected: bool,
    /// True if the link makes no progress.
    pub stalled: bool,
    /// Events that it has not acknowledged, in all namespaces.
    pub behind: u64,
    /// The last round trip.
    pub round_trip_seconds: Option<f64>,
}

/// Everything that the server counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ByMethod, Counter>,
    refused: Family<ByCode, Counter>,
    peer_refused: Family<ByCode, Counter>,
    objects: Family<ByNamespace, Gauge>,
    keys: Family<ByNamespace, Gauge>,
    conflicts: Family<ByNamespace, Gauge>,
    trash: Family<ByNamespace, Gauge>,
    sequence: Family<ByNamespace, Gauge>,
    quarantined: Family<ByNamespace, Gauge>,
    unfit: Family<ByNamespace, Gauge>,
    journal_bytes: Family<ByNamespace, Gauge>,
    synced: Family<ByNamespace, Gauge>,
    writable: Family<ByNamespace, Gauge>,
    peer_connected: Family<ByPeer, Gauge>,
    peer_stalled: Family<ByPeer, Gauge>,
    peer_behind: Family<ByPeer, Gauge>,
    peer_round_trip: Family<ByPeer, Gauge<f64, AtomicU64>>,
    state_changes: Family<ByState, Counter>,
    /// One scrape at a time, so that none finds the figures of a namespace half taken out.
    scrape: Mutex<()>,
    /// What plugins cost and count.
    pub plugins: PluginMetrics,
    /// Client connections that are open.
    pub connections: Gauge,
    /// Client connections that were turned away.
    pub connections_refused: Counter,
    /// Watches that are open.
    pub watches: Gauge,
    /// Links to other nodes that are up.
    pub peers_connected: Gauge,
    /// How often a link was found to make no progress.
    pub stalls: Counter,
    /// Oddities that peers caused and that were logged.
    pub peer_warnings: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("keepboth"),
            requests: Family::default(),
            refused: Family::default(),
            peer_refused: Family::default(),
            objects: Family::default(),
            keys: Family::default(),
            conflicts: Family::default(),
            trash: Family::default(),
            sequence: Family::default(),
            quarantined: Family::default(),
            unfit: Family::default(),
            journal_bytes: Family::default(),
            synced: Family::default(),
            writable: Family::default(),
            peer_connected: Family::default(),
            peer_stalled: Family::default(),
            peer_behind: Family::default(),
            peer_round_trip: Family::default(),
            state_changes: Family::default(),
            scrape: Mutex::default(),
            plugins: PluginMetrics::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            watches: Gauge::default(),
            peers_connected: Gauge::default(),
            stalls: Counter::default(),
            peer_warnings: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        self.plugins.register(registry);
        registry.register("requests", "Requests of clients, by method", self.requests.clone());
        registry.register("refused", "Requests refused, by code", self.refused.clone());
        registry.register("peer_refused", "Links closed for bad input", self.peer_refused.clone());
        registry.register("peer_stalls", "Links that made no progress", self.stalls.clone());
        registry.register("peer_warnings", "Oddities of peers", self.peer_warnings.clone());
        registry.register("objects", "Objects that readers see", self.objects.clone());
        registry.register("keys", "Keys with a history", self.keys.clone());
        registry.register("conflicts", "Keys in conflict", self.conflicts.clone());
        registry.register("trash", "Keys in the trash", self.trash.clone());
        let quarantined = self.quarantined.clone();
        registry.register("quarantined", "Versions that readers do not see", quarantined);
        registry.register("unfit", "Objects that break the schemas", self.unfit.clone());
        registry.register(
            "journal_bytes",
            "Bytes of the journal that a start after a crash would read",
            self.journal_bytes.clone(),
        );
        let connected = self.peer_connected.clone();
        registry.register("peer_connected", "1 while a link to the node is up", connected);
        let stalled = self.peer_stalled.clone();
        registry.register("peer_stalled", "1 if the link makes no progress", stalled);
        let behind = self.peer_behind.clone();
        registry.register("peer_behind", "Events that the node has not acknowledged", behind);
        registry.register_with_unit(
            "peer_round_trip",
            "The last round trip",
            Unit::Seconds,
            self.peer_round_trip.clone(),
        );
        registry.register("sequence", "Versions written so far", self.sequence.clone());
        registry.register("synced", "1 if all connected peers agree", self.synced.clone());
        let writable = self.writable.clone();
        registry.register("writable", "0 while the disk is full or failed", writable);
        registry.register("state_changes", "States entered", self.state_changes.clone());
        registry.register("connections", "Open client connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Client connections turned away",
            self.connections_refused.clone(),
        );
        registry.register("watches", "Open watches", self.watches.clone());
        registry.register("peers_connected", "Links that are up", self.peers_connected.clone());
    }

    /// Counts a request.
    pub fn request(&self, method: &'static str) {
        self.requests.get_or_create(&ByMethod { method }).inc();
    }

    /// Counts a refusal to a client.
    pub fn refused(&self, code: Code) {
        self.refused.get_or_create(&ByCode { code: CodeLabel(code) }).inc();
    }

    /// Counts a link that was closed for what the peer sent.
    pub fn peer_refused(&self, code: Code) {
        self.peer_refused.get_or_create(&ByCode { code: CodeLabel(code) }).inc();
    }

    /// The text for a scrape, with the figures of namespaces and other nodes of this moment.
    pub fn text(&self, spaces: &Spaces, peers: &[PeerFigures]) -> String {
        let _scrape = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget();
        peers.iter().for_each(|peer| self.set_peer(peer));
        for space in spaces.values() {
            let label = ByNamespace { namespace: space.name.to_string() };
            let counts = space.store.counts();
            let set = |family: &Family<ByNamespace, Gauge>, n: u64| {
                family.get_or_create(&label).set(i64::try_from(n).unwrap_or(i64::MAX));
            };
            set(&self.objects, counts.objects);
            set(&self.keys, counts.keys);
            set(&self.conflicts, counts.conflicts);
            set(&self.trash, counts.trash);
            set(&self.quarantined, counts.quarantined);
            set(&self.unfit, space.unfit().summary().unfit);
            set(&self.journal_bytes, space.store.journal_bytes());
            set(&self.sequence, counts.last_sequence);
            set(&self.synced, u64::from(space.state().level.as_str() == "synced"));
            set(&self.writable, u64::from(space.store.trouble().is_none()));
            for (level, count) in space.state_changes() {
                let label = ByState { namespace: space.name.to_string(), state: level.as_str() };
                self.state_changes.get_or_create(&label).inner().store(count, Ordering::Relaxed);
            }
        }
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn set_peer(&self, peer: &PeerFigures) {
        let mut node = peer.node.to_string();
        node.truncate(8);
        let label = ByPeer { node };
        let behind = i64::try_from(peer.behind).unwrap_or(i64::MAX);
        self.peer_connected.get_or_create(&label).set(peer.connected.into());
        self.peer_stalled.get_or_create(&label).set(peer.stalled.into());
        self.peer_behind.get_or_create(&label).set(behind);
        if let Some(seconds) = peer.round_trip_seconds {
            self.peer_round_trip.get_or_create(&label).set(seconds);
        }
    }

    /// A namespace or node that is gone shows no figures; those that are there are filled in anew.
    fn forget(&self) {
        for gauges in [
            &self.objects,
            &self.keys,
            &self.conflicts,
            &self.trash,
            &self.quarantined,
            &self.unfit,
            &self.journal_bytes,
            &self.sequence,
            &self.synced,
            &self.writable,
        ] {
            gauges.clear();
        }
        for gauges in [&self.peer_connected, &self.peer_stalled, &self.peer_behind] {
            gauges.clear();
        }
        self.peer_round_trip.clear();
        self.state_changes.clear();
    }
}
