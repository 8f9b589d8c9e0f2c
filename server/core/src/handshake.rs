//! What nodes prove to each other before they say anything else, and invitations for new ones.
//!
//! Each side sends the protocol versions that it speaks and a nonce. Then each signs all that both sent, its
//! own id, whom it means to talk to, and what binds the connection: the exporter of TLS (RFC 9266), or zeros on a connection without TLS, where
//! nobody can tell a relay from the network. The side that dialled proves itself first, so a stranger
//! who dials learns nothing, not even whom it has reached.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};

use crate::identity::{NodeKey, SIGNATURE_BYTES, verify};
use crate::ids::NodeId;

/// The newest version of the protocol that this code speaks.
pub const PROTOCOL: u32 = 4;
/// The oldest version of the protocol that this code speaks.
pub const PROTOCOL_MIN: u32 = 4;

/// Bytes that are drawn at random for one connection.
pub type Nonce = [u8; 32];

/// The first message of each side: it tells nothing of who that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Greet {
    /// The newest protocol version that the sender speaks.
    #[n(0)]
    pub protocol: u32,
    /// The oldest protocol version that the sender speaks.
    #[n(1)]
    pub protocol_min: u32,
    /// Drawn at random for this connection.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: Nonce,
}

impl Greet {
    /// The greeting of this code.
    pub const fn new(nonce: Nonce) -> Greet {
        Greet { protocol: PROTOCOL, protocol_min: PROTOCOL_MIN, nonce }
    }
}

/// What both sides know of their connection before anybody has proven anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transcript {
    /// What the side that dialled said.
    pub dialler: Greet,
    /// What the side that answered said.
    pub answerer: Greet,
    /// What binds the connection; zeros without TLS.
    pub binding: [u8; 32],
}

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled.
    Dialler,
    /// The side that answered.
    Answerer,
}

impl Transcript {
    /// The bytes that a side signs. `to` is the node that it means to talk to, if it knows.
    pub fn statement(&self, role: Role, who: &Who, to: Option<&NodeId>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("keepboth v1 peer proof");
        hasher.update(&[role as u8]);
        for greet in [&self.dialler, &self.answerer] {
            let versions = [greet.protocol.to_be_bytes(), greet.protocol_min.to_be_bytes()];
            hasher.update(versions.as_flattened()).update(&greet.nonce);
        }
        hasher.update(&self.binding);
        hasher.update(&who.node.0).update(&who.instance);
        hasher.update(to.map_or(&[0; 32], |node| &node.0));
        *hasher.finalize().as_bytes()
    }
}

/// A running node: a copy of its data folder that runs elsewhere has the same id and another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Who {
    /// Its id.
    #[n(0)]
    pub node: NodeId,
    /// Drawn at random when the process started.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub instance: [u8; 16],
}

/// The message by which a side proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// Who that is.
    #[n(0)]
    pub who: Who,
    /// Whom it means to talk to; another node refuses.
    #[n(1)]
    pub to: Option<NodeId>,
    /// Its signature of [`Transcript::statement`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
    /// Its invitation, if it has one.
    #[n(3)]
    pub claim: Option<Claim>,
}

impl Proof {
    /// The proof of a node that holds its key.
    pub fn new(
        key: &NodeKey,
        instance: [u8; 16],
        transcript: &Transcript,
        role: Role,
        to: Option<NodeId>,
        token: Option<&Token>,
    ) -> Proof {
        let who = Who { node: key.id(), instance };
        let statement = transcript.statement(role, &who, to.as_ref());
        let claim = token.map(|token| token.claim(&statement));
        Proof { who, to, signature: key.sign(&statement), claim }
    }

    /// True if it proves what it says to `me` on this connection.
    pub fn holds(&self, transcript: &Transcript, role: Role, me: &NodeId) -> bool {
        let statement = transcript.statement(role, &self.who, self.to.as_ref());
        self.to.is_none_or(|to| to == *me) && verify(&self.who.node, &statement, &self.signature)
    }
}

/// Names an invitation; the secret cannot be found from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct InviteId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// Shows that a node has an invitation, for one connection only: the secret does not travel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// Which.
    #[n(0)]
    pub invite: InviteId,
    /// A keyed hash of the statement that the node has signed.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub mac: [u8; 32],
}

/// A claim together with what it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The claim.
    pub claim: Claim,
    /// The statement that the node has signed.
    pub statement: [u8; 32],
}

impl Claimed {
    /// True if who made the claim has the secret of which this is the key. In constant time.
    pub fn holds(&self, key: &[u8; 32]) -> bool {
        blake3::keyed_hash(key, &self.statement) == blake3::Hash::from_bytes(self.claim.mac)
    }
}

