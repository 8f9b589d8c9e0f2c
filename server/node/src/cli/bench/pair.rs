//! Two sessions on two real stores that talk through memory: what goes over the wire, counted exactly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepboth_core::name::Key;
use keepboth_core::session::{Admitted, Input, Output, Received, Session, Setup, Side, Ticket};
use keepboth_core::wire::{Message, Space as WireSpace};

use super::bulk::{self, Answer, failed};
use super::node::Node;
use crate::cli::exit::Failure;
use crate::namespace::Spaces;
use crate::peers::replica::Stores;

/// Bytes of histories that are prepared at once.
const BULK_BYTES: usize = 512 * 1024;
/// By how much time goes on when both sides wait for it, in milliseconds.
const TICK: u64 = 50;
/// After so many steps of time two sessions do not agree any more.
const TICKS_MAX: u32 = 10_000;

/// What two sessions said to each other until they agreed.
#[derive(Debug, Default)]
pub struct Talk {
    /// How often the one that spoke was another one than before.
    pub turns: u64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Bytes of those that carry histories.
    pub histories: u64,
    /// Bytes of those that carry the digest of a namespace.
    pub roots: u64,
    /// How long it took, without the steps of time.
    pub took: Duration,
}

impl Talk {
    /// Round trips beyond those of another talk.
    pub fn rounds_beyond(&self, other: &Talk) -> u64 {
        self.turns.saturating_sub(other.turns).div_ceil(2)
    }
}

/// Lets two nodes that are not connected agree. Without `shared` they share no namespace.
pub fn agree(a: &Node, b: &Node, shared: bool) -> Result<Talk, Failure> {
    let dialled = Side::Dialled { expected: None, token: None };
    let mut ends = [End::new(a, dialled, 1, shared)?, End::new(b, Side::Answered, 2, shared)?];
    let (mut talk, mut now, mut ticks, started) = (Talk::default(), 0, 0, Instant::now());
    loop {
        let mut silent = true;
        for speaker in [0, 1] {
            let said = ends[speaker].work(now)?;
            talk.turns += u64::from(!said.is_empty());
            silent &= said.is_empty();
            for message in said {
                let bytes = message.encode();
                talk.bytes += bytes.len() as u64;
                match message {
                    Message::Histories { .. } => talk.histories += bytes.len() as u64,
                    Message::Root { .. } => talk.roots += bytes.len() as u64,
                    _ => {}
                }
                let heard = Message::decode(&bytes).map_err(failed)?;
                ends[1 - speaker].handle(Input::Message(heard), now)?;
            }
        }
        if silent && ends.iter().all(End::agrees) {
            talk.took = started.elapsed();
            return Ok(talk);
        }
        if silent {
            (now, ticks) = (now + TICK, ticks + 1);
            ends.iter_mut().try_for_each(|end| end.handle(Input::Tick, now))?;
        }
        if ticks > TICKS_MAX {
            return Err(failed("two sessions did not agree"));
        }
    }
}

/// One side.
struct End {
    session: Session,
    spaces: Arc<Spaces>,
    said: Vec<Message>,
    applying: Vec<Applying>,
}

/// What the store has not answered yet.
type Applying = (Ticket, Vec<Key>, Answer<Vec<Received>>);

impl End {
    fn new(node: &Node, side: Side, number: u8, shared: bool) -> Result<End, Failure> {
        let mesh = node.mesh()?;
        let session = Session::new(Setup {
            key: mesh.me.key.clone(),
            instance: mesh.me.instance,
            agent: mesh.me.agent.clone(),
            side,
            nonce: [number; 32],
            binding: [0; 32],
            compare_every: u64::try_from(mesh.rules.compare_every.as_millis()).unwrap_or(u64::MAX),
        });
        let spaces = if shared { mesh.namespaces.shared() } else { Arc::default() };
        Ok(End { session, spaces, said: Vec::new(), applying: Vec::new() })
    }

    /// Takes an input, and does at once what comes of it.
    fn handle(&mut self, input: Input, now: u64) -> Result<(), Failure> {
        self.session.handle(input, &Stores(&self.spaces), now);
        self.carry_out(now)
    }

    fn carry_out(&mut self, now: u64) -> Result<(), Failure> {
        self.session.take().into_iter().try_for_each(|output| self.one(output, now))
    }

    fn agrees(&self) -> bool {
        let mut standings = self.session.standings(&Stores(&self.spaces)).into_iter();
        self.session.peer().is_some() && standings.all(|(_, standing)| standing.agrees)
    }

    /// Goes on until there is nothing more to do, and gives what the session says.
    fn work(&mut self, now: u64) -> Result<Vec<Message>, Failure> {
        loop {
            self.carry_out(now)?;
            if self.session.has_bulk() {
                self.session.more(&Stores(&self.spaces), BULK_BYTES);
            } else if self.applying.is_empty() {
                return Ok(std::mem::take(&mut self.said));
            }
            for (ticket, keys, answer) in std::mem::take(&mut self.applying) {
                let outcomes = answer.recv().map_err(failed)?.map_err(failed)?;
                self.handle(Input::Applied { ticket, keys, outcomes }, now)?;
            }
        }
    }

    fn one(&mut self, output: Output, now: u64) -> Result<(), Failure> {
        match output {
            Output::Send(message) => self.said.push(message),
            Output::Admit { .. } => {
                let admitted = Box::new(Admitted { spaces: self.shares(), ..Admitted::default() });
                self.handle(Input::Admitted(admitted), now)?;
            }
            Output::Apply { ticket, events, .. } => {
                let space = self.spaces.get(&ticket.namespace);
                let space = space.ok_or_else(|| failed("the namespace is not there"))?;
                let keys = events.iter().map(|event| event.key.clone()).collect();
                self.applying.push((ticket, keys, bulk::give(&space.store, events)?));
            }
            Output::Close(refusal) => return Err(failed(refusal)),
            Output::Warn(words) => return Err(failed(words)),
            _ => {}
        }
        Ok(())
    }

    fn shares(&self) -> Vec<WireSpace> {
        let share = |space: &Arc<crate::namespace::Space>| WireSpace {
            namespace: space.name.clone(),
            store: space.id(),
            policy: space.policy(),
            away: false,
            shown: 0,
            seen: 0,
        };
        self.spaces.values().map(share).collect()
    }
}
