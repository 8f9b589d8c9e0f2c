//! The scripts in `scripts/`, each through the real plugin.

use keepboth_core::refusal::Code;
use keepboth_core::value::Value;
use serde_json::json;

use crate::harness::*;

#[test]
fn the_readme_and_the_types_name_all_that_there_is() {
    let read = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        std::fs::read_to_string(folder.join(name)).expect(name)
    };
    let (readme, types) = (read("README.md"), read("kb.d.luau"));
    let names = |source: &str| {
        let words = mistake(source);
        let (_, names) = words.rsplit_once("it has: ").expect("names");
        names.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let kb = names("local none = 'none' print(kb[none])");
    assert!(kb.len() >= 12);
    for name in kb {
        assert!(readme.contains(&format!("`kb.{name}")), "README.md: kb.{name}");
        assert!(types.contains(&format!("\t{name}: ")), "kb.d.luau: {name}");
    }
    for name in names("local none = 'none' print(kb.namespace()[none])") {
        assert!(readme.contains(&format!("`{name}(")), "README.md: {name}");
        assert!(types.contains(&format!("\t{name}: ")), "kb.d.luau: {name}");
    }
}

#[test]
fn guard_requires_fields() {
    let mut worker = shipped("guard.luau", json!({"required": ["title", "body"]}));
    assert!(put(&mut *worker, json!({"title": "t", "body": "b"})).is_ok());
    for (value, reason, words) in [
        (json!({"title": "t"}), "FIELD_REQUIRED", "body is required"),
        (json!({"title": null, "body": ""}), "FIELD_REQUIRED", "title is required"),
        (json!("text"), "NOT_AN_OBJECT", "the value must be an object with title, body"),
    ] {
        let refusal = put(&mut *worker, value).expect_err("refused");
        assert_eq!((refusal.code, refusal.reason.as_deref()), (Code::HookRefused, Some(reason)));
        assert!(
            refusal.message.starts_with(&format!("{words} (scripts/guard.luau:")),
            "{}",
            refusal.message
        );
    }
    assert!(put(&mut *shipped("guard.luau", json!({})), json!("anything")).is_ok());
}

#[test]
fn guard_keeps_keys() {
    let mut worker = shipped("guard.luau", json!({"keep": ["config/*", "readme"]}));
    for key in ["config/a", "config/", "readme"] {
        let refusal = delete(&mut *worker, key).expect_err(key);
        assert_eq!(refusal.reason.as_deref(), Some("KEPT"));
        assert!(
            refusal.message.starts_with(&format!("{key} may not be deleted (")),
            "{}",
            refusal.message
        );
    }
    for key in ["configs", "readme2", "a"] {
        assert_eq!(delete(&mut *worker, key), Ok(()));
    }
}

#[test]
fn stamp_marks_who_when_and_counts() {
    let mut worker = shipped("stamp.luau", json!({}));
    let first = put(&mut *worker, json!({"a": 1})).expect("put");
    let expected =
        json!({"a": 1, "created_at": NOW, "updated_at": NOW, "updated_by": "ada", "revision": 1});
    assert_eq!(first, expected);
    let again = json!({"created_at": 5, "updated_at": 5, "updated_by": "eve", "revision": 7});
    let again = put(&mut *worker, again).expect("put");
    let expected = json!({"created_at": 5, "updated_at": NOW, "updated_by": "ada", "revision": 8});
    assert_eq!(again, expected);
}

#[test]
fn stamp_leaves_other_values_and_unwanted_members_alone() {
    let mut worker = shipped("stamp.luau", json!({"revision": "rev", "updated_by": false}));
    for value in [json!("text"), json!([1, 2]), json!(null)] {
        assert_eq!(put(&mut *worker, value.clone()), Ok(value));
    }
    let out = put(&mut *worker, json!({"created_at": "forged"}));
    assert_eq!(out, Ok(json!({"created_at": NOW, "updated_at": NOW, "rev": 1})));
}

