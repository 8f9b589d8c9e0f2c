//! Messages between nodes, and their bytes: one CBOR item (RFC 8949) in each binary WebSocket message.
//!
//! A message is `[type, [fields…]]`. Fields are found by position; a receiver ignores fields beyond
//! those that it knows, so that later versions can add some. PROTOCOL.md has the whole in CDDL.

use minicbor::{Decode, Decoder, Encode};

use crate::digest::{Digest, Prefix};
use crate::handshake::{Greet, Proof};
use crate::ids::{KeyHash, NodeId, VersionId};
use crate::mesh::Notes;
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};

/// What messages are made of.
mod parts;
/// Versions that many peers are told of.
mod events;
/// The bytes of types that say more than their fields.
mod form;
#[cfg(test)]
mod tests;

pub use events::Events;
pub(crate) use events::{EVENTS_BYTES, size};
pub use parts::{
    Answered, ConflictNote, ConflictSide, Differing, Exchanged, Hello, Holding, KeyTips, Part,
    Space,
};

/// The WebSocket subprotocol of connections between nodes.
pub const SUBPROTOCOL: &str = "keepboth.peer.v1";

/// Everything that one node says to another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// I speak these versions. First, once.
    #[n(0)]
    Greet(#[n(0)] Greet),
    /// I am this node. Second, once; the side that answered waits for the other's.
    #[n(1)]
    Prove(#[n(0)] Proof),
    /// What I have for you. Third, once.
    #[n(2)]
    Hello(#[n(0)] Hello),
    /// What I know of the mesh, or what I have heard since.
    #[n(3)]
    Notes(#[n(0)] Notes),
    /// The digest of a namespace as it is with me now.
    #[n(4)]
    Root {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// Its digest.
        #[n(1)]
        root: Digest,
    },
    /// Versions that were made just now.
    #[n(5)]
    Live {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The sender's sequence of the last of them; acknowledged by it.
        #[n(1)]
        sequence: u64,
        /// The sender's digest after them; absent if more of the same commit follows.
        #[n(2)]
        root: Option<Digest>,
        /// The node that made them: the sender, or one that does not reach the receiver.
        #[n(3)]
        maker: NodeId,
        /// The versions, parents first.
        #[n(4)]
        events: Events,
    },
    /// I have taken everything up to a sequence of yours.
    #[n(6)]
    Ack {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The sequence of a [`Message::Live`].
        #[n(1)]
        sequence: u64,
        /// The digest here after it.
        #[n(2)]
        root: Digest,
        /// True if all of it is durable here; false if some of it was refused, or lacks parents that
        /// are asked for.
        #[n(3)]
        whole: bool,
    },
    /// I found a conflict.
    #[n(7)]
    Conflict(#[n(0)] ConflictNote),
    /// Our digests differ: here are mine within these ranges. Answered by [`Message::Differ`].
    #[n(8)]
    Compare {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The ranges.
        #[n(1)]
        parts: Vec<Part>,
    },
    /// The answer to [`Message::Compare`]: the ranges within that differ.
    #[n(9)]
    Differ {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// How many ranges were compared.
        #[n(1)]
        parts: u32,
        /// What differs in them, in the order in which they were asked for.
        #[n(2)]
        differing: Vec<Differing>,
    },
    /// What I have of keys that differ. Answered by [`Message::Done`].
    #[n(10)]
    Offer {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The keys that I have, with their tips.
        #[n(1)]
        keys: Vec<KeyTips>,
        /// Halves of the hashes of keys that I lack.
        #[n(2)]
        wanted: Vec<KeyHash>,
    },
    /// Send me all that you have in a range. Answered by [`Message::Done`].
    #[n(11)]
    Fetch {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The range.
        #[n(1)]
        prefix: Prefix,
    },
    /// All that an [`Message::Offer`] or a [`Message::Fetch`] asked for was sent before.
    #[n(12)]
    Done {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
    },
    /// Send me what you have of a key beyond these versions and their ancestors.
    #[n(13)]
    Want {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The key.
        #[n(1)]
        key: Key,
        /// The tips that the sender has.
        #[n(2)]
        have: Vec<VersionId>,
        /// Other versions that it has, by which the receiver finds where the two histories part.
        #[n(3)]
        known: Vec<VersionId>,
        /// Of the sender's choice; the end of the answer has the same.
        #[n(4)]
        question: u64,
    },
    /// Versions that you lack, parents first.
    #[n(14)]
    Histories {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The versions.
        #[n(1)]
        events: Events,
        /// To which [`Message::Want`] nothing further comes.
        #[n(2)]
        answered: Vec<Answered>,
    },
    /// Nobody needs these deleted keys any more: forget them, if they have exactly these tips with you.
    #[n(15)]
    Forget {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The keys.
        #[n(1)]
        keys: Vec<KeyTips>,
    },
    /// Do you hold this version? Answered by [`Message::Holds`].
    #[n(16)]
    Ask {
        /// Of the sender's choice; the answer has the same.
        #[n(0)]
        question: u64,
        /// The namespace.
        #[n(1)]
        namespace: Namespace,
        /// The key.
        #[n(2)]
        key: Key,
        /// The version.
        #[n(3)]
        version: VersionId,
    },
    /// The answer to [`Message::Ask`].
    #[n(17)]
    Holds {
        /// The question.
        #[n(0)]
        question: u64,
        /// True if the version, or one that stands on it, is durable here.
        #[n(1)]
        held: bool,
    },
    /// Something you sent was refused; the stream goes on unless the connection is closed after it.
    #[n(18)]
    Refused {
        /// The stable code.
        #[n(0)]
        code: String,
        /// In words.
        #[n(1)]
        message: String,
    },
}

/// Bytes for which there is room in a message, besides events.
const ROOM: usize = 256;

impl Message {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(match self {
            Message::Live { events, .. } => ROOM + events.iter().map(size).sum::<usize>(),
            _ => ROOM,
        });
        // Writing to a vector cannot fail.
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }

    /// Reads exactly one message. Refused: what is no message, with the byte at which it stops being one.
    pub fn decode(bytes: &[u8]) -> Result<Message, Refusal> {
        let mut decoder = Decoder::new(bytes);
        let message = decoder.decode::<Message>();
        let at = decoder.position();
        match message {
            Ok(message) if at == bytes.len() => Ok(message),
            Ok(_) => Err(bad_frame(at, "more bytes after the message")),
            Err(e) => Err(bad_frame(e.position().unwrap_or(at), &e.to_string())),
        }
    }
}

fn bad_frame(at: usize, what: &str) -> Refusal {
    Refusal::new(Code::BadFrame, format!("not a message of {SUBPROTOCOL}, byte {at}: {what}"))
}
