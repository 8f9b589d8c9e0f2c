//! The journal of an open store: groups are appended and synced, and that makes them durable.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use keepboth_core::ids::StoreId;

use self::file::JournalFile;
use self::flusher::{Flusher, Synced};
use self::record::{BLOCK, Head};
use crate::rows::FREE;
use crate::word::{Run, Word};

/// What it is written to.
pub mod file;
/// Its form in bytes.
pub mod record;
/// Where it stands.
pub mod place;
/// Syncs that come later.
mod flusher;

/// Least and most bytes by which it grows.
const GROW_MIN: usize = 64 * 1024;
const GROW_MAX: usize = 4 * 1024 * 1024;

/// When what is appended has to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// After this time.
    Within(Duration),
    /// With what comes next.
    Whenever,
}

/// An open journal.
pub struct Journal {
    synced: Arc<Synced>,
    flusher: Flusher,
    run: Run,
    generation: u64,
    /// Records so far.
    number: u64,
    /// Where the next record will stand.
    end: usize,
    /// Bytes of each file that were written before, if only with zeros: it need not grow for them.
    room: [usize; 2],
}

/// Why a group is not in the journal.
#[derive(Debug)]
pub enum NotAppended {
    /// There is no room for it, and nothing was written.
    NoRoom(io::Error),
    /// Nobody knows whether it is there.
    Failed(io::Error),
}

impl Journal {
    /// Writes the first block of each file of a new journal.
    pub fn begin(
        files: [Box<dyn JournalFile>; 2],
        store: &StoreId,
        run: Run,
    ) -> io::Result<Journal> {
        let first = record::first(store, &run);
        let mut room = [0; 2];
        for (file, room) in files.iter().zip(&mut room) {
            *room = growth(0, first.len());
            grow(&**file, 0, *room)?;
            file.write(0, &first)?;
            file.sync_data()?;
        }
        let synced = Arc::new(Synced::new(files));
        Ok(Journal {
            flusher: Flusher::start(synced.clone())?,
            synced,
            run,
            generation: 0,
            number: 0,
            end: BLOCK,
            room,
        })
    }

    /// What the database says when it has all that was appended, and what came before this generation for
    /// good.
    pub fn word(&self, lossy: bool) -> Word {
        Word { run: self.run, generation: self.generation, number: self.number, lossy }
    }

    /// Bytes of this generation.
    pub fn bytes(&self) -> usize {
        self.end - BLOCK
    }

    /// Appends a group, whose rows stand behind [`FREE`] bytes, and syncs it if it has to be durable now: on
    /// this thread, since to wake another one costs more than what could be done meanwhile. Gives the rows.
    pub fn append(&mut self, mut record: Vec<u8>, when: When) -> Result<Bytes, NotAppended> {
        self.synced.check().map_err(NotAppended::Failed)?;
        let (run, generation, number) = (self.run, self.generation, self.number);
        let rows = FREE..record.len();
        record::encode(
            &Head { run, generation, number, follows: self.synced.is_all() },
            &mut record,
        );
        let end = self.end + record.len();
        let grows = self.grows(record.len());
        if grows > 0 {
            let room = &mut self.room[half(generation)];
            grow(self.synced.file(), *room, grows).map_err(NotAppended::NoRoom)?;
            self.synced.sync().map_err(NotAppended::Failed)?;
            *room += grows;
        }
        let written = match when {
            When::Now => self.synced.write_durably(self.end, &record),
            When::Within(_) | When::Whenever => self.synced.write(self.end, &record),
        };
        written.map_err(NotAppended::Failed)?;
        (self.end, self.number) = (end, number + 1);
        if let When::Within(period) = when {
            self.flusher.within(period).map_err(NotAppended::Failed)?;
        }
        Ok(Bytes::from(record).slice(rows))
    }

    /// Bytes by which its file grows for a record that has so many.
    pub fn grows(&self, record: usize) -> usize {
        let room = self.room[half(self.generation)];
        match (self.end + record.next_multiple_of(BLOCK)).saturating_sub(room) {
            0 => 0,
            by => growth(room, by),
        }
    }

    /// Begins the next generation, at the start of the other file. Whoever calls it has seen to it that the
    /// database has for good what that file has.
    pub fn switch(&mut self) -> io::Result<()> {
        self.synced.switch(half(self.generation + 1))?;
        (self.generation, self.end) = (self.generation + 1, BLOCK);
        Ok(())
    }
}

/// Which of the two files a generation stands in.
pub fn half(generation: u64) -> usize {
    (generation % 2) as usize
}

/// By how much a file grows that needs so many bytes more.
fn growth(room: usize, by: usize) -> usize {
    by.max(room.clamp(GROW_MIN, GROW_MAX))
}

/// Writes zeros behind the end, which are to be synced: later syncs then need not write where the bytes
/// stand, and a full disk is met before anything of a group is written.
fn grow(file: &dyn JournalFile, from: usize, by: usize) -> io::Result<()> {
    let room = (from + by) as u64;
    file.set_len(room)?;
    file.write_zeros(from as u64..room)
}
