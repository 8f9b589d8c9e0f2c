//! What operators ask for: namespaces and members come and go, the configuration is read again, what is
//! hidden or deleted is judged. These requests take their time, so each has a task of its own and the
//! connection goes on.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Clients;
use super::connection::Connection;
use super::out::{Out, Slot};
use crate::namespace::{Setup, database};
use crate::protocol::{Answer, Call, NamespaceInfo, NamespaceLimits};

impl Connection {
    /// Carries out a call that changes the server, or asks other nodes. The answer comes through the slot when it is done.
    pub fn manage(&self, id: u64, call: Call, slot: Slot) {
        let (clients, actor, left) = (self.clients.clone(), self.actor.clone(), self.left.clone());
        self.clients.tasks.spawn(async move {
            if !matches!(call, Call::Acks { .. }) {
                tracing::info!(?actor, "asked for {}", call.method());
            }
            let outcome = clients.manage(call, &left).await;
            if let Err(refusal) = &outcome {
                clients.metrics.refused(refusal.code);
            }
            slot.send(Out::Answer(id, outcome));
        });
    }
}

impl Clients {
    async fn manage(
        self: &Arc<Clients>,
        call: Call,
        left: &CancellationToken,
    ) -> Result<Answer, Refusal> {
        match call {
            Call::NsAdd { ns } => {
                let added = self.namespaces.add(&ns).await?;
                let store = self.space(&ns)?.id();
                Ok(Answer::NsAdded { ns, store, added })
            }
            Call::NsRm { ns } => {
                let file = self.namespaces.remove(&ns).await?.display().to_string();
                Ok(Answer::NsRemoved { ns, file })
            }
            Call::Reload => self.reload().await,
            Call::Purge { ns, key } => self.purge(ns, key).await,
            Call::Judge { ns, key, version, admit } => self.judge(ns, key, version, admit).await,
            Call::QuarantineRetry { ns } => self.quarantine_retry(ns).await,
            Call::Acks { ns, key, version, within_ms } => {
                self.acks(&ns, &key, version, within_ms, left).await
            }
            Call::PeerInvite { namespaces, expires_ms } => self.invite(namespaces, expires_ms),
            Call::PeerAdd { node, namespaces } => self.peer_add(node, namespaces),
            Call::PeerRm { node } => self.peer_rm(node),
            other => {
                let words = format!("{} changes nothing of the server", other.method());
                Err(Refusal::new(Code::UnknownMethod, words))
            }
        }
    }

    async fn reload(&self) -> Result<Answer, Refusal> {
        let nobody = |()| Refusal::new(Code::ShuttingDown, "the server is stopping");
        let (reply, answer) = oneshot::channel();
        self.reloads.send(reply).await.map_err(|_| nobody(()))?;
        answer.await.map_err(|_| nobody(()))?.map(|reloaded| Answer::Reloaded(Box::new(reloaded)))
    }

    /// All about one namespace.
    pub fn ns_info(&self, name: &Namespace) -> Result<NamespaceInfo, Refusal> {
        let space = self.space(name)?;
        let setup = space.setup();
        let file = std::fs::metadata(database(self.namespaces.data(), name));
        Ok(NamespaceInfo {
            status: self.namespace_status(&space),
            epoch: space.store.epoch(),
            made_by: setup.made_by.as_str(),
            replicate: setup.bounds.replicate,
            file_bytes: file.map_or(0, |file| file.len()),
            limits: limits(&setup),
            plugins: setup.chain.names().map(str::to_owned).collect(),
        })
    }
}

fn limits(setup: &Setup) -> NamespaceLimits {
    let ms = |period: Duration| u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
    let bounds = &setup.bounds;
    NamespaceLimits {
        value_bytes_max: bounds.value_bytes_max as u64,
        objects_max: bounds.objects_max,
        bytes_max: bounds.bytes_max,
        writes_per_second: bounds.writes_per_second.map(u64::from),
        history_values: bounds.history.values as u64,
        history_records: bounds.history.records as u64,
        trash_keep_ms: ms(bounds.trash.keep.get()),
        trash_forget_ms: ms(bounds.trash.forget.get()),
    }
}
