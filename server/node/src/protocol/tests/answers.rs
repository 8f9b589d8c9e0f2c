//! Every answer, error and pushed frame, in both formats.

use std::time::Duration;

use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::{Kind, Value};
use keepboth_core::version::Change;
use keepboth_schema::events::form::Event;
use serde_json::{Value as Json, json};
use smallvec::smallvec;

use super::super::msgpack;
use super::super::tree::Tree;
use super::super::{
    Ack, Acks, Answer, Base, Conflict, Cursor, Estimate, Format, Held, HeldAt, Hello, HookFigures,
    HookLog, LimitsInfo, Listed, Logged, Member, Members, NamespaceInfo, NamespaceLimits,
    NamespaceStatus, Notice, Object, Page, PeerStatus, PluginsTold, Reached, Recorded, Reloaded,
    Shared, Side, Stalled, State, Status, TWIN_WARNING, Told, Trashed, Unfit, Written,
    encode_answer, encode_end, encode_event, encode_live,
};
use super::{address, conflict, id, key, name, node, ns, store, version};

const AT: u64 = 1_700_000_000_000;

fn cursor() -> Cursor {
    Cursor { store: store(), epoch: 1, sequence: 42 }
}

fn written() -> Written {
    Written { name: name("a"), key: key("a"), version: version(1), sequence: 9 }
}

fn side(byte: u8, value: Option<Value>) -> Side {
    Side { address: address(byte), version: version(byte), value, timestamp: AT, origin: store() }
}

fn listed() -> Listed {
    Listed {
        name: name(&id(2)),
        key: key("a"),
        version: version(2),
        kind: Some(Kind::Number),
        value: Some(Value::number(1.5)),
        conflict: true,
        detached: false,
        timestamp: AT,
        origin: store(),
    }
}

fn clash() -> Conflict {
    Conflict {
        key: key("a"),
        id: conflict(7),
        base: Some(Base { version: version(1), value: Some(Value::json(&json!({"n": 0}))) }),
        sides: vec![side(2, Some(Value::string("x"))), side(3, None)],
    }
}

fn stalled() -> Stalled {
    Stalled { since: AT, blocked_on: "an acknowledgement".into(), behind: 412 }
}

fn stalled_json() -> Json {
    json!({"since": AT, "blocked_on": "an acknowledgement", "behind": 412})
}

fn peer() -> PeerStatus {
    PeerStatus {
        node: Some(node(5)),
        url: Some("ws://10.0.0.2:7400".into()),
        connected: false,
        agrees: false,
        behind: 3,
        stalled: Some(stalled()),
        error: Some("connection refused".into()),
        last_exchange: None,
    }
}

fn peer_json() -> Json {
    json!({"node": id(5), "url": "ws://10.0.0.2:7400", "connected": false, "agrees": false,
        "behind": 3, "stalled": stalled_json(), "error": "connection refused"})
}

fn origin() -> Json {
    json!(store().to_string())
}

