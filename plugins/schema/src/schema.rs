//! A schema file, checked and compiled.

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{Draft, PatternOptions, ReferencingError, ValidationError, Validator};
use keepboth_core::plugin::Draft as Value;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::Value as Json;

use crate::folder::Folder;
use crate::lint::kinds;
use crate::words::{self, SCHEME};

/// The kinds that a schema can look into.
const SEEN: &[&str] = &["json", "number", "string"];
/// Most memory of one compiled pattern; patterns match in linear time.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// The file's name in the folder.
    pub file: String,
    validator: Validator,
    kinds: Vec<&'static str>,
}

impl Schema {
    /// Reads, checks and compiles a file. The errors name file and place.
    pub fn load(folder: &Folder, file: &str) -> Result<Schema, Vec<String>> {
        let json = folder.read(file)?;
        let validator = compile(&json, file, folder.clone()).map_err(|why| vec![why])?;
        let named = json.get("x-keepboth-kind").map(kinds).transpose();
        let kinds = named.map_err(|why| vec![why])?.unwrap_or_else(|| SEEN.to_vec());
        Ok(Schema { file: file.to_owned(), validator, kinds })
    }

    /// Refuses a value that breaks the schema. Bytes and cbor pass unseen if `x-keepboth-kind` names
    /// them, and are refused otherwise, as are NaN and the infinities.
    pub fn check(&self, value: &mut Value) -> Result<(), Refusal> {
        let kind = value.value().kind().as_str();
        let refused = |words: String| Refusal::new(Code::SchemaRefused, words);
        if !self.kinds.contains(&kind) {
            let (file, allowed) = (&self.file, self.kinds.join(", "));
            let words = format!("{file}: the value is of kind {kind}, allowed here: {allowed}");
            return Err(refused(words).hint("a schema names its kinds in \"x-keepboth-kind\""));
        }
        if !SEEN.contains(&kind) {
            return Ok(());
        }
        let Some(tree) = value.tree() else {
            return Err(refused(format!(
                "{}: NaN and infinities have no place in JSON",
                self.file
            )));
        };
        words::faults(&self.file, &self.validator, tree).map_or(Ok(()), |words| Err(refused(words)))
    }
}

/// Compiles a schema that was read under this name: draft 2020-12, formats asserted.
pub fn compile(json: &Json, file: &str, folder: Folder) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .with_base_uri(format!("{SCHEME}:///{file}"))
        .with_retriever(folder)
        .build(json)
        .map_err(|e| format!("{file}: {}", why(&e)))
}

/// Why a schema does not compile.
fn why(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
    match error.kind() {
        Kind::Referencing(ReferencingError::Unretrievable { source, .. }) => {
            format!("{place}$ref: {source}")
        }
        Kind::Referencing(other) => format!("{place}$ref: {other}"),
        Kind::Format { format } if format == "regex" => format!(
            "{place}{} is no pattern that can be matched in linear time: no look-around, no back-references",
            error.instance()
        ),
        _ => format!("{place}{}", words::cut(&error.to_string())),
    }
}
