//! What a database says of its journal, written whenever it is made durable with all that the journal has.

use redb::{Database, WriteTransaction};

use crate::durable;
use crate::format::{META, META_JOURNAL};
use crate::layout::{BadRow, Reader, Writer};

/// One opening of a store, in which it has one journal.
pub type Run = [u8; 16];

/// What the database says of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub run: Run,
    /// The generation that goes on from the database.
    pub generation: u64,
    /// How many of its records are in the database.
    pub number: u64,
    /// True if some of its records may be lost without anybody noticing.
    pub lossy: bool,
}

impl Word {
    pub fn encode(&self) -> Vec<u8> {
        let mut word = Writer::default();
        word.bytes(&self.run).u64(self.generation).u64(self.number).u8(self.lossy.into());
        word.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Word, BadRow> {
        let mut word = Reader(bytes);
        let (run, generation, number) = (word.array()?, word.u64()?, word.u64()?);
        let lossy = word.u8()? == 1;
        word.end().map(|()| Word { run, generation, number, lossy })
    }
}

/// Makes the database durable with what is written besides, and with this word about the journal.
pub fn settle(
    database: &Database,
    word: &Word,
    besides: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = durable::begin(database)?;
    besides(&transaction)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_JOURNAL, &word.encode()[..])?;
    }
    Ok(transaction.commit()?)
}
