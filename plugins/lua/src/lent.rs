//! A part of a lent value: a place in a tree that is read and changed where it stands.

use std::rc::Rc;

use keepboth_core::limits::DEPTH_MAX;
use mlua::Value;
use serde_json::Value as Json;

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
    path: Vec<Step>,
}

impl Node {
    /// The whole of a lent value.
    pub fn whole(state: &Shared, epoch: u64, root: usize) -> Node {
        Node { state: state.clone(), epoch, root, path: Vec::new() }
    }

    /// A part of this part.
    pub fn part(&self, next: Step) -> Node {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push(next);
        Node { state: self.state.clone(), path, ..*self }
    }

    /// Reads what stands at the place.
    pub fn with<R>(&self, read: impl FnOnce(&Json) -> R) -> Result<R, String> {
        let mut state = self.state.borrow_mut();
        state.live(self.epoch)?;
        let tree = state.tree(self.root).and_then(|tree| self.walk(tree));
        tree.map(read).ok_or_else(|| self.gone())
    }

    /// Whether this is the whole of the first lent value.
    pub fn is_whole(&self) -> bool {
        self.root == 0 && self.path.is_empty()
    }

    fn walk<'a>(&self, root: &'a Json) -> Option<&'a Json> {
        let mut tree = root;
        for step in &self.path {
            tree = match (step, tree) {
                (Step::Member(key), Json::Object(members)) => members.get(&**key)?,
                (Step::Item(at), Json::Array(items)) => items.get(*at)?,
                _ => return None,
            };
        }
        is_container(tree).then_some(tree)
    }

    fn gone(&self) -> String {
        format!("{} is not there any more", self.name())
    }

    /// The place in words, for instance `value.items[2]`.
    pub fn name(&self) -> String {
        let mut name = "value".to_owned();
        for part in &self.path {
            match part {
                Step::Member(key) => name.push_str(&step(key)),
                Step::Item(at) => name.push_str(&format!("[{}]", at + 1)),
            }
        }
        name
    }

    /// Writes or removes a member or item.
    pub fn set(&self, key: &Value, json: Option<Json>) -> Result<(), String> {
        // Clones, hashes and drops of a tree recurse; no tree may be deeper than a value.
        if json.as_ref().is_some_and(|json| self.path.len() + 1 + depth(json) > DEPTH_MAX) {
            let name = format!("{}{}", self.name(), key_name(key));
            return Err(format!("{name}: more than {DEPTH_MAX} levels"));
        }
        let mut state = self.state.borrow_mut();
        state.live(self.epoch)?;
        let draft = state.writable(self.root)?;
        let tree = draft.tree_mut().and_then(|tree| self.walk_mut(tree));
        let tree = tree.ok_or_else(|| self.gone())?;
        put(tree, key, json).map_err(|words| format!("{}{}: {words}", self.name(), key_name(key)))
    }

    fn walk_mut<'a>(&self, root: &'a mut Json) -> Option<&'a mut Json> {
        let mut tree = root;
        for step in &self.path {
            tree = match (step, tree) {
                (Step::Member(key), Json::Object(members)) => members.get_mut(&**key)?,
                (Step::Item(at), Json::Array(items)) => items.get_mut(*at)?,
                _ => return None,
            };
        }
        is_container(tree).then_some(tree)
    }

    /// The keys as they stand now, objects' in the order of their bytes.
    pub fn keys(&self) -> Result<Vec<Step>, String> {
        self.with(|tree| match tree {
            Json::Object(members) => {
                let mut keys: Vec<&String> = members.keys().collect();
                keys.sort();
                keys.into_iter().map(|key| Step::Member(key.as_str().into())).collect()
            }
            Json::Array(items) => (0..items.len()).map(Step::Item).collect(),
            _ => Vec::new(),
        })
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
