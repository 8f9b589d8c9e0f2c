//! The greeting: both sides prove who they are before either says what it has.

use std::sync::Arc;

use super::{Admitted, Output, Peer, Phase, Replica, Session, Shared};
use crate::handshake::{
    Claimed, Greet, Nonce, PROTOCOL, PROTOCOL_MIN, Proof, Role, Token, Transcript,
};
use crate::identity::NodeKey;
use crate::ids::NodeId;
use crate::mesh::AGENT_BYTES_MAX;
use crate::refusal::{Code, Refusal};
use crate::wire::{Exchanged, Hello, Message, Space};

/// How a conversation begins.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Who this node is.
    pub key: Arc<NodeKey>,
    /// Drawn at random when the process started.
    pub instance: [u8; 16],
    /// This software and its version, for people.
    pub agent: String,
    /// Who began.
    pub side: Side,
    /// Drawn at random for this connection.
    pub nonce: Nonce,
    /// What binds the connection (the exporter of TLS, RFC 9266); zeros without TLS.
    pub binding: [u8; 32],
    /// How often a difference that exchange does not mend is compared again, in milliseconds.
    pub compare_every: u64,
}

/// Which side of a connection this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// This node dialled.
    Dialled {
        /// Whom it expects, if it knows.
        expected: Option<NodeId>,
        /// What invites it, if it is new.
        token: Option<Token>,
    },
    /// The other node did.
    Answered,
}

impl Setup {
    /// The first message.
    pub(super) fn greeting(&self) -> Message {
        Message::Greet(Greet::new(self.nonce))
    }

    fn role(&self) -> Role {
        match self.side {
            Side::Dialled { .. } => Role::Dialler,
            Side::Answered => Role::Answerer,
        }
    }

    fn expected(&self) -> Option<NodeId> {
        match &self.side {
            Side::Dialled { expected, token } => {
                expected.or(token.as_ref().map(|token| token.inviter))
            }
            Side::Answered => None,
        }
    }

    fn transcript(&self, theirs: Greet) -> Transcript {
        let mine = Greet::new(self.nonce);
        let (dialler, answerer) = match self.role() {
            Role::Dialler => (mine, theirs),
            Role::Answerer => (theirs, mine),
        };
        Transcript { dialler, answerer, binding: self.binding }
    }

    fn proof(&self, transcript: &Transcript, to: Option<NodeId>) -> Message {
        let token = match &self.side {
            Side::Dialled { token, .. } => token.as_ref(),
            Side::Answered => None,
        };
        let (key, role) = (&self.key, self.role());
        Message::Prove(Proof::new(key, self.instance, transcript, role, to, token))
    }
}

impl Session {
    pub(super) fn on_greet(&mut self, greet: &Greet) -> Result<(), Refusal> {
        self.protocol = common_protocol(greet)?;
        let transcript = self.setup.transcript(*greet);
        self.phase = Phase::Prove(transcript);
        if self.setup.role() == Role::Dialler {
            self.send(self.setup.proof(&transcript, self.setup.expected()));
        }
        Ok(())
    }

    pub(super) fn on_prove(&mut self, proof: Proof, transcript: Transcript) -> Result<(), Refusal> {
        let me = self.setup.key.id();
        let theirs = match self.setup.role() {
            Role::Dialler => Role::Answerer,
            Role::Answerer => Role::Dialler,
        };
        if !proof.holds(&transcript, theirs, &me) {
            // The same words whatever is wrong: a stranger does not learn whom it has reached.
            let words = "the proof of identity does not hold on this connection, or is meant for \
                         another node than the one that answers here";
            return Err(Refusal::new(Code::NotAMember, words));
        }
        let node = proof.who.node;
        if node == me {
            self.itself = proof.who.instance == self.setup.instance;
            if theirs == Role::Dialler {
                // Whoever holds the key of this node may know who it is, and must find out as well.
                self.send(self.setup.proof(&transcript, Some(node)));
            }
            return Err(same_node(self.itself));
        }
        if let Some(expected) = self.setup.expected().filter(|expected| *expected != node) {
            let words = format!("expected node {expected} here, and node {node} answers");
            return Err(Refusal::new(Code::NotAMember, words));
        }
        let statement = transcript.statement(theirs, &proof.who, proof.to.as_ref());
        let claimed = proof.claim.map(|claim| Claimed { claim, statement });
        self.node = Some(node);
        self.phase = Phase::Admit;
        if self.setup.role() == Role::Answerer {
            // It is sent only if the caller admits the peer.
            self.proof = Some(self.setup.proof(&transcript, Some(node)));
        }
        self.out.push(Output::Admit { node, claimed });
        Ok(())
    }

