//! CBOR items as scripts see them: maps and lists that are read and changed where they stand, and
//! what JSON does not have: bytes inside, dates, large whole numbers, sets, tags.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use keepboth_core::limits::DEPTH_MAX;

/// From and to bytes.
mod code;
/// Points in time.
mod date;
/// Whole numbers of any size as decimal text.
mod whole;

pub use code::{decode, encode};
pub use date::{millis, moment, text as date_text};
pub use whole::{decimal, parse as parse_whole};

/// The tags that scripts know by name.
pub mod tag {
    /// A date as a text (RFC 3339).
    pub const DATE_TEXT: u64 = 0;
    /// A date in seconds since 1970.
    pub const DATE_SECONDS: u64 = 1;
    /// A whole number as bytes.
    pub const BIG: u64 = 2;
    /// A whole number below zero as bytes.
    pub const BIG_NEGATIVE: u64 = 3;
    /// A set.
    pub const SET: u64 = 258;
}

/// A list, shared by all that show it.
pub type List = Rc<RefCell<Vec<Item>>>;
/// A map by the bytes of its keys, which is also the order in which they are written.
pub type Map = Rc<RefCell<BTreeMap<Vec<u8>, (Item, Item)>>>;

/// One item. A clone shows the same lists and maps; [`Item::copy`] does not.
#[derive(Debug, Clone)]
pub enum Item {
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// True or false.
    Bool(bool),
    /// A whole number of -2^64 to 2^64 - 1.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Bytes.
    Bytes(Rc<[u8]>),
    /// A text.
    Text(Rc<str>),
    /// A list.
    List(List),
    /// A map.
    Map(Map),
    /// An item with a tag that says what it means.
    Tag(u64, Rc<Item>),
    /// A value that has only a number.
    Simple(u8),
}

impl Item {
    /// A new list.
    pub fn list(items: Vec<Item>) -> Item {
        Item::List(Rc::new(RefCell::new(items)))
    }

    /// A new map of keys that differ.
    pub fn map(entries: impl IntoIterator<Item = (Item, Item)>) -> Item {
        let entries = entries.into_iter().map(|(key, value)| (encode(&key), (key, value)));
        Item::Map(Rc::new(RefCell::new(entries.collect())))
    }

    /// An item with a tag.
    pub fn tagged(tag: u64, item: Item) -> Item {
        Item::Tag(tag, Rc::new(item))
    }

    /// A set: in the order of the items' bytes, each once.
    pub fn set(items: Vec<Item>) -> Item {
        let sorted: BTreeMap<Vec<u8>, Item> =
            items.into_iter().map(|item| (encode(&item), item)).collect();
        Item::tagged(tag::SET, Item::list(sorted.into_values().collect()))
    }

    /// A copy that shares no list or map.
    pub fn copy(&self) -> Item {
        match self {
            Item::List(items) => Item::list(items.borrow().iter().map(Item::copy).collect()),
            Item::Map(entries) => {
                let entries = entries.borrow();
                let copies = entries
                    .iter()
                    .map(|(bytes, (key, value))| (bytes.clone(), (key.clone(), value.copy())));
                Item::Map(Rc::new(RefCell::new(copies.collect())))
            }
            Item::Tag(tag, item) => Item::tagged(*tag, item.copy()),
            scalar => scalar.clone(),
        }
    }

    /// Whether both show the same list or map.
    pub fn is_same(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::List(one), Item::List(other)) => Rc::ptr_eq(one, other),
            (Item::Map(one), Item::Map(other)) => Rc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Levels of lists, maps and tags.
    pub fn depth(&self) -> usize {
        match self {
            Item::List(items) => 1 + items.borrow().iter().map(Item::depth).max().unwrap_or(0),
            Item::Map(entries) => {
                let entries = entries.borrow();
                1 + entries.values().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
            Item::Tag(_, item) => 1 + item.depth(),
            _ => 0,
        }
    }

    /// Items and bytes of text, roughly as much memory as they take.
    pub fn weight(&self) -> (usize, usize) {
        let sum = |parts: &mut dyn Iterator<Item = (usize, usize)>| {
            parts.fold((1, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        };
        match self {
            Item::List(items) => sum(&mut items.borrow().iter().map(Item::weight)),
            Item::Map(entries) => sum(&mut entries.borrow().iter().map(|(key, (_, value))| {
                let (items, bytes) = value.weight();
                (items + 1, bytes + 2 * key.len())
            })),
            Item::Tag(_, item) => {
                let (items, bytes) = item.weight();
                (items + 1, bytes)
            }
            Item::Bytes(bytes) => (1, bytes.len()),
            Item::Text(text) => (1, text.len()),
            _ => (1, 0),
        }
    }
}

/// As diagnostic notation, with dates and whole numbers readable; broken off by the writer that is full.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Null => f.write_str("null"),
            Item::Undefined => f.write_str("undefined"),
            Item::Bool(b) => write!(f, "{b}"),
            Item::Int(n) => write!(f, "{n}"),
            Item::Float(n) => write!(f, "{n}"),
            Item::Bytes(bytes) => write!(f, "buffer of {} bytes", bytes.len()),
            Item::Text(text) => write!(f, "{}", serde_json::Value::from(&**text)),
            Item::List(items) => all(f, "[", &mut items.borrow().iter(), "]"),
            Item::Map(entries) => {
                f.write_str("{")?;
                for (i, (key, value)) in entries.borrow().values().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    match key {
                        Item::Text(text) => write!(f, "{comma}{text}: {value}")?,
                        key => write!(f, "{comma}[{key}]: {value}")?,
                    }
                }
                f.write_str("}")
            }
            Item::Tag(tag::SET, item) => match &**item {
                Item::List(items) => all(f, "set(", &mut items.borrow().iter(), ")"),
                other => write!(f, "{}({other})", tag::SET),
            },
            Item::Tag(tag, item) => match (date_text(self), decimal(self)) {
                (Some(text), _) | (_, Some(text)) => f.write_str(&text),
                _ => write!(f, "{tag}({item})"),
            },
            Item::Simple(n) => write!(f, "simple({n})"),
        }
    }
}

fn all(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    items: &mut dyn Iterator<Item = &Item>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, item) in items.enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    f.write_str(close)
}

/// Whether an item may stand so many levels down.
pub fn fits(item: &Item, above: usize) -> Result<(), String> {
    if above + item.depth() > DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} levels"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_for_people() {
        let item = Item::map([
            (Item::Text("born".into()), moment(1_700_000_000_000.0)),
            (Item::Text("tags".into()), Item::set(vec![Item::Int(2), Item::Int(1), Item::Int(2)])),
            (Item::Int(7), Item::list(vec![Item::Null, Item::Text("x".into())])),
        ]);
        assert_eq!(
            item.to_string(),
            "{[7]: [null, \"x\"], born: 2023-11-14T22:13:20Z, tags: set(1, 2)}"
        );
    }

    #[test]
    fn a_copy_shares_nothing() {
        let Item::List(items) = Item::list(vec![Item::list(vec![])]) else { return };
        let item = Item::List(items.clone());
        let copy = item.copy();
        items.borrow_mut().push(Item::Null);
        assert_eq!((item.to_string(), copy.to_string()), ("[[], null]".into(), "[[]]".into()));
    }
}
