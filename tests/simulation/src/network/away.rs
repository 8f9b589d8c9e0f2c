//! Hours in which nothing happens, members that were away for longer than they are waited for, and stores from before.

use keepboth_core::name::Namespace;

use super::node::Marks;
use super::{Acked, Network, Place};
use crate::store::Stores;

impl Network {
    /// The time on a node's wall.
    pub(super) fn wall(&self, at: usize) -> u64 {
        self.nodes[at].wall(self.now + self.idle)
    }

    /// So long nothing happens. Who is connected sees the other all the while.
    pub fn pass(&mut self, long: u64) {
        self.note(|| format!("{long} ms pass"));
        self.idle += long;
        let awake = |at: usize| self.nodes[at].up && self.nodes[at].paused.is_none();
        let alive = |(at, peer, epoch): &Place| {
            let both = self.ends.contains_key(&(*peer, *at, *epoch));
            let blocked = self.is_blocked(*at, *peer) || self.is_blocked(*peer, *at);
            both && !blocked && awake(*at) && awake(*peer)
        };
        let alive: Vec<Place> = self.ends.keys().filter(|place| alive(place)).copied().collect();
        for place in alive {
            self.measure(place);
        }
    }

    /// The sequence up to which every member has everything that is waited for.
    pub(super) fn horizon(&self, at: usize, namespace: &Namespace) -> u64 {
        let (me, now) = (&self.nodes[at], self.wall(at));
        let last = self.store(at, namespace).sequence();
        let holding = me.members.others().filter_map(|grant| {
            let mark = me.mark(grant.node, namespace);
            let linked =
                self.number_of(grant.node).is_some_and(|n| self.links.contains_key(&(at, n)));
            let there = if linked { now } else { grant.at };
            (now.saturating_sub(mark.at.max(there)) <= self.settings.expire).then_some(mark.agreed)
        });
        holding.min().unwrap_or(last).min(last)
    }

    /// Two nodes meet. What one of them changed, or may have changed, since it last agreed with the other
    /// may come back, although it was forgotten while that one was away or is of before.
    pub(super) fn excuse(&mut self, at: usize, peer: usize) {
        let (me, they) = (&self.nodes[at], &self.nodes[peer]);
        for (namespace, store) in &me.stores.0 {
            let missed = |node: &super::Node| {
                node.stores.0[namespace].dropped > node.mark(me.id, namespace).agreed
            };
            let mark = me.mark(they.id, namespace);
            let told = mark.met < they.mark(me.id, namespace).met;
            let upto = match (me.restored && !told, self.nodes.iter().any(missed)) {
                (true, _) => 0,
                (false, true) => mark.agreed,
                (false, false) if me.restored => mark.agreed,
                (false, false) => continue,
            };
            let newer = store.replica.keys.keys().filter(|key| store.last(key) > Some(upto));
            self.excused.extend(newer.map(|key| (namespace.clone(), key.clone())));
        }
    }

    /// The node is put back to an old copy; what it has raised it knows.
    pub fn restore(&mut self, at: usize, (stores, marks): (Stores, Marks)) {
        self.crash(at);
        self.note(|| format!("{at} is put back to its backup"));
        let mut stores = stores;
        for (namespace, store) in &mut stores.0 {
            store.replica.keep_raised(&self.nodes[at].stores.0[namespace].replica);
        }
        self.nodes[at].marks = marks;
        self.nodes[at].restored = true;
        let former = std::mem::replace(&mut self.nodes[at].stores, stores);
        let acked = std::mem::take(&mut self.acked);
        let held = |stores: &Stores, acked: &Acked| {
            stores.0[&acked.namespace].knows(&acked.key, &acked.version)
        };
        let kept = |acked: &Acked| {
            !held(&former, acked)
                || self.is_gone(acked)
                || self.nodes.iter().any(|node| held(&node.stores, acked))
        };
        self.acked = acked.into_iter().filter(kept).collect();
        // Its sequences are given anew.
        for acked in self.acked.iter_mut().filter(|acked| acked.at == at) {
            acked.sequence = u64::MAX;
        }
    }
}
