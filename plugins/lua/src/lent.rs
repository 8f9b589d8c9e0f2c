//! A part of a lent value: a place in a tree that is read and changed where it stands.

use std::ops::Range;
use std::rc::Rc;
use std::vec::IntoIter;

use keepboth_core::limits::DEPTH_MAX;
use mlua::{Lua, Value};
use serde_json::Value as Json;

use crate::fault::raise;
use crate::limit::{Charge, Limits};
use crate::state::Shared;

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of an object.
    Member(Rc<str>),
    /// The item of an array, from 0.
    Item(usize),
}

/// An object or array inside a lent value. It is a place, not a copy: it shows what stands there now.
#[derive(Clone)]
pub struct Node {
    state: Shared,
    epoch: u64,
    root: usize,
    path: Option<Rc<Link>>,
}

/// The last step of a path; what stands above it is shared with all parts of the same.
struct Link {
    above: Option<Rc<Link>>,
    step: Step,
    _charge: Charge,
}

impl Link {
    /// How many steps the path has.
    fn steps(&self) -> usize {
        1 + self.above.as_ref().map_or(0, |above| above.steps())
    }
}

/// The keys of an object or array as they stood when they were asked for.
pub enum Keys {
    /// Those of an object, in the order of their bytes.
    Members {
        /// Those that are left.
        left: IntoIter<Rc<str>>,
        /// What all of them take.
        _charge: Charge,
    },
    /// Those of an array.
    Items(Range<usize>),
}

impl Iterator for Keys {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Keys::Members { left, .. } => left.next().map(Step::Member),
            Keys::Items(places) => places.next().map(Step::Item),
        }
    }
}

/// What a key takes besides its bytes.
const KEY_BYTES: usize = 32;

impl Node {
    /// The whole of a lent value.
    pub fn whole(state: &Shared, epoch: u64, root: usize) -> Node {
        Node { state: state.clone(), epoch, root, path: None }
    }

    /// A part of this part.
    pub fn part(&self, lua: &Lua, step: Step) -> mlua::Result<Node> {
        let key = if let Step::Member(key) = &step { key.len() } else { 0 };
        let charge = Limits::charge(lua, size_of::<Link>() + KEY_BYTES + key)?;
        let path = Some(Rc::new(Link { above: self.path.clone(), step, _charge: charge }));
        Ok(Node { state: self.state.clone(), path, ..*self })
    }

    /// Reads what stands at the place.
    pub fn with<R>(&self, read: impl FnOnce(&Json) -> R) -> Result<R, String> {
        let mut state = self.state.borrow_mut();
        state.live(self.epoch)?;
        let tree = state.tree(self.root).and_then(|tree| walk(self.path.as_deref(), tree));
        let tree = tree.filter(|tree| is_container(tree));
        tree.map(read).ok_or_else(|| self.gone())
    }

    /// Whether this is the whole of the first lent value.
    pub fn is_whole(&self) -> bool {
        self.root == 0 && self.path.is_none()
    }

    fn gone(&self) -> String {
        format!("{} is not there any more", self.name())
    }

    /// The place in words, for instance `value.items[2]`.
    pub fn name(&self) -> String {
        name(self.path.as_deref())
    }

    /// Writes or removes a member or item.
    pub fn set(&self, key: &Value, json: Option<Json>) -> Result<(), String> {
        // Clones, hashes and drops of a tree recurse; no tree may be deeper than a value.
        if json.as_ref().is_some_and(|json| self.steps() + 1 + depth(json) > DEPTH_MAX) {
            let name = format!("{}{}", self.name(), key_name(key));
            return Err(format!("{name}: more than {DEPTH_MAX} levels"));
        }
        let mut state = self.state.borrow_mut();
        state.live(self.epoch)?;
        let draft = state.writable(self.root)?;
        let tree = draft.tree_mut().and_then(|tree| walk_mut(self.path.as_deref(), tree));
        let tree = tree.filter(|tree| is_container(tree)).ok_or_else(|| self.gone())?;
        put(tree, key, json).map_err(|words| format!("{}{}: {words}", self.name(), key_name(key)))
    }

    fn steps(&self) -> usize {
        self.path.as_ref().map_or(0, |path| path.steps())
    }