fn reads() -> Vec<(Answer, Json)> {
    let object = Object {
        key: key("a"),
        name: name("a"),
        version: version(1),
        value: Value::json(&json!({"b": 1, "a": [true, null]})),
        timestamp: AT,
        origin: store(),
    };
    let recorded = Recorded {
        version: version(2),
        change: Change::Put,
        parents: smallvec![version(1)],
        timestamp: AT,
        origin: store(),
        head: true,
        kind: Some(Kind::Json),
        bytes: Some(12),
    };
    let trashed = Trashed { key: key("a"), version: version(2), timestamp: AT, origin: store() };
    vec![
        (
            Answer::Object(object),
            json!({"key": "a", "name": "a", "version": id(1), "kind": "json",
                "value": {"a": [true, null], "b": 1}, "timestamp": AT, "origin": origin()}),
        ),
        (
            Answer::List(Page { items: vec![listed()], next: Some(key("a")) }),
            json!({"items": [{"name": id(2), "key": "a", "version": id(2), "kind": "number",
                "value": 1.5, "conflict": true, "timestamp": AT, "origin": origin()}], "next": "a"}),
        ),
        (
            Answer::History(Page { items: vec![recorded], next: None }),
            json!({"versions": [{"version": id(2), "change": "put", "parents": [id(1)],
                "timestamp": AT, "origin": origin(), "head": true, "kind": "json", "bytes": 12}]}),
        ),
        (
            Answer::Conflict(clash()),
            json!({"key": "a", "id": id(7), "base": {"version": id(1), "value": {"n": 0}},
                "sides": [
                    {"address": id(2), "version": id(2), "kind": "string", "value": "x",
                        "timestamp": AT, "origin": origin()},
                    {"address": id(3), "version": id(3), "timestamp": AT, "origin": origin()}]}),
        ),
        (Answer::Conflicts(Page { items: vec![], next: None }), json!({"items": []})),
        (
            Answer::Trash(Page { items: vec![trashed], next: None }),
            json!({"items": [{"key": "a", "version": id(2), "timestamp": AT, "origin": origin()}]}),
        ),
    ]
}

/// What a plugin of this name says.
fn told(plugin: &str) -> PluginsTold {
    let hook = HookFigures {
        plugin: plugin.into(),
        script: Some("scripts/a.luau".into()),
        hook: "on_put",
        calls: 3,
        errors: 1,
        p50: Duration::from_nanos(2_500),
        p99: Duration::from_micros(60),
    };
    let point = HookFigures { script: None, hook: "answer", ..hook.clone() };
    PluginsTold { warnings: vec![format!("{plugin}: it is off")], hooks: vec![hook, point] }
}

fn told_json(plugin: &str) -> Json {
    json!([
        {"plugin": plugin, "script": "scripts/a.luau", "hook": "on_put", "calls": 3, "errors": 1, "p50_ns": 2_500, "p99_ns": 60_000},
        {"plugin": plugin, "hook": "answer", "calls": 3, "errors": 1, "p50_ns": 2_500, "p99_ns": 60_000},
    ])
}

