//! Every method, from its frame to its call.

use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use serde_json::{Value as Json, json};

use super::super::{
    BatchOp, Call, Cursor, Format, HeldAt, METHODS, NoRequest, PutValue, Request, Resolution, Wait,
    Waiting, decode_request,
};
use super::{address, conflict, id, key, name, node, ns, store, version};

fn plain(tree: Json) -> PutValue {
    PutValue { value: Value::json(&tree), tree: Some(tree) }
}

/// The frames and what they mean.
fn golden() -> Vec<(Json, Call)> {
    let (v, none) = (id(0xaa), Condition::None);
    vec![
        (json!({"hello": {}}), Call::Hello { client: None, version: None, token: None }),
        (
            json!({"hello": {"client": "ana", "version": 1, "token": "t"}}),
            Call::Hello { client: Some("ana".into()), version: Some(1), token: Some("t".into()) },
        ),
        (json!({"get": {"ns": "notes", "key": "a"}}), Call::Get { ns: ns(), key: name("a") }),
        (json!({"get": {"ns": "notes", "key": v}}), Call::Get { ns: ns(), key: name(&id(0xaa)) }),
        (
            json!({"put": {"ns": "notes", "key": "a", "value": {"t": [1, -2.5, null]}}}),
            Call::Put {
                ns: ns(),
                key: name("a"),
                value: plain(json!({"t": [1, -2.5, null]})),
                condition: none,
                wait: None,
            },
        ),
        (
            json!({"put": {"ns": "notes", "key": "a", "value": "x", "if_version": null}}),
            Call::Put {
                ns: ns(),
                key: name("a"),
                value: plain(json!("x")),
                condition: Condition::Absent,
                wait: None,
            },
        ),
        (
            json!({"put": {"ns": "notes", "key": "a", "value": 5, "if_version": v}}),
            Call::Put {
                ns: ns(),
                key: name("a"),
                value: plain(json!(5)),
                condition: Condition::Is(version(0xaa)),
                wait: None,
            },
        ),
        (
            json!({"put": {"ns": "notes", "key": "a", "value": {"$bytes": "AAE="}}}),
            Call::Put {
                ns: ns(),
                key: name("a"),
                value: PutValue { value: Value::bytes(vec![0, 1]), tree: None },
                condition: none,
                wait: None,
            },
        ),
        (
            json!({"put": {"ns": "notes", "key": "a", "value": {"$json": {"$x": 1}}}}),
            Call::Put {
                ns: ns(),
                key: name("a"),
                value: plain(json!({"$x": 1})),
                condition: none,
                wait: None,
            },
        ),
        (
            json!({"delete": {"ns": "notes", "key": "a", "if_version": v}}),
            Call::Delete {
                ns: ns(),
                key: name("a"),
                condition: Condition::Is(version(0xaa)),
                wait: None,
            },
        ),
        (
            json!({"batch": {"ns": "notes", "ops": [
                {"put": {"key": "a", "value": true}},
                {"delete": {"key": "b"}},
                {"revert": {"key": "c", "version": v, "if_version": null}},
                {"resolve": {"key": "d", "side": v}},
            ]}}),
            Call::Batch {
                ns: ns(),
                ops: vec![
                    BatchOp::Put { key: name("a"), value: plain(json!(true)), condition: none },
                    BatchOp::Delete { key: name("b"), condition: none },
                    BatchOp::Revert {
                        key: name("c"),
                        version: version(0xaa),
                        condition: Condition::Absent,
                    },
                    BatchOp::Resolve {
                        key: key("d"),
                        with: Resolution::Side(address(0xaa)),
                        if_conflict: None,
                    },
                ],
                wait: None,
            },
        ),
        (
            json!({"list": {"ns": "notes"}}),
            Call::List { ns: ns(), prefix: None, after: None, limit: None, values: false },
        ),
        (
            json!({"list": {"ns": "notes", "prefix": "p/", "after": "p/a", "limit": 10, "values": true}}),
            Call::List {
                ns: ns(),
                prefix: Some("p/".into()),
                after: Some(key("p/a")),
                limit: Some(10),
                values: true,
            },
        ),
        (
            json!({"history": {"ns": "notes", "key": "a", "after": v, "limit": 1}}),
            Call::History { ns: ns(), key: name("a"), after: Some(version(0xaa)), limit: Some(1) },
        ),
        (
            json!({"get_version": {"ns": "notes", "key": "a", "version": v}}),
            Call::GetVersion { ns: ns(), key: name("a"), version: version(0xaa) },
        ),
        (
            json!({"revert": {"ns": "notes", "key": "a", "version": v}}),
            Call::Revert {
                ns: ns(),
                key: name("a"),
                version: version(0xaa),
                condition: none,
                wait: None,
            },
        ),
        (
            json!({"conflicts": {"ns": "notes"}}),
            Call::Conflicts { ns: ns(), after: None, limit: None },
        ),
        (
            json!({"conflict": {"ns": "notes", "key": "a"}}),
            Call::Conflict { ns: ns(), key: key("a") },
        ),
        (
            json!({"resolve": {"ns": "notes", "key": "a", "value": null, "if_conflict": v}}),
            Call::Resolve {
                ns: ns(),
                key: key("a"),
                with: Resolution::Value(plain(json!(null))),
                if_conflict: Some(conflict(0xaa)),
                wait: None,
            },
        ),
        (
            json!({"trash": {"ns": "notes", "after": "a"}}),
            Call::Trash { ns: ns(), after: Some(key("a")), limit: None },
        ),
        (
            json!({"restore": {"ns": "notes", "key": "a", "version": v}}),
            Call::Restore { ns: ns(), key: key("a"), version: Some(version(0xaa)), wait: None },
        ),
        (
            json!({"watch": {"ns": "notes"}}),
            Call::Watch { ns: ns(), prefix: None, initial: false, cursor: None, values: true },
        ),
        (
            json!({"watch": {"ns": "notes", "initial": true, "values": false, "prefix": "",
                "cursor": format!("{}.1.7", store())}}),
            Call::Watch {
                ns: ns(),
                prefix: Some(String::new()),
                initial: true,
                cursor: Some(Cursor { store: store(), epoch: 1, sequence: 7 }),
                values: false,
            },
        ),
        (json!({"unwatch": {"sub": 3}}), Call::Unwatch { sub: 3 }),
        (json!({"status": {}}), Call::Status { ns: None }),
        (json!({"status": {"ns": "notes"}}), Call::Status { ns: Some(ns()) }),
        (json!({"ns_info": {"ns": "notes"}}), Call::NsInfo { ns: ns() }),
        (json!({"ns_add": {"ns": "notes"}}), Call::NsAdd { ns: ns() }),
        (json!({"ns_rm": {"ns": "notes"}}), Call::NsRm { ns: ns() }),
        (json!({"reload": {}}), Call::Reload),
        (json!({"purge": {"ns": "notes", "key": "a"}}), Call::Purge { ns: ns(), key: key("a") }),
        (
            json!({"quarantine": {"ns": "notes", "after": format!("{v}.a.b"), "limit": 5}}),
            Call::Quarantine {
                ns: ns(),
                after: Some(HeldAt { key: key("a.b"), version: version(0xaa) }),
                limit: Some(5),
            },
        ),
        (
            json!({"judge": {"ns": "notes", "key": "a", "version": v, "verdict": "admit"}}),
            Call::Judge { ns: ns(), key: key("a"), version: version(0xaa), admit: true },
        ),
        (
            json!({"judge": {"ns": "notes", "key": "a", "version": v, "verdict": "discard"}}),
            Call::Judge { ns: ns(), key: key("a"), version: version(0xaa), admit: false },
        ),
        (json!({"quarantine_retry": {"ns": "notes"}}), Call::QuarantineRetry { ns: ns() }),
        (
            json!({"schema_report": {"ns": "notes", "after": "k", "limit": 2}}),
            Call::SchemaReport { ns: ns(), after: Some(key("k")), limit: Some(2) },
        ),
        (
            json!({"hook_log": {"ns": "notes"}}),
            Call::HookLog { ns: ns(), after: None, limit: None, wait_ms: 0 },
        ),
        (
            json!({"hook_log": {"ns": "notes", "after": 7, "limit": 2, "wait_ms": 60_000}}),
            Call::HookLog { ns: ns(), after: Some(7), limit: Some(2), wait_ms: 60_000 },
        ),
        (
            json!({"acks": {"ns": "notes", "key": "a"}}),
            Call::Acks { ns: ns(), key: name("a"), version: None, within_ms: 5_000 },
        ),
        (
            json!({"acks": {"ns": "notes", "key": v, "version": v, "within_ms": 60_000}}),
            Call::Acks {
                ns: ns(),
                key: name(&id(0xaa)),
                version: Some(version(0xaa)),
                within_ms: 60_000,
            },
        ),
        (
            json!({"query": {"ns": "notes", "index": "by", "eq": null}}),
            Call::Query {
                ns: ns(),
                query: json!({"index": "by", "eq": null, "values": false, "wait_ms": 5_000}),
            },
        ),
        (
            json!({"query": {"ns": "notes", "index": "by", "from": 1.5, "to": "x", "values": true,
                "after": "c", "limit": 7, "wait_ms": 0}}),
            Call::Query {
                ns: ns(),
                query: json!({"index": "by", "from": 1.5, "to": "x", "values": true, "after": "c",
                    "limit": 7, "wait_ms": 0}),
            },
        ),
        (
            json!({"query": {"ns": "notes", "index": "by", "prefix": "a"}}),
            Call::Query {
                ns: ns(),
                query: json!({"index": "by", "prefix": "a", "values": false, "wait_ms": 5_000}),
            },
        ),
        (
            json!({"plugin": {"ns": "notes", "plugin": "p", "op": "o"}}),
            Call::Plugin { ns: ns(), plugin: "p".into(), op: "o".into(), arguments: json!({}) },
        ),
        (
            json!({"plugin": {"ns": "notes", "plugin": "p", "op": "o", "arguments": {"a": [1]}}}),
            Call::Plugin {
                ns: ns(),
                plugin: "p".into(),
                op: "o".into(),
                arguments: json!({"a": [1]}),
            },
        ),
        (json!({"peers": {}}), Call::Peers { after: None, limit: None }),
        (
            json!({"peers": {"after": "ws://a", "limit": 1}}),
            Call::Peers { after: Some("ws://a".into()), limit: Some(1) },
        ),
        (json!({"peer_invite": {}}), Call::PeerInvite { namespaces: None, expires_ms: 86_400_000 }),
        (
            json!({"peer_invite": {"namespaces": ["notes", "notes"], "expires_ms": 60_000}}),
            Call::PeerInvite { namespaces: Some(vec![ns()]), expires_ms: 60_000 },
        ),
        (json!({"peer_add": {"node": v}}), Call::PeerAdd { node: node(0xaa), namespaces: None }),
        (
            json!({"peer_add": {"node": v, "namespaces": ["notes"]}}),
            Call::PeerAdd { node: node(0xaa), namespaces: Some(vec![ns()]) },
        ),
        (json!({"peer_rm": {"node": v}}), Call::PeerRm { node: node(0xaa) }),
    ]
}

