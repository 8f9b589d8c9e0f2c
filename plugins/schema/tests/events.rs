//! The forms of events and requests: their examples are golden, and each rule refuses what breaks it.

use std::fs;
use std::path::Path;

use keepboth_core::refusal::Code;
use keepboth_schema::events::form::{DeleteRequest, Event, PutRequest};
use keepboth_schema::events::made;
use keepboth_schema::events::{EventKind, check, check_request};
use serde_json::{Value as Json, json};

fn schema(kind: EventKind) -> Json {
    serde_json::from_str(kind.text()).expect("json")
}

fn examples(list: &Json) -> Vec<Json> {
    list.as_array().cloned().unwrap_or_default()
}

/// An example with one member changed; null takes it out.
fn with(example: &Json, key: &str, value: Json) -> Json {
    let mut changed = example.clone();
    match value {
        Json::Null => drop(changed.as_object_mut().expect("object").remove(key)),
        value => changed[key] = value,
    }
    changed
}

/// With KEEPBOTH_RENEW=1 the files are written anew, unless that would change rules under the same version.
#[test]
fn the_schemas_are_those_of_the_types_and_no_rule_changes_without_a_new_version() {
    for kind in EventKind::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(kind.file());
        let (kept, now) = (schema(kind), made::schema(kind));
        assert!(
            kept["x-version"] != made::VERSION || made::rules(&kept) == made::rules(&now),
            "the rules of {} are others: raise events::made::VERSION; a new property that may be absent \
             is a minor version, all else a major one",
            kind.file()
        );
        let text = serde_json::to_string_pretty(&now).expect("text") + "\n";
        if std::env::var_os("KEEPBOTH_RENEW").is_some() {
            fs::write(&path, &text).expect("written");
            continue;
        }
        assert_eq!(
            kind.text(),
            text,
            "{} is stale; renew it: KEEPBOTH_RENEW=1 cargo test -p keepboth-schema --test events",
            kind.file()
        );
    }
}

#[test]
fn the_version_of_the_forms_has_a_major_and_a_minor_part() {
    let (major, minor) = made::VERSION.split_once('.').expect("MAJOR.MINOR");
    assert!(major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok());
}

#[test]
fn every_example_comes_back_from_its_type_and_what_is_unknown_is_left_out_or_refused_by_name() {
    for kind in EventKind::ALL {
        for example in examples(&schema(kind)["examples"]) {
            let event: Event = serde_json::from_value(example.clone()).expect("an event");
            assert_eq!(serde_json::to_value(&event).expect("a tree"), example);
            let later = with(&example, "new_in_1_1", json!({"a": [1]}));
            assert_eq!(serde_json::from_value::<Event>(later).expect("an event"), event);
            let other = with(&example, "type", json!("later"));
            let words = serde_json::from_value::<Event>(other).expect_err("refused").to_string();
            assert!(words.contains("unknown variant `later`"), "{words}");
        }
        for request in examples(&schema(kind)["$defs"]["request"]["examples"]) {
            let back = match kind {
                EventKind::Put => serde_json::from_value::<PutRequest>(request.clone())
                    .map(|request| json!(request)),
                _ => serde_json::from_value::<DeleteRequest>(request.clone())
                    .map(|request| json!(request)),
            };
            assert_eq!(back.expect("a request"), request);
        }
    }
}

#[test]
fn every_example_is_an_event_or_a_request() {
    for kind in EventKind::ALL {
        let schema = schema(kind);
        let events = examples(&schema["examples"]);
        assert!(!events.is_empty(), "{}", kind.file());
        for event in events {
            check(kind, &event).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(event["type"], kind.as_str());
        }
        let requests = examples(&schema["$defs"]["request"]["examples"]);
        assert_eq!(requests.is_empty(), matches!(kind, EventKind::Conflict | EventKind::State));
        for request in requests {
            check_request(kind, &request).unwrap_or_else(|e| panic!("{e}"));
        }
        assert_eq!(EventKind::from_name(kind.as_str()), Some(kind));
        assert_eq!(schema["$id"], kind.file());
    }
}

