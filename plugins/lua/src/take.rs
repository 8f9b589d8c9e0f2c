//! Lua values as CBOR items.

use mlua::{Lua, Table, Value};
use serde_json::Value as Json;

use crate::cbor::Item;
use crate::held;
use crate::lent::{Node, step};
use crate::misfit::{Count, HOLES, MIXED, Misfit, finish, stop};
use crate::tree::{Above, Kit, weigh};

/// A Lua value as an item that shares nothing with the script; refused with its place under `what`.
pub fn item(lua: &Lua, value: &Value, what: &str) -> Result<Item, String> {
    let kit = Kit::of(lua).map_err(|e| e.to_string())?;
    let mut reader = Reader { kit: &kit, above: Above::default(), count: Count::default() };
    let item = reader.value(value);
    let built = kit.state.borrow_mut().build(reader.count.bytes());
    let item = item.map_err(|misfit| format!("{what}{misfit}"))?;
    built.map(|()| item)
}

/// A text, number, boolean, null, buffer or date and the like as an item; None for anything else.
pub fn scalar(value: &Value) -> Option<Result<Item, String>> {
    Some(Ok(match value {
        Value::Boolean(b) => Item::Bool(*b),
        Value::Integer(n) => whole(*n),
        Value::Number(n) => Item::Float(*n),
        Value::String(text) => match std::str::from_utf8(&text.as_bytes()) {
            Ok(text) => Item::Text(text.into()),
            Err(_) => return Some(Err("a text that is not UTF-8; bytes are a buffer".into())),
        },
        Value::Buffer(buffer) => Item::Bytes(buffer.to_vec().into()),
        null if null.is_null() => Item::Null,
        _ => return None,
    }))
}

/// Whole numbers up to this size are Lua's own.
pub const EXACT_MAX: i128 = 1 << 53;

/// A whole number as an integer; a float if it is so large that an integer would not have come as a number.
fn whole(n: i64) -> Item {
    let is_exact = i128::from(n).abs() <= EXACT_MAX;
    if is_exact { Item::Int(n.into()) } else { Item::Float(n as f64) }
}

struct Reader<'a> {
    kit: &'a Kit,
    above: Above,
    count: Count,
}

impl Reader<'_> {
    fn value(&mut self, value: &Value) -> Result<Item, Misfit> {
        let (nodes, text) = match value {
            Value::String(text) => (1, text.as_bytes().len()),
            Value::Buffer(buffer) => (1, buffer.len()),
            _ => (1, 0),
        };
        self.count.add(nodes, text)?;
        if let Some(scalar) = scalar(value) {
            return scalar.map_err(Misfit::new);
        }
        match value {
            Value::Table(table) => self.table(table),
            Value::UserData(data) if data.is::<Node>() => {
                let node = data.borrow::<Node>().map_err(|e| Misfit::new(e.to_string()))?;
                let tree = node.with(Json::clone).map_err(Misfit::new)?;
                let (nodes, text) = weigh(&tree);
                self.count.add(nodes, text)?;
                self.deep(from_json(&tree))
            }
            Value::UserData(data) => match held::item(data) {
                Some(item) => {
                    let item = item.map_err(Misfit::new)?;
                    let (nodes, text) = item.weight();
                    self.count.add(nodes, text)?;
                    self.deep(item.copy())
                }
                None => Err(Misfit::new("an event is no value")),
            },
            Value::Nil => Err(Misfit::new("there is nil; null is kb.null")),
            other => Err(Misfit::new(format!("CBOR has no {}", other.type_name()))),
        }
    }

    fn deep(&self, item: Item) -> Result<Item, Misfit> {
        crate::cbor::fits(&item, self.above.depth()).map_err(Misfit::new)?;
        Ok(item)
    }

    fn table(&mut self, table: &Table) -> Result<Item, Misfit> {
        self.above.enter(table)?;
        let item = self.members(table);
        self.above.leave();
        item
    }

    fn members(&mut self, table: &Table) -> Result<Item, Misfit> {
        let length = table.raw_len();
        let is_list = length > 0 || table.metatable().is_some_and(|m| m == self.kit.array);
        if is_list {
            self.count.add(length, 0)?;
        }
        let (mut items, mut entries) = (vec![None; length], Vec::new());
        let mut misfit = None;
        let done = table.for_each(|key: Value, value: Value| {
            let mut one = || {
                match key {
                    Value::Integer(i) if is_list && i >= 1 && i as usize <= length => {
                        let item = self.value(&value).map_err(|e| e.under(&format!("[{i}]")))?;
                        items[i as usize - 1] = Some(item);
                    }
                    Value::String(_) if is_list => return Err(Misfit::new(MIXED)),
                    _ if is_list => return Err(Misfit::new(HOLES)),
                    ref key => {
                        let name = self.value(key)?;
                        let at = match &name {
                            Item::Text(text) => step(text),
                            other => format!("[{other}]"),
                        };
                        entries.push((name, self.value(&value).map_err(|e| e.under(&at))?));
                    }
                }
                Ok(())
            };
            one().map_err(|e| stop(&mut misfit, e))
        });
        finish(done, misfit)?;
        if !is_list {
            return Ok(Item::map(entries));
        }
        let items: Option<Vec<Item>> = items.into_iter().collect();
        items.map(Item::list).ok_or_else(|| Misfit::new(HOLES))
    }
}

fn from_json(tree: &Json) -> Item {
    match tree {
        Json::Null => Item::Null,
        Json::Bool(b) => Item::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => whole(n),
            None => Item::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Item::Text(text.as_str().into()),
        Json::Array(items) => Item::list(items.iter().map(from_json).collect()),
        Json::Object(members) => {
            let entry = |(key, value): (&String, &Json)| {
                (Item::Text(key.as_str().into()), from_json(value))
            };
            Item::map(members.iter().map(entry))
        }
    }
}
