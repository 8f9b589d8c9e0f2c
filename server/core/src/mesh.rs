//! Who belongs to the mesh, what members say of themselves, and which way an event takes.
//!
//! Two kinds of notes spread from node to node until all have them. A *grant* is an operator's: a node
//! is admitted or removed. An *about* is a node's own: its addresses, its namespaces, and to whom it is
//! connected. Of two notes about the same node the one with the larger counter holds; of two grants with
//! the same counter the removal. So all nodes that have heard the same notes agree, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::ids::NodeId;
use crate::limits::figure;
use crate::name::Namespace;
use crate::refusal::{Code, Refusal};

/// Most nodes of which a node keeps notes.
pub const MEMBERS_MAX: usize = 1_024;
/// Most addresses of a node, and most bytes of one.
pub const ADDRESSES_MAX: usize = 16;
/// Most bytes of an address.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Most namespaces of which a note may speak.
pub const NAMESPACES_MAX: usize = 10_000;
/// Most bytes of the name and version of a node's software.
pub const AGENT_BYTES_MAX: usize = 256;

/// Bytes of notes after which a message is sent and the next begun.
const PART_BYTES: usize = 256 * 1024;
/// By how much a node outdoes a former life of its own: more than it ever says in one life, so that no
/// other memory of that life comes up to it.
const LIFE: u64 = 1 << 32;

/// An operator's word on a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Larger than that of any earlier word on it.
    #[n(1)]
    pub counter: u64,
    /// False if the node was removed.
    #[n(2)]
    pub admitted: bool,
    /// The namespaces that it may have; None for all.
    #[n(3)]
    pub namespaces: Option<Vec<Namespace>>,
    /// The node at which the operator said so.
    #[n(4)]
    pub by: NodeId,
    /// When, in milliseconds since 1970, for people.
    #[n(5)]
    pub at: u64,
}

impl Grant {
    /// True if the node may have this namespace.
    pub fn allows(&self, namespace: &Namespace) -> bool {
        let listed = |names: &Vec<Namespace>| names.contains(namespace);
        self.admitted && self.namespaces.as_ref().is_none_or(listed)
    }

    fn rank(&self) -> (u64, bool, NodeId, &Option<Vec<Namespace>>) {
        (self.counter, !self.admitted, self.by, &self.namespaces)
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct About {
    /// Who says it.
    #[n(0)]
    pub node: NodeId,
    /// Larger than that of anything it said before.
    #[n(1)]
    pub counter: u64,
    /// Its software and version.
    #[n(2)]
    pub agent: String,
    /// Where it can be dialled: URLs.
    #[n(3)]
    pub addresses: Vec<String>,
    /// The namespaces that it shares.
    #[n(4)]
    pub namespaces: Vec<Namespace>,
    /// The nodes to which it is connected.
    #[n(5)]
    pub links: Vec<NodeId>,
    /// Which run of the node says it, drawn at random at its start.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub instance: [u8; 16],
}

impl About {
    /// About how many bytes it takes in a message.
    fn size(&self) -> usize {
        let texts = self.addresses.iter().map(String::as_str);
        let texts = texts.chain(self.namespaces.iter().map(Namespace::as_str));
        160 + self.agent.len() + 34 * self.links.len() + texts.map(|t| t.len() + 4).sum::<usize>()
    }
}

/// Notes on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Notes {
    /// Operators' words.
    #[n(0)]
    pub grants: Vec<Grant>,
    /// What nodes say of themselves.
    #[n(1)]
    pub abouts: Vec<About>,
}

impl Notes {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.abouts.is_empty()
    }

    /// Cuts the notes into parts that a message can hold.
    pub fn parts(self) -> Vec<Notes> {
        let (mut parts, mut part, mut bytes) = (Vec::new(), Notes::default(), 0);
        let mut cut = |part: &mut Notes, bytes: &mut usize, size: usize| {
            if *bytes + size > PART_BYTES && !part.is_empty() {
                parts.push(std::mem::take(part));
                *bytes = 0;
            }
            *bytes += size;
        };
        for grant in self.grants {
            let names = grant.namespaces.iter().flatten().map(|name| name.as_str().len() + 4);
            cut(&mut part, &mut bytes, 100 + names.sum::<usize>());
            part.grants.push(grant);
        }
        for about in self.abouts {
            cut(&mut part, &mut bytes, about.size());
            part.abouts.push(about);
        }
        if !part.is_empty() {
            parts.push(part);
        }
        parts
    }

