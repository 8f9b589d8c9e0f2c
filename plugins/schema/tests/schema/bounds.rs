//! Schemas and values that would take too much: each has an end, and a clear word.

use keepboth_core::name::Key;
use keepboth_core::value::Value;
use serde_json::{Value as Json, json};

use crate::harness::{build_in, faults, folder, put_at, words};

#[test]
fn a_schema_too_large_or_too_deep_is_an_error_and_no_crash() {
    let deep = "{\"not\":".repeat(10_000) + "true" + &"}".repeat(10_000);
    assert!(faults(&deep).contains("levels"), "{}", faults(&deep));
    let large = json!({"description": "x".repeat(256 << 10)}).to_string();
    assert!(faults(&large).contains("is over the limit of 262,144 bytes"));
    let drawn = |n: usize| (format!("f{n}.json"), json!({"$ref": format!("f{}.json", n + 1)}));
    let chain: Vec<(String, Json)> = (0..101).map(drawn).collect();
    let chain: Vec<(&str, Json)> = chain.iter().map(|(n, j)| (n.as_str(), j.clone())).collect();
    let built = build_in(folder(&chain).path(), json!({"bind": {"*": "f0.json"}}));
    let errors = built.map(|_| ()).expect_err("refused");
    let said = "f99.json:1:2: /$ref: $ref: f100.json: is over the limit of 100 files";
    assert!(errors[0].message.contains(said), "{errors:?}");
}

#[test]
fn a_long_chain_of_references_is_compiled_or_refused_but_never_crashes() {
    type Link = fn(String) -> Json;
    let links: [Link; 4] = [
        |to| json!({"$ref": to}),
        |to| json!({"not": {"$ref": to}}),
        |to| json!({"allOf": [{"$ref": to}]}),
        |to| json!({"properties": {"a": {"$ref": to}}}),
    ];
    for link in links {
        let entry = |i: usize| (format!("d{i}"), link(format!("#/$defs/d{}", i + 1)));
        let mut defs: serde_json::Map<_, _> = (0..4_000).map(entry).collect();
        defs.insert("d4000".into(), json!({"type": "string"}));
        let folder = folder(&[("a.json", json!({"$defs": defs, "$ref": "#/$defs/d0"}))]);
        let built = build_in(folder.path(), json!({"bind": {"*": "a.json"}}));
        let _ = built.map(|plugin| put_at(&plugin, "k", json!("x")));
    }
}

#[test]
fn a_reference_that_leads_back_to_itself_is_refused_and_one_into_a_part_is_not() {
    for (files, said) in [
        (vec![("a.json", json!({"$ref": "#"}))], "a.json:1:2: /$ref: $ref leads back to itself"),
        (
            vec![("a.json", json!({"allOf": [true, {"$ref": "#"}]}))],
            "a.json:1:17: /allOf/1/$ref: $ref leads back to itself",
        ),
        (
            vec![
                ("a.json", json!({"$ref": "b.json"})),
                ("b.json", json!({"not": {"$ref": "a.json"}})),
            ],
            "/$ref: $ref leads back to itself without looking at any part of the value; it would never end",
        ),
        (
            vec![("a.json", json!({"x-keepboth-transition": {"$ref": "#/x-keepboth-transition"}}))],
            "a.json:1:27: /x-keepboth-transition/$ref: $ref leads back to itself",
        ),
    ] {
        let folder = folder(&files);
        let built = build_in(folder.path(), json!({"bind": {"*": "a.json"}}));
        let errors = built.map(|_| ()).expect_err(said);
        assert!(errors[0].message.contains(said), "{errors:?}\nlacks\n{said}");
    }
    let tree = json!({"required": ["n"], "properties": {"n": {"type": "number"}, "list": {
        "items": {"$ref": "#"}}, "next": {"$ref": "b.json"}}});
    let folder = folder(&[("a.json", tree), ("b.json", json!({"$ref": "a.json"}))]);
    let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
    put_at(&plugin, "k", json!({"n": 1, "next": {"n": 2, "list": [{"n": 3}]}})).expect("passes");
    let words = words(put_at(&plugin, "k", json!({"n": 1, "next": {"n": 2, "list": [{}]}})));
    assert!(words.starts_with("a.json: /next/list/0: \"n\" is a required property"), "{words}");
}

/// `{"arg": {"arg": … inner}}`, so many levels of it.
fn nested(levels: usize, inner: Json) -> Json {
    (0..levels).fold(inner, |inner, _| json!({"arg": inner}))
}

#[test]
fn a_deep_value_in_a_schema_with_branches_that_lead_back_to_it_is_judged_at_once() {
    let node = |branches: &str, reference: Json| {
        let branch = |op: &str| json!({"properties": {"arg": reference, "op": {"const": op}}});
        json!({branches: [branch("not"), branch("neg"), {"type": "number"}]})
    };
    let pointed = json!({"$ref": "#/$defs/node"});
    let hidden = json!({"$ref": "#/x-defs/node"});
    for schema in [
        json!({"$ref": "#/$defs/node", "$defs": {"node": node("oneOf", pointed.clone())}}),
        json!({"$ref": "#/$defs/node", "$defs": {"node": node("allOf", pointed)}}),
        json!({"$ref": "#/x-defs/node", "x-defs": {"node": node("oneOf", hidden)}}),
        json!({"$dynamicAnchor": "top", "oneOf": node("oneOf", json!({"$dynamicRef": "#top"}))["oneOf"]}),
        json!({"$anchor": "top", "oneOf": node("oneOf", json!({"$ref": "#top"}))["oneOf"]}),
        json!({"$defs": {"b": {"$id": "b", "oneOf": node("oneOf", json!({"$ref": "b"}))["oneOf"]}},
            "$ref": "#/$defs/b"}),
    ] {
        let folder = folder(&[("a.json", schema)]);
        let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
        let deep = nested(40, json!("x"));
        assert_eq!(
            words(put_at(&plugin, "k", deep.clone())),
            "a.json: the value breaks the schema; where is not told, for its branches and levels may \
             take more than 50,000 steps to search"
        );
        let key = Key::new("k").expect("key");
        assert!(plugin.admit(&key, Some(&Value::json(&deep))).is_err(), "of a peer too");
    }
}