/// What an operator gives to a new node: who invites it, and the secret of the invitation.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The node that invites; the new one talks to no other with it.
    pub inviter: NodeId,
    secret: [u8; 32],
}

/// The text is no invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an invitation: expected \"{PREFIX}\" and 86 characters of base64url, as `keepboth peer invite` prints them"
)]
pub struct BadToken;

const PREFIX: &str = "keepboth-invite-";

impl Token {
    /// The token with this secret of 32 random bytes.
    pub fn new(inviter: NodeId, secret: [u8; 32]) -> Token {
        Token { inviter, secret }
    }

    /// The name of its invitation.
    pub fn invite(&self) -> InviteId {
        let whole = blake3::derive_key("keepboth v1 invite id", &self.secret);
        let mut id = [0; 16];
        id.copy_from_slice(&whole[..16]);
        InviteId(id)
    }

    /// What the inviting node keeps to check claims.
    pub fn key(&self) -> [u8; 32] {
        blake3::derive_key("keepboth v1 invite key", &self.secret)
    }

    fn claim(&self, statement: &[u8; 32]) -> Claim {
        let mac = *blake3::keyed_hash(&self.key(), statement).as_bytes();
        Claim { invite: self.invite(), mac }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.inviter.0, self.secret].concat();
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token of {:?}", self.inviter)
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Token, BadToken> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(BadToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
        let (inviter, secret) = bytes.split_at_checked(32).ok_or(BadToken)?;
        let inviter = NodeId(inviter.try_into().map_err(|_| BadToken)?);
        Ok(Token { inviter, secret: secret.try_into().map_err(|_| BadToken)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: Transcript = Transcript {
        dialler: Greet::new([1; 32]),
        answerer: Greet::new([2; 32]),
        binding: [3; 32],
    };

    fn proof(to: Option<NodeId>, token: Option<&Token>) -> Proof {
        let key = NodeKey::from_seed(&[7; 32]);
        Proof::new(&key, [9; 16], &THERE, Role::Dialler, to, token)
    }

    #[test]
    fn a_proof_holds_on_its_own_connection_in_its_own_role_and_for_whom_it_is_meant() {
        let (me, other) = (NodeId([5; 32]), NodeId([6; 32]));
        for to in [None, Some(me)] {
            let proof = proof(to, None);
            assert!(proof.holds(&THERE, Role::Dialler, &me));
            assert!(!proof.holds(&THERE, Role::Answerer, &me));
            for other in [
                Transcript { dialler: Greet::new([0; 32]), ..THERE },
                Transcript { answerer: Greet::new([0; 32]), ..THERE },
                Transcript { binding: [0; 32], ..THERE },
            ] {
                assert!(!proof.holds(&other, Role::Dialler, &me), "a relayed proof");
            }
            let mut forged = proof.clone();
            forged.who.instance = [8; 16];
            assert!(!forged.holds(&THERE, Role::Dialler, &me));
        }
        assert!(!proof(Some(other), None).holds(&THERE, Role::Dialler, &me));
    }

    #[test]
    fn a_proof_holds_for_the_protocol_versions_that_both_have_said() {
        let me = NodeId([5; 32]);
        let proof = proof(Some(me), None);
        let older = |greet: Greet| Greet { protocol: PROTOCOL - 1, ..greet };
        let older_too = |greet: Greet| Greet { protocol_min: PROTOCOL_MIN - 1, ..greet };
        for changed in [older, older_too] {
            for other in [
                Transcript { dialler: changed(THERE.dialler), ..THERE },
                Transcript { answerer: changed(THERE.answerer), ..THERE },
            ] {
                assert!(!proof.holds(&other, Role::Dialler, &me), "somebody has changed them");
            }
        }
    }

    #[test]
    fn a_claim_shows_the_secret_without_telling_it() {
        let token = Token::new(NodeId([5; 32]), [4; 32]);
        let proof = proof(None, Some(&token));
        let statement = THERE.statement(Role::Dialler, &proof.who, None);
        let claim = proof.claim.expect("a claim");
        assert_eq!(claim.invite, token.invite());
        let claimed = Claimed { claim, statement };
        assert!(claimed.holds(&token.key()));
        assert!(!claimed.holds(&Token::new(NodeId([5; 32]), [3; 32]).key()));
        assert!(!Claimed { statement: [0; 32], ..claimed }.holds(&token.key()));
    }

    #[test]
    fn an_invitation_comes_back_from_its_text_and_nothing_else_is_one() {
        let token = Token::new(NodeId([5; 32]), [4; 32]);
        assert_eq!(format!(" {token}\n").parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("BAQE"), "the secret is not shown");
        for bad in ["", "keepboth-invite-", "keepboth-invite-AAAA", "x", &token.to_string()[1..]] {
            assert_eq!(bad.parse::<Token>(), Err(BadToken), "{bad:?}");
        }
    }
}
