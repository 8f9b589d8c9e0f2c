//! What every run must end with.

use std::collections::BTreeSet;

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Address, Namespace};

use super::faults::Fault;
use super::world::World;
use crate::store::Store;

/// What is wrong with a run, in words.
pub type Wrong = String;

macro_rules! hold {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}

impl World {
    /// The members, as the first node sees it.
    pub fn members(&self) -> Vec<usize> {
        self.network.members_of(0).into_iter().filter(|node| self.begun.contains(node)).collect()
    }

    /// None if all members agree on who belongs and are connected as far as they reach each other, and
    /// on what they hold; or else the first thing in which they do not.
    pub fn difference(&self) -> Option<Wrong> {
        let (network, members) = (&self.network, self.members());
        if let Some(node) = self.begun.iter().find(|node| network.may_join(**node)) {
            return Some(format!("{node} has an invitation and is no member"));
        }
        // Who was removed has no link.
        for (a, b) in network.links() {
            let strange = members.contains(&a) && !members.contains(&b);
            if strange && network.is_linked(a, b) {
                return Some(format!("{a} and {b} are linked, the members are {members:?}"));
            }
        }
        for at in &members {
            let theirs = network.members_of(*at);
            let all = network.members_of(0);
            if theirs != all {
                return Some(format!("{at} takes {theirs:?} for members, the first node {all:?}"));
            }
            for peer in members.iter().filter(|peer| **peer > *at) {
                let reach = self.shape.joins(*at, *peer, network.nodes.len());
                if reach != network.is_linked(*at, *peer) {
                    return Some(format!(
                        "{at} and {peer} reach each other {reach}, linked {}",
                        !reach
                    ));
                }
                for (at, peer) in [(*at, *peer), (*peer, *at)].into_iter().filter(|_| reach) {
                    let stores = &network.nodes[at].stores;
                    for (name, standing) in network.session(at, peer).standings(stores) {
                        if !(standing.agrees && standing.settled && standing.behind == 0) {
                            return Some(format!("{at} with {peer} on {name}: {standing:?}"));
                        }
                    }
                }
            }
            for name in &self.namespaces {
                if network.store(*at, name).root() != network.store(0, name).root() {
                    return Some(format!("{at} has another digest of {name} than the first node"));
                }
            }
        }
        None
    }

    /// Everything that must hold once all is mended.
    pub fn check(&mut self) -> Result<(), Wrong> {
        if let Some(words) = self.difference() {
            return Err(words);
        }
        for name in self.namespaces.clone() {
            self.check_stores(&name)?;
        }
        self.check_kept()?;
        self.check_talk()?;
        self.check_silence()?;
        self.check_queues()
    }

    fn check_stores(&self, name: &Namespace) -> Result<(), Wrong> {
        let members = self.members();
        let plain = |store: &&Store| store.replica.hidden.is_empty();
        let stores = || members.iter().map(|node| self.network.store(*node, name));
        let first = self.network.store(0, name);
        let shown = stores().find(plain);
        for (node, store) in members.iter().zip(stores()) {
            store.is_sound()?;
            hold!(
                store.versions() == first.versions(),
                "{node} holds other versions than the first"
            );
            let lost = store.replica.lost();
            hold!(lost.is_empty(), "{node} shows these values nowhere: {lost:?}");
            let raised: BTreeSet<_> = store.replica.raised.iter().collect();
            hold!(raised.len() == store.replica.raised.len(), "{node} raised a conflict twice");
            // What a schema hides is seen by others only.
            if let Some(shown) = shown.filter(|_| plain(&store)) {
                hold!(store.views() == shown.views(), "{node} shows {name} otherwise than others");
                let keeps = |a: &&Address| first.keeps(&a.key) && store.keeps(&a.key);
                for address in store.replica.shown.iter().filter(keeps).take(50) {
                    let (here, there) =
                        (store.replica.meaning(address), shown.replica.meaning(address));
                    hold!(
                        here == there,
                        "{address} means {here:?} on {node} and {there:?} elsewhere"
                    );
                }
            }
        }
        Ok(())
    }

