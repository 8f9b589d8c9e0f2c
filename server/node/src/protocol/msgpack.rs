//! MessagePack in, by the rules that hold for JSON: no duplicate keys, no number that would change,
//! at most 64 levels. Texts that are not UTF-8 are refused, where rmp-serde takes them for bytes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use keepboth_core::limits::DEPTH_MAX;
use keepboth_core::refusal::{Code, Refusal};
use rmp::Marker;
use serde_json::{Number, Value as Json};

use super::tree::{Tree, shown};

/// Reads one item that is the whole of `bytes`, with at most so many levels of arrays and objects.
pub(crate) fn read(bytes: &[u8], depth_max: usize) -> Result<Tree, Refusal> {
    let mut reader = Reader { bytes, at: 0, depth_max };
    let tree = reader.tree(0)?;
    if reader.at < bytes.len() {
        return Err(reader.bad_frame("more follows after the frame"));
    }
    Ok(tree)
}

/// The `id` of a frame that could not be read, if it stands before what is wrong.
pub(super) fn read_id(bytes: &[u8]) -> Option<u64> {
    let mut reader = Reader { bytes, at: 0, depth_max: DEPTH_MAX };
    let members = match reader.marker().ok()? {
        Marker::FixMap(members) => usize::from(members),
        Marker::Map16 => reader.length(2).ok()?,
        Marker::Map32 => reader.length(4).ok()?,
        _ => return None,
    };
    for _ in 0..members {
        let name = reader.tree(1).ok()?;
        let member = reader.tree(1).ok()?;
        if let (Tree::Json(Json::String(name)), Tree::Json(id)) = (name, member)
            && name == "id"
        {
            return id.as_u64();
        }
    }
    None
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
}

impl Reader<'_> {
    fn bad_frame(&self, what: &str) -> Refusal {
        Refusal::new(Code::BadFrame, format!("not MessagePack at byte {}: {what}", self.at))
    }

    fn bad_value(&self, what: &str) -> Refusal {
        Refusal::new(Code::BadValue, format!("at byte {}: {what}", self.at))
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Refusal> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(self.bad_frame("the frame ends too early")) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn marker(&mut self) -> Result<Marker, Refusal> {
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    /// A length of 1, 2 or 4 bytes.
    fn length(&mut self, width: usize) -> Result<usize, Refusal> {
        Ok(self.take(width)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn tree(&mut self, depth: usize) -> Result<Tree, Refusal> {
        Ok(Tree::Json(match self.marker()? {
            Marker::Null => Json::Null,
            Marker::False => Json::Bool(false),
            Marker::True => Json::Bool(true),
            Marker::FixPos(n) => n.into(),
            Marker::FixNeg(n) => n.into(),
            Marker::U8 => u8::from_be_bytes(self.array()?).into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            Marker::U64 => {
                let n = u64::from_be_bytes(self.array()?);
                self.whole(n.into(), n.into())?
            }
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            Marker::I64 => {
                let n = i64::from_be_bytes(self.array()?);
                self.whole(n.into(), n.into())?
            }
            Marker::F32 => return Ok(float(f32::from_be_bytes(self.array()?).into())),
            Marker::F64 => return Ok(float(f64::from_be_bytes(self.array()?))),
            Marker::FixStr(length) => self.text(usize::from(length))?.into(),
            Marker::Str8 => self.long_text(1)?.into(),
            Marker::Str16 => self.long_text(2)?.into(),
            Marker::Str32 => self.long_text(4)?.into(),
            Marker::Bin8 => return self.bin(1),
            Marker::Bin16 => return self.bin(2),
            Marker::Bin32 => return self.bin(4),
            Marker::FixArray(count) => return self.items(usize::from(count), depth),
            Marker::Array16 => return self.length(2).and_then(|count| self.items(count, depth)),
            Marker::Array32 => return self.length(4).and_then(|count| self.items(count, depth)),
            Marker::FixMap(count) => return self.members(usize::from(count), depth),
            Marker::Map16 => return self.length(2).and_then(|count| self.members(count, depth)),
            Marker::Map32 => return self.length(4).and_then(|count| self.members(count, depth)),
            Marker::Reserved => return Err(self.bad_frame("the marker c1 has no meaning")),
            _ => return Err(self.bad_frame("extension types have no meaning here")),
        }))
    }

    /// A whole number that binary64 holds.
    fn whole(&self, n: i128, number: Number) -> Result<Json, Refusal> {
        if (n as f64) as i128 == n {
            return Ok(Json::Number(number));
        }
        let words = format!("{n} would change: binary64 holds integers exactly up to 2^53");
        Err(self.bad_value(&words).hint("send it as a text or a cbor bigint"))
    }

    fn text(&mut self, length: usize) -> Result<String, Refusal> {
        let from = self.at;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| {
            let words = format!("not MessagePack at byte {from}: the text is not UTF-8");
            Refusal::new(Code::BadFrame, words)
        })
    }

    fn long_text(&mut self, width: usize) -> Result<String, Refusal> {
        let length = self.length(width)?;
        self.text(length)
    }

    fn bin(&mut self, width: usize) -> Result<Tree, Refusal> {
        let length = self.length(width)?;
        Ok(Tree::Bytes(self.take(length)?.to_vec()))
    }

    fn deeper(&self, depth: usize) -> Result<usize, Refusal> {
        if depth == self.depth_max {
            let words = format!("more than {depth} levels of arrays and objects");
            return Err(self.bad_value(&words));
        }
        Ok(depth + 1)
    }

    fn items(&mut self, count: usize, depth: usize) -> Result<Tree, Refusal> {
        let depth = self.deeper(depth)?;
        // The count is only a claim.
        let mut items = Vec::with_capacity(count.min(256));
        for _ in 0..count {
            items.push(self.tree(depth)?);
        }
        Ok(Tree::list(items))
    }

    fn members(&mut self, count: usize, depth: usize) -> Result<Tree, Refusal> {
        let depth = self.deeper(depth)?;
        let mut members = BTreeMap::new();
        for _ in 0..count {
            let Tree::Json(Json::String(name)) = self.tree(depth)? else {
                return Err(self.bad_value("the key of an object is a text"));
            };
            let member = self.tree(depth)?;
            match members.entry(name) {
                Entry::Vacant(free) => free.insert(member),
                Entry::Occupied(taken) => {
                    let words = format!("duplicate key {:?}", shown(taken.key()));
                    return Err(self.bad_value(&words));
                }
            };
        }
        Ok(Tree::map(members))
    }
}

fn float(n: f64) -> Tree {
    Number::from_f64(n).map_or(Tree::Float(n), |n| Tree::Json(Json::Number(n)))
}
