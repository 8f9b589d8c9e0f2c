//! The plugin from its settings to its refusals, with schema files good and bad.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keepboth_core::ids::VersionId;
use keepboth_core::name::{Address, Key, Name};
use keepboth_core::plugin::{Before, Earlier, Put};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_schema::FACTORY;
use serde_json::{Value as Json, json};

use crate::harness::{at_key, build_in, faults, folder, notes, put, put_at, schemas, words};

#[test]
fn a_value_that_obeys_its_schema_passes() {
    let plugin = notes();
    assert!(plugin.points().before_put && !plugin.points().after);
    let text = fs::read_to_string(schemas().join("note.schema.json")).expect("schema");
    let schema: Json = serde_json::from_str(&text).expect("json");
    for example in schema["examples"].as_array().expect("examples") {
        put_at(&plugin, "note/1", example.clone()).expect("passes");
    }
    put_at(&plugin, "free", json!(5)).expect("no pattern matches, so the key is free");
}

#[test]
fn a_refusal_names_file_place_and_rule() {
    let plugin = notes();
    for (value, said) in [
        (
            json!({"title": ""}),
            "note.schema.json: /title: \"\" is shorter than 1 character (rule /properties/title/minLength)",
        ),
        (json!({}), "note.schema.json: \"title\" is a required property (rule /required)"),
        (json!("text"), "note.schema.json: \"text\" is not of type \"object\" (rule /type)"),
        (
            json!({"title": "x".repeat(201)}),
            "/title: the text of 201 characters is longer than 200 characters",
        ),
        (json!({"title": "a", "tags": ["x", "x"]}), "/tags: the list has non-unique elements"),
        (json!({"title": "a", "tags": [""]}), "/tags/0: "),
        (
            json!({"title": "a", "tilte": 1}),
            "('tilte' was unexpected) (rule /additionalProperties)",
        ),
        (
            json!({"title": "a", "updated_at": "yesterday"}),
            "/updated_at: \"yesterday\" is not a \"date-time\"",
        ),
        (json!({"title": "a", "revision": 1.5}), "/revision: 1.5 is not of type \"integer\""),
    ] {
        let words = words(put_at(&plugin, "note/1", value));
        assert!(words.contains(said), "{words}\nlacks\n{said}");
    }
}

#[test]
fn at_most_three_mistakes_are_told() {
    let words = words(put_at(
        &notes(),
        "note/1",
        json!({
            "title": 1, "text": 2, "updated_by": 3, "revision": "4", "tags": "5", "created_at": [], "x": 1
        }),
    ));
    assert_eq!(words.matches("(rule ").count(), 3, "{words}");
    assert!(words.ends_with("; and 4 more"), "{words}");
}

#[test]
fn the_most_exact_pattern_holds_and_strict_leaves_no_key_free() {
    let folder = folder(&[
        ("any.json", json!({"type": "object"})),
        ("sub/number.json", json!({"type": "number"})),
        ("string.json", json!({"type": "string"})),
    ]);
    let bind = json!({"a/*": "any.json", "a/n*": "sub/number.json", "a/name": "string.json"});
    let plugin = build_in(folder.path(), json!({"bind": bind, "strict": true})).expect("built");
    put_at(&plugin, "a/x", json!({})).expect("object");
    put_at(&plugin, "a/n1", json!(5)).expect("number");
    put_at(&plugin, "a/name", json!("x")).expect("string");
    assert!(words(put_at(&plugin, "a/n1", json!("x"))).starts_with("sub/number.json: "));
    let refusal = put_at(&plugin, "b", json!(5)).expect_err("strict");
    assert_eq!(refusal.message, "no schema is bound to the key \"b\"");
    assert_eq!(refusal.hint.as_deref(), Some("keys here match one of a/name, a/n*, a/*"));
}

#[test]
fn a_value_at_an_address_obeys_the_schema_of_its_key() {
    let mut put = Put {
        name: Name::Address(Address { key: [1; 16], branch: [2; 16] }),
        ..at_key("note/1", Value::json(&json!({})))
    };
    let refused = notes().worker().expect("worker").before_put(&mut put);
    assert!(words(refused).starts_with("note.schema.json: "));
}

