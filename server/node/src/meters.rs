//! What plugins cost and what they count, for the metrics.

use std::sync::OnceLock;
use std::time::Instant;

use keepboth_core::name::Namespace;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The bounds of the buckets in seconds: from a script of a few instructions to one that hangs.
const SECONDS: [f64; 18] = [
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2,
    1e-1, 2.5e-1, 1.0, 10.0,
];

/// Where the server asks a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Somebody connects.
    Connect,
    /// A client shows who it is.
    Authenticate,
    /// Before a put.
    BeforePut,
    /// Before a delete.
    BeforeDelete,
    /// A version of a peer.
    Admit,
    /// A conflict.
    Conflict,
    /// After a write.
    After,
    /// A change of state.
    State,
    /// A version in quarantine.
    Quarantine,
    /// A question of a client.
    Answer,
}

const POINTS: [&str; 10] = [
    "connect",
    "authenticate",
    "before_put",
    "before_delete",
    "admit",
    "conflict",
    "after",
    "state",
    "quarantine",
    "answer",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPoint {
    namespace: String,
    plugin: String,
    point: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByName {
    namespace: String,
    plugin: String,
    name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNamespace {
    namespace: String,
}

/// All figures of plugins. Clones share them.
#[derive(Debug, Clone)]
pub struct PluginMetrics {
    seconds: Family<ByPoint, Histogram, fn() -> Histogram>,
    errors: Family<ByPoint, Counter>,
    count: Family<ByName, Counter>,
    gauge: Family<ByName, Gauge>,
    untold: Family<ByNamespace, Counter>,
}

impl Default for PluginMetrics {
    fn default() -> PluginMetrics {
        PluginMetrics {
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            errors: Family::default(),
            count: Family::default(),
            gauge: Family::default(),
            untold: Family::default(),
        }
    }
}

impl PluginMetrics {
    /// Shows them in this registry.
    pub fn register(&self, registry: &mut Registry) {
        let (seconds, errors) = (self.seconds.clone(), self.errors.clone());
        registry.register_with_unit(
            "plugin",
            "Calls of plugins and the time they took",
            Unit::Seconds,
            seconds,
        );
        registry.register("plugin_errors", "Calls of plugins that failed or refused", errors);
        registry.register("plugin_count", "What plugins count", self.count.clone());
        registry.register("plugin_gauge", "What plugins measure", self.gauge.clone());
        let untold = self.untold.clone();
        registry.register("untold", "What hooks were not told since too much waited", untold);
    }

    /// The figures of a plugin; without a namespace it is one of the server.
    pub fn of(&self, namespace: Option<&Namespace>, plugin: &str) -> Meters {
        let namespace = namespace.map(Namespace::to_string).unwrap_or_default();
        let meters = Default::default();
        Meters { all: self.clone(), namespace, plugin: plugin.to_owned(), meters }
    }

    /// Counts what the hooks of a namespace were not told.
    pub fn untold(&self, namespace: &Namespace) {
        self.untold.get_or_create(&ByNamespace { namespace: namespace.to_string() }).inc();
    }
}

/// The figures of one plugin.
#[derive(Debug)]
pub struct Meters {
    all: PluginMetrics,
    namespace: String,
    plugin: String,
    /// One for each point, made when the plugin is first asked there, so that none is looked up twice.
    meters: [OnceLock<(Histogram, Counter)>; POINTS.len()],
}

impl Meters {
    /// Figures that nobody sees.
    #[cfg(test)]
    pub fn unseen(plugin: &str) -> std::sync::Arc<Meters> {
        std::sync::Arc::new(PluginMetrics::default().of(None, plugin))
    }

    /// Calls the plugin and counts it.
    pub fn time<T, E>(&self, point: Point, call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let (seconds, errors) = self.meters[point as usize].get_or_init(|| {
            let (namespace, plugin) = (self.namespace.clone(), self.plugin.clone());
            let label = ByPoint { namespace, plugin, point: POINTS[point as usize] };
            let seconds = self.all.seconds.get_or_create(&label).clone();
            (seconds, self.all.errors.get_or_create(&label).clone())
        });
        let started = Instant::now();
        let outcome = call();
        seconds.observe(started.elapsed().as_secs_f64());
        if outcome.is_err() {
            errors.inc();
        }
        outcome
    }

    /// Adds to a counter of the plugin's own.
    pub fn count(&self, name: &'static str, by: u64) {
        self.all.count.get_or_create(&self.by_name(name)).inc_by(by);
    }

    /// Sets a gauge of the plugin's own.
    pub fn gauge(&self, name: &'static str, value: i64) {
        self.all.gauge.get_or_create(&self.by_name(name)).set(value);
    }

    fn by_name(&self, name: &'static str) -> ByName {
        ByName { namespace: self.namespace.clone(), plugin: self.plugin.clone(), name }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn each_call_of_a_plugin_is_counted_with_its_time_and_its_outcome() {
        let (metrics, mut registry) = (PluginMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let notes = Namespace::new("notes").expect("a namespace");
        let meters = metrics.of(Some(&notes), "own");
        assert_eq!(meters.time(Point::After, || Ok::<_, ()>(1)), Ok(1));
        assert_eq!(meters.time(Point::After, || Err::<(), _>(2)), Err(2));
        meters.count("sent", 3);
        meters.gauge("waiting", -1);
        metrics.untold(&notes);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        let label = "{namespace=\"notes\",plugin=\"own\",point=\"after\"}";
        for line in [
            format!("plugin_seconds_count{label} 2"),
            format!("plugin_errors_total{label} 1"),
            "plugin_count_total{namespace=\"notes\",plugin=\"own\",name=\"sent\"} 3".to_owned(),
            "plugin_gauge{namespace=\"notes\",plugin=\"own\",name=\"waiting\"} -1".to_owned(),
            "untold_total{namespace=\"notes\"} 1".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains("before_put"), "only points at which it was asked: {text}");
    }
}
