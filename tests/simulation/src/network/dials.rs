//! Processes that start, stop and stand still, and whom they dial.

use keepboth_core::session::Side;
use rand::RngExt;

use super::ends::End;
use super::node::Dial;
use super::{Happening, Network, Place};

impl Network {
    /// The process starts, and dials whom it knows.
    pub fn start(&mut self, at: usize) {
        self.nodes[at].up = true;
        self.note(|| format!("{at} starts"));
        self.consider(at);
    }

    /// The process stands still for so long.
    pub fn pause(&mut self, at: usize, long: u64) {
        self.note(|| format!("{at} stands still for {long} ms"));
        let until = self.now + long;
        let me = &mut self.nodes[at];
        me.paused = me.paused.max(Some(until));
        self.schedule(until, Happening::Resume { at });
    }

    pub(super) fn resume(&mut self, at: usize) {
        if self.nodes[at].paused.is_some_and(|until| until <= self.now) {
            self.note(|| format!("{at} goes on"));
            self.nodes[at].paused = None;
            for happening in std::mem::take(&mut self.nodes[at].parked) {
                self.happen(happening);
            }
        }
    }

    /// How long until every process goes on.
    pub fn longest_pause(&self) -> u64 {
        let pauses = self.nodes.iter().filter_map(|node| node.paused);
        pauses.max().unwrap_or(0).saturating_sub(self.now)
    }

    /// The process ends, and is not started again.
    pub fn stop(&mut self, at: usize) {
        self.note(|| format!("{at} is stopped"));
        for place in self.ends_of(at) {
            self.close(place, false);
        }
        self.end_life(at);
        self.nodes[at].up = false;
    }

    /// Whom a node would dial: those that it was told of, and members that say where they are.
    pub(super) fn known(&self, at: usize) -> Vec<usize> {
        let me = &self.nodes[at];
        let abouts = me.members.others().filter_map(|grant| me.members.about(&grant.node));
        let addresses = abouts.flat_map(|about| about.addresses.iter());
        let mut known: Vec<usize> = addresses.filter_map(|text| text.parse().ok()).collect();
        known.extend(&me.told);
        known.sort_unstable();
        known.dedup();
        known.retain(|to| *to != at);
        known
    }

    /// Plans to dial whom this node lacks.
    pub(super) fn consider(&mut self, at: usize) {
        let Some(life) = self.settings.life.clone() else { return };
        if !self.nodes[at].up {
            return;
        }
        for to in self.known(at) {
            let linked = self.links.contains_key(&(at, to));
            let me = &mut self.nodes[at];
            let first = Dial { pause: life.redial.start, busy: false };
            let dial = me.dials.entry(to).or_insert(first);
            if linked || dial.busy {
                continue;
            }
            dial.busy = true;
            let (pause, number) = (dial.pause, me.life);
            dial.pause = (2 * pause).min(life.redial.end);
            // Between half of the pause and all of it, so that nodes do not come back in step.
            let due = self.now + self.rng.random_range(pause / 2..pause + 1);
            self.schedule(due, Happening::Dial { at, life: number, to });
        }
    }

    pub(super) fn dial(&mut self, at: usize, to: usize) {
        let Some(rules) = self.settings.life.clone() else { return };
        if self.links.contains_key(&(at, to)) || !self.known(at).contains(&to) {
            self.nodes[at].dials.remove(&to);
            return;
        }
        let life = self.nodes[at].life;
        let wait = self.draw(self.settings.delay.clone()) + self.draw(self.settings.delay.clone());
        if self.is_blocked(at, to) || self.is_blocked(to, at) {
            let due = self.now + rules.connect_within;
            self.schedule(due, Happening::Failed { at, life, to });
        } else if !self.nodes[to].up {
            self.schedule(self.now + wait, Happening::Failed { at, life, to });
        } else {
            self.schedule(self.now + wait, Happening::Connected { at, life, to });
        }
    }

    pub(super) fn dialled(&mut self, at: usize, to: usize) {
        if !self.nodes[to].up {
            return self.dial_again(at, to);
        }
        let node = self.nodes[to].id;
        let token = self.nodes[at].token.clone().filter(|token| token.inviter == node);
        let expected = self.nodes[at].members.about(&node).map(|about| about.node);
        self.join_ends(at, to, Side::Dialled { expected, token });
    }

    pub(super) fn dial_again(&mut self, at: usize, to: usize) {
        if let Some(dial) = self.nodes[at].dials.get_mut(&to) {
            dial.busy = false;
        }
        self.consider(at);
    }

    /// One that refuses what this node says, or is refused, would be so again at once.
    pub(super) fn rejected(&mut self, place: Place, rejected: bool) {
        let Some(life) = self.settings.life.clone() else { return };
        if let Some(dial) = self.nodes[place.0].dials.get_mut(&place.1).filter(|_| rejected) {
            dial.pause = life.redial.end;
        }
    }

    /// A connection is over: if this node dialled it, it may dial again.
    pub(super) fn ended(&mut self, (at, peer, _): Place, end: &End) {
        if end.dialled
            && let Some(dial) = self.nodes[at].dials.get_mut(&peer)
        {
            dial.busy = false;
        }
        self.consider(at);
    }
}
