//! Values: a kind and bytes, of which equal values have exactly one form in every language.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::Value as Json;

use crate::limits::{DEPTH_MAX, Stage, VALUE_BYTES_MAX};
use crate::refusal::{Code, Refusal};
use crate::{cbor, json};

/// What the bytes of a value are. The number is the tag that is hashed and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bytes as they are.
    Bytes = 0,
    /// UTF-8 text.
    String = 1,
    /// IEEE 754 binary64, big-endian, one NaN.
    Number = 2,
    /// Canonical JSON (RFC 8785) of an object, an array, true, false or null.
    Json = 3,
    /// Deterministic CBOR (RFC 8949 section 4.2) of what JSON cannot hold.
    Cbor = 4,
}

impl Kind {
    /// The kind with this tag.
    pub fn from_tag(tag: u8) -> Option<Kind> {
        [Kind::Bytes, Kind::String, Kind::Number, Kind::Json, Kind::Cbor]
            .get(usize::from(tag))
            .copied()
    }

    /// The kind's name in frames.
    pub fn as_str(self) -> &'static str {
        ["bytes", "string", "number", "json", "cbor"][self as usize]
    }
}

/// An immutable value in its canonical form. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Value {
    kind: Kind,
    bytes: Bytes,
}

impl Value {
    /// Bytes as they are.
    pub fn bytes(bytes: impl Into<Bytes>) -> Value {
        Value { kind: Kind::Bytes, bytes: bytes.into() }
    }

    /// A text.
    pub fn string(text: impl Into<String>) -> Value {
        Value { kind: Kind::String, bytes: Bytes::from(text.into().into_bytes()) }
    }

    /// A number; all NaNs are one.
    pub fn number(n: f64) -> Value {
        let bits = if n.is_nan() { 0x7ff8_0000_0000_0000 } else { n.to_bits() };
        Value { kind: Kind::Number, bytes: Bytes::copy_from_slice(&bits.to_be_bytes()) }
    }

    /// The value of a JSON tree: a string or number is of that kind, all else of kind json.
    pub fn json(tree: &Json) -> Value {
        match tree {
            Json::String(text) => Value::string(text.as_str()),
            Json::Number(n) => Value::number(n.as_f64().unwrap_or(f64::NAN)),
            _ => {
                let bytes = json::canonical(tree).into();
                Value { kind: Kind::Json, bytes }
            }
        }
    }

    /// The value of one CBOR item, brought into its deterministic form.
    pub fn cbor(item: &[u8]) -> Result<Value, Refusal> {
        let bytes =
            cbor::canonical(item).map_err(|e| Refusal::new(Code::BadValue, e.to_string()))?;
        Ok(Value { kind: Kind::Cbor, bytes: bytes.into() })
    }

    /// A value that claims to be canonical, as peers and disks hold it; refused if it is not.
    pub fn from_canonical(kind: Kind, bytes: Bytes) -> Result<Value, Refusal> {
        let canonical = match kind {
            Kind::Bytes => true,
            Kind::String => std::str::from_utf8(&bytes).is_ok(),
            Kind::Number => <[u8; 8]>::try_from(&bytes[..])
                .is_ok_and(|b| Value::number(f64::from_be_bytes(b)).bytes == bytes),
            Kind::Json => {
                let other = matches!(bytes.first(), Some(b'"' | b'-' | b'0'..=b'9'));
                !other && json::is_canonical(&bytes)
            }
            Kind::Cbor => cbor::canonical(&bytes).is_ok_and(|one| one == bytes),
        };
        if canonical {
            return Ok(Value { kind, bytes });
        }
        let words = format!(
            "{} bytes are not a {} value in its canonical form",
            bytes.len(),
            kind.as_str()
        );
        Err(Refusal::new(Code::BadValue, words))
    }

    /// A value whose form was checked when it was written, from the row that holds it.
    pub fn trusted(kind: Kind, bytes: Bytes) -> Value {
        Value { kind, bytes }
    }