    /// The keys as they stand now.
    pub fn keys(&self, lua: &Lua) -> mlua::Result<Keys> {
        let (length, bytes) = self
            .with(|tree| match tree {
                Json::Object(members) => (0, members.keys().map(|key| key.len() + KEY_BYTES).sum()),
                tree => (tree.as_array().map_or(0, Vec::len), 0),
            })
            .map_err(|e| raise(lua, e))?;
        if bytes == 0 {
            return Ok(Keys::Items(0..length));
        }
        let charge = Limits::charge(lua, bytes)?;
        let keys = self.with(|tree| {
            let members = tree.as_object().into_iter().flat_map(|members| members.keys());
            let mut keys: Vec<Rc<str>> = members.map(|key| key.as_str().into()).collect();
            keys.sort();
            keys
        });
        let left = keys.map_err(|e| raise(lua, e))?.into_iter();
        Ok(Keys::Members { left, _charge: charge })
    }
}

fn walk<'a>(path: Option<&Link>, root: &'a Json) -> Option<&'a Json> {
    let Some(last) = path else { return Some(root) };
    match (&last.step, walk(last.above.as_deref(), root)?) {
        (Step::Member(key), Json::Object(members)) => members.get(&**key),
        (Step::Item(at), Json::Array(items)) => items.get(*at),
        _ => None,
    }
}

fn walk_mut<'a>(path: Option<&Link>, root: &'a mut Json) -> Option<&'a mut Json> {
    let Some(last) = path else { return Some(root) };
    match (&last.step, walk_mut(last.above.as_deref(), root)?) {
        (Step::Member(key), Json::Object(members)) => members.get_mut(&**key),
        (Step::Item(at), Json::Array(items)) => items.get_mut(*at),
        _ => None,
    }
}

fn name(path: Option<&Link>) -> String {
    let Some(last) = path else { return "value".to_owned() };
    let above = name(last.above.as_deref());
    match &last.step {
        Step::Member(key) => above + &step(key),
        Step::Item(at) => format!("{above}[{}]", at + 1),
    }
}

/// Levels of arrays and objects.
pub fn depth(tree: &Json) -> usize {
    match tree {
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether scripts get a proxy of it and not the thing itself.
pub fn is_container(tree: &Json) -> bool {
    tree.is_object() || tree.is_array()
}

/// The place in an array of a Lua index.
pub fn at(index: i64) -> Option<usize> {
    usize::try_from(index).ok()?.checked_sub(1)
}

/// A Lua key as a step in words.
pub fn key_name(key: &Value) -> String {
    match key {
        Value::String(key) => step(&key.to_string_lossy()),
        Value::Integer(i) => format!("[{i}]"),
        other => format!("[{}]", other.type_name()),
    }
}

fn put(tree: &mut Json, key: &Value, json: Option<Json>) -> Result<(), String> {
    match (tree, key) {
        (Json::Object(members), Value::String(key)) => {
            let key = std::str::from_utf8(&key.as_bytes()).map(str::to_owned);
            let key = key.map_err(|_| "a key that is not UTF-8".to_owned())?;
            match json {
                Some(json) => members.insert(key, json),
                None => members.remove(&key),
            };
            Ok(())
        }
        (Json::Object(_), _) => Err("the keys of an object are texts".into()),
        (Json::Array(items), Value::Integer(i)) => put_item(items, *i, json),
        (Json::Array(_), _) => Err("the keys of an array are whole numbers".into()),
        _ => Err("neither object nor array".into()),
    }
}

/// Writes, appends or removes the item at a Lua index.
pub fn put_item<T>(items: &mut Vec<T>, index: i64, item: Option<T>) -> Result<(), String> {
    let length = items.len();
    match (at(index), item) {
        (Some(at), Some(item)) if at < length => items[at] = item,
        (Some(at), Some(item)) if at == length => items.push(item),
        (Some(at), None) if at < length => drop(items.remove(at)),
        (Some(at), None) if at == length => {}
        _ => return Err(format!("the array has {length} items; the next one is [{}]", length + 1)),
    }
    Ok(())
}

/// A member's step in a path.
pub fn step(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !key.is_empty() && key.len() <= 40 && key.chars().all(plain) {
        return format!(".{key}");
    }
    format!("[{:?}]", key.chars().take(40).collect::<String>())
}
