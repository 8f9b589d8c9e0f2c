//! A disk in memory that can fail at any operation and lose what was not synced.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::{Builder, Database, StorageBackend};

use keepboth_core::ids::NodeId;
use keepboth_store::{JournalFile, OpenError, Options, Store, Unfinished};

use crate::harness::{Bench, namespace};

/// A disk with a database and its journal; clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

impl Default for Disk {
    fn default() -> Disk {
        let names = [DATABASE, JOURNAL[0], JOURNAL[1], COMPACTING];
        Disk::with(vec![Content::default(); 4], names, names)
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Which file has which name, as readers see it and as a power cut leaves it for sure.
    names: [usize; 4],
    durable_names: [usize; 4],
    operations: u64,
    fails_at: Option<u64>,
    /// The operation from which on none is done; what is there can be read.
    refuses_from: Option<u64>,
    /// True if the operation that fails is the last one.
    dies: bool,
    dead: bool,
    /// True for a disk that only claims to sync.
    lies: bool,
    /// True if the next sync of the journal fails.
    unsynced: bool,
    /// True if writing to the journal panics.
    panics: bool,
    /// Syncs that drop what they were to write.
    drops: Option<Drops>,
    /// Bytes that the disk says it has left.
    left: Option<u64>,
    /// Bytes that each file of the journal may have, and those that the database may.
    room: Option<usize>,
    database_room: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// What a reader sees.
    now: Vec<u8>,
    /// What was written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
    /// The blocks that a failed sync dropped: no sync writes what a reader sees there, unless it is
    /// written anew.
    dropped: BTreeSet<usize>,
}

/// Syncs of one file that fail.
#[derive(Debug)]
struct Drops {
    file: usize,
    /// How many syncs of the file there were.
    syncs: u64,
    /// Which of them fail.
    fail: Range<u64>,
    rng: StdRng,
}

/// What is written as a whole or not at all.
const BLOCK: usize = 512;

/// A file of a disk.
#[derive(Debug)]
pub struct File {
    disk: Disk,
    index: usize,
}

/// The names of files, and the files that have them at first.
pub const DATABASE: usize = 0;
pub const JOURNAL: [usize; 2] = [1, 2];
pub const COMPACTING: usize = 3;

impl Disk {
    fn with(files: Vec<Content>, names: [usize; 4], durable_names: [usize; 4]) -> Disk {
        Disk(Arc::new(Mutex::new(State { files, names, durable_names, ..State::default() })))
    }

    /// Opens the store that is on this disk. Its database is made durable after every few groups.
    pub fn open(&self) -> Bench {
        self.try_open(NodeId([0; 32])).expect("a store")
    }

    /// As [`Disk::open`], by this node, on a disk that may fail.
    pub fn try_open(&self, node: NodeId) -> Result<Bench, OpenError> {
        self.start(Options { node, journal_bytes_max: 6 * 1024, ..Options::default() })
    }

    /// Opens the store that is on this disk with these limits.
    pub fn open_with(&self, options: Options) -> Bench {
        self.start(options).expect("a store")
    }

    fn start(&self, options: Options) -> Result<Bench, OpenError> {
        let options = Options { cache_bytes: 1024 * 1024, late_bytes_max: 512, ..options };
        let [database, a, b] = [DATABASE, JOURNAL[0], JOURNAL[1]].map(|index| {
            let disk = self.clone();
            move || disk.file(index)
        });
        let (journal, unfinished, space) = ([a, b], self.clone(), namespace());
        let disk = self.clone();
        let room = move || disk.state().left;
        Bench::start(|tell| {
            Store::on_backends(database, journal, unfinished, room, &space, options, tell)
        })
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

    /// From now on the disk says that it has so many bytes left.
    pub fn leave(&self, bytes: u64) {
        self.state().left = Some(bytes);
    }

    /// No file of the journal can be made longer than this.
    pub fn fill(&self, room: usize) {
        self.state().room = Some(room);
    }

    /// The file of the database cannot be made longer than it is.
    pub fn fill_database(&self) {
        let mut state = self.state();
        state.database_room = Some(state.files[state.names[DATABASE]].now.len());
    }

    fn file(&self, name: usize) -> File {
        File { disk: self.clone(), index: self.state().names[name] }
    }

    /// Leaves half a file, as a compaction does that is cut off; so the store is compacted when it is closed.
    pub fn cut_compaction_off(&self) {
        self.file(COMPACTING).set_len(BLOCK as u64).expect("room");
    }

    /// True if the database stands in a new file.
    pub fn is_compacted(&self) -> bool {
        self.state().names[DATABASE] != DATABASE
    }

    /// The write or sync that comes after `n` more fails, and only that one.
    pub fn fail_after(&self, n: u64) {
        let mut state = self.state();
        state.fails_at = Some(state.operations + n);
    }

    /// As [`Disk::fail_after`], and everything after it fails too.
    pub fn die_after(&self, n: u64) {
        self.fail_after(n);
        self.state().dies = true;
    }

    /// The write or sync that comes after `n` more fails, and all after it until the disk is healed. What is there can
    /// be read: so is a disk that the system has made read-only.
    pub fn refuse_after(&self, n: u64) {
        let mut state = self.state();
        state.refuses_from = Some(state.operations + n);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.fails_at, state.refuses_from, state.drops) = (None, None, None);
        (state.room, state.database_room) = (None, None);
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

    /// Of the syncs of a file from now on these fail as on Linux: of what they were to write any part is durable,
    /// and the rest is never written, though readers see it and later syncs succeed.
    pub fn drop_at_syncs(&self, name: usize, fail: Range<u64>, seed: u64) {
        let rng = StdRng::seed_from_u64(seed);
        let mut state = self.state();
        let file = state.names[name];
        state.drops = Some(Drops { file, syncs: 0, fail, rng });
    }

    /// True if a sync came that was to drop what it was to write.
    pub fn has_dropped(&self) -> bool {
        let state = self.state();
        state.drops.as_ref().is_some_and(|drops| drops.syncs > drops.fail.start)
    }

    /// Whoever writes to the journal panics from now on, as redb does on damaged pages.
    pub fn panic_at_writes(&self) {
        self.state().panics = true;
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
        let files = state.files.iter().map(|file| file.cut(rng)).collect();
        let names = if rng.random() { state.names } else { state.durable_names };
        Disk::with(files, names, names)
    }

    /// The process ends: who comes next sees what was written, durable or not.
    pub fn kill(&self) -> Disk {
        let mut state = self.state();
        state.dead = true;
        let disk = Disk::with(state.files.clone(), state.names, state.durable_names);
        disk.state().drops = state.drops.take();
        disk
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let fails = state.fails_at == Some(state.operations);
        let refused = state.refuses_from.is_some_and(|from| state.operations >= from);
        state.operations += 1;
        state.dead |= fails && state.dies;
        if fails || refused || state.dead {
            return Err(io::Error::other("simulated: input/output error"));
        }
        Ok(state)
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
                _ => rng.random_range(0..=data.len() / BLOCK) * BLOCK,
            };
            if bytes.len() < offset + kept {
                bytes.resize(offset + kept, 0);
            }
            bytes[*offset..offset + kept].copy_from_slice(&data[..kept]);
        }
        bytes.resize(self.now.len(), 0);
        Content { durable: bytes.clone(), now: bytes, ..Content::default() }
    }

