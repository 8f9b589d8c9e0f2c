//! The single things that happen in a run: faults, joining and leaving, and what clients write.

use keepboth_core::name::{Address, Name, Namespace};
use keepboth_core::value::Value;
use rand::RngExt;

use super::faults::Fault;
use super::world::{VALUES, World};
use crate::network::store_id;
use crate::replica::key;
use crate::store::Wish;

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

impl World {
    pub(super) fn cut(&mut self) {
        let links = self.network.links();
        if !links.is_empty() {
            let (a, b) = links[self.draw(links.len())];
            self.network.break_link(a, b);
        }
    }

    pub(super) fn half_open(&mut self) {
        let links = self.network.links();
        if !links.is_empty() {
            let (from, to) = links[self.draw(links.len())];
            self.network.half_open(from, to);
        }
    }

    pub(super) fn partition(&mut self, node: usize) {
        let count = self.network.nodes.len();
        let all: Vec<(usize, usize)> = (0..count)
            .flat_map(|a| (0..count).map(move |b| (a, b)))
            .filter(|(a, b)| a != b)
            .collect();
        let one = all[self.draw(all.len())];
        let side: Vec<bool> = (0..count).map(|_| self.network.rng.random()).collect();
        let is_cut = |(a, b): &(usize, usize), shape: usize| match shape {
            0 => *a == node || *b == node,
            1 => side[*a] != side[*b],
            2 => side[*a] && !side[*b],
            3 => (*a, *b) == one || (*b, *a) == one,
            _ => (*a, *b) == one,
        };
        let shape = self.draw(5);
        let cut: Vec<_> = all.into_iter().filter(|link| is_cut(link, shape)).collect();
        cut.iter().for_each(|(from, to)| self.network.block(*from, *to));
        self.partitions.push(cut);
    }

    pub(super) fn lift(&mut self) {
        let at = self.draw(self.partitions.len());
        for (from, to) in self.partitions.swap_remove(at) {
            self.network.unblock(from, to);
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.network.crash(node);
        let long = self.draw(4_000) as u64;
        self.down.insert(node, self.network.now + long);
    }

    pub(super) fn backup(&mut self, node: usize) {
        match self.backups[node].take() {
            Some(backup) => {
                self.network.restore(node, backup);
                let long = self.draw(2_000) as u64;
                self.down.insert(node, self.network.now + long);
            }
            None => {
                self.backups[node] = Some(self.network.backup(node));
            }
        }
    }

    /// Hours pass, and all that run forget what they may, and drop it when the others know.
    pub(super) fn pass(&mut self) {
        let long = HOUR * (1 + self.draw(6) as u64);
        self.rest();
        self.network.pass(long);
        for _ in 0..3 {
            for node in 0..self.network.nodes.len() {
                if self.network.nodes[node].up {
                    self.collect(node);
                }
            }
            self.rest();
        }
    }

    /// Nothing new happens for two seconds; what was to happen in them does so after.
    fn rest(&mut self) {
        let end = self.network.now + 2_000;
        for late in 1.. {
            if !self.network.run_until(end) {
                return;
            }
            self.network.plan_step(end + 50 * late);
        }
    }

    pub(super) fn collect(&mut self, node: usize) {
        for namespace in self.namespaces.clone() {
            self.network.collect(node, &namespace);
        }
    }

    /// The next node joins, by an invitation of one that runs.
    pub(super) fn invite(&mut self) {
        let new = self.begun.len();
        let runs =
            |at: &usize| self.network.nodes[*at].up && self.network.members_of(*at).contains(at);
        let inviters: Vec<usize> = match new < self.network.nodes.len() {
            true => self.reachable(new, new).into_iter().filter(runs).collect(),
            false => Vec::new(),
        };
        if inviters.is_empty() {
            return;
        }
        let inviter = inviters[self.draw(inviters.len())];
        if self.draw(4) == 0 && !self.faults.has(Fault::Forgetting) {
            let mut copy = self.network.nodes[inviter].stores.clone();
            for (namespace, store) in &mut copy.0 {
                store.replica.id = store_id(new, namespace);
            }
            self.network.nodes[new].stores = copy;
        }
        self.begun.insert(new);
        self.network.invite(inviter, new);
    }

    /// An operator removes a member, or lets one come back. The first node stays.
    pub(super) fn leave(&mut self, at: usize) {
        let node = self.draw(self.network.nodes.len());
        let members = self.network.members_of(at);
        let may = self.network.nodes[at].up && members.contains(&at);
        if node == 0 || node == at || !may || !self.begun.contains(&node) {
            return;
        }
        let is_member = members.contains(&node);
        self.network.decide(at, node, !is_member);
    }

    /// What the sessions say that peers have, the peers have.
    pub(super) fn audit(&mut self) {
        let last = self.network.acked.len().saturating_sub(20);
        let wrong: Vec<String> = self.network.acked[last..]
            .iter()
            .flat_map(|acked| self.network.false_claims(acked))
            .collect();
        self.network.wrong.extend(wrong);
    }

    pub(super) fn write(&mut self, node: usize) {
        let at = self.draw(self.namespaces.len());
        let namespace = self.namespaces[at].clone();
        let name = self.name(node, &namespace);
        let value = Value::number(self.draw(VALUES) as f64);
        let puts = if self.faults.has(Fault::Hours) { 4 } else { 6 };
        let wish = match self.draw(10) {
            drawn if drawn < puts => Wish::Put(value),
            0..9 => Wish::Delete,
            _ => Wish::Merge(value),
        };
        self.writes += 1;
        self.network.ask(node, &namespace, name, wish);
    }

    pub(super) fn name(&mut self, node: usize, namespace: &Namespace) -> Name {
        let shown: Vec<Address> =
            self.network.store(node, namespace).replica.shown.iter().copied().collect();
        if !shown.is_empty() && self.network.rng.random_bool(0.35) {
            return Name::Address(shown[self.draw(shown.len())]);
        }
        Name::Key(key(&format!("k{}", self.draw(self.keys))))
    }
}