    /// The value that stands in a client's frame: JSON as itself, or one of the escapes
    /// `{"$bytes":base64}`, `{"$cbor":base64}`, `{"$number":"NaN"|"Infinity"|"-Infinity"}` and
    /// `{"$json":object}` for an object whose own first key starts with `$`.
    pub fn from_wire(tree: &Json) -> Result<Value, Refusal> {
        if json::depth(tree) > DEPTH_MAX {
            let words = format!("the value has more than {DEPTH_MAX} levels of arrays and objects");
            return Err(Refusal::new(Code::BadValue, words));
        }
        let Some((escape, inner)) = escape(tree) else { return Ok(Value::json(tree)) };
        let bad = |what: &str| Err(Refusal::new(Code::BadValue, format!("{escape:?}: {what}")));
        let alone = tree.as_object().is_some_and(|members| members.len() == 1);
        match (escape, inner) {
            _ if !alone => {
                bad("an escape stands alone in its object").map_err(|e: Refusal| e.hint(ESCAPES))
            }
            ("$bytes", Json::String(text)) => match BASE64.decode(text) {
                Ok(bytes) => Ok(Value::bytes(bytes)),
                Err(e) => bad(&format!("not base64: {e}")),
            },
            ("$cbor", Json::String(text)) => match BASE64.decode(text) {
                Ok(bytes) => Value::cbor(&bytes),
                Err(e) => bad(&format!("not base64: {e}")),
            },
            ("$number", Json::String(text)) => match text.as_str() {
                "NaN" => Ok(Value::number(f64::NAN)),
                "Infinity" => Ok(Value::number(f64::INFINITY)),
                "-Infinity" => Ok(Value::number(f64::NEG_INFINITY)),
                _ => bad("expected \"NaN\", \"Infinity\" or \"-Infinity\""),
            },
            ("$json", Json::Object(_)) => Ok(Value::json(inner)),
            _ => bad("no such escape, or not of that type").map_err(|e: Refusal| e.hint(ESCAPES)),
        }
    }

    /// What the value is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value as a JSON tree, if its kind is json, string, or number and finite.
    pub fn to_json(&self) -> Option<Json> {
        match self.kind {
            Kind::Json => serde_json::from_slice(&self.bytes).ok(),
            Kind::String => std::str::from_utf8(&self.bytes).ok().map(Json::from),
            Kind::Number => {
                self.to_number().and_then(serde_json::Number::from_f64).map(Json::Number)
            }
            Kind::Bytes | Kind::Cbor => None,
        }
    }

    /// The number, if it is one.
    pub fn to_number(&self) -> Option<f64> {
        let bytes = (self.kind == Kind::Number).then(|| <[u8; 8]>::try_from(&self.bytes[..]).ok());
        bytes.flatten().map(f64::from_be_bytes)
    }

