//! Who may stay, what it may have, and the operator's decisions on members.

use std::collections::BTreeMap;
use std::net::IpAddr;

use keepboth_core::handshake::{Claimed, Token};
use keepboth_core::ids::NodeId;
use keepboth_core::mesh::{Grant, Notes};
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::Admitted;
use keepboth_core::wire::Space as WireSpace;

use super::link::{End, Order};
use super::{Mesh, lock};
use crate::clock;

/// A node that has proven who it is, and how it came.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Who it is.
    pub node: NodeId,
    /// The invitation that it shows.
    pub claimed: Option<Claimed>,
    /// The node that invited this one, if the candidate is expected to be it.
    pub inviter: Option<NodeId>,
    /// Where it is.
    pub address: Option<IpAddr>,
}

impl Mesh {
    /// Decides whether a node may stay, and gives the word on it and what it may have.
    pub(super) fn admit(&self, candidate: &Candidate) -> Result<(Grant, Admitted), Refusal> {
        let node = candidate.node;
        let grant = self.roster().members.grant(&node).cloned();
        match (grant, &candidate.claimed) {
            (Some(grant), _) if grant.admitted => Ok(self.share(grant)),
            (_, Some(claimed)) => {
                let notes = self.roster().redeem(node, claimed, clock::now())?;
                tracing::info!(%node, "admitted to the mesh by an invitation");
                self.decided(&notes);
                self.granted(&node)
            }
            (None, None) if candidate.inviter == Some(node) => {
                tracing::info!(%node, "joined the mesh of the node that sent the invitation");
                self.decide(node, true, None)?;
                self.granted(&node)
            }
            (None, None)
                if self.rules.dev && candidate.address.is_some_and(|a| a.is_loopback()) =>
            {
                tracing::info!(%node, "admitted to the mesh: it is on this machine, and --dev is given");
                self.decide(node, true, None)?;
                self.granted(&node)
            }
            (Some(_), None) => Err(stranger("was removed from this mesh")),
            (None, None) => Err(stranger("is not of this mesh")),
        }
    }

    fn granted(&self, node: &NodeId) -> Result<(Grant, Admitted), Refusal> {
        let grant = self.roster().members.grant(node).cloned();
        grant.map(|grant| self.share(grant)).ok_or_else(|| stranger("is not of this mesh"))
    }

    /// What was decided of a node since it was admitted. Asked of a link that has entered, which decisions
    /// reach from then on: so each is seen here or by [`Mesh::apply_grants`].
    pub(super) fn still_admits(
        &self,
        node: &NodeId,
        granted: Option<&[Namespace]>,
    ) -> Result<(), End> {
        match self.roster().members.grant(node) {
            Some(grant) if !grant.admitted => Err(End::Removed),
            Some(grant) if grant.namespaces.as_deref() == granted => Ok(()),
            _ => Err(End::Anew),
        }
    }

    /// What a member may have.
    fn share(&self, grant: Grant) -> (Grant, Admitted) {
        let (mut spaces, mut marks) = (Vec::new(), BTreeMap::new());
        for space in self.namespaces.shared().values().filter(|s| grant.allows(&s.name)) {
            let mark = space.marks().get(&grant.node).unwrap_or_default();
            spaces.push(WireSpace {
                namespace: space.name.clone(),
                store: space.id(),
                policy: space.policy(),
                away: mark.agreed < space.store.forgotten_high(),
                shown: mark.exchanged.shown,
                seen: mark.exchanged.seen,
            });
            marks.insert(space.name.clone(), mark.agreed);
        }
        let notes = self.notes_for(&grant.node);
        (grant, Admitted { spaces, marks, notes })
    }

    /// All that is known of the mesh, as far as a node may hear it.
    pub(super) fn notes_for(&self, node: &NodeId) -> Notes {
        let roster = self.roster();
        roster.members.told(roster.members.notes(), node)
    }

    /// Makes an invitation for one new node.
    pub fn invite(
        &self,
        namespaces: Option<Vec<Namespace>>,
        expires: u64,
    ) -> Result<Token, Refusal> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| {
            Refusal::new(Code::StoreFailed, format!("no randomness for an invitation: {error}"))
        })?;
        let token = Token::new(self.node, secret);
        self.roster().invite(&token, namespaces, clock::now(), expires)?;
        Ok(token)
    }

    /// Admits or removes a node everywhere.
    pub fn decide(
        &self,
        node: NodeId,
        admitted: bool,
        namespaces: Option<Vec<Namespace>>,
    ) -> Result<(), Refusal> {
        if node == self.node {
            let words = "a node is no member of its own list; ask another node to remove this one";
            return Err(Refusal::new(Code::BadRequest, words));
        }
        let notes = self.roster().decide(node, admitted, namespaces, clock::now())?;
        self.decided(&notes);
        Ok(())
    }

    fn decided(&self, notes: &Notes) {
        self.spread(notes, None);
        self.apply_grants(notes);
        self.changed.notify_waiters();
    }

    /// Ends the links to nodes that were removed or whose rights have changed.
    pub(super) fn apply_grants(&self, notes: &Notes) {
        let links = lock(&self.links);
        for grant in &notes.grants {
            let Some(entry) = links.get(&grant.node) else { continue };
            let order = match grant.admitted {
                true if grant.namespaces == entry.granted => continue,
                true => Order::GreetAnew,
                false => Order::Remove,
            };
            if entry.orders.try_send(order).is_err() {
                entry.stop.cancel();
            }
        }
        drop(links);
        let removed = notes.grants.iter().filter(|grant| !grant.admitted);
        for grant in removed {
            tracing::warn!(node = %grant.node, by = %grant.by, "removed from the mesh");
        }
    }
}

fn stranger(what: &str) -> Refusal {
    Refusal::new(Code::NotAMember, format!("the node {what}")).hint(
        "an operator admits it by mesh.members, `keepboth peer add`, or with `keepboth peer invite`",
    )
}