fn others() -> Vec<(Answer, Json)> {
    let hello = Hello {
        version: "0.1.0".into(),
        node: node(5),
        twin: false,
        namespaces: vec![ns()],
        limits: LimitsInfo {
            value_bytes_max: 65_536,
            key_bytes_max: 1_024,
            frame_bytes_max: 1_048_576,
            batch_ops_max: 1_000,
            page_items_max: 1_000,
            watches_max: 64,
            in_flight_max: 1_024,
        },
    };
    let namespace = NamespaceStatus {
        name: ns(),
        state: State::NotSynced,
        reason: "no peer is connected".into(),
        keys: 2,
        objects: 3,
        conflicts: 1,
        trash: 0,
        quarantined: 6,
        unfit: 7,
        plugins: told("lua"),
        sequence: 42,
        store: store(),
        peers: vec![peer()],
    };
    let namespace_json = json!({"name": "notes", "state": "not_synced",
        "reason": "no peer is connected", "keys": 2, "objects": 3, "conflicts": 1, "trash": 0,
        "quarantined": 6, "unfit": 7, "warnings": ["lua: it is off"],
        "hooks": told_json("lua"), "sequence": 42, "store": origin(), "peers": [peer_json()]});
    let info = NamespaceInfo {
        status: namespace.clone(),
        epoch: 1,
        made_by: "config",
        replicate: true,
        file_bytes: 4_096,
        limits: NamespaceLimits {
            value_bytes_max: 65_536,
            objects_max: Some(9),
            bytes_max: None,
            writes_per_second: None,
            history_values: 10,
            history_records: 1_000,
            trash_keep_ms: 5,
            trash_forget_ms: 6,
        },
        plugins: vec!["lua".into(), "schema".into()],
    };
    let reloaded = Reloaded {
        namespaces_added: vec!["a".into(), "b".into()],
        restart_needed: vec!["server.listen".into()],
        ..Reloaded::default()
    };
    let status = Status {
        node: node(5),
        version: "0.1.0".into(),
        twin: true,
        uptime_s: 7,
        namespaces: vec![namespace],
        connections: 1,
        plugins: told("auth"),
    };
    let done = json!({"name": "a", "key": "a", "version": id(1), "sequence": 9});
    vec![
        (
            Answer::Hello(hello),
            json!({"server": "keepboth", "version": "0.1.0", "protocol": 1, "node": id(5),
                "namespaces": ["notes"], "limits": {"value_bytes_max": 65_536,
                "key_bytes_max": 1_024, "frame_bytes_max": 1_048_576, "batch_ops_max": 1_000,
                "page_items_max": 1_000, "watches_max": 64, "in_flight_max": 1_024}}),
        ),
        (Answer::Written(written(), None), done.clone()),
        (Answer::Batch(vec![written(), written()], None), json!({"results": [done.clone(), done]})),
        (Answer::Watch { sub: 3 }, json!({"sub": 3})),
        (Answer::Unwatch, json!({})),
        (
            Answer::Status(status),
            json!({"node": id(5), "twin": true, "warning": TWIN_WARNING, "version": "0.1.0", "uptime_s": 7, "connections": 1,
                "warnings": ["auth: it is off"], "hooks": told_json("auth"),
                "namespaces": [namespace_json.clone()]}),
        ),
        (
            Answer::NsInfo(info.into()),
            json!({"status": namespace_json, "epoch": 1, "made_by": "config", "replicate": true,
                "file_bytes": 4_096, "limits": {"value_bytes_max": 65_536, "objects_max": 9,
                "history_values": 10, "history_records": 1_000, "trash_keep_ms": 5,
                "trash_forget_ms": 6}, "plugins": ["lua", "schema"]}),
        ),
        (
            Answer::NsAdded { ns: ns(), store: store(), added: true },
            json!({"ns": "notes", "store": origin(), "added": true}),
        ),
        (
            Answer::NsRemoved { ns: ns(), file: "data/removed/notes-x.redb".into() },
            json!({"ns": "notes", "file": "data/removed/notes-x.redb"}),
        ),
        (
            Answer::Reloaded(Box::new(reloaded)),
            json!({"namespaces_added": ["a", "b"], "namespaces_removed": [],
                "namespaces_changed": [], "plugins_changed": [], "peers_added": [], "peers_removed": [],
                "restart_needed": ["server.listen"]}),
        ),
    ]
}

