//! What a JSON Schema finds wrong, in words for people who edit the file.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{ValidationError, Validator};
use keepboth_core::ids::NodeId;
use keepboth_core::period;
use serde_json::Value as Json;

use super::durability::{DURABILITY_FORM, Durability};
use super::tree::{Part, join, parts};
use keepboth_core::unit::{Bytes, Period, SIZE_FORM};

/// A mistake and the JSON pointer of its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub pointer: String,
    /// The place to show if `pointer` was never written and has its default.
    pub or: Option<&'static str>,
    pub part: Part,
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake in what was set.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Mistake {
        let (pointer, message) = (pointer.into(), message.into());
        Mistake { pointer, or: None, part: Part::Value, message, hint: None }
    }

    /// Adds what would be right.
    pub fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }

    /// Puts the mistake on the name instead of what was set.
    pub fn on_key(mut self) -> Mistake {
        self.part = Part::Key;
        self
    }
}

/// Compiles a schema together with the forms that only we know.
pub(super) fn validator(schema: &Json) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_format("size", |text: &str| text.parse::<Bytes>().is_ok())
        .with_format("period", |text: &str| text.parse::<Period>().is_ok())
        .with_format("durability", |text: &str| text.parse::<Durability>().is_ok())
        .with_format("node-id", |text: &str| text.parse::<NodeId>().is_ok())
        .with_format("socket-address", |text: &str| text.parse::<std::net::SocketAddr>().is_ok())
        .build(schema)
        .map_err(|e| e.to_string())
}

/// All mistakes of a tree. `base` is the pointer at which the tree stands in the file.
pub(super) fn find(schema: &Json, tree: &Json, base: &str) -> Vec<Mistake> {
    match validator(schema) {
        Ok(validator) => {
            validator.iter_errors(tree).flat_map(|e| explain(schema, &e, base)).collect()
        }
        Err(why) => {
            vec![Mistake::new(base, format!("the schema of these settings is broken: {why}"))]
        }
    }
}

fn explain(schema: &Json, error: &ValidationError<'_>, base: &str) -> Vec<Mistake> {
    let pointer = format!("{base}{}", error.instance_path().as_str());
    let one = |message: String| vec![Mistake::new(pointer.as_str(), message)];
    let value = shown(error.instance());
    let name = parts(&pointer).pop().unwrap_or_default();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = siblings(schema, error.schema_path().as_str());
            unexpected.iter().map(|key| unknown(&pointer, key, &known)).collect()
        }
        // Its message is a regular expression; the format next to it says the same in words.
        Kind::Pattern { .. } if has_format(schema, error) => Vec::new(),
        Kind::Format { format } => {
            vec![
                Mistake::new(&pointer, format!("{value} is not {}", form_name(format)))
                    .hint(form(format)),
            ]
        }
        Kind::Type { kind } => one(format!("{name} is {}, not {value}", type_words(kind))),
        Kind::Enum { options } => {
            let known: Vec<String> =
                options.as_array().into_iter().flatten().map(text_of).collect();
            vec![no_choice(&pointer, error.instance(), &known)]
        }
        Kind::OneOfNotValid { context } => match choices(context) {
            Some(known) => vec![no_choice(&pointer, error.instance(), &known)],
            None => one(error.to_string()),
        },
        Kind::Minimum { limit } => one(format!("{name} is at least {limit}, not {value}")),
        Kind::Maximum { limit } => one(format!("{name} is at most {limit}, not {value}")),
        Kind::MinLength { limit: 1 } => one(format!("{name} is empty")),
        Kind::MinProperties { .. } => one(format!("[{name}] is empty")),
        Kind::Required { property } => {
            let missing = format!("{} has no key {property}", section(&pointer));
            vec![Mistake::new(&pointer, missing).on_key()]
        }
        _ => one(error.to_string()),
    }
}

/// The texts that may stand there, if each branch of a `oneOf` is one: so are choices written of which
/// each has its description.
fn choices(branches: &[Vec<ValidationError<'_>>]) -> Option<Vec<String>> {
    let of_branch = |errors: &Vec<ValidationError<'_>>| {
        errors.iter().find_map(|error| match error.kind() {
            Kind::Constant { expected_value } => Some(vec![text_of(expected_value)]),
            Kind::Enum { options } => Some(options.as_array()?.iter().map(text_of).collect()),
            _ => None,
        })
    };
    let known: Option<Vec<Vec<String>>> = branches.iter().map(of_branch).collect();
    known.map(|known| known.concat())
}

