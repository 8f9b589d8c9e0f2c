//! The arguments of a method, taken apart one by one; each mistake is named with its field and what
//! would be right.

use std::str::FromStr;

use keepboth_core::limits::figure;
use keepboth_core::mesh::{MEMBERS_MAX, NAMESPACES_MAX};
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;
use serde_json::{Map, Value as Json};

use super::held::HeldAt;
use super::request::{PutValue, Wait, Waiting};
use super::tree::{Members, Tree, shown};

/// For how long a write or a question waits for members, if nothing else is said, and at the most.
pub(super) const WAIT_MS: u64 = 5_000;
pub(super) const WAIT_MS_MAX: u64 = 60_000;
/// How long an invitation holds, if nothing else is said, at the least and at the most.
pub(super) const INVITE_MS: u64 = 24 * 60 * 60 * 1_000;
pub(super) const INVITE_MS_MIN: u64 = 60 * 1_000;
pub(super) const INVITE_MS_MAX: u64 = 30 * INVITE_MS;
/// Most members for which a write can wait: a mesh has no more.
const WAIT_MEMBERS_MAX: u64 = MEMBERS_MAX as u64;

/// The method that brings a token: no refusal repeats what stands in it, wherever that is.
const SECRET: &str = "hello";

/// The arguments that are not taken yet.
pub(super) struct Args {
    method: &'static str,
    fields: &'static [&'static str],
    members: Members,
}

