//! Hours in which nothing happens, members that were away for longer than they are waited for, and stores from before.

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::version::Event;

use super::node::{Marks, Node, Noted};
use super::{Acked, Network, Place};
use crate::store::Stores;

/// What an operator keeps of a node's disk.
#[derive(Clone)]
pub struct Backup {
    stores: Stores,
    marks: Marks,
    noted: Noted,
}

impl Network {
    /// What is on a node's disk.
    pub fn backup(&self, at: usize) -> Backup {
        let Node { stores, marks, noted, .. } = &self.nodes[at];
        let (stores, marks, noted) = (stores.clone(), marks.clone(), noted.clone());
        Backup { stores, marks, noted }
    }

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

    /// Versions come, some of which were forgotten by all that were waited for. Such a one may come back in
    /// two cases only, for then nobody can tell that it should not: if the sender changed the key since it
    /// last agreed with this node, as far as it remembers, for an update beats a delete; or if this node was
    /// put back to a copy from before that agreement, for then it may lack the version for that reason, and
    /// the sender has the last copy of what was answered for. Any other is a fault.
    pub(super) fn come_back(&mut self, place: Place, namespace: &Namespace, events: &[Event]) {
        let (at, peer, epoch) = place;
        for event in events {
            let name = (namespace.clone(), event.key.clone(), event.version.id);
            let sender = (self.nodes[peer].id, namespace.clone());
            if self.nodes[at].forgets.contains(&sender)
                || !self.gone.contains(&name)
                || self.store(at, namespace).knows(&name.1, &name.2)
            {
                continue;
            }
            let end = self.ends.get(&(peer, at, epoch));
            let mark = end.and_then(|end| end.marks.get(namespace)).copied();
            // A sender that has nothing of it any more sent this before all of that.
            let last = self.store(peer, namespace).last(&event.key);
            if last.is_some_and(|last| last <= mark.unwrap_or(0)) {
                self.came_back.insert(name);
            }
        }
    }

    /// What is deleted since others have nothing of it was deleted by somebody, and forgotten.
    pub(super) fn check_buried(&mut self, at: usize, namespace: &Namespace, key: &Key) {
        let gone = |id: &VersionId| self.gone.contains(&(namespace.clone(), key.clone(), *id));
        if !self.store(at, namespace).tips(key).iter().all(gone) {
            let words = format!("at {}: {at} buries {key}, which nobody has deleted", self.now);
            self.wrong.push(words);
        }
    }

    /// The node is put back to an old copy; what it has raised it knows.
    pub fn restore(&mut self, at: usize, backup: Backup) {
        self.crash(at);
        self.note(|| format!("{at} is put back to its backup"));
        let Backup { mut stores, marks, noted } = backup;
        for (namespace, store) in &mut stores.0 {
            store.replica.keep_raised(&self.nodes[at].stores.0[namespace].replica);
        }
        let id = self.nodes[at].id;
        for namespace in stores.0.keys() {
            let when = |noted: &Noted, peer: NodeId| noted.get(&(peer, namespace.clone())).copied();
            // What a peer took up later, this node had shown it after it last wrote down where both stood.
            let forgets = |node: &&Node| when(&node.noted, id) > when(&noted, node.id);
            let peers = self.nodes.iter().filter(forgets).map(|node| (node.id, namespace.clone()));
            let peers: Vec<_> = peers.collect();
            self.nodes[at].forgets.extend(peers);
        }
        (self.nodes[at].marks, self.nodes[at].noted) = (marks, noted);
        let former = std::mem::replace(&mut self.nodes[at].stores, stores);
        let acked = std::mem::take(&mut self.acked);
        let had = |stores: &Stores, acked: &Acked| {
            stores.0[&acked.namespace].has_had(&acked.key, &acked.version)
        };
        // What nobody else has ever had is lost with the disk, and nobody can know of it.
        let kept = |acked: &Acked| {
            !had(&former, acked) || self.nodes.iter().any(|node| had(&node.stores, acked))
        };
        self.acked = acked.into_iter().filter(kept).collect();
        // Its sequences are given anew.
        for acked in self.acked.iter_mut().filter(|acked| acked.at == at) {
            acked.sequence = u64::MAX;
        }
    }
}
