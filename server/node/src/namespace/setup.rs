//! What the configuration says of a namespace: its bounds and its plugins.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use keepboth_core::ids::NodeId;
use keepboth_core::policy::{Fingerprint, Policy};
use keepboth_store::Keep;

use super::unfit::Unfit;
use crate::config::{Config, Durability, History, NamespaceConfig, Trash};
use crate::hooks::Chain;

/// What holds in a namespace from one reading of the configuration to the next.
#[derive(Clone)]
pub struct Setup {
    /// Its bounds.
    pub bounds: Bounds,
    /// Its plugins.
    pub chain: Chain,
    /// Why it is there.
    pub made_by: MadeBy,
}

impl Setup {
    /// Has the objects held against the schemas of this setup, if they are others than before.
    pub(super) fn hold_against(&self, unfit: &Unfit) {
        let bound = self.chain.names().any(is_schema);
        unfit.hold_against(policy(&self.bounds, &self.chain).schema, bound);
    }
}

fn is_schema(name: &str) -> bool {
    name == keepboth_schema::FACTORY.name
}

/// The setup that holds now, shared by all parts of a namespace and swapped at once.
pub type Current = Arc<ArcSwap<Setup>>;

/// Why a namespace is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// The configuration names it.
    Config,
    /// Somebody asked for it.
    Command,
}

impl MadeBy {
    /// The word in frames.
    pub fn as_str(self) -> &'static str {
        match self {
            MadeBy::Config => "config",
            MadeBy::Command => "command",
        }
    }
}

/// Bounds of a namespace, from the config.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Most bytes of a value.
    pub value_bytes_max: usize,
    /// Most objects.
    pub objects_max: Option<u64>,
    /// Most bytes of all stored values.
    pub bytes_max: Option<u64>,
    /// Most writes of clients in a second.
    pub writes_per_second: Option<u32>,
    /// When a write is answered.
    pub durability: Durability,
    /// How much of the past of each key is kept.
    pub history: History,
    /// How long what was deleted is kept.
    pub trash: Trash,
    /// Threads that run before-hooks.
    pub hook_threads: usize,
    /// Writes that may wait for their turn in the hooks, and in the store.
    pub queue_writes_max: usize,
    /// Writes whose after-hooks have not run yet; further ones wait at the door.
    pub after_queue_max: usize,
    /// How deep hooks may answer each other's writes.
    pub hook_depth_max: u8,
    /// True if peers may have it.
    pub replicate: bool,
}

impl Bounds {
    /// The bounds of a namespace of this configuration.
    pub fn of(config: &Config, own: &NamespaceConfig) -> Bounds {
        let limits = &config.limits;
        Bounds {
            value_bytes_max: config.value_bytes_max(own),
            objects_max: own.objects_max,
            bytes_max: own.bytes_max.map(|bytes| bytes.get() as u64),
            writes_per_second: own.writes_per_second,
            durability: own.durability,
            history: own.history.clone(),
            trash: own.trash.clone(),
            hook_threads: limits.hook_threads,
            queue_writes_max: limits.queue_writes_max,
            after_queue_max: limits.after_queue_max,
            hook_depth_max: limits.hook_depth_max,
            replicate: own.replicate,
        }
    }

    /// What of it the store holds, on this node.
    pub(super) fn options(&self, node: NodeId) -> keepboth_store::Options {
        keepboth_store::Options {
            node,
            value_bytes_max: self.value_bytes_max,
            objects_max: self.objects_max,
            bytes_max: self.bytes_max,
            queue_tasks_max: self.queue_writes_max,
            durability: self.durability.into(),
            ..Default::default()
        }
    }
}

impl Bounds {
    /// What retention keeps.
    pub fn keep(&self) -> Keep {
        Keep {
            values: self.history.values as u64,
            records: self.history.records as u64,
            trash_keep: ms(self.trash.keep.get()),
            trash_forget: ms(self.trash.forget.get()),
        }
    }
}

