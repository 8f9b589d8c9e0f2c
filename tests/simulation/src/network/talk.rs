//! What a session is told, and what it wants: messages, work for the stores, words for the log.

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::session::{Input, Output, Standing};
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::wire::Message;
use rand::RngExt;

use super::ends::{End, Frame};
use super::show::{events_of, kind, show_message};
use super::{Happening, Network, Place};
use crate::planted::Planted;
use crate::store::Store;

/// Who the peer is, and what a session says of it.
type Claims = (Option<NodeId>, Vec<(Namespace, Standing)>);

impl Network {
    /// Takes what no store should.
    pub(super) fn swallow(&mut self, at: usize, message: &Message) {
        if let Message::Live { namespace, events, .. }
        | Message::Histories { namespace, events, .. } = message
        {
            for event in events {
                if self.nodes[at].stores.0.contains_key(namespace) {
                    self.store_mut(at, namespace).receive(event);
                }
            }
        }
    }

    pub(super) fn answer(&mut self, place: Place, input: Input) {
        if let Some(end) = self.ends.get_mut(&place) {
            end.applying = end.applying.saturating_sub(1);
            self.give(place, input);
            self.read(place);
        }
    }

    pub(super) fn tick(&mut self, place: Place) {
        self.give(place, Input::Tick);
        let Some(end) = self.ends.get_mut(&place) else { return };
        let (now, most) = (self.now, self.settings.applying);
        let (silent, greeted) = (now - end.heard, end.entered);
        let life =
            self.settings.life.clone().filter(|_| !self.settings.plants(Planted::NoHeartbeat));
        if let Some(life) = life {
            let dead = end.applying < most && silent > 2 * life.ping_every;
            if dead || (!greeted && now - end.began > life.greet_within) {
                self.note(|| {
                    format!("{} gives {} up after {silent} ms of silence", place.0, place.1)
                });
                return self.finish(place);
            }
            if now - end.pinged >= life.ping_every {
                end.pinged = now;
                self.post(place, Frame::Ping);
            }
        }
        self.measure(place);
        if self.has_missed(place) {
            return self.close(place, false);
        }
        self.schedule(now + self.settings.tick, Happening::Tick { place });
    }

    /// True if this node has forgotten since the two greeted what the peer may not know of: they greet anew,
    /// and it is told.
    fn has_missed(&self, place: Place) -> bool {
        let Some(end) = self.ends.get(&place) else { return false };
        let me = &self.nodes[place.0];
        let missed = |(namespace, standing): &(Namespace, Standing)| {
            let agreed = me.mark(self.nodes[place.1].id, namespace).agreed;
            !standing.away && agreed < me.stores.0[namespace].dropped
        };
        let tells = self.settings.life.is_some() && !self.plants(Planted::AwayUnnoticed);
        tells && end.session.standings(&me.stores).iter().any(missed)
    }

    pub(super) fn measure(&mut self, place: Place) {
        let Some(end) = self.ends.get(&place) else { return };
        self.most.session = self.most.session.max(&end.session.burden());
        self.most.outbox = self.most.outbox.max(end.waiting);
        let claims = (end.session.node(), end.session.standings(&self.nodes[place.0].stores));
        self.note_marks(place.0, claims);
    }

    /// Remembers how far both sides agreed.
    pub(super) fn keep_marks(&mut self, at: usize, end: &End) {
        let claims = (end.session.node(), end.session.standings(&self.nodes[at].stores));
        self.note_marks(at, claims);
    }

    fn note_marks(&mut self, at: usize, (node, standings): Claims) {
        let Some(node) = node else { return };
        let now = self.wall(at);
        for (namespace, standing) in standings {
            let root = self.nodes[at].stores.0.get(&namespace).map(Store::root);
            let (name, me) = ((node, namespace), &mut self.nodes[at]);
            if standing.theirs == root {
                me.forgets.remove(&name);
            }
            if !standing.catches_up {
                me.noted.insert(name.clone(), self.now);
            }
            me.marks.entry(name).or_default().note(&standing, now);
        }
    }

    /// True if there is room for live events on the way to the peer.
    pub(super) fn has_room(&mut self, place: Place) -> bool {
        let full = self.ends.get(&place).is_some_and(|end| end.waiting >= self.settings.outbox);
        let drawn = self.rng.random_bool(self.settings.no_room);
        !(full || drawn)
    }