impl Args {
    /// Opens the arguments of a method that takes these fields. Refused: what is no object, or has others.
    pub(super) fn open(
        method: &'static str,
        fields: &'static [&'static str],
        tree: Tree,
    ) -> Result<Args, Refusal> {
        let members = tree.into_members().map_err(|tree| {
            let words = format!("{method} is {}, it should be an object", tree.kind());
            Refusal::new(Code::BadRequest, words).hint(takes(method, fields))
        })?;
        let unknown = members.names().into_iter().find(|name| !fields.contains(name));
        if let Some(unknown) = unknown {
            if method == SECRET {
                let words = format!("{method} has a field that it does not take");
                return Err(Refusal::new(Code::BadRequest, words).hint(takes(method, fields)));
            }
            let words = format!("{method} has no field {:?}", shown(unknown));
            let meant = did_you_mean(unknown, fields);
            let hint = format!("{meant}{}", takes(method, fields));
            return Err(Refusal::new(Code::BadRequest, words).hint(hint));
        }
        Ok(Args { method, fields, members })
    }

    /// True if the field is there.
    pub(super) fn has(&self, field: &str) -> bool {
        self.members.names().contains(&field)
    }

    /// A refusal about these arguments.
    pub(super) fn bad(&self, what: &str) -> Refusal {
        let words = format!("{}: {what}", self.method);
        Refusal::new(Code::BadRequest, words).hint(takes(self.method, self.fields))
    }

    fn wrong(&self, field: &str, found: &Tree, right: &str) -> Refusal {
        let found = match self.method {
            SECRET => found.kind().into(),
            _ => found.describe(),
        };
        self.bad(&format!("{field} is {found}, it should be {right}"))
    }

    fn missing(&self, field: &str) -> Refusal {
        self.bad(&format!("{field} is missing"))
    }

    /// A text, or None if it is absent.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, Refusal> {
        match self.members.take(field) {
            None => Ok(None),
            Some(Tree::Json(Json::String(text))) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, &other, "a text")),
        }
    }

    /// A text that must be there.
    pub(super) fn need_text(&mut self, field: &str) -> Result<String, Refusal> {
        self.text(field)?.ok_or_else(|| self.missing(field))
    }

    /// The namespace.
    pub(super) fn ns(&mut self) -> Result<Namespace, Refusal> {
        Namespace::new(&self.need_text("ns")?)
    }

    /// The namespace, or None if it is absent.
    pub(super) fn ns_if_any(&mut self) -> Result<Option<Namespace>, Refusal> {
        self.text("ns")?.map(|ns| Namespace::new(&ns)).transpose()
    }

    /// The field `key` as a key or an address.
    pub(super) fn name(&mut self) -> Result<Name, Refusal> {
        Name::new(&self.need_text("key")?)
    }

    /// The field `key` where an address has no meaning.
    pub(super) fn key(&mut self) -> Result<Key, Refusal> {
        Key::new(&self.need_text("key")?)
    }

    /// A key to go on after.
    pub(super) fn after(&mut self) -> Result<Option<Key>, Refusal> {
        self.text("after")?.map(|key| Key::new(&key)).transpose()
    }

    /// An id or an address.
    pub(super) fn id<T: FromStr>(&mut self, field: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let id = text.parse();
        id.map(Some).map_err(|_| self.wrong(field, &Tree::Json(text.into()), HEX))
    }

    /// An id or an address that must be there.
    pub(super) fn need_id<T: FromStr>(&mut self, field: &str) -> Result<T, Refusal> {
        self.id(field)?.ok_or_else(|| self.missing(field))
    }

    /// True or false; absent is `default`.
    pub(super) fn truth(&mut self, field: &str, default: bool) -> Result<bool, Refusal> {
        match self.members.take(field) {
            None => Ok(default),
            Some(Tree::Json(Json::Bool(truth))) => Ok(truth),
            Some(other) => Err(self.wrong(field, &other, "true or false")),
        }
    }

    /// A whole number of at least `min`, or None if it is absent.
    pub(super) fn whole(&mut self, field: &str, min: u64) -> Result<Option<u64>, Refusal> {
        let Some(tree) = self.members.take(field) else { return Ok(None) };
        match &tree {
            Tree::Json(Json::Number(n)) if n.as_u64().is_some_and(|n| n >= min) => Ok(n.as_u64()),
            _ => Err(self.wrong(field, &tree, &format!("a whole number of at least {min}"))),
        }
    }

    /// A whole number that must be there.
    pub(super) fn need_whole(&mut self, field: &str) -> Result<u64, Refusal> {
        self.whole(field, 0)?.ok_or_else(|| self.missing(field))
    }

    /// A period in milliseconds within these bounds, or None if it is absent.
    pub(super) fn period(
        &mut self,
        field: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Refusal> {
        let Some(tree) = self.members.take(field) else { return Ok(None) };
        match &tree {
            Tree::Json(Json::Number(n)) if n.as_u64().is_some_and(|n| (min..=max).contains(&n)) => {
                Ok(n.as_u64())
            }
            _ => {
                let right = format!("a whole number of milliseconds from {min} to {max}");
                Err(self.wrong(field, &tree, &right))
            }
        }
    }

    /// `wait` and `wait_ms`: for which members a write waits, if it does.
    pub(super) fn waiting(&mut self) -> Result<Option<Waiting>, Refusal> {
        let ms = self.period("wait_ms", 1, WAIT_MS_MAX)?;
        let wait = match (self.members.take("wait"), ms) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(self.bad("wait_ms is there without wait")),
            (Some(Tree::Json(Json::String(text))), _) if text == "all" => Wait::All,
            (Some(tree), _) => match &tree {
                Tree::Json(Json::Number(n))
                    if n.as_u64().is_some_and(|n| (1..=WAIT_MEMBERS_MAX).contains(&n)) =>
                {
                    Wait::Count(usize::try_from(n.as_u64().unwrap_or(1)).unwrap_or(usize::MAX))
                }
                _ => {
                    let right = format!("\"all\" or a whole number from 1 to {WAIT_MEMBERS_MAX}");
                    return Err(self.wrong("wait", &tree, &right));
                }
            },
        };
        Ok(Some(Waiting { wait, ms: ms.unwrap_or(WAIT_MS) }))
    }

    /// The namespaces that a node may have; None for all.
    pub(super) fn namespaces(&mut self) -> Result<Option<Vec<Namespace>>, Refusal> {
        if !self.has("namespaces") {
            return Ok(None);
        }
        let items = self.items("namespaces")?;
        if items.is_empty() {
            return Err(self.bad("namespaces is empty; leave it out for all"));
        }
        if items.len() > NAMESPACES_MAX {
            let (count, limit) = (figure(items.len()), figure(NAMESPACES_MAX));
            return Err(self.bad(&format!("namespaces has {count} names, the limit is {limit}")));
        }
        let name = |tree| match tree {
            Tree::Json(Json::String(name)) => Namespace::new(&name),
            other => Err(self.wrong("namespaces", &other, "an array of texts")),
        };
        let mut names = items.into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        Ok(Some(names))
    }

    /// A place in a quarantine to go on after.
    pub(super) fn place(&mut self, field: &str) -> Result<Option<HeldAt>, Refusal> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let place = text.parse();
        let right = "the `next` of the page before";
        place.map(Some).map_err(|_| self.wrong(field, &Tree::Json(text.into()), right))
    }

    /// `verdict`: true for `admit`, false for `discard`.
    pub(super) fn verdict(&mut self) -> Result<bool, Refusal> {
        match self.need_text("verdict")?.as_str() {
            "admit" => Ok(true),
            "discard" => Ok(false),
            other => {
                let tree = Tree::Json(other.into());
                Err(self.wrong("verdict", &tree, "\"admit\" or \"discard\""))
            }
        }
    }

    /// The most items of a page. More than a server ever gives means the same as that.
    pub(super) fn limit(&mut self) -> Result<Option<usize>, Refusal> {
        let limit = self.whole("limit", 1)?;
        Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// `if_version`: absent, null (there is no object) or a version.
    pub(super) fn condition(&mut self) -> Result<Condition, Refusal> {
        match self.members.take("if_version") {
            None => Ok(Condition::None),
            Some(Tree::Json(Json::Null)) => Ok(Condition::Absent),
            Some(Tree::Json(Json::String(text))) => match text.parse() {
                Ok(version) => Ok(Condition::Is(version)),
                Err(_) => Err(self.wrong("if_version", &Tree::Json(text.into()), HEX_OR_NULL)),
            },
            Some(other) => Err(self.wrong("if_version", &other, HEX_OR_NULL)),
        }
    }

    /// `if_version` of a delete: absent or a version, for there must be an object anyway.
    pub(super) fn condition_of_delete(&mut self) -> Result<Condition, Refusal> {
        match self.condition()? {
            Condition::Absent => Err(self.wrong("if_version", &Tree::Json(Json::Null), HEX)),
            condition => Ok(condition),
        }
    }

    /// The field `value`.
    pub(super) fn value(&mut self) -> Result<PutValue, Refusal> {
        let tree = self.members.take("value").ok_or_else(|| self.missing("value"))?;
        put_value(tree)
    }

    /// null, a truth, a number or a text; None if it is absent.
    pub(super) fn scalar(&mut self, field: &str) -> Result<Option<Json>, Refusal> {
        match self.members.take(field) {
            None => Ok(None),
            Some(Tree::Json(scalar)) if !scalar.is_array() && !scalar.is_object() => {
                Ok(Some(scalar))
            }
            Some(other) => {
                Err(self.wrong(field, &other, "null, true, false, a finite number or a text"))
            }
        }
    }

    /// An object as JSON has it; an empty one if it is absent.
    pub(super) fn object(&mut self, field: &str) -> Result<Json, Refusal> {
        match self.members.take(field) {
            None => Ok(Json::Object(Map::new())),
            Some(Tree::Json(object)) if object.is_object() => Ok(object),
            Some(other) => {
                Err(self.wrong(field, &other, "an object without bytes, NaN and infinities"))
            }
        }
    }

    /// An array that must be there.
    pub(super) fn items(&mut self, field: &str) -> Result<Vec<Tree>, Refusal> {
        let tree = self.members.take(field).ok_or_else(|| self.missing(field))?;
        tree.into_items().map_err(|tree| self.wrong(field, &tree, "an array"))
    }
}

