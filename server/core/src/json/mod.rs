//! Strict JSON (RFC 8259 without its loopholes) in, canonical JSON (RFC 8785) out.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value as Json};

pub use self::same::is_canonical;
use crate::limits::{DEPTH_MAX, FRAME_DEPTH};

/// What is canonical already.
mod same;

/// Reads a JSON text. Refused with line and column: what is not JSON, a duplicate key, more than
/// 64 levels, an integer that binary64 would change, a number beyond binary64. An integer may stand there as
/// JavaScript writes it, with zeros in the place of digits that binary64 does not need.
pub fn parse(text: &[u8]) -> Result<Json, serde_json::Error> {
    parse_within(text, DEPTH_MAX)
}

/// Reads a JSON text in which values stand some levels deep; each has 64 levels of its own, which
/// [`depth`] measures.
pub fn parse_frame(text: &[u8]) -> Result<Json, serde_json::Error> {
    parse_within(text, DEPTH_MAX + FRAME_DEPTH)
}

/// How many levels of arrays and objects a tree has.
pub fn depth(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn parse_within(text: &[u8], levels: usize) -> Result<Json, serde_json::Error> {
    let large = Cell::new(false);
    let strict = Strict { levels, large: &large };
    // Strings of what is UTF-8 as a whole need not be looked at one by one.
    let json = match std::str::from_utf8(text) {
        Ok(text) => whole(serde_json::Deserializer::from_str(text), strict),
        Err(_) => whole(serde_json::Deserializer::from_slice(text), strict),
    }?;
    if large.get()
        && let Some(literal) = changed_integer(text)
    {
        return Err(de::Error::custom(format!("{literal} would change: {PRECISE}")));
    }
    Ok(json)
}

fn whole<'t, R: serde_json::de::Read<'t>>(
    mut reader: serde_json::Deserializer<R>,
    strict: Strict<'_>,
) -> Result<Json, serde_json::Error> {
    let json = strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(json)
}

const PRECISE: &str = "binary64 holds integers exactly up to 9,007,199,254,740,992; send it as a string or a cbor bigint";

/// The canonical form (RFC 8785): no space, keys in the order of UTF-16, numbers as JavaScript writes them.
pub fn canonical(json: &Json) -> Vec<u8> {
    let mut out = Vec::with_capacity(length(json));
    write(json, &mut out);
    out
}

/// About how many bytes the canonical form has: nearly always enough, and seldom many more.
fn length(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) => 5,
        Json::Number(_) => 16,
        Json::String(text) => text.len() + 2,
        Json::Array(items) => 2 + items.iter().map(|item| 1 + length(item)).sum::<usize>(),
        Json::Object(members) => {
            2 + members.iter().map(|(name, item)| 4 + name.len() + length(item)).sum::<usize>()
        }
    }
}

/// The last integer up to which binary64 holds all, and JavaScript writes them as they are.
const EXACT_MAX: u64 = 1 << 53;
/// The first byte of texts whose order in UTF-8 and UTF-16 may differ: those from U+E000 on.
const ORDERS_DIFFER: u8 = 0xee;

fn write(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(n) => write_number(n, out),
        Json::String(text) => write_text(text, out),
        Json::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Json::Object(members) => {
            if members.keys().is_sorted_by(|a, b| key_order(a, b).is_lt()) {
                // As they stand as a rule.
                write_members(members.iter(), out);
            } else {
                let mut sorted: Vec<(&String, &Json)> = members.iter().collect();
                sorted.sort_by(|a, b| key_order(a.0, b.0));
                write_members(sorted.into_iter(), out);
            }
        }
    }
}

/// The order of two keys by their UTF-16.
fn key_order(a: &str, b: &str) -> Ordering {
    let differs = |key: &str| key.bytes().fold(false, |found, b| found | (b >= ORDERS_DIFFER));
    match differs(a) || differs(b) {
        true => a.encode_utf16().cmp(b.encode_utf16()),
        false => a.cmp(b),
    }
}

fn write_members<'a>(members: impl Iterator<Item = (&'a String, &'a Json)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (key, member)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        write(member, out);
    }
    out.push(b'}');
}

fn write_number(n: &Number, out: &mut Vec<u8>) {
    let exact = n.as_i64().filter(|n| n.unsigned_abs() <= EXACT_MAX);
    match exact {
        Some(n) => out.extend_from_slice(n.to_string().as_bytes()),
        // A number of a tree is finite, and a Vec takes all bytes.
        None => serde_json_canonicalizer::to_writer(n, out).unwrap_or_default(),
    }
}

/// Appends a text as JSON. The canonical form and others escape alike: the short escapes, and \u00xx in small
/// letters for other control characters.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    // All bytes are looked at, many at once, which is faster than to stop at the first.
    let special = |b: u8| (b < b' ') | (b == b'"') | (b == b'\\');
    if !text.bytes().fold(false, |found, b| found | special(b)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A text is written without fault, and a Vec takes all bytes.
        serde_json::to_writer(out, text).unwrap_or_default();
    }
}

