//! Plugins of namespaces are started, and end when others take their place or the server stops.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::name::Namespace;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::host::PluginHost;
use super::set::Namespaces;
use super::{Setup, Space};
use crate::hooks::{Bound, Chain};

/// How often it is looked whether a write still has an old plugin.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A plugin that could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct NotStarted {
    /// Its namespace; None for one of the server.
    pub namespace: Option<Namespace>,
    /// Its place in the list of plugins.
    pub at: usize,
    /// Why.
    pub words: String,
}

impl NotStarted {
    /// The plugin of this name did not start.
    pub fn new(namespace: Option<&Namespace>, at: usize, name: &str, why: &str) -> NotStarted {
        let words = format!("the plugin {name} cannot start: {why}");
        NotStarted { namespace: namespace.cloned(), at, words }
    }
}

/// Plugins that were started and not put to work yet: dropped, they are ended again.
#[derive(Default)]
pub struct Started(Vec<Arc<Bound>>);

impl Started {
    /// Starts the plugins of a chain that another one does not have, for this namespace. Blocks.
    pub fn start(
        &mut self,
        set: &Arc<Namespaces>,
        space: &Arc<Space>,
        chain: &Chain,
        old: &Chain,
    ) -> Result<(), NotStarted> {
        for (at, bound) in chain.besides(old) {
            let host = PluginHost::new(set, Some(space), &bound.name, &bound.meters, &bound.over);
            let started = bound.start(Arc::new(host));
            started.map_err(|why| NotStarted::new(Some(&space.name), at, &bound.name, &why))?;
            self.0.push(bound);
        }
        Ok(())
    }

    /// They are at work, and go on.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.0.iter().for_each(|bound| bound.end());
    }
}

impl Namespaces {
    /// Starts the plugins of all namespaces, and what runs beside each.
    pub async fn begin(self: &Arc<Self>) -> Result<(), NotStarted> {
        let set = self.clone();
        let started = spawn_blocking(move || {
            let mut started = Started::default();
            for space in set.all().values() {
                started.start(&set, space, &space.setup().chain, &Chain::default())?;
            }
            started.keep();
            Ok(())
        });
        let panicked = |_| NotStarted::new(None, 0, "of a namespace", "the start ended early");
        started.await.unwrap_or_else(|e| Err(panicked(e)))?;
        self.all().values().for_each(|space| self.attend(space));
        Ok(())
    }

    /// Has all plugins begin nothing new.
    pub async fn drain_plugins(&self) {
        for space in self.all().values() {
            space.drain_plugins().await;
        }
    }

    /// Ends all plugins; nothing may be under way any more.
    pub async fn stop_plugins(&self) {
        for space in self.all().values() {
            space.stop_plugins().await;
        }
    }

    /// Ends the plugins of an old setup that the new one does not have, when no write has it any more, or
    /// the time for that is over.
    pub(super) fn retire_plugins(&self, old: Arc<Setup>, new: &Chain) {
        let gone = old.chain.besides(new);
        if gone.is_empty() {
            return;
        }
        let until = Instant::now() + self.grace;
        self.tasks.spawn(async move {
            let drained = gone.clone();
            let _ =
                spawn_blocking(move || drained.iter().for_each(|(_, bound)| bound.drain())).await;
            while Arc::strong_count(&old) > 1 && Instant::now() < until {
                sleep(LOOK_EVERY).await;
            }
            let _ = spawn_blocking(move || gone.iter().for_each(|(_, bound)| bound.stop())).await;
        });
    }
}

impl Space {
    pub(super) async fn drain_plugins(&self) {
        self.each_plugin(|bound| bound.drain()).await;
    }

    pub(super) async fn stop_plugins(&self) {
        self.each_plugin(|bound| bound.stop()).await;
    }

    async fn each_plugin(&self, call: impl Fn(&Bound) + Send + 'static) {
        let plugins = self.setup().chain.besides(&Chain::default());
        // What goes wrong in a plugin is logged where it is called.
        let _ = spawn_blocking(move || plugins.iter().for_each(|(_, bound)| call(bound))).await;
    }
}