#[test]
fn what_no_schema_can_see_passes_only_if_it_is_named() {
    let folder = folder(&[
        ("seen.json", json!(true)),
        ("blob.json", json!({"x-keepboth-kind": ["bytes", "json"], "type": "object"})),
    ]);
    let bind = json!({"seen/*": "seen.json", "blob/*": "blob.json"});
    let plugin = build_in(folder.path(), json!({"bind": bind})).expect("built");
    put(&plugin, "blob/1", Value::bytes(vec![0, 255])).expect("named");
    put(&plugin, "blob/1", Value::json(&json!({}))).expect("named and right");
    assert!(put(&plugin, "blob/1", Value::json(&json!([]))).is_err());
    assert_eq!(
        words(put(&plugin, "blob/1", Value::string("x"))),
        "blob.json: the value is of kind string, allowed here: bytes, json"
    );
    let words = words(put(&plugin, "seen/1", Value::bytes(vec![0])));
    assert_eq!(words, "seen.json: the value is of kind bytes, allowed here: json, number, string");
    put(&plugin, "seen/1", Value::number(5.0)).expect("number");
    assert!(put(&plugin, "seen/1", Value::number(f64::NAN)).is_err());
}

#[test]
fn each_kind_of_value_may_have_a_schema_of_its_own() {
    let folder = folder(&[
        ("doc.json", json!({"type": "object"})),
        ("title.json", json!({"type": "string", "maxLength": 3})),
        ("blob.json", json!({"x-keepboth-kind": ["bytes"]})),
    ]);
    let kinds = json!({"json": "doc.json", "string": "title.json", "bytes": "blob.json",
        "cbor": true, "number": false});
    let plugin = build_in(folder.path(), json!({"bind": {"a/*": kinds}})).expect("built");
    put_at(&plugin, "a/1", json!({})).expect("an object");
    put_at(&plugin, "a/1", json!("abc")).expect("a short text");
    put(&plugin, "a/1", Value::bytes(vec![1])).expect("named bytes");
    put(&plugin, "a/1", Value::cbor(&[0x05]).expect("cbor")).expect("all cbor");
    put_at(&plugin, "b", json!(5)).expect("a free key");
    assert!(words(put_at(&plugin, "a/1", json!([]))).starts_with("doc.json: "));
    assert!(words(put_at(&plugin, "a/1", json!("abcd"))).starts_with("title.json: "));
    let refusal = put_at(&plugin, "a/1", json!(5)).expect_err("refused");
    assert_eq!(refusal.message, "values of kind number are not allowed at this key");
    assert_eq!(refusal.hint.as_deref(), Some("allowed here: bytes, cbor, json, string"));
    let key = Key::new("a/1").expect("key");
    assert!(plugin.admit(&key, Some(&Value::number(5.0))).is_err(), "of a peer too");
}

#[test]
fn what_is_wrong_with_the_schema_of_a_kind_is_told_at_that_kind() {
    let folder = folder(&[("a.json", json!({"type": "object"})), ("b.json", json!({"tpye": 1}))]);
    let bind = json!({"a/*": {"bytes": "a.json", "json": "b.json", "string": "none.json"}});
    let errors = build_in(folder.path(), json!({"bind": bind})).map(|_| ()).expect_err("refused");
    let told: Vec<_> = errors.iter().map(|e| (e.pointer.as_str(), e.message.as_str())).collect();
    let [(bytes, not_named), (json, typo), (string, missing)] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!([bytes, json, string], ["/bind/a~1*/bytes", "/bind/a~1*/json", "/bind/a~1*/string"]);
    assert_eq!(not_named, "a.json: its x-keepboth-kind does not name bytes, to which it is bound");
    assert!(typo.starts_with("b.json:1:2: /tpye: unknown keyword"), "{typo}");
    assert!(missing.starts_with("none.json: cannot read it in "), "{missing}");
}

/// The one value that was there before.
struct Was(Result<Option<Value>, Refusal>);

impl Earlier for Was {
    fn value(&self, _: &Name) -> Result<Option<Value>, Refusal> {
        self.0.clone()
    }

    fn replaced_by(&self, _: &Key, _: &VersionId) -> Result<Option<Value>, Refusal> {
        Ok(None)
    }
}

