//! The plugins of the server and of each namespace, made from their settings.

use std::path::Path;
use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Factory, Gate, Make, Plugin, ServerSite, SettingsError, Site};

use super::mistake::{Mistake, did_you_mean, find};
use super::shape::{Config, NamespaceConfig, PluginConfig};
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

/// Makes all plugins, or finds all mistakes in their settings and in the files that these name.
pub(super) fn bind(
    config: &Config,
    folder: &Path,
    factories: &[Factory],
) -> Result<Bound, Vec<Mistake>> {
    let mut found = twins(factories);
    let server = ServerSite {
        folder: folder.to_owned(),
        schemas: config.server.schemas.clone(),
        scripts: config.server.scripts.clone(),
    };
    let is_gate = |factory: &Factory| matches!(factory.make, Make::Gate(_));
    let make_gate = |factory: &Factory, settings| factory.build_gate(&server, settings);
    let gates = all(&config.plugins, &list(None), factories, &mut found, is_gate, make_gate);
    let mut namespaces = Vec::new();
    for (name, namespace) in &config.namespaces {
        // A name that is no namespace was told of when the file was read.
        let Ok(name) = Namespace::new(name) else { continue };
        let (site, pointer) = (site(config, folder, namespace, name.clone()), list(Some(&name)));
        let is_plugin = |factory: &Factory| !is_gate(factory);
        let make = |factory: &Factory, settings| factory.build(&site, settings);
        let plugins = all(&namespace.plugins, &pointer, factories, &mut found, is_plugin, make);
        namespaces.push((name, plugins));
    }
    if found.is_empty() { Ok(Bound { namespaces, gates }) } else { Err(found) }
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

/// Makes the plugins of a list, and collects the mistakes.
fn all<P: Speaks + ?Sized>(
    list: &[PluginConfig],
    pointer: &str,
    factories: &[Factory],
    found: &mut Vec<Mistake>,
    belongs: impl Fn(&Factory) -> bool,
    make: impl Fn(&Factory, serde_json::Value) -> Result<Arc<P>, Vec<SettingsError>>,
) -> Vec<Made<P>> {
    let mut made = Vec::new();
    for (at, plugin) in list.iter().enumerate() {
        // One without a name stands for a plugin whose `use` is faulty, which was told of when the file
        // was read.
        if plugin.use_.is_empty() {
            continue;
        }
        let pointer = format!("{pointer}/{at}");
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
            found.extend(mistakes);
            continue;
        }
        let plugin = make(factory, plugin.settings.clone()).and_then(|plugin| {
            let fault = |message| vec![SettingsError { pointer: "/use".into(), message }];
            Made::of(factory.name, plugin).map_err(fault)
        });
        match plugin {
            Ok(plugin) => made.push(plugin),
            Err(errors) => found.extend(
                errors
                    .into_iter()
                    .map(|e| Mistake::new(format!("{pointer}{}", e.pointer), e.message)),
            ),
        }
    }
    made
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
