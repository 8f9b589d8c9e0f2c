//! The tests that stand in schema files, and schemas inferred from values.

use std::fs;
use std::path::Path;

use keepboth_core::value::Value;
use keepboth_schema::infer::Inferred;
use keepboth_schema::vectors::{Vector, run};
use keepboth_schema::{Folder, Schema};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn load(schema: &Json) -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().expect("folder");
    let text = serde_json::to_string_pretty(schema).expect("text");
    fs::write(folder.path().join("a.json"), text).expect("written");
    let read = Folder::new(folder.path());
    (folder, read)
}

fn vectors(schema: Json) -> Vec<Vector> {
    run(&load(&schema).1, "a.json").unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn examples_pass_and_counter_examples_fail_for_their_reason() {
    let done = json!({"const": "done"});
    let tried = vectors(json!({
        "type": "string",
        "examples": ["open", 5],
        "$defs": {"short": {"maxLength": 3, "examples": ["abc", "abcd"]}},
        "x-keepboth-transition": {
            "if": {"properties": {"old": done}, "required": ["old"]},
            "then": {"properties": {"new": done}},
        },
        "x-keepboth-allowed": [
            {"old": "open", "new": "done"},
            {"old": "done", "new": "open"},
        ],
        "x-keepboth-refused": [
            {"new": 5, "because": "is not of type"},
            {"old": "done", "new": "open", "because": "\"done\" was expected"},
            {"old": "open", "new": "done", "because": "nothing"},
            {"new": 5, "because": "is too long"},
        ],
    }));
    let outcome = |pointer: &str| {
        let found = tried.iter().find(|vector| vector.pointer == pointer).expect(pointer);
        found.outcome.clone()
    };
    assert_eq!(tried.len(), 10);
    for sound in [
        "/examples/0",
        "/$defs/short/examples/0",
        "/x-keepboth-allowed/0",
        "/x-keepboth-refused/0",
        "/x-keepboth-refused/1",
    ] {
        assert_eq!(outcome(sound), Ok(()), "{sound}");
    }
    for (pointer, said) in [
        ("/examples/1", "a.json: 5 is not of type \"string\" (rule /type)"),
        ("/$defs/short/examples/1", "\"abcd\" is longer than 3 characters"),
        ("/x-keepboth-allowed/1", "/new: \"done\" was expected"),
        ("/x-keepboth-refused/2", "it passes, and should be refused because \"nothing\""),
        (
            "/x-keepboth-refused/3",
            "it is refused, but not because \"is too long\": a.json: 5 is not",
        ),
    ] {
        let words = outcome(pointer).expect_err(pointer);
        assert!(words.contains(said), "{words}\nlacks\n{said}");
    }
    let places: Vec<usize> = tried.iter().map(|vector| vector.place.line).collect();
    assert!(places.is_sorted() && places[0] > 1, "{places:?}");
}

#[test]
fn the_tests_in_the_schemas_that_come_along_hold() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    for name in ["airport.schema.json", "note.schema.json", "events/put.schema.json"] {
        let tried = run(&Folder::new(&schemas), name).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert!(!tried.is_empty(), "{name}");
        for vector in tried {
            assert_eq!(vector.outcome, Ok(()), "{name} {}", vector.pointer);
        }
    }
}

#[test]
fn the_schema_in_the_readme_of_schemas_is_sound() {
    let readme = include_str!("../../../schemas/README.md");
    let block = readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let schema: Json = serde_json::from_str(block.expect("a block")).expect("JSON");
    let (_kept, folder) = load(&schema);
    assert!(Schema::load(&folder, "a.json").expect("a schema").looks_back());
}

#[test]
fn an_inferred_schema_says_what_was_seen() {
    let mut seen = Inferred::default();
    for n in 0..9 {
        let state = ["open", "done"][n % 2];
        let mut note =
            json!({"state": state, "n": n, "at": "2026-01-02T03:04:05Z", "tags": ["a", n]});
        if n == 3 {
            note["extra"] = json!(null);
            note["n"] = json!(2.5);
        }
        seen.add("json", Some(&note));
    }
    seen.add("bytes", None);
    seen.add("number", None);
    assert_eq!((seen.count(), seen.infinite()), (11, 1));
    let schema = seen.schema("notes");
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["required"], json!(["at", "n", "state", "tags"]));
    let properties = &schema["properties"];
    assert_eq!(properties["state"], json!({"type": "string", "enum": ["done", "open"]}));
    assert_eq!(properties["n"], json!({"type": "number", "minimum": 0, "maximum": 8}));
    assert_eq!(properties["at"]["enum"], json!(["2026-01-02T03:04:05Z"]));
    assert_eq!(properties["extra"], json!({"type": "null"}));
    assert_eq!(properties["tags"]["minItems"], 2);
    assert_eq!(properties["tags"]["items"]["type"], json!(["integer", "string"]));
    assert_eq!(schema["x-keepboth-kind"], json!(["bytes", "json", "number"]));
    let comment = schema["$comment"].as_str().expect("a comment");
    assert!(
        comment.starts_with("Inferred from the 11 values of notes (1 bytes, 9 json, 1 number).")
    );
}

#[test]
fn a_format_is_said_if_all_have_it_and_names_that_are_data_become_one() {
    let mut seen = Inferred::default();
    for n in 10..30 {
        seen.add("string", Some(&json!(format!("2026-01-{n}"))));
    }
    assert_eq!(seen.schema("x")["format"], "date");
    let mut seen = Inferred::default();
    let by_name: serde_json::Map<_, _> = (0..150).map(|n| (format!("k{n}"), json!(n))).collect();
    seen.add("json", Some(&by_name.into()));
    seen.add("json", Some(&json!({"other": 200})));
    let schema = seen.schema("x");
    let all = json!({"type": "integer", "minimum": 0, "maximum": 200});
    assert_eq!(schema["additionalProperties"], all);
    assert!(schema.get("properties").is_none());
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-1_000_i64..1_000).prop_map(Json::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Json::from),
        "[a-c]{0,3}".prop_map(Json::from),
        "\\PC{0,80}".prop_map(Json::from),
        Just(json!("2026-01-02T03:04:05Z")),
        Just(json!("::1")),
    ];
    leaf.prop_recursive(20, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::btree_map("[a-z$/~]{0,2}", inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn an_inferred_schema_is_sound_and_accepts_all_that_it_was_made_from(
        trees in prop::collection::vec(tree(), 0..12)
    ) {
        let values: Vec<Value> = trees.iter().map(Value::json).collect();
        let mut seen = Inferred::default();
        for value in &values {
            seen.add(value.kind().as_str(), value.to_json().as_ref());
        }
        let (_kept, folder) = load(&seen.schema("all"));
        let schema = match Schema::load(&folder, "a.json") {
            Ok(schema) => schema,
            Err(faults) => return Err(TestCaseError::fail(format!("{faults:?}"))),
        };
        for value in values {
            let mut draft = keepboth_core::plugin::Draft::new(value, None);
            prop_assert_eq!(schema.check(&mut draft), Ok(()));
        }
    }
}
