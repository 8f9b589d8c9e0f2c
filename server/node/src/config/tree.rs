//! TOML and environment as one JSON tree that knows where each of its parts was written.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};

/// The prefix of the environment's names; `__` stands between the parts of a key as well.
pub const ENVIRONMENT_PREFIX: &str = "KEEPBOTH__";

/// A configuration before it is checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// All that was set.
    pub root: Map<String, Json>,
    texts: Vec<Text>,
    spans: BTreeMap<String, Span>,
}

/// A text that was read: the file, or one variable as `NAME=value`.
#[derive(Debug, Clone)]
struct Text {
    name: String,
    text: String,
    is_file: bool,
}

#[derive(Debug, Clone)]
struct Span {
    text: usize,
    key: Range<usize>,
    value: Range<usize>,
}

/// Which part of a setting is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The name before the `=`.
    Key,
    /// What stands after it.
    Value,
}

/// Appends a part to a JSON pointer (RFC 6901).
pub(super) fn join(pointer: &str, part: &str) -> String {
    format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
}

/// The JSON pointer of these parts.
pub(super) fn pointer(parts: &[String]) -> String {
    parts.iter().fold(String::new(), |pointer, part| join(&pointer, part))
}

/// The parts of a JSON pointer.
pub(super) fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect()
}

impl Tree {
    /// Takes the text of a file. Errors are its syntax errors, all of them.
    pub fn add_file(&mut self, name: &str, text: &str) -> Result<(), Vec<ConfigError>> {
        let at = self.texts.len();
        self.texts.push(Text { name: name.to_owned(), text: text.to_owned(), is_file: true });
        let (table, errors) = DeTable::parse_recoverable(text);
        let place =
            |span: Option<Range<usize>>| span.map(|span| Place::of(name, text, &span, true));
        if !errors.is_empty() {
            let told = |e: &toml::de::Error| ConfigError::new(e.message()).at(place(e.span()));
            return Err(errors.iter().map(told).collect());
        }
        let mut reader = Reader { text: at, offset: 0, spans: &mut self.spans, errors: Vec::new() };
        self.root = reader.table("", table.get_ref());
        let bad = reader.errors;
        if bad.is_empty() {
            return Ok(());
        }
        Err(bad
            .into_iter()
            .map(|(span, what)| ConfigError::new(what).at(place(Some(span))))
            .collect())
    }

    /// Takes one variable of the environment, whose name begins with [`ENVIRONMENT_PREFIX`]. The
    /// value is TOML, or else a text as it stands.
    pub fn add_variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let text = format!("{name}={value}");
        let bad = |what: &str| {
            let place = Place::of("environment", &text, &(0..name.len()), false);
            ConfigError::new(what).at(Some(place))
        };
        let parts = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().split("__");
        let keys: Vec<String> = parts.map(str::to_lowercase).collect();
        if keys.iter().any(String::is_empty) {
            let empty = bad("a part of the name is empty");
            return Err(empty.hint("names look like KEEPBOTH__SERVER__LISTEN"));
        }
        let (at, offset, mut spans) = (self.texts.len(), name.len() + 1, BTreeMap::new());
        let mut reader = Reader { text: at, offset, spans: &mut spans, errors: Vec::new() };
        let json = match DeValue::parse(value) {
            Ok(value) => reader.value(&pointer(&keys), &value),
            Err(_) => Json::from(value),
        };
        if let Some((_, what)) = reader.errors.first() {
            return Err(bad(what));
        }
        if !put(&mut self.root, &keys, json) {
            return Err(bad("a part of the name is a setting and not a section"));
        }
        let whole = Span { text: at, key: 0..name.len(), value: offset..text.len() };
        self.replace_spans(&keys, spans, &whole);
        self.texts.push(Text { name: "environment".into(), text, is_file: false });
        Ok(())
    }

    /// Forgets where a setting and all in it were written, in favour of these places. The sections
    /// around it are shown by the variable, unless they were written before.
    fn replace_spans(&mut self, keys: &[String], inner: BTreeMap<String, Span>, whole: &Span) {
        let pointer_here = pointer(keys);
        let within = format!("{pointer_here}/");
        self.spans.retain(|key, _| *key != pointer_here && !key.starts_with(&within));
        self.spans.extend(inner);
        for depth in 1..=keys.len() {
            self.spans.entry(pointer(&keys[..depth])).or_insert_with(|| whole.clone());
        }
    }

    /// True if the setting was written anywhere.
    pub fn has(&self, pointer: &str) -> bool {
        self.spans.contains_key(pointer)
    }

    /// Where a setting was written; the section around it if the setting itself is not there.
    pub fn place(&self, pointer: &str, part: Part) -> Option<Place> {
        let mut pointer = pointer;
        let mut part = part;
        loop {
            if let Some(span) = self.spans.get(pointer) {
                let text = &self.texts[span.text];
                let range = if part == Part::Key { &span.key } else { &span.value };
                return Some(Place::of(&text.name, &text.text, range, text.is_file));
            }
            pointer = &pointer[..pointer.rfind('/')?];
            part = Part::Key;
        }
    }
}

/// Sets what these keys name, making the tables on the way; false if one of them is no table.
fn put(table: &mut Map<String, Json>, keys: &[String], value: Json) -> bool {
    match keys {
        [] => false,
        [last] => {
            table.insert(last.clone(), value);
            true
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Json::Object(Map::new()));
            inner.as_object_mut().is_some_and(|inner| put(inner, rest, value))
        }
    }
}

/// Turns TOML into JSON and notes where everything was.
struct Reader<'a> {
    text: usize,
    offset: usize,
    spans: &'a mut BTreeMap<String, Span>,
    errors: Vec<(Range<usize>, String)>,
}

impl Reader<'_> {
    fn table(&mut self, pointer: &str, table: &DeTable<'_>) -> Map<String, Json> {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let pointer = join(pointer, key.get_ref());
            let json = self.value(&pointer, value);
            let (text, key_at) = (self.text, self.shifted(key.span()));
            let value_at = self.shifted(value.span());
            self.spans.insert(pointer, Span { text, key: key_at, value: value_at });
            (key.get_ref().to_string(), json)
        };
        table.iter().map(entry).collect()
    }

    fn value(&mut self, pointer: &str, value: &Spanned<DeValue<'_>>) -> Json {
        match value.get_ref() {
            DeValue::String(text) => Json::from(text.as_ref()),
            DeValue::Boolean(yes) => Json::from(*yes),
            DeValue::Datetime(time) => Json::from(time.to_string()),
            DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Json::from(n),
                Err(_) => self.bad(value, format!("{n} is out of the range of 64-bit integers")),
            },
            DeValue::Float(n) => match n.as_str().parse::<f64>() {
                Ok(n) if n.is_finite() => Json::from(n),
                _ => self.bad(value, format!("{n} is no finite number")),
            },
            DeValue::Array(items) => {
                let item = |(i, item): (usize, &Spanned<DeValue<'_>>)| {
                    let pointer = format!("{pointer}/{i}");
                    let json = self.value(&pointer, item);
                    let at = self.shifted(item.span());
                    let span = Span { text: self.text, key: at.clone(), value: at };
                    self.spans.insert(pointer, span);
                    json
                };
                items.iter().enumerate().map(item).collect()
            }
            DeValue::Table(table) => Json::Object(self.table(pointer, table)),
        }
    }

    fn bad(&mut self, value: &Spanned<DeValue<'_>>, what: String) -> Json {
        self.errors.push((value.span(), what));
        Json::Null
    }

    fn shifted(&self, span: Range<usize>) -> Range<usize> {
        span.start + self.offset..span.end + self.offset
    }
}
