//! The configuration is read again while the server runs: what changes at once, and what needs a restart.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::config::{Bound, Config};
use crate::gates::Gates;
use crate::namespace::OpenSpaceError;
use crate::protocol::Reloaded;
use crate::server::{Running, setups};

/// The settings outside namespaces that hold at once; all others need a restart.
const AT_ONCE: &[&str] = &[
    "server.scripts",
    "server.schemas",
    "server.watch",
    "limits.value_bytes_max",
    "limits.frame_bytes_max",
    "limits.in_flight_max",
    "limits.watches_max",
    "limits.batch_ops_max",
    "limits.page_items_max",
    "limits.hook_depth_max",
    "mesh.peers",
];

/// A server's configuration: as it started, and as it is in force now.
pub struct InForce {
    started: Config,
    peers: Vec<String>,
}

impl InForce {
    /// The configuration with which the server was started.
    pub fn new(started: Config) -> InForce {
        let peers = started.mesh.peers.clone();
        InForce { started, peers }
    }

    /// True if everyone would reach this server, which goes on listening as it was started, with plugins of
    /// which none says who clients are.
    pub fn is_open(&self, address: SocketAddr, plugins: &Bound) -> bool {
        let reached = !address.ip().is_loopback();
        reached && !self.started.server.insecure && !plugins.authenticates()
    }

    /// Puts a configuration that was checked in force, all or nothing, and tells what that changed.
    pub async fn apply(
        &mut self,
        running: &Running,
        mut new: Config,
        plugins: Bound,
    ) -> Result<Reloaded, OpenSpaceError> {
        let restart_needed = restart_needed(&self.started, &new);
        keep_what_needs_a_restart(&self.started, &mut new);
        let clients = &running.clients;
        let (wanted, by_command) = setups(&new, plugins.namespaces, &clients.metrics);
        let old = clients.gates.load_full();
        let gates = Gates::new(plugins.gates, &clients.metrics, &clients.stop);
        let gates = gates.start(&old, &clients.namespaces).await?;
        let changes = match clients.namespaces.replace(wanted, by_command).await {
            Ok(changes) => changes,
            Err(error) => {
                if let Some(gates) = gates {
                    gates.retire(&old).await;
                }
                return Err(error);
            }
        };
        let plugins_changed = gates.as_ref().map(|gates| gates.differing(&old)).unwrap_or_default();
        if let Some(gates) = gates {
            let gates = Arc::new(gates);
            clients.gates.store(gates.clone());
            old.retire(&gates).await;
        }
        clients.limits.store(new.limits.clone().into());
        let old = std::mem::replace(&mut self.peers, new.mesh.peers);
        let not_in = |others: &[String], peers: &[String]| -> Vec<String> {
            peers.iter().filter(|peer| !others.contains(peer)).cloned().collect()
        };
        let peers_added = not_in(&old, &self.peers);
        let peers_removed = not_in(&self.peers, &old);
        peers_removed.iter().for_each(|url| running.mesh.leave_alone(url));
        peers_added.iter().for_each(|url| running.mesh.dial(url, None));
        let names = |names: Vec<keepboth_core::name::Namespace>| {
            names.iter().map(ToString::to_string).collect()
        };
        Ok(Reloaded {
            namespaces_added: names(changes.added),
            namespaces_removed: names(changes.removed),
            namespaces_changed: names(changes.changed),
            plugins_changed,
            peers_added,
            peers_removed,
            restart_needed,
        })
    }
}

/// The settings that differ and do not hold at once, as `section.key`.
fn restart_needed(started: &Config, new: &Config) -> Vec<String> {
    let tree = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (started, new) = (tree(started), tree(new));
    let sections = new.as_object().into_iter().flatten();
    let outside = sections.filter(|(section, _)| *section != "namespaces");
    let keys = outside.flat_map(|(section, tree)| differing(section, &started[section], tree));
    keys.filter(|key| !AT_ONCE.contains(&key.as_str())).collect()
}

/// The keys of a section that differ, in the section's own order.
fn differing(section: &str, old: &Json, new: &Json) -> Vec<String> {
    let members = |tree: &Json| tree.as_object().cloned().unwrap_or_default();
    let (old, new) = (members(old), members(new));
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let value = |tree: &serde_json::Map<String, Json>, key| tree.get(key).cloned();
    let keys = keys.into_iter().filter(|key| value(&old, *key) != value(&new, *key));
    keys.map(|key| format!("{section}.{key}")).collect()
}

/// Lets the limits that need a restart be those of the start, so that none holds in one half of the
/// server only.
fn keep_what_needs_a_restart(started: &Config, new: &mut Config) {
    let (old, limits) = (&started.limits, &mut new.limits);
    limits.connections_max = old.connections_max;
    limits.queue_writes_max = old.queue_writes_max;
    limits.hook_threads = old.hook_threads;
    limits.after_queue_max = old.after_queue_max;
    limits.ping_every = old.ping_every;
    limits.hello_within = old.hello_within;
}

/// What a reload has changed, in a line for people.
pub fn in_words(reloaded: &Reloaded) -> String {
    let parts = [
        ("namespaces added", &reloaded.namespaces_added),
        ("namespaces removed", &reloaded.namespaces_removed),
        ("namespaces changed", &reloaded.namespaces_changed),
        ("plugins of the server changed", &reloaded.plugins_changed),
        ("peers added", &reloaded.peers_added),
        ("peers removed", &reloaded.peers_removed),
        ("changed in the file but needs a restart", &reloaded.restart_needed),
    ];
    let told = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let told: Vec<String> =
        told.map(|(what, names)| format!("{what}: {}", names.join(", "))).collect();
    if told.is_empty() { "nothing has changed".to_owned() } else { told.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use keepboth_core::unit::Period;

    #[test]
    fn every_setting_outside_namespaces_holds_at_once_or_is_named() {
        let (old, mut tree) = (Config::default(), json!(Config::default()));
        for section in ["server", "limits", "mesh"] {
            for (key, value) in tree[section].as_object().expect("a section").clone() {
                let name = format!("{section}.{key}");
                tree[section][&key] = Json::Null;
                let found = differing(section, &json!(old)[section], &tree[section]);
                assert_eq!(found, [name]);
                tree[section][&key] = value;
            }
        }
        for name in AT_ONCE {
            let (section, key) = name.split_once('.').expect("section and key");
            assert!(!tree[section][key].is_null(), "there is no setting {name}");
        }
    }

    #[test]
    fn what_needs_a_restart_stays_as_it_was() {
        let (started, mut new) = (Config::default(), Config::default());
        new.limits.hook_threads = 9;
        new.limits.watches_max = 9;
        new.mesh.expire = Period::secs(9);
        new.mesh.peers = vec!["ws://a:1".into()];
        assert_eq!(restart_needed(&started, &new), ["limits.hook_threads", "mesh.expire"]);
        keep_what_needs_a_restart(&started, &mut new);
        assert_eq!((new.limits.hook_threads, new.limits.watches_max), (1, 9));
        assert_eq!(restart_needed(&started, &new), ["mesh.expire"]);
    }

    #[test]
    fn a_reload_is_told_in_a_line() {
        let mut reloaded = Reloaded::default();
        assert_eq!(in_words(&reloaded), "nothing has changed");
        reloaded.namespaces_added = vec!["a".into(), "b".into()];
        reloaded.restart_needed = vec!["server.listen".into()];
        assert_eq!(
            in_words(&reloaded),
            "namespaces added: a, b; changed in the file but needs a restart: server.listen"
        );
    }
}
