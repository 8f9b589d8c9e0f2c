//! `equal(found, expected)`: whether two values have the same content, told readably if not.

use mlua::{Lua, Value};

use crate::cbor::encode;
use crate::fault::raise;
use crate::show::show_all;
use crate::take;
use crate::words::one_line;

/// Most bytes of a value in a message.
const SHOWN_MAX: usize = 200;

/// Fails if the contents differ. An empty table is both an empty list and an empty map.
pub fn equal(lua: &Lua, (found, expected): (Value, Value)) -> mlua::Result<()> {
    let content = |value: &Value, what: &str| match value {
        Value::Nil => Ok(None),
        value => take::item(lua, value, what).map(|item| match encode(&item) {
            bytes if bytes == [0x80] => Some(vec![0xa0]),
            bytes => Some(bytes),
        }),
    };
    let both = content(&found, "found").and_then(|f| Ok((f, content(&expected, "expected")?)));
    let (have, want) = both.map_err(|words| raise(lua, format!("equal: {words}")))?;
    if have == want {
        return Ok(());
    }
    let shown = |value: &Value| match value {
        Value::String(text) => format!("{:?}", one_line(&text.to_string_lossy(), SHOWN_MAX)),
        value => one_line(&show_all([value]), SHOWN_MAX),
    };
    Err(raise(lua, format!("expected {}, found {}", shown(&expected), shown(&found))))
}
