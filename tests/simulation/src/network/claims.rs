//! What is held against the truth while a run goes on: what sessions say that peers have, and that names stay.

use keepboth_core::name::{Address, Branch, Key, Name, Namespace};
use keepboth_core::session::Standing;
use keepboth_core::version::{Change, Event};

use super::{Acked, Network};

impl Network {
    /// Who is said to have a write and does not.
    pub fn false_claims(&self, acked: &Acked) -> Vec<String> {
        let mut wrong = Vec::new();
        for place in self.ends_of(acked.at) {
            let (at, peer, epoch) = place;
            let both = self.ends.get(&place).filter(|_| self.ends.contains_key(&(peer, at, epoch)));
            let Some(end) = both else { continue };
            let standings = end.session.standings(&self.nodes[at].stores);
            let says = |standing: &Standing| standing.has(acked.sequence);
            let said = standings.iter().any(|(n, s)| *n == acked.namespace && says(s));
            let has = self.store(peer, &acked.namespace).knows(&acked.key, &acked.version);
            if said && !has && !self.is_gone(acked) {
                let (key, version) = (&acked.key, &acked.version);
                let sequence = acked.sequence;
                wrong.push(format!(
                    "at {}: {at} says that {peer} has {version:?} of {key}, sequence {sequence}: {standings:?}",
                    self.now
                ));
            }
        }
        wrong
    }

    /// True if everybody had it, and it was deleted and forgotten.
    pub fn is_gone(&self, acked: &Acked) -> bool {
        let name = (acked.namespace.clone(), acked.key.clone(), acked.version);
        self.gone.contains(&name)
    }

    /// The branch of the one version that is shown under an address, if a write to it must keep it.
    pub(super) fn own_name(&self, at: usize, namespace: &Namespace, name: &Name) -> Option<Branch> {
        let Name::Address(address) = name else { return None };
        let (key, view) = self.view_of(at, namespace, address)?;
        let shown = view.shown(&address.branch).and_then(|place| view.at(place))?;
        let alone = shown.heads.len() == 1 && view.main_heads.len() > 1;
        (alone && key.hash() == address.key).then_some(address.branch)
    }

    fn view_of(
        &self,
        at: usize,
        namespace: &Namespace,
        address: &Address,
    ) -> Option<(Key, &keepboth_core::view::View)> {
        let replica = &self.store(at, namespace).replica;
        let key = replica.key_of(&Name::Address(*address))?;
        let view = replica.view(&key)?;
        Some((key, view))
    }

    /// After a write to an address: what it made stands under that address still, if anywhere apart.
    pub(super) fn check_name(
        &mut self,
        at: usize,
        namespace: &Namespace,
        branch: Branch,
        made: &Event,
    ) {
        let Some(view) = self.store(at, namespace).replica.view(&made.key) else { return };
        let sides = if view.in_conflict() { &view.candidates[..] } else { &[] };
        let objects = sides.iter().chain(&view.detached);
        let mut own = objects.filter(|o| o.heads.len() == 1 && *o.version() == made.version.id);
        if made.version.change == Change::Put
            && let Some(object) = own.next()
            && object.branch != branch
        {
            let words =
                format!("{at} renamed {:?} of {} by a write to it", made.version.id, made.key);
            self.wrong.push(words);
        }
    }
}
