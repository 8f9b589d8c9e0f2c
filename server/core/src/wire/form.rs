//! The bytes of names, digests, ranges, versions and events, each checked when it is read.

use bytes::Bytes;
use minicbor::bytes::ByteVec;
use minicbor::data::Type;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::digest::{Digest, Prefix};
use crate::ids::{DataHash, VersionId};
use crate::name::{Key, Namespace};
use crate::refusal::Refusal;
use crate::value::{Kind, Value};
use crate::version::{Event, Parents, Version};

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
