//! CBOR items in Lua: proxies of maps, lists and sets, and dates, large whole numbers and tags.

use std::cmp::Ordering;

use mlua::{
    AnyUserData, Function, Lua, MetaMethod, MultiValue, UserData, UserDataFields, UserDataMethods,
    Value,
};

use crate::cbor::{self, Item, List, Map, decimal, encode, fits, millis, tag};
use crate::fault::raise;
use crate::held::{Date, Guard, Odd, Part, Set, Tagged, Whole, item};
use crate::lent::{key_name, put_item};
use crate::limit::Limits;
use crate::take;
use crate::words::no_such_name;

/// An item in Lua: a text, number, boolean, null or buffer, or a proxy.
pub fn give(lua: &Lua, item: &Item, above: usize, guard: &Guard) -> mlua::Result<Value> {
    let userdata = match item {
        Item::Null => return Ok(Value::NULL),
        Item::Bool(b) => return Ok(Value::Boolean(*b)),
        Item::Int(n) if n.abs() <= take::EXACT_MAX => return Ok(Value::Number(*n as f64)),
        Item::Int(n) => Limits::proxy(lua, Whole(item.clone(), n.to_string()))?,
        Item::Float(n) => return Ok(Value::Number(*n)),
        Item::Bytes(bytes) => return lua.create_buffer(bytes).map(Value::Buffer),
        Item::Text(text) => return Limits::text(lua, text.as_bytes()),
        Item::List(_) | Item::Map(_) => {
            Limits::proxy(lua, Part { item: item.clone(), above, guard: guard.clone() })?
        }
        Item::Tag(kind, inner) => match (*kind, &**inner, millis(item)) {
            (_, _, Some(ms)) => Limits::proxy(lua, Date(item.clone(), ms))?,
            (tag::SET, Item::List(items), _) => {
                Limits::proxy(lua, Set { items: items.clone(), above, guard: guard.clone() })?
            }
            _ => match decimal(item) {
                Some(text) => Limits::proxy(lua, Whole(item.clone(), text))?,
                None => Limits::proxy(lua, Tagged(item.clone(), guard.clone()))?,
            },
        },
        Item::Undefined | Item::Simple(_) => Limits::proxy(lua, Odd(item.clone()))?,
    };
    Ok(Value::UserData(userdata))
}

impl Part {
    fn index(&self, lua: &Lua, key: &Value) -> mlua::Result<Value> {
        self.guard.read().map_err(|e| raise(lua, e))?;
        let found = match (&self.item, key) {
            (Item::List(items), Value::Integer(i)) => {
                crate::lent::at(*i).and_then(|at| items.borrow().get(at).cloned())
            }
            (Item::Map(entries), key) => match map_key(key) {
                Ok(key) => entries.borrow().get(&encode(&key)).map(|(_, value)| value.clone()),
                Err(_) => None,
            },
            _ => None,
        };
        found.map_or(Ok(Value::Nil), |item| give(lua, &item, self.above + 1, &self.guard))
    }

    fn set(&self, lua: &Lua, key: &Value, value: &Value) -> Result<(), String> {
        let name = format!("value{}", key_name(key));
        let item = match value {
            Value::Nil => None,
            value => Some(take::item(lua, value, &name)?),
        };
        if let Some(item) = &item {
            fits(item, self.above + 1).map_err(|words| format!("{name}: {words}"))?;
        }
        self.guard.write()?;
        let done = match (&self.item, key) {
            (Item::List(items), Value::Integer(i)) => put_item(&mut items.borrow_mut(), *i, item),
            (Item::List(_), _) => Err("the keys of an array are whole numbers".into()),
            (Item::Map(entries), key) => map_key(key).map(|key| put_entry(entries, key, item)),
            _ => Err("neither map nor list".into()),
        };
        done.map_err(|words| format!("{name}: {words}"))
    }