/// What operators are told of other nodes.
fn operating() -> Vec<(Answer, Json)> {
    let reached = Reached { nodes: vec![node(5)], missing: vec![node(6)], enough: false };
    let reached_json = json!({"nodes": [id(5)], "missing": [id(6)], "enough": false});
    let done = json!({"name": "a", "key": "a", "version": id(1), "sequence": 9});
    let mut waited = done.clone();
    waited["reached"] = reached_json.clone();
    let shared = Shared {
        ns: ns(),
        agrees: false,
        behind: 412,
        agreed: Some(7),
        seen: Some(AT),
        expired: true,
        policy_differs: vec!["schema", "limits"],
    };
    let member = Member {
        node: Some(node(5)),
        urls: vec!["ws://b:7400".into()],
        agent: Some("keepboth/0.1.0".into()),
        admitted: true,
        granted: Some(vec![ns()]),
        connected_since: Some(AT),
        round_trip_us: Some(1_260),
        stalled: Some(stalled()),
        error: Some("it ended".into()),
        error_at: Some(AT),
        namespaces: vec![shared],
    };
    let shared_json = json!({"ns": "notes", "agrees": false, "behind": 412, "agreed": 7,
        "seen": AT, "expired": true, "policy_differs": ["schema", "limits"]});
    let member_json = json!({"node": id(5), "urls": ["ws://b:7400"], "agent": "keepboth/0.1.0",
        "admitted": true, "granted": ["notes"], "connected": true, "connected_since": AT,
        "round_trip_us": 1_260, "stalled": stalled_json(), "error": "it ended", "error_at": AT,
        "namespaces": [shared_json]});
    let unknown = Member { urls: vec!["ws://c".into()], ..Member::default() };
    let unknown_json =
        json!({"urls": ["ws://c"], "admitted": false, "connected": false, "namespaces": []});
    let page = Page { items: vec![member, unknown], next: Some("ws://c".into()) };
    let held = Held {
        key: key("a"),
        version: version(2),
        change: Change::Put,
        value: Some((Kind::Json, 12)),
        since: AT,
        from: node(5),
        refusal: Refusal::new(Code::SchemaRefused, "/title: is missing"),
    };
    let next = Some(HeldAt { key: key("a"), version: version(2) });
    let ack = |n, held, why: &str| Ack { node: node(n), held, why: why.into() };
    let members = vec![ack(5, Some(false), "it says so"), ack(6, None, "it is not connected")];
    vec![
        (Answer::Written(written(), Some(reached.clone())), waited),
        (
            Answer::Batch(vec![written()], Some(reached)),
            json!({"results": [done], "reached": reached_json}),
        ),
        (Answer::Purged { ns: ns(), key: key("a") }, json!({"ns": "notes", "key": "a"})),
        (
            Answer::Quarantine(Page { items: vec![held], next }),
            json!({"items": [{"key": "a", "version": id(2), "change": "put", "kind": "json",
                "bytes": 12, "since": AT, "from": id(5), "code": "schema_refused",
                "message": "/title: is missing"}], "next": format!("{}.a", id(2))}),
        ),
        (
            Answer::Judged { ns: ns(), key: key("a"), version: version(2), admitted: false },
            json!({"ns": "notes", "key": "a", "version": id(2), "verdict": "discard"}),
        ),
        (
            Answer::Retried { ns: ns(), admitted: 2, held: 3 },
            json!({"ns": "notes", "admitted": 2, "held": 3}),
        ),
        (
            Answer::Acks(Acks { key: key("a"), version: version(2), members }),
            json!({"key": "a", "version": id(2), "everywhere": false, "members": [
                {"node": id(5), "held": false, "why": "it says so"},
                {"node": id(6), "why": "it is not connected"}]}),
        ),
        (
            Answer::Plugin(json!({"items": [{"at": 1.5, "é": null}], "next": "c"})),
            json!({"items": [{"at": 1.5, "é": null}], "next": "c"}),
        ),
        (
            Answer::Peers(Members { node: node(7), twin: false, page }),
            json!({"node": id(7), "items": [member_json, unknown_json], "next": "ws://c"}),
        ),
        (Answer::Invited { token: "t".into(), expires: AT }, json!({"token": "t", "expires": AT})),
        (Answer::PeerAdded { node: node(5), added: true }, json!({"node": id(5), "added": true})),
        (
            Answer::PeerRemoved { node: node(5), removed: false },
            json!({"node": id(5), "removed": false}),
        ),
    ]
}

/// The frame in each format, as a tree.
fn trees(write: impl Fn(Format, &mut Vec<u8>)) -> [Json; 2] {
    let (mut text, mut pack) = (Vec::new(), Vec::new());
    write(Format::Json, &mut text);
    write(Format::MessagePack, &mut pack);
    let Tree::Json(tree) = msgpack::read(&pack, 64).expect("msgpack") else { panic!("not plain") };
    [keepboth_core::json::parse(&text).expect("json"), tree]
}

#[test]
fn every_answer_is_written_alike_in_both_formats() {
    for (answer, expected) in reads().into_iter().chain(others()).chain(operating()) {
        let answer = Ok(answer);
        for tree in trees(|format, out| encode_answer(format, Some(7), &answer, out)) {
            assert_eq!(tree, json!({"id": 7, "ok": expected}));
        }
    }
}

