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
use prometheus_client::registry::{Registry, Unit};

/// How long calls took.
mod times;

use times::Times;

use crate::protocol::HookFigures;

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
#[derive(Debug, Clone, Default)]
pub struct PluginMetrics {
    seconds: Family<ByPoint, Times>,
    errors: Family<ByPoint, Counter>,
    hook_seconds: Family<ByHook, Times>,
    hook_errors: Family<ByHook, Counter>,
    count: Family<ByName, Counter>,
    gauge: Family<ByName, Gauge>,
    untold: Family<ByNamespace, Counter>,
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
        let (meters, hooks, warnings) = Default::default();
        Meters { all: self.clone(), namespace, plugin: plugin.to_owned(), meters, hooks, warnings }
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
    meters: [OnceLock<Figures>; POINTS.len()],
    /// One for each hook of its scripts that was asked for: script and hook.
    hooks: Mutex<BTreeMap<(String, &'static str), Figures>>,
    /// What it warns of, by matter.
    warnings: Mutex<BTreeMap<String, String>>,
}

/// The figures of one kind of calls.
#[derive(Debug, Clone)]
struct Figures {
    seconds: Times,
    errors: Counter,
}

impl Meter for Figures {
    fn took(&self, time: Duration, failed: bool) {
        self.seconds.add(time);
        if failed {
            self.errors.inc();
        }
    }
}

impl Figures {
    fn told(&self, plugin: &str, script: Option<&str>, hook: &'static str) -> HookFigures {
        HookFigures {
            plugin: plugin.to_owned(),
            script: script.map(str::to_owned),
            hook,
            calls: self.seconds.count(),
            errors: self.errors.get(),
            p50: self.seconds.within(0.5),
            p99: self.seconds.within(0.99),
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
        let figures = self.meters[point as usize].get_or_init(|| {
            let (namespace, plugin) = (self.namespace.clone(), self.plugin.clone());
            let label = ByPoint { namespace, plugin, point: POINTS[point as usize] };
            let seconds = self.all.seconds.get_or_create(&label).clone();
            Figures { seconds, errors: self.all.errors.get_or_create(&label).clone() }
        });
        let started = Instant::now();
        let outcome = call();
        figures.took(started.elapsed(), outcome.is_err());
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
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = hooks.entry((script.to_owned(), hook)).or_insert_with(|| {
            let (namespace, plugin) = (self.namespace.clone(), self.plugin.clone());
            let label = ByHook { namespace, plugin, script: script.to_owned(), hook };
            let seconds = self.all.hook_seconds.get_or_create(&label).clone();
            Figures { seconds, errors: self.all.hook_errors.get_or_create(&label).clone() }
        });
        Arc::new(figures.clone())
    }

    /// What the server has asked of the plugin since it started, and each hook of its scripts; what was never
    /// called is left out.
    pub fn told(&self) -> Vec<HookFigures> {
        let points = POINTS.iter().zip(&self.meters);
        let points = points.filter_map(|(point, figures)| {
            figures.get().map(|figures| figures.told(&self.plugin, None, point))
        });
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        let hooks = hooks
            .iter()
            .map(|((script, hook), figures)| figures.told(&self.plugin, Some(script), hook));
        points.chain(hooks).filter(|told| told.calls > 0).collect()
    }

    /// Warns of a matter, or does so no more. True if that changes whether it is warned of.
    pub fn warn(&self, matter: &str, words: Option<String>) -> bool {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match words {
            Some(words) => warnings.insert(matter.to_owned(), words).is_none(),
            None => warnings.remove(matter).is_some(),
        }
    }

    /// What the plugin warns of, with its name.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.values().map(|words| format!("{}: {words}", self.plugin)).collect()
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
        let told: Vec<_> =
            meters.told().into_iter().map(|t| (t.script, t.hook, t.calls, t.errors)).collect();
        let script = Some("scripts/a.luau".to_owned());
        assert_eq!(told, [(None, "after", 2, 1), (script, "on_put", 1, 1)]);
        assert_eq!(meters.told()[1].p99, Duration::from_millis(1));
    }

    #[test]
    fn a_warning_stands_until_it_is_taken_back() {
        let meters = Meters::unseen("own");
        assert!(meters.warn("a", Some("a is off".into())));
        assert!(!meters.warn("a", Some("a is still off".into())));
        assert!(meters.warn("b", Some("b is off".into())));
        assert_eq!(meters.warnings(), ["own: a is still off", "own: b is off"]);
        assert!(meters.warn("a", None));
        assert!(!meters.warn("a", None));
        assert_eq!(meters.warnings(), ["own: b is off"]);
    }
}
