//! Whole numbers of any size as decimal text: heads of 64 bits, and the bytes of tags 2 and 3.

use std::fmt::Write;

use super::{Item, tag};

/// Most bytes of a number that is shown in decimal; the work grows with their square.
const BYTES_MAX: usize = 512;
const CHUNK: u64 = 1_000_000_000;

/// The number in decimal; None if the item is no whole number, or has more than 512 bytes.
pub fn decimal(item: &Item) -> Option<String> {
    let (negative, bytes) = match item {
        Item::Int(n) => return Some(n.to_string()),
        Item::Tag(kind @ (tag::BIG | tag::BIG_NEGATIVE), inner) => match &**inner {
            Item::Bytes(bytes) if bytes.len() <= BYTES_MAX => (*kind == tag::BIG_NEGATIVE, bytes),
            _ => return None,
        },
        _ => return None,
    };
    let mut digits = vec![0];
    bytes.iter().for_each(|byte| times_plus(&mut digits, CHUNK, 256, u64::from(*byte)));
    if negative {
        // Tag 3 holds -1 - n.
        times_plus(&mut digits, CHUNK, 1, 1);
    }
    let mut text = if negative { "-".to_owned() } else { String::new() };
    let mut chunks = digits.iter().rev();
    let _ = write!(text, "{}", chunks.next().unwrap_or(&0));
    for chunk in chunks {
        let _ = write!(text, "{chunk:09}");
    }
    Some(text)
}

/// The item of a number in decimal, in its shortest form.
pub fn parse(text: &str) -> Result<Item, String> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("not a whole number in decimal".into());
    }
    if digits.len() > 2 * BYTES_MAX {
        return Err(format!("a whole number of more than {} digits", 2 * BYTES_MAX));
    }
    let small = text.parse::<i128>().ok();
    if let Some(n) = small.filter(|n| (-(1_i128 << 64)..1_i128 << 64).contains(n)) {
        return Ok(Item::Int(n));
    }
    let mut bytes = vec![0];
    digits.bytes().for_each(|digit| times_plus(&mut bytes, 256, 10, u64::from(digit - b'0')));
    if negative {
        let mut at = 0;
        while bytes[at] == 0 {
            bytes[at] = 255;
            at += 1;
        }
        bytes[at] -= 1;
    }
    while bytes.len() > 1 && bytes.last() == Some(&0) {
        bytes.pop();
    }
    let bytes: Vec<u8> = bytes.iter().rev().map(|byte| *byte as u8).collect();
    let tag = if negative { tag::BIG_NEGATIVE } else { tag::BIG };
    Ok(Item::tagged(tag, Item::Bytes(bytes.into())))
}

/// Multiplies digits of this base, the lowest first, and adds.
fn times_plus(digits: &mut Vec<u64>, base: u64, factor: u64, add: u64) {
    let mut carry = add;
    for digit in digits.iter_mut() {
        carry += *digit * factor;
        *digit = carry % base;
        carry /= base;
    }
    while carry > 0 {
        digits.push(carry % base);
        carry /= base;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_of_any_size_comes_back() {
        for text in [
            "0",
            "-1",
            "18446744073709551615",
            "-18446744073709551616",
            "18446744073709551616",
            "-18446744073709551617",
            "123456789012345678901234567890",
            "-340282366920938463463374607431768211456",
            "1000000000000000000000000000000000000000000",
        ] {
            let item = parse(text).expect(text);
            assert_eq!(decimal(&item).as_deref(), Some(text));
        }
        let long = "9".repeat(1_024);
        assert_eq!(decimal(&parse(&long).expect("long")), Some(long));
        for text in ["", "-", "1.5", "+1", "0x1", "1e5", &"9".repeat(1_025)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_standard() {
        // The examples of RFC 8949, appendix A.
        for (text, hex) in [
            ("18446744073709551616", "c249010000000000000000"),
            ("-18446744073709551617", "c349010000000000000000"),
            ("-18446744073709551616", "3bffffffffffffffff"),
        ] {
            let bytes = super::super::encode(&parse(text).expect(text));
            let found: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(found, hex);
        }
    }
}
