//! The database with the journal before it: a group is durable in the journal, then readers see it in
//! the database, and the database is made durable after many groups.
//!
//! A store in memory has no journal: then each group is made durable in the database.

use redb::Database;

use keepboth_core::ids::StoreId;
use keepboth_core::refusal::{Code, Refusal};

use crate::commit::Redo;
use crate::disk::Disk;
use crate::format::{GENERATION_NONE, META, META_JOURNAL};
use crate::journal::{Journal, NotAppended, When};
use crate::rows::{self, Rows};
use crate::word::{Word, settle};

/// Why a group was not written.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was done.
    Refused(Refusal),
    /// Nobody knows whether it is there, and the database has to be opened anew.
    Disk(redb::Error),
    /// An earlier failure ended all writing.
    Stopped,
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Disk(error.into())
    }
}

/// An open database and its journal.
pub struct Ledger {
    database: Database,
    store: StoreId,
    journal: Option<Journal>,
    /// True if some of the journal may have been answered before it was durable.
    lossy: bool,
}

impl Ledger {
    pub fn new(database: Database, store: StoreId) -> Ledger {
        Ledger { database, store, journal: None, lossy: false }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Bytes of the journal that the database does not have for good.
    pub fn journal_bytes(&self) -> usize {
        self.journal.as_ref().map_or(0, Journal::bytes)
    }

    /// Makes a group durable, and shows it to whoever reads the database from now on.
    pub fn write(&mut self, disk: &mut Disk, redo: &Redo, when: When) -> Result<(), Failure> {
        let lossy = matches!(when, When::Within(_));
        self.begin(disk, lossy)?;
        let Some(journal) = &mut self.journal else {
            return self.write_alone(redo);
        };
        let when = if redo.lazy { When::Whenever } else { when };
        journal.append(redo.rows.as_bytes(), when).map_err(|e| match e {
            NotAppended::NoRoom(e) => no_room(e),
            NotAppended::Failed(e) => e.into(),
        })?;
        // While it is synced.
        let applied = apply(&self.database, redo, &journal.word(self.lossy));
        journal.wait()?;
        Ok(applied?)
    }

    /// The first write begins the journal: the database says that it needs it.
    fn begin(&mut self, disk: &mut Disk, lossy: bool) -> Result<(), Failure> {
        match &self.journal {
            None => {
                let Some(place) = disk.place() else { return Ok(()) };
                let run = *uuid::Uuid::new_v4().as_bytes();
                let made = place.make().and_then(|file| Journal::begin(file, &self.store, run));
                self.journal = Some(made.map_err(not_begun)?);
            }
            Some(_) if lossy && !self.lossy => {}
            Some(_) => return Ok(()),
        }
        self.lossy = lossy;
        Ok(self.mark()?)
    }

    fn write_alone(&self, redo: &Redo) -> Result<(), Failure> {
        let mut transaction = self.database.begin_write()?;
        if redo.lazy {
            transaction.set_durability(redb::Durability::None)?;
        }
        rows::write(redo.rows.as_bytes(), &transaction)?;
        Ok(transaction.commit()?)
    }

    /// Makes the database durable with all that is in the journal, which begins anew.
    pub fn checkpoint(&mut self) -> Result<(), redb::Error> {
        if let Some(journal) = &mut self.journal {
            journal.restart();
            self.mark()?;
        }
        Ok(())
    }

    /// Makes the database durable with what it needs of the journal from now on.
    fn mark(&self) -> Result<(), redb::Error> {
        let Some(journal) = &self.journal else { return Ok(()) };
        settle(&self.database, &journal.word(self.lossy), |_| Ok(()))
    }

    /// Makes the database whole without a journal, with these last rows, and closes it.
    pub fn close(self, disk: &mut Disk, last: &Rows) -> Result<(), redb::Error> {
        if let Some(journal) = &self.journal {
            let word = Word { generation: GENERATION_NONE, ..journal.word(false) };
            settle(&self.database, &word, |to| rows::write(last.as_bytes(), to))?;
            if let Some(place) = disk.place() {
                place.remove()?;
            }
        } else if !last.as_bytes().is_empty() {
            let transaction = self.database.begin_write()?;
            rows::write(last.as_bytes(), &transaction)?;
            transaction.commit()?;
        }
        Ok(self.database.close()?)
    }
}

/// Shows a group to whoever reads the database from now on. Should it be closed before it is made durable,
/// it also says that it has the group.
fn apply(database: &Database, redo: &Redo, word: &Word) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(redb::Durability::None)?;
    rows::write(redo.rows.as_bytes(), &transaction)?;
    transaction.open_table(META)?.insert(META_JOURNAL, &word.encode()[..])?;
    Ok(transaction.commit()?)
}

fn not_begun(error: std::io::Error) -> Failure {
    let words = format!("the journal cannot be begun ({error}); nothing was written");
    let refusal = Refusal::new(Code::StoreFailed, words);
    Failure::Refused(
        refusal.hint("see that there is room on the disk and that its folder may be written"),
    )
}

fn no_room(error: std::io::Error) -> Failure {
    let words = format!("the journal cannot be made longer ({error}); nothing was written");
    let refusal = Refusal::new(Code::StoreFailed, words);
    Failure::Refused(refusal.hint("make room on the disk, and write again"))
}
