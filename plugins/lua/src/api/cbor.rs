//! `kb.cbor`: values with what JSON does not have.

use mlua::{Buffer, Lua, LuaString, Value};

use keepboth_core::value::Value as Stored;

use crate::cbor::{Item, decode as read, fits, moment, parse_whole};
use crate::fault::raise;
use crate::held::Guard;
use crate::items::give;
use crate::misfit::{NODE_BYTES, TEXT_BYTES_MAX};
use crate::take;
use crate::tree::Kit;

fn own(lua: &Lua, item: &Item) -> mlua::Result<Value> {
    fits(item, 0).map_err(|e| raise(lua, e))?;
    give(lua, item, 0, &Guard::Own)
}

/// `kb.cbor.make`.
pub fn make(lua: &Lua, value: Value) -> mlua::Result<Value> {
    own(lua, &take::item(lua, &value, "value").map_err(|e| raise(lua, e))?)
}

/// `kb.cbor.encode`.
pub fn encode(lua: &Lua, value: Value) -> mlua::Result<Buffer> {
    let item = take::item(lua, &value, "value").map_err(|e| raise(lua, e))?;
    let stored = Stored::cbor(&crate::cbor::encode(&item));
    lua.create_buffer(stored.map_err(|e| raise(lua, e.message))?.as_bytes())
}

/// `kb.cbor.decode`.
pub fn decode(lua: &Lua, bytes: Buffer) -> mlua::Result<Value> {
    let fail = |words: String| raise(lua, format!("kb.cbor.decode: {words}"));
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(fail(format!("{} bytes, the limit is {TEXT_BYTES_MAX}", bytes.len())));
    }
    let stored = Stored::cbor(&bytes.to_vec()).map_err(|e| fail(e.message))?;
    let item = read(stored.as_bytes()).map_err(|e| fail(e.to_string()))?;
    let (nodes, text) = item.weight();
    Kit::of(lua)?.state.borrow_mut().build(nodes * NODE_BYTES + text).map_err(fail)?;
    own(lua, &item)
}

/// `kb.cbor.date`.
pub fn date(lua: &Lua, ms: f64) -> mlua::Result<Value> {
    if !ms.is_finite() {
        return Err(raise(lua, format!("kb.cbor.date: {ms} is no time in milliseconds")));
    }
    own(lua, &moment(ms))
}

/// `kb.cbor.int`.
pub fn int(lua: &Lua, number: LuaString) -> mlua::Result<Value> {
    let item = parse_whole(&number.to_string_lossy());
    own(lua, &item.map_err(|words| raise(lua, format!("kb.cbor.int: {words}")))?)
}

/// `kb.cbor.set`.
pub fn set(lua: &Lua, items: Value) -> mlua::Result<Value> {
    let item = take::item(lua, &items, "value").map_err(|e| raise(lua, e))?;
    match item {
        Item::List(items) => own(lua, &Item::set(items.take())),
        Item::Map(entries) if entries.borrow().is_empty() => own(lua, &Item::set(Vec::new())),
        other => Err(raise(lua, format!("kb.cbor.set: a list of items, not {other}"))),
    }
}

/// `kb.cbor.tag`.
pub fn tag(lua: &Lua, (tag, value): (f64, Value)) -> mlua::Result<Value> {
    if tag.fract() != 0.0 || !(0.0..9e15).contains(&tag) {
        return Err(raise(lua, format!("kb.cbor.tag: {tag} is no tag; it is 0 to 2^53")));
    }
    let item = take::item(lua, &value, "value").map_err(|e| raise(lua, e))?;
    own(lua, &Item::tagged(tag as u64, item))
}

/// `kb.cbor.undefined`.
pub fn undefined(lua: &Lua) -> mlua::Result<Value> {
    own(lua, &Item::Undefined)
}
