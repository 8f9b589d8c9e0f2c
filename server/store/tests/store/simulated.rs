//! A disk in memory that can fail at any operation and lose what was not synced.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand::rngs::StdRng;
use redb::StorageBackend;

use keepboth_store::Options;
use keepboth_store::Store;

use crate::harness::{Bench, namespace};

/// A disk with a database and its journal; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: [Content; 3],
    operations: u64,
    fails_at: Option<u64>,
    dead: bool,
    /// True for a disk that only claims to sync.
    lies: bool,
    /// True if the next sync of the journal fails.
    unsynced: bool,
    /// Bytes that each file of the journal may have, and those that the database may.
    room: Option<usize>,
    database_room: Option<usize>,
}

#[derive(Debug, Default)]
struct Content {
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// What a reader sees.
    now: Vec<u8>,
    /// What was written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
}

/// A file of a disk.
#[derive(Debug)]
pub struct File {
    disk: Disk,
    index: usize,
}

const DATABASE: usize = 0;
const JOURNAL: [usize; 2] = [1, 2];

impl Disk {
    /// Opens the store that is on this disk. Its database is made durable after every few groups.
    pub fn open(&self) -> Bench {
        self.open_with(Options { journal_bytes_max: 6 * 1024, ..Options::default() })
    }

    /// Opens the store that is on this disk with these limits.
    pub fn open_with(&self, options: Options) -> Bench {
        let options = Options { cache_bytes: 1024 * 1024, ..options };
        let [database, a, b] = [DATABASE, JOURNAL[0], JOURNAL[1]].map(|index| {
            let disk = self.clone();
            move || disk.file(index)
        });
        let journal = [a, b];
        Bench::start(|tell| Store::on_backends(database, journal, &namespace(), options, tell))
            .expect("a store")
    }

    /// The file of the database alone.
    pub fn database(&self) -> File {
        self.file(DATABASE)
    }

    /// Bytes of the files of the journal.
    pub fn journal_bytes(&self) -> usize {
        let state = self.state();
        JOURNAL.iter().map(|file| state.files[*file].now.len()).sum()
    }

    /// True if all that was written to the journal is durable.
    pub fn is_synced(&self) -> bool {
        let state = self.state();
        JOURNAL.iter().all(|file| state.files[*file].pending.is_empty())
    }

    /// No file of the journal can be made longer than this.
    pub fn fill(&self, room: usize) {
        self.state().room = Some(room);
    }

    /// The file of the database cannot be made longer than it is.
    pub fn fill_database(&self) {
        let mut state = self.state();
        state.database_room = Some(state.files[DATABASE].now.len());
    }

    fn file(&self, index: usize) -> File {
        File { disk: self.clone(), index }
    }

    /// The write or sync that comes after `n` more fails, and only that one.
    pub fn fail_after(&self, n: u64) {
        let mut state = self.state();
        state.fails_at = Some(state.operations + n);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.fails_at, state.room, state.database_room) = (None, None, None);
    }

    /// True if the operation came that was to fail.
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.fails_at.is_some_and(|at| state.operations > at)
    }

    /// The next sync of the journal fails, and only that one.
    pub fn fail_sync_of_journal(&self) {
        self.state().unsynced = true;
    }

    /// Everything fails from now on.
    pub fn die(&self) {
        self.state().dead = true;
    }

    /// From now on syncs do nothing.
    pub fn lie(&self) {
        self.state().lies = true;
    }

    /// The power goes: of what was not synced, any part is kept, torn at 512 bytes, or lost. The disk
    /// that comes back works again.
    pub fn power_cut(&self, rng: &mut StdRng) -> Disk {
        let mut state = self.state();
        state.dead = true;
        let files = state.files.each_ref().map(|file| file.cut(rng));
        Disk(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the disk")
    }
}

impl Content {
    fn cut(&self, rng: &mut StdRng) -> Content {
        let mut bytes = self.durable.clone();
        let keep = rng.random_range(0..3);
        for (offset, data) in &self.pending {
            let kept = match (keep, rng.random_range(0..3)) {
                (0, _) | (1, 0) => 0,
                (2, _) | (1, 1) => data.len(),
                _ => rng.random_range(0..=data.len() / 512) * 512,
            };
            if bytes.len() < offset + kept {
                bytes.resize(offset + kept, 0);
            }
            bytes[*offset..offset + kept].copy_from_slice(&data[..kept]);
        }
        bytes.resize(self.now.len(), 0);
        Content { durable: bytes.clone(), now: bytes, pending: Vec::new() }
    }
}

impl File {
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        let fails = state.fails_at == Some(state.operations);
        state.operations += 1;
        if fails || state.dead {
            return Err(io::Error::other("simulated: input/output error"));
        }
        Ok(state)
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.index].now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        if state.dead {
            return Err(io::Error::other("simulated: input/output error"));
        }
        let from = offset as usize;
        let bytes = state.files[self.index].now.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        let room = if self.index == DATABASE { state.database_room } else { state.room };
        if room.is_some_and(|room| len as usize > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files[self.index].now.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operate()?;
        if JOURNAL.contains(&self.index) && std::mem::take(&mut state.unsynced) {
            return Err(io::Error::other("simulated: a sync failed"));
        }
        if !state.lies {
            let file = &mut state.files[self.index];
            file.durable = file.now.clone();
            file.pending.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        let file = &mut state.files[self.index];
        let from = offset as usize;
        file.now[from..from + data.len()].copy_from_slice(data);
        file.pending.push((from, data.to_vec()));
        Ok(())
    }
}
