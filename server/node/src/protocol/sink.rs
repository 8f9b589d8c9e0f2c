//! JSON and MessagePack out: what a frame is made of, written straight into the buffer.

use keepboth_core::json;
use keepboth_core::value::{Kind, Value};
use serde_json::Value as Json;

/// What takes the parts of a frame. Writing into memory does not fail.
pub(super) trait Sink {
    /// An object; `fill` gives its members. At most 15: all our own objects are small.
    fn map(&mut self, fill: impl FnOnce(&mut Self));
    /// The name of the next member.
    fn name(&mut self, name: &str);
    /// An array of one entry for each item.
    fn list<T>(&mut self, items: &[T], each: impl FnMut(&mut Self, &T));
    /// A text.
    fn text(&mut self, text: &str);
    /// A whole number; those in frames are below 2^53.
    fn whole(&mut self, n: u64);
    /// True or false.
    fn truth(&mut self, truth: bool);
    /// Null.
    fn null(&mut self);
    /// A client's value.
    fn value(&mut self, value: &Value);
    /// What a plugin answers.
    fn tree(&mut self, tree: &Json);
    /// What was written by the same kind of sink before.
    fn raw(&mut self, bytes: &[u8]);

    /// A member that is a text.
    fn say(&mut self, name: &str, text: &str) {
        self.name(name);
        self.text(text);
    }

    /// A member that is an id, an address or a cursor.
    fn show(&mut self, name: &str, id: &impl ToString) {
        self.say(name, &id.to_string());
    }

    /// A member that is a whole number.
    fn count(&mut self, name: &str, n: u64) {
        self.name(name);
        self.whole(n);
    }

    /// A member that is true; none if it is false.
    fn flag(&mut self, name: &str, truth: bool) {
        if truth {
            self.name(name);
            self.truth(true);
        }
    }
}

/// Writes JSON.
pub(super) struct JsonSink<'a>(pub &'a mut Vec<u8>);

impl JsonSink<'_> {
    /// A comma, unless this is the first entry. A complete entry never ends with an opening bracket.
    fn comma(&mut self) {
        if !matches!(self.0.last(), Some(b'{' | b'[')) {
            self.0.push(b',');
        }
    }
}

impl Sink for JsonSink<'_> {
    fn map(&mut self, fill: impl FnOnce(&mut Self)) {
        self.0.push(b'{');
        fill(self);
        self.0.push(b'}');
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.0.push(b'[');
        for item in items {
            self.comma();
            each(self, item);
        }
        self.0.push(b']');
    }

    fn text(&mut self, text: &str) {
        json::write_text(text, self.0);
    }

    fn whole(&mut self, n: u64) {
        let _ = serde_json::to_writer(&mut *self.0, &n);
    }

    fn truth(&mut self, truth: bool) {
        self.0.extend_from_slice(if truth { b"true" } else { b"false" });
    }

    fn null(&mut self) {
        self.0.extend_from_slice(b"null");
    }

    fn value(&mut self, value: &Value) {
        value.write_wire(self.0);
    }

    fn tree(&mut self, tree: &Json) {
        let _ = serde_json::to_writer(&mut *self.0, tree);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Writes MessagePack.
pub(super) struct PackSink<'a> {
    out: &'a mut Vec<u8>,
    /// Members of the object that is being written.
    members: u8,
}

impl PackSink<'_> {
    /// Appends to this buffer.
    pub(super) fn new(out: &mut Vec<u8>) -> PackSink<'_> {
        PackSink { out, members: 0 }
    }

    /// An object with the only member `name`, as the escapes are.
    fn escape(&mut self, name: &str) {
        self.out.push(0x81);
        self.text(name);
    }
}

impl Sink for PackSink<'_> {
    fn map(&mut self, fill: impl FnOnce(&mut Self)) {
        let (at, outer) = (self.out.len(), self.members);
        self.out.push(0x80);
        self.members = 0;
        fill(self);
        debug_assert!(self.members < 16, "a fixmap has at most 15 members");
        self.out[at] = 0x80 | self.members;
        self.members = outer;
    }

    fn name(&mut self, name: &str) {
        self.members += 1;
        self.text(name);
    }

    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        let _ = rmp::encode::write_array_len(self.out, length(items.len()));
        items.iter().for_each(|item| each(self, item));
    }

    fn text(&mut self, text: &str) {
        let _ = rmp::encode::write_str(self.out, text);
    }

    fn whole(&mut self, n: u64) {
        let _ = rmp::encode::write_uint(self.out, n);
    }

    fn truth(&mut self, truth: bool) {
        let _ = rmp::encode::write_bool(self.out, truth);
    }

    fn null(&mut self) {
        let _ = rmp::encode::write_nil(self.out);
    }

    fn value(&mut self, value: &Value) {
        match value.kind() {
            Kind::Bytes => {
                let _ = rmp::encode::write_bin(self.out, value.as_bytes());
            }
            Kind::Cbor => {
                self.escape("$cbor");
                let _ = rmp::encode::write_bin(self.out, value.as_bytes());
            }
            Kind::Number => {
                let _ = rmp::encode::write_f64(self.out, value.to_number().unwrap_or(f64::NAN));
            }
            Kind::String | Kind::Json => {
                if value.as_bytes().starts_with(b"{\"$") && value.kind() == Kind::Json {
                    self.escape("$json");
                }
                // Canonical bytes always parse; null would stand for a row that was damaged.
                let _ = rmp_serde::encode::write(self.out, &value.to_json().unwrap_or_default());
            }
        }
    }

    fn tree(&mut self, tree: &Json) {
        let _ = rmp_serde::encode::write(self.out, tree);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

/// Frames are far below 4 GiB.
fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
