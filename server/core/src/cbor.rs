//! Deterministic CBOR (RFC 8949 section 4.2.1): any well-formed item in, its one form out.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::limits::DEPTH_MAX;

/// Why bytes are no CBOR item, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cbor, byte {at}: {what}")]
pub struct CborError {
    /// Offset of the fault from the start of the value.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// The deterministic form of one CBOR item: shortest heads, definite lengths, map keys in the order
/// of their bytes, shortest floats, one NaN. Refused: what is not exactly one item, a duplicate key,
/// text that is not UTF-8, more than 64 levels.
pub fn canonical(bytes: &[u8]) -> Result<Vec<u8>, CborError> {
    let mut input = Decoder::new(bytes);
    let mut out = Encoder::new(Vec::with_capacity(bytes.len()));
    copy(&mut input, &mut out, 0)?;
    match input.position() {
        at if at == bytes.len() => Ok(out.into_writer()),
        at => Err(CborError { at, what: "more bytes after the item".into() }),
    }
}

type Out = Encoder<Vec<u8>>;

/// Copies one item in its deterministic form.
fn copy(input: &mut Decoder<'_>, out: &mut Out, depth: usize) -> Result<(), CborError> {
    let at = input.position();
    let bad = |e: minicbor::decode::Error| CborError { at, what: e.to_string() };
    if depth > DEPTH_MAX {
        return Err(CborError { at, what: format!("more than {DEPTH_MAX} levels") });
    }
    match input.datatype().map_err(bad)? {
        Type::Bool => put(out.bool(input.bool().map_err(bad)?)),
        Type::Null => put(input.null().map(|()| out.null()).map_err(bad)?),
        Type::Undefined => put(input.undefined().map(|()| out.undefined()).map_err(bad)?),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => put(out.int(input.int().map_err(bad)?)),
        Type::F16 | Type::F32 | Type::F64 => float(input.f64().map_err(bad)?, out),
        Type::Simple => put(out.simple(input.simple().map_err(bad)?)),
        Type::Bytes | Type::BytesIndef => {
            let mut whole = Vec::new();
            for part in input.bytes_iter().map_err(bad)? {
                whole.extend_from_slice(part.map_err(bad)?);
            }
            put(out.bytes(&whole));
        }
        Type::String | Type::StringIndef => {
            let mut whole = String::new();
            for part in input.str_iter().map_err(bad)? {
                whole.push_str(part.map_err(bad)?);
            }
            put(out.str(&whole));
        }
        Type::Array | Type::ArrayIndef => array(input, out, depth)?,
        Type::Map | Type::MapIndef => map(input, out, depth)?,
        Type::Tag => {
            put(out.tag(input.tag().map_err(bad)?));
            copy(input, out, depth + 1)?;
        }
        other => return Err(CborError { at, what: format!("unexpected {other}") }),
    }
    Ok(())
}

/// Writing to a vector cannot fail; this drops the result that says so.
fn put<T>(_: T) {}

fn array(input: &mut Decoder<'_>, out: &mut Out, depth: usize) -> Result<(), CborError> {
    let at = input.position();
    let bad = |e: minicbor::decode::Error| CborError { at, what: e.to_string() };
    let length = input.array().map_err(bad)?;
    let mut items = Encoder::new(Vec::new());
    let mut count = 0;
    while more(input, length, count)? {
        copy(input, &mut items, depth + 1)?;
        count += 1;
    }
    put(out.array(count));
    out.writer_mut().extend_from_slice(items.writer());
    Ok(())
}

fn map(input: &mut Decoder<'_>, out: &mut Out, depth: usize) -> Result<(), CborError> {
    let at = input.position();
    let bad = |e: minicbor::decode::Error| CborError { at, what: e.to_string() };
    let length = input.map().map_err(bad)?;
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while more(input, length, entries.len() as u64)? {
        let (mut key, mut value) = (Encoder::new(Vec::new()), Encoder::new(Vec::new()));
        copy(input, &mut key, depth + 1)?;
        copy(input, &mut value, depth + 1)?;
        entries.push((key.into_writer(), value.into_writer()));
    }
    entries.sort();
    if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(CborError { at, what: "a map has the same key twice".into() });
    }
    put(out.map(entries.len() as u64));
    for (key, value) in entries {
        out.writer_mut().extend_from_slice(&key);
        out.writer_mut().extend_from_slice(&value);
    }
    Ok(())
}

