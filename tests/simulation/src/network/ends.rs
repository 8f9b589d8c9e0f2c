//! The ends of connections: frames go into an outbox, over the network, into an inbox, and to the session.

use std::collections::{BTreeMap, VecDeque};

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::session::{Burden, Input, Session, Setup, Side};
use keepboth_core::wire::Message;
use rand::RngExt;

use super::{Happening, Network, Place};
use crate::network::node_key;
use crate::planted::Planted;

/// What goes over a connection.
#[derive(Debug)]
pub(super) enum Frame {
    Message(Vec<u8>),
    Ping,
    Pong,
    /// The other side ends it; true if it is of no use to come back soon.
    Close(bool),
    /// The connection broke.
    Reset,
}

impl Frame {
    fn bytes(&self) -> usize {
        match self {
            Frame::Message(bytes) => bytes.len(),
            _ => 8,
        }
    }
}

/// One end of one connection.
pub(super) struct End {
    pub session: Session,
    /// Up to where both had agreed when it began.
    pub marks: BTreeMap<Namespace, u64>,
    pub dialled: bool,
    /// True once it stands, or stood, for the pair.
    pub entered: bool,
    pub began: u64,
    pub heard: u64,
    pub pinged: u64,
    arrives_at: u64,
    /// The longest chain of messages that has come to this end.
    turns: u64,
    /// All that is sent from here is lost, and nobody says so.
    pub mute: bool,
    /// What waits at a blocked direction.
    held: VecDeque<Frame>,
    /// What waits for the peer to read, in bytes too.
    outbox: VecDeque<Frame>,
    pub waiting: usize,
    flying: usize,
    /// What came and was not read.
    inbox: VecDeque<Frame>,
    /// Messages whose events are with the store.
    pub applying: usize,
    pub pumping: bool,
}

/// The most of each thing that one session held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// What its session holds.
    pub session: Burden,
    /// Bytes in its outbox.
    pub outbox: usize,
}

impl Network {
    /// True if there is a link between two nodes.
    pub fn is_connected(&self, a: usize, b: usize) -> bool {
        self.place(a, b).is_some()
    }

    /// Both ends of every link.
    pub fn links(&self) -> Vec<(usize, usize)> {
        let mut links: Vec<_> = self.ends.keys().map(|(at, peer, _)| (*at, *peer)).collect();
        links.dedup();
        links
    }

    /// The connection that stands for a pair, or else the newest.
    pub(super) fn place(&self, at: usize, peer: usize) -> Option<Place> {
        if let Some(epoch) = self.links.get(&(at, peer)) {
            return Some((at, peer, *epoch));
        }
        self.ends.range((at, peer, 0)..=(at, peer, u64::MAX)).next_back().map(|(place, _)| *place)
    }

    pub(super) fn ends_of(&self, at: usize) -> Vec<Place> {
        self.ends.range((at, 0, 0)..(at + 1, 0, 0)).map(|(place, _)| *place).collect()
    }

    /// Connects two nodes, unless one is down or they are connected.
    pub fn connect(&mut self, a: usize, b: usize) {
        if !self.is_connected(a, b) && self.nodes[a].up && self.nodes[b].up {
            let expected = Some(self.nodes[b].id);
            self.join_ends(a, b, Side::Dialled { expected, token: None });
        }
    }

    pub(super) fn join_ends(&mut self, a: usize, b: usize, dialler: Side) {
        self.epochs += 1;
        let epoch = self.epochs;
        self.connected += 1;
        self.note(|| format!("{a} and {b} connect"));
        for (at, peer, side) in [(a, b, dialler), (b, a, Side::Answered)] {
            let dialled = at == a;
            let session = Session::new(Setup {
                key: node_key(at),
                instance: self.nodes[at].instance(),
                agent: "test".into(),
                side,
                nonce: self.rng.random(),
                binding: [0; 32],
                compare_every: self.settings.compare_every,
            });
            let now = self.now;
            let end = End {
                session,
                marks: BTreeMap::new(),
                dialled,
                entered: false,
                began: now,
                heard: now,
                pinged: now,
                arrives_at: now,
                turns: 0,
                mute: false,
                held: VecDeque::new(),
                outbox: VecDeque::new(),
                waiting: 0,
                flying: 0,
                inbox: VecDeque::new(),
                applying: 0,
                pumping: false,
            };
            self.ends.insert((at, peer, epoch), end);
            let first = now + self.settings.tick;
            let wait = self.draw(now + 1..first + 1);
            self.schedule(wait, Happening::Tick { place: (at, peer, epoch) });
        }
        self.carry_out((a, b, epoch));
        self.carry_out((b, a, epoch));
    }

    /// All that is in flight between two nodes is lost.
    pub fn cut(&mut self, a: usize, b: usize) {
        for place in self.ends_of(a).into_iter().filter(|(_, peer, _)| *peer == b) {
            self.note(|| format!("{a} and {b} are cut"));
            self.finish(place);
            self.finish((b, a, place.2));
        }
    }

    /// The connections between two nodes break, and both are told.
    pub fn break_link(&mut self, a: usize, b: usize) {
        self.note(|| format!("the link of {a} and {b} breaks"));
        for place in self.ends_of(a).into_iter().filter(|(_, peer, _)| *peer == b) {
            self.reset(a, b, place.2);
            self.finish(place);
        }
    }

    /// One direction of all connections between two nodes goes silent, and nobody is told.
    pub fn half_open(&mut self, from: usize, to: usize) {
        self.note(|| format!("nothing of {from} comes to {to} any more"));
        for (_, end) in self.ends.range_mut((from, to, 0)..=(from, to, u64::MAX)) {
            end.mute = true;
        }
    }

