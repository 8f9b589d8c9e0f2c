//! The database with the journal before it: a group is durable in the journal, then readers see it above
//! the database, which gets it a little later with others, and is made durable after many groups.
//!
//! A store in memory has no journal: then each group is made durable in the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::Database;

use keepboth_core::ids::StoreId;
use keepboth_core::refusal::{Code, Refusal};

use crate::behind::{Batch, Behind, Done, GATHER};
use crate::commit::Redo;
use crate::disk::Disk;
use crate::durable;
use crate::format::GENERATION_NONE;
use crate::journal::{Journal, NotAppended, When};
use crate::late::Late;
use crate::options::Options;
use crate::rows::{FREE, Rows};
use crate::tables::{Layer, Tables};
use crate::word::{Word, settle};

/// Bytes that a journal takes when it is begun, at least.
const BEGUN_BYTES: usize = 128 * 1024;

/// Bytes of rows above the database after which they are given to it at once.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of rows above the database with which writing waits for it: it is slower than the journal.
const ABOVE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that a disk must have left when the database is given rows, besides twice theirs and a sixteenth of
/// its file, for pages that are written anew: redb reads nothing more once a write has failed.
const ROOM_BYTES: u64 = 8 * 1024 * 1024;
const ROOM_OF_FILE: u64 = 16;

/// A file that grew by so much is compacted when it is closed, up to a size at which that takes a few seconds.
const GROWN_BYTES: u64 = 16 * 1024 * 1024;
const COMPACTED_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

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

/// Calls the commit thread, which then calls [`Ledger::go_on`].
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// An open database and its journal.
pub struct Ledger {
    // First, so that it ends before the database is closed.
    open: Option<Open>,
    database: Arc<Database>,
    store: StoreId,
    tables: Tables,
    late: Late,
    wake: Wake,
    /// True if some of the journal may have been answered before it was durable.
    lossy: bool,
    /// Why nothing is written, while the disk may have too little room.
    full: Option<Refusal>,
    /// Why the last group was refused, if the disk did not take it.
    refused: Option<Refused>,
    /// Bytes by which the journal would have to grow.
    wants: usize,
}

/// A group that the disk did not take.
struct Refused {
    why: Refusal,
    /// How many bytes it was to take, and when it was asked last.
    bytes: usize,
    asked: Instant,
}

/// After a disk did not take a group it is not asked for so long whether it would.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What there is from the first write on.
struct Open {
    journal: Journal,
    behind: Behind,
    /// The generation that goes on from what is durable in the database.
    settled: u64,
    /// Bytes of rows that are not durable in the database; of those, what it is being made durable with.
    unsettled: usize,
    settling: usize,
    /// When the database was given something last.
    given_at: Option<Instant>,
    /// Bytes of the database's file when the journal was begun.
    file_bytes: u64,
}

impl Ledger {
    pub fn new(
        database: Database,
        store: StoreId,
        (late, tables): (Late, Tables),
        wake: Wake,
    ) -> Ledger {
        let database = Arc::new(database);
        Ledger {
            open: None,
            database,
            store,
            tables,
            late,
            wake,
            lossy: false,
            full: None,
            refused: None,
            wants: 0,
        }
    }

