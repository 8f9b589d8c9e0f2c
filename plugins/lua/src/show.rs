//! Lua values as readable text for logs: never an address, always bounded.

use mlua::{Table, Value};
use serde_json::Value as Json;

use crate::lent::Node;

/// Most bytes of one line in the log.
pub const LINE_BYTES_MAX: usize = 1_024;
const DEPTH_MAX: usize = 8;

/// A text that takes no more than a line.
#[derive(Default)]
pub struct Short(pub String);

impl std::fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() > LINE_BYTES_MAX {
            return Err(std::fmt::Error);
        }
        push_text(&mut self.0, text.as_bytes());
        Ok(())
    }
}

/// The values with a space between; texts as they are, all else as in JSON.
pub fn show_all<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut out = String::new();
    for (i, value) in values.into_iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        match value {
            Value::String(text) => push_text(&mut out, &text.as_bytes()),
            value => push(&mut out, value, 0),
        }
        if out.len() > LINE_BYTES_MAX {
            break;
        }
    }
    out
}

fn push_text(out: &mut String, bytes: &[u8]) {
    let some = &bytes[..bytes.len().min(LINE_BYTES_MAX + 4)];
    out.push_str(&String::from_utf8_lossy(some));
}

fn push(out: &mut String, value: &Value, depth: usize) {
    if out.len() > LINE_BYTES_MAX {
        return;
    }
    match value {
        Value::Nil => out.push_str("nil"),
        null if null.is_null() => out.push_str("null"),
        Value::Boolean(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Integer(n) => out.push_str(&n.to_string()),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(text) => {
            let mut plain = String::new();
            push_text(&mut plain, &text.as_bytes());
            out.push_str(&Json::from(plain).to_string());
        }
        Value::Table(_) if depth == DEPTH_MAX => out.push('…'),
        Value::Table(table) => push_table(out, table, depth),
        Value::Buffer(buffer) => out.push_str(&format!("buffer of {} bytes", buffer.len())),
        Value::UserData(data) => match data.borrow::<Node>() {
            Ok(node) => {
                let text = node.with(Json::to_string);
                push_text(out, text.unwrap_or_else(|over| format!("({over})")).as_bytes());
            }
            Err(_) => out.push_str(&value.to_string().unwrap_or_else(|_| "userdata".into())),
        },
        other => out.push_str(other.type_name()),
    }
}

fn push_table(out: &mut String, table: &Table, depth: usize) {
    let length = table.raw_len();
    let mut members = Vec::new();
    let mut room = LINE_BYTES_MAX;
    // What does not fit in a line is not looked at.
    let _ = table.for_each(|key: Value, value: Value| {
        if room == 0 {
            return Err(mlua::Error::runtime("enough"));
        }
        room -= 1;
        if !matches!(key, Value::Integer(i) if i >= 1 && i as usize <= length) {
            members.push((show_all([&key]), value));
        }
        Ok(())
    });
    members.sort_by(|a, b| a.0.cmp(&b.0));
    let array = length > 0 && members.is_empty();
    out.push(if array { '[' } else { '{' });
    let items = (1..=length.min(LINE_BYTES_MAX)).map(|i| table.raw_get(i).unwrap_or(Value::Nil));
    let named = members.into_iter().map(|(key, value)| (Some(key), value));
    for (i, (key, value)) in items.map(|item| (None, item)).chain(named).enumerate() {
        if out.len() > LINE_BYTES_MAX {
            break;
        }
        if i > 0 {
            out.push_str(", ");
        }
        if let Some(key) = key {
            out.push_str(&key);
            out.push_str(": ");
        }
        push(out, &value, depth + 1);
    }
    out.push(if array { ']' } else { '}' });
}
