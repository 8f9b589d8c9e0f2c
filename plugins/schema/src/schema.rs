//! A schema file, checked and compiled.

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{Draft, PatternOptions, ReferencingError, ValidationError, Validator};
use keepboth_core::plugin::Draft as Value;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::{Map, Value as Json, json};

use crate::fault::Fault;
use crate::folder::{Folder, SchemaFile};
use crate::keywords::{KIND, TRANSITION};
use crate::lint::kinds;
use crate::refs;
use crate::words::{self, SCHEME};
use crate::work::Work;

/// The kinds that a schema can look into.
const SEEN: &[&str] = &["json", "number", "string"];
/// Most memory of one compiled pattern; patterns match in linear time.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// The file's name in the folder.
    pub file: String,
    rule: Rule,
    transition: Option<Rule>,
    kinds: Vec<&'static str>,
}

impl Schema {
    /// Reads, checks and compiles a file, or tells all that is wrong with it and with what it draws in.
    pub fn load(folder: &Folder, name: &str) -> Result<Schema, Vec<Fault>> {
        let file = folder.read(name)?;
        let work = Arc::new(refs::work(folder, &file)?);
        let rule = |pointer: &str| {
            Rule::compile(&file, folder, pointer, &work).map_err(|fault| vec![fault])
        };
        let transition = file.json.get(TRANSITION).map(|_| rule(&format!("/{TRANSITION}")));
        let named = file.json.get(KIND).and_then(|named| kinds(named).ok());
        let kinds = named.unwrap_or_else(|| SEEN.to_vec());
        let (rule, transition) = (rule("")?, transition.transpose()?);
        Ok(Schema { file: name.to_owned(), rule, transition, kinds })
    }

    /// The schema at this pointer of its file alone.
    pub fn part(&self, file: &SchemaFile, folder: &Folder, pointer: &str) -> Result<Rule, Fault> {
        Rule::compile(file, folder, pointer, &self.rule.work)
    }

    /// True if values of this kind may pass at all.
    pub fn takes(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }

    /// True if what stood there before is asked for.
    pub fn looks_back(&self) -> bool {
        self.transition.is_some()
    }

    /// Refuses a value that breaks the schema. Bytes and cbor pass unseen if `x-keepboth-kind` names
    /// them, and are refused otherwise, as are NaN and the infinities.
    pub fn check(&self, value: &mut Value) -> Result<(), Refusal> {
        let kind = value.value().kind().as_str();
        if !self.takes(kind) {
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
        self.rule.faults(tree).map_or(Ok(()), |words| Err(refused(words)))
    }

    /// Refuses a step from what stood there (None: nothing) to this value, if the schema has a rule for
    /// steps that it breaks.
    pub fn check_step(&self, old: Option<&mut Value>, new: &mut Value) -> Result<(), Refusal> {
        let Some(transition) = &self.transition else { return Ok(()) };
        let mut step = Map::new();
        if let Some(old) = old {
            step.insert("old".to_owned(), told(old));
        }
        step.insert("new".to_owned(), told(new));
        let broken = transition.faults(&Json::Object(step));
        broken.map_or(Ok(()), |words| Err(refused(words)))
    }
}

/// The schema at one pointer of a file, compiled.
#[derive(Debug)]
pub struct Rule {
    file: String,
    pointer: String,
    validator: Validator,
    work: Arc<Work>,
}

impl Rule {
    fn compile(
        file: &SchemaFile,
        folder: &Folder,
        pointer: &str,
        work: &Arc<Work>,
    ) -> Result<Rule, Fault> {
        let validator = compile(file, folder, pointer)?;
        let (file, pointer) = (file.name.clone(), pointer.to_owned());
        Ok(Rule { file, pointer, validator, work: work.clone() })
    }

    /// What is wrong with a value; None if nothing. Whether it is right is found in bounded time, for what
    /// was found of a part is remembered; where it is wrong is told only if that takes few steps.
    pub fn faults(&self, value: &Json) -> Option<String> {
        if self.validator.is_valid(value) {
            return None;
        }
        let little = self.work.is_little(&self.file, &self.pointer, value);
        let told = little.then(|| words::faults(&self.file, &self.validator, value)).flatten();
        Some(told.unwrap_or_else(|| words::untold(&self.file)))
    }
}

fn refused(words: String) -> Refusal {
    Refusal::new(Code::SchemaRefused, words)
}

/// A value as rules for steps see it: what JSON does not hold is an object that names its kind.
fn told(value: &mut Value) -> Json {
    match value.tree() {
        Some(tree) => tree.clone(),
        None => json!({"$kind": value.value().kind().as_str()}),
    }
}

/// Compiles the schema at this pointer of a file: draft 2020-12, formats asserted.
fn compile(file: &SchemaFile, folder: &Folder, pointer: &str) -> Result<Validator, Fault> {
    let (whole, base);
    let part;
    if pointer.is_empty() {
        (whole, base) = (&file.json, file.name.as_str());
    } else {
        part = json!({"$ref": format!("{SCHEME}:///{}#{pointer}", file.name)});
        // A name that no file can have.
        (whole, base) = (&part, "~");
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX))
        .with_base_uri(format!("{SCHEME}:///{base}"))
        .with_retriever(folder.clone())
        .build(whole)
        .map_err(|e| file.fault(&format!("{pointer}{}", e.instance_path().as_str()), why(&e)))
}

/// Why a schema does not compile.
fn why(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Referencing(ReferencingError::Unretrievable { source, .. }) => {
            format!("$ref: {source}")
        }
        Kind::Referencing(other) => format!("$ref: {other}"),
        Kind::Format { format } if format == "regex" => format!(
            "{} is no pattern that can be matched in linear time and little memory: no look-around, no \
             back-references, no huge repetitions",
            error.instance()
        ),
        _ => words::cut(&error.to_string()),
    }
}
