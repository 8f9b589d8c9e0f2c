//! Whether a version is everywhere: what every member that has the namespace says, or was last known to have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::mesh::About;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::link::Order;
use super::{Mesh, lock};
use crate::clock;
use crate::namespace::Space;
use crate::protocol::Ack;

/// A question to one peer.
#[derive(Debug)]
pub struct Question {
    /// The namespace.
    pub namespace: Namespace,
    /// The key.
    pub key: Key,
    /// The version.
    pub version: VersionId,
    /// Takes the answer.
    pub answer: oneshot::Sender<bool>,
}

impl Mesh {
    /// Asks every member that has the namespace whether it has a version, and waits for answers until
    /// `until`. A member that is not connected is known to have what it has acknowledged.
    pub async fn acks(
        &self,
        space: &Space,
        key: &Key,
        version: VersionId,
        within: Duration,
    ) -> Result<Vec<Ack>, Refusal> {
        let sequence = space.store.snapshot().sequence_of_version(key, &version)?;
        let sequence = sequence.ok_or_else(|| {
            let words = format!("version {version} is not in the history of {:?}", key.as_str());
            Refusal::new(Code::NotFound, words)
        })?;
        let until = Instant::now() + within;
        let mut asked = BTreeMap::new();
        for node in self.holders(space) {
            let (answer, answered) = oneshot::channel();
            let (namespace, key) = (space.name.clone(), key.clone());
            let question = Question { namespace, key, version, answer };
            let sent = lock(&self.links)
                .get(&node)
                .is_some_and(|link| link.orders.try_send(Order::Ask(question)).is_ok());
            asked.insert(node, sent.then_some(answered));
        }
        let mut acks = Vec::new();
        for (node, answered) in asked {
            acks.push(match answered {
                Some(answered) => answer_of(node, timeout_at(until, answered).await.ok()),
                None => self.remembered(space, node, sequence),
            });
        }
        Ok(acks)
    }

    /// The other members that have a namespace, or may have it as far as is known: one that was never
    /// heard of may. Nobody, if the namespace is not shared.
    pub fn holders(&self, space: &Space) -> Vec<NodeId> {
        self.holding(space).into_iter().map(|(node, _)| node).collect()
    }

    /// The same, each with the time when it was admitted.
    fn holding(&self, space: &Space) -> Vec<(NodeId, u64)> {
        if !space.setup().bounds.replicate {
            return Vec::new();
        }
        let may = |about: Option<&About>| {
            about.is_none_or(|about| about.namespaces.contains(&space.name))
        };
        let roster = self.roster();
        let members = roster.members.others().filter(|grant| grant.allows(&space.name));
        let members = members.filter(|grant| may(roster.members.about(&grant.node)));
        members.map(|grant| (grant.node, grant.at)).collect()
    }

    /// The sequence up to which every member that may need it has everything.
    pub fn horizon(&self, space: &Space) -> u64 {
        let last = space.store.counts().last_sequence;
        let (connected, now) = (space.peers(), clock::now());
        let there = |(node, admitted)| match connected.contains_key(&node) {
            true => (node, now),
            false => (node, admitted),
        };
        let members = self.holding(space).into_iter().map(there);
        let expire = u64::try_from(self.rules.expire.as_millis()).unwrap_or(u64::MAX);
        space.marks().horizon(members, last, now, expire)
    }

    fn remembered(&self, space: &Space, node: NodeId, sequence: u64) -> Ack {
        let agreed = space.marks().agreed(&node).unwrap_or(0);
        let (held, why) = match sequence <= agreed {
            true => (Some(true), "it is not connected, and had it when it last was".to_owned()),
            false => (None, "it is not connected".to_owned()),
        };
        Ack { node, held, why }
    }
}

fn answer_of(node: NodeId, answer: Option<Result<bool, oneshot::error::RecvError>>) -> Ack {
    let (held, why) = match answer {
        Some(Ok(true)) => (Some(true), "it says so"),
        Some(Ok(false)) => (Some(false), "it says that it has not"),
        Some(Err(_)) => (None, "the link ended before it answered"),
        None => (None, "it did not answer in time"),
    };
    Ack { node, held, why: why.to_owned() }
}

/// How far a write has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// The members that have it.
    pub nodes: Vec<NodeId>,
    /// The members that were not heard of in time.
    pub missing: Vec<NodeId>,
}

impl Reached {
    /// True if so many have it.
    pub fn is_enough(&self, wait: Wait) -> bool {
        match wait {
            Wait::All => self.missing.is_empty(),
            Wait::Count(count) => self.nodes.len() >= count,
        }
    }
}

/// For how many members a write waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// All that are known to have the namespace.
    All,
    /// So many.
    Count(usize),
}

impl Mesh {
    /// Waits until enough members have what was written with this sequence, or until the time is over.
    pub async fn reach(
        &self,
        space: &Arc<Space>,
        sequence: u64,
        wait: Wait,
        within: Duration,
    ) -> Reached {
        let until = Instant::now() + within;
        loop {
            let moved = space.peers_moved();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let reached = self.reached(space, sequence);
            if reached.is_enough(wait) || timeout_at(until, moved).await.is_err() {
                return self.reached(space, sequence);
            }
        }
    }

    fn reached(&self, space: &Space, sequence: u64) -> Reached {
        let peers = space.peers();
        let has = |node: &NodeId| {
            let live = peers.get(node).is_some_and(|peer| peer.standing.has(sequence));
            live || space.marks().agreed(node).is_some_and(|agreed| agreed >= sequence)
        };
        let (nodes, missing) = self.holders(space).into_iter().partition(has);
        Reached { nodes, missing }
    }
}
