//! The row of a note: what happened to a key without a new version.

use keepboth_core::name::Key;

use crate::layout::{BadRow, Reader, Writer};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The key was forgotten.
    Forgotten,
    /// A version came out of quarantine, or got its value.
    Shown,
}

impl Note {
    pub fn encode(self, key: &Key) -> Vec<u8> {
        let mut row = Writer::default();
        row.u8(match self {
            Note::Forgotten => 0,
            Note::Shown => 1,
        });
        row.bytes(key.as_str().as_bytes());
        row.0
    }

    pub fn decode(bytes: &[u8]) -> Result<(Note, Key), BadRow> {
        let mut row = Reader(bytes);
        let note = match row.u8()? {
            0 => Note::Forgotten,
            1 => Note::Shown,
            _ => return Err(BadRow("of no known kind")),
        };
        let key = Key::new(row.text()?).map_err(|_| BadRow("without a key in good form"))?;
        Ok((note, key))
    }
}