    fn iterate(&self, lua: &Lua) -> mlua::Result<Function> {
        self.guard.read().map_err(|e| raise(lua, e))?;
        let (above, guard) = (self.above + 1, self.guard.clone());
        let count = match &self.item {
            Item::List(items) => items.borrow().len(),
            Item::Map(entries) => entries.borrow().len(),
            _ => 0,
        };
        let charge = Limits::charge(lua, count * size_of::<(Item, Item)>())?;
        let mut entries: std::vec::IntoIter<(Item, Item)> = match &self.item {
            Item::List(items) => {
                let items = items.borrow();
                let numbered = items.iter().enumerate();
                numbered.map(|(i, item)| (Item::Int(i as i128 + 1), item.clone())).collect()
            }
            Item::Map(entries) => entries.borrow().values().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        }
        .into_iter();
        lua.create_function_mut(move |lua, _: MultiValue| {
            let _held = &charge;
            guard.read().map_err(|e| raise(lua, e))?;
            let Some((key, value)) = entries.next() else { return Ok((Value::Nil, Value::Nil)) };
            Ok((give(lua, &key, above, &guard)?, give(lua, &value, above, &guard)?))
        })
    }
}

fn put_entry(entries: &Map, key: Item, item: Option<Item>) {
    let (bytes, mut entries) = (encode(&key), entries.borrow_mut());
    match item {
        Some(item) => drop(entries.insert(bytes, (key, item))),
        None => drop(entries.remove(&bytes)),
    }
}

/// A scalar as the key of a map.
fn map_key(key: &Value) -> Result<Item, String> {
    match take::scalar(key) {
        Some(item) => item,
        None => Err(format!("a key that is a {}", key.type_name())),
    }
}

/// An iterator over keys and values, for `pairs` and `for`; None for other userdata.
pub fn iterate(lua: &Lua, data: &AnyUserData) -> mlua::Result<Option<Function>> {
    let Ok(part) = data.borrow::<Part>() else { return Ok(None) };
    part.iterate(lua).map(Some)
}

fn equal<T: 'static>(one: &Item, other: &AnyUserData) -> bool {
    let same = other.is::<T>().then(|| item(other)).flatten();
    same.is_some_and(|other| other.is_ok_and(|other| encode(&other) == encode(one)))
}

impl UserData for Part {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "cbor");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, part, key: Value| part.index(lua, &key));
        methods.add_meta_method(MetaMethod::NewIndex, |lua, part, (key, value): (Value, Value)| {
            part.set(lua, &key, &value).map_err(|e| raise(lua, e))
        });
        methods.add_meta_method(MetaMethod::Len, |lua, part, ()| {
            part.guard.read().map_err(|e| raise(lua, e))?;
            Ok(if let Item::List(items) = &part.item { items.borrow().len() } else { 0 })
        });
        methods.add_meta_method(MetaMethod::Iter, |lua, part, ()| part.iterate(lua));
        methods.add_meta_method(MetaMethod::Eq, |_, part, other: AnyUserData| {
            Ok(equal::<Part>(&part.item, &other))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, part, ()| {
            Ok(part.guard.read().map_or_else(|e| format!("({e})"), |()| shown(&part.item)))
        });
    }
}

fn shown(item: &Item) -> String {
    let mut out = crate::show::Short::default();
    // A full text ends the writing.
    let _ = std::fmt::Write::write_fmt(&mut out, format_args!("{item}"));
    out.0
}

impl Set {
    fn find(&self, lua: &Lua, value: &Value) -> Result<(Item, Result<usize, usize>), String> {
        self.guard.read()?;
        let item = take::item(lua, value, "the set's item")?;
        let bytes = encode(&item);
        let place = self.items.borrow().iter().position(|have| encode(have) == bytes);
        Ok((item, place.ok_or(self.items.borrow().len())))
    }
}

