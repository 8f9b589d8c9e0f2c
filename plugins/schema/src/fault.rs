//! A mistake in a schema file, with its place as editors and compilers name it.

use std::fmt;

use crate::keywords::parts;

/// A mistake in a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file's name in the folder.
    pub file: String,
    /// Where in the file, if it could be read.
    pub place: Option<Place>,
    /// The JSON pointer (RFC 6901) of what is wrong; empty for the whole file.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A place in a text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column in characters.
    pub column: usize,
}

impl Fault {
    /// A mistake of the file as a whole.
    pub fn new(file: &str, message: impl Into<String>) -> Fault {
        Fault {
            file: file.to_owned(),
            place: None,
            pointer: String::new(),
            message: message.into(),
        }
    }

    /// A mistake at this pointer of a JSON text.
    pub fn at(file: &str, text: &str, pointer: &str, message: impl Into<String>) -> Fault {
        let place = Some(Place::of(text, pointer));
        Fault { place, pointer: pointer.to_owned(), ..Fault::new(file, message) }
    }
}

/// `note.schema.json:3:15: /properties/title: …`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.pointer.is_empty() {
            write!(f, ": {}", self.pointer)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Place {
    /// Where a JSON pointer leads in a well-formed JSON text: the name of a member, or the beginning of
    /// an item. The nearest part that is there, if the whole is not.
    pub fn of(text: &str, pointer: &str) -> Place {
        let at = Scan { text: text.as_bytes(), at: 0 }.find(&parts(pointer));
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// Goes through a JSON text that is known to be well-formed.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn find(mut self, parts: &[String]) -> usize {
        self.blank();
        let mut found = self.at;
        for part in parts {
            let inside = match self.peek() {
                Some(b'{') => self.member(part),
                Some(b'[') => self.item(part),
                _ => None,
            };
            match inside {
                Some(at) => found = at,
                None => break,
            }
        }
        found
    }

    /// Goes to a member's value, and tells where its name begins.
    fn member(&mut self, name: &str) -> Option<usize> {
        self.step();
        while self.peek() == Some(b'"') {
            let start = self.at;
            self.value();
            let here =
                serde_json::from_slice::<String>(self.text.get(start..self.at).unwrap_or_default());
            self.blank();
            // The colon.
            self.step();
            if here.is_ok_and(|here| here == name) {
                return Some(start);
            }
            self.value();
            self.separator();
        }
        None
    }

    /// Goes to the item of this number.
    fn item(&mut self, number: &str) -> Option<usize> {
        let number: usize = number.parse().ok()?;
        self.step();
        for _ in 0..number {
            if self.peek() == Some(b']') {
                return None;
            }
            self.value();
            self.separator();
        }
        (self.peek() != Some(b']')).then_some(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// One byte and what is blank behind it.
    fn step(&mut self) {
        self.at += 1;
        self.blank();
    }

    fn separator(&mut self) {
        self.blank();
        if self.peek() == Some(b',') {
            self.step();
        }
    }

    /// Behind a whole value.
    fn value(&mut self) {
        let mut open = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                }
                b'}' | b']' if open > 0 => {
                    open -= 1;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if open > 0 => self.at += 1,
                b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n' | b':' => return,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if open == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_to_line_and_column_of_a_name_or_an_item() {
        let text = "{\n  \"ä/b\": [1, \"x,]\\\"\", {\"c\": {\"d\": true}}],\n\t\"e~\": -1.5e3, \"\": {}\n}";
        for (pointer, line, column) in [
            ("", 1, 1),
            ("/ä~1b", 2, 3),
            ("/ä~1b/0", 2, 11),
            ("/ä~1b/1", 2, 14),
            ("/ä~1b/2", 2, 23),
            ("/ä~1b/2/c/d", 2, 30),
            ("/e~0", 3, 2),
            ("/", 3, 16),
            ("/none", 1, 1),
            ("/ä~1b/9", 2, 3),
            ("/ä~1b/2/c/none", 2, 24),
            ("/e~0/deeper", 3, 2),
        ] {
            assert_eq!(Place::of(text, pointer), Place { line, column }, "{pointer}");
        }
        for broken in ["", "{", "[1", "{\"a\"", "{\"a\":", "\"", "{\"a\\"] {
            let _ = Place::of(broken, "/a/0");
        }
    }
}
