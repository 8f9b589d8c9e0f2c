//! What a validator finds, in words with file, place and rule.

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{ValidationError, Validator};
use keepboth_core::limits::figure;
use serde_json::Value as Json;

use crate::work::STEPS_MAX;

/// The scheme under which the files know each other; nothing outside this crate understands it.
pub const SCHEME: &str = "schema";

/// What is said of a `$ref` to the network or out of the folder.
pub const REMOTE: &str = "remote $ref is refused; name a file inside the schemas folder";

/// Most mistakes that one message tells.
const TOLD_MAX: usize = 3;
/// Most characters of one mistake.
const CHARS_MAX: usize = 240;

/// All that a validator finds wrong with a value in one line; None if nothing.
/// `note.schema.json: /title: "" is shorter than 1 character (rule /properties/title/minLength)`.
pub fn faults(file: &str, validator: &Validator, value: &Json) -> Option<String> {
    let mut errors = validator.iter_errors(value);
    let told: Vec<String> = errors.by_ref().take(TOLD_MAX).map(|e| fault(file, &e)).collect();
    if told.is_empty() {
        return None;
    }
    let more = match errors.count() {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    Some(format!("{file}: {}{more}", told.join("; ")))
}

/// What is said of a value that is wrong where it would take too long to say where.
pub fn untold(file: &str) -> String {
    format!(
        "{file}: the value breaks the schema; where is not told, for its branches and levels may take \
         more than {} steps to search",
        figure(STEPS_MAX as usize)
    )
}

fn fault(file: &str, error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    format!("{place}{} (rule {})", cut(&message(error)), rule(file, error))
}

/// The message without the parts of a value that would fill pages.
fn message(error: &ValidationError<'_>) -> String {
    match (error.kind(), error.instance().as_ref()) {
        (Kind::FalseSchema, _) => "nothing may stand here".to_owned(),
        (_, Json::Object(_)) => error.masked_with("the object").to_string(),
        (_, Json::Array(_)) => error.masked_with("the list").to_string(),
        (_, Json::String(text)) if text.chars().count() > 60 => error
            .masked_with(format!("the text of {} characters", text.chars().count()))
            .to_string(),
        _ => error.to_string(),
    }
}

/// The pointer of the broken rule; with its file if that is another one.
fn rule(file: &str, error: &ValidationError<'_>) -> String {
    let absolute = error.absolute_keyword_location().map(|uri| uri.as_str().to_owned());
    let prefix = format!("{SCHEME}:///");
    let other = absolute
        .as_deref()
        .and_then(|uri| uri.strip_prefix(&prefix))
        .filter(|uri| uri.split('#').next().is_some_and(|rule_file| rule_file != file));
    other.unwrap_or(error.schema_path().as_str()).to_owned()
}

/// The beginning of a text that is too long for a message.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
