//! Between Lua values and JSON trees.

use keepboth_core::limits::{DEPTH_MAX, figure};
use keepboth_core::value::Value as Stored;
use mlua::{Lua, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::held;
use crate::lent::{Node, depth, step};
use crate::limit::Limits;
use crate::misfit::{Count, HOLES, MIXED, Misfit, NODES_MAX, finish, stop};
use crate::state::Shared;

/// What all conversions of one VM need.
#[derive(Clone)]
pub struct Kit {
    /// The running call.
    pub state: Shared,
    /// The metatable that marks a table as an array.
    pub array: Table,
}

impl Kit {
    /// A kit for a new VM.
    pub fn new(lua: &Lua, state: &Shared) -> mlua::Result<Kit> {
        let array = lua.create_table()?;
        array.raw_set("__metatable", "array")?;
        array.set_readonly(true);
        Ok(Kit { state: state.clone(), array })
    }

    /// The kit of this VM.
    pub fn of(lua: &Lua) -> mlua::Result<Kit> {
        let kit = lua.app_data_ref::<Kit>().map(|kit| kit.clone());
        kit.ok_or_else(|| mlua::Error::runtime("the VM is not set up"))
    }

    /// Marks a table as an array, so that it is one even when empty.
    pub fn mark(&self, table: &Table) -> mlua::Result<()> {
        table.set_metatable(Some(self.array.clone()))
    }
}

/// A Lua value as a whole value: of any kind.
pub fn to_stored(lua: &Lua, value: &Value, what: &str) -> Result<Whole, String> {
    match value {
        Value::Number(n) => Ok(Whole::Stored(Stored::number(*n))),
        Value::Buffer(buffer) => Ok(Whole::Stored(Stored::bytes(buffer.to_vec()))),
        Value::UserData(data) if !data.is::<Node>() => {
            let Some(item) = held::item(data) else {
                return Err(format!("{what}: an event is no value"));
            };
            let bytes = crate::cbor::encode(&item?);
            Ok(Whole::Stored(Stored::cbor(&bytes).map_err(|e| format!("{what}: {}", e.message))?))
        }
        _ => to_json(lua, value, || what.to_owned()).map(Whole::Tree),
    }
}

/// A value on its way from a script.
pub enum Whole {
    /// Of a kind that JSON has.
    Tree(Json),
    /// Of any kind.
    Stored(Stored),
}

impl Whole {
    /// The value.
    pub fn into_stored(self) -> Stored {
        match self {
            Whole::Tree(tree) => Stored::json(&tree),
            Whole::Stored(value) => value,
        }
    }
}

/// A Lua value as a tree. Refused, with its place under the name `what`: what JSON does not have.
pub fn to_json(lua: &Lua, value: &Value, what: impl FnOnce() -> String) -> Result<Json, String> {
    // Borrowed, not cloned: this is called for every member that a script sets.
    let kit = lua.app_data_ref::<Kit>().ok_or("the VM is not set up")?;
    let mut reader = Reader { kit: &kit, above: Above::default(), count: Count::default() };
    let tree = reader.value(value);
    let built = kit.state.borrow_mut().build(reader.count.bytes());
    let tree = tree.map_err(|misfit| format!("{}{misfit}", what()))?;
    built.map(|()| tree)
}

/// The tables above the one that is read: none may contain itself, nor go too deep.
#[derive(Default)]
pub(crate) struct Above(Vec<usize>);

impl Above {
    /// Goes into a table.
    pub(crate) fn enter(&mut self, table: &Table) -> Result<(), Misfit> {
        let identity = table.to_pointer() as usize;
        if self.0.contains(&identity) {
            return Err(Misfit::new("a table that contains itself"));
        }
        if self.0.len() == DEPTH_MAX {
            return Err(Misfit::new(format!("more than {DEPTH_MAX} levels")));
        }
        self.0.push(identity);
        Ok(())
    }

    /// Comes out of it.
    pub(crate) fn leave(&mut self) {
        self.0.pop();
    }

    /// How many tables there are above.
    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }
}

struct Reader<'a> {
    kit: &'a Kit,
    above: Above,
    count: Count,
}