    pub(super) fn pump(&mut self, place: Place) {
        let budget = self.rng.random_range(self.settings.budget.clone());
        let Some(end) = self.ends.get_mut(&place) else { return };
        end.pumping = false;
        if end.waiting <= self.settings.outbox {
            end.session.more(&self.nodes[place.0].stores, budget);
        }
        self.carry_out(place);
    }

    /// Gives an input to the session of a link and carries out what it wants.
    pub fn handle(&mut self, at: usize, peer: usize, input: Input) {
        if let Some(place) = self.place(at, peer) {
            self.give(place, input);
        }
    }

    pub(super) fn give(&mut self, place: Place, input: Input) {
        // Steady clocks of nodes have nothing to do with each other.
        let clock = self.now + place.0 as u64 * 1_000_000;
        let Some(end) = self.ends.get_mut(&place) else { return };
        end.session.handle(input, &self.nodes[place.0].stores, clock);
        self.carry_out(place);
    }

    pub(super) fn carry_out(&mut self, place: Place) {
        let (at, peer, _) = place;
        let Some(end) = self.ends.get_mut(&place) else { return };
        for output in end.session.take() {
            match output {
                Output::Send(message) => self.send(place, message),
                Output::Close(refusal) => {
                    self.note(|| format!("{at} closes to {peer}: {refusal}"));
                    self.closed.push((at, peer, refusal));
                    return match self.settings.life {
                        Some(_) => {
                            self.rejected(place, true);
                            self.close(place, true);
                        }
                        None => self.cut(at, peer),
                    };
                }
                Output::Admit { node, claimed } => self.admit(place, node, claimed),
                Output::Notes(notes) => self.learn(at, peer, notes),
                Output::Warn(words) => {
                    self.note(|| format!("{at} warns of {peer}: {words}"));
                    self.nodes[at].warnings.push(words);
                }
                Output::Heard(id) => {
                    self.nodes[at].heard.insert(id);
                }
                Output::Holds { .. } => {}
                Output::Apply { .. } | Output::Forget { .. } | Output::Bury { .. } => {
                    self.work(place, output)
                }
            }
        }
        self.greeted(place);
        let pause = self.draw(self.settings.pause.clone());
        if let Some(end) = self.ends.get_mut(&place)
            && end.session.has_bulk()
            && !end.pumping
        {
            end.pumping = true;
            self.schedule(self.now + pause, Happening::Pump { place });
        }
    }

    pub(super) fn send(&mut self, place: Place, mut message: Message) {
        let (from, to, _) = place;
        if self.plants(Planted::NoRepairOnReconnect)
            && self.met.contains(&(from, to))
            && matches!(message, Message::Compare { .. })
        {
            return;
        }
        self.tamper(&mut message);
        self.note(|| format!("{from} -> {to} {}", show_message(&message)));
        let bytes = message.encode();
        *self.sent.kinds.entry(kind(&message)).or_default() += 1;
        self.sent.messages += 1;
        self.sent.bytes += bytes.len() as u64;
        *self.sent.sizes.entry(kind(&message)).or_default() += bytes.len() as u64;
        self.sent.largest = self.sent.largest.max(bytes.len() as u64);
        self.sent.events += events_of(&message);
        self.sent.last = self.now;
        if let Message::Live { maker, events, .. } = &message {
            for event in events {
                let crossing = (from.min(to), from.max(to), *maker, event.version.id);
                *self.crossed.entry(crossing).or_default() += 1;
            }
        }
        self.post(place, Frame::Message(bytes));
    }

    /// A disk that lies changes a value.
    pub(super) fn tamper(&mut self, message: &mut Message) {
        let (Message::Live { events, .. } | Message::Histories { events, .. }) = message else {
            return;
        };
        let is_put = |event: &Event| event.value.is_some();
        if self.settings.tamper > 0.0
            && self.rng.random_bool(self.settings.tamper)
            && let Some(at) = events.iter().position(is_put)
        {
            let mut changed = events.to_vec();
            changed[at].value = Some(Value::string("not what was written".to_owned()));
            *events = changed.into();
        }
    }
}
