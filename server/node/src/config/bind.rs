//! The plugins of each namespace, made from their settings.

use std::sync::Arc;

use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Factory, Plugin, Site};

use super::mistake::{Mistake, did_you_mean, find};
use super::shape::{Config, NamespaceConfig, PluginConfig};
use super::tree::join;

/// The namespaces of this node, each with its plugins in the order of the file.
pub type Bound = Vec<(Namespace, Vec<Arc<dyn Plugin>>)>;

/// Makes all plugins, or finds all mistakes in their settings and in the files that these name.
pub(super) fn bind(config: &Config, factories: &[Factory]) -> Result<Bound, Vec<Mistake>> {
    let mut bound = Vec::new();
    let mut found = Vec::new();
    for (name, namespace) in &config.namespaces {
        // A name that is no namespace was told of when the file was read.
        let Ok(namespace_name) = Namespace::new(name) else { continue };
        let site = site(config, namespace, namespace_name.clone());
        let pointer = join(&join("/namespaces", name), "plugins");
        let mut plugins = Vec::new();
        for (i, plugin) in namespace.plugins.iter().enumerate() {
            match build(plugin, &format!("{pointer}/{i}"), &site, factories) {
                Ok(plugin) => plugins.push(plugin),
                Err(mistakes) => found.extend(mistakes),
            }
        }
        bound.push((namespace_name, plugins));
    }
    if found.is_empty() { Ok(bound) } else { Err(found) }
}

fn site(config: &Config, namespace: &NamespaceConfig, name: Namespace) -> Site {
    Site {
        namespace: name,
        schemas: config.server.schemas.clone(),
        scripts: config.server.scripts.clone(),
        value_bytes_max: config.value_bytes_max(namespace),
    }
}

fn build(
    plugin: &PluginConfig,
    pointer: &str,
    site: &Site,
    factories: &[Factory],
) -> Result<Arc<dyn Plugin>, Vec<Mistake>> {
    if plugin.use_.is_empty() {
        // Stands for a plugin whose `use` is faulty, which was told of when the file was read.
        return Err(Vec::new());
    }
    let Some(factory) = factories.iter().find(|factory| factory.name == plugin.use_) else {
        return Err(vec![unknown(plugin, pointer, factories)]);
    };
    let mistakes = find(&(factory.schema)(), &plugin.settings, pointer);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    (factory.build)(site, plugin.settings.clone()).map_err(|errors| {
        errors
            .into_iter()
            .map(|e| Mistake::new(format!("{pointer}{}", e.pointer), e.message))
            .collect()
    })
}

fn unknown(plugin: &PluginConfig, pointer: &str, factories: &[Factory]) -> Mistake {
    let known: Vec<String> = factories.iter().map(|factory| factory.name.to_owned()).collect();
    Mistake::new(format!("{pointer}/use"), format!("there is no plugin {:?}", plugin.use_))
        .hint(did_you_mean(&plugin.use_, &known, "there are"))
}