impl Reader<'_> {
    fn value(&mut self, value: &Value) -> Result<Json, Misfit> {
        self.count.add(1, 0)?;
        match value {
            Value::Boolean(b) => Ok(Json::Bool(*b)),
            Value::Integer(n) => Ok(Json::from(*n)),
            Value::Number(n) => number(*n),
            Value::String(text) => self.text(&text.as_bytes()).map(Json::String),
            Value::Table(table) => self.table(table),
            Value::UserData(data) if data.is::<Node>() => self.node(data),
            Value::UserData(_) => Err(Misfit::new(CBOR_INSIDE)),
            null if null.is_null() => Ok(Json::Null),
            Value::Nil => Err(Misfit::new("there is nil; JSON's null is kb.null")),
            Value::Buffer(_) => Err(Misfit::new(BYTES_INSIDE)),
            other => Err(Misfit::new(format!("JSON has no {}", other.type_name()))),
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Result<String, Misfit> {
        self.count.add(0, bytes.len())?;
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|_| Misfit::new("a text that is not UTF-8"))
    }

    fn node(&mut self, data: &mlua::AnyUserData) -> Result<Json, Misfit> {
        let node = data.borrow::<Node>().map_err(|e| Misfit::new(e.to_string()))?;
        let tree = node.with(|tree| tree.clone()).map_err(Misfit::new)?;
        let (nodes, text) = weigh(&tree);
        self.count.add(nodes, text)?;
        if self.above.depth() + depth(&tree) > DEPTH_MAX {
            return Err(Misfit::new(format!("more than {DEPTH_MAX} levels")));
        }
        Ok(tree)
    }

    fn table(&mut self, table: &Table) -> Result<Json, Misfit> {
        self.above.enter(table)?;
        let tree = self.members(table);
        self.above.leave();
        tree
    }

    fn members(&mut self, table: &Table) -> Result<Json, Misfit> {
        let length = table.raw_len();
        let marked = table.metatable().is_some_and(|m| m == self.kit.array);
        if length > 0 || marked {
            return self.items(table, length);
        }
        let mut members = Map::new();
        let mut misfit = None;
        let done = table.for_each(|key: Value, value: Value| {
            match self.member(&key, &value) {
                Ok((key, json)) => members.insert(key, json),
                Err(e) => return Err(stop(&mut misfit, e)),
            };
            Ok(())
        });
        finish(done, misfit)?;
        Ok(Json::Object(members))
    }

    fn member(&mut self, key: &Value, value: &Value) -> Result<(String, Json), Misfit> {
        let Value::String(key) = key else {
            let words = match key {
                Value::Integer(_) | Value::Number(_) => {
                    "a table with holes or with both items and members".into()
                }
                other => format!("a key that is a {}", other.type_name()),
            };
            return Err(Misfit::new(words));
        };
        let key = self.text(&key.as_bytes())?;
        match self.value(value) {
            Ok(json) => Ok((key, json)),
            Err(e) => Err(e.under(&step(&key))),
        }
    }

    fn items(&mut self, table: &Table, length: usize) -> Result<Json, Misfit> {
        if length > NODES_MAX {
            return Err(Misfit::new(format!("more than {} items", figure(NODES_MAX))));
        }
        let mut items = vec![Json::Null; length];
        let mut found = 0;
        let mut misfit = None;
        let done = table.for_each(|key: Value, value: Value| {
            let at = match key {
                Value::Integer(i) if i >= 1 && i as usize <= length => i as usize,
                Value::String(_) => return Err(stop(&mut misfit, Misfit::new(MIXED))),
                _ => return Err(stop(&mut misfit, Misfit::new(HOLES))),
            };
            match self.value(&value) {
                Ok(json) => items[at - 1] = json,
                Err(e) => return Err(stop(&mut misfit, e.under(&format!("[{at}]")))),
            }
            found += 1;
            Ok(())
        });
        finish(done, misfit)?;
        if found < length {
            return Err(Misfit::new(HOLES));
        }
        Ok(Json::Array(items))
    }
}

const BYTES_INSIDE: &str = "JSON has no bytes inside; make the whole value with kb.cbor.make, or the bytes a value of their own";
const CBOR_INSIDE: &str = "JSON has no such part; make the whole value with kb.cbor.make";

