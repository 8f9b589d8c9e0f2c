//! The table `kb`: all that a script can ask of its host.

use keepboth_core::json;
use keepboth_core::limits::figure;
use keepboth_core::name::{Name, Namespace};
use keepboth_core::plugin::Effect;
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value, Variadic};
use serde_json::{Map, Value as Json};

use crate::event::may_write;
use crate::fault::{place, raise};
use crate::lent::{Node, Opaque};
use crate::log::log_functions;
use crate::merge::merge3;
use crate::state::{Rejection, Shared};
use crate::tree::{Kit, TEXT_BYTES_MAX, to_json, to_lua, to_stored, weigh};
use crate::words::{no_such_name, one_line};

/// Most writes that one call asks for.
const EFFECTS_MAX: usize = 1_000;
/// Most bytes of a script's own code in a rejection.
const CODE_BYTES_MAX: usize = 64;
/// Most bytes of a script's words in a rejection.
const MESSAGE_BYTES_MAX: usize = 500;

/// The names in `kb`, for messages and for the check of a script before it runs.
pub const NAMES: [&str; 12] = [
    "array",
    "delete",
    "hash",
    "json",
    "log",
    "merge3",
    "namespace",
    "null",
    "options",
    "put",
    "reject",
    "table",
];
/// The names in `kb.json`.
pub const JSON_NAMES: [&str; 2] = ["decode", "encode"];

/// Makes `kb`. `namespace` is the function of that name, which the loader provides.
pub fn make(
    lua: &Lua,
    kit: &Kit,
    options: &Map<String, Json>,
    namespace: Function,
) -> mlua::Result<Table> {
    let kb = lua.create_table()?;
    kb.raw_set("namespace", namespace)?;
    kb.raw_set("null", Value::NULL)?;
    kb.raw_set("log", named(lua, "kb.log", log_functions(lua, &kit.state)?)?)?;
    kb.raw_set("json", json_functions(lua)?)?;
    kb.raw_set("reject", reject(lua, &kit.state)?)?;
    kb.raw_set("put", put(lua, &kit.state)?)?;
    kb.raw_set("delete", delete(lua, &kit.state)?)?;
    kb.raw_set("merge3", lua.create_function(merge)?)?;
    kb.raw_set("hash", lua.create_function(hash)?)?;
    kb.raw_set("array", lua.create_function(array)?)?;
    kb.raw_set("table", lua.create_function(table)?)?;
    let options = to_lua(lua, kit, &Json::Object(options.clone()))?;
    freeze(&options)?;
    kb.raw_set("options", options)?;
    named(lua, "kb", kb)
}

/// Makes a table read-only, with an error that lists its names for any other one.
pub fn named(lua: &Lua, owner: &'static str, table: Table) -> mlua::Result<Table> {
    let mut names = Vec::new();
    table.for_each(|name: String, _: Value| {
        names.push(name);
        Ok(())
    })?;
    names.sort();
    let meta = lua.create_table()?;
    let unknown = lua.create_function(move |lua, (_, name): (Value, LuaString)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Err::<Value, _>(raise(lua, no_such_name(owner, &name.to_string_lossy(), &names)))
    })?;
    meta.raw_set("__index", unknown)?;
    meta.raw_set("__metatable", false)?;
    meta.set_readonly(true);
    table.set_metatable(Some(meta))?;
    table.set_readonly(true);
    Ok(table)
}

fn freeze(value: &Value) -> mlua::Result<()> {
    let Value::Table(table) = value else { return Ok(()) };
    table.for_each(|_: Value, member: Value| freeze(&member))?;
    table.set_readonly(true);
    Ok(())
}

fn reject(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (code, message): (LuaString, Option<LuaString>)| {
        let code = one_line(&code.to_string_lossy(), CODE_BYTES_MAX);
        let message = message.map_or_else(|| code.clone(), |m| m.to_string_lossy());
        let mut state = state.borrow_mut();
        match state.hook().map(|hook| hook.as_str()) {
            Some("on_put" | "on_delete") => {}
            Some(hook) => {
                let words = format!("kb.reject: {hook} cannot refuse; on_put and on_delete can");
                return Err::<(), _>(raise(lua, words));
            }
            None => return Err(raise(lua, "kb.reject: no hook runs, so nothing can be refused")),
        }
        let message = one_line(&message, MESSAGE_BYTES_MAX);
        let place = place(lua).unwrap_or_default();
        let error = mlua::Error::runtime(format!("rejected: {message}"));
        state.rejection.get_or_insert(Rejection { code, message, place });
        Err(error)
    })
}