/// Whether an array or map of this length goes on; takes the break of an indefinite one.
fn more(input: &mut Decoder<'_>, length: Option<u64>, count: u64) -> Result<bool, CborError> {
    let at = input.position();
    let bad = |e: minicbor::decode::Error| CborError { at, what: e.to_string() };
    match length {
        Some(length) => Ok(count < length),
        None if input.datatype().map_err(bad)? == Type::Break => {
            input.set_position(at + 1);
            Ok(false)
        }
        None => Ok(true),
    }
}

/// The shortest of the three widths that holds the number.
fn float(n: f64, out: &mut Out) {
    let half = half_of(n);
    if n.is_nan() {
        out.writer_mut().extend_from_slice(&[0xf9, 0x7e, 0x00]);
    } else if let Some(bits) = half {
        out.writer_mut().push(0xf9);
        out.writer_mut().extend_from_slice(&bits.to_be_bytes());
    } else if f64::from(n as f32) == n {
        put(out.f32(n as f32));
    } else {
        put(out.f64(n));
    }
}

/// The bits of the binary16 number that equals `n`, if there is one.
fn half_of(n: f64) -> Option<u16> {
    let sign = if n.is_sign_negative() { 0x8000 } else { 0 };
    let size = n.abs();
    if size == 0.0 {
        return Some(sign);
    }
    if size.is_infinite() {
        return Some(sign | 0x7c00);
    }
    let exponent = (size.to_bits() >> 52) as i32 - 1023;
    if exponent > 15 {
        return None;
    }
    // Normal numbers keep ten bits below the first; subnormal ones count in steps of 2^-24.
    let step = 2f64.powi(exponent.max(-14) - 10);
    let units = size / step;
    if units.fract() != 0.0 || units == 0.0 {
        return None;
    }
    let units = units as u16;
    if exponent < -14 {
        return Some(sign | units);
    }
    Some(sign | (((exponent + 15) as u16) << 10) | (units & 0x3ff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::hex;

    fn from_hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
            .collect()
    }

    fn form(text: &str) -> String {
        hex(&canonical(&from_hex(text)).expect(text))
    }

    #[test]
    fn every_item_has_one_form() {
        for (given, one) in [
            ("1817", "17"),                                                    // long head of 23
            ("1b0000000000000001", "01"), // eight-byte head of 1
            ("3bffffffffffffffff", "3bffffffffffffffff"), // -2^64
            ("fb3ff8000000000000", "f93e00"), // 1.5 as half
            ("fb3ff199999999999a", "fb3ff199999999999a"), // 1.1 stays
            ("fa47c35000", "fa47c35000"), // 100000.0 as single
            ("fb3e70000000000000", "f90001"), // smallest half
            ("fb7ff8000000000001", "f97e00"), // one NaN
            ("fbfff0000000000000", "f9fc00"), // -infinity
            ("f98000", "f98000"),         // -0
            ("5f42010243030405ff", "450102030405"), // pieces of bytes
            ("9f018202039f0405ffff", "8301820203820405"), // indefinite arrays
            ("bf6162016161 02ff".replace(' ', "").as_str(), "a2616102616201"), // map order
            ("c11a514b67b0", "c11a514b67b0"), // a date
            ("f7", "f7"),                 // undefined
        ] {
            assert_eq!(form(given), one, "{given}");
            assert_eq!(form(one), one, "{one}");
        }
    }

    #[test]
    fn what_is_not_one_item_is_refused_with_its_place() {
        for (given, at) in [
            ("", 0),
            ("0101", 1),
            ("a201010102", 0),
            ("8201", 2),
            ("61ff", 0),
            ("ff", 0),
            ("1c", 0),
        ] {
            let error = canonical(&from_hex(given)).expect_err(given);
            assert_eq!(error.at, at, "{given}: {error}");
        }
        let deep = "81".repeat(70) + "01";
        assert!(canonical(&from_hex(&deep)).expect_err("deep").what.contains("64 levels"));
    }
}