    /// What a reader sees is durable, but for what was dropped.
    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.now.clone());
        for block in &self.dropped {
            let block = block * BLOCK..(block + 1) * BLOCK;
            self.durable[block.clone()].copy_from_slice(&before[block]);
        }
        self.pending.clear();
    }

    /// Of what was written since the last sync any part is durable, and no sync writes the rest.
    fn drop_pending(&mut self, rng: &mut StdRng) {
        self.durable = self.cut(rng).durable;
        self.pending.clear();
        let blocks = self.durable.chunks(BLOCK).zip(self.now.chunks(BLOCK)).enumerate();
        self.dropped = blocks.filter(|(_, (a, b))| a != b).map(|(block, _)| block).collect();
    }
}

impl State {
    /// Lets a name stand for no file.
    fn remove(&mut self, name: usize) {
        self.names[name] = self.files.len();
        self.files.push(Content::default());
    }

    /// True if this sync is one that fails, which drops what it was to write.
    fn drops(&mut self, file: usize) -> bool {
        let Some(drops) = self.drops.as_mut().filter(|drops| drops.file == file) else {
            return false;
        };
        let fails = drops.fail.contains(&drops.syncs);
        drops.syncs += 1;
        if fails {
            self.files[file].drop_pending(&mut drops.rng);
        }
        fails
    }
}

/// The new file of a compaction.
impl Unfinished for Disk {
    fn make(&mut self, builder: &Builder) -> Result<Database, redb::Error> {
        let file = self.file(COMPACTING);
        file.set_len(0)?;
        Ok(builder.create_with_backend(file)?)
    }

    fn put(&mut self) -> io::Result<()> {
        let mut state = self.operate()?;
        state.names[DATABASE] = state.names[COMPACTING];
        state.remove(COMPACTING);
        Ok(())
    }

    fn remove(&mut self) -> io::Result<bool> {
        let mut state = self.operate()?;
        let there = !state.files[state.names[COMPACTING]].now.is_empty();
        if there {
            state.remove(COMPACTING);
        }
        Ok(there)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.operate()?;
        state.durable_names = state.names;
        Ok(())
    }
}

impl JournalFile for File {}

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
        let mut state = self.disk.operate()?;
        let journal = JOURNAL.contains(&self.index);
        let room = if journal { state.room } else { state.database_room };
        if room.is_some_and(|room| len as usize > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut state.files[self.index];
        file.now.resize(len as usize, 0);
        file.dropped.retain(|block| *block < len as usize / BLOCK);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        if JOURNAL.contains(&self.index) && std::mem::take(&mut state.unsynced) {
            return Err(io::Error::other("simulated: a sync failed"));
        }
        if state.drops(self.index) {
            return Err(io::Error::other("simulated: a sync failed and dropped what was written"));
        }
        if !state.lies {
            state.files[self.index].sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        if JOURNAL.contains(&self.index) && state.panics {
            // Others may still use the disk.
            drop(state);
            panic!("simulated: a panic");
        }
        let file = &mut state.files[self.index];
        let from = offset as usize;
        file.now[from..from + data.len()].copy_from_slice(data);
        file.pending.push((from, data.to_vec()));
        let blocks = from / BLOCK..(from + data.len()).div_ceil(BLOCK);
        file.dropped.retain(|block| !blocks.contains(block));
        Ok(())
    }
}
