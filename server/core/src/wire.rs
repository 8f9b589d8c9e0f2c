//! Messages between nodes, and their bytes: one CBOR item (RFC 8949) in each binary WebSocket message.
//!
//! A message is `[type, [fields…]]`. Fields are found by position; a receiver ignores fields beyond
//! those that it knows, so that later versions can add some. PROTOCOL.md has the whole in CDDL.

use bytes::Bytes;
use minicbor::bytes::ByteVec;
use minicbor::data::Type;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::digest::{Digest, FANOUT, Prefix};
use crate::handshake::{Nonce, Proof};
use crate::ids::{ConflictId, DataHash, KeyHash, NodeId, StoreId, VersionId};
use crate::mesh::Notes;
use crate::name::{Key, Namespace};
use crate::policy::Policy;
use crate::refusal::{Code, Refusal};
use crate::value::{Kind, Value};
use crate::version::{Event, Parents, Version};

/// The newest version of the protocol that this code speaks.
pub const PROTOCOL: u32 = 2;
/// The oldest version of the protocol that this code speaks.
pub const PROTOCOL_MIN: u32 = 2;
/// The WebSocket subprotocol of connections between nodes.
pub const SUBPROTOCOL: &str = "keepboth.peer.v1";

/// The first message of each side: it tells nothing of who that is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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

/// What a side tells of itself once both have proven who they are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The sender's software and version, for people.
    #[n(0)]
    pub agent: String,
    /// The namespaces that the sender shares with the receiver.
    #[n(1)]
    pub spaces: Vec<Space>,
}

/// One namespace of a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Space {
    /// Its name.
    #[n(0)]
    pub namespace: Namespace,
    /// The store that holds it there.
    #[n(1)]
    pub store: StoreId,
    /// What the sender does with its values.
    #[n(2)]
    pub policy: Policy,
    /// True if the receiver was away for so long that the sender has forgotten deletes of which the
    /// receiver may not know.
    #[n(3)]
    pub away: bool,
}

/// A key and its tips.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyTips {
    /// The key.
    #[n(0)]
    pub key: Key,
    /// Its heads and open splits, sorted.
    #[n(1)]
    pub tips: Vec<VersionId>,
}

/// A range of keys with the digests of the 16 ranges within it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The range.
    #[n(0)]
    pub prefix: Prefix,
    /// The first 8 bytes of each digest.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub children: [u8; 8 * FANOUT],
}

/// A range whose digests differ.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Differing {
    /// The range.
    #[n(0)]
    pub prefix: Prefix,
    /// What the sender has there.
    #[n(1)]
    pub holding: Holding,
}

/// What a node has in a range.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Holding {
    /// Nothing, so all that the receiver has is wanted.
    #[n(0)]
    Nothing,
    /// All that the receiver lacks, which is everything: it is on its way.
    #[n(1)]
    Sent,
    /// More than fits: compare the ranges within it.
    #[n(2)]
    Much,
    /// These keys: of each the 16 bytes of its hash and the first 8 of its digest.
    #[n(3)]
    Keys(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

/// A conflict that the sender was the first to find.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConflictNote {
    /// The namespace.
    #[n(0)]
    pub namespace: Namespace,
    /// The key in conflict.
    #[n(1)]
    pub key: Key,
    /// The hash of the key and the sides' addresses.
    #[n(2)]
    pub id: ConflictId,
    /// The nearest common ancestor.
    #[n(3)]
    pub base: Option<VersionId>,
    /// The versions that speak for the sides; an address is made of the key's hash and a branch.
    #[n(4)]
    pub sides: Vec<ConflictSide>,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConflictSide {
    /// The version.
    #[n(0)]
    pub version: VersionId,
    /// The second half of its address.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub branch: [u8; 16],
    /// The store that made it.
    #[n(2)]
    pub origin: StoreId,
}

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
        events: Vec<Event>,
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
    },
    /// Versions that you lack, parents first.
    #[n(14)]
    Histories {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The versions.
        #[n(1)]
        events: Vec<Event>,
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

impl Message {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a vector cannot fail.
        minicbor::to_vec(self).unwrap_or_default()
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

macro_rules! as_text {
    ($type:ty, $read:expr) => {
        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                e.str(self.as_str())?.ok()
            }
        }
        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                $read(d.str()?).map_err(|e: Refusal| DecodeError::message(e).at(at))
            }
        }
    };
}

as_text!(Key, Key::new);
as_text!(Namespace, Namespace::new);

impl<C> Encode<C> for Digest {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Digest {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        let bytes = <[u8; 32]>::try_from(d.bytes()?);
        bytes
            .map(|b| Digest::from_bytes(&b))
            .map_err(|_| DecodeError::message("a digest has 32 bytes").at(at))
    }
}

impl<C> Encode<C> for Prefix {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?.u64(self.path())?.u8(self.nibbles())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Prefix {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        let fields = fields(d, 2)?;
        let prefix = Prefix::new(d.u64()?, d.u8()?);
        skip(d, fields - 2)?;
        prefix.ok_or_else(|| DecodeError::message("a range has at most 16 nibbles").at(at))
    }
}

