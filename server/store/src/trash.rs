//! The row of a key in the trash: the sequence that took its last object away, when, and what is left.

use crate::layout::{BadRow, Reader, Writer};

/// What the table `trash` says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrashRow {
    pub last: u64,
    /// When this store learned of it, in milliseconds since 1970.
    pub since: u64,
    /// 1 if its values are gone.
    pub stage: u8,
}

impl TrashRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Writer::default();
        row.u64(self.last).u64(self.since).u8(self.stage);
        row.0
    }

    pub fn decode(bytes: &[u8]) -> Result<TrashRow, BadRow> {
        let mut row = Reader(bytes);
        let read = TrashRow { last: row.u64()?, since: row.u64()?, stage: row.u8()? };
        row.end().map(|()| read)
    }
}
