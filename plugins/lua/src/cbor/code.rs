//! Items from and to bytes. What is read is deterministic already; what is written is so again.

use std::rc::Rc;

use minicbor::data::{Int, Tag, Type};
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::Item;

/// The item of these bytes, which are one CBOR item in its deterministic form.
pub fn decode(bytes: &[u8]) -> Result<Item, Error> {
    read(&mut Decoder::new(bytes))
}

fn read(input: &mut Decoder<'_>) -> Result<Item, Error> {
    Ok(match input.datatype()? {
        Type::Bool => Item::Bool(input.bool()?),
        Type::Null => {
            input.null()?;
            Item::Null
        }
        Type::Undefined => {
            input.undefined()?;
            Item::Undefined
        }
        Type::F16 | Type::F32 | Type::F64 => Item::Float(input.f64()?),
        Type::Simple => Item::Simple(input.simple()?),
        Type::Bytes => Item::Bytes(input.bytes()?.into()),
        Type::String => Item::Text(input.str()?.into()),
        Type::Array => {
            let length = input.array()?.unwrap_or(0);
            let items: Result<Vec<Item>, Error> = (0..length).map(|_| read(input)).collect();
            Item::list(items?)
        }
        Type::Map => {
            let length = input.map()?.unwrap_or(0);
            let entries: Result<Vec<(Item, Item)>, Error> =
                (0..length).map(|_| Ok((read(input)?, read(input)?))).collect();
            Item::map(entries?)
        }
        Type::Tag => {
            let tag = input.tag()?.as_u64();
            Item::Tag(tag, Rc::new(read(input)?))
        }
        _ => Item::Int(input.int()?.into()),
    })
}

/// The bytes of an item. The core brings them into their deterministic form.
pub fn encode(item: &Item) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    write(item, &mut out);
    out.into_writer()
}

/// Writing to a vector cannot fail; this drops the result that says so.
fn put<T>(_: T) {}

fn write(item: &Item, out: &mut Encoder<Vec<u8>>) {
    match item {
        Item::Null => put(out.null()),
        Item::Undefined => put(out.undefined()),
        Item::Bool(b) => put(out.bool(*b)),
        Item::Int(n) => match Int::try_from(*n) {
            Ok(n) => put(out.int(n)),
            Err(_) => put(out.f64(*n as f64)),
        },
        Item::Float(n) => put(out.f64(*n)),
        Item::Bytes(bytes) => put(out.bytes(bytes)),
        Item::Text(text) => put(out.str(text)),
        Item::List(items) => {
            let items = items.borrow();
            put(out.array(items.len() as u64));
            items.iter().for_each(|item| write(item, out));
        }
        Item::Map(entries) => {
            let entries = entries.borrow();
            put(out.map(entries.len() as u64));
            for (key, (_, value)) in entries.iter() {
                out.writer_mut().extend_from_slice(key);
                write(value, out);
            }
        }
        Item::Tag(tag, item) => {
            put(out.tag(Tag::new(*tag)));
            write(item, out);
        }
        Item::Simple(n) => put(out.simple(*n)),
    }
}