#[test]
fn a_written_answer_has_exactly_these_bytes() {
    let (mut text, mut pack) = (Vec::new(), Vec::new());
    encode_answer(Format::Json, Some(2), &Ok(Answer::Written(written(), None)), &mut text);
    encode_answer(Format::MessagePack, Some(2), &Ok(Answer::Written(written(), None)), &mut pack);
    let v = id(1);
    let expected = format!(
        "{{\"id\":2,\"ok\":{{\"name\":\"a\",\"key\":\"a\",\"version\":\"{v}\",\"sequence\":9}}}}"
    );
    assert_eq!(String::from_utf8(text).expect("text"), expected);
    let head = b"\x82\xa2id\x02\xa2ok\x84\xa4name\xa1a\xa3key\xa1a\xa7version\xd9\x40";
    assert_eq!(pack, [&head[..], v.as_bytes(), b"\xa8sequence\x09"].concat());
}

#[test]
fn a_refusal_carries_all_that_helps() {
    let bare = Refusal::new(Code::Overloaded, "the queue is full");
    let refusal = Refusal {
        addresses: vec![address(2)],
        version: Some(version(1)),
        reason: Some("TITLE".into()),
        ..Refusal::new(Code::VersionMismatch, "a \"quoted\" message").hint("read it again")
    };
    for tree in trees(|format, out| encode_answer(format, None, &Err(bare.clone()), out)) {
        let error = json!({"code": "overloaded", "message": "the queue is full", "retry": true});
        assert_eq!(tree, json!({"id": null, "error": error}));
    }
    for tree in trees(|format, out| encode_end(format, 4, &refusal, out)) {
        let end = json!({"code": "version_mismatch", "message": "a \"quoted\" message",
            "retry": false, "hint": "read it again", "addresses": [id(2)], "version": id(1),
            "reason": "TITLE"});
        assert_eq!(tree, json!({"sub": 4, "end": end}));
    }
}

#[test]
fn objects_that_break_a_schema_are_told_page_by_page() {
    let refusal = Refusal::new(Code::SchemaRefused, "n.json: no title");
    let unfit = Unfit { key: key("a"), name: name(&id(2)), version: version(2), refusal };
    let page = Page { items: vec![unfit.clone()], next: Some(key("a")) };
    let answer = Answer::SchemaReport { page, bound: true, done: false, checked: 9, unfit: 2 };
    let item = json!({"key": "a", "name": id(2), "version": id(2), "code": "schema_refused",
        "message": "n.json: no title"});
    assert!(item.to_string().len() <= unfit.bytes_estimate());
    for tree in trees(|format, out| encode_answer(format, Some(1), &Ok(answer.clone()), out)) {
        let ok = json!({"bound": true, "done": false, "checked": 9, "unfit": 2, "items": [item],
            "next": "a"});
        assert_eq!(tree, json!({"id": 1, "ok": ok}));
    }
}

#[test]
fn lines_of_scripts_have_their_numbers_and_say_how_many_are_gone() {
    let line = Logged {
        number: 4,
        timestamp: 5,
        level: "warn",
        at: "scripts/a.luau:3".into(),
        text: "a \"word\"".into(),
    };
    let answer = Answer::HookLog(HookLog { lines: vec![line.clone()], next: 4, dropped: 3 });
    let item = json!({"number": 4, "timestamp": 5, "level": "warn", "at": "scripts/a.luau:3",
        "text": "a \"word\""});
    assert!(item.to_string().len() <= line.bytes_estimate());
    for tree in trees(|format, out| encode_answer(format, Some(1), &Ok(answer.clone()), out)) {
        let ok = json!({"lines": [item], "next": 4, "dropped": 3});
        assert_eq!(tree, json!({"id": 1, "ok": ok}));
    }
}

/// What is left of an event that is read as its type and written again: all, if the types, from which the
/// schemas are made, are true.
fn typed(event: &Json) -> Json {
    json!(serde_json::from_value::<Event>(event.clone()).expect("an event"))
}