/// None of the choices, with those or the one that was probably meant.
fn no_choice(pointer: &str, given: &Json, known: &[String]) -> Mistake {
    let (value, mut keys) = (shown(given), parts(pointer));
    let name = keys.pop().unwrap_or_default();
    let message = match (name.parse::<usize>(), keys.pop()) {
        (Ok(_), Some(list)) => format!("{value} cannot stand in {list}"),
        _ => format!("{value} is no {name}"),
    };
    let hint = did_you_mean(&text_of(given), known, "one of");
    Mistake::new(pointer, message).hint(hint)
}

/// An unknown key in a section, with the known ones or the one that was probably meant.
fn unknown(section_pointer: &str, key: &str, known: &[String]) -> Mistake {
    let message = format!("unknown key {key:?} {}", within(section_pointer));
    let hint = did_you_mean(key, known, "known here are");
    Mistake::new(join(section_pointer, key), message).hint(hint).on_key()
}

/// `did you mean "listen"?`, or the list of all if none is near.
pub(super) fn did_you_mean(given: &str, known: &[String], otherwise: &str) -> String {
    let near = |name: &&String| strsim::damerau_levenshtein(&given.to_lowercase(), name);
    let best = known.iter().min_by_key(near);
    match best {
        Some(name) if near(&name) <= 1.max(name.chars().count() / 3) => {
            format!("did you mean {name:?}?")
        }
        _ if known.is_empty() => "there are none".to_owned(),
        _ => format!("{otherwise} {}", known.join(", ")),
    }
}

/// The keys that may stand where one was refused.
fn siblings(schema: &Json, refused_at: &str) -> Vec<String> {
    let parent = refused_at.rfind('/').map_or("", |end| &refused_at[..end]);
    let known = schema.pointer(&format!("{parent}/properties")).and_then(Json::as_object);
    known.into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// The name of a section as it stands in TOML: `[server]`, `[[namespaces.notes.plugins]]`.
pub(super) fn section(pointer: &str) -> String {
    let keys = parts(pointer);
    // A table within one of a list is named after the list. A namespace may be called by a number.
    let is_place =
        |at: usize| keys[at].parse::<usize>().is_ok() && at > 0 && keys[at - 1] != "namespaces";
    let names = (0..keys.len()).filter(|at| !is_place(*at)).map(|at| keys[at].as_str());
    let name = names.collect::<Vec<_>>().join(".");
    match keys.len().checked_sub(1) {
        None => "the file".to_owned(),
        Some(last) if is_place(last) => format!("[[{name}]]"),
        Some(_) => format!("[{name}]"),
    }
}

fn within(pointer: &str) -> String {
    if pointer.is_empty() {
        "at the top level".to_owned()
    } else {
        format!("in {}", section(pointer))
    }
}

fn has_format(schema: &Json, error: &ValidationError<'_>) -> bool {
    let path = error.schema_path().as_str();
    let parent = path.rfind('/').map_or("", |end| &path[..end]);
    schema.pointer(parent).is_some_and(|here| here.get("format").is_some())
}

fn form_name(format: &str) -> String {
    match format {
        "size" => "a size".to_owned(),
        "period" => "a period".to_owned(),
        "durability" => "a durability".to_owned(),
        "socket-address" => "an address with port".to_owned(),
        "node-id" => "the id of a node".to_owned(),
        other => format!("of the form {other}"),
    }
}

fn form(format: &str) -> &'static str {
    match format {
        "size" => SIZE_FORM,
        "period" => period::FORM,
        "durability" => DURABILITY_FORM,
        "socket-address" => "an address looks like \"127.0.0.1:7400\" or \"[::1]:7400\"",
        "node-id" => "it has 64 hex digits, 0-9 and a-f; `keepboth peer ls` shows it",
        _ => "see the JSON Schema of these settings",
    }
}

fn type_words(kind: &TypeKind) -> String {
    let word = |name: String| match name.as_str() {
        "string" => "a text in quotes".to_owned(),
        "integer" => "a whole number".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => "a list in [ ]".to_owned(),
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(one) => word(one.to_string()),
        TypeKind::Multiple(set) => {
            let words: Vec<_> = set.iter().map(|one| word(one.to_string())).collect();
            words.join(" or ")
        }
    }
}

fn text_of(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value as it may stand in a message: not longer than a line.
fn shown(value: &Json) -> String {
    match value {
        Json::Object(_) => "a table".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(60) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}
