//! The plugins of the server and of each namespace, made from their settings.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Factory, Gate, Make, Plugin, ServerSite, SettingsError, Site, caught};
use serde_json::Value as Json;

use super::mistake::{Mistake, did_you_mean, find};
use super::shape::{Config, NamespaceConfig, PluginConfig};
use super::sound::sound_part;
use super::tree::join;
use crate::made::{Made, Speaks};

/// What the configuration binds, in the order of the file.
#[derive(Clone, Default)]
pub struct Bound {
    /// The namespaces of this node, each with its plugins.
    pub namespaces: Vec<(Namespace, Vec<Made<dyn Plugin>>)>,
    /// The plugins of the server as a whole.
    pub gates: Vec<Made<dyn Gate>>,
}

impl Bound {
    /// True if a plugin says who clients are.
    pub fn authenticates(&self) -> bool {
        self.gates.iter().any(|made| made.says.authenticates)
    }
}

/// The JSON pointer of the `use` of a plugin: of a namespace, or None for one of the server.
pub(super) fn pointer_of_use(namespace: Option<&Namespace>, at: usize) -> String {
    format!("{}/{at}/use", list(namespace))
}

/// The JSON pointer of a list of plugins.
fn list(namespace: Option<&Namespace>) -> String {
    match namespace {
        Some(name) => join(&join("/namespaces", name.as_str()), "plugins"),
        None => "/plugins".to_owned(),
    }
}

/// Makes all plugins, and finds all mistakes in their settings and in the files that these name. With those
/// that are in force by the same configuration, what is faulty stays as it is there.
pub(super) fn bind(
    config: &Config,
    folder: &Path,
    factories: &[Factory],
    in_force: Option<&Bound>,
) -> (Bound, Vec<Mistake>) {
    let mut found = twins(factories);
    let server = ServerSite {
        folder: folder.to_owned(),
        schemas: config.server.schemas.clone(),
        scripts: config.server.scripts.clone(),
    };
    let is_gate = |factory: &Factory| matches!(factory.make, Make::Gate(_));
    let make_gate = |factory: &Factory, settings, _: Option<&Made<dyn Gate>>| {
        Ok((factory.build_gate(&server, settings)?, Vec::new()))
    };
    let place = Place { pointer: list(None), factories };
    let old = in_force.map(|bound| &bound.gates[..]).unwrap_or_default();
    let gates = place.all(&config.plugins, old, &mut found, is_gate, make_gate);
    let mut namespaces = Vec::new();
    for (name, namespace) in &config.namespaces {
        // A name that is no namespace was told of when the file was read.
        let Ok(name) = Namespace::new(name) else { continue };
        let site = site(config, folder, namespace, name.clone());
        let is_plugin = |factory: &Factory| !is_gate(factory);
        let make = |factory: &Factory, settings, old: Option<&Made<dyn Plugin>>| {
            let renewed = old.map(|old| caught(|| old.plugin.renewed(&site)));
            match renewed {
                Some(Ok(Some(renewed))) => Ok(renewed),
                _ => Ok((factory.build(&site, settings)?, Vec::new())),
            }
        };
        let place = Place { pointer: list(Some(&name)), factories };
        let old = in_force.and_then(|bound| bound.namespaces.iter().find(|(n, _)| *n == name));
        let old = old.map(|(_, plugins)| &plugins[..]).unwrap_or_default();
        let plugins = place.all(&namespace.plugins, old, &mut found, is_plugin, make);
        if plugins.len() == namespace.plugins.len() {
            found.extend(place.claimed_twice(&plugins));
        }
        namespaces.push((name, plugins));
    }
    (Bound { namespaces, gates }, found)
}

/// Two factories of one name: nobody could say which is meant. No text shows it.
fn twins(factories: &[Factory]) -> Vec<Mistake> {
    let is_twin = |(at, factory): &(usize, &Factory)| {
        factories[..*at].iter().any(|other| other.name == factory.name)
    };
    let twins = factories.iter().enumerate().filter(is_twin);
    let told = twins.map(|(_, factory)| {
        let words =
            format!("this server was built with two plugins of the name {:?}", factory.name);
        Mistake::new("", words).hint("each name in the list of factories stands once")
    });
    told.collect()
}

fn site(config: &Config, folder: &Path, namespace: &NamespaceConfig, name: Namespace) -> Site {
    Site {
        namespace: name,
        folder: folder.to_owned(),
        schemas: config.server.schemas.clone(),
        scripts: config.server.scripts.clone(),
        value_bytes_max: config.value_bytes_max(namespace),
    }
}

/// A plugin with what it did not take up of its files, or all that is wrong.
type Remade<P> = Result<(Arc<P>, Vec<SettingsError>), Vec<SettingsError>>;