    /// Appends the value as it stands in JSON frames: the inverse of [`Value::from_wire`].
    pub fn write_wire(&self, out: &mut Vec<u8>) {
        let escaped = |out: &mut Vec<u8>, name: &str, bytes: &[u8]| {
            out.extend_from_slice(b"{\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":\"");
            out.extend_from_slice(BASE64.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        };
        match self.kind {
            Kind::Json if self.bytes.starts_with(b"{\"$") => {
                out.extend_from_slice(b"{\"$json\":");
                out.extend_from_slice(&self.bytes);
                out.push(b'}');
            }
            Kind::Json => out.extend_from_slice(&self.bytes),
            Kind::String => {
                let text = std::str::from_utf8(&self.bytes).unwrap_or_default();
                out.extend_from_slice(Json::from(text).to_string().as_bytes());
            }
            Kind::Number => match self.to_number().unwrap_or(f64::NAN) {
                n if n.is_nan() => out.extend_from_slice(b"{\"$number\":\"NaN\"}"),
                f64::INFINITY => out.extend_from_slice(b"{\"$number\":\"Infinity\"}"),
                f64::NEG_INFINITY => out.extend_from_slice(b"{\"$number\":\"-Infinity\"}"),
                n if n == 0.0 && n.is_sign_negative() => out.extend_from_slice(b"-0.0"),
                n => out.extend_from_slice(&json::canonical(&Json::from(n))),
            },
            Kind::Bytes => escaped(out, "$bytes", &self.bytes),
            Kind::Cbor => escaped(out, "$cbor", &self.bytes),
        }
    }

    /// The value as it stands in JSON frames, as a text.
    pub fn to_wire(&self) -> String {
        let mut out = Vec::with_capacity(self.bytes.len() + 16);
        self.write_wire(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Refuses a value over `limit` bytes (never more than [`VALUE_BYTES_MAX`]), naming the stage.
    pub fn check_size(&self, limit: usize, stage: Stage) -> Result<(), Refusal> {
        let limit = limit.min(VALUE_BYTES_MAX);
        if self.bytes.len() > limit {
            return Err(Refusal::value_too_large(self.bytes.len(), limit, stage));
        }
        Ok(())
    }
}

const ESCAPES: &str = "escapes are {\"$bytes\":base64}, {\"$cbor\":base64}, {\"$number\":\"NaN\"} and {\"$json\":object}; wrap an object whose first key starts with $ as {\"$json\":{…}}";

/// The first member of an object, in canonical order, if its key starts with `$`.
fn escape(tree: &Json) -> Option<(&str, &Json)> {
    let members = tree.as_object()?;
    // The order of bytes and of UTF-16 agree on which key is first when that key starts with an ASCII `$`.
    let (key, inner) = members.iter().min_by(|a, b| a.0.cmp(b.0))?;
    key.starts_with('$').then_some((key.as_str(), inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_wire_form_comes_back_as_the_same_value() {
        let values = [
            Value::bytes(vec![0, 255, 7]),
            Value::string("a \"quoted\" привет\u{0}"),
            Value::number(-0.0),
            Value::number(1e21),
            Value::number(f64::NAN),
            Value::number(f64::INFINITY),
            Value::number(f64::NEG_INFINITY),
            Value::json(&json!({"b": [1, 2.5, null], "a": {"$x": 1}})),
            Value::json(&json!({"$bytes": "not an escape"})),
            Value::json(&json!({"$json": {"$json": 1}})),
            Value::json(&json!(null)),
            Value::cbor(&[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]).expect("bigint"),
        ];
        for value in values {
            let tree = json::parse(value.to_wire().as_bytes()).expect("json");
            assert_eq!(Value::from_wire(&tree).expect("value"), value, "{}", value.to_wire());
            let again = Value::from_canonical(value.kind(), value.as_bytes().clone());
            assert_eq!(again.expect("canonical"), value);
        }
    }

    #[test]
    fn a_wrong_escape_is_refused_with_what_would_be_right() {
        for tree in [
            json!({"$bytes": 5}),
            json!({"$what": 1}),
            json!({"$bytes": "", "a": 1}),
            json!({"$cbor": "/w=="}),
        ] {
            let refusal = Value::from_wire(&tree).expect_err("refused");
            assert_eq!(refusal.code, Code::BadValue, "{tree}: {refusal}");
        }
    }

    #[test]
    fn bytes_that_are_not_canonical_are_refused() {
        for (kind, bytes) in [
            (Kind::Json, &b"{ }"[..]),
            (Kind::Json, b"{\"b\":1,\"a\":2}"),
            (Kind::Json, b"5"),
            (Kind::String, b"\xff"),
            (Kind::Number, b"1234567"),
            (Kind::Number, &[0x7f, 0xf8, 0, 0, 0, 0, 0, 1]),
            (Kind::Cbor, &[0x18, 0x17]),
        ] {
            let refusal =
                Value::from_canonical(kind, Bytes::copy_from_slice(bytes)).expect_err("refused");
            assert_eq!(refusal.code, Code::BadValue, "{refusal}");
        }
    }
}