    pub(super) fn on_admitted(&mut self, admitted: Admitted) {
        if self.phase != Phase::Admit {
            return;
        }
        self.phase = Phase::Hello;
        if let Some(proof) = self.proof.take() {
            self.send(proof);
        }
        let Admitted { spaces, marks, notes } = admitted;
        (self.spaces, self.marks) = (spaces.clone(), marks);
        self.send(Message::Hello(Hello { agent: self.setup.agent.clone(), spaces }));
        self.tell(notes);
    }

    pub(super) fn on_hello(&mut self, hello: Hello, replica: &impl Replica) -> Result<(), Refusal> {
        let Some(node) = self.node else { return Ok(()) };
        if hello.agent.len() > AGENT_BYTES_MAX {
            let words = format!("an agent of more than {AGENT_BYTES_MAX} bytes");
            return Err(Refusal::new(Code::BadFrame, words));
        }
        self.phase = Phase::Open;
        self.peer = Some(Peer { node, agent: hello.agent, protocol: self.protocol });
        for theirs in hello.spaces {
            let Some(mine) = self.my_space(&theirs) else { continue };
            if theirs.store == mine.store {
                self.out.push(Output::Warn(format!(
                    "namespace {}: the peer has the same store id {}: one is a copy of the other",
                    theirs.namespace, theirs.store
                )));
            }
            let mark = self.marks.get(&theirs.namespace).copied().unwrap_or(0);
            let (here, there) = (&mine, &theirs);
            // What the peer has is from after all that this node remembers of it: so what this node had then,
            // and the peer has not, is gone for a reason. But if it is the peer that was put back, it may
            // just have lost that. No clock is asked.
            let (put_back, lost) = (here.shown < there.seen, there.shown < here.seen);
            let judges = (put_back || theirs.away) && !lost && mark > 0;
            if put_back || judges {
                let why = match put_back {
                    true => {
                        "remembers less than the peer, for it was put back from a backup or stopped hard"
                    }
                    false => "was away for so long that others have forgotten deletes",
                };
                self.out.push(Output::Warn(format!(
                    "namespace {}: this node {why}; what it holds and did not change since goes the way it \
                     went elsewhere",
                    theirs.namespace
                )));
            }
            let shared = Shared {
                unsure: replica.sequence(&theirs.namespace),
                policy: theirs.policy,
                they_were_away: mine.away,
                exchanged: Exchanged {
                    shown: here.shown.max(there.seen),
                    seen: here.seen.max(there.shown),
                },
                i_was_away: judges.then_some(mark),
                catches_up: put_back || judges,
                ..Shared::default()
            };
            let namespace = theirs.namespace;
            self.shared.insert(namespace.clone(), shared);
            self.tell_if_new(&namespace, replica);
        }
        Ok(())
    }

    fn my_space(&self, theirs: &Space) -> Option<Space> {
        self.spaces.iter().find(|mine| mine.namespace == theirs.namespace).cloned()
    }
}

fn common_protocol(theirs: &Greet) -> Result<u32, Refusal> {
    let protocol = PROTOCOL.min(theirs.protocol);
    if protocol >= PROTOCOL_MIN.max(theirs.protocol_min) {
        return Ok(protocol);
    }
    let words = format!(
        "no common protocol version: this node speaks {PROTOCOL_MIN} to {PROTOCOL}, the other {} to {}",
        theirs.protocol_min, theirs.protocol
    );
    Err(Refusal::new(Code::Unsupported, words))
}

fn same_node(same_process: bool) -> Refusal {
    let words = match same_process {
        true => "this node has dialled itself",
        false => {
            "a copy of this node runs elsewhere: both have the same node.key; stop one of them and \
             remove node.key from its data folder"
        }
    };
    Refusal::new(Code::SameNode, words)
}
