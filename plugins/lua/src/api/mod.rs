//! The table `kb`: all that a script can ask of its host. The entries here make it, check scripts
//! before they run, and are what `kb.d.luau` is written from.

use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value, Variadic};
use serde_json::{Map, Value as Json};

use crate::fault::raise;
use crate::lent::Node;
use crate::line::Level;
use crate::log;
use crate::named::{freeze, named};
use crate::register::{self, Registry};
use crate::tree::{Kit, to_lua};
use crate::words::one_line;

/// `kb.cbor`.
mod cbor;
/// `kb.json`, `kb.hash`, `kb.array`, `kb.table`.
mod data;
/// `kb.merge3`.
mod merge3;
/// `kb.get`, `kb.list`.
mod read;
/// `kb.reject`, `kb.put`, `kb.delete`.
mod write;

/// A name in `kb` or in a table of it.
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// What it is and does, for the editor.
    pub about: &'static str,
    /// What stands there.
    pub is: Is,
}

/// What stands under a name.
pub enum Is {
    /// A function or a value, with its type in Luau.
    Thing(&'static str, fn(&Making<'_>) -> mlua::Result<Value>),
    /// A table, with its name in messages.
    Table(&'static str, &'static [Entry]),
}

/// What the functions are made of.
pub struct Making<'a> {
    /// The VM.
    pub lua: &'a Lua,
    /// Its running call.
    pub kit: &'a Kit,
    /// The options of the settings.
    pub options: &'a Map<String, Json>,
    /// Where hooks are registered.
    pub registry: &'a Rc<Registry>,
}

