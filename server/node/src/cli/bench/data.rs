//! Keys, values and frames that the benchmark sends.

use std::ops::Range;

use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

use super::speech::push_number;

/// The schema that values obey.
pub const SCHEMA: &str = include_str!("../../../../../schemas/note.schema.json");
/// The hook that values pass.
pub const HOOK: &str = include_str!("hook.luau");
/// The hook that merges conflicts.
pub const MERGE: &str = include_str!("../../../../../scripts/merge.luau");
/// The name of the namespace.
pub const NAMESPACE: &str = "bench";

/// The text of the key with this number: in no order, and no two the same.
pub fn key(number: u64) -> String {
    // The finalizer of SplitMix64: a permutation of the numbers.
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("note/{:016x}", mixed ^ (mixed >> 31))
}

/// The same, checked.
pub fn checked_key(number: u64) -> Result<Key, Refusal> {
    Key::new(&key(number))
}

/// A note as JSON in canonical form, of this many bytes (at least 50).
pub fn value(bytes: usize) -> String {
    let note = |text: &str| format!(r#"{{"revision":7,"text":"{text}","title":"A note"}}"#);
    let words = "to be or not to be ".chars().cycle();
    note(&words.take(bytes.saturating_sub(note("").len())).collect::<String>())
}

/// Appends the request to put a value at the key with this number.
pub fn put(id: u64, number: u64, value: &str, out: &mut Vec<u8>) {
    put_to(NAMESPACE, id, number, value, out);
}

/// The same for a namespace of another name.
pub fn put_to(namespace: &str, id: u64, number: u64, value: &str, out: &mut Vec<u8>) {
    let key = key(number);
    out.extend_from_slice(br#"{"id":"#);
    push_number(id, out);
    for part in [r#","put":{"ns":""#, namespace, r#"","key":""#, &key, r#"","value":"#, value, "}}"]
    {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the request to get the key with this number.
pub fn get(id: u64, number: u64, out: &mut Vec<u8>) {
    let key = key(number);
    out.extend_from_slice(br#"{"id":"#);
    push_number(id, out);
    for part in [r#","get":{"ns":""#, NAMESPACE, r#"","key":""#, &key, r#""}}"#] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the request to put the keys with these numbers at once.
pub fn batch(id: u64, numbers: Range<u64>, value: &str, out: &mut Vec<u8>) {
    let op = |number| format!(r#"{{"put":{{"key":"{}","value":{value}}}}}"#, key(number));
    let ops: Vec<String> = numbers.map(op).collect();
    let frame =
        format!(r#"{{"id":{id},"batch":{{"ns":"{NAMESPACE}","ops":[{}]}}}}"#, ops.join(","));
    out.extend_from_slice(frame.as_bytes());
}

/// How many values of so many bytes are put at once: as many as a frame takes easily.
pub fn batch_of(bytes: usize) -> u64 {
    (256 * 1024 / bytes as u64).clamp(1, 500)
}

/// Appends the request to watch without the values that are there.
pub fn watch(id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(r#"{{"id":{id},"watch":{{"ns":"{NAMESPACE}"}}}}"#).as_bytes());
}

/// Appends the request for the sides of a key in conflict.
pub fn conflict(id: u64, number: u64, out: &mut Vec<u8>) {
    let key = key(number);
    let frame = format!(r#"{{"id":{id},"conflict":{{"ns":"{NAMESPACE}","key":"{key}"}}}}"#);
    out.extend_from_slice(frame.as_bytes());
}

/// Appends the request that ends a conflict with a value.
pub fn resolve(id: u64, number: u64, value: &str, out: &mut Vec<u8>) {
    let key = key(number);
    let what = format!(r#""resolve":{{"ns":"{NAMESPACE}","key":"{key}","value":{value}}}"#);
    out.extend_from_slice(format!(r#"{{"id":{id},{what}}}"#).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_canonical_form() {
        for (_, bytes) in crate::cli::bench::SIZES {
            let text = value(bytes);
            assert_eq!(text.len(), bytes);
            let tree: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(keepboth_core::value::Value::json(&tree).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn requests_are_json() {
        let requests: [fn(&mut Vec<u8>); 6] = [
            |out| put(1, 2, "3", out),
            |out| get(1, 2, out),
            |out| batch(1, 0..2, "3", out),
            |out| watch(1, out),
            |out| conflict(1, 2, out),
            |out| resolve(1, 2, "3", out),
        ];
        for request in requests {
            let mut text = Vec::new();
            request(&mut text);
            let tree = serde_json::from_slice::<serde_json::Value>(&text);
            assert_eq!(tree.expect("JSON")["id"], 1, "{}", String::from_utf8_lossy(&text));
        }
    }
}