#[test]
fn events_are_written_once_and_shared() {
    let put = Notice::Put {
        ns: ns(),
        key: key("a"),
        version: version(1),
        kind: Kind::String,
        value: Some(Value::string("x")),
        timestamp: AT,
        origin: store(),
        detached: vec![side(2, Some(Value::string("never told")))],
        cursor: Some(cursor()),
    };
    let told = Told::new(put);
    assert!(std::ptr::eq(told.body(Format::Json, true), told.body(Format::Json, true)));
    let detached =
        json!([{"address": id(2), "version": id(2), "timestamp": AT, "origin": origin()}]);
    let mut expected = json!({"type": "put", "ns": "notes", "key": "a", "version": id(1),
        "kind": "string", "value": "x", "timestamp": AT, "origin": origin(), "detached": detached,
        "cursor": cursor().to_string()});
    for values in [true, false] {
        if !values {
            expected.as_object_mut().expect("object").remove("value");
        }
        for tree in trees(|f, out| encode_event(f, 1, told.body(f, values), out)) {
            assert_eq!(tree, json!({"sub": 1, "event": expected}));
            assert_eq!(typed(&tree["event"]), expected);
        }
    }
}

#[test]
fn the_other_pushed_frames() {
    let delete = Notice::Delete {
        ns: ns(),
        key: key("a"),
        version: version(1),
        timestamp: AT,
        origin: store(),
        detached: vec![],
        cursor: None,
    };
    let Conflict { key: at, id: hash, base, sides } = clash();
    let conflict = Notice::Conflict {
        ns: ns(),
        key: at,
        id: hash,
        base,
        sides,
        detached: vec![],
        cursor: Some(cursor()),
    };
    let state = Notice::State {
        ns: ns(),
        state: State::NotSynced,
        before: Some(State::Empty),
        reason: "the first object".into(),
        peers: vec![peer()],
    };
    let side =
        |n: u8| json!({"address": id(n), "version": id(n), "timestamp": AT, "origin": origin()});
    for (notice, expected) in [
        (
            delete,
            json!({"type": "delete", "ns": "notes", "key": "a", "version": id(1),
            "timestamp": AT, "origin": origin()}),
        ),
        (
            conflict,
            json!({"type": "conflict", "ns": "notes", "key": "a", "id": id(7),
            "base": {"version": id(1)}, "sides": [side(2), side(3)],
            "cursor": cursor().to_string()}),
        ),
        (
            state,
            json!({"type": "state", "ns": "notes", "state": "not_synced", "before": "empty",
            "reason": "the first object", "peers": [peer_json()]}),
        ),
    ] {
        let told = Told::new(notice);
        for tree in trees(|f, out| encode_event(f, 1, told.body(f, false), out)) {
            assert_eq!(tree, json!({"sub": 1, "event": expected}));
            assert_eq!(typed(&tree["event"]), expected);
        }
    }
    for tree in trees(|f, out| encode_live(f, 1, &cursor(), out)) {
        assert_eq!(tree, json!({"sub": 1, "live": {"cursor": cursor().to_string()}}));
    }
}

fn values() -> Vec<Value> {
    vec![
        Value::bytes(vec![0, 255, 7]),
        Value::string("a \"quoted\" \u{0}\u{1} привет"),
        Value::number(-0.0),
        Value::number(1e21),
        Value::number(f64::NAN),
        Value::number(f64::NEG_INFINITY),
        Value::json(&json!({"b": [1, 2.5, null, -7], "a": {"$x": 1}})),
        Value::json(&json!({"$bytes": "not an escape"})),
        Value::json(&json!(vec![0.5; 100])),
        Value::cbor(&[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]).expect("bigint"),
    ]
}