#[test]
fn a_rule_for_steps_sees_what_was_there_and_what_comes() {
    let state_stays = json!({
        "$ref": "#/$defs/task",
        "$defs": {
            "task": {"type": ["object", "string"]},
            "done": {"properties": {"state": {"const": "done"}}, "required": ["state"]},
        },
        "x-keepboth-transition": {
            "if": {"required": ["old"], "properties": {"old": {"$ref": "#/$defs/done"}}},
            "then": {"properties": {"new": {"$ref": "#/$defs/done"}}},
            "properties": {"old": {"properties": {"$kind": false}}},
        },
    });
    let folder = folder(&[("task.json", state_stays)]);
    let plugin = build_in(folder.path(), json!({"bind": {"*": "task.json"}})).expect("built");
    let step = |old: Result<Option<Value>, Refusal>, new: Json| {
        let before = Before::of(Arc::new(Was(old)));
        let mut put = Put { before, ..at_key("k", Value::json(&new)) };
        plugin.worker().expect("worker").before_put(&mut put)
    };
    let (open, done) = (json!({"state": "open"}), json!({"state": "done"}));
    let was = |tree: &Json| Ok(Some(Value::json(tree)));
    step(Ok(None), done.clone()).expect("nothing was there");
    step(was(&open), done.clone()).expect("forward");
    step(was(&done), done.clone()).expect("it stays");
    let words = words(step(was(&done), open.clone()));
    assert_eq!(
        words,
        "task.json: /new/state: \"done\" was expected (rule /$defs/done/properties/state/const)"
    );
    assert!(step(was(&done), json!({})).is_err(), "left out");
    let bytes = step(Ok(Some(Value::bytes(vec![1]))), open.clone()).expect_err("its kind is seen");
    assert!(bytes.message.contains("/old/$kind: nothing may stand here"), "{bytes}");
    let several = Refusal::new(Code::InConflict, "two sides");
    step(Err(several), open.clone()).expect("no one object was there");
    let broken = Refusal::new(Code::StoreFailed, "the disk");
    assert_eq!(
        step(Err(broken.clone()), open.clone()),
        Err(broken),
        "what is unknown is no nothing"
    );
    let key = Key::new("k").expect("key");
    assert_eq!(
        plugin.admit(&key, Some(&Value::json(&open))),
        Ok(()),
        "steps are judged where made"
    );
}

#[test]
fn a_schema_that_vanishes_or_becomes_something_else_is_told_and_the_old_one_goes_on() {
    let folder =
        folder(&[("a.json", json!({"$ref": "b.json"})), ("b.json", json!({"type": "object"}))]);
    let settings = json!({"bind": {"*": "a.json"}});
    let plugin = build_in(folder.path(), settings.clone()).expect("built");
    let again = || {
        let errors = build_in(folder.path(), settings.clone()).map(|_| ()).expect_err("refused");
        errors[0].message.clone()
    };
    fs::remove_file(folder.path().join("b.json")).expect("removed");
    assert!(
        again().starts_with("a.json:1:2: /$ref: $ref: b.json: cannot read it in "),
        "{}",
        again()
    );
    fs::create_dir(folder.path().join("b.json")).expect("a folder");
    assert_eq!(again(), "a.json:1:2: /$ref: $ref: b.json: is not a regular file");
    fs::write(folder.path().join("a.json"), b"{\"title\": \"\xff\"}").expect("written");
    assert_eq!(again(), "a.json: is not UTF-8 at byte 12");
    fs::write(folder.path().join("a.json"), b"").expect("written");
    assert!(
        again().starts_with("a.json:1:0: EOF") || again().starts_with("a.json: EOF"),
        "{}",
        again()
    );
    put_at(&plugin, "k", json!({})).expect("the old one still holds");
    assert!(put_at(&plugin, "k", json!(5)).is_err());
}