    /// Refuses what is larger than an honest node's notes.
    pub fn check(&self) -> Result<(), Refusal> {
        let too = |what: &str, count: usize, limit: usize| {
            let words = format!("{} {what}, the limit is {}", figure(count), figure(limit));
            Err(Refusal::new(Code::BadFrame, words))
        };
        for names in self.grants.iter().filter_map(|grant| grant.namespaces.as_ref()) {
            if names.len() > NAMESPACES_MAX {
                return too("namespaces of a grant", names.len(), NAMESPACES_MAX);
            }
        }
        for about in &self.abouts {
            if about.agent.len() > AGENT_BYTES_MAX {
                return too("bytes of an agent", about.agent.len(), AGENT_BYTES_MAX);
            }
            if about.addresses.len() > ADDRESSES_MAX {
                return too("addresses of a node", about.addresses.len(), ADDRESSES_MAX);
            }
            if let Some(long) = about.addresses.iter().find(|a| a.len() > ADDRESS_BYTES_MAX) {
                return too("bytes of an address", long.len(), ADDRESS_BYTES_MAX);
            }
            if about.links.len() > MEMBERS_MAX {
                return too("links of a node", about.links.len(), MEMBERS_MAX);
            }
            if about.namespaces.len() > NAMESPACES_MAX {
                return too("namespaces of a node", about.namespaces.len(), NAMESPACES_MAX);
            }
        }
        let notes = self.grants.len().max(self.abouts.len());
        if notes > MEMBERS_MAX { too("notes at once", notes, MEMBERS_MAX) } else { Ok(()) }
    }
}

/// All that a node knows of its mesh.
#[derive(Debug, Clone)]
pub struct Members {
    grants: BTreeMap<NodeId, Grant>,
    abouts: BTreeMap<NodeId, About>,
    me: NodeId,
    /// Another run that spoke for this node and was outdone.
    outdone: Option<[u8; 16]>,
    twin: bool,
}

impl Members {
    /// A node that says this of itself and knows of nobody.
    pub fn new(me: About) -> Members {
        let node = me.node;
        let abouts = BTreeMap::from([(node, me)]);
        Members { grants: BTreeMap::new(), abouts, me: node, outdone: None, twin: false }
    }

    /// True once it is certain that a copy of this node runs elsewhere: both speak for the same id.
    pub fn has_twin(&self) -> bool {
        self.twin
    }

    /// The node whose knowledge this is.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// All notes, for one who knows nothing yet.
    pub fn notes(&self) -> Notes {
        Notes {
            grants: self.grants.values().cloned().collect(),
            abouts: self.abouts.values().filter(|a| self.speaks(&a.node)).cloned().collect(),
        }
    }

    /// Takes up notes, and gives those that were new: they are to be passed on. What is said of nodes
    /// that no grant admits is dropped.
    pub fn learn(&mut self, notes: Notes) -> Notes {
        let mut new = Notes::default();
        for grant in notes.grants {
            if self.learn_grant(&grant) {
                new.grants.push(grant);
            }
        }
        for about in notes.abouts {
            if about.node == self.me {
                new.abouts.extend(self.outdo(&about));
            } else if self.learn_about(&about) {
                new.abouts.push(about);
            }
        }
        new
    }

    fn learn_grant(&mut self, grant: &Grant) -> bool {
        match self.grants.get(&grant.node) {
            Some(known) if known.rank() >= grant.rank() => return false,
            None if self.grants.len() >= MEMBERS_MAX => return false,
            _ => {}
        }
        self.grants.insert(grant.node, grant.clone());
        if !grant.admitted && grant.node != self.me {
            self.abouts.remove(&grant.node);
        }
        true
    }

    fn learn_about(&mut self, about: &About) -> bool {
        let newer = self.abouts.get(&about.node).is_none_or(|a| a.counter < about.counter);
        if newer && self.speaks(&about.node) {
            self.abouts.insert(about.node, about.clone());
            return true;
        }
        false
    }

    fn speaks(&self, node: &NodeId) -> bool {
        *node == self.me || self.grant(node).is_some_and(|grant| grant.admitted)
    }

    /// Others remember more of this node than it does: it was put back from a backup, and what it says
    /// now must count more than what it said then. But one that answers is no memory: it is a copy of
    /// this node, and the two would outdo each other for ever.
    fn outdo(&mut self, theirs: &About) -> Option<About> {
        let me = self.abouts.get_mut(&self.me)?;
        if theirs.counter < me.counter || theirs == me {
            return None;
        }
        if theirs.instance != me.instance && self.outdone == Some(theirs.instance) {
            // The copy is to find it out as well: it is answered once more.
            if std::mem::replace(&mut self.twin, true) {
                return None;
            }
        }
        self.outdone = Some(theirs.instance);
        me.counter = theirs.counter.saturating_add(LIFE);
        Some(me.clone())
    }

    /// Says something new of this node; the note that is to be passed on, if anything changed.
    pub fn say(&mut self, change: impl FnOnce(&mut About)) -> Option<Notes> {
        let me = self.abouts.get_mut(&self.me)?;
        let before = me.clone();
        change(me);
        if *me == before {
            return None;
        }
        me.counter = before.counter.saturating_add(1);
        Some(Notes { grants: Vec::new(), abouts: vec![me.clone()] })
    }