const HEX: &str = "64 lower-case hex characters";
const HEX_OR_NULL: &str = "64 lower-case hex characters, or null for \"there is no object\"";

/// `put takes ns, key, value, if_version`.
fn takes(method: &str, fields: &[&str]) -> String {
    match fields {
        [] => format!("{method} takes no fields"),
        _ => format!("{method} takes {}", fields.join(", ")),
    }
}

/// `did you mean "key"? `, or nothing if no word is near.
pub(crate) fn did_you_mean(word: &str, words: &[&str]) -> String {
    let word = shown(word);
    let near = words.iter().map(|other| (strsim::damerau_levenshtein(&word, other), other));
    match near.min() {
        Some((distance, other)) if distance <= 2.min(other.len() / 2) => {
            format!("did you mean {other:?}? ")
        }
        _ => String::new(),
    }
}

/// The value of what stands in the place of a value.
fn put_value(tree: Tree) -> Result<PutValue, Refusal> {
    match tree {
        Tree::Json(tree) => {
            let value = Value::from_wire(&tree)?;
            Ok(PutValue { value, tree: unescaped(tree) })
        }
        Tree::Bytes(bytes) => Ok(PutValue { value: Value::bytes(bytes), tree: None }),
        Tree::Float(n) => Ok(PutValue { value: Value::number(n), tree: None }),
        Tree::List(_) => Err(inside()),
        Tree::Map(mut members) => match (members.remove("$cbor"), members.is_empty()) {
            (Some(Tree::Bytes(item)), true) => {
                Ok(PutValue { value: Value::cbor(&item)?, tree: None })
            }
            _ => Err(inside()),
        },
    }
}

fn inside() -> Refusal {
    let words = "bytes, NaN or an infinity stands inside an array or object, where JSON has none";
    Refusal::new(Code::BadValue, words).hint("send it alone, or the whole as {\"$cbor\": bytes}")
}

/// The tree of the value behind an escape. Only a value that was taken gets here, so that an only
/// member whose name starts with `$` is an escape.
fn unescaped(tree: Json) -> Option<Json> {
    match tree {
        Json::Object(mut members)
            if members.len() == 1 && members.keys().all(|name| name.starts_with('$')) =>
        {
            members.remove("$json")
        }
        tree => Some(tree),
    }
}
