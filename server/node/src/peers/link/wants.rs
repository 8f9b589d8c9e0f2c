//! What a session wants, done in its order: frames, work for the stores, and a place in the mesh.

use keepboth_core::name::Namespace;
use keepboth_core::session::{Input, Output, Standing};

use super::{BULK_BYTES, BULK_WAITING_MAX, End, Link};
use crate::namespace::Space;
use crate::peers::admit::Candidate;
use crate::peers::one_line;
use crate::peers::replica::Stores;
use crate::peers::socket::Frame;

impl Link {
    /// Does what the session wants, until it wants nothing more.
    pub(super) async fn carry_out(&mut self) -> Result<(), End> {
        // First of all: who has no place in the mesh any more is told nothing.
        self.greet()?;
        loop {
            let outputs = self.session.take();
            if outputs.is_empty() {
                if !self.session.has_bulk() || self.outbox.bytes() > BULK_WAITING_MAX {
                    break;
                }
                self.session.more(&Stores(&self.spaces), BULK_BYTES);
                continue;
            }
            for output in outputs {
                self.carry_out_one(output).await?;
            }
        }
        self.publish();
        Ok(())
    }

    async fn carry_out_one(&mut self, output: Output) -> Result<(), End> {
        match output {
            Output::Send(message) => {
                if !self.outbox.send(Frame::Message(message.encode().into())) {
                    return Err(End::Lost("the connection ended".into()));
                }
            }
            Output::Admit { node, claimed } => {
                let (inviter, address) = (self.inviter, self.address);
                let candidate = Candidate { node, claimed, inviter, address };
                self.noted = self.mesh.spreads();
                let input = match self.mesh.admit(&candidate) {
                    Ok((grant, admitted)) => {
                        self.granted = grant.namespaces;
                        Input::Admitted(Box::new(admitted))
                    }
                    Err(refusal) => Input::Rejected(refusal),
                };
                self.handle(input);
            }
            Output::Notes(notes) => {
                if let Some(node) = self.session.node() {
                    self.mesh.learn(notes, node);
                }
            }
            Output::Apply { ticket, events, replaces } => {
                self.apply(ticket, events, replaces).await?;
            }
            Output::Forget { namespace, keys } => self.forget(&namespace, keys).await?,
            Output::Bury { namespace, key, last } => self.bury(&namespace, key, last).await?,
            Output::Holds { question, held } => {
                if let Some(answer) = self.questions.remove(&question) {
                    // Who asked may have gone.
                    let _ = answer.send(held);
                }
            }
            Output::Heard(conflict) => {
                self.spaces.values().for_each(|space| space.hear(conflict));
            }
            Output::Warn(words) => {
                self.mesh.metrics.peer_warnings.inc();
                tracing::warn!(peer = %self.name(), "{}", one_line(&words));
            }
            Output::Close(refusal) => return Err(self.refuse(&refusal)),
        }
        Ok(())
    }

    /// Enters the mesh once the peer has greeted.
    fn greet(&mut self) -> Result<(), End> {
        let (None, Some(peer)) = (self.peer, self.session.peer()) else { return Ok(()) };
        let (node, agent) = (peer.node, peer.agent.clone());
        let Some(spreads) = self.mesh.enter(node, &agent, self) else {
            return Err(End::Duplicate);
        };
        if spreads != self.noted {
            // Something was heard while the two greeted, when this link could not be told.
            let notes = self.mesh.notes_for(&node);
            self.handle(Input::Tell(notes));
        }
        self.peer = Some(node);
        self.mesh.still_admits(&node, self.granted.as_deref())?;
        tracing::info!(peer = %self.name(), agent, "connected");
        self.publish();
        self.look_for_what_it_missed()?;
        for (namespace, standing) in self.session.standings(&Stores(&self.spaces)) {
            let Some(space) = self.spaces.get(&namespace) else { continue };
            let agreed = space.marks().agreed(&node).unwrap_or(0);
            if standing.away && agreed > 0 {
                tracing::warn!(
                    peer = %self.name(),
                    %namespace,
                    "the peer was away for longer than mesh.expire: what it changed meanwhile comes back"
                );
            }
            let differs = space.policy().differs(&standing.policy);
            if !differs.is_empty() {
                tracing::warn!(
                    peer = %self.name(),
                    %namespace,
                    "the two nodes are configured differently here: {}",
                    differs.join(", ")
                );
            }
        }
        if let Some(url) = &self.url {
            self.mesh.note(url, |dialled| (dialled.node, dialled.error) = (Some(node), None));
        }
        Ok(())
    }

    /// Ends the link if something was forgotten, while the two greeted or since, that the peer may not know
    /// of, and that it was not told it missed: both greet anew, and it is told. Who is connected holds back
    /// what is forgotten, but not what another peer's history takes the place of.
    pub(super) fn look_for_what_it_missed(&self) -> Result<(), End> {
        let Some(node) = self.peer else { return Ok(()) };
        let missed = |(namespace, standing): &(Namespace, Standing)| {
            let space = self.spaces.get(namespace);
            let agreed = |space: &Space| space.marks().agreed(&node).unwrap_or(0);
            !standing.away
                && space.is_some_and(|space| agreed(space) < space.store.forgotten_high())
        };
        let standings = self.session.standings(&Stores(&self.spaces));
        if standings.iter().any(missed) { Err(End::Anew) } else { Ok(()) }
    }
}