impl UserData for Set {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "set");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("has", |lua, set, value: Value| {
            set.find(lua, &value).map(|(_, at)| at.is_ok()).map_err(|e| raise(lua, e))
        });
        methods.add_method("add", |lua, set, value: Value| {
            let (item, at) = set.find(lua, &value).map_err(|e| raise(lua, e))?;
            fits(&item, set.above + 2).map_err(|e| raise(lua, e))?;
            if at.is_err() {
                set.guard.write().map_err(|e| raise(lua, e))?;
                set.items.borrow_mut().push(item);
            }
            Ok(())
        });
        methods.add_method("remove", |lua, set, value: Value| {
            let (_, at) = set.find(lua, &value).map_err(|e| raise(lua, e))?;
            if let Ok(at) = at {
                set.guard.write().map_err(|e| raise(lua, e))?;
                set.items.borrow_mut().remove(at);
            }
            Ok(())
        });
        methods.add_meta_method(MetaMethod::Len, |_, set, ()| Ok(set.items.borrow().len()));
        methods.add_meta_method(MetaMethod::Iter, |lua, set, ()| {
            set.guard.read().map_err(|e| raise(lua, e))?;
            let (above, guard) = (set.above + 2, set.guard.clone());
            let charge = Limits::charge(lua, set.items.borrow().len() * size_of::<Item>())?;
            let mut items = set.items.borrow().clone().into_iter();
            lua.create_function_mut(move |lua, _: MultiValue| {
                let _held = &charge;
                items.next().map_or(Ok(Value::Nil), |item| give(lua, &item, above, &guard))
            })
        });
        methods.add_meta_method(MetaMethod::Eq, |_, set, other: AnyUserData| {
            let sorted = |items: &List| {
                let mut bytes: Vec<Vec<u8>> = items.borrow().iter().map(encode).collect();
                bytes.sort();
                bytes
            };
            let other = other.borrow::<Set>();
            Ok(other.is_ok_and(|other| sorted(&other.items) == sorted(&set.items)))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, set, ()| {
            Ok(shown(&Item::tagged(tag::SET, Item::List(set.items.clone()))))
        });
    }
}

impl UserData for Date {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "date");
        fields.add_field_method_get("ms", |_, date| Ok(date.1));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        let other = |data: AnyUserData| data.borrow::<Date>().map(|date| date.1);
        methods
            .add_meta_method(MetaMethod::Eq, move |_, d, o| Ok(other(o).is_ok_and(|o| d.1 == o)));
        methods.add_meta_method(MetaMethod::Lt, move |_, d, o| Ok(d.1 < other(o)?));
        methods.add_meta_method(MetaMethod::Le, move |_, d, o| Ok(d.1 <= other(o)?));
        methods.add_meta_method(MetaMethod::ToString, |_, date, ()| {
            Ok(cbor::date_text(&date.0).unwrap_or_default())
        });
    }
}

/// The order of two whole numbers in decimal.
fn order(a: &str, b: &str) -> Ordering {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (Some(a), Some(b)) => order(b, a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
    }
}

impl UserData for Whole {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "integer");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        fn compare(one: &Whole, other: &AnyUserData) -> mlua::Result<Ordering> {
            Ok(order(&one.1, &other.borrow::<Whole>()?.1))
        }
        methods.add_method("number", |_, whole, ()| Ok(whole.1.parse::<f64>().unwrap_or(f64::NAN)));
        methods.add_meta_method(MetaMethod::Eq, |_, whole, other: AnyUserData| {
            Ok(compare(whole, &other).is_ok_and(Ordering::is_eq))
        });
        methods.add_meta_method(MetaMethod::Lt, |_, whole, other: AnyUserData| {
            compare(whole, &other).map(Ordering::is_lt)
        });
        methods.add_meta_method(MetaMethod::Le, |_, whole, other: AnyUserData| {
            compare(whole, &other).map(Ordering::is_le)
        });
        methods.add_meta_method(MetaMethod::ToString, |_, whole, ()| Ok(whole.1.clone()));
    }
}

impl UserData for Tagged {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "tagged");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, tagged, name: mlua::LuaString| {
            let Item::Tag(tag, inner) = &tagged.0 else { return Ok(Value::Nil) };
            match &*name.to_string_lossy() {
                "tag" => Ok(Value::Number(*tag as f64)),
                "value" => give(lua, &inner.copy(), 0, &Guard::Own),
                name => Err(raise(lua, no_such_name("a tagged item", name, &["tag", "value"]))),
            }
        });
        methods.add_meta_method(MetaMethod::Eq, |_, tagged, other: AnyUserData| {
            Ok(equal::<Tagged>(&tagged.0, &other))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, tagged, ()| Ok(shown(&tagged.0)));
    }
}

impl UserData for Odd {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "undefined");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Eq, |_, odd, other: AnyUserData| {
            Ok(equal::<Odd>(&odd.0, &other))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, odd, ()| Ok(odd.0.to_string()));
    }
}
