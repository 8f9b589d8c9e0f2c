//! `snapshot(found)`: what an event came to, held against what was stored when it was last accepted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use keepboth_core::json;
use keepboth_core::limits::figure;
use mlua::{Function, Lua, Value};
use serde_json::{Map, Value as Json, json};

use crate::cbor::{Item, decimal};
use crate::diff::differences;
use crate::fault::raise;
use crate::script::{SCRIPT_BYTES_MAX, read_text};
use crate::take;

/// Differences that a message names.
const NAMED_MAX: usize = 5;

/// The snapshots of one file of tests.
pub struct Snapshots {
    /// The file in the scripts folder.
    file: String,
    stored: Map<String, Json>,
    seen: Map<String, Json>,
    /// The test that runs, and how many snapshots it has taken.
    test: (String, usize),
    /// Takes what is found for right.
    update: bool,
}

pub type Shared = Rc<RefCell<Snapshots>>;

impl Snapshots {
    /// Those that are stored for this file of tests; none if nothing is.
    pub fn read(folder: &Path, tests: &str, update: bool) -> Result<Snapshots, String> {
        let file = format!("{}.snap.json", tests.strip_suffix(".luau").unwrap_or(tests));
        let stored = match folder.join(&file).symlink_metadata() {
            Err(_) => Map::new(),
            Ok(_) => read_text(folder, &file)
                .and_then(|text| match json::parse(text.as_bytes()) {
                    Ok(Json::Object(stored)) => Ok(stored),
                    Ok(_) => Err("not an object of snapshots by their names".into()),
                    Err(e) => Err(e.to_string()),
                })
                .map_err(|words| format!("scripts/{file}: {words}"))?,
        };
        Ok(Snapshots { file, stored, seen: Map::new(), test: Default::default(), update })
    }

    /// The next test begins.
    pub fn begin(&mut self, test: &str) {
        self.test = (test.to_owned(), 0);
    }

    /// A test failed: what is stored for it stays.
    pub fn keep(&mut self) {
        let own = |name: &String| is_of(name, &self.test.0);
        self.seen.retain(|name, _| !own(name));
        let stored = self.stored.iter().filter(|(name, _)| own(name));
        self.seen.extend(stored.map(|(name, json)| (name.clone(), json.clone())));
    }

    /// Snapshots that are stored and that no test takes any more.
    pub fn unused(&self) -> usize {
        self.stored.keys().filter(|name| !self.seen.contains_key(*name)).count()
    }

    /// The file and its new text, if what was seen is to be stored and is not.
    pub fn changed(&self) -> Result<Option<(String, String)>, String> {
        if !self.update || self.seen == self.stored {
            return Ok(None);
        }
        let sorted: BTreeMap<&String, &Json> = self.seen.iter().collect();
        let text = format!("{:#}\n", json!(sorted));
        if text.len() > SCRIPT_BYTES_MAX {
            let (bytes, most) = (figure(text.len()), figure(SCRIPT_BYTES_MAX));
            let words = format!("{bytes} bytes of snapshots, the limit is {most}; split the tests");
            return Err(format!("scripts/{}: {words}", self.file));
        }
        Ok(Some((self.file.clone(), text)))
    }

    fn take(&mut self, found: Json) -> Result<(), String> {
        self.test.1 += 1;
        let name = match &self.test {
            (test, _) if test.is_empty() => {
                return Err("snapshot is called outside of a test".into());
            }
            (test, 1) => test.clone(),
            (test, count) => format!("{test} #{count}"),
        };
        let outcome = match self.stored.get(&name) {
            _ if self.update => Ok(()),
            None => {
                Err("no snapshot is stored; keepboth hook test --update stores this one".into())
            }
            Some(stored) if *stored == found => Ok(()),
            Some(stored) => Err(told(stored, &found)),
        };
        self.seen.insert(name, found);
        outcome
    }
}

fn is_of(name: &str, test: &str) -> bool {
    let rest = name.strip_prefix(test);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" #"))
}

fn told(stored: &Json, found: &Json) -> String {
    let all = differences(stored, found);
    let named = all.iter().take(NAMED_MAX).map(|difference| {
        let (before, after) = difference.words();
        let place = if difference.path.is_empty() { "the whole" } else { &difference.path };
        let (before, after) =
            (before.unwrap_or("nothing".into()), after.unwrap_or("nothing".into()));
        format!("{place} was {before}, is {after}")
    });
    let named: Vec<String> = named.collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let hint = "keepboth hook test --update accepts what is found";
    format!("not as in the snapshot: {}{more}; {hint}", named.join("; "))
}

/// The function `snapshot`.
pub fn function(lua: &Lua, snapshots: &Shared) -> mlua::Result<Function> {
    let snapshots = snapshots.clone();
    lua.create_function(move |lua, found: Value| {
        let item = take::item(lua, &found, "snapshot: the value");
        let taken = item.and_then(|item| snapshots.borrow_mut().take(as_json(&item)));
        taken.map_err(|words| raise(lua, words))
    })
}

/// What JSON has as it is, all else under a name that says what it is.
fn as_json(item: &Item) -> Json {
    match item {
        Item::Null => Json::Null,
        Item::Undefined => json!({"$undefined": true}),
        Item::Bool(b) => json!(b),
        Item::Int(n) => match i64::try_from(*n) {
            Ok(n) => json!(n),
            Err(_) => json!({"$int": n.to_string()}),
        },
        Item::Float(n) if n.is_finite() => json!(n),
        Item::Float(n) => json!({"$number": n.to_string()}),
        Item::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"$bytes": hex})
        }
        Item::Text(text) => json!(**text),
        Item::List(items) => items.borrow().iter().map(as_json).collect(),
        Item::Map(map) => {
            let map = map.borrow();
            let named = |(key, value): &(Item, Item)| match key {
                Item::Text(key) => Some(((**key).to_owned(), as_json(value))),
                _ => None,
            };
            match map.values().map(named).collect::<Option<Map<String, Json>>>() {
                Some(members) => Json::Object(members),
                None => {
                    let pairs =
                        map.values().map(|(key, value)| json!([as_json(key), as_json(value)]));
                    json!({"$map": pairs.collect::<Vec<_>>()})
                }
            }
        }
        Item::Tag(tag, inner) => match decimal(item) {
            Some(whole) => json!({"$int": whole}),
            None => json!({"$tag": tag, "value": as_json(inner)}),
        },
        Item::Simple(n) => json!({"$simple": n}),
    }
}