#[test]
fn every_method_is_read_alike_from_both_formats() {
    let mut methods = Vec::new();
    for (number, (mut frame, call)) in golden().into_iter().enumerate() {
        let id = number as u64;
        frame["id"] = json!(id);
        methods.push(call.method());
        let expected = Ok(Request { id, call });
        let text = frame.to_string();
        assert_eq!(decode_request(Format::Json, text.as_bytes()), expected, "{text}");
        let pack = rmp_serde::to_vec(&frame).expect("msgpack");
        assert_eq!(decode_request(Format::MessagePack, &pack), expected, "{text}");
    }
    methods.dedup();
    assert_eq!(methods, METHODS);
}

#[test]
fn every_write_can_wait_for_other_nodes() {
    let v = id(0xaa);
    for (mut frame, words) in [
        (json!({"put": {"ns": "n", "key": "a", "value": 1}}), "put"),
        (json!({"delete": {"ns": "n", "key": "a"}}), "delete"),
        (json!({"batch": {"ns": "n", "ops": [{"delete": {"key": "a"}}]}}), "batch"),
        (json!({"revert": {"ns": "n", "key": "a", "version": v}}), "revert"),
        (json!({"resolve": {"ns": "n", "key": "a", "side": v}}), "resolve"),
        (json!({"restore": {"ns": "n", "key": "a"}}), "restore"),
    ] {
        frame["id"] = json!(1);
        for (wait, ms, expected) in [
            (json!("all"), None, Waiting { wait: Wait::All, ms: 5_000 }),
            (json!(2), Some(60_000), Waiting { wait: Wait::Count(2), ms: 60_000 }),
        ] {
            frame[words]["wait"] = wait;
            if let Some(ms) = ms {
                frame[words]["wait_ms"] = json!(ms);
            }
            let request = decode_request(Format::Json, frame.to_string().as_bytes());
            let found = match request.expect(words).call {
                Call::Put { wait, .. }
                | Call::Delete { wait, .. }
                | Call::Batch { wait, .. }
                | Call::Revert { wait, .. }
                | Call::Resolve { wait, .. }
                | Call::Restore { wait, .. } => wait,
                call => panic!("{call:?}"),
            };
            assert_eq!(found, Some(expected), "{words}");
        }
    }
}