const fn thing(
    name: &'static str,
    luau: &'static str,
    about: &'static str,
    make: fn(&Making<'_>) -> mlua::Result<Value>,
) -> Entry {
    Entry { name, about, is: Is::Thing(luau, make) }
}

const LOG: &str = "(...any) -> ()";

const CBOR: &[Entry] = &[
    thing("date", "(ms: number) -> Date", "A point in time, in milliseconds since 1970.", |m| {
        function(m.lua.create_function(cbor::date))
    }),
    thing("decode", "(bytes: buffer) -> Value", "The value of one CBOR item.", |m| {
        function(m.lua.create_function(cbor::decode))
    }),
    thing("encode", "(value: Value) -> buffer", "The deterministic form (RFC 8949, 4.2).", |m| {
        function(m.lua.create_function(cbor::encode))
    }),
    thing(
        "int",
        "(decimal: string) -> Integer | number",
        "A whole number of any size up to 1,024 digits; a small one is a number.",
        |m| function(m.lua.create_function(cbor::int)),
    ),
    thing(
        "make",
        "(value: Value) -> Cbor",
        "A cbor value of a table, in which buffers, dates, integers and sets may stand.",
        |m| function(m.lua.create_function(cbor::make)),
    ),
    thing("set", "(items: { any }) -> Set", "A set of these items, each once.", |m| {
        function(m.lua.create_function(cbor::set))
    }),
    thing("tag", "(tag: number, value: Value) -> Tagged", "An item with another tag.", |m| {
        function(m.lua.create_function(cbor::tag))
    }),
    thing("undefined", "Undefined", "CBOR's undefined.", |m| cbor::undefined(m.lua)),
];

/// All names in `kb`, sorted.
pub const ENTRIES: &[Entry] = &[
    thing(
        "array",
        "(items: { any }?) -> { any }",
        "Marks a table as an array, so that it is one even when empty.",
        |m| function(m.lua.create_function(data::array)),
    ),
    Entry {
        name: "cbor",
        about: "Values with what JSON does not have.",
        is: Is::Table("kb.cbor", CBOR),
    },
    thing(
        "delete",
        "(namespace: string, key: string) -> ()",
        "Asks for a delete after this write. Only in after_put, after_delete and timers.",
        |m| function(write::delete(m.lua, &m.kit.state)),
    ),
    thing(
        "every",
        "(period: string, handler: (ev: TimerEvent) -> (), options: { on: (\"elected\" | \"every\")? }?) -> ()",
        "Calls the handler every \"30s\", \"5m\", \"1h\" or \"7d\": on the one node that is elected, or on every node.",
        |m| function(register::every(m.lua, m.registry)),
    ),
    thing(
        "get",
        "(namespace: string, key: string) -> (Value?, { string }?)",
        "The value of an object of this node. nil if there is none; nil and addresses if there are several.",
        |m| function(read::get(m.lua, &m.kit.state)),
    ),
    thing("hash", "(bytes: string | buffer) -> string", "BLAKE3 in hex.", |m| {
        function(m.lua.create_function(data::hash))
    }),
    Entry {
        name: "json",
        about: "JSON as text.",
        is: Is::Table(
            "kb.json",
            &[
                thing("decode", "(text: string) -> any", "Strict JSON to plain tables.", |m| {
                    function(m.lua.create_function(data::decode))
                }),
                thing(
                    "encode",
                    "(value: Value) -> string",
                    "The canonical form (RFC 8785).",
                    |m| function(m.lua.create_function(data::encode)),
                ),
            ],
        ),
    },
    thing(
        "list",
        "(namespace: string, prefix: string?, options: { after: string?, limit: number? }?) -> ({ Listed }, string?)",
        "Objects of this node in the order of their keys, and the key to go on after, if there are more.",
        |m| function(read::list(m.lua, &m.kit.state)),
    ),
    Entry {
        name: "log",
        about: "The server's log; script and line are added.",
        is: Is::Table(
            "kb.log",
            &[
                thing("debug", LOG, "", |m| {
                    function(log::function(m.lua, &m.kit.state, Level::Debug))
                }),
                thing("error", LOG, "", |m| {
                    function(log::function(m.lua, &m.kit.state, Level::Error))
                }),
                thing("info", LOG, "", |m| {
                    function(log::function(m.lua, &m.kit.state, Level::Info))
                }),
                thing("warn", LOG, "", |m| {
                    function(log::function(m.lua, &m.kit.state, Level::Warn))
                }),
            ],
        ),
    },
    thing(
        "merge3",
        "(base: Value?, a: Value?, b: Value?, decide: Decide?) -> Value?",
        "Merges two values that were one; nil where they clash and decide leaves it (returns nil).",
        |m| function(m.lua.create_function(merge3::merge)),
    ),
    thing(
        "namespace",
        "(name: string?) -> Namespace",
        "The namespace that the script is bound to; another one is an error at its first hook.",
        |m| function(register::namespace(m.lua, m.registry)),
    ),
    thing("null", "any", "JSON's null; not nil, and it counts as true.", |_| Ok(Value::NULL)),
    thing("options", "{ [string]: any }", "`options` of the plugin's settings, read-only.", |m| {
        let options = to_lua(m.lua, m.kit, &Json::Object(m.options.clone()))?;
        freeze(&options)?;
        Ok(options)
    }),
    thing(
        "put",
        "(namespace: string, key: string, value: Value) -> ()",
        "Asks for a put after this write. Only in after_put, after_delete and timers.",
        |m| function(write::put(m.lua, &m.kit.state)),
    ),
    thing(
        "reject",
        "(code: string, message: string?) -> never",
        "Refuses the write, for good. Only in on_put and on_delete.",
        |m| function(write::reject(m.lua, &m.kit.state)),
    ),
    thing("table", "(value: Value) -> any", "A copy of a lent value as a plain table.", |m| {
        function(m.lua.create_function(data::table))
    }),
];

fn function(made: mlua::Result<Function>) -> mlua::Result<Value> {
    made.map(Value::Function)
}

/// The names of these entries.
pub fn names(entries: &[Entry]) -> Vec<&'static str> {
    entries.iter().map(|entry| entry.name).collect()
}

/// Makes `kb`.
pub fn make(making: &Making<'_>) -> mlua::Result<Value> {
    make_some(making, "kb", ENTRIES.iter())
}

/// What a file of tests has of `kb`: what only computes.
pub fn make_pure(making: &Making<'_>) -> mlua::Result<Value> {
    let pure = ["array", "cbor", "hash", "json", "merge3", "null", "table"];
    make_some(making, "kb in tests", ENTRIES.iter().filter(|entry| pure.contains(&entry.name)))
}

fn make_some(
    making: &Making<'_>,
    owner: &'static str,
    entries: impl Iterator<Item = &'static Entry>,
) -> mlua::Result<Value> {
    let table = making.lua.create_table()?;
    for entry in entries {
        let value = match &entry.is {
            Is::Thing(_, make) => make(making)?,
            Is::Table(owner, entries) => make_some(making, owner, entries.iter())?,
        };
        table.raw_set(entry.name, value)?;
    }
    named(making.lua, owner, table).map(Value::Table)
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
    if let Value::UserData(data) = &value {
        let iterator = match data.borrow::<Node>() {
            Ok(node) => Some(crate::node::iterate(lua, &node)?),
            Err(_) => crate::items::iterate(lua, data)?,
        };
        if let Some(iterator) = iterator {
            return iterator.into_lua_multi(lua);
        }
    }
    Err(raise(lua, format!("pairs: a table or a value, not {}", value.type_name())))
}
