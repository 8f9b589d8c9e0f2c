//! Whether a text is already in the canonical form, found out in one pass and without a tree.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Json};

use super::{key_order, large, write_number, write_text};
use crate::limits::DEPTH_MAX;

/// True if [`super::parse`] takes the text and [`super::canonical`] gives it back as it is.
pub fn is_canonical(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let (mut rest, mut written) = (text.as_bytes(), Vec::new());
    let mut reader = serde_json::Deserializer::from_str(text);
    let same = Same { levels: DEPTH_MAX, rest: &mut rest, written: &mut written };
    same.deserialize(&mut reader).is_ok() && rest.is_empty()
}

/// Compares one value with what stands there.
struct Same<'s, 't> {
    levels: usize,
    /// What was not compared yet.
    rest: &'s mut &'t [u8],
    /// Room for what is written to be compared.
    written: &'s mut Vec<u8>,
}

impl<'t> Same<'_, 't> {
    fn takes<E: de::Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        *self.rest = self.rest.strip_prefix(bytes).ok_or_else(|| E::custom("not canonical"))?;
        Ok(())
    }

    fn takes_text<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        self.takes_written(|out| write_text(text, out))
    }

    fn takes_number<E: de::Error>(&mut self, number: &Number) -> Result<(), E> {
        self.takes_written(|out| write_number(number, out))
    }

    fn takes_written<E: de::Error>(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), E> {
        self.written.clear();
        write(self.written);
        let end = self.rest.get(..self.written.len());
        if end != Some(&self.written[..]) {
            return Err(E::custom("not canonical"));
        }
        *self.rest = &self.rest[self.written.len()..];
        Ok(())
    }

    fn takes_large<E: de::Error>(mut self, literal: i128) -> Result<(), E> {
        match large(literal)? {
            Json::Number(number) => self.takes_number(&number),
            _ => Err(E::custom("no number")),
        }
    }

    fn deeper<E: de::Error>(&mut self) -> Result<Same<'_, 't>, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Same { levels, rest: self.rest, written: self.written })
    }
}

impl<'de> DeserializeSeed<'de> for Same<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Same<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: de::Error>(mut self, v: bool) -> Result<(), E> {
        self.takes(if v { b"true" } else { b"false" })
    }

    fn visit_unit<E: de::Error>(mut self) -> Result<(), E> {
        self.takes(b"null")
    }

    fn visit_str<E: de::Error>(mut self, v: &str) -> Result<(), E> {
        self.takes_text(v)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<(), E> {
        self.takes_large(v.into())
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<(), E> {
        self.takes_large(v.into())
    }

    fn visit_f64<E: de::Error>(mut self, v: f64) -> Result<(), E> {
        let number = Number::from_f64(v).ok_or_else(|| E::custom("no number"))?;
        self.takes_number(&number)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<(), A::Error> {
        self.takes(b"[")?;
        // Whether a comma comes before the next is known only once it is there.
        let mut first = true;
        while let Some(()) = from.next_element_seed(After { first, same: self.deeper()? })? {
            first = false;
        }
        self.takes(b"]")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<(), A::Error> {
        self.takes(b"{")?;
        let mut last: Option<String> = None;
        while let Some(key) = from.next_key::<String>()? {
            match &last {
                Some(last) if key_order(last, &key).is_lt() => self.takes(b",")?,
                None => {}
                Some(_) => return Err(de::Error::custom("keys out of order")),
            }
            self.takes_text(&key)?;
            self.takes(b":")?;
            from.next_value_seed(self.deeper()?)?;
            last = Some(key);
        }
        self.takes(b"}")
    }
}

/// An item of an array, before which a comma stands unless it is the first.
struct After<'s, 't> {
    first: bool,
    same: Same<'s, 't>,
}

impl<'de> DeserializeSeed<'de> for After<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        if !self.first {
            self.same.takes(b",")?;
        }
        self.same.deserialize(from)
    }
}
