//! Scalars as bytes whose order is theirs: null < false < true < numbers < texts.

use serde_json::Value as Json;

/// Of a text so many bytes are seen, or one to three fewer, so that no character is cut.
pub const TEXT_BYTES_MAX: usize = 512;

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const TEXT: u8 = 5;

/// The bytes of a scalar: of two, neither begins with the other. None for arrays and objects.
pub fn encode(scalar: &Json) -> Option<Vec<u8>> {
    match scalar {
        Json::Null => Some(vec![NULL]),
        Json::Bool(false) => Some(vec![FALSE]),
        Json::Bool(true) => Some(vec![TRUE]),
        Json::Number(n) => n.as_f64().map(number),
        Json::String(text) => {
            let mut bytes = prefix(text);
            bytes.extend([0, 0]);
            Some(bytes)
        }
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// What the bytes of all texts begin with that begin so.
pub fn prefix(text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let mut bytes = Vec::with_capacity(text.len() + 3);
    bytes.push(TEXT);
    for byte in text.bytes() {
        bytes.push(byte);
        if byte == 0 {
            // Greater than the end of a text, which is two zeros.
            bytes.push(u8::MAX);
        }
    }
    bytes
}

/// Reads a scalar back, and gives what stands behind it. None if it is none.
pub fn decode(bytes: &[u8]) -> Option<(Json, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    match *tag {
        NULL => Some((Json::Null, rest)),
        FALSE => Some((false.into(), rest)),
        TRUE => Some((true.into(), rest)),
        NUMBER => {
            let (bits, rest) = rest.split_first_chunk()?;
            let bits = u64::from_be_bytes(*bits);
            let bits = if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits };
            Some((f64::from_bits(bits).into(), rest))
        }
        TEXT => {
            let (mut text, mut at) = (Vec::new(), 0);
            loop {
                match (rest.get(at)?, rest.get(at + 1)) {
                    (0, Some(0)) => break,
                    (0, Some(&u8::MAX)) => {
                        text.push(0);
                        at += 2;
                    }
                    (0, _) => return None,
                    (byte, _) => {
                        text.push(*byte);
                        at += 1;
                    }
                }
            }
            Some((String::from_utf8(text).ok()?.into(), &rest[at + 2..]))
        }
        _ => None,
    }
}

fn number(n: f64) -> Vec<u8> {
    // The two zeros are one number.
    let bits = if n == 0.0 { 0 } else { n.to_bits() };
    let bits = if bits >> 63 == 0 { bits ^ 1 << 63 } else { !bits };
    let mut bytes = vec![NUMBER];
    bytes.extend(bits.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn scalars_of_all_types_have_one_order() {
        let sorted = [
            json!(null),
            json!(false),
            json!(true),
            json!(-1e300),
            json!(-2),
            json!(-0.5),
            json!(0),
            json!(1e-300),
            json!(1),
            json!(9),
            json!(10),
            json!(1e300),
            json!(""),
            json!("\u{0}"),
            json!("\u{0}a"),
            json!("\u{1}"),
            json!("10"),
            json!("9"),
            json!("a"),
            json!("a\u{0}"),
            json!("ab"),
            json!("é"),
            json!("😀"),
        ];
        let encoded: Vec<Vec<u8>> = sorted.iter().filter_map(encode).collect();
        assert_eq!(encoded.len(), sorted.len());
        assert!(encoded.is_sorted_by(|a, b| a < b), "{encoded:?}");
        assert_eq!(encode(&json!(-0.0)), encode(&json!(0)));
        assert_eq!((encode(&json!([])), encode(&json!({}))), (None, None));
    }

    #[test]
    fn of_a_long_text_its_first_bytes_are_seen_and_no_character_is_cut() {
        let long = "é".repeat(400);
        let bytes = encode(&json!(long)).expect("a text");
        assert_eq!(decode(&bytes).expect("a text").0, json!("é".repeat(256)));
        let odd = format!("a{long}");
        assert_eq!(prefix(&odd).len(), 1 + 511);
        assert_eq!(encode(&json!(odd)), encode(&json!(format!("{odd}more"))));
    }

    #[test]
    fn what_is_no_scalar_is_not_read() {
        for bytes in
            [&[][..], &[9], &[NUMBER, 1], &[TEXT, b'a'], &[TEXT, 0, 7], &[TEXT, 0xff, 0, 0]]
        {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn texts_come_back_and_have_their_order(a in "\\PC{0,20}|[\u{0}-\u{2}]{0,4}", b in "\\PC{0,20}|[\u{0}-\u{2}]{0,4}") {
            let encoded = [encode(&json!(a)).expect("a text"), encode(&json!(b)).expect("a text")];
            prop_assert_eq!(encoded[0].cmp(&encoded[1]), a.cmp(&b));
            let behind = [&encoded[0][..], b"rest"].concat();
            prop_assert_eq!(decode(&behind), Some((json!(a), &b"rest"[..])));
        }

        #[test]
        fn numbers_come_back_and_have_their_order(a: f64, b: f64) {
            prop_assume!(a.is_finite() && b.is_finite() && a != b);
            let encoded = [encode(&json!(a)).expect("a number"), encode(&json!(b)).expect("a number")];
            prop_assert_eq!(encoded[0] < encoded[1], a < b);
            prop_assert_eq!(decode(&encoded[0]), Some((json!(a), &b""[..])));
        }
    }
}
