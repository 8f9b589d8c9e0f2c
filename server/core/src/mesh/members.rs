//! Which notes hold, of all that a node has heard.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::notes::{About, Grant, MEMBERS_MAX, NAMESPACES_MAX, Notes};
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

    /// All notes, for one who knows nothing yet and may know all.
    pub fn notes(&self) -> Notes {
        Notes {
            grants: self.grants.values().cloned().collect(),
            abouts: self.abouts.values().filter(|a| self.speaks(&a.node)).cloned().collect(),
        }
    }

    /// Notes as a node may hear them: they name only namespaces that it may have.
    pub fn told(&self, notes: Notes, to: &NodeId) -> Notes {
        match self.grant(to) {
            Some(grant) => notes.naming_only(grant.namespaces.as_deref()),
            None => notes.naming_only(Some(&[])),
        }
    }

    /// Takes up notes of one who may know all; see [`Members::hear`].
    pub fn learn(&mut self, notes: Notes) -> Notes {
        let me = self.me;
        self.hear(notes, &me)
    }

    /// Takes up notes, and gives those that were new: they are to be passed on. What is said of nodes
    /// that no grant admits is dropped. Of two copies of one note, each may lack names of namespaces:
    /// those that somebody on its way may not have.
    pub fn hear(&mut self, notes: Notes, from: &NodeId) -> Notes {
        let mut new = Notes::default();
        for grant in notes.grants {
            new.grants.extend(self.hear_grant(grant));
        }
        for about in notes.abouts {
            if about.node == self.me {
                new.abouts.extend(self.outdo(&about));
            } else {
                new.abouts.extend(self.hear_about(about, from));
            }
        }
        new
    }

    fn hear_grant(&mut self, mut grant: Grant) -> Option<Grant> {
        grant.namespaces = grant.namespaces.map(|names| union(names, Vec::new()));
        match self.grants.get(&grant.node) {
            Some(known) if known.rank() > grant.rank() => return None,
            Some(known) if known.rank() == grant.rank() => {
                grant.namespaces = match (known.namespaces.clone(), grant.namespaces) {
                    (Some(known), Some(more)) => Some(union(known, more)),
                    _ => None,
                };
                if grant.namespaces == known.namespaces {
                    return None;
                }
            }
            None if self.grants.len() >= MEMBERS_MAX => return None,
            _ => {}
        }
        self.grants.insert(grant.node, grant.clone());
        if !grant.admitted && grant.node != self.me {
            self.abouts.remove(&grant.node);
        }
        Some(grant)
    }

    fn hear_about(&mut self, mut about: About, from: &NodeId) -> Option<About> {
        if !self.speaks(&about.node) {
            return None;
        }
        about.namespaces = union(about.namespaces, Vec::new());
        if let Some(known) = self.abouts.get(&about.node) {
            let known_names = known.namespaces.clone();
            match known.counter.cmp(&about.counter) {
                Ordering::Greater => return None,
                Ordering::Equal => about = About { namespaces: about.namespaces, ..known.clone() },
                Ordering::Less => {}
            }
            // That one who may not know of a namespace is silent about it means nothing.
            let same = known.counter == about.counter;
            let keeps = |name: &Namespace| same || !self.may_know(from, name);
            let kept = known_names.into_iter().filter(keeps).collect();
            about.namespaces = union(kept, about.namespaces);
            if about == *known {
                return None;
            }
        }
        self.abouts.insert(about.node, about.clone());
        Some(about)
    }

    fn may_know(&self, node: &NodeId, namespace: &Namespace) -> bool {
        *node == self.me || self.grant(node).is_some_and(|grant| grant.allows(namespace))
    }

    fn speaks(&self, node: &NodeId) -> bool {
        *node == self.me || self.grant(node).is_some_and(|grant| grant.admitted)
    }

    /// Others remember more of this node than it does: it was put back from a backup, and what it says
    /// now must count more than what it said then. But one that answers is no memory: it is a copy of
    /// this node, and the two would outdo each other for ever.
    fn outdo(&mut self, theirs: &About) -> Option<About> {
        let me = self.abouts.get_mut(&self.me)?;
        let own = theirs.counter == me.counter && theirs.instance == me.instance;
        if theirs.counter < me.counter || own {
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

/// The names of both, in their order.
fn union(mut names: Vec<Namespace>, more: Vec<Namespace>) -> Vec<Namespace> {
    names.extend(more);
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMESPACES_MAX);
    names
}
