//! Lent values in Lua: proxies that convert only what is touched.

use keepboth_core::plugin::Draft;
use keepboth_core::value::{Kind, Value as Stored};
use mlua::{AnyUserData, Function, Lua, MetaMethod, MultiValue, UserData, UserDataMethods, Value};
use serde_json::Value as Json;

use crate::cbor;
use crate::fault::raise;
use crate::held::Guard;
use crate::items::give;
use crate::lent::{Node, Step, at, is_container, key_name};
use crate::limit::Limits;
use crate::state::Shared;
use crate::tree::{Kit, scalar_to_lua, to_json, to_lua};

/// A lent value in Lua: a text, number, boolean, null, buffer, or a proxy.
pub fn lend(lua: &Lua, state: &Shared, root: usize) -> mlua::Result<Value> {
    let mut lent = state.borrow_mut();
    let epoch = lent.epoch;
    let Some(draft) = lent.roots.get_mut(root) else { return Ok(Value::Nil) };
    if let Some(tree) = draft.tree() {
        if !is_container(tree) {
            let tree = tree.clone();
            drop(lent);
            return scalar_to_lua(lua, &tree);
        }
        drop(lent);
        let node = Node::whole(state, epoch, root);
        return Limits::proxy(lua, node).map(Value::UserData);
    }
    let value = draft.value().clone();
    drop(lent);
    match value.kind() {
        Kind::Bytes => lua.create_buffer(value.as_bytes()).map(Value::Buffer),
        Kind::Number => Ok(Value::Number(value.to_number().unwrap_or(f64::NAN))),
        _ => {
            let item = cbor::decode(value.as_bytes());
            let item = item.map_err(|e| raise(lua, format!("the value cannot be read: {e}")))?;
            if root == 0 {
                state.borrow_mut().item = Some(item.clone());
            }
            give(lua, &item, 0, &Guard::Lent { state: state.clone(), epoch, root })
        }
    }
}

/// Lends one more value, to be read.
pub fn lend_more(lua: &Lua, state: &Shared, value: Stored) -> mlua::Result<Value> {
    let root = {
        let mut state = state.borrow_mut();
        state.roots.push(Draft::new(value, None));
        state.roots.len() - 1
    };
    lend(lua, state, root)
}

/// A copy of a value for whoever keeps it: plain tables, or CBOR of its own.
pub fn copy(lua: &Lua, value: &Stored) -> mlua::Result<Value> {
    if let Some(tree) = value.to_json() {
        return to_lua(lua, &Kit::of(lua)?, &tree);
    }
    match value.kind() {
        Kind::Bytes => lua.create_buffer(value.as_bytes()).map(Value::Buffer),
        Kind::Number => Ok(Value::Number(value.to_number().unwrap_or(f64::NAN))),
        _ => {
            let item = cbor::decode(value.as_bytes());
            let item = item.map_err(|e| raise(lua, format!("the value cannot be read: {e}")))?;
            give(lua, &item, 0, &Guard::Own)
        }
    }
}

/// What stands under a key.
enum Found {
    Value(Value),
    Container,
}

/// The member or item under this Lua key; nil if there is none.
fn index(lua: &Lua, node: &Node, key: &Value) -> mlua::Result<Value> {
    let found = node.with(|tree| {
        let found = match (tree, key) {
            (Json::Object(members), Value::String(key)) => {
                std::str::from_utf8(&key.as_bytes()).ok().and_then(|key| members.get(key))
            }
            (Json::Array(items), Value::Integer(i)) => at(*i).and_then(|at| items.get(at)),
            _ => None,
        };
        match found {
            None => Ok(Found::Value(Value::Nil)),
            Some(part) if is_container(part) => Ok(Found::Container),
            // Luau copies a text here; nothing of the script runs while the tree is borrowed.
            Some(scalar) => scalar_to_lua(lua, scalar).map(Found::Value),
        }
    });
    match found.map_err(|e| raise(lua, e))?? {
        Found::Value(value) => Ok(value),
        Found::Container => Limits::proxy(lua, node.part(lua, next(key)?)?).map(Value::UserData),
    }
}

fn next(key: &Value) -> mlua::Result<Step> {
    match key {
        Value::String(key) => Ok(Step::Member((&*key.to_str()?).into())),
        Value::Integer(i) => Ok(Step::Item(at(*i).unwrap_or(usize::MAX))),
        other => Err(mlua::Error::runtime(format!("a key that is a {}", other.type_name()))),
    }
}

/// Writes or removes a member or item.
fn set(lua: &Lua, node: &Node, key: &Value, value: &Value) -> Result<(), String> {
    let json = match value {
        Value::Nil => None,
        value => Some(to_json(lua, value, || format!("{}{}", node.name(), key_name(key)))?),
    };
    node.set(key, json)
}

/// An iterator over keys and values for Lua's `for`; a member that is removed meanwhile is left out.
pub fn iterate(lua: &Lua, node: &Node) -> mlua::Result<Function> {
    let (node, mut keys) = (node.clone(), node.keys(lua)?);
    lua.create_function_mut(move |lua, _: MultiValue| {
        for step in keys.by_ref() {
            let key = match step {
                Step::Member(key) => Limits::text(lua, key.as_bytes())?,
                Step::Item(at) => Value::Integer(at as i64 + 1),
            };
            let value = index(lua, &node, &key)?;
            if !value.is_nil() {
                return Ok((key, value));
            }
        }
        Ok((Value::Nil, Value::Nil))
    })
}

impl UserData for Node {
    fn add_fields<F: mlua::UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "value");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, node, key: Value| index(lua, node, &key));
        methods.add_meta_method(MetaMethod::NewIndex, |lua, node, (key, value): (Value, Value)| {
            set(lua, node, &key, &value).map_err(|e| raise(lua, e))
        });
        methods.add_meta_method(MetaMethod::Len, |lua, node, ()| {
            let length = node.with(|tree| tree.as_array().map_or(0, Vec::len));
            length.map_err(|e| raise(lua, e))
        });
        methods.add_meta_method(MetaMethod::Iter, |lua, node, ()| iterate(lua, node));
        methods.add_meta_method(MetaMethod::Eq, |lua, node, other: AnyUserData| {
            let Ok(other) = other.borrow::<Node>() else { return Ok(false) };
            let one = node.with(Json::clone).map_err(|e| raise(lua, e))?;
            other.with(|tree| *tree == one).map_err(|e| raise(lua, e))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, node, ()| {
            Ok(node.with(Json::to_string).unwrap_or_else(|over| format!("({over})")))
        });
    }
}