fn ms(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

/// What a node with these bounds and plugins accepts and keeps, by part. The rate of writes is left out:
/// it says how fast clients may write here, not what is accepted. So is whether the namespace is shared.
pub fn policy(bounds: &Bounds, chain: &Chain) -> Policy {
    let limits = Fingerprint::new()
        .with_number(Some(bounds.value_bytes_max as u64))
        .with_number(bounds.objects_max)
        .with_number(bounds.bytes_max);
    let retention = Fingerprint::new()
        .with_number(Some(bounds.history.values as u64))
        .with_number(Some(bounds.history.records as u64))
        .with_number(Some(ms(bounds.trash.keep.get())))
        .with_number(Some(ms(bounds.trash.forget.get())));
    Policy {
        schema: chain.fingerprint_of(is_schema).short(),
        limits: limits.short(),
        hooks: chain.fingerprint_of(|name| !is_schema(name)).short(),
        retention: retention.short(),
    }
}

#[cfg(test)]
mod tests {
    use keepboth_core::name::Key;
    use keepboth_core::plugin::{Plugin, Points, Worker};
    use keepboth_core::refusal::{Code, Refusal};
    use keepboth_core::value::Value;

    use super::*;
    use crate::hooks::Bound;
    use crate::made::Made;
    use crate::meters::Meters;

    /// Refuses a value of a single byte; panics at the key `panic`.
    struct Picky(u8);

    impl Plugin for Picky {
        fn points(&self) -> Points {
            Points::default()
        }

        fn worker(&self) -> Result<Box<dyn Worker>, String> {
            Err("has none".into())
        }

        fn admit(&self, key: &Key, value: Option<&Value>) -> Result<(), Refusal> {
            assert_ne!(key.as_str(), "panic");
            match value {
                Some(value) if value.as_bytes()[..] == [self.0] => {
                    Err(Refusal::new(Code::SchemaRefused, self.0.to_string()))
                }
                _ => Ok(()),
            }
        }

        fn fingerprint(&self) -> [u8; 32] {
            [self.0; 32]
        }
    }

    fn chain(plugins: &[(&str, u8)]) -> Chain {
        let bound = |(name, byte): &(&str, u8)| {
            let plugin: Arc<dyn Plugin> = Arc::new(Picky(*byte));
            let made = Made::of(name, plugin).expect("no panic");
            Arc::new(Bound::new(made, Meters::unseen(name)))
        };
        Chain::new(plugins.iter().map(bound).collect())
    }

    fn bounds() -> Bounds {
        Bounds::of(&Config::default(), &NamespaceConfig::default())
    }

    #[test]
    fn a_policy_differs_in_the_part_that_was_changed_and_in_no_other() {
        let plain = policy(&bounds(), &chain(&[("lua", 1), ("schema", 2)]));
        let of = |bounds: &Bounds, plugins: &[(&str, u8)]| {
            plain.differs(&policy(bounds, &chain(plugins)))
        };
        let same: &[(&str, u8)] = &[("lua", 1), ("schema", 2)];
        assert_eq!(of(&bounds(), same), Vec::<&str>::new());
        assert_eq!(of(&bounds(), &[("lua", 1), ("schema", 3)]), ["schema"]);
        assert_eq!(of(&bounds(), &[("lua", 3), ("schema", 2)]), ["hooks"]);
        assert_eq!(of(&bounds(), &[("lua", 1)]), ["schema"]);
        assert_eq!(of(&bounds(), &[("schema", 2), ("audit", 1)]), ["hooks"]);
        let small = Bounds { bytes_max: Some(1), ..bounds() };
        assert_eq!(of(&small, same), ["limits"]);
        let short = Bounds { history: History { values: 1, records: 2 }, ..bounds() };
        assert_eq!(of(&short, same), ["retention"]);
        let slow = Bounds { writes_per_second: Some(1), replicate: false, ..bounds() };
        assert_eq!(of(&slow, same), Vec::<&str>::new());
    }

    #[test]
    fn the_first_plugin_that_does_not_admit_a_version_says_why() {
        let (key, chain) = (|k: &str| Key::new(k).expect("a key"), chain(&[("a", 1), ("b", 2)]));
        let value = |byte: u8| Value::bytes(vec![byte]);
        assert_eq!(chain.admit(&key("k"), Some(&value(3))), Ok(()));
        assert_eq!(chain.admit(&key("k"), None), Ok(()));
        for byte in [1, 2] {
            let refusal = chain.admit(&key("k"), Some(&value(byte))).expect_err("refused");
            assert_eq!(refusal.message, byte.to_string());
        }
        let refusal = chain.admit(&key("panic"), None).expect_err("refused");
        assert!(refusal.message.starts_with("plugin a panicked"), "{refusal}");
    }
}