fn put(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (ns, key, value): (LuaString, LuaString, Value)| {
        // Nil is refused, or a typo in a field's name would delete.
        if value.is_nil() {
            return Err(raise(lua, "kb.put: the value is nil; kb.delete deletes"));
        }
        let value = to_stored(lua, &value, "value").map_err(|e| raise(lua, e))?.into_stored();
        effect(lua, &state, "kb.put", (ns, key), Some(value))
    })
}

fn delete(lua: &Lua, state: &Shared) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |lua, (ns, key): (LuaString, LuaString)| {
        effect(lua, &state, "kb.delete", (ns, key), None)
    })
}

fn effect(
    lua: &Lua,
    state: &Shared,
    function: &str,
    (ns, key): (LuaString, LuaString),
    value: Option<keepboth_core::value::Value>,
) -> mlua::Result<()> {
    let fail = |words: String| raise(lua, format!("{function}: {words}"));
    let (ns, key) = (ns.to_string_lossy(), key.to_str()?);
    let namespace = Namespace::new(&ns).map_err(|e| fail(e.message.to_string()))?;
    let name = Name::new(&key).map_err(|e| fail(e.message.to_string()))?;
    let mut state = state.borrow_mut();
    if !may_write(&state) {
        return Err(fail("writes are asked for in after_put and after_delete only".into()));
    }
    if state.effects.len() == EFFECTS_MAX {
        return Err(fail(format!("{} writes for one event are the limit", figure(EFFECTS_MAX))));
    }
    let bytes = value.as_ref().map_or(0, |v| v.as_bytes().len());
    state.build(bytes).map_err(fail)?;
    state.effects.push(Effect { namespace, name, value });
    Ok(())
}

fn json_functions(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let encode = lua.create_function(|lua, value: Value| {
        let tree = to_json(lua, &value, || "value".into()).map_err(|e| raise(lua, e))?;
        lua.create_string(json::canonical(&tree))
    })?;
    let decode = lua.create_function(|lua, text: LuaString| {
        let text = text.as_bytes();
        if text.len() > TEXT_BYTES_MAX {
            let (size, limit) = (figure(text.len()), figure(TEXT_BYTES_MAX));
            return Err(raise(lua, format!("kb.json.decode: {size} bytes, the limit is {limit}")));
        }
        let tree = json::parse(&text).map_err(|e| raise(lua, format!("kb.json.decode: {e}")))?;
        to_lua(lua, &Kit::of(lua)?, &tree)
    })?;
    table.raw_set("encode", encode)?;
    table.raw_set("decode", decode)?;
    named(lua, "kb.json", table)
}

fn hash(lua: &Lua, value: Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(blake3::hash(&text.as_bytes()).to_hex().to_string()),
        Value::Buffer(buffer) => Ok(blake3::hash(&buffer.to_vec()).to_hex().to_string()),
        other => {
            let words = format!("kb.hash: a text or a buffer, not {}", other.type_name());
            Err(raise(lua, words))
        }
    }
}

fn array(lua: &Lua, table: Option<Table>) -> mlua::Result<Table> {
    let kit = Kit::of(lua)?;
    let table = match table {
        Some(table) => table,
        None => lua.create_table()?,
    };
    if table.is_readonly() || table.metatable().is_some_and(|m| m != kit.array) {
        return Err(raise(lua, "kb.array: the table is read-only or has a metatable of its own"));
    }
    kit.mark(&table)?;
    Ok(table)
}

fn table(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let tree = to_json(lua, &value, || "value".into()).map_err(|e| raise(lua, e))?;
    to_lua(lua, &Kit::of(lua)?, &tree)
}

type Three = (Value, Value, Value, Option<Function>);

fn merge(lua: &Lua, (base, a, b, decide): Three) -> mlua::Result<Value> {
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
        Value::UserData(data) => data.is::<Opaque>(),
        _ => false,
    }
}

/// What the prelude needs of the host.
pub fn host(lua: &Lua, caught: Function) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    host.raw_set("caught", caught)?;
    host.raw_set(
        "show",
        lua.create_function(|_, values: Variadic<Value>| {
            Ok(one_line(&crate::show::show_all(values.iter()), crate::show::LINE_BYTES_MAX))
        })?,
    )?;
    host.raw_set("iterate", lua.create_function(iterate)?)?;
    Ok(host)
}

fn iterate(lua: &Lua, value: Value) -> mlua::Result<MultiValue> {
    if let Value::UserData(data) = &value
        && let Ok(node) = data.borrow::<Node>()
    {
        return Ok(MultiValue::from_iter([Value::Function(crate::node::iterate(lua, &node)?)]));
    }
    Err(raise(lua, format!("pairs: a table or a value, not {}", value.type_name())))
}
