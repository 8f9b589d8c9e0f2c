//! Which way an event takes from node to node.

use std::collections::BTreeSet;

use super::Members;
use crate::ids::NodeId;
use crate::name::Namespace;

impl Members {
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
