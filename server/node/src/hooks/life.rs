//! The life of a plugin: started, drained, stopped, and what it is called in between.

use std::cell::Cell;
use std::sync::Arc;

use keepboth_core::plugin::{Gate, Host, Plugin};
use tokio_util::sync::CancellationToken;

use crate::made::{Made, Says, guarded};
use crate::meters::Meters;
use crate::protocol::PluginsTold;

/// A plugin of a namespace or of the server, with what the server knows of it.
pub struct Bound<P: ?Sized> {
    /// The name after `use =`.
    pub name: String,
    /// The plugin.
    pub plugin: Arc<P>,
    /// What it says of itself.
    pub says: Says,
    /// What it costs.
    pub meters: Arc<Meters>,
    /// Set when it is drained: it waits for nothing any more.
    pub over: CancellationToken,
}

/// What all plugins have in common.
pub trait Life: Send + Sync {
    /// See [`Plugin::start`].
    fn start(&self, host: Arc<dyn Host>) -> Result<(), String>;
    /// See [`Plugin::drain`].
    fn drain(&self);
    /// See [`Plugin::stop`].
    fn stop(&self);
}

macro_rules! alive {
    ($kind:ident) => {
        impl Life for dyn $kind {
            fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
                $kind::start(self, host)
            }
            fn drain(&self) {
                $kind::drain(self);
            }
            fn stop(&self) {
                $kind::stop(self);
            }
        }
    };
}

alive!(Plugin);
alive!(Gate);

impl<P: Life + ?Sized> Bound<P> {
    /// A plugin that is not started.
    pub fn new(made: Made<P>, meters: Arc<Meters>) -> Bound<P> {
        let Made { name, plugin, says } = made;
        Bound { name, plugin, says, meters, over: CancellationToken::new() }
    }

    /// True if this one would do what that one does.
    pub fn is_as(&self, other: &Bound<P>) -> bool {
        self.name == other.name && self.says.fingerprint == other.says.fingerprint
    }

    /// Starts it. After an error nothing of it runs.
    pub fn start(&self, host: Arc<dyn Host>) -> Result<(), String> {
        let started = guarded(&self.name, || self.plugin.start(host)).and_then(|outcome| outcome);
        if started.is_err() {
            self.end();
        }
        started
    }

    /// Has it begin nothing new.
    pub fn drain(&self) {
        self.over.cancel();
        self.log(guarded(&self.name, || self.plugin.drain()));
    }

    /// Ends it.
    pub fn stop(&self) {
        self.log(guarded(&self.name, || self.plugin.stop()));
    }

    /// Drains and stops it.
    pub fn end(&self) {
        self.drain();
        self.stop();
    }

    fn log(&self, outcome: Result<(), String>) {
        if let Err(words) = outcome {
            tracing::error!("{words}");
        }
    }
}

/// What these plugins warn of, and what their calls cost.
pub fn told<'a, P: ?Sized + 'a>(plugins: impl Iterator<Item = &'a Arc<Bound<P>>>) -> PluginsTold {
    plugins.fold(PluginsTold::default(), |mut told, bound| {
        told.warnings.extend(bound.meters.warnings());
        told.hooks.extend(bound.meters.told());
        told
    })
}

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// True while this thread asks a plugin: whoever waits then for a write waits for himself.
pub fn in_hook() -> bool {
    ASKED.get()
}

/// Asks a plugin at a point. A panic becomes its words.
pub fn ask<T>(name: &str, call: impl FnOnce() -> T) -> Result<T, String> {
    let before = ASKED.replace(true);
    let outcome = guarded(name, call);
    ASKED.set(before);
    outcome
}
