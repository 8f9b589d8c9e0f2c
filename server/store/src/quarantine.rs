//! The row of a version in quarantine: why it is hidden from readers, since when, and from whom it came.
//!
//! In bytes: sequence (8), since in milliseconds since 1970 (8), node (32), change (1: put 0, delete 1,
//! split 2), a list of none or one value: its tag (1) and its size (8), the length of the code, the
//! code, and the message to the end.

use keepboth_core::ids::{NodeId, VersionId};
use keepboth_core::name::Key;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Kind;
use keepboth_core::version::Change;

use crate::layout::{BadRow, Reader, Writer};

/// A version that is kept, and hidden from readers until somebody judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The key of its history.
    pub key: Key,
    /// The version.
    pub version: VersionId,
    /// Why it is hidden: code and message.
    pub refusal: Refusal,
    /// What it did.
    pub change: Change,
    /// What its value is and how many bytes it has; None for a delete and a split, and for a put that
    /// came without it.
    pub value: Option<(Kind, usize)>,
    /// When it came, in milliseconds since 1970.
    pub since: u64,
    /// The node that sent it.
    pub from: NodeId,
    /// Its place in the order of this store.
    pub sequence: u64,
}

impl Quarantined {
    /// Bytes of its value.
    pub fn bytes(&self) -> u64 {
        self.value.map_or(0, |(_, bytes)| bytes as u64)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::default();
        row.u64(self.sequence).u64(self.since).bytes(&self.from.0);
        row.u8(match self.change {
            Change::Put => 0,
            Change::Delete => 1,
            Change::Split => 2,
        });
        row.number(self.value.iter().len() as u64);
        if let Some((kind, bytes)) = self.value {
            row.u8(kind as u8).u64(bytes as u64);
        }
        let code = self.refusal.code.as_str();
        row.number(code.len() as u64).bytes(code.as_bytes());
        row.bytes(self.refusal.message.as_bytes());
        row.0
    }

    pub(crate) fn decode(key: Key, version: VersionId, bytes: &[u8]) -> Result<Self, BadRow> {
        let mut row = Reader(bytes);
        let (sequence, since, from) = (row.u64()?, row.u64()?, NodeId(row.array()?));
        let change = match row.u8()? {
            0 => Change::Put,
            1 => Change::Delete,
            2 => Change::Split,
            _ => return Err(BadRow("of no known change")),
        };
        let values: Vec<(Kind, usize)> = row.list(|row| {
            let kind = Kind::from_tag(row.u8()?).ok_or(BadRow("of no known kind"))?;
            Ok((kind, row.u64()? as usize))
        })?;
        let value = values.first().copied();
        let code: Vec<u8> = row.list(Reader::u8)?;
        let known = Code::ALL.iter().find(|known| known.as_str().as_bytes() == code);
        let code = *known.ok_or(BadRow("of no known code"))?;
        let refusal = Refusal::new(code, row.text()?);
        Ok(Quarantined { key, version, refusal, change, value, since, from, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_from_its_bytes() {
        let key = Key::new("k").expect("a key");
        let mut row = Quarantined {
            key: key.clone(),
            version: VersionId([3; 32]),
            refusal: Refusal::new(Code::SchemaRefused, "/a: not a number"),
            change: Change::Put,
            value: Some((Kind::Json, 17)),
            since: 5,
            from: NodeId([9; 32]),
            sequence: 8,
        };
        for change in [Change::Put, Change::Put, Change::Delete] {
            let bytes = row.encode();
            let back = Quarantined::decode(key.clone(), row.version, &bytes);
            assert_eq!(back, Ok(row.clone()));
            assert!(Quarantined::decode(key.clone(), row.version, &bytes[..50]).is_err());
            (row.change, row.value) = (change, None);
        }
    }
}