    /// What a client was told is done is there, or was deleted and forgotten by all.
    fn check_kept(&self) -> Result<(), Wrong> {
        let members = self.members();
        for acked in &self.network.acked {
            let store = self.network.store(0, &acked.namespace);
            let (key, version) = (&acked.key, acked.version);
            // Who was removed takes along what no member ever had of it, since it was last put back.
            let has_had =
                |node: &usize| self.network.store(*node, &acked.namespace).has_had(key, &version);
            let mut had = (0..self.network.nodes.len()).filter(has_had).peekable();
            let left = match had.peek() {
                None => !members.contains(&acked.at),
                Some(_) => had.all(|node| !members.contains(&node)),
            };
            if left || store.knows(key, &version) {
                continue;
            }
            hold!(
                self.network.is_gone(acked),
                "the write {version:?} of {key} at {} is lost",
                acked.at
            );
            let name = |parent: &VersionId| (acked.namespace.clone(), key.clone(), *parent);
            let below = |parent: &VersionId| {
                store.knows(key, parent) && self.network.came_back.contains(&name(parent))
            };
            let shown = !store.forgotten.contains(key) && !store.is_deleted(key);
            let back = shown && acked.parents.iter().any(below);
            hold!(!back, "what {version:?} of {key} stood on came back without it");
        }
        let wrong = self.network.wrong.first();
        hold!(wrong.is_none(), "{}", wrong.map(String::as_str).unwrap_or_default());
        Ok(())
    }

    /// Nothing waits, and nothing ever grew without bound.
    fn check_queues(&self) -> Result<(), Wrong> {
        for (at, peer) in self.network.links() {
            let burden = self.network.session(at, peer).burden();
            hold!(burden == Default::default(), "{at} still holds for {peer}: {burden:?}");
        }
        let most = self.network.most;
        // A session asks for a key, and has it in doubt, once. These are all the keys that clients name: what
        // was forgotten by all is dropped, so fewer may be held by now than were asked for.
        let keys = self.keys * self.namespaces.len();
        let told = self.network.told as usize;
        let bounds = [
            ("bulk", most.session.bulk, 400 + 40 * keys),
            ("asked", most.session.asked, keys),
            ("comparing", most.session.comparing, 600 + 4 * keys),
            ("held", most.session.held, 64),
            ("replacing", most.session.replacing, keys),
            ("unacked", most.session.unacked, told),
            ("outbox", most.outbox, self.outbox_max()),
        ];
        for (what, held, bound) in bounds {
            hold!(held <= bound, "a session held {held} of {what}, more than {bound}");
        }
        Ok(())
    }

    /// What an outbox with a limit may hold: the limit, and answers to what was read.
    fn outbox_max(&self) -> usize {
        self.network.settings.outbox.saturating_add(300_000)
    }

    /// Messages in proportion to writes and connections; each event once over each link if all is well.
    fn check_talk(&self) -> Result<(), Wrong> {
        let network = &self.network;
        let count = |kind: &str| network.sent.kinds.get(kind).copied().unwrap_or_default();
        let about_the_mesh = count("greet") + count("prove") + count("hello") + count("notes");
        let nodes = network.nodes.len() as u64;
        let talk = network.sent.messages - about_the_mesh;
        // Measured: about 17 at most, where much is written to one key and each event goes by itself.
        let bound = 25 * (network.told + 10 * network.connected);
        hold!(talk <= bound, "{talk} messages, more than {bound}: {:?}", network.sent);
        let bound = 20 * nodes * (network.connected + nodes);
        hold!(count("notes") <= bound, "{} notes, more than {bound}", count("notes"));
        // Measured: about 30 at most, of 8 nodes that all disagree about one key.
        let bound = 100 * self.writes;
        hold!(network.merged <= bound, "{} merges by hooks, more than {bound}", network.merged);
        hold!(count("conflict") <= network.announced, "a note of a conflict was passed on");
        if self.is_healthy() {
            for ((a, b, _, version), times) in &network.crossed {
                hold!(*times == 1, "{version:?} crossed the link of {a} and {b} {times} times");
            }
        }
        let tampered = self.faults.has(Fault::Tampering);
        for (at, peer, refusal) in network.closed.iter().filter(|_| !tampered) {
            let known = refusal.message == "a stranger";
            hold!(known, "{at} closed to {peer}: {refusal}");
        }
        Ok(())
    }

    /// Time alone makes nobody talk.
    fn check_silence(&mut self) -> Result<(), Wrong> {
        let before = self.network.sent.messages;
        let long = (2 * self.network.settings.compare_every).max(6_000);
        let end = self.network.now + long;
        self.network.run_until(end);
        let after = self.network.sent.messages - before;
        hold!(after == 0, "{after} messages about nothing");
        Ok(())
    }
}