/// A put frame in MessagePack whose value is these bytes.
fn packed_put(value: &[u8]) -> Vec<u8> {
    let mut frame = b"\x82\xa2id\x01\xa3put\x83\xa2ns\xa5notes\xa3key\xa1a\xa5value".to_vec();
    frame.extend_from_slice(value);
    frame
}

#[test]
fn message_pack_carries_what_json_cannot() {
    let nan = [&[0xcb][..], &f64::NAN.to_be_bytes()].concat();
    let infinity = [&[0xca][..], &f32::INFINITY.to_be_bytes()].concat();
    let bigint = [0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let cbor = [&b"\x81\xa5$cbor\xc4\x0b"[..], &bigint].concat();
    for (bytes, value) in [
        (&b"\xc4\x03\x00\xff\x07"[..], Value::bytes(vec![0, 255, 7])),
        (&nan, Value::number(f64::NAN)),
        (&infinity, Value::number(f64::INFINITY)),
        (&[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], Value::number(-0.0)),
        (&cbor, Value::cbor(&bigint).expect("cbor")),
    ] {
        let request = decode_request(Format::MessagePack, &packed_put(bytes)).expect("request");
        let Call::Put { value: found, .. } = request.call else { panic!("{request:?}") };
        assert_eq!(found.value, value);
    }
}

#[test]
fn bytes_inside_an_array_or_object_are_refused() {
    for bytes in
        [&b"\x91\xc4\x01\x00"[..], b"\x81\xa1x\xc4\x01\x00", b"\x82\xa5$cbor\xc4\x01\x00\xa1x\xc0"]
    {
        let NoRequest { id, method, refusal } =
            decode_request(Format::MessagePack, &packed_put(bytes)).expect_err("refused");
        let found = (id, method, refusal.code.as_str());
        assert_eq!(found, (Some(1), Some("put"), "bad_value"), "{refusal}");
    }
}