    /// An operator's word on a node, that outdoes all that was said of it.
    pub fn decide(
        &mut self,
        node: NodeId,
        admitted: bool,
        namespaces: Option<Vec<Namespace>>,
        at: u64,
    ) -> Notes {
        let counter = self.grant(&node).map_or(0, |grant| grant.counter).saturating_add(1);
        let grant = Grant { node, counter, admitted, namespaces, by: self.me, at };
        self.learn(Notes { grants: vec![grant], abouts: Vec::new() })
    }

    /// The last word on a node.
    pub fn grant(&self, node: &NodeId) -> Option<&Grant> {
        self.grants.get(node)
    }

    /// What a node says of itself.
    pub fn about(&self, node: &NodeId) -> Option<&About> {
        self.abouts.get(node)
    }

    /// The words on all nodes, removed ones too.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// The other members.
    pub fn others(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values().filter(|grant| grant.admitted && grant.node != self.me)
    }

    /// The other members that may have a namespace and, as far as is known, do.
    pub fn holders(&self, namespace: &Namespace) -> impl Iterator<Item = NodeId> {
        self.others().filter(|grant| self.holds(&grant.node, namespace)).map(|grant| grant.node)
    }

    fn holds(&self, node: &NodeId, namespace: &Namespace) -> bool {
        let may = *node == self.me || self.grant(node).is_some_and(|g| g.allows(namespace));
        may && self.abouts.get(node).is_some_and(|about| about.namespaces.contains(namespace))
    }

    /// To whom this node passes on an event of `maker`: those who hear of it by this node and not
    /// sooner. From `maker` outwards every node hears from its neighbour that is nearest to `maker`, of
    /// several from the one with the smallest id. Where all are connected to `maker` that is nobody. Nodes
    /// with different knowledge may send an event twice or not at all: the first is dropped, the second
    /// is what repair is for.
    pub fn route(&self, maker: &NodeId, namespace: &Namespace) -> Vec<NodeId> {
        let (mut heard, mut ring) = (BTreeSet::from([*maker]), BTreeSet::from([*maker]));
        while !ring.is_empty() {
            let mut next = BTreeSet::new();
            let mut mine = Vec::new();
            // In the order of their ids: the smallest tells.
            for node in &ring {
                for neighbour in self.neighbours(node, namespace) {
                    if !heard.contains(&neighbour) && next.insert(neighbour) && *node == self.me {
                        mine.push(neighbour);
                    }
                }
            }
            if ring.contains(&self.me) {
                return mine;
            }
            heard.extend(&next);
            ring = next;
        }
        Vec::new()
    }

    /// The other ends of the links that both ends speak of.
    fn neighbours(&self, node: &NodeId, namespace: &Namespace) -> BTreeSet<NodeId> {
        let Some(about) = self.abouts.get(node) else { return BTreeSet::new() };
        let linked = |other: &&NodeId| {
            let back = self.abouts.get(*other);
            self.holds(other, namespace) && back.is_some_and(|back| back.links.contains(node))
        };
        about.links.iter().filter(linked).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn notes() -> Namespace {
        Namespace::new("notes").expect("a name")
    }

    fn about(n: u8, links: &[u8]) -> About {
        About {
            node: node(n),
            counter: 1,
            agent: "test".into(),
            addresses: vec![format!("ws://10.0.0.{n}:7400")],
            namespaces: vec![notes()],
            links: links.iter().map(|n| node(*n)).collect(),
            instance: [n; 16],
        }
    }

    fn grant(n: u8, counter: u64, admitted: bool, by: u8) -> Grant {
        Grant { node: node(n), counter, admitted, namespaces: None, by: node(by), at: 0 }
    }

    /// What node `me` knows of a mesh in which these are connected.
    fn members(me: u8, count: u8, links: &[(u8, u8)]) -> Members {
        let of = |n| {
            let ends = links.iter().filter(|(a, b)| *a == n || *b == n);
            ends.map(|(a, b)| if *a == n { *b } else { *a }).collect::<Vec<_>>()
        };
        let mut members = Members::new(about(me, &of(me)));
        let grants = (0..count).map(|n| grant(n, 1, true, 0)).collect();
        let abouts = (0..count).filter(|n| *n != me).map(|n| about(n, &of(n))).collect();
        members.learn(Notes { grants, abouts });
        members
    }

    /// How often each node gets an event of node 0, and over how many links it goes.
    fn spread(count: u8, links: &[(u8, u8)]) -> Vec<u8> {
        let mut times = vec![0; usize::from(count)];
        for n in 0..count {
            for to in members(n, count, links).route(&node(0), &notes()) {
                times[usize::from(to.0[0])] += 1;
            }
        }
        times
    }

    #[test]
    fn in_a_full_mesh_nobody_passes_on_and_in_any_other_everybody_hears_once() {
        let all: Vec<(u8, u8)> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
        assert_eq!(spread(5, &all), [0, 1, 1, 1, 1]);
        for n in 1..5 {
            assert!(members(n, 5, &all).route(&node(0), &notes()).is_empty());
        }
        assert_eq!(spread(5, &[(0, 1), (1, 2), (2, 3), (3, 4)]), [0, 1, 1, 1, 1], "a line");
        assert_eq!(spread(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]), [0, 1, 1, 1], "a ring");
        assert_eq!(spread(5, &[(3, 0), (3, 1), (3, 2), (3, 4)]), [0, 1, 1, 1, 1], "a star");
        assert_eq!(spread(3, &[(1, 2)]), [0, 0, 0], "alone");
    }

