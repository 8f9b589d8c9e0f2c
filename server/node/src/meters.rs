//! What plugins cost and what they count, for the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use keepboth_core::name::Namespace;
use keepboth_core::plugin::Meter;
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
struct ByHook {
    namespace: String,
    plugin: String,
    script: String,
    hook: &'static str,
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
    hook_seconds: Family<ByHook, Histogram, fn() -> Histogram>,
    hook_errors: Family<ByHook, Counter>,
    count: Family<ByName, Counter>,
    gauge: Family<ByName, Gauge>,
    untold: Family<ByNamespace, Counter>,
}

impl Default for PluginMetrics {
    fn default() -> PluginMetrics {
        PluginMetrics {
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            errors: Family::default(),
            hook_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            hook_errors: Family::default(),
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
        let seconds = self.hook_seconds.clone();
        let about = "Calls of hooks of scripts and the time they took";
        registry.register_with_unit("hook", about, Unit::Seconds, seconds);
        let errors = self.hook_errors.clone();
        registry.register("hook_errors", "Calls of hooks of scripts that failed", errors);
        registry.register("plugin_count", "What plugins count", self.count.clone());
        registry.register("plugin_gauge", "What plugins measure", self.gauge.clone());
        let untold = self.untold.clone();
        registry.register("untold", "What hooks were not told since too much waited", untold);
    }

    /// The figures of a plugin; without a namespace it is one of the server.
    pub fn of(&self, namespace: Option<&Namespace>, plugin: &str) -> Meters {
        let namespace = namespace.map(Namespace::to_string).unwrap_or_default();
        let (meters, warnings) = Default::default();
        Meters { all: self.clone(), namespace, plugin: plugin.to_owned(), meters, warnings }
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
    /// What it warns of, by matter.
    warnings: Mutex<BTreeMap<String, String>>,
}

/// The figures of one hook of a script.
struct HookMeter {
    seconds: Histogram,
    errors: Counter,
}

impl Meter for HookMeter {
    fn took(&self, time: Duration, failed: bool) {
        self.seconds.observe(time.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }
}

impl Meters {
    /// Figures that nobody sees.
    #[cfg(test)]
    pub fn unseen(plugin: &str) -> Arc<Meters> {
        Arc::new(PluginMetrics::default().of(None, plugin))
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &str {
        &self.plugin
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

    /// The figures of a hook of one of the plugin's scripts.
    pub fn hook(&self, script: &str, hook: &'static str) -> Arc<dyn Meter> {
        let (namespace, plugin) = (self.namespace.clone(), self.plugin.clone());
        let label = ByHook { namespace, plugin, script: script.to_owned(), hook };
        let seconds = self.all.hook_seconds.get_or_create(&label).clone();
        Arc::new(HookMeter { seconds, errors: self.all.hook_errors.get_or_create(&label).clone() })
    }

    /// Warns of a matter, or does so no more.
    pub fn warn(&self, matter: &str, words: Option<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match words {
            Some(words) => warnings.insert(matter.to_owned(), words),
            None => warnings.remove(matter),
        };
    }

    /// What the plugin warns of.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.values().cloned().collect()
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
        meters.hook("scripts/a.luau", "on_put").took(Duration::from_millis(1), true);
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        let label = "{namespace=\"notes\",plugin=\"own\",point=\"after\"}";
        let hook = "{namespace=\"notes\",plugin=\"own\",script=\"scripts/a.luau\",hook=\"on_put\"}";
        for line in [
            format!("plugin_seconds_count{label} 2"),
            format!("plugin_errors_total{label} 1"),
            "plugin_count_total{namespace=\"notes\",plugin=\"own\",name=\"sent\"} 3".to_owned(),
            "plugin_gauge{namespace=\"notes\",plugin=\"own\",name=\"waiting\"} -1".to_owned(),
            format!("hook_seconds_count{hook} 1"),
            format!("hook_errors_total{hook} 1"),
            "untold_total{namespace=\"notes\"} 1".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains("before_put"), "only points at which it was asked: {text}");
    }
    #[test]
    fn a_warning_stands_until_it_is_taken_back() {
        let meters = Meters::unseen("own");
        meters.warn("a", Some("a is off".into()));
        meters.warn("a", Some("a is still off".into()));
        meters.warn("b", Some("b is off".into()));
        assert_eq!(meters.warnings(), ["a is still off", "b is off"]);
        meters.warn("a", None);
        assert_eq!(meters.warnings(), ["b is off"]);
    }
}