#[test]
fn every_required_member_is_missed() {
    for kind in EventKind::ALL {
        let schema = schema(kind);
        for key in examples(&schema["required"]) {
            let key = key.as_str().expect("name");
            let event = with(&schema["examples"][0], key, Json::Null);
            let refusal = check(kind, &event).expect_err(key);
            assert_eq!(refusal.code, Code::BadRequest);
            assert!(
                refusal.message.contains(&format!("{key:?} is a required property")),
                "{refusal}"
            );
        }
        let request = &schema["$defs"]["request"];
        for key in examples(&request["required"]) {
            let key = key.as_str().expect("name");
            let arguments = with(&request["examples"][0], key, Json::Null);
            assert!(check_request(kind, &arguments).is_err(), "{key}");
        }
    }
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    use EventKind::{Conflict, Delete, Put, State};
    for (kind, key, value, place) in [
        (Put, "type", json!("delete"), "/type"),
        (Put, "ns", json!("Notes"), "/ns"),
        (Put, "key", json!(""), "/key"),
        (Put, "version", json!("ab"), "/version"),
        (Put, "kind", json!("blob"), "/kind"),
        (Put, "timestamp", json!(1.5), "/timestamp"),
        (Put, "timestamp", json!(-1), "/timestamp"),
        (Put, "origin", json!("A".repeat(32)), "/origin"),
        (Put, "cursor", json!(5), "/cursor"),
        (Put, "detached", json!([{}]), "/detached/0"),
        (Delete, "version", json!("7F".repeat(32)), "/version"),
        (Conflict, "id", json!(1), "/id"),
        (Conflict, "base", json!("x"), "/base"),
        (Conflict, "sides", json!([]), "/sides"),
        (Conflict, "sides", json!([{"address": "x"}, {}]), "/sides/0"),
        (State, "state", json!("sinking"), "/state"),
        (State, "before", json!(""), "/before"),
        (State, "peers", json!([{"connected": "yes"}]), "/peers/0"),
        (State, "reason", json!(1), "/reason"),
    ] {
        let event = with(&schema(kind)["examples"][0], key, value);
        let refusal = check(kind, &event).expect_err(key);
        let said = format!("{}: {place}", kind.file());
        assert!(refusal.message.starts_with(&said), "{refusal}\nlacks\n{said}");
        assert!(refusal.message.contains("(rule /"), "{refusal}");
    }
}

#[test]
fn a_later_version_may_add_to_events_and_nobody_may_add_to_requests() {
    for kind in EventKind::ALL {
        check(kind, &with(&schema(kind)["examples"][0], "new", json!(1))).expect("may grow");
    }
    for kind in [EventKind::Put, EventKind::Delete] {
        let request =
            with(&schema(kind)["$defs"]["request"]["examples"][0], "if_verison", json!("x"));
        let refusal = check_request(kind, &request).expect_err("refused");
        assert!(refusal.message.contains("'if_verison' was unexpected"), "{refusal}");
        assert!(refusal.message.contains("(rule /$defs/request/"), "{refusal}");
    }
}

#[test]
fn the_condition_of_a_put_is_absent_null_or_a_version() {
    let request =
        |condition: Json| json!({"ns": "n", "key": "k", "value": 1, "if_version": condition});
    check_request(EventKind::Put, &json!({"ns": "n", "key": "k", "value": null})).expect("absent");
    check_request(EventKind::Put, &request(Json::Null)).expect("must not exist");
    check_request(EventKind::Put, &request(json!("0".repeat(64)))).expect("a version");
    for wrong in [json!("0".repeat(63)), json!(5), json!(""), json!("G".repeat(64))] {
        assert!(check_request(EventKind::Put, &request(wrong)).is_err());
    }
    let delete = json!({"ns": "n", "key": "k", "if_version": null});
    assert!(check_request(EventKind::Delete, &delete).is_err(), "nothing cannot be deleted");
}

#[test]
fn nobody_asks_for_a_conflict_or_a_state() {
    let refusal = check_request(EventKind::State, &json!({})).expect_err("refused");
    assert_eq!(refusal.message, "a state event cannot be asked for; the server tells it");
}
