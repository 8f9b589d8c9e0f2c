//! A plugin that was made from its settings, and what it says of itself.

use std::sync::Arc;

use keepboth_core::plugin::{Claim, Gate, Plugin, Points, caught};

/// What a plugin says of itself; it is asked once.
#[derive(Debug, Clone)]
pub struct Says {
    /// See [`Plugin::points`]; a gate has none.
    pub points: Points,
    /// See [`Gate::authenticates`].
    pub authenticates: bool,
    /// See [`Plugin::fingerprint`].
    pub fingerprint: [u8; 32],
    /// See [`Plugin::claims`]; a gate has none.
    pub claims: Vec<Claim>,
}

/// A plugin that was made from its settings.
pub struct Made<P: ?Sized> {
    /// The name after `use =`.
    pub name: String,
    /// The plugin.
    pub plugin: Arc<P>,
    /// What it says of itself.
    pub says: Says,
}

impl<P: Speaks + ?Sized> Made<P> {
    /// Asks the plugin what it is; an error says that it panicked.
    pub fn of(name: &str, plugin: Arc<P>) -> Result<Made<P>, String> {
        let says = guarded(name, || plugin.says())?;
        Ok(Made { name: name.to_owned(), plugin, says })
    }
}

impl<P: ?Sized> Clone for Made<P> {
    fn clone(&self) -> Made<P> {
        Made { name: self.name.clone(), plugin: self.plugin.clone(), says: self.says.clone() }
    }
}

/// What can be asked what it is.
pub trait Speaks {
    /// See [`Says`].
    fn says(&self) -> Says;
}

impl Speaks for dyn Plugin {
    fn says(&self) -> Says {
        let (points, fingerprint) = (self.points(), self.fingerprint());
        Says { points, authenticates: false, fingerprint, claims: self.claims() }
    }
}

impl Speaks for dyn Gate {
    fn says(&self) -> Says {
        let (authenticates, fingerprint) = (self.authenticates(), self.fingerprint());
        Says { points: Points::default(), authenticates, fingerprint, claims: Vec::new() }
    }
}

/// Asks a plugin where nobody waits for the answer but who asked. A panic becomes its words.
pub fn guarded<T>(name: &str, call: impl FnOnce() -> T) -> Result<T, String> {
    caught(call).map_err(|words| format!("plugin {name} panicked: {words}"))
}
