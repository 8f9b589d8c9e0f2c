//! Mistakes in a schema that validators pass over in silence: a mistyped keyword checks nothing.

use jsonschema::Draft;
use serde_json::{Map, Value as Json};

use crate::words::{REMOTE, cut};

/// The kinds of values, by their names in frames.
const KINDS: &[&str] = &["bytes", "cbor", "json", "number", "string"];

/// The dialect that all schemas here are written in.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords whose value is a schema.
const ONE: &[&str] = &[
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
const MANY: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object with a schema under each name.
const NAMED: &[&str] =
    &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// All other keywords of draft 2020-12.
const PLAIN: &[&str] = &[
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];
/// Keywords of other drafts, and what draft 2020-12 has instead.
const OTHER_DRAFTS: &[(&str, &str)] = &[
    ("$recursiveAnchor", "$dynamicAnchor"),
    ("$recursiveRef", "$dynamicRef"),
    ("additionalItems", "items beside prefixItems"),
    ("dependencies", "dependentRequired or dependentSchemas"),
    ("divisibleBy", "multipleOf"),
    ("id", "$id"),
];
/// The types of JSON.
const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];
/// The formats of draft 2020-12.
const FORMATS: &[&str] = &[
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Everything wrong with a schema by itself, each with its JSON pointer: `/properties/a: …`. The
/// schema must not be deeper than the parser allows.
pub fn faults(schema: &Json) -> Vec<String> {
    let mut found = Vec::new();
    walk("", schema, &mut found);
    if found.is_empty() {
        // Its words are those of a machine, so it speaks only of what we did not find.
        let meta = jsonschema::draft202012::meta::validator();
        let told = |e: jsonschema::ValidationError<'_>| {
            format!("{}{}", lead(e.instance_path().as_str()), cut(&e.to_string()))
        };
        found.extend(meta.iter_errors(schema).map(told));
    }
    found
}

fn lead(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

fn walk(pointer: &str, schema: &Json, found: &mut Vec<String>) {
    let Some(keywords) = schema.as_object() else {
        if !schema.is_boolean() {
            found.push(format!("{}a schema is an object, true or false", lead(pointer)));
        }
        return;
    };
    for (keyword, value) in keywords {
        let here = join(pointer, keyword);
        let word = keyword.as_str();
        if ONE.contains(&word) {
            walk(&here, value, found);
        } else if MANY.contains(&word) {
            let items = value.as_array().into_iter().flatten().enumerate();
            items.for_each(|(i, item)| walk(&format!("{here}/{i}"), item, found));
        } else if NAMED.contains(&word) {
            let named: Option<&Map<_, _>> = value.as_object();
            named.into_iter().flatten().for_each(|(k, v)| walk(&join(&here, k), v, found));
        } else if let Some(fault) = plain(word, value) {
            found.push(format!("{here}: {fault}"));
        }
    }
}

fn join(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

/// What is wrong with a keyword that holds no schema.
fn plain(keyword: &str, value: &Json) -> Option<String> {
    match keyword {
        "$schema" if value.as_str().map(|s| s.trim_end_matches('#')) != Some(DIALECT) => {
            Some(format!("only draft 2020-12 is understood: {DIALECT:?}"))
        }
        "$ref" | "$dynamicRef" => {
            value.as_str().filter(|to| is_remote(to)).map(|to| format!("{REMOTE}: {to}"))
        }
        "type" => {
            let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            list.iter().filter_map(Json::as_str).find_map(|name| unknown("type", name, TYPES))
        }
        "format" => {
            let name = value.as_str()?;
            let known = jsonschema::options().is_known_format(Draft::Draft202012, name);
            if known { None } else { unknown("format", name, &known_formats()) }
        }
        "x-keepboth-kind" => kinds(value).err(),
        _ if PLAIN.contains(&keyword) || keyword.starts_with("x-") => None,
        _ => Some(unknown_keyword(keyword)),
    }
}

fn known_formats() -> Vec<&'static str> {
    let options = jsonschema::options();
    let known = |name: &&str| options.is_known_format(Draft::Draft202012, name);
    FORMATS.iter().copied().filter(known).collect()
}

/// True for a reference that could only lead out of the folder.
fn is_remote(reference: &str) -> bool {
    let file = reference.split('#').next().unwrap_or_default();
    file.contains(':') || file.starts_with('/') || file.split('/').any(|part| part == "..")
}

fn unknown_keyword(keyword: &str) -> String {
    if let Some((_, instead)) = OTHER_DRAFTS.iter().find(|(name, _)| *name == keyword) {
        return format!("{keyword:?} is not of draft 2020-12; write {instead}");
    }
    let all: Vec<&str> = [ONE, MANY, NAMED, PLAIN].concat();
    let hint = near(keyword, &all).map(|name| format!("did you mean {name:?}?"));
    let hint = hint.unwrap_or_else(|| "begin it with x- if it is a note of your own".to_owned());
    format!("unknown keyword {keyword:?}; {hint}")
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Option<String> {
    if known.contains(&name) {
        return None;
    }
    let hint = near(name, known).map(|name| format!("did you mean {name:?}?"));
    let hint = hint.unwrap_or_else(|| format!("there are {}", known.join(", ")));
    Some(format!("unknown {what} {name:?}; {hint}"))
}

/// The known name that was probably meant.
fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance =
        |known: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let best = known.iter().copied().min_by_key(distance)?;
    (distance(&best) <= 1.max(best.len() / 3)).then_some(best)
}

/// The kinds that `x-keepboth-kind` names.
pub fn kinds(value: &Json) -> Result<Vec<&'static str>, String> {
    let known = |name: &Json| KINDS.iter().copied().find(|kind| name.as_str() == Some(kind));
    let list = value.as_array().filter(|list| !list.is_empty());
    let kinds: Option<Vec<_>> = list.and_then(|list| list.iter().map(known).collect());
    kinds.ok_or_else(|| format!("a list of kinds is expected, which are {}", KINDS.join(", ")))
}
