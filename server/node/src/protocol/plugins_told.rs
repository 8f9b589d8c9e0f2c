//! What plugins say of themselves in the answers about nodes and namespaces.

use std::time::Duration;

use super::estimate::Estimate;
use super::sink::Sink;

/// Names and figures of one hook.
const HOOK_BYTES: usize = 400;

/// What plugins warn of, and what their calls cost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PluginsTold {
    /// Standing warnings, each with its plugin.
    pub warnings: Vec<String>,
    /// Their calls, by plugin and hook.
    pub hooks: Vec<HookFigures>,
}

/// The calls of one hook since the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFigures {
    /// The plugin.
    pub plugin: String,
    /// The script; None for what the server asks of the plugin itself.
    pub script: Option<String>,
    /// The hook.
    pub hook: &'static str,
    /// How often it was called.
    pub calls: u64,
    /// How often it failed or refused; of a script, how often it failed.
    pub errors: u64,
    /// Half of the calls took no longer. Rounded up, by a quarter at the most.
    pub p50: Duration,
    /// Of a hundred calls 99 took no longer. Rounded up likewise.
    pub p99: Duration,
}

impl Estimate for PluginsTold {
    fn bytes_estimate(&self) -> usize {
        let scripts = self.hooks.iter().filter_map(|hook| hook.script.as_ref());
        let texts = self.warnings.iter().chain(scripts).map(|text| text.bytes_estimate());
        texts.sum::<usize>() + HOOK_BYTES * self.hooks.len()
    }
}

/// Their members of an object; what is empty has none.
pub(super) fn put_plugins<S: Sink>(s: &mut S, plugins: &PluginsTold) {
    if !plugins.warnings.is_empty() {
        s.name("warnings");
        s.list(&plugins.warnings, |s, words| s.text(words));
    }
    if plugins.hooks.is_empty() {
        return;
    }
    s.name("hooks");
    s.list(&plugins.hooks, |s, hook| {
        s.map(|s| {
            s.say("plugin", &hook.plugin);
            if let Some(script) = &hook.script {
                s.say("script", script);
            }
            s.say("hook", hook.hook);
            s.count("calls", hook.calls);
            s.count("errors", hook.errors);
            s.count("p50_ns", nanos(hook.p50));
            s.count("p99_ns", nanos(hook.p99));
        });
    });
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
