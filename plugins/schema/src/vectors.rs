//! What stands in a schema file as its own test: examples that pass, steps that are allowed, and values
//! and steps that are refused for the reason that is named.

use keepboth_core::plugin::Draft;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use serde_json::Value as Json;

use crate::fault::{Fault, Place};
use crate::folder::{Folder, SchemaFile};
use crate::keywords::{self, ALLOWED, REFUSED, join};
use crate::schema::Schema;

/// A vector of a schema file, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// The file's name in its folder.
    pub file: String,
    /// Where it stands.
    pub place: Place,
    /// Its JSON pointer in the file: `/examples/0`.
    pub pointer: String,
    /// True if it is to pass, false if it is to be refused.
    pub passes: bool,
    /// Why it did not come out as it should.
    pub outcome: Result<(), String>,
}

/// Tries all vectors of a file, in the order in which they stand there: `examples` of the whole schema and
/// of every schema within it, `x-keepboth-allowed` and `x-keepboth-refused`.
pub fn run(folder: &Folder, name: &str) -> Result<Vec<Vector>, Vec<Fault>> {
    let schema = Schema::load(folder, name)?;
    let file = folder.read(name)?;
    let mut vectors = Vec::new();
    let mut tell = |pointer: String, passes: bool, outcome: Result<(), String>| {
        let (file_name, place) = (file.name.clone(), Place::of(&file.text, &pointer));
        vectors.push(Vector { file: file_name, place, pointer, passes, outcome });
    };
    let mut inner = Vec::new();
    keywords::each(&file.json, &mut |pointer, schema| {
        if let Some(examples) = schema.get("examples").and_then(Json::as_array) {
            inner.push((pointer.to_owned(), examples));
        }
    });
    for (pointer, examples) in inner {
        let list = join(&pointer, "examples");
        let mut examine =
            examiner(&file, folder, &schema, &pointer).map_err(|fault| vec![fault])?;
        for (number, example) in examples.iter().enumerate() {
            tell(format!("{list}/{number}"), true, examine(example));
        }
    }
    for (keyword, passes) in [(ALLOWED, true), (REFUSED, false)] {
        let cases = file.json.get(keyword).and_then(Json::as_array).into_iter().flatten();
        for (number, case) in cases.enumerate() {
            let outcome = put(&schema, case);
            let outcome = match passes {
                true => outcome.map_err(|refusal| refusal.message),
                false => refused(outcome, case["because"].as_str().unwrap_or_default()),
            };
            tell(format!("/{keyword}/{number}"), passes, outcome);
        }
    }
    vectors.sort_by_key(|vector| vector.place);
    Ok(vectors)
}

type Examine<'a> = Box<dyn FnMut(&Json) -> Result<(), String> + 'a>;

/// How an example of the schema at this pointer is tried.
fn examiner<'a>(
    file: &'a SchemaFile,
    folder: &Folder,
    schema: &'a Schema,
    pointer: &str,
) -> Result<Examine<'a>, Fault> {
    if pointer.is_empty() {
        return Ok(Box::new(|example| schema.check(&mut draft(example)).map_err(|r| r.message)));
    }
    let rule = schema.part(file, folder, pointer)?;
    Ok(Box::new(move |example| rule.faults(example).map_or(Ok(()), Err)))
}

/// What a put of the case's `new` over its `old` would be answered.
fn put(schema: &Schema, case: &Json) -> Result<(), Refusal> {
    let mut new = draft(&case["new"]);
    schema.check(&mut new)?;
    schema.check_step(case.get("old").map(draft).as_mut(), &mut new)
}

fn draft(tree: &Json) -> Draft {
    Draft::new(Value::json(tree), Some(tree.clone()))
}

fn refused(outcome: Result<(), Refusal>, because: &str) -> Result<(), String> {
    match outcome {
        Ok(()) => Err(format!("it passes, and should be refused because {because:?}")),
        Err(refusal) if refusal.message.contains(because) => Ok(()),
        Err(refusal) => {
            Err(format!("it is refused, but not because {because:?}: {}", refusal.message))
        }
    }
}