/// An integer literal of 19 digits or more, which serde_json may read as a float, that the float would change.
fn changed_integer(text: &[u8]) -> Option<String> {
    let (mut at, mut in_string) = (0, false);
    while at < text.len() {
        match text[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'0'..=b'9' if !in_string => {
                let end = at + text[at..].iter().take_while(|b| is_number(**b)).count();
                let literal = &text[at..end];
                if literal.len() >= 19 && literal.iter().all(u8::is_ascii_digit) {
                    let literal = String::from_utf8_lossy(literal);
                    let holds = |n: f64| format!("{n:.0}") == *literal || is_written(n, &literal);
                    if !literal.parse().is_ok_and(holds) {
                        return Some(literal.into_owned());
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_number(b: u8) -> bool {
    b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')
}

/// Integers down to -2^63 and up to 2^64 are read as such; what is read as a float is no smaller.
const LARGE: f64 = (1_u64 << 63) as f64;

/// The binary64 of a large integer, if it is that, or is how JavaScript writes it: with zeros in the place of
/// digits that binary64 does not need.
fn large<E: de::Error>(literal: i128) -> Result<Json, E> {
    let n = literal as f64;
    let exact = n as i128;
    if exact != literal && !is_written(n, &literal.to_string()) {
        return Err(E::custom(format!("{literal} would change: {PRECISE}")));
    }
    let number = i64::try_from(exact).map(Number::from);
    let number = number.or_else(|_| u64::try_from(exact).map(Number::from)).ok();
    Ok(number.or_else(|| Number::from_f64(n)).map_or(Json::Null, Json::Number))
}

/// True if this is the canonical form of the number.
fn is_written(n: f64, literal: &str) -> bool {
    let mut out = Vec::with_capacity(24);
    Number::from_f64(n).iter().for_each(|n| write_number(n, &mut out));
    out == literal.as_bytes()
}

/// One value that may have so many levels, by the strict rules.
struct Strict<'l> {
    levels: usize,
    /// Whether there is a float that may have been written as an integer.
    large: &'l Cell<bool>,
}

impl Strict<'_> {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Strict { levels, ..*self }),
            None => Err(E::custom(format!("more than {DEPTH_MAX} levels of arrays and objects"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        self.deserialize(from)
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Json, E> {
        Ok(Json::String(v))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Json, E> {
        if v <= EXACT_MAX { Ok(Json::Number(v.into())) } else { large(v.into()) }
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Json, E> {
        if v.unsigned_abs() <= EXACT_MAX { Ok(Json::Number(v.into())) } else { large(v.into()) }
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Json, E> {
        if v.abs() >= LARGE {
            self.large.set(true);
        }
        let number = Number::from_f64(v).map(Json::Number);
        number.ok_or_else(|| E::custom("JSON has no NaN and no infinity"))
    }

    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<Json, E> {
        Err(E::custom("JSON has no bytes inside; send {\"$bytes\":…} alone, or cbor"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut items = Vec::with_capacity(from.size_hint().unwrap_or(0).min(256));
        while let Some(item) = from.next_element_seed(self.deeper()?)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut members = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            match members.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(from.next_value_seed(self.deeper()?)?);
                }
                Entry::Occupied(there) => {
                    let shown: String = there.key().chars().take(80).collect();
                    return Err(de::Error::custom(format!("duplicate key {shown:?}")));
                }
            }
        }
        Ok(Json::Object(members))
    }
}

/// The bytes that a tree takes in a frame, as JSON or MessagePack, at most.
pub fn size(tree: &Json) -> usize {
    let text = |text: &str| {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        };
        text.bytes().map(escaped).sum::<usize>() + 5
    };
    match tree {
        Json::Null | Json::Bool(_) => 6,
        Json::Number(n) if n.is_f64() => 26,
        Json::Number(_) => 21,
        Json::String(string) => text(string),
        Json::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Json::Object(members) => {
            members.iter().map(|(name, member)| text(name) + size(member)).sum::<usize>() + 8
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn duplicate_keys_are_refused_with_their_place() {
        assert_eq!(refused(r#"{"a":{"b":1,"b":2}}"#), r#"duplicate key "b" at line 1 column 15"#);
    }

    #[test]
    fn integers_that_would_change_are_refused() {
        assert!(refused("[9007199254740993]").starts_with("9007199254740993 would change"));
        assert!(refused("-9007199254740993").starts_with("-9007199254740993 would change"));
        assert!(refused("[18446744073709551617]").contains("18446744073709551617 would change"));
        // Of 19 digits, and yet beyond what an i64 holds.
        assert!(refused("-9223372036854775809").contains("9223372036854775809 would change"));
        assert!(parse(b"[-9223372036854775808, 18446744073709551616, 1e19]").is_ok());
        assert!(refused("1e400").contains("number out of range"));
        for held in
            ["9007199254740992", "18446744073709551616", "1e300", "0.1", "\"18446744073709551617\""]
        {
            assert!(parse(held.as_bytes()).is_ok(), "{held}");
        }
    }

    #[test]
    fn large_integers_may_be_written_as_javascript_does() {
        let same = |text: &str, written: &str| {
            let tree = parse(text.as_bytes()).expect(text);
            assert_eq!(String::from_utf8(canonical(&tree)).expect("text"), written);
            let again = parse(written.as_bytes()).expect(written);
            assert_eq!(String::from_utf8(canonical(&again)).expect("text"), written);
        };
        same("[1152921504606846976]", "[1152921504606847000]");
        same("[-1152921504606846976]", "[-1152921504606847000]");
        same("[18446744073709551616]", "[18446744073709552000]");
        same("[1234567890123456700.0]", "[1234567890123456800]");
        assert!(refused("[1152921504606846977]").contains("would change"));
        assert!(refused("[1152921504606847001]").contains("would change"));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert!(refused(&nested(DEPTH_MAX + 1)).contains("more than 64 levels"));
        assert!(refused(&nested(100_000)).contains("more than 64 levels"));
    }

    #[test]
    fn the_canonical_form_is_rfc_8785() {
        let text = r#"{"€":1,"\r":2,"\ufb33":3,"1":4,"😀":5,"\u0080":6,"ö":[1e21,0.000001,-0.0,4.50,333333333.33333329]}"#;
        let out = canonical(&parse(text.as_bytes()).expect("json"));
        let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":[1e+21,0.000001,0,4.5,333333333.3333333],\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn what_is_written_in_another_way_is_not_canonical() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        let (deep, deeper) = (nested(DEPTH_MAX), nested(DEPTH_MAX + 1));
        for text in [&deep, "{}", "[]", r#"{"":[1,2],"a":{"b":null}}"#, "[1152921504606847000]"] {
            assert!(is_canonical(text.as_bytes()), "{text}");
        }
        let others = [
            "",
            " {}",
            "{} ",
            "{}{}",
            "[1, 2]",
            "[1,]",
            "[-0]",
            "[1.0]",
            "[1e2]",
            "[01]",
            "[NaN]",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a" :1}"#,
            r#"["\u0061"]"#,
            r#"["\/"]"#,
            "{\"\u{fb33}\":1,\"\u{1f600}\":2}",
            "[1152921504606846976]",
            "[9007199254740993]",
            &deeper,
        ];
        for text in others {
            assert!(!is_canonical(text.as_bytes()), "{text}");
        }
        assert!(!is_canonical(b"[\"\xff\"]"));
    }

    /// The writer of the standard's authors is slower, and the measure of this one.
    fn by_the_standard(json: &Json) -> String {
        let mut out = Vec::new();
        serde_json_canonicalizer::to_writer(json, &mut out).expect("a tree");
        String::from_utf8(out).expect("text")
    }

    fn any_tree() -> impl proptest::strategy::Strategy<Value = Json> {
        use proptest::prelude::*;
        let text = || {
            prop_oneof![
                "[a-c\"\\\\\u{0}-\u{1f}\u{7f}é]{0,6}",
                "[\u{d000}-\u{d7ff}\u{e000}-\u{ffff}\u{10000}-\u{10ffff}]{0,3}"
            ]
        };
        let number = prop_oneof![
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            (-(1_i64 << 54)..1 << 54).prop_map(Json::from),
            any::<f64>().prop_map(|n| Number::from_f64(n).map_or(Json::Null, Json::Number)),
            Just(Json::from(-0.0)),
        ];
        let leaf =
            prop_oneof![any::<bool>().prop_map(Json::from), number, text().prop_map(Json::from)];
        leaf.prop_recursive(3, 24, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                proptest::collection::vec((text(), inner), 0..5)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn the_canonical_form_is_that_of_the_standard(tree in any_tree()) {
            let found = String::from_utf8(canonical(&tree)).expect("text");
            proptest::prop_assert_eq!(found, by_the_standard(&tree));
        }

        #[test]
        fn what_was_written_is_read_as_the_same(tree in any_tree()) {
            let written = canonical(&tree);
            let read = parse(&written).expect("its own form");
            proptest::prop_assert_eq!(canonical(&read), written);
        }

        #[test]
        fn a_text_is_canonical_if_it_is_read_and_written_as_the_same(
            tree in any_tree(),
            at in proptest::prelude::any::<proptest::sample::Index>(),
            byte in 0_u8..0x80,
        ) {
            let written = canonical(&tree);
            proptest::prop_assert!(is_canonical(&written));
            let at = at.index(written.len() + 1);
            let mut others = [written.clone(), written.clone(), written];
            others[0].insert(at, byte);
            if let Some(other) = others[1].get_mut(at) {
                *other = byte;
            }
            others[2].truncate(at);
            for other in others {
                let same = parse(&other).is_ok_and(|tree| canonical(&tree) == other);
                proptest::prop_assert_eq!(is_canonical(&other), same, "{}", String::from_utf8_lossy(&other));
            }
        }
    }
}
