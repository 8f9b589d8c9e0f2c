//! Which notes hold, of all that a node has heard.

use std::collections::BTreeMap;

use super::notes::{About, Grant, MEMBERS_MAX, Notes};
use crate::ids::NodeId;
use crate::name::Namespace;

/// By how much a node outdoes a former life of its own: more than it ever says in one life, so that no
/// other memory of that life comes up to it.
pub(super) const LIFE: u64 = 1 << 32;

/// All that a node knows of its mesh.
#[derive(Debug, Clone)]
pub struct Members {
    pub(super) grants: BTreeMap<NodeId, Grant>,
    pub(super) abouts: BTreeMap<NodeId, About>,
    pub(super) me: NodeId,
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

    pub(super) fn holds(&self, node: &NodeId, namespace: &Namespace) -> bool {
        let may = *node == self.me || self.grant(node).is_some_and(|g| g.allows(namespace));
        may && self.abouts.get(node).is_some_and(|about| about.namespaces.contains(namespace))
    }
}
