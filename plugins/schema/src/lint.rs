//! Mistakes in a schema that validators pass over in silence: a mistyped keyword checks nothing.

use jsonschema::Draft;
use serde_json::Value as Json;

use crate::keywords::{self, ALLOWED, KIND, MANY, NAMED, ONE, REFUSED, TRANSITION, join};
use crate::words::{REMOTE, cut};

/// The kinds of values, by their names in frames.
pub const KINDS: &[&str] = &["bytes", "cbor", "json", "number", "string"];

/// The dialect that all schemas here are written in.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

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
/// Our own keywords, besides the one that holds a schema.
const OWN: &[&str] = &[ALLOWED, KIND, REFUSED];
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

/// Something wrong in a schema, and the JSON pointer of its place.
pub struct Found {
    pub pointer: String,
    pub message: String,
}

/// Everything wrong with a schema by itself. The schema must not be deeper than the parser allows.
pub fn faults(schema: &Json) -> Vec<Found> {
    let mut found = Vec::new();
    keywords::each(schema, &mut |pointer, schema| look_at(pointer, schema, &mut found));
    if found.is_empty() {
        // Its words are those of a machine, so it speaks only of what we did not find.
        let meta = jsonschema::draft202012::meta::validator();
        found.extend(meta.iter_errors(schema).map(|e| Found {
            pointer: e.instance_path().as_str().to_owned(),
            message: cut(&e.to_string()),
        }));
    }
    found
}

fn look_at(pointer: &str, schema: &Json, found: &mut Vec<Found>) {
    let mut tell = |pointer: String, message: String| found.push(Found { pointer, message });
    let Some(members) = schema.as_object() else {
        if !schema.is_boolean() {
            tell(pointer.to_owned(), "a schema is an object, true or false".to_owned());
        }
        return;
    };
    for (keyword, value) in members {
        let here = join(pointer, keyword);
        let for_files = [KIND, TRANSITION, ALLOWED, REFUSED].contains(&keyword.as_str());
        if for_files && !pointer.is_empty() {
            tell(here, format!("{keyword} stands at the top of a file"));
        } else if !keywords::holds_schemas(keyword)
            && let Some(message) = plain(keyword, value)
        {
            tell(here, message);
        }
    }
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
        KIND => kinds(value).err(),
        ALLOWED => cases(value, &["old", "new"]),
        REFUSED => cases(value, &["new", "because"]),
        _ if keyword.starts_with("x-keepboth-") => Some(unknown_keyword(keyword)),
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
    let all: Vec<&str> = [ONE, MANY, NAMED, OWN, PLAIN].concat();
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

/// What is wrong with a list of cases: objects with `old`, `new` and `because`, some of which are needed.
fn cases(value: &Json, needed: &[&str]) -> Option<String> {
    let known = ["because", "new", "old"];
    let is_case = |case: &Json| {
        let members = case.as_object();
        members.is_some_and(|members| {
            needed.iter().all(|name| members.contains_key(*name))
                && members.keys().all(|name| known.contains(&name.as_str()))
                && members.get("because").is_none_or(Json::is_string)
        })
    };
    let sound = value.as_array().is_some_and(|list| list.iter().all(is_case));
    let form =
        "a list of {\"old\": …, \"new\": …, \"because\": \"a part of the refusal\"} is expected";
    (!sound).then(|| format!("{form}; needed here: {}", needed.join(", ")))
}

/// The kinds that `x-keepboth-kind` names.
pub fn kinds(value: &Json) -> Result<Vec<&'static str>, String> {
    let known = |name: &Json| KINDS.iter().copied().find(|kind| name.as_str() == Some(kind));
    let list = value.as_array().filter(|list| !list.is_empty());
    let kinds: Option<Vec<_>> = list.and_then(|list| list.iter().map(known).collect());
    kinds.ok_or_else(|| format!("a list of kinds is expected, which are {}", KINDS.join(", ")))
}