/// A list of plugins in the configuration.
struct Place<'a> {
    /// The JSON pointer of the list.
    pointer: String,
    factories: &'a [Factory],
}

impl Place<'_> {
    /// Makes the plugins of the list, and collects the mistakes. For one that is faulty the one of `old`
    /// is taken, which has the same place, if there is one.
    fn all<P: Speaks + ?Sized>(
        &self,
        list: &[PluginConfig],
        old: &[Made<P>],
        found: &mut Vec<Mistake>,
        belongs: impl Fn(&Factory) -> bool,
        make: impl Fn(&Factory, Json, Option<&Made<P>>) -> Remade<P>,
    ) -> Vec<Made<P>> {
        let factories = self.factories;
        let mut made = Vec::new();
        for (at, plugin) in list.iter().enumerate() {
            // One without a name stands for a plugin whose `use` is faulty, which was told of when the file
            // was read.
            if plugin.use_.is_empty() {
                continue;
            }
            let pointer = format!("{}/{at}", self.pointer);
            let Some(factory) = factories.iter().find(|factory| factory.name == plugin.use_) else {
                found.push(unknown(plugin, &pointer, factories));
                continue;
            };
            found.extend(again(list, at, factory, &pointer));
            // One that stands in the wrong place is told of that when it is made, and of nothing else.
            let mistakes = match belongs(factory) {
                true => find(&(factory.schema)(), &plugin.settings, &pointer),
                false => Vec::new(),
            };
            if !mistakes.is_empty() {
                let left = sound_part(&(factory.schema)(), &plugin.settings, &mistakes, &pointer);
                found.extend(mistakes);
                // What the rest has to say of what is there; the rest itself is of no use.
                if let Some(left) = left
                    && let Err(more) = make(factory, left.clone(), None)
                {
                    let is_there = |e: &SettingsError| {
                        !e.pointer.is_empty() && left.pointer(&e.pointer).is_some()
                    };
                    found.extend(more.into_iter().filter(is_there).map(|e| mistake(&pointer, e)));
                }
                continue;
            }
            let before = old.get(at);
            let renewed = make(factory, plugin.settings.clone(), before);
            let renewed = renewed.and_then(|(plugin, faulty)| {
                let fault = |message| vec![SettingsError { pointer: "/use".into(), message }];
                Ok((Made::of(factory.name, plugin).map_err(fault)?, faulty))
            });
            let (plugin, faulty) = match renewed {
                Ok((plugin, faulty)) => (Some(plugin), faulty),
                Err(faulty) => (before.cloned(), faulty),
            };
            made.extend(plugin);
            found.extend(faulty.into_iter().map(|e| mistake(&pointer, e)));
        }
        made
    }

    /// What two plugins of one name must have to themselves. All of the list must have been made.
    fn claimed_twice(&self, made: &[Made<dyn Plugin>]) -> Vec<Mistake> {
        let (mut claims, mut found) = (BTreeSet::new(), Vec::new());
        for (at, plugin) in made.iter().enumerate() {
            for claim in &plugin.says.claims {
                if !claims.insert((&plugin.name, &claim.what)) {
                    let words = format!("{} is given to {:?} twice here", claim.what, plugin.name);
                    let pointer = format!("{}/{at}{}", self.pointer, claim.pointer);
                    found.push(Mistake::new(pointer, words).hint("leave out one of both"));
                }
            }
        }
        found
    }
}

/// A mistake of the plugin whose settings stand at this pointer.
fn mistake(pointer: &str, error: SettingsError) -> Mistake {
    Mistake::new(format!("{pointer}{}", error.pointer), error.message)
}

/// The same plugin stands there before, and a second one makes no sense.
fn again(list: &[PluginConfig], at: usize, factory: &Factory, pointer: &str) -> Option<Mistake> {
    let (here, name) = (&list[at], factory.name);
    let same = |other: &PluginConfig| other.use_ == name;
    let (words, hint) = if !factory.several && list[..at].iter().any(same) {
        (format!("{name:?} is used twice here"), "it can be used once only: make one of both")
    } else if list[..at].contains(here) {
        (format!("{name:?} is used twice here with the same settings"), "leave out one of both")
    } else {
        return None;
    };
    Some(Mistake::new(format!("{pointer}/use"), words).hint(hint))
}

fn unknown(plugin: &PluginConfig, pointer: &str, factories: &[Factory]) -> Mistake {
    let known: Vec<String> = factories.iter().map(|factory| factory.name.to_owned()).collect();
    Mistake::new(format!("{pointer}/use"), format!("there is no plugin {:?}", plugin.use_))
        .hint(did_you_mean(&plugin.use_, &known, "there are"))
}