#[test]
fn a_value_in_an_answer_can_be_put_again() {
    for value in values() {
        for format in Format::ALL {
            let object = Object {
                key: key("a"),
                name: name("a"),
                version: version(1),
                value: value.clone(),
                timestamp: AT,
                origin: store(),
            };
            let mut frame = Vec::new();
            encode_answer(format, Some(1), &Ok(Answer::Object(object)), &mut frame);
            let bytes = match format {
                Format::Json => {
                    let tree: Json = serde_json::from_slice(&frame).expect("json");
                    let value = &tree["ok"]["value"];
                    format!("{{\"id\":1,\"put\":{{\"ns\":\"n\",\"key\":\"a\",\"value\":{value}}}}}")
                        .into()
                }
                Format::MessagePack => {
                    let from = frame.windows(6).position(|w| w == b"\xa5value").expect("value") + 6;
                    let to = frame.windows(10).rposition(|w| w == b"\xa9timestamp").expect("end");
                    let head = b"\x82\xa2id\x01\xa3put\x83\xa2ns\xa1n\xa3key\xa1a\xa5value";
                    [&head[..], &frame[from..to]].concat()
                }
            };
            let request = super::super::decode_request(format, &bytes).expect("request");
            let super::super::Call::Put { value: again, .. } = request.call else { panic!() };
            assert_eq!(again.value, value, "{format:?}");
        }
    }
}

#[test]
fn an_estimate_is_never_too_low() {
    for value in values() {
        for format in Format::ALL {
            let item = Listed { value: Some(value.clone()), kind: Some(value.kind()), ..listed() };
            let estimate = item.bytes_estimate();
            let mut frame = Vec::new();
            let page = Page { items: vec![item], next: None };
            encode_answer(format, Some(1), &Ok(Answer::List(page)), &mut frame);
            assert!(frame.len() <= estimate, "{} > {estimate} for {value:?}", frame.len());
        }
    }
}

fn repeat<T: Clone>(items: &mut Vec<T>) {
    *items = items.first().map_or_else(Vec::new, |item| vec![item.clone(); 400]);
}

#[test]
fn the_bytes_of_every_answer_that_a_list_makes_large_are_counted() {
    let many = |mut answer: Answer| {
        match &mut answer {
            Answer::Hello(hello) => hello.namespaces = vec![ns(); 400],
            Answer::List(page) => repeat(&mut page.items),
            Answer::History(page) => repeat(&mut page.items),
            Answer::Conflicts(page) => repeat(&mut page.items),
            Answer::Conflict(conflict) => repeat(&mut conflict.sides),
            Answer::Trash(page) => repeat(&mut page.items),
            Answer::Status(status) => repeat(&mut status.namespaces),
            Answer::NsInfo(info) => info.status.peers = vec![peer(); 400],
            Answer::Quarantine(page) => repeat(&mut page.items),
            Answer::Peers(members) => repeat(&mut members.page.items),
            Answer::Plugin(answer) => *answer = json!({"items": vec!["text"; 4_000]}),
            _ => return None,
        }
        Some(answer)
    };
    let refusal = Refusal::new(Code::SchemaRefused, "no title");
    let unfit = Unfit { key: key("a"), name: name(&id(2)), version: version(2), refusal };
    let page = Page { items: vec![unfit; 400], next: None };
    let report = Answer::SchemaReport { page, bound: true, done: true, checked: 9, unfit: 400 };
    let line = |number| Logged {
        number,
        timestamp: AT,
        level: "warn",
        at: "scripts/a.luau:3".into(),
        text: "a \"word\"".into(),
    };
    let log =
        Answer::HookLog(HookLog { lines: (0..400).map(line).collect(), next: 400, dropped: 0 });
    let all = reads().into_iter().chain(others()).chain(operating()).map(|(answer, _)| answer);
    let large: Vec<Answer> = all.filter_map(many).chain([report, log]).collect();
    assert!(large.len() >= 13, "{}", large.len());
    for answer in large {
        let (estimate, shown) = (answer.bytes_estimate(), format!("{answer:.60?}"));
        let answer = Ok(answer);
        for format in Format::ALL {
            let mut frame = Vec::new();
            encode_answer(format, Some(1), &answer, &mut frame);
            let around = 1_024;
            assert!(frame.len() <= estimate + around, "{} > {estimate}: {shown}", frame.len());
        }
    }
}
