//! The answers: objects by an index, and how far the indexes are.

use std::ops::Bound;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use keepboth_core::ids::VersionId;
use keepboth_core::json;
use keepboth_core::name::Name;
use keepboth_core::plugin::{Row, behind};
use keepboth_core::refusal::{Code, Refusal};
use serde_json::{Map, Value as Json, json};

use crate::follow::{Follower, as_slice};
use crate::order;
use crate::rows::{self, ENTRY};
use crate::settings::Index;

/// Most objects in one answer.
const ITEMS_MAX: usize = 1_000;
/// Bytes of items after which an answer ends; one item more fits in a frame with them.
const ITEMS_BYTES: usize = 256 << 10;

/// Answers a query, at the latest somewhat after `until`.
pub fn query(follower: &Follower, asked: &Json, until: Instant) -> Result<Json, Refusal> {
    let indexes = &follower.indexes;
    let name = asked["index"].as_str().unwrap_or_default();
    let at = indexes.iter().position(|index| index.name == name);
    let at = at.ok_or_else(|| unknown(name, indexes))?;
    let index = &indexes[at];
    let (from, to) = range(index, asked)?;
    let from = match asked["after"].as_str() {
        Some(cursor) => after(index, cursor, &from, &to)?,
        None => from,
    };
    // What was committed before the query came is in the answer.
    let needed = follower.host.feed(&follower.namespace)?.last;
    let reached = follower.progress.wait(at, needed, until, follower.falls);
    reached.map_err(|late| late.refusal(&index.name, needed))?;
    let limit = asked["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(ITEMS_MAX).clamp(1, ITEMS_MAX);
    let rows = follower.table.range(as_slice(&from), as_slice(&to), limit + 1)?;
    page(follower, rows, limit, asked["values"] == true)
}

/// The items of the first rows, and where to go on if there are more.
fn page(follower: &Follower, rows: Vec<Row>, limit: usize, values: bool) -> Result<Json, Refusal> {
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for (at, (key, value)) in rows.into_iter().enumerate() {
        if at == limit || bytes > ITEMS_BYTES {
            let next = last.map(|key: Vec<u8>| BASE64.encode(&key[1..]));
            return Ok(json!({"items": items, "next": next}));
        }
        let mut item = item(&key, &value).ok_or_else(corrupt)?;
        last = Some(key);
        if values {
            let name = Name::new(item["name"].as_str().unwrap_or_default())?;
            match follower.host.get(&follower.namespace, &name) {
                Ok(Some(value)) => {
                    item["value"] = serde_json::from_str(&value.to_wire()).unwrap_or_default();
                }
                // It was deleted or came into conflict meanwhile.
                Ok(None) => continue,
                Err(refusal) if refusal.code == Code::InConflict => continue,
                Err(refusal) => return Err(refusal),
            }
        }
        bytes += json::size(&item);
        items.push(item);
    }
    Ok(json!({"items": items}))
}

fn item(key: &[u8], value: &[u8]) -> Option<Json> {
    let (at, name) = order::decode(key.get(9..)?)?;
    let (version, of_address) = value.split_first_chunk()?;
    let name = std::str::from_utf8(name).ok()?;
    let key = if of_address.is_empty() { name } else { std::str::from_utf8(of_address).ok()? };
    let version = VersionId(*version).to_string();
    Some(json!({"name": name, "key": key, "version": version, "at": at}))
}

/// From which row to which.
type Rows = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Between which rows the answer is.
fn range(index: &Index, asked: &Json) -> Result<Rows, Refusal> {
    let asked = asked.as_object();
    let given = |field: &str| asked.and_then(|asked: &Map<String, Json>| asked.get(field));
    let row = |scalar: &[u8]| rows::key(ENTRY, &index.id, scalar);
    let scalar = |field: &'static str| {
        let encode = |scalar| order::encode(scalar).ok_or_else(|| no_scalar(field));
        given(field).map(encode).transpose()
    };
    if let Some(scalar) = scalar("eq")? {
        return Ok((Bound::Included(row(&scalar)), behind(&row(&scalar))));
    }
    if let Some(text) = given("prefix").and_then(Json::as_str) {
        let prefix = row(&order::prefix(text));
        let end = behind(&prefix);
        return Ok((Bound::Included(prefix), end));
    }
    let from = Bound::Included(row(&scalar("from")?.unwrap_or_default()));
    let to = scalar("to")?.map_or_else(|| behind(&row(&[])), |to| Bound::Excluded(row(&to)));
    Ok((from, to))
}

/// The bound behind a cursor, which must be one of the same query.
fn after(
    index: &Index,
    cursor: &str,
    from: &Bound<Vec<u8>>,
    to: &Bound<Vec<u8>>,
) -> Result<Bound<Vec<u8>>, Refusal> {
    let bad = || {
        let shown: String = cursor.chars().take(80).collect();
        let words = format!("{shown:?} is not the `next` of a page of this query");
        Refusal::new(Code::BadCursor, words)
    };
    let rest = BASE64.decode(cursor).map_err(|_| bad())?;
    let key = [&[ENTRY][..], &rest].concat();
    let own = key.starts_with(&rows::key(ENTRY, &index.id, &[]));
    let inside = std::ops::RangeBounds::contains(&(from.clone(), to.clone()), &key);
    if !own || !inside || order::decode(&key[9..]).is_none() {
        return Err(bad());
    }
    Ok(Bound::Excluded(key))
}

fn unknown(name: &str, indexes: &[Index]) -> Refusal {
    let shown: String = name.chars().take(80).collect();
    let names: Vec<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
    Refusal::new(Code::NotFound, format!("there is no index {shown:?}"))
        .hint(format!("there are {}", names.join(", ")))
}

fn no_scalar(field: &str) -> Refusal {
    let words = format!("{field} is an array or an object, of which no index has any");
    Refusal::new(Code::BadRequest, words)
}

fn corrupt() -> Refusal {
    Refusal::new(Code::Corrupt, "the rows of the indexes are corrupt")
        .hint("stop the server and remove the plugin's table.redb")
}

/// How far each index is.
pub fn indexes(follower: &Follower) -> Result<Json, Refusal> {
    let last = follower.host.feed(&follower.namespace)?.last;
    let stuck = follower.progress.why_stuck();
    let item = |(at, index): (usize, &Index)| {
        let place = follower.progress.place(at);
        let reached = place.map_or(0, |place| place.sequence);
        json!({
            "index": index.name,
            "path": index.path,
            "keys": index.keys,
            "entries": place.map_or(0, |place| place.entries),
            "at": reached,
            "of": last,
            "ready": place.is_some() && reached >= last,
            "stuck": stuck,
        })
    };
    let items: Vec<Json> = follower.indexes.iter().enumerate().map(item).collect();
    Ok(json!({"items": items}))
}
