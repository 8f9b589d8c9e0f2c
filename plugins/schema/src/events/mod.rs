//! The forms of the system's own events and requests, held against the schemas in `schemas/events/`.
//! These are made from the types in `form`; a test tells when they are not, and how to renew them.

use std::sync::LazyLock;

use jsonschema::Validator;
use keepboth_core::refusal::{Code, Refusal};
use serde_json::{Value as Json, json};

use crate::words;

/// The forms as Rust types.
pub mod form;
/// The schemas, made from the types.
pub mod made;

/// What can happen to a key or a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A key shows an object.
    Put,
    /// A key shows nothing any more.
    Delete,
    /// A key is in conflict.
    Conflict,
    /// A namespace went from one state to another.
    State,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [EventKind; 4] =
        [EventKind::Put, EventKind::Delete, EventKind::Conflict, EventKind::State];

    /// The kind as it stands in `type`.
    pub fn as_str(self) -> &'static str {
        ["put", "delete", "conflict", "state"][self as usize]
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The schema's file below `schemas/`.
    pub fn file(self) -> &'static str {
        [
            "events/put.schema.json",
            "events/delete.schema.json",
            "events/conflict.schema.json",
            "events/state.schema.json",
        ][self as usize]
    }

    /// The schema's text.
    pub fn text(self) -> &'static str {
        [
            include_str!("../../../../schemas/events/put.schema.json"),
            include_str!("../../../../schemas/events/delete.schema.json"),
            include_str!("../../../../schemas/events/conflict.schema.json"),
            include_str!("../../../../schemas/events/state.schema.json"),
        ][self as usize]
    }
}

/// Refuses an event that is not as watchers may expect it.
pub fn check(kind: EventKind, event: &Json) -> Result<(), Refusal> {
    COMPILED[kind as usize].event.check(kind, event)
}

/// Refuses a client's request for such an event: the arguments of its `put` or `delete`. Nobody can
/// ask for a conflict or a state.
pub fn check_request(kind: EventKind, arguments: &Json) -> Result<(), Refusal> {
    match &COMPILED[kind as usize].request {
        Some(request) => request.check(kind, arguments),
        None => Err(Refusal::new(
            Code::BadRequest,
            format!("a {} event cannot be asked for; the server tells it", kind.as_str()),
        )),
    }
}

/// Compiled at the first use; that they compile is held by a test.
static COMPILED: LazyLock<[Compiled; 4]> = LazyLock::new(|| EventKind::ALL.map(Compiled::new));

struct Compiled {
    event: Form,
    request: Option<Form>,
}

struct Form(Result<Validator, String>);

impl Compiled {
    fn new(kind: EventKind) -> Compiled {
        let schema: Json = serde_json::from_str(kind.text()).unwrap_or(Json::Bool(false));
        let request = schema.pointer("/$defs/request").is_some();
        let request = request.then(|| json!({"$defs": schema["$defs"], "$ref": "#/$defs/request"}));
        let form = |schema: &Json| Form(compile(schema));
        Compiled { event: form(&schema), request: request.as_ref().map(form) }
    }
}

fn compile(schema: &Json) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .offline()
        .build(schema)
        .map_err(|e| e.to_string())
}

impl Form {
    fn check(&self, kind: EventKind, tree: &Json) -> Result<(), Refusal> {
        let fault = match &self.0 {
            Ok(validator) if validator.is_valid(tree) => None,
            Ok(validator) => words::faults(kind.file(), validator, tree),
            // A schema that does not compile lets nothing pass.
            Err(why) => Some(format!("{}: {why}", kind.file())),
        };
        fault.map_or(Ok(()), |words| Err(Refusal::new(Code::BadRequest, words)))
    }
}
