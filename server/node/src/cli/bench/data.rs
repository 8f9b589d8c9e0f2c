//! Keys, values and frames that the benchmark sends.

use keepboth_core::name::Key;
use keepboth_core::refusal::Refusal;

/// The schema that values obey.
pub const SCHEMA: &str = include_str!("../../../../../schemas/note.schema.json");
/// The hook that values pass.
pub const HOOK: &str = include_str!("hook.luau");
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

/// The request to put a value at the key with this number.
pub fn put(id: u64, number: u64, value: &str) -> String {
    put_to(NAMESPACE, id, number, value)
}

/// The same for a namespace of another name.
pub fn put_to(namespace: &str, id: u64, number: u64, value: &str) -> String {
    let mut frame = String::with_capacity(value.len() + 100);
    let key = key(number);
    let parts = [
        r#"{"id":"#,
        &id.to_string(),
        r#","put":{"ns":""#,
        namespace,
        r#"","key":""#,
        &key,
        r#"","value":"#,
        value,
        "}}",
    ];
    parts.into_iter().for_each(|part| frame.push_str(part));
    frame
}

/// The request to get the key with this number.
pub fn get(id: u64, number: u64) -> String {
    format!(r#"{{"id":{id},"get":{{"ns":"{NAMESPACE}","key":"{}"}}}}"#, key(number))
}

/// The request to put the keys with these numbers at once.
pub fn batch(id: u64, numbers: std::ops::Range<u64>, value: &str) -> String {
    let op = |number| format!(r#"{{"put":{{"key":"{}","value":{value}}}}}"#, key(number));
    let ops: Vec<String> = numbers.map(op).collect();
    format!(r#"{{"id":{id},"batch":{{"ns":"{NAMESPACE}","ops":[{}]}}}}"#, ops.join(","))
}

/// The request to watch without the values that are there.
pub fn watch(id: u64) -> String {
    format!(r#"{{"id":{id},"watch":{{"ns":"{NAMESPACE}"}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_canonical_form() {
        for bytes in [100, 1_024] {
            let text = value(bytes);
            assert_eq!(text.len(), bytes);
            let tree: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(keepboth_core::value::Value::json(&tree).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn requests_are_json() {
        for text in [put(1, 2, "3"), get(1, 2), batch(1, 0..2, "3"), watch(1)] {
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
}