#[test]
fn a_faulty_schema_is_told_with_file_and_place() {
    for (text, said) in [
        ("{\"type\": ", "a.json:1:9: EOF while parsing a value\n"),
        ("{\"type\": \"object\", \"type\": \"object\"}", "a.json:1:25: duplicate key"),
        ("[]", "a.json:1:1: a schema is an object, true or false"),
        (
            r#"{"type": "strng"}"#,
            "a.json:1:2: /type: unknown type \"strng\"; did you mean \"string\"?",
        ),
        (
            r#"{"properties": {"a": {"minLenght": 1}}}"#,
            "a.json:1:23: /properties/a/minLenght: unknown keyword \"minLenght\"; did you mean \"minLength\"?",
        ),
        (
            r#"{"$defs": {"a/b": {"foo": 1}}}"#,
            "a.json:1:20: /$defs/a~1b/foo: unknown keyword \"foo\"; begin it with x-",
        ),
        (
            r#"{"anyOf": [true, {"Type": "string"}]}"#,
            "a.json:1:19: /anyOf/1/Type: unknown keyword \"Type\"; did you mean \"type\"?",
        ),
        (r#"{"dependencies": {}}"#, "write dependentRequired or dependentSchemas"),
        (
            r#"{"format": "emial"}"#,
            "a.json:1:2: /format: unknown format \"emial\"; did you mean \"email\"?",
        ),
        (
            r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
            "only draft 2020-12 is understood",
        ),
        (
            r#"{"properties": {"a": {"minLength": "1"}}}"#,
            "a.json:1:23: /properties/a/minLength: \"1\" is not of type \"integer\"",
        ),
        (r#"{"required": "title"}"#, "a.json:1:2: /required: \"title\" is not of type \"array\""),
        (r#"{"properties": {"a": 5}}"#, "a.json:1:17: /properties/a: a schema is an object"),
        (r#"{"pattern": "("}"#, "a.json:1:2: /pattern: "),
        (r#"{"pattern": "(?=a)b"}"#, "no pattern that can be matched in linear time"),
        (
            r##"{"$ref": "#/$defs/none"}"##,
            "a.json:1:2: /$ref: there is nothing at /$defs/none in a.json",
        ),
        (r##"{"$ref": "#none"}"##, "a.json:1:1: $ref: "),
        (
            r#"{"pattern": "((a{999}){999}){999}"}"#,
            "a.json:1:2: /pattern: \"((a{999}){999}){999}\" is no pattern that can be matched in linear time \
             and little memory",
        ),
        (r#"{"patternProperties": {"(a+)+\\1$": true}}"#, "no back-references"),
        (
            r#"{"anyOf": [{"x-keepboth-kind": ["json"]}]}"#,
            "x-keepboth-kind stands at the top of a file",
        ),
        (
            r#"{"x-keepboth-refused": [{"new": 1}]}"#,
            "a.json:1:2: /x-keepboth-refused: a list of {\"old\": …, \"new\": …, \"because\":",
        ),
        (
            r#"{"x-keepboth-transitoin": true}"#,
            "unknown keyword \"x-keepboth-transitoin\"; did you mean \"x-keepboth-transition\"?",
        ),
        (
            r#"{"x-keepboth-transition": {"tpye": "object"}}"#,
            "a.json:1:28: /x-keepboth-transition/tpye: unknown keyword",
        ),
        (r#"{"$ref": "none.json"}"#, "a.json:1:2: /$ref: $ref: none.json: cannot read it in "),
        (
            r#"{"x-keepboth-kind": ["blob"]}"#,
            "a.json:1:2: /x-keepboth-kind: a list of kinds is expected",
        ),
    ] {
        let words = faults(text);
        assert!(words.contains(said), "{text} gave\n{words}without\n{said}");
    }
}

#[test]
fn all_mistakes_of_all_files_are_told_together() {
    let folder = folder(&[
        ("a.json", json!({"tpye": "string", "properties": {"b": {"fromat": "email"}}})),
        ("c.json", json!({"type": "strin"})),
    ]);
    let bind = json!({"a/*": "a.json", "c": "c.json", "d": "missing.json"});
    let errors = build_in(folder.path(), json!({"bind": bind})).map(|_| ()).expect_err("refused");
    let pointers: Vec<_> = errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(pointers, ["/bind/a~1*", "/bind/a~1*", "/bind/c", "/bind/d"]);
}

#[test]
fn notes_of_ones_own_and_properties_of_any_name_are_no_keywords() {
    let schema = json!({
        "x-owner": {"any": "thing"},
        "properties": {"minLenght": true, "$ref": {"type": "string"}},
        "$defs": {"fromat": {"enum": [{"tpye": 1}], "default": {"tpye": 1}}},
        "patternProperties": {"^x-": false},
    });
    let folder = folder(&[("a.json", schema)]);
    assert!(build_in(folder.path(), json!({"bind": {"*": "a.json"}})).is_ok());
}

#[test]
fn a_reference_reaches_files_of_the_folder_only() {
    for reference in [
        "https://example.com/a.json",
        "http://127.0.0.1/a.json#/x",
        "file:///etc/passwd",
        "schema:///b.json",
        "/etc/passwd",
        "//host/b.json",
        "../b.json",
        "sub/../../b.json",
    ] {
        let words = faults(&json!({"properties": {"a": {"$ref": reference}}}).to_string());
        let said = "a.json:1:21: /properties/a/$ref: remote $ref is refused";
        assert!(words.contains(said), "{reference}: {words}");
    }
    // A base of its own makes a plain reference a remote one.
    let words = faults(r#"{"$id": "https://example.com/x.json", "$ref": "b.json"}"#);
    assert!(words.contains("remote $ref is refused"), "{words}");
    for reference in ["%2e%2e/b.json", "b.json?x=1", "%2Fetc%2Fpasswd"] {
        let words = faults(&json!({"$ref": reference}).to_string());
        assert!(words.contains("a.json:1:2: /$ref: "), "{reference}: {words}");
    }
}

#[test]
fn a_reference_to_a_file_of_the_folder_holds() {
    let folder = folder(&[
        ("a.json", json!({"properties": {"tag": {"$ref": "sub/tag.json#/$defs/tag"}}})),
        ("sub/tag.json", json!({"$defs": {"tag": {"$ref": "word.json"}}})),
        ("sub/word.json", json!({"type": "string", "maxLength": 3})),
        ("bad.json", json!({"$ref": "sub/typo.json"})),
        ("sub/typo.json", json!({"tpye": "string"})),
    ]);
    let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
    put_at(&plugin, "k", json!({"tag": "abc"})).expect("obeys");
    let words = words(put_at(&plugin, "k", json!({"tag": "abcd"})));
    assert_eq!(
        words,
        "a.json: /tag: \"abcd\" is longer than 3 characters (rule sub/word.json#/maxLength)"
    );
    let errors = build_in(folder.path(), json!({"bind": {"*": "bad.json"}})).map(|_| ());
    let errors = errors.expect_err("refused");
    assert!(errors[0].message.contains("sub/typo.json:1:2: /tpye: unknown keyword"), "{errors:?}");
}

#[test]
fn files_outside_the_folder_are_not_read() {
    let outside = folder(&[("secret.json", json!(true))]);
    let inside = folder(&[("a.json", json!(true)), ("sub/b.json", json!(true))]);
    let secret = outside.path().join("secret.json");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, inside.path().join("link.json")).expect("link");
        std::os::unix::fs::symlink(outside.path(), inside.path().join("dir")).expect("link");
        std::os::unix::fs::symlink("a.json", inside.path().join("inner.json")).expect("link");
        assert!(build_in(inside.path(), json!({"bind": {"*": "inner.json"}})).is_ok());
    }
    for (name, said) in [
        ("../secret.json", "outside the schemas folder"),
        ("/etc/passwd", "outside the schemas folder"),
        ("link.json", "leads out of the schemas folder"),
        ("dir/secret.json", "leads out of the schemas folder"),
        ("sub", "is not a regular file"),
        ("", "is no name of a schema file"),
        ("a\u{0}.json", "is no name of a schema file"),
        ("./a.json\n", "is no name of a schema file"),
    ] {
        let errors = build_in(inside.path(), json!({"bind": {"*": name}})).map(|_| ());
        let errors = errors.expect_err(name);
        assert!(errors[0].message.contains(said), "{name:?}: {errors:?}");
    }
}

#[test]
fn wrong_settings_are_told() {
    let errors = build_in(Path::new("."), json!({"bnid": {}})).map(|_| ()).expect_err("refused");
    assert!(errors[0].message.contains("unknown field `bnid`"), "{errors:?}");
    let schema = (FACTORY.schema)();
    assert!(schema["properties"]["bind"]["description"].is_string());
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[test]
fn what_peers_send_is_held_against_the_same_schemas() {
    let folder = folder(&[("n.json", json!({"type": "object", "required": ["title"]}))]);
    let settings = json!({"bind": {"note/*": "n.json"}, "strict": true});
    let plugin = build_in(folder.path(), settings).expect("built");
    let key = |text: &str| Key::new(text).expect("key");
    let good = Value::json(&json!({"title": 1}));
    assert_eq!(plugin.admit(&key("note/1"), Some(&good)), Ok(()));
    for (at, value) in [("note/1", json!({})), ("other", json!({"title": 1}))] {
        let refusal = plugin.admit(&key(at), Some(&Value::json(&value))).expect_err("refused");
        assert_eq!(refusal.code, Code::SchemaRefused, "{refusal}");
    }
    assert_eq!(plugin.admit(&key("other"), None), Ok(()), "a delete breaks no schema");
}

#[test]
fn a_fingerprint_tells_of_settings_and_of_every_file() {
    let print = |settings: Json, inner: &str| {
        let files = [
            ("a.json", json!({"$ref": "b.json"})),
            ("b.json", json!({"type": inner})),
            ("unused.json", json!({"type": inner})),
        ];
        build_in(folder(&files).path(), settings).expect("built").fingerprint()
    };
    let settings = json!({"bind": {"*": "a.json"}});
    let same = print(settings.clone(), "object");
    assert_eq!(same, print(settings.clone(), "object"));
    assert_ne!(same, print(settings, "array"), "a file that a $ref names");
    assert_ne!(same, print(json!({"bind": {"*": "a.json"}, "strict": true}), "object"));
    assert_ne!(same, print(json!({"bind": {"?": "a.json"}}), "object"));
}