#[test]
fn a_deep_value_is_told_its_places_where_no_branches_multiply() {
    let list = json!({"properties": {"arg": {"$ref": "#"}, "n": {"type": "number"}}});
    let either = json!({"oneOf": [
        {"properties": {"op": {"const": "not"}, "arg": {"$ref": "#"}}, "type": "object"},
        {"type": "number"},
    ]});
    let anchored = json!({"$anchor": "top", "additionalProperties": {"$ref": "#top"},
        "type": ["object", "number"]});
    for schema in [list, either, anchored] {
        let folder = folder(&[("a.json", schema)]);
        let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
        put_at(&plugin, "k", nested(40, json!({"n": 1}))).expect("passes");
        let words = words(put_at(&plugin, "k", nested(40, json!({"n": "x", "op": 1}))));
        assert!(words.contains(" (rule "), "{words}");
    }
}

#[test]
fn a_deep_value_that_obeys_a_schema_with_branches_passes_at_once() {
    let inner = json!({"properties": {"arg": {"$ref": "#/$defs/node"}}});
    for node in [
        json!({"anyOf": [inner, inner, inner]}),
        json!({"allOf": [inner, inner], "unevaluatedProperties": false}),
        json!({"anyOf": [inner, {"not": inner}, inner], "unevaluatedProperties": {"$ref": "#/$defs/node"}}),
        json!({"if": inner, "then": inner, "dependentSchemas": {"arg": inner}}),
        json!({"not": {"not": inner}, "additionalProperties": {"$ref": "#/$defs/node"}}),
    ] {
        let schema = json!({"$ref": "#/$defs/node", "$defs": {"node": node}});
        let folder = folder(&[("a.json", schema)]);
        let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
        put_at(&plugin, "k", nested(60, json!({}))).unwrap_or_else(|e| panic!("{node}: {e}"));
    }
}

#[test]
fn many_mistakes_at_a_place_with_a_long_name_do_not_fill_the_memory() {
    let schema = json!({"additionalProperties": {"items": {"type": "number"}}});
    let folder = folder(&[("a.json", schema)]);
    let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
    let at = |name: &str| json!({name: vec!["x"; 10_000]});
    assert!(words(put_at(&plugin, "k", at("short"))).contains("; and 9997 more"));
    assert!(words(put_at(&plugin, "k", at(&"x".repeat(30_000)))).contains("where is not told"));
}

#[test]
fn a_schema_that_doubles_its_work_at_each_step_is_refused_with_its_place() {
    type Step = fn(Json) -> Json;
    let steps: [Step; 4] = [
        |to| json!({"allOf": [to, to]}),
        |to| json!({"anyOf": [to, to], "type": "object"}),
        |to| json!({"properties": {"a": {"oneOf": [to, to]}}}),
        |to| json!({"properties": {"a": to}, "additionalProperties": to, "patternProperties": {"a": to}}),
    ];
    for step in steps {
        let entry =
            |i: usize| (format!("a{i}"), step(json!({"$ref": format!("#/$defs/a{}", i + 1)})));
        let mut defs: serde_json::Map<_, _> = (0..40).map(entry).collect();
        defs.insert("a40".into(), json!({"type": "object"}));
        let words = faults(&json!({"$defs": defs, "$ref": "#/$defs/a0"}).to_string());
        let said =
            "the schemas that this one leads to ask one part of a value more than 10,000 times";
        assert!(words.starts_with("a.json:1:") && words.contains(said), "{words}");
        assert!(words.contains(": /$defs/a"), "{words}");
    }
}

#[test]
fn schemas_that_lead_to_each_other_in_every_way_are_compiled() {
    let names: Vec<String> = (0..20).map(|i| format!("t{i}")).collect();
    let all = names.iter().map(|name| json!({"$ref": format!("#/$defs/{name}")}));
    let any = json!({"oneOf": all.collect::<Vec<_>>()});
    let kind = |name: &String| {
        let properties = json!({"kind": {"const": name}, "left": any, "right": any});
        (name.clone(), json!({"properties": properties, "required": ["kind"]}))
    };
    let defs: serde_json::Map<_, _> = names.iter().map(kind).collect();
    let schema = json!({"$defs": defs, "oneOf": any["oneOf"]});
    let folder = folder(&[("a.json", schema)]);
    let plugin = build_in(folder.path(), json!({"bind": {"*": "a.json"}})).expect("built");
    let leaf = json!({"kind": "t1"});
    let tree =
        (0..40).fold(leaf.clone(), |tree, _| json!({"kind": "t2", "left": tree, "right": leaf}));
    put_at(&plugin, "k", tree.clone()).expect("passes");
    let broken = json!({"kind": "t3", "left": tree, "right": {"kind": "none"}});
    assert!(put_at(&plugin, "k", broken).is_err());
}
