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

use crate::digest::Digest;
use crate::ids::{ConflictId, DataHash, NodeId, StoreId, VersionId};
use crate::name::{Key, Namespace};
use crate::refusal::{Code, Refusal};
use crate::value::{Kind, Value};
use crate::version::{Event, Parents, Version};

/// The newest version of the protocol that this code speaks.
pub const PROTOCOL: u32 = 1;
/// The oldest version of the protocol that this code speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// The WebSocket subprotocol of connections between nodes.
pub const SUBPROTOCOL: &str = "keepboth.peer.v1";

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The newest protocol version that the sender speaks.
    #[n(0)]
    pub protocol: u32,
    /// The oldest protocol version that the sender speaks.
    #[n(1)]
    pub protocol_min: u32,
    /// Who the sender is.
    #[n(2)]
    pub node: NodeId,
    /// The sender's software and version, for people.
    #[n(3)]
    pub agent: String,
    /// The namespaces that the sender shares, with the store of each.
    #[n(4)]
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

/// A branch of the digest tree that differs, with the digests of its buckets.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BranchBuckets {
    /// 0 to 63.
    #[n(0)]
    pub branch: u16,
    /// 64 digests.
    #[n(1)]
    pub buckets: Vec<Digest>,
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
    /// Who I am and what I have. First, once.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// The digest of a namespace as it is with me now.
    #[n(1)]
    Root {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// Its digest.
        #[n(1)]
        root: Digest,
    },
    /// Versions that were made here just now.
    #[n(2)]
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
        /// The versions, parents first.
        #[n(3)]
        events: Vec<Event>,
    },
    /// Everything up to a sequence of yours is durable here, was refused and listed, or lacks parents
    /// that are asked for.
    #[n(3)]
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
    },
    /// I found a conflict.
    #[n(4)]
    Conflict(#[n(0)] ConflictNote),
    /// Our digests differ: here are mine of all 64 branches.
    #[n(5)]
    Compare {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// 64 digests.
        #[n(1)]
        branches: Vec<Digest>,
    },
    /// The answer to [`Message::Compare`]: the branches that differ.
    #[n(6)]
    Differ {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// Each with the answering node's digests of its buckets.
        #[n(1)]
        branches: Vec<BranchBuckets>,
    },
    /// What I have in a bucket that differs.
    #[n(7)]
    Tips {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// 0 to 4,095.
        #[n(1)]
        bucket: u16,
        /// All my keys of that bucket, or a part of them.
        #[n(2)]
        keys: Vec<KeyTips>,
        /// True if another part follows.
        #[n(3)]
        more: bool,
    },
    /// Send me what you have of a key beyond these versions and their ancestors.
    #[n(8)]
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
    },
    /// Versions that you lack, parents first.
    #[n(9)]
    Histories {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The versions.
        #[n(1)]
        events: Vec<Event>,
    },
    /// The answer to the last part of [`Message::Tips`]: all that I have for you and want of you in
    /// this bucket was sent before.
    #[n(10)]
    BucketDone {
        /// The namespace.
        #[n(0)]
        namespace: Namespace,
        /// The bucket.
        #[n(1)]
        bucket: u16,
    },
    /// Something you sent was refused; the stream goes on unless the connection is closed after it.
    #[n(11)]
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
        e.array(3)?.encode_with(&self.key, c)?.encode_with(&self.version, c)?;
        match &self.value {
            None => e.null()?,
            Some(value) => e.array(2)?.u8(value.kind() as u8)?.bytes(value.as_bytes())?,
        };
        e.ok()
    }
}

impl<'b, C> Decode<'b, C> for Event {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, DecodeError> {
        let fields = fields(d, 3)?;
        let event = Event { key: d.decode_with(c)?, version: d.decode_with(c)?, value: value(d)? };
        skip(d, fields - 3)?;
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
            events: vec![
                Event { key: key.clone(), version, value: Some(value) },
                Event { key, version: delete, value: None },
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
        };
        assert_eq!(hex(&message.encode()), format!("820383616e19012c5820{}", "00".repeat(32)));
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
        // An ack with a fourth field.
        let bytes = [
            &[0x82, 0x03, 0x84, 0x61, b'n', 0x01, 0x58, 0x20][..],
            &[0; 32],
            &[0x63, b'n', b'e', b'w'],
        ]
        .concat();
        assert!(matches!(Message::decode(&bytes), Ok(Message::Ack { sequence: 1, .. })));
    }
}