impl<C> Encode<C> for Version {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(6)?.bytes(&self.id.0)?.encode_with(self.change, c)?;
        e.array(self.parents.len() as u64)?;
        for parent in &self.parents {
            e.bytes(&parent.0)?;
        }
        match self.data {
            DataHash::NONE => e.null()?,
            data => e.bytes(&data.0)?,
        };
        e.u64(self.timestamp)?.bytes(&self.origin.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Version {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let fields = fields(d, 6)?;
        let version = Version {
            id: d.decode_with(c)?,
            change: d.decode_with(c)?,
            parents: d.array_iter_with::<C, VersionId>(c)?.collect::<Result<Parents, _>>()?,
            data: match d.datatype()? {
                Type::Null => d.null().map(|()| DataHash::NONE)?,
                _ => d.decode_with(c)?,
            },
            timestamp: d.u64()?,
            origin: d.decode_with(c)?,
        };
        skip(d, fields - 6)?;
        Ok(version)
    }
}

impl<C> Encode<C> for Event {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, c: &mut C) -> Result<(), EncodeError<W::Error>> {
        let fields = 3 + u64::from(self.gap.is_some());
        e.array(fields)?.encode_with(&self.key, c)?.encode_with(&self.version, c)?;
        match &self.value {
            None => e.null()?,
            Some(value) => e.array(2)?.u8(value.kind() as u8)?.bytes(value.as_bytes())?,
        };
        if let Some(gap) = &self.gap {
            e.bytes(&gap.0)?;
        }
        e.ok()
    }
}

impl<'b, C> Decode<'b, C> for Event {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let fields = fields(d, 3)?;
        let mut event = Event::new(d.decode_with(c)?, d.decode_with(c)?, value(d)?);
        if fields > 3 {
            event.gap = d.decode_with(c)?;
        }
        skip(d, fields.saturating_sub(4))?;
        Ok(event)
    }
}

/// The value's form is checked with its event, so that one bad value does not end the connection.
fn value(d: &mut Decoder<'_>) -> Result<Option<Value>, DecodeError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    let at = d.position();
    let fields = fields(d, 2)?;
    let kind = Kind::from_tag(d.u8()?)
        .ok_or_else(|| DecodeError::message("no such kind of value").at(at))?;
    let bytes = Bytes::from(Vec::from(d.decode::<ByteVec>()?));
    skip(d, fields - 2)?;
    Ok(Some(Value::trusted(kind, bytes)))
}

fn fields(d: &mut Decoder<'_>, least: u64) -> Result<u64, DecodeError> {
    let at = d.position();
    match d.array()? {
        Some(count) if count >= least => Ok(count),
        _ => Err(DecodeError::message(format!("expected an array of {least} fields")).at(at)),
    }
}

fn skip(d: &mut Decoder<'_>, count: u64) -> Result<(), DecodeError> {
    (0..count).try_for_each(|_| d.skip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;
    use crate::ids::hex;

    fn live() -> Message {
        let key = Key::new("k").expect("a key");
        let value = Value::string("hi");
        let version =
            Version::first(&key, hash::data_hash(&value), 1_700_000_000_000, StoreId([7; 16]));
        let delete =
            Version::next([version.id].into_iter().collect(), DataHash::NONE, 5, StoreId([7; 16]));
        Message::Live {
            namespace: Namespace::new("notes").expect("a name"),
            sequence: 9,
            root: None,
            maker: NodeId([8; 32]),
            events: vec![
                Event::new(key.clone(), version, Some(value)),
                Event::new(key, delete, None),
            ],
        }
    }

    #[test]
    fn a_message_comes_back_from_its_bytes() {
        let message = live();
        assert_eq!(Message::decode(&message.encode()).expect("a message"), message);
    }

    #[test]
    fn the_bytes_of_an_ack_are_as_documented() {
        let message = Message::Ack {
            namespace: Namespace::new("n").expect("a name"),
            sequence: 300,
            root: Digest::default(),
            whole: true,
        };
        assert_eq!(hex(&message.encode()), format!("820684616e19012c5820{}f5", "00".repeat(32)));
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_place() {
        for bytes in [&b""[..], b"hello", &[0x82, 0x18, 0x63, 0x80], &[0x82, 0x00, 0x81, 0x80]] {
            let refusal = Message::decode(bytes).expect_err("nonsense");
            assert_eq!(refusal.code, Code::BadFrame);
            assert!(refusal.message.contains("byte "), "{refusal}");
        }
        let whole = live().encode();
        for cut in 0..whole.len() {
            assert!(Message::decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert!(Message::decode(&longer).expect_err("longer").message.contains("more bytes"));
    }

    #[test]
    fn fields_of_a_later_version_are_ignored() {
        // An ack with a fifth field.
        let bytes = [
            &[0x82, 0x06, 0x85, 0x61, b'n', 0x01, 0x58, 0x20][..],
            &[0; 32],
            &[0xf5, 0x63, b'n', b'e', b'w'],
        ]
        .concat();
        assert!(matches!(Message::decode(&bytes), Ok(Message::Ack { sequence: 1, .. })));
        // A proof whose `who` has a third field, and which has a fifth one itself.
        let bytes = [
            &[0x82, 0x01, 0x81, 0x85, 0x83, 0x58, 0x20][..],
            &[7; 32],
            &[0x50],
            &[8; 16],
            &[0x63, b'n', b'e', b'w', 0xf6, 0x58, 0x40],
            &[9; 64],
            &[0xf6, 0x81, 0x01],
        ]
        .concat();
        assert!(matches!(Message::decode(&bytes), Ok(Message::Prove(_))));
    }

    #[test]
    fn a_message_of_a_later_version_is_refused_by_its_number() {
        let refusal = Message::decode(&[0x82, 0x18, 0x63, 0x80]).expect_err("there is no 99");
        assert_eq!(refusal.code, Code::BadFrame);
        assert!(refusal.message.contains("99"), "{refusal}");
    }
}
