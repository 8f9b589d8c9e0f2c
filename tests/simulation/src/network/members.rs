//! Who belongs to the mesh, and which of two connections stays.

use keepboth_core::handshake::{Claimed, Token};
use keepboth_core::ids::NodeId;
use keepboth_core::mesh::Notes;
use keepboth_core::name::Namespace;
use keepboth_core::policy::Policy;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Admitted, Input};
use keepboth_core::wire::{Exchanged, Space};
use rand::RngExt;

use super::node::Node;
use super::{Network, Place};
use crate::planted::Planted;

impl Network {
    /// The caller's answer to a proof: whom the members know may stay, and who shows an invitation of
    /// this node becomes one. A new node trusts the one that invited it.
    pub(super) fn admit(&mut self, place: Place, node: NodeId, claimed: Option<Claimed>) {
        let (at, now) = (place.0, self.wall(place.0));
        let me = &mut self.nodes[at];
        let known = me.members.grant(&node).is_some_and(|grant| grant.admitted);
        let claim = claimed.filter(|claimed| {
            me.invites.get(&claimed.claim.invite).is_some_and(|key| claimed.holds(key))
        });
        let invited = claim.is_some_and(|c| me.invites.remove(&c.claim.invite).is_some());
        let inviter = me.token.as_ref().is_some_and(|token| token.inviter == node);
        let trusted = inviter && me.members.grant(&node).is_none();
        if (invited && !known) || trusted {
            let notes = me.members.decide(node, true, None, now);
            self.note(|| format!("{at} takes {node:?} in"));
            self.spread(at, None, notes);
        }
        let input = if known || invited || trusted {
            let (spaces, marks) = (self.spaces(at, &node), self.marks(at, &node));
            if let Some(end) = self.ends.get_mut(&place) {
                end.marks = marks.clone();
            }
            let notes = self.nodes[at].members.notes();
            Input::Admitted(Box::new(Admitted { spaces, marks, notes }))
        } else {
            Input::Rejected(Refusal::new(Code::NotAMember, "a stranger"))
        };
        self.give(place, input);
    }

    fn spaces(&self, at: usize, node: &NodeId) -> Vec<Space> {
        let me = &self.nodes[at];
        let told = !self.plants(Planted::AwayUnnoticed);
        let space = |(n, s): (&Namespace, &crate::store::Store)| {
            let mark = me.mark(*node, n);
            let exchanged = if told { mark.exchanged } else { Exchanged::default() };
            Space {
                namespace: n.clone(),
                store: s.replica.id,
                policy: Policy::default(),
                away: told && mark.agreed < s.dropped,
                shown: exchanged.shown,
                seen: exchanged.seen,
            }
        };
        me.stores.0.iter().map(space).collect()
    }

    fn marks(&self, at: usize, node: &NodeId) -> std::collections::BTreeMap<Namespace, u64> {
        let marks = self.nodes[at].marks.iter().filter(|((peer, _), _)| peer == node);
        marks.map(|((_, namespace), mark)| (namespace.clone(), mark.agreed)).collect()
    }

    /// Both have greeted: of two connections between the same nodes the one that the smaller id dialled
    /// stays, and of two that the same node dialled the newer; both sides decide alike.
    pub(super) fn greeted(&mut self, place: Place) {
        let (at, peer, epoch) = place;
        let Some(end) = self.ends.get_mut(&place) else { return };
        if end.session.peer().is_none() || std::mem::replace(&mut end.entered, true) {
            return;
        }
        let dialler = |dialled: bool| if dialled { at } else { peer };
        let new = dialler(end.dialled);
        if let Some(old) = self.links.get(&(at, peer)).copied() {
            let old_place = (at, peer, old);
            let former = self.ends.get(&old_place).map(|end| dialler(end.dialled));
            if former.is_some_and(|former| former != new && former < new) {
                self.note(|| format!("{at} keeps its other link to {peer}"));
                return self.close(place, false);
            }
            self.note(|| format!("{at} takes the new link to {peer}"));
            self.links.insert((at, peer), epoch);
            self.close(old_place, false);
        } else {
            self.links.insert((at, peer), epoch);
        }
        let me = &mut self.nodes[at];
        if let (Some(dial), Some(life)) = (me.dials.get_mut(&peer), &self.settings.life) {
            dial.pause = life.redial.start;
        }
        let node = self.nodes[peer].id;
        let said = self.nodes[at].members.say(|me| {
            if !me.links.contains(&node) {
                me.links.push(node);
            }
        });
        self.spread(at, None, said.unwrap_or_default());
    }