#[test]
fn merge_folds_all_sides_or_keeps_all() {
    let mut worker = shipped("merge.luau", json!({}));
    let base = json!({"a": 1, "b": 1, "c": 1, "gone": 1});
    let sides = [
        json!({"a": 2, "b": 1, "c": 1}),
        json!({"a": 1, "b": 2, "c": 1, "gone": 1}),
        json!({"a": 1, "b": 1, "c": 2, "gone": 1, "new": []}),
    ];
    let merged = conflict(&mut *worker, base.clone(), &sides);
    assert_eq!(merged, Some(json!({"a": 2, "b": 2, "c": 2, "new": []})));
    let clash = [json!({"a": 2}), json!({"a": 3})];
    assert_eq!(conflict(&mut *worker, base, &clash), None);
    assert_eq!(conflict(&mut *worker, json!(null), &[json!(1), json!("x")]), None);
    let bytes = a_conflict(None, vec![Value::bytes(vec![1]), Value::bytes(vec![2])]);
    assert_eq!(worker.conflict(&bytes), Ok(None));
}

#[test]
fn last_writer_wins_takes_the_latest_on_every_node() {
    let mut worker = shipped("last_writer_wins.luau", json!({}));
    let (old, new) = (json!({"updated_at": 5, "x": 1}), json!({"updated_at": 10, "x": 2}));
    for sides in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        assert_eq!(conflict(&mut *worker, json!(null), &sides), Some(new.clone()));
    }
    let (a, b) = (json!({"updated_at": 5, "x": "a"}), json!({"updated_at": 5, "x": "b"}));
    for sides in [[a.clone(), b.clone()], [b.clone(), a.clone()]] {
        assert_eq!(conflict(&mut *worker, json!(null), &sides), Some(b.clone()), "a tie");
    }
}

#[test]
fn last_writer_wins_keeps_all_where_it_cannot_tell() {
    let mut worker = shipped("last_writer_wins.luau", json!({"field": "seq"}));
    for other in [json!({}), json!("text"), json!({"seq": "9"}), json!({"seq": null}), json!([1])] {
        assert_eq!(conflict(&mut *worker, json!(null), &[json!({"seq": 1}), other]), None);
    }
    let texts = [json!({"seq": "b"}), json!({"seq": "a"})];
    assert_eq!(conflict(&mut *worker, json!(null), &texts), Some(json!({"seq": "b"})));
}

#[test]
fn audit_trail_writes_an_entry_for_each_write() {
    let mut worker = shipped("audit_trail.luau", json!({"to": "trail"}));
    let hex = version(7).to_string();
    let entry = |what: &str| json!({"what": what, "key": "k", "namespace": "notes", "version": hex, "who": "ada", "when": NOW});
    for (value, what) in [(Some(Value::string("x")), "put"), (None, "delete")] {
        let (writes, result) = after(&mut *worker, "k", value);
        assert_eq!(result, Ok(()));
        assert_eq!(writes.len(), 1);
        assert_eq!(writes[0].namespace.as_str(), "trail");
        assert_eq!(writes[0].name.to_string(), format!("k/{hex}"));
        assert_eq!(writes[0].value, Some(Value::json(&entry(what))));
    }
}

#[test]
fn audit_trail_keeps_values_where_asked() {
    let mut worker = shipped("audit_trail.luau", json!({"to": "trail", "values": true}));
    let (writes, _) = after(&mut *worker, "k", Some(Value::json(&json!({"a": [1]}))));
    let tree = writes[0].value.as_ref().and_then(Value::to_json).expect("json");
    assert_eq!(tree["value"], json!({"a": [1]}));
    let (writes, result) = after(&mut *worker, "k", Some(Value::bytes(vec![1])));
    assert_eq!((writes.len(), result), (1, Ok(())));
}

#[test]
fn audit_trail_without_its_option_is_a_mistake() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
    let built = build_in(&folder, json!({"scripts": ["audit_trail.luau"]}));
    let message = built.err().expect("a mistake").remove(0).message;
    assert!(
        message.contains("set options = { to = \"NAMESPACE\" }, the namespace for the trail"),
        "{message}"
    );
    assert!(message.starts_with("scripts/audit_trail.luau:"), "{message}");
}
