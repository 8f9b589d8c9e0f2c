//! The row of a key in bytes.
//!
//! The first byte tells which of three forms the row has:
//! - 0, one live head and no other tip: last sequence, versions, bytes of values and timestamp, each in as
//!   many bytes as it needs, origin, head, branch, data hash. The head is the last version. 16 more if the
//!   branch is that of the head itself, and then it is left out: an object that was put once has about 95
//!   bytes.
//! - 1, one deleted head and no other tip: the same without the data hash.
//! - 2, anything else: last sequence, versions, bytes of values, branch, the lists of main heads, tips and open
//!   splits, the list of candidates, the list of detached objects, and a list of none or one newest
//!   delete. An object: its list of heads, data hash, branch, then sequence, timestamp and origin of
//!   the version that speaks for it. A delete: version, sequence, timestamp, origin.
//! - 3, as 2, for a key of which something is set apart, and behind it: the lists of all tips, of
//!   hidden versions and of those without a value, the sequence of the newest note, and that of the
//!   note which forgets the key, or 0 each.

use smallvec::{SmallVec, smallvec};

use keepboth_core::ids::{StoreId, VersionId};
use keepboth_core::name::branch_of;
use keepboth_core::view::{Object, View};

use super::{KeyRow, Speaker};
use crate::apart::Apart;
use crate::layout::{BadRow, Reader, Writer};
use crate::state::Deleted;

const LIVE: u8 = 0;
const DELETED: u8 = 1;
/// Added to either if the branch is that of the head.
const OF_ITSELF: u8 = 16;

impl KeyRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Writer(Vec::with_capacity(128));
        match (self.only_tip(), &self.speakers[..], &self.deleted) {
            _ if self.apart.is_some() => self.encode_apart(&mut row),
            (Some(tip), [live], None) if live.sequence == self.last => {
                self.encode_simple(&mut row, LIVE, live.timestamp, &live.origin, tip);
                row.bytes(&self.view.candidates[0].data.0);
            }
            (Some(tip), [], Some(dead)) if dead.sequence == self.last => {
                self.encode_simple(&mut row, DELETED, dead.timestamp, &dead.origin, tip);
            }
            _ => self.encode_whole(&mut row, 2),
        }
        row.0
    }

    pub fn decode(bytes: &[u8]) -> Result<KeyRow, BadRow> {
        let mut row = Reader(bytes);
        let read = match row.u8()? {
            form if matches!(form & !OF_ITSELF, LIVE | DELETED) => {
                KeyRow::decode_simple(&mut row, form)
            }
            2 => KeyRow::decode_whole(&mut row),
            3 => KeyRow::decode_apart(&mut row),
            _ => Err(BadRow("of no known form")),
        }?;
        row.end().map(|()| read)
    }

    /// The only tip, if it is also the only head of the main line.
    fn only_tip(&self) -> Option<&VersionId> {
        let view = &self.view;
        let alone = view.main_heads == view.tips
            && view.detached.is_empty()
            && view.open_splits.is_empty()
            && view.candidates.iter().all(|c| c.heads == view.tips && c.branch == view.branch);
        match &view.tips[..] {
            [tip] if alone => Some(tip),
            _ => None,
        }
    }

    fn encode_simple(
        &self,
        row: &mut Writer,
        form: u8,
        timestamp: u64,
        origin: &StoreId,
        tip: &VersionId,
    ) {
        let is_first = self.view.branch == branch_of(tip);
        row.u8(if is_first { form | OF_ITSELF } else { form });
        row.number(self.last).number(self.versions).number(self.bytes).number(timestamp);
        row.bytes(&origin.0).bytes(&tip.0);
        if !is_first {
            row.bytes(&self.view.branch);
        }
    }

    fn decode_simple(row: &mut Reader<'_>, form: u8) -> Result<KeyRow, BadRow> {
        let (last, versions, bytes) = (row.number()?, row.number()?, row.number()?);
        let timestamp = row.number()?;
        let (origin, tip) = (row.store()?, row.version()?);
        let branch = if form & OF_ITSELF != 0 { branch_of(&tip) } else { row.array()? };
        let mut view =
            View { main_heads: smallvec![tip], tips: smallvec![tip], branch, ..View::default() };
        let mut read = KeyRow {
            last,
            versions,
            bytes,
            view: View::default(),
            speakers: SmallVec::new(),
            deleted: None,
            apart: None,
        };
        if form & !OF_ITSELF == LIVE {
            let data = row.data()?;
            view.candidates.push(Object { heads: smallvec![tip], data, branch });
            read.speakers.push(Speaker { sequence: last, timestamp, origin });
        } else {
            read.deleted = Some(Deleted { version: tip, timestamp, origin, sequence: last });
        }
        Ok(KeyRow { view, ..read })
    }

    fn encode_whole(&self, row: &mut Writer, form: u8) {
        let view = &self.view;
        row.u8(form).u64(self.last).u64(self.versions).u64(self.bytes).bytes(&view.branch);
        row.versions(&view.main_heads).versions(&view.tips).versions(&view.open_splits);
        let (candidates, detached) =
            self.speakers.split_at(view.candidates.len().min(self.speakers.len()));
        encode_objects(row, &view.candidates, candidates);
        encode_objects(row, &view.detached, detached);
        row.number(self.deleted.iter().len() as u64);
        if let Some(deleted) = &self.deleted {
            row.bytes(&deleted.version.0).u64(deleted.sequence);
            row.u64(deleted.timestamp).bytes(&deleted.origin.0);
        }
    }

    fn decode_whole(row: &mut Reader<'_>) -> Result<KeyRow, BadRow> {
        let (last, versions) = (row.u64()?, row.u64()?);
        let (bytes, branch) = (row.u64()?, row.array()?);
        let (main_heads, tips) = (row.versions()?, row.versions()?);
        let open_splits = row.versions()?;
        let mut speakers = SmallVec::new();
        let candidates = decode_objects(row, &mut speakers)?.into();
        let detached = decode_objects(row, &mut speakers)?;
        let deleted: Vec<Deleted> = row.list(|row| {
            let (version, sequence) = (row.version()?, row.u64()?);
            let (timestamp, origin) = (row.u64()?, row.store()?);
            Ok(Deleted { version, timestamp, origin, sequence })
        })?;
        let view = View { main_heads, candidates, detached, open_splits, tips, branch };
        let deleted = deleted.first().copied();
        Ok(KeyRow { last, versions, bytes, view, speakers, deleted, apart: None })
    }

    fn encode_apart(&self, row: &mut Writer) {
        self.encode_whole(row, 3);
        if let Some(apart) = &self.apart {
            row.versions(&apart.tips).versions(&apart.hidden).versions(&apart.valueless);
            row.u64(apart.noted).u64(apart.forgotten);
        }
    }

    fn decode_apart(row: &mut Reader<'_>) -> Result<KeyRow, BadRow> {
        let read = KeyRow::decode_whole(row)?;
        let (tips, hidden, valueless) = (row.versions()?, row.versions()?, row.versions()?);
        let (noted, forgotten) = (row.u64()?, row.u64()?);
        let apart = Apart { tips, hidden, valueless, noted, forgotten };
        Ok(KeyRow { apart: Some(Box::new(apart)), ..read })
    }
}