    /// The link that stood for the pair is gone.
    pub(super) fn unlink(&mut self, at: usize, peer: usize) {
        self.met.insert((at, peer));
        let node = self.nodes[peer].id;
        let said = self.nodes[at].members.say(|me| me.links.retain(|link| *link != node));
        self.spread(at, None, said.unwrap_or_default());
    }

    /// Takes up what a peer knows of the mesh, and passes on what is new. What this node has to say
    /// against what others remember of it goes to those too.
    pub(super) fn learn(&mut self, at: usize, from: usize, notes: Notes) {
        let new = self.nodes[at].members.learn(notes);
        let me = self.nodes[at].id;
        let own = new.abouts.iter().filter(|about| about.node == me).cloned().collect();
        // An invitation is of no more use to one who is known to be a member.
        let known = self.nodes[at].members.grant(&me).is_some_and(|grant| grant.admitted);
        self.nodes[at].token.take_if(|_| known);
        self.spread(at, Some(from), new);
        self.tell(at, from, &Notes { grants: Vec::new(), abouts: own });
        self.drop_strangers(at);
        self.consider(at);
    }

    fn tell(&mut self, at: usize, peer: usize, notes: &Notes) {
        for place in self.ends_of(at).into_iter().filter(|place| place.1 == peer) {
            if !notes.is_empty() {
                self.give(place, Input::Tell(notes.clone()));
            }
        }
    }

    fn spread(&mut self, at: usize, from: Option<usize>, notes: Notes) {
        if notes.is_empty() {
            return;
        }
        for place in self.ends_of(at) {
            if Some(place.1) != from {
                self.give(place, Input::Tell(notes.clone()));
            }
        }
    }

    /// An operator's word on a node.
    pub fn decide(&mut self, at: usize, node: usize, admitted: bool) {
        self.note(|| format!("{at} says that {node} is a member: {admitted}"));
        let (id, now) = (self.nodes[node].id, self.wall(at));
        let notes = self.nodes[at].members.decide(id, admitted, None, now);
        self.spread(at, None, notes);
        self.drop_strangers(at);
        self.consider(at);
    }

    /// Ends the links to nodes that are no members any more.
    fn drop_strangers(&mut self, at: usize) {
        if self.plants(Planted::RemovedStaysConnected) {
            return;
        }
        for place in self.ends_of(at) {
            let node = self.ends.get(&place).and_then(|end| end.session.node());
            let Some(node) = node else { continue };
            let removed = |grant: &keepboth_core::mesh::Grant| !grant.admitted;
            if self.nodes[at].members.grant(&node).is_some_and(removed) {
                self.note(|| format!("{at} leaves {}: it was removed", place.1));
                self.rejected(place, true);
                self.close(place, true);
            }
        }
    }

    /// An operator makes an invitation at a member, and starts a new node with it.
    pub fn invite(&mut self, at: usize, new: usize) {
        let token = Token::new(self.nodes[at].id, self.rng.random());
        self.nodes[at].invites.insert(token.invite(), token.key());
        self.note(|| format!("{at} invites {new}"));
        self.nodes[new].token = Some(token);
        self.nodes[new].told.insert(at);
        self.start(new);
    }

    /// An invitation that a node has not used yet would let it in after all: operators take it back.
    pub fn revoke(&mut self, node: usize) {
        if let Some(token) = &self.nodes[node].token {
            let invite = token.invite();
            for member in &mut self.nodes {
                member.invites.remove(&invite);
            }
        }
    }

    /// True if the node has an invitation that it can still use.
    pub fn may_join(&self, node: usize) -> bool {
        let invite = self.nodes[node].token.as_ref().map(Token::invite);
        invite.is_some_and(|invite| self.nodes.iter().any(|n| n.invites.contains_key(&invite)))
    }

    /// A node as it is before it starts for the first time: it knows the mesh of the first `members`
    /// nodes if it is one of them, and nobody otherwise.
    pub fn found(&mut self, at: usize, members: usize, namespaces: &[&str]) {
        let known = if at < members { members } else { 0 };
        self.nodes[at] = Node::new(at, known, namespaces);
        self.nodes[at].up = false;
    }

    /// The nodes that a node takes for members, itself included.
    pub fn members_of(&self, at: usize) -> Vec<usize> {
        let admitted = self.nodes[at].members.grants().filter(|grant| grant.admitted);
        let mut members: Vec<usize> = admitted.filter_map(|g| self.number_of(g.node)).collect();
        members.sort_unstable();
        members
    }

    /// True if the link stands at both ends.
    pub fn is_linked(&self, a: usize, b: usize) -> bool {
        let link = self.links.get(&(a, b));
        link.is_some() && link == self.links.get(&(b, a))
    }
}
