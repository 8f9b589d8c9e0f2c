//! Frames that are refused: each with its code, the id where it could be read, and the place.

use proptest::prelude::*;

use super::super::{Format, NoRequest, decode_request};
use super::id;

/// The id, the code, and message with hint.
fn refused(format: Format, frame: &[u8]) -> (Option<u64>, &'static str, String) {
    let shown = String::from_utf8_lossy(frame).chars().take(120).collect::<String>();
    let NoRequest { id, refusal, .. } = decode_request(format, frame).expect_err(&shown);
    let hint = refusal.hint.as_deref().unwrap_or_default();
    (id, refusal.code.as_str(), format!("{} | {hint}", refusal.message))
}

fn refused_json(frame: impl AsRef<[u8]>) -> (Option<u64>, &'static str, String) {
    refused(Format::Json, frame.as_ref())
}

#[test]
fn what_is_no_request_is_a_bad_frame() {
    let text: &[(&[u8], Option<u64>, &str)] = &[
        (b"", None, "EOF while parsing a value at line 1 column 0"),
        (b"hello", None, "not JSON: expected value at line 1 column 1"),
        (b"{\"id\":7,\"get\":{\"ns\":\"no", Some(7), "not JSON: EOF while parsing a string"),
        (b"{\"id\":7,\"get\":{}} x", Some(7), "trailing characters at line 1 column 19"),
        (b"{\"id\":7,\"get\":\"\xff\"}", Some(7), "invalid unicode code point at line 1"),
        (b"[1]", None, "the frame is an array, not an object"),
        (b"5", None, "the frame is a number, not an object"),
        (b"{}", None, "the frame has no id"),
        (b"{\"get\":{}}", None, "the frame has no id"),
        (b"{\"id\":1}", Some(1), "the frame has no method"),
        (b"{\"id\":1,\"get\":{},\"put\":{}}", Some(1), "two methods: \"get\" and \"put\""),
        (b"{\"id\":-1,\"get\":{}}", None, "id is the number -1, it should be a whole number"),
        (b"{\"id\":1.5,\"get\":{}}", None, "id is the number 1.5"),
        (b"{\"id\":\"1\",\"get\":{}}", None, "id is the text \"1\""),
        (b"{\"id\":null,\"get\":{}}", None, "id is null"),
        (b"{\"id\":9007199254740992,\"get\":{}}", None, "from 0 to 9007199254740991"),
    ];
    for (frame, id, words) in text {
        let found = refused_json(frame);
        assert_eq!((found.0, found.1), (*id, "bad_frame"), "{}", found.2);
        assert!(found.2.contains(words), "{}", found.2);
        assert!(found.2.contains("a request is {\"id\":1"), "{}", found.2);
    }
}

#[test]
fn what_no_number_or_object_can_hold_is_a_bad_value_with_its_place() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let put = |value: &str| {
        format!("{{\"id\":7,\"put\":{{\"ns\":\"n\",\"key\":\"a\",\"value\":{value}}}}}")
    };
    for (frame, id, words) in [
        (put("{\"a\":1,\"a\":2}"), Some(7), "duplicate key \"a\" at line 1 column 52"),
        (put("9007199254740993"), Some(7), "9007199254740993 would change"),
        (put("1e400"), Some(7), "number out of range at line 1 column"),
        (put(&nested(65)), Some(7), "the value has more than 64 levels of arrays and objects"),
        (put(&nested(90)), Some(7), "levels of arrays and objects at line 1 column"),
        ("{\"id\":1,\"id\":2,\"get\":{}}".into(), None, "duplicate key \"id\" at line 1 column 12"),
        (put("{\"$bytes\":\"!\"}"), Some(7), "not base64"),
        (put("{\"$what\":1}"), Some(7), "\"$what\""),
    ] {
        let found = refused_json(&frame);
        assert_eq!((found.0, found.1), (id, "bad_value"), "{frame}: {}", found.2);
        assert!(found.2.contains(words), "{frame}: {}", found.2);
    }
    assert!(decode_request(Format::Json, put(&nested(64)).as_bytes()).is_ok());
}