fn encode_objects(row: &mut Writer, objects: &[Object], speakers: &[Speaker]) {
    row.number(objects.len() as u64);
    for (object, speaker) in objects.iter().zip(speakers) {
        row.versions(&object.heads).bytes(&object.data.0).bytes(&object.branch);
        row.u64(speaker.sequence).u64(speaker.timestamp).bytes(&speaker.origin.0);
    }
}

fn decode_objects(
    row: &mut Reader<'_>,
    speakers: &mut SmallVec<[Speaker; 1]>,
) -> Result<Vec<Object>, BadRow> {
    row.list(|row| {
        let (heads, data, branch) = (row.versions::<SmallVec<_>>()?, row.data()?, row.array()?);
        let (sequence, timestamp, origin) = (row.u64()?, row.u64()?, row.store()?);
        speakers.push(Speaker { sequence, timestamp, origin });
        // Everybody asks for the first head of an object.
        if heads.is_empty() {
            Err(BadRow("without a head in an object"))
        } else {
            Ok(Object { heads, data, branch })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepboth_core::ids::DataHash;
    use keepboth_core::name::Key;
    use keepboth_core::version::Version;

    use crate::loaded::Loaded;

    const ORIGIN: StoreId = StoreId([7; 16]);

    /// The history of a key that was put, updated on two sides, set apart, and put and deleted anew.
    fn rows() -> Vec<KeyRow> {
        let key = Key::new("k").expect("a key");
        let child = |of: &[&Version], data| {
            Version::next(of.iter().map(|v| v.id).collect(), DataHash([data; 32]), 2, ORIGIN)
        };
        let first = Version::first(&key, DataHash([1; 32]), 1, ORIGIN);
        let (left, right) = (child(&[&first], 2), child(&[&first], 3));
        let split = Version::split([left.id, right.id].into_iter().collect(), 3, ORIGIN);
        let anew = child(&[&split], 4);
        let gone = child(&[&anew], 0);
        let mut loaded = Loaded::new(key);
        let mut rows = Vec::new();
        for (version, sequence) in [first, left, right, split, anew, gone].into_iter().zip(1..) {
            loaded.insert(version, None, sequence).expect("a version in good form");
            rows.push(loaded.row());
        }
        let mut apart = rows[1].clone();
        let hidden = vec![VersionId([9; 32])];
        let tips = vec![VersionId([8; 32]), VersionId([9; 32])];
        let valueless = vec![VersionId([7; 32])];
        apart.apart = Some(Box::new(Apart { tips, hidden, valueless, noted: 7, forgotten: 6 }));
        rows.push(apart);
        rows
    }

    #[test]
    fn a_row_comes_back_from_its_bytes() {
        for row in rows() {
            assert_eq!(KeyRow::decode(&row.encode()), Ok(row));
        }
    }

    #[test]
    fn the_row_of_an_ordinary_object_has_about_95_bytes() {
        let row = &rows()[0];
        assert_eq!(row.encode().len(), 1 + 4 + 16 + 32 + 32);
        let mut ordinary = KeyRow { last: 1_000_000, bytes: 1_024, ..row.clone() };
        ordinary.speakers[0].sequence = ordinary.last;
        assert_eq!(ordinary.encode().len(), 1 + 7 + 16 + 32 + 32);
        let key = Key::new("k").expect("a key");
        let first = Version::first(&key, DataHash([1; 32]), 1, ORIGIN);
        let gone = Version::next(row.view.tips.clone(), DataHash::NONE, 2, ORIGIN);
        let mut view = View::first(&first);
        assert!(view.advance(&gone));
        let gone = KeyRow::simple(view, &gone, 9, 2, 0);
        assert_eq!(gone.encode().len(), 1 + 4 + 16 + 32 + 16);
        assert_eq!(KeyRow::decode(&gone.encode()), Ok(gone));
    }

    #[test]
    fn a_row_cut_short_or_run_over_is_refused() {
        for row in rows() {
            let mut bytes = row.encode();
            for cut in 0..bytes.len() {
                assert!(KeyRow::decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            bytes.push(0);
            assert!(KeyRow::decode(&bytes).is_err());
        }
    }
}