    pub(super) fn is_blocked(&self, from: usize, to: usize) -> bool {
        let pair = (from.min(to), from.max(to));
        self.blocked.contains(&(from, to)) || self.walls.contains(&pair)
    }

    /// Nothing gets through in this direction until [`Network::unblock`].
    pub fn block(&mut self, from: usize, to: usize) {
        self.note(|| format!("{from} cannot reach {to}"));
        self.blocked.insert((from, to));
    }

    /// What waited comes now.
    pub fn unblock(&mut self, from: usize, to: usize) {
        if self.blocked.remove(&(from, to)) {
            self.note(|| format!("{from} can reach {to} again"));
            for place in self.ends_of(from).into_iter().filter(|(_, peer, _)| *peer == to) {
                let Some(end) = self.ends.get_mut(&place) else { continue };
                for frame in std::mem::take(&mut end.held) {
                    self.transmit(place, frame);
                }
            }
        }
    }

    /// Ends one end without a word to the other; tells the mesh that the link is gone.
    pub(super) fn finish(&mut self, place: Place) {
        let (at, peer, epoch) = place;
        let Some(end) = self.ends.remove(&place) else { return };
        self.keep_marks(at, &end);
        if self.links.get(&(at, peer)) == Some(&epoch) {
            self.links.remove(&(at, peer));
            self.unlink(at, peer);
        }
        self.ended(place, &end);
    }

    /// Ends one end after all that it has said has gone out.
    pub(super) fn close(&mut self, place: Place, rejected: bool) {
        let Some(end) = self.ends.get_mut(&place) else { return };
        let rest = std::mem::take(&mut end.outbox);
        for frame in rest {
            self.transmit(place, frame);
        }
        self.transmit(place, Frame::Close(rejected));
        self.finish(place);
    }

    /// The operating system tells the other end that there is nobody here.
    pub(super) fn reset(&mut self, from: usize, to: usize, epoch: u64) {
        if !self.is_blocked(from, to) {
            let due = self.now + self.settings.delay.start;
            let frame = Frame::Reset;
            self.schedule(due, Happening::Arrive { from, to, epoch, turns: 0, frame });
        }
    }

    pub(super) fn post(&mut self, place: Place, frame: Frame) {
        let Some(end) = self.ends.get_mut(&place) else { return };
        end.waiting += frame.bytes();
        end.outbox.push_back(frame);
        self.flush(place);
    }

    pub(super) fn flush(&mut self, place: Place) {
        loop {
            let window = self.settings.window;
            let Some(end) = self.ends.get_mut(&place) else { return };
            let Some(bytes) = end.outbox.front().map(Frame::bytes) else { return };
            if end.flying > 0 && end.flying + bytes > window {
                return;
            }
            let Some(frame) = end.outbox.pop_front() else { return };
            end.waiting -= bytes;
            end.flying += bytes;
            self.transmit(place, frame);
        }
    }

    pub(super) fn transmit(&mut self, place: Place, frame: Frame) {
        let (from, to, epoch) = place;
        let (blocked, holds) = (self.is_blocked(from, to), self.holds);
        let (delay, now) = (self.draw(self.settings.delay.clone()), self.now);
        let Some(end) = self.ends.get_mut(&place) else { return };
        end.mute |= blocked && !holds;
        if end.mute {
            return;
        }
        if blocked || !end.held.is_empty() {
            return end.held.push_back(frame);
        }
        end.arrives_at = end.arrives_at.max(now + delay);
        let (due, turns) = (end.arrives_at, end.turns + 1);
        if matches!(frame, Frame::Message(_)) {
            self.sent.turns = self.sent.turns.max(turns);
        }
        self.schedule(due, Happening::Arrive { from, to, epoch, turns, frame });
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, epoch: u64, turns: u64, frame: Frame) {
        let place = (to, from, epoch);
        let Some(end) = self.ends.get_mut(&place) else {
            // Only a process that runs on a machine that runs answers for a connection that is gone.
            if self.nodes[to].up && !matches!(frame, Frame::Close(_) | Frame::Reset) {
                self.reset(to, from, epoch);
            }
            return;
        };
        end.turns = end.turns.max(turns);
        match frame {
            Frame::Reset => {
                self.note(|| format!("{to} loses {from}"));
                self.finish(place);
            }
            frame => {
                end.inbox.push_back(frame);
                self.read(place);
            }
        }
    }

    /// Reads what came, as long as the store keeps up.
    pub(super) fn read(&mut self, place: Place) {
        let (at, peer, epoch) = place;
        loop {
            let (most, now) = (self.settings.applying, self.now);
            let Some(end) = self.ends.get_mut(&place).filter(|end| end.applying < most) else {
                return;
            };
            let Some(frame) = end.inbox.pop_front() else { return };
            end.heard = now;
            if let Some(sender) = self.ends.get_mut(&(peer, at, epoch)) {
                sender.flying = sender.flying.saturating_sub(frame.bytes());
                self.flush((peer, at, epoch));
            }
            match frame {
                Frame::Message(bytes) => {
                    let message = Message::decode(&bytes).expect("what a session sent");
                    if self.plants(Planted::WrongHashAccepted) {
                        self.swallow(at, &message);
                    }
                    self.give(place, Input::Message(message));
                }
                Frame::Ping => self.post(place, Frame::Pong),
                Frame::Pong => {}
                Frame::Close(rejected) => {
                    self.note(|| format!("{peer} closes to {at}"));
                    self.rejected(place, rejected);
                    self.finish(place);
                }
                Frame::Reset => self.finish(place),
            }
        }
    }

    /// The peer that a node's id belongs to.
    pub(super) fn number_of(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|known| known.id == node)
    }
}
