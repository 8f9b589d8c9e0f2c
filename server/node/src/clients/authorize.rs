//! Whether a client may have its request carried out: decided from its grants, before anything else.

use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::{Grants, Right};
use keepboth_core::refusal::Refusal;

use super::Clients;
use crate::gates::Access;
use crate::protocol::{BatchOp, Call};

impl Clients {
    /// Refuses what the client may not do: `unauthenticated` if nobody knows it, `forbidden` with the
    /// right that it would need.
    pub fn authorize(&self, access: &Access, call: &Call) -> Result<(), Refusal> {
        let Some(grants) = access.grants()? else { return Ok(()) };
        let key = |ns, name: &Name, right| self.need_name(grants, ns, name, right);
        match call {
            Call::Hello { .. } | Call::Unwatch { .. } => Ok(()),
            Call::Get { ns, key: name }
            | Call::History { ns, key: name, .. }
            | Call::GetVersion { ns, key: name, .. }
            | Call::Acks { ns, key: name, .. } => key(ns, name, Right::Read),
            Call::Conflict { ns, key } => grants.need(ns, key.as_str(), Right::Read),
            Call::List { ns, prefix, .. } | Call::Watch { ns, prefix, .. } => {
                grants.need(ns, prefix.as_deref().unwrap_or_default(), Right::Read)
            }
            Call::Conflicts { ns, .. }
            | Call::Trash { ns, .. }
            | Call::SchemaReport { ns, .. }
            | Call::Query { ns, .. } => grants.need(ns, "", Right::Read),
            Call::Put { ns, key: name, .. } | Call::Revert { ns, key: name, .. } => {
                key(ns, name, Right::Write)
            }
            Call::Restore { ns, key, .. } => grants.need(ns, key.as_str(), Right::Write),
            Call::Delete { ns, key: name, .. } => key(ns, name, Right::Delete),
            Call::Resolve { ns, key, .. } => grants.need(ns, key.as_str(), Right::Resolve),
            Call::Batch { ns, ops, .. } => ops.iter().enumerate().try_for_each(|(number, op)| {
                let outcome = match op {
                    BatchOp::Put { key: name, .. } | BatchOp::Revert { key: name, .. } => {
                        key(ns, name, Right::Write)
                    }
                    BatchOp::Delete { key: name, .. } => key(ns, name, Right::Delete),
                    BatchOp::Resolve { key, .. } => grants.need(ns, key.as_str(), Right::Resolve),
                };
                outcome.map_err(|refusal| refusal.in_batch(number))
            }),
            Call::Status { ns: Some(ns) } | Call::NsInfo { ns } => know(grants, ns),
            // It tells of the namespaces that the client may know.
            Call::Status { ns: None } => Ok(()),
            Call::Purge { ns, key } | Call::Judge { ns, key, .. } => {
                grants.need(ns, key.as_str(), Right::Admin)
            }
            Call::Quarantine { ns, .. }
            | Call::QuarantineRetry { ns }
            | Call::Plugin { ns, .. }
            | Call::NsAdd { ns }
            | Call::NsRm { ns } => grants.need(ns, "", Right::Admin),
            Call::Reload
            | Call::Peers { .. }
            | Call::PeerInvite { .. }
            | Call::PeerAdd { .. }
            | Call::PeerRm { .. } => grants.need_all(Right::Admin),
        }
    }

    /// An address is held against the grants by the key whose history it belongs to. One of no key known
    /// here needs the right on the whole namespace, so that nobody learns by it what is there.
    fn need_name(
        &self,
        grants: &Grants,
        ns: &Namespace,
        name: &Name,
        right: Right,
    ) -> Result<(), Refusal> {
        if grants.allow(ns, "", right) {
            return Ok(());
        }
        let key = match name {
            Name::Key(key) => return grants.need(ns, key.as_str(), right),
            Name::Address(_) => match self.space(ns) {
                Ok(space) => space.store.snapshot().key_of(name)?,
                Err(_) => None,
            },
        };
        let allowed = key.is_some_and(|key| grants.allow(ns, key.as_str(), right));
        if allowed { Ok(()) } else { grants.need(ns, &name.to_string(), right) }
    }
}

/// Whether the client may know that the namespace is there.
fn know(grants: &Grants, ns: &Namespace) -> Result<(), Refusal> {
    match grants.know(ns) {
        true => Ok(()),
        false => grants.need(ns, "", Right::Read),
    }
}
