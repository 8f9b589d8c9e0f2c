//! Counters and gauges in the OpenMetrics text format that Prometheus reads.

use keepboth_core::refusal::Code;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::namespace::Space;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNamespace {
    namespace: String,
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
    synced: Family<ByNamespace, Gauge>,
    /// Client connections that are open.
    pub connections: Gauge,
    /// Client connections that were turned away.
    pub connections_refused: Counter,
    /// Watches that are open.
    pub watches: Gauge,
    /// Links to other nodes that are up.
    pub peers_connected: Gauge,
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
            synced: Family::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            watches: Gauge::default(),
            peers_connected: Gauge::default(),
            peer_warnings: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests of clients, by method", self.requests.clone());
        registry.register("refused", "Requests refused, by code", self.refused.clone());
        registry.register("peer_refused", "Links closed for bad input", self.peer_refused.clone());
        registry.register("peer_warnings", "Oddities of peers", self.peer_warnings.clone());
        registry.register("objects", "Objects that readers see", self.objects.clone());
        registry.register("keys", "Keys with a history", self.keys.clone());
        registry.register("conflicts", "Keys in conflict", self.conflicts.clone());
        registry.register("trash", "Keys in the trash", self.trash.clone());
        registry.register("sequence", "Versions written so far", self.sequence.clone());
        registry.register("synced", "1 if all connected peers agree", self.synced.clone());
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

    /// The text for a scrape, with the namespaces' figures of this moment.
    pub fn text<'s>(&self, spaces: impl Iterator<Item = &'s Space>) -> String {
        for space in spaces {
            let label = ByNamespace { namespace: space.name.to_string() };
            let counts = space.store.counts();
            let set = |family: &Family<ByNamespace, Gauge>, n: u64| {
                family.get_or_create(&label).set(i64::try_from(n).unwrap_or(i64::MAX));
            };
            set(&self.objects, counts.objects);
            set(&self.keys, counts.keys);
            set(&self.conflicts, counts.conflicts);
            set(&self.trash, counts.trash);
            set(&self.sequence, counts.last_sequence);
            set(&self.synced, u64::from(space.state().level.as_str() == "synced"));
        }
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