    #[test]
    fn notes_that_come_in_any_order_leave_all_with_the_same() {
        let words = [
            grant(1, 1, true, 0),
            grant(1, 2, false, 2),
            grant(1, 2, true, 3),
            grant(2, 5, true, 1),
            grant(2, 5, true, 4),
        ];
        let learn = |order: &[usize]| {
            let mut members = Members::new(about(9, &[]));
            for at in order {
                let grants = vec![words[*at].clone()];
                members.learn(Notes { grants, abouts: Vec::new() });
            }
            members.grants
        };
        let first = learn(&[0, 1, 2, 3, 4]);
        assert!(!first[&node(1)].admitted, "of two words at once the removal holds");
        for order in [[4, 3, 2, 1, 0], [2, 1, 0, 4, 3], [1, 4, 0, 3, 2]] {
            assert_eq!(learn(&order), first);
        }
    }

    #[test]
    fn what_is_known_is_not_passed_on_again() {
        let mut members = members(0, 3, &[]);
        let known = members.notes();
        assert!(members.learn(known).is_empty());
        let said = members.say(|me| me.links.push(node(1))).expect("something new");
        assert_eq!(said.abouts[0].counter, 2);
        assert_eq!(members.say(|_| {}), None);
    }

    #[test]
    fn a_removed_node_is_forgotten_until_it_is_admitted_again() {
        let mut members = members(0, 3, &[]);
        members.decide(node(1), false, None, 7);
        assert_eq!(members.about(&node(1)), None);
        assert_eq!(members.holders(&notes()).collect::<Vec<_>>(), [node(2)]);
        let talk = Notes { grants: Vec::new(), abouts: vec![about(1, &[])] };
        assert!(members.learn(talk.clone()).is_empty(), "strangers have no say");
        members.decide(node(1), true, Some(vec![]), 8);
        assert_eq!(members.learn(talk.clone()), talk);
        assert!(!members.grant(&node(1)).expect("a grant").allows(&notes()));
    }

    #[test]
    fn a_node_that_was_put_back_outdoes_what_others_remember_of_it() {
        let mut members = members(0, 2, &[]);
        let said = |counter, instance| {
            let about = About { counter, instance: [instance; 16], ..about(0, &[1]) };
            Notes { grants: Vec::new(), abouts: vec![about] }
        };
        let new = members.learn(said(40, 7));
        assert_eq!((new.abouts[0].counter, new.abouts[0].links.len()), (40 + LIFE, 0));
        assert!(members.learn(said(45, 7)).is_empty(), "outdone already");
        assert!(!members.has_twin());
        assert!(!members.learn(said(41 + LIFE, 7)).is_empty(), "the copy is to find out as well");
        assert!(members.has_twin());
        assert!(
            members.learn(said(42 + 2 * LIFE, 7)).is_empty(),
            "a copy of this node is not answered for ever"
        );
    }

    #[test]
    fn two_copies_of_a_node_that_hear_of_each_other_both_find_out() {
        let copy = |instance| Members::new(About { instance: [instance; 16], ..about(0, &[]) });
        let (mut one, mut other) = (copy(7), copy(8));
        let mut said = one.say(|me| me.links.push(node(1))).expect("news");
        for _ in 0..10 {
            said = other.learn(said);
            said = one.learn(said);
        }
        assert!(one.has_twin() && other.has_twin());
        assert!(said.is_empty(), "and come to rest");
    }

    #[test]
    fn the_largest_counter_keeps_nobody_from_removing_a_node() {
        let mut members = members(0, 3, &[]);
        let said = About { counter: u64::MAX, ..about(0, &[]) };
        let grants = vec![grant(1, u64::MAX, true, 1)];
        members.learn(Notes { grants, abouts: vec![said] });
        assert!(!members.decide(node(1), false, None, 7).is_empty());
        assert!(!members.grant(&node(1)).expect("a grant").admitted);
        assert!(members.say(|me| me.links.push(node(2))).is_some());
    }
}
