//! The audit trail from its settings to its entries.

use std::sync::Arc;

use keepboth_audit::FACTORY;
use keepboth_core::ids::VersionId;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::plugin::{Before, Done, Effect, Origin, Plugin, SettingsError, Site, Source};
use keepboth_core::value::Value;
use keepboth_core::version::Change;
use serde_json::{Value as Json, json};

fn build(settings: Json) -> Result<Arc<dyn Plugin>, Vec<SettingsError>> {
    let site = Site {
        namespace: Namespace::new("notes").expect("namespace"),
        folder: ".".into(),
        schemas: "schemas".into(),
        scripts: "scripts".into(),
        value_bytes_max: 65_536,
    };
    FACTORY.build(&site, settings)
}

fn done(key: &str, value: Option<Value>) -> Done {
    let key = Key::new(key).expect("key");
    Done {
        namespace: Namespace::new("notes").expect("namespace"),
        name: Name::Key(key.clone()),
        key,
        version: VersionId([7; 32]),
        change: if value.is_some() { Change::Put } else { Change::Delete },
        value,
        origin: Origin::new(Source::Client, "ada", 1_790_000_000_000),
        before: Before::nothing(),
    }
}

fn entry(settings: Json, done: &Done) -> Effect {
    let mut worker = build(settings).expect("plugin").worker().expect("worker");
    let mut writes = Vec::new();
    worker.after(done, &mut writes).expect("entry");
    assert_eq!(writes.len(), 1);
    writes.remove(0)
}

#[test]
fn a_write_leaves_an_entry_in_the_trail() {
    let effect = entry(json!({}), &done("note/1", Some(Value::string("secret"))));
    let version = "07".repeat(32);
    assert_eq!(effect.namespace.as_str(), "trail");
    assert_eq!(effect.name.to_string(), format!("notes/note/1/{version}"));
    let value = effect.value.and_then(|value| value.to_json()).expect("json");
    let expected = json!({
        "actor": "ada", "at": 1_790_000_000_000_u64, "change": "put", "key": "note/1",
        "name": "note/1", "namespace": "notes", "version": version,
    });
    assert_eq!(value, expected, "the value itself is not written down");
}

#[test]
fn a_delete_leaves_an_entry_too() {
    let effect = entry(json!({"to": "log.2"}), &done("note/1", None));
    assert_eq!(effect.namespace.as_str(), "log.2");
    assert_eq!(effect.value.and_then(|value| value.to_json()).expect("json")["change"], "delete");
}

#[test]
fn a_key_of_any_length_gets_an_entry() {
    let effect = entry(json!({}), &done(&"k".repeat(1_024), None));
    assert_eq!(effect.name.to_string().len(), "notes/".len() + 32 + 1 + 64);
}

#[test]
fn only_after_hooks_are_asked_for() {
    let points = build(json!({})).expect("plugin").points();
    assert!(points.after && !points.before_put && !points.before_delete && !points.conflict);
}

#[test]
fn wrong_settings_are_told_at_the_start() {
    for (settings, pointer, said) in [
        (json!({"to": "notes"}), "/to", "\"notes\" is the namespace that is watched"),
        (json!({"to": "No"}), "/to", "is not a namespace's name"),
        (json!({"two": 1}), "", "unknown field `two`"),
    ] {
        let errors = build(settings).map(|_| ()).expect_err("refused");
        assert_eq!(errors[0].pointer, pointer);
        assert!(errors[0].message.contains(said), "{}", errors[0]);
    }
}

#[test]
fn the_plugin_to_copy_stays_short() {
    let lines = include_str!("../src/lib.rs").lines().count();
    assert!(lines <= 130, "{lines} lines");
}
