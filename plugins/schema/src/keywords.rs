//! The keywords of a schema: what stands under them, and how to get at the schemas within a schema.

use serde_json::{Map, Value as Json};

/// The schema of a step, asked of `{"old": …, "new": …}`.
pub const TRANSITION: &str = "x-keepboth-transition";
/// The kinds of values that a schema lets pass.
pub const KIND: &str = "x-keepboth-kind";
/// Steps that must pass: `{"old": …, "new": …}`.
pub const ALLOWED: &str = "x-keepboth-allowed";
/// Values or steps that must be refused: `{"old": …, "new": …, "because": "…"}`.
pub const REFUSED: &str = "x-keepboth-refused";

/// Keywords whose value is a schema.
pub const ONE: &[&str] = &[
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
    TRANSITION,
];
/// Keywords whose value is a list of schemas.
pub const MANY: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object with a schema under each name.
pub const NAMED: &[&str] =
    &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// Those whose schemas are asked of the very same value.
const IN_PLACE: &[&str] =
    &["allOf", "anyOf", "dependentSchemas", "else", "if", "not", "oneOf", "then"];
/// Those whose schemas are only asked if a reference leads there, or not at all.
const NOT_ASKED: &[&str] = &["$defs", "contentSchema", "definitions", TRANSITION];

/// Calls `visit` with each schema within a schema, itself first, and the JSON pointer of each. What is
/// no schema is given too. The schema must not be deeper than the parser allows.
pub fn each<'a>(schema: &'a Json, visit: &mut dyn FnMut(&str, &'a Json)) {
    walk("", schema, visit);
}

fn walk<'a>(pointer: &str, schema: &'a Json, visit: &mut dyn FnMut(&str, &'a Json)) {
    visit(pointer, schema);
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        under(&join(pointer, keyword), keyword, value, &mut |pointer, inner| {
            walk(pointer, inner, visit);
        });
    }
}

/// Of which part of its value a schema asks another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The very same value.
    Whole,
    /// The member of this name.
    Member(String),
    /// The item at this place, from 0.
    Item(usize),
    /// Members or items, any of them.
    Each,
}

/// Calls `visit` with each schema that this one asks of its value or of a part of it, and the JSON pointer
/// of each. References are left out.
pub fn asked(pointer: &str, schema: &Map<String, Json>, visit: &mut dyn FnMut(Part, &str)) {
    for (keyword, value) in schema {
        let keyword = keyword.as_str();
        let here = join(pointer, keyword);
        let last = |inner: &str| parts(inner).pop().unwrap_or_default();
        let part = |inner: &str| match keyword {
            _ if IN_PLACE.contains(&keyword) => Part::Whole,
            "properties" => Part::Member(last(inner)),
            "prefixItems" => last(inner).parse().map_or(Part::Each, Part::Item),
            _ => Part::Each,
        };
        if !NOT_ASKED.contains(&keyword) {
            under(&here, keyword, value, &mut |inner, _| visit(part(inner), inner));
        }
    }
}

/// The schemas directly under a keyword.
fn under<'a>(here: &str, keyword: &str, value: &'a Json, visit: &mut dyn FnMut(&str, &'a Json)) {
    if ONE.contains(&keyword) {
        visit(here, value);
    } else if MANY.contains(&keyword) {
        let items = value.as_array().into_iter().flatten().enumerate();
        items.for_each(|(i, item)| visit(&format!("{here}/{i}"), item));
    } else if NAMED.contains(&keyword) {
        let named = value.as_object().into_iter().flatten();
        named.for_each(|(name, inner)| visit(&join(here, name), inner));
    }
}

/// True if the keyword's value is looked into as schemas.
pub fn holds_schemas(keyword: &str) -> bool {
    ONE.contains(&keyword) || MANY.contains(&keyword) || NAMED.contains(&keyword)
}

/// A JSON pointer (RFC 6901) with one part more.
pub fn join(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

/// The parts of a JSON pointer.
pub fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}