#[test]
fn an_unknown_method_is_answered_with_those_there_are() {
    for (name, meant) in
        [("gte", "did you mean \"get\"? "), ("frobnicate", " | the methods are hello, get")]
    {
        let found = refused_json(format!("{{\"id\":1,\"{name}\":{{}}}}"));
        assert_eq!((found.0, found.1), (Some(1), "unknown_method"));
        assert!(found.2.contains(meant), "{}", found.2);
        assert!(found.2.contains("hello, get, put, delete"), "{}", found.2);
    }
}

#[test]
fn wrong_arguments_are_named_with_what_would_be_right() {
    let hex = id(0xaa);
    for (call, words) in [
        (r#""get":5"#.to_owned(), "get is a number, it should be an object | get takes ns, key"),
        (r#""get":{"ns":"n"}"#.into(), "get: key is missing"),
        (r#""get":{"key":"a"}"#.into(), "get: ns is missing"),
        (
            r#""get":{"ns":"n","kye":"a"}"#.into(),
            "no field \"kye\" | did you mean \"key\"? get takes ns, key",
        ),
        (r#""get":{"ns":"n","key":5}"#.into(), "get: key is the number 5, it should be a text"),
        (r#""get":{"ns":"n","key":null}"#.into(), "key is null, it should be a text"),
        (r#""put":{"ns":"n","key":"a"}"#.into(), "put: value is missing"),
        (
            r#""put":{"ns":"n","key":"a","value":1,"if_version":5}"#.into(),
            "if_version is the number 5, it should be 64 lower-case hex characters, or null",
        ),
        (
            r#""put":{"ns":"n","key":"a","value":1,"if_version":"AA"}"#.into(),
            "if_version is the text \"AA\"",
        ),
        (
            r#""delete":{"ns":"n","key":"a","if_version":null}"#.into(),
            "if_version is null, it should be 64 lower-case hex characters",
        ),
        (
            r#""list":{"ns":"n","limit":0}"#.into(),
            "limit is the number 0, it should be a whole number of at least 1",
        ),
        (r#""list":{"ns":"n","limit":1.5}"#.into(), "limit is the number 1.5"),
        (
            r#""list":{"ns":"n","values":"yes"}"#.into(),
            "values is the text \"yes\", it should be true or false",
        ),
        (r#""get_version":{"ns":"n","key":"a"}"#.into(), "get_version: version is missing"),
        (r#""resolve":{"ns":"n","key":"a"}"#.into(), "value and side are both missing"),
        (
            format!(r#""resolve":{{"ns":"n","key":"a","value":1,"side":"{hex}"}}"#),
            "value and side are both there",
        ),
        (r#""unwatch":{}"#.into(), "unwatch: sub is missing"),
        (
            r#""put":{"ns":"n","key":"a","value":1,"wait":0}"#.into(),
            "put: wait is the number 0, it should be \"all\" or a whole number from 1 to 1024",
        ),
        (r#""delete":{"ns":"n","key":"a","wait":"some"}"#.into(), "wait is the text \"some\""),
        (
            r#""put":{"ns":"n","key":"a","value":1,"wait":"all","wait_ms":60001}"#.into(),
            "wait_ms is the number 60001, it should be a whole number of milliseconds from 1 to 60000",
        ),
        (
            r#""restore":{"ns":"n","key":"a","wait_ms":5}"#.into(),
            "restore: wait_ms is there without wait",
        ),
        (
            r#""batch":{"ns":"n","ops":[{"put":{"key":"a","value":1,"wait":1}}]}"#.into(),
            "operation 0: put has no field \"wait\"",
        ),
        (r#""peer_add":{"node":"xyz"}"#.into(), "node is the text \"xyz\", it should be 64"),
        (r#""peer_rm":{}"#.into(), "peer_rm: node is missing"),
        (r#""peer_invite":{"namespaces":[]}"#.into(), "namespaces is empty; leave it out for all"),
        (r#""peer_invite":{"namespaces":[5]}"#.into(), "namespaces is the number 5"),
        (
            r#""peer_invite":{"expires_ms":59999}"#.into(),
            "it should be a whole number of milliseconds from 60000 to 2592000000",
        ),
        (
            format!(r#""judge":{{"ns":"n","key":"a","version":"{hex}","verdict":"maybe"}}"#),
            "verdict is the text \"maybe\", it should be \"admit\" or \"discard\"",
        ),
        (
            r#""quarantine":{"ns":"n","after":"a"}"#.into(),
            "after is the text \"a\", it should be the `next` of the page before",
        ),
        (r#""query":{"ns":"n"}"#.into(), "query: index is missing"),
        (
            r#""query":{"ns":"n","index":"i","eq":1,"from":2}"#.into(),
            "eq stands alone: without prefix, from and to",
        ),
        (
            r#""query":{"ns":"n","index":"i","prefix":"a","to":2}"#.into(),
            "prefix stands alone: without eq, from and to",
        ),
        (
            r#""query":{"ns":"n","index":"i","eq":[1]}"#.into(),
            "eq is an array, it should be null, true, false, a finite number or a text",
        ),
        (
            r#""query":{"ns":"n","index":"i","prefix":5}"#.into(),
            "prefix is the number 5, it should be a text",
        ),
        (
            r#""query":{"ns":"n","index":"i","wait_ms":60001}"#.into(),
            "wait_ms is the number 60001, it should be a whole number of milliseconds from 0 to 60000",
        ),
        (r#""plugin":{"ns":"n","plugin":"p"}"#.into(), "plugin: op is missing"),
        (
            r#""plugin":{"ns":"n","plugin":"p","op":"o","arguments":[]}"#.into(),
            "arguments is an array, it should be an object",
        ),
        (r#""batch":{"ns":"n","ops":[]}"#.into(), "ops is empty"),
        (r#""batch":{"ns":"n","ops":{}}"#.into(), "ops is an object, it should be an array"),
        (
            r#""batch":{"ns":"n","ops":[{"delete":{"key":"a"}},{"put":{"key":"a"}}]}"#.into(),
            "operation 1: put: value is missing | put takes key, value",
        ),
        (
            r#""batch":{"ns":"n","ops":[{}]}"#.into(),
            "operation 0: it has 0 members, it should have one",
        ),
        (
            r#""batch":{"ns":"n","ops":[{"get":{}}]}"#.into(),
            "operation 0: there is no operation \"get\"",
        ),
    ] {
        let found = refused_json(format!("{{\"id\":9,{call}}}"));
        assert_eq!((found.0, found.1), (Some(9), "bad_request"), "{call}: {}", found.2);
        assert!(found.2.contains(words), "{call}: {}", found.2);
    }
}

#[test]
fn names_are_checked_at_the_door() {
    let get = |key: &str| format!("{{\"id\":1,\"get\":{{\"ns\":\"n\",\"key\":\"{key}\"}}}}");
    let hex = id(0xaa);
    for (frame, code, words) in [
        (get(""), "bad_key", "the key is empty"),
        (get("a\\u0000b"), "bad_key", "a NUL at byte 1"),
        (get(&"k".repeat(1_025)), "bad_key", "the key is 1,025 bytes, the limit is 1,024 bytes"),
        (
            format!("{{\"id\":1,\"conflict\":{{\"ns\":\"n\",\"key\":\"{hex}\"}}}}"),
            "reserved_key",
            "64 hex",
        ),
        (
            "{\"id\":1,\"get\":{\"ns\":\"No\",\"key\":\"a\"}}".into(),
            "unknown_namespace",
            "\"No\" is not",
        ),
        (
            "{\"id\":1,\"watch\":{\"ns\":\"n\",\"cursor\":\"x\"}}".into(),
            "bad_cursor",
            "\"x\" is not a cursor",
        ),
    ] {
        let found = refused_json(&frame);
        assert_eq!((found.0, found.1), (Some(1), code), "{frame}: {}", found.2);
        assert!(found.2.contains(words), "{}", found.2);
    }
}

#[test]
fn a_batch_has_a_bound() {
    let ops = vec!["{\"delete\":{\"key\":\"a\"}}"; 1_001].join(",");
    let found = refused_json(format!("{{\"id\":1,\"batch\":{{\"ns\":\"n\",\"ops\":[{ops}]}}}}"));
    assert_eq!(found.1, "batch_too_large");
    assert!(found.2.contains("the batch has 1,001 operations, the limit is 1,000"), "{}", found.2);
}

#[test]
fn message_pack_is_held_to_the_same_rules() {
    let nested = [&b"\x82\xa2id\x07\xa3put"[..], &[0x91; 100]].concat();
    let cases: &[(&[u8], Option<u64>, &str, &str)] = &[
        (b"", None, "bad_frame", "at byte 0: the frame ends too early"),
        (b"\x82\xa2id\x07\xa3get\x82\xa2ns\xa5no", Some(7), "bad_frame", "ends too early"),
        (b"\x81\xa2id\x07\x00", Some(7), "bad_frame", "at byte 5: more follows"),
        (
            b"\x82\xa2id\x07\xa3get\xa1\xff",
            Some(7),
            "bad_frame",
            "at byte 10: the text is not UTF-8",
        ),
        (b"\x82\xa2id\x07\xa3get\xc1", Some(7), "bad_frame", "marker c1"),
        (b"\x82\xa2id\x07\xa3get\xd4\x00\x00", Some(7), "bad_frame", "extension types"),
        (b"\x82\xa2id\x07\xa2id\x08", Some(7), "bad_value", "duplicate key \"id\""),
        (b"\x82\xa2id\x07\x01\x02", Some(7), "bad_value", "the key of an object is a text"),
        (
            b"\x82\xa2id\x07\xa3put\xcf\x00\x20\x00\x00\x00\x00\x00\x01",
            Some(7),
            "bad_value",
            "9007199254740993 would change",
        ),
        (&nested, Some(7), "bad_value", "levels of arrays and objects"),
        (b"\xdd\xff\xff\xff\xff", None, "bad_frame", "ends too early"),
        (b"\xc6\xff\xff\xff\xff", None, "bad_frame", "ends too early"),
        (
            b"\x82\xa2id\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa3get\x80",
            None,
            "bad_frame",
            "id is the number NaN",
        ),
        (
            b"\x82\xa2id\x01\xa3get\x81\xa2ns\xc4\x01n",
            Some(1),
            "bad_request",
            "ns is 1 bytes, it should be a text",
        ),
    ];
    for (frame, id, code, words) in cases {
        let found = refused(Format::MessagePack, frame);
        assert_eq!((found.0, found.1), (*id, *code), "{}", found.2);
        assert!(found.2.contains(words), "{}", found.2);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            let _ = decode_request(format, &bytes);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in r#"[{}\[\]",:0-9a-z$\\ -]{0,60}"#, method in "put|batch|resolve|watch", tail in ".{0,20}"
    ) {
        for frame in [text.clone(), format!("{{\"id\":1,\"{method}\":{text}{tail}}}")] {
            let _ = decode_request(Format::Json, frame.as_bytes());
        }
    }

    #[test]
    fn no_damage_makes_the_message_pack_reader_panic(at in 0usize..60, byte in any::<u8>()) {
        let tree = serde_json::json!({"id": 1, "put": {"ns": "n", "key": "a", "value": [1, {"x": 2.5}]}});
        let mut frame = rmp_serde::to_vec(&tree).expect("msgpack");
        let at = at % frame.len();
        frame[at] = byte;
        let _ = decode_request(Format::MessagePack, &frame);
        let _ = decode_request(Format::MessagePack, &frame[..at]);
    }
}

#[test]
fn a_client_has_a_name_of_at_most_256_bytes() {
    let hello = |name: String| format!("{{\"id\":7,\"hello\":{{\"client\":\"{name}\"}}}}");
    // Two bytes each.
    assert!(decode_request(Format::Json, hello("ä".repeat(128)).as_bytes()).is_ok());
    let (id, code, words) = refused_json(hello("x".repeat(70_000)));
    assert_eq!((id, code), (Some(7), "bad_request"));
    assert!(
        words.starts_with("hello: client is 70,000 bytes, the limit is 256 bytes | "),
        "{words}"
    );
}