fn number(n: f64) -> Result<Json, Misfit> {
    let number = Number::from_f64(n).map(Json::Number);
    number.ok_or_else(|| Misfit::new(format!("JSON has no {n}")))
}

/// Nodes and bytes of text of a tree.
pub fn weigh(tree: &Json) -> (usize, usize) {
    match tree {
        Json::String(text) => (1, text.len()),
        Json::Array(items) => sum(items.iter().map(weigh)),
        Json::Object(members) => sum(members.iter().map(|(key, member)| {
            let (nodes, text) = weigh(member);
            (nodes, text + key.len())
        })),
        _ => (1, 0),
    }
}

fn sum(parts: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    parts.fold((1, 0), |(nodes, text), part| (nodes + part.0, text + part.1))
}

/// More than what the VM takes for a node of a tree and its key besides the bytes of their texts.
const NODE_BYTES: usize = 256;
/// The VM takes its memory in pages, one for each size of what it holds.
const PAGE_BYTES: usize = 32 * 1024;
/// All sizes together.
const PAGES_BYTES: usize = 1_500_000;
const FEW_NODES: usize = PAGES_BYTES / PAGE_BYTES;

/// A tree as plain Lua tables; arrays are marked, so that an empty one comes back as an array.
pub fn to_lua(lua: &Lua, kit: &Kit, tree: &Json) -> mlua::Result<Value> {
    Limits::made(lua, bytes_in_vm(tree), || plain(lua, kit, tree))
}

/// More than what a tree takes as plain Lua tables.
pub fn bytes_in_vm(tree: &Json) -> usize {
    let (nodes, text) = weigh(tree);
    let pages = if nodes > FEW_NODES { PAGES_BYTES } else { nodes * PAGE_BYTES };
    nodes * NODE_BYTES + text + pages
}

fn plain(lua: &Lua, kit: &Kit, tree: &Json) -> mlua::Result<Value> {
    match tree {
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (i, item) in items.iter().enumerate() {
                table.raw_set(i + 1, plain(lua, kit, item)?)?;
            }
            kit.mark(&table)?;
            Ok(Value::Table(table))
        }
        Json::Object(members) => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for (key, member) in members {
                table.raw_set(key.as_str(), plain(lua, kit, member)?)?;
            }
            Ok(Value::Table(table))
        }
        scalar => scalar_to_lua(lua, scalar),
    }
}

/// A text, number, boolean or null in Lua.
pub fn scalar_to_lua(lua: &Lua, scalar: &Json) -> mlua::Result<Value> {
    Ok(match scalar {
        Json::Bool(b) => Value::Boolean(*b),
        Json::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Limits::text(lua, text.as_bytes())?,
        _ => Value::NULL,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::state::{HostSlot, State};

    #[test]
    fn a_tree_takes_no_more_of_the_vm_than_is_reckoned() {
        let text = |bytes: usize| json!("x".repeat(bytes));
        let members = |count: usize, bytes: usize| {
            Json::Object((0..count).map(|n| (format!("{n:0bytes$}"), text(bytes))).collect())
        };
        let items = |count: usize| Json::Array((0..count).map(|n| json!(n)).collect());
        let of_each_size =
            Json::Array((0..500).flat_map(|n| [json!(format!("{n:0n$}")), items(n)]).collect());
        for tree in [
            json!({}),
            json!([[], {}, ["a"], {"a": "b"}]),
            members(20, 40),
            members(513, 3),
            members(33, 1_000),
            items(10_000),
            Json::Array(vec![json!({"n": 1}); 5_000]),
            Json::Array(vec![json!([]); 20_000]),
            of_each_size,
            text(200_000),
        ] {
            let lua = Lua::new();
            let state = State::new(usize::MAX, HostSlot::default(), None);
            let kit = Kit::new(&lua, &Rc::new(RefCell::new(state))).expect("a kit");
            let before = lua.used_memory();
            let made = plain(&lua, &kit, &tree).expect("made");
            let (took, reckoned) = (lua.used_memory() - before, bytes_in_vm(&tree));
            assert!(took <= reckoned, "{took} of {reckoned} bytes: {made:?} of {tree:.100}");
        }
    }
}
