//! `kb.merge3`.

use mlua::{Function, Lua, Value};
use serde_json::Value as Json;

use crate::fault::raise;
use crate::lent::Node;
use crate::merge::merge3;
use crate::tree::{Kit, to_json, to_lua, weigh};

type Three = (Value, Value, Value, Option<Function>);

/// `kb.merge3`.
pub fn merge(lua: &Lua, (base, a, b, decide): Three) -> mlua::Result<Value> {
    let kit = Kit::of(lua)?;
    // A decision that merges in its turn could go deeper than a thread's stack.
    if std::mem::replace(&mut kit.state.borrow_mut().merging, true) {
        return Err(raise(lua, "kb.merge3: called in a decision of kb.merge3"));
    }
    let merged = merge_values(lua, &kit, (base, a, b, decide));
    kit.state.borrow_mut().merging = false;
    merged
}

fn merge_values(lua: &Lua, kit: &Kit, (base, a, b, decide): Three) -> mlua::Result<Value> {
    if [&base, &a, &b].into_iter().any(is_binary) {
        return Ok(Value::Nil);
    }
    let read = |value: &Value, what: &str| match value {
        Value::Nil => Ok(None),
        value => to_json(lua, value, || what.into()).map(Some).map_err(|e| raise(lua, e)),
    };
    let (base, a, b) = (read(&base, "base")?, read(&a, "a")?, read(&b, "b")?);
    let give = |tree: Option<&Json>| tree.map_or(Ok(Value::Nil), |tree| to_lua(lua, kit, tree));
    let mut ask = |path: &str, base: Option<&Json>, a: Option<&Json>, b: Option<&Json>| {
        let Some(decide) = &decide else { return Ok(None) };
        let decided: Value = decide.call((path, give(base)?, give(a)?, give(b)?))?;
        read(&decided, &format!("the decision on {path:?}"))
    };
    let merged = merge3(base.as_ref(), a.as_ref(), b.as_ref(), &mut ask)?;
    if let Some(tree) = &merged {
        let (nodes, text) = weigh(tree);
        kit.state.borrow_mut().build(nodes + text).map_err(|e| raise(lua, e))?;
    }
    give(merged.as_ref())
}

/// Bytes and cbor are whole: two that differ always clash.
fn is_binary(value: &Value) -> bool {
    match value {
        Value::Buffer(_) => true,
        Value::UserData(data) => !data.is::<Node>(),
        _ => false,
    }
}