    /// What readers are to see.
    pub fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// Bytes of the journal that the database does not have for good.
    pub fn journal_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.journal.bytes())
    }

    /// How many records of the journal there are, and so were answered.
    pub fn records(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.journal.word(self.lossy).number)
    }

    /// Why nothing is written until there is more room on the disk, or it takes writes again.
    pub fn full(&self) -> Option<&Refusal> {
        self.full.as_ref().or(self.refused.as_ref().map(|refused| &refused.why))
    }

    /// Makes a group durable, and adds it to what readers are to see.
    pub fn write(
        &mut self,
        disk: &mut Disk,
        options: &Options,
        redo: Redo,
        when: When,
    ) -> Result<(), Failure> {
        if let Some(refusal) = &self.full {
            return Err(Failure::Refused(refusal.clone()));
        }
        self.begin(disk, matches!(when, When::Within(_)))?;
        self.find_room(disk, options, redo.rows.len())?;
        self.append(redo, when)?;
        self.refused = None;
        Ok(())
    }

    fn append(&mut self, redo: Redo, when: When) -> Result<(), Failure> {
        let mut newer = Layer::clone(&self.tables.newer);
        let Some(Open { journal, unsettled, .. }) = &mut self.open else {
            newer.add(&Bytes::from(redo.rows).slice(FREE..)).map_err(of_no_form)?;
            return Ok(self.write_alone(&newer, redo.lazy)?);
        };
        let when = if redo.lazy { When::Whenever } else { when };
        let rows = match journal.append(redo.rows, when) {
            Ok(rows) => rows,
            Err(NotAppended::NoRoom(e)) => return Err(self.refuse(no_room(&e), self.wants)),
            Err(NotAppended::Failed(e)) => return Err(e.into()),
        };
        *unsettled += rows.len();
        newer.add(&rows).map_err(of_no_form)?;
        self.tables.newer = Arc::new(newer);
        Ok(())
    }

    /// The disk did not take so many bytes.
    fn refuse(&mut self, why: Refusal, bytes: usize) -> Failure {
        self.refused = Some(Refused { why: why.clone(), bytes, asked: Instant::now() });
        Failure::Refused(why)
    }

    /// Finds room in the journal for so many bytes. Refused if it would have to take what the database may need.
    fn find_room(&mut self, disk: &Disk, options: &Options, bytes: usize) -> Result<(), Failure> {
        if !self.grows_too_much(disk, bytes) {
            return Ok(());
        }
        // Once the database has for good what it lacks it needs less, and the other file has room of its own.
        self.wait()?;
        self.give(options, true)?;
        self.wait()?;
        if self.grows_too_much(disk, bytes)
            && let Some(refusal) = &self.full
        {
            return Err(Failure::Refused(refusal.clone()));
        }
        Ok(())
    }

    /// Waits until the thread behind has done what it was given.
    fn wait(&mut self) -> Result<(), redb::Error> {
        let done = self.open.as_mut().map_or(Ok(None), |open| open.behind.wait())?;
        done.into_iter().for_each(|done| self.take(done));
        Ok(())
    }

    fn write_alone(&mut self, rows: &Layer, lazy: bool) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        if lazy {
            transaction.set_durability(redb::Durability::None)?;
        }
        self.late.settle(&transaction)?;
        rows.write(&transaction)?;
        transaction.commit()?;
        self.tables = Tables::open(&self.database)?;
        Ok(())
    }

    /// The first write begins the journal: the database says that it needs it.
    fn begin(&mut self, disk: &mut Disk, lossy: bool) -> Result<(), Failure> {
        if let Some(open) = &mut self.open {
            if lossy && !self.lossy {
                // Before the first answer that may get lost.
                self.lossy = true;
                let done = open.behind.wait()?;
                let word = Word { generation: open.settled, ..open.journal.word(true) };
                done.into_iter().for_each(|done| self.take(done));
                self.settle(word)?;
                self.open.iter_mut().for_each(|open| open.unsettled = 0);
            }
            return Ok(());
        }
        let Some([a, b]) = disk.places() else { return Ok(()) };
        let run = *uuid::Uuid::new_v4().as_bytes();
        let files = a.make().and_then(|a| Ok([a, b.make()?]));
        let journal = files.and_then(|files| Journal::begin(files, &self.store, run));
        let wake = self.wake.clone();
        let behind = journal.and_then(|journal| {
            Ok((journal, Behind::start(self.database.clone(), move || wake())?))
        });
        let (journal, behind) = match behind {
            Ok(begun) => begun,
            Err(e) => return Err(self.refuse(not_begun(&e), BEGUN_BYTES)),
        };
        self.lossy = lossy;
        settle(&self.database, &journal.word(lossy), |_| Ok(()))?;
        let file_bytes = disk.file_bytes().unwrap_or(0);
        self.open = Some(Open {
            journal,
            behind,
            settled: 0,
            unsettled: 0,
            settling: 0,
            given_at: None,
            file_bytes,
        });
        Ok(())
    }

    /// Makes the database durable with all that readers see.
    fn settle(&mut self, word: Word) -> Result<(), redb::Error> {
        let newer = &self.tables.newer;
        settle(&self.database, &word, |to| self.late.settle(to).and_then(|()| newer.write(to)))?;
        self.tables = Tables::open(&self.database)?;
        Ok(())
    }

    /// Takes up what the thread behind has done.
    fn take(&mut self, Done { stored, late }: Done) {
        (self.tables.stored, self.tables.late) = (Arc::new(stored), late.layers());
        self.tables.older = Arc::default();
        self.late = late;
        if let Some(open) = &mut self.open {
            open.unsettled -= std::mem::take(&mut open.settling);
        }
    }

    /// True if the journal has to grow for so many bytes, and the database may need the room.
    fn grows_too_much(&mut self, disk: &Disk, bytes: usize) -> bool {
        self.wants = self.open.as_ref().map_or(0, |open| open.journal.grows(bytes));
        self.wants > 0 && self.is_too_full(disk)
    }

    /// True if the disk may have too little room for what the database does not have for good, and for the journal.
    fn is_too_full(&mut self, disk: &Disk) -> bool {
        let rows = self.open.as_ref().map_or(0, |open| open.unsettled as u64);
        let file = disk.file_bytes().unwrap_or(0);
        let needed = ROOM_BYTES + 2 * rows + file / ROOM_OF_FILE + self.wants as u64;
        let room = disk.room().filter(|room| *room < needed);
        self.full = room.map(|room| too_full(room, needed));
        self.full.is_some()
    }

    /// Gives the database what it does not have, if it is time; true if readers are to see other tables than
    /// before. After so many bytes of the journal the database is made durable with them.
    pub fn go_on(&mut self, disk: &Disk, options: &Options) -> Result<bool, redb::Error> {
        if let Some(refused) = &mut self.refused
            && refused.asked.elapsed() >= ASK_AGAIN
        {
            let takes = disk.takes(refused.bytes);
            refused.asked = Instant::now();
            if takes.is_ok() {
                self.refused = None;
            }
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        let much = self.tables.newer.bytes >= ABOVE_BYTES_MAX;
        let done = if much { open.behind.wait()? } else { open.behind.take()? };
        let moved = done.is_some();
        done.into_iter().for_each(|done| self.take(done));
        if self.full.is_some() && self.is_too_full(disk) {
            return Ok(moved);
        }
        self.wants = 0;
        let Some(open) = &mut self.open else { return Ok(moved) };
        let long = open.journal.bytes() >= options.journal_bytes_max;
        let due = long
            || self.tables.newer.bytes >= BATCH_BYTES
            || open.given_at.is_none_or(|at| at.elapsed() >= GATHER);
        if open.behind.is_busy() || self.tables.newer.is_empty() && !long || !due {
            return Ok(moved);
        }
        if self.is_too_full(disk) {
            return Ok(moved);
        }
        self.give(options, long)?;
        Ok(moved)
    }

    /// Gives the database what it does not have; it is made durable with that if the journal is `long`.
    fn give(&mut self, options: &Options, long: bool) -> Result<(), redb::Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if long {
            // The other file holds what the database has had for good since the last time.
            open.journal.switch()?;
            open.settled = open.journal.word(self.lossy).generation;
            open.settling = open.unsettled;
        }
        let word = Word { generation: open.settled, ..open.journal.word(self.lossy) };
        self.tables.older = std::mem::take(&mut self.tables.newer);
        let (rows, late) = (self.tables.older.clone(), self.late.clone());
        let late_bytes_max = options.late_bytes_max;
        open.behind.give(Batch { rows, late, late_bytes_max, word, durable: long })?;
        open.given_at = Some(Instant::now());
        Ok(())
    }

    /// Makes the database whole without a journal, with these last rows, and closes it.
    pub fn close(mut self, disk: &mut Disk, last: Rows) -> Result<(), redb::Error> {
        let mut rows = Layer::default();
        let last = Bytes::from(last.into_bytes()).slice(FREE..);
        rows.add(&last).map_err(|e| redb::Error::Corrupted(e.to_string()))?;
        let mut grown = disk.compacts();
        if let Some(mut open) = self.open.take() {
            let done = open.behind.wait()?;
            let word = Word { generation: GENERATION_NONE, ..open.journal.word(false) };
            done.into_iter().for_each(|done| self.take(done));
            settle(&self.database, &word, |to| {
                self.late.settle(to)?;
                [&self.tables.newer, &rows].iter().try_for_each(|rows| rows.write(to))
            })?;
            disk.remove_journal()?;
            grown |= disk.file_bytes().unwrap_or(0) >= open.file_bytes + GROWN_BYTES;
        } else if !(rows.is_empty() && self.late.is_empty()) {
            let transaction = durable::begin(&self.database)?;
            self.late.settle(&transaction)?;
            rows.write(&transaction)?;
            transaction.commit()?;
        }
        // The thread behind has ended, so nobody else holds it.
        let Ok(database) = Arc::try_unwrap(self.database) else { return Ok(()) };
        database.close()?;
        let bytes = disk.file_bytes().unwrap_or(0);
        if grown && bytes <= COMPACTED_BYTES_MAX {
            let begun = Instant::now();
            tracing::info!(file = %disk.path().display(), bytes, "compacting");
            let compacted = disk.compact();
            let (file, took) = (disk.path().display(), begun.elapsed());
            match compacted {
                Ok(less) => tracing::info!(%file, ?took, "compacted: {less} bytes less"),
                Err(error) => tracing::warn!(%file, "whole, but not compacted: {error}"),
            }
        }
        Ok(())
    }
}

fn of_no_form(error: crate::layout::BadRow) -> Failure {
    Failure::Disk(redb::Error::Corrupted(format!("rows for the journal: {error}")))
}

fn not_begun(error: &std::io::Error) -> Refusal {
    let words = format!("the journal cannot be begun ({error}); nothing was written");
    let hint = "see that there is room on the disk and that its folder may be written";
    Refusal::new(Code::StoreFailed, words).hint(hint)
}

fn too_full(room: u64, needed: u64) -> Refusal {
    let [room, needed] = [room, needed].map(|bytes| bytes as f64 / (1024.0 * 1024.0));
    let words = format!(
        "the disk has {room:.1} MiB left, and the database may need {needed:.1} MiB: nothing is written \
         until there is room"
    );
    Refusal::new(Code::StoreFailed, words).hint("make room on the disk, and write again")
}

fn no_room(error: &std::io::Error) -> Refusal {
    let words = format!("the journal cannot be made longer ({error}); nothing was written");
    Refusal::new(Code::StoreFailed, words).hint("make room on the disk, and write again")
}
