//! Where the database stands, how it is opened again after a failure, and what its meta table says.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableHandle};

use keepboth_core::ids::{NodeId, StoreId};
use keepboth_core::name::Namespace;

use crate::compact::{self, Unfinished, UnfinishedFile};
use crate::durable;
use crate::error::OpenError;
use crate::format::{
    FORMAT, META, META_EPOCH, META_FORMAT, META_JOURNAL, META_NAMESPACE, META_NODE, META_STORE,
    PEERS,
};
use crate::fresh;
use crate::journal::file::JournalFile;
use crate::journal::place::{BackendPlace, FilePlace, Place, journal_of};
use crate::overlay::Overlay;
use crate::tables;
use crate::word::Word;

type Opener = Box<dyn FnMut(Access) -> Result<Database, DatabaseError> + Send>;
/// Tries whether a disk takes so many bytes.
type Probe = Box<dyn Fn(usize) -> io::Result<()> + Send>;
/// Tells how many bytes may yet be written to a disk, where that is known.
type Room = Box<dyn Fn() -> Option<u64> + Send>;

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To be written and read.
    Write,
    /// To be read alone, on a disk that takes no writes: what has to be written to open it stays in memory. Of
    /// its journal so many records are taken.
    Read {
        /// Those that were answered.
        records: u64,
    },
}

/// A place from which the database can be opened, and opened again.
pub struct Disk {
    path: PathBuf,
    cache_bytes: usize,
    open: Opener,
    access: Access,
    probe: Probe,
    /// Where the two files of the journal stand; none for a database that has none.
    places: Option<[Box<dyn Place>; 2]>,
    room: Room,
    /// Where a compaction puts the new file; none for a database that is never compacted.
    unfinished: Option<Box<dyn Unfinished>>,
    /// True if a compaction was begun and is still to be done.
    compacts: bool,
}

/// What a store's file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub store: StoreId,
    pub epoch: u64,
    pub node: NodeId,
}

impl Disk {
    /// A file, made if it is not there.
    pub fn file(path: &Path, cache_bytes: usize) -> Disk {
        let file = path.to_owned();
        let open = move |access| {
            let mut builder = Database::builder();
            builder.set_cache_size(cache_bytes);
            if access == Access::Write {
                fresh::make(&file)?;
                return builder.create(&file);
            }
            let below = FileBackend::new(File::open(&file).map_err(StorageError::Io)?)?;
            builder.create_with_backend(Overlay::new(below).map_err(StorageError::Io)?)
        };
        let place = |file| Box::new(FilePlace(file)) as Box<dyn Place>;
        let places = Some(journal_of(path).map(place));
        let (path, disk) = (path.to_owned(), Disk::new(open, cache_bytes));
        let disk = disk.with_unfinished(UnfinishedFile(path.clone()));
        let (file, probed) = (path.clone(), path.clone());
        let probe: Probe = Box::new(move |bytes| probe(&probed, bytes));
        Disk { path, places, probe, ..disk }.with_room(move || room(&file))
    }

    /// Memory, which stays when the database is opened again.
    pub fn memory(cache_bytes: usize) -> Disk {
        let memory = Memory(Arc::new(InMemoryBackend::new()));
        Disk::backend(move || Memory(memory.0.clone()), cache_bytes)
    }

    /// Whatever the caller makes.
    pub fn backend<B: StorageBackend>(
        mut make: impl FnMut() -> B + Send + 'static,
        cache_bytes: usize,
    ) -> Disk {
        let open = move |access| {
            let mut builder = Database::builder();
            builder.set_cache_size(cache_bytes);
            match access {
                Access::Write => builder.create_with_backend(make()),
                Access::Read { .. } => {
                    let disk = Overlay::new(make()).map_err(StorageError::Io)?;
                    builder.create_with_backend(disk)
                }
            }
        };
        Disk::new(open, cache_bytes)
    }

    fn new(
        open: impl FnMut(Access) -> Result<Database, DatabaseError> + Send + 'static,
        cache_bytes: usize,
    ) -> Disk {
        Disk {
            path: PathBuf::from("(memory)"),
            cache_bytes,
            open: Box::new(open),
            access: Access::Write,
            probe: Box::new(|_| Ok(())),
            places: None,
            room: Box::new(|| None),
            unfinished: None,
            compacts: false,
        }
    }

    /// With the two files of the journal on whatever the caller makes.
    pub fn with_journal<B: JournalFile>(
        self,
        make: [impl FnMut() -> B + Send + 'static; 2],
    ) -> Disk {
        let place = |make| Box::new(BackendPlace(make)) as Box<dyn Place>;
        Disk { places: Some(make.map(place)), ..self }
    }

    /// With a place for the new file of a compaction.
    pub fn with_unfinished(self, unfinished: impl Unfinished + 'static) -> Disk {
        Disk { unfinished: Some(Box::new(unfinished)), ..self }
    }

    /// With this way to see how many bytes may yet be written.
    pub fn with_room(self, room: impl Fn() -> Option<u64> + Send + 'static) -> Disk {
        Disk { room: Box::new(room), ..self }
    }

    /// Bytes that may yet be written, if that is known.
    pub fn room(&self) -> Option<u64> {
        (self.room)()
    }

    /// Where the two files of the journal stand, if there can be one.
    pub fn places(&mut self) -> Option<&mut [Box<dyn Place>; 2]> {
        self.places.as_mut()
    }

    /// What its database is opened for.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Lets this be done with a database that is opened for readers alone, which see so many records of the
    /// journal.
    pub fn for_readers<T>(&mut self, records: u64, work: impl FnOnce(&mut Disk) -> T) -> T {
        self.access = Access::Read { records };
        let done = work(self);
        self.access = Access::Write;
        done
    }

    /// Whether it takes so many bytes, as far as that shows without touching the database.
    pub fn takes(&self, bytes: usize) -> io::Result<()> {
        (self.probe)(bytes)
    }

    /// Takes the journal away.
    pub fn remove_journal(&mut self) -> io::Result<()> {
        self.places.iter_mut().flatten().try_for_each(|place| place.remove())
    }

    /// Opens the database as it is.
    pub fn plain(&mut self) -> Result<Database, OpenError> {
        (self.open)(self.access).map_err(|e| self.refused(e))
    }

    /// Opens the database, and makes its tables if it is empty; with what it says of its journal.
    pub fn open(
        &mut self,
        namespace: &Namespace,
        node: &NodeId,
    ) -> Result<(Database, Identity, Option<Word>), OpenError> {
        let database = self.plain()?;
        if self.access == Access::Write {
            self.clean_up().map_err(|e| self.failed(format_args!("its folder: {e}")))?;
        }
        let (found, word) = self.identify(&database, namespace, node)?;
        Ok((database, found, word))
    }

    /// Takes away what a compaction left that was cut off.
    fn clean_up(&mut self) -> io::Result<()> {
        let Some(unfinished) = &mut self.unfinished else { return Ok(()) };
        match unfinished.remove() {
            Ok(there) => self.compacts |= there,
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, "what is left of a compaction: {error}");
            }
        }
        // Whoever compacted it may have been killed before this, and what is written from now on needs the new file.
        unfinished.sync()
    }

    /// What the database is from now on: that of this node, which may have found a copy.
    pub fn own(
        &self,
        database: &Database,
        namespace: &Namespace,
        node: &NodeId,
    ) -> Result<Identity, OpenError> {
        let (found, _) = self.identify(database, namespace, node)?;
        if found.node == *node {
            return Ok(found);
        }
        // Two stores with one id would take each other's versions for their own.
        let identity = Identity { store: new_id(), epoch: found.epoch + 1, node: *node };
        tracing::warn!(
            %namespace,
            file = %self.path.display(),
            "the file was written by node {}: it is a copy, and becomes store {} at epoch {}",
            found.node, identity.store, identity.epoch,
        );
        adopt(database, &identity).map_err(|e| self.failed(e))?;
        Ok(identity)
    }

    /// Bytes of the file; none if there is no file, or not yet.
    pub fn file_bytes(&self) -> Option<u64> {
        fs::metadata(&self.path).map(|file| file.len()).ok()
    }

    /// True if a compaction of the file was cut off.
    pub fn compacts(&self) -> bool {
        self.compacts
    }

    /// Makes the file of a closed database as small as its rows. Gives how many bytes it lost.
    pub fn compact(&mut self) -> Result<u64, redb::Error> {
        let before = self.file_bytes().unwrap_or(0);
        if let Some(unfinished) = &mut self.unfinished {
            compact::compact(&mut **unfinished, (self.open)(Access::Write)?, self.cache_bytes)?;
        }
        Ok(before.saturating_sub(self.file_bytes().unwrap_or(before)))
    }

    /// The file of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error of a file whose rows are wrong.
    pub fn corrupt(&self, what: impl ToString) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), what: what.to_string() }
    }

    /// The error of redb.
    pub fn broken(&self, error: redb::Error) -> OpenError {
        match error {
            redb::Error::Corrupted(what) => self.corrupt(what),
            error => self.failed(error),
        }
    }

    /// The error of a disk, or of an operating system, that refuses.
    pub fn failed(&self, what: impl ToString) -> OpenError {
        OpenError::Failed { path: self.path.clone(), what: what.to_string() }
    }

    /// The error of a journal that is needed and of which this file is not the right one.
    pub fn no_journal(&self, file: usize, what: impl ToString) -> OpenError {
        let place = self.places.as_ref().and_then(|places| places.get(file));
        let journal = place.map(|place| place.path()).unwrap_or_default();
        OpenError::Journal { path: self.path.clone(), journal, what: what.to_string() }
    }

    fn not_a_store(&self, what: impl ToString) -> OpenError {
        OpenError::NotAStore { path: self.path.clone(), what: what.to_string() }
    }

    fn refused(&self, error: DatabaseError) -> OpenError {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                OpenError::Locked { path: self.path.clone() }
            }
            DatabaseError::Storage(StorageError::Io(e)) if e.kind() == ErrorKind::InvalidData => {
                self.not_a_store(e)
            }
            DatabaseError::UpgradeRequired(_) => self.not_a_store(error),
            DatabaseError::Storage(StorageError::Corrupted(what)) => self.corrupt(what),
            error => self.failed(error),
        }
    }

    fn identify(
        &self,
        database: &Database,
        namespace: &Namespace,
        node: &NodeId,
    ) -> Result<(Identity, Option<Word>), OpenError> {
        match self.tables(database)? {
            tables if tables.is_empty() => {
                let made = create(database, namespace, node).map_err(|e| self.failed(e))?;
                Ok((made, None))
            }
            tables if !tables.iter().any(|name| name == META.name()) => {
                Err(self.not_a_store("a redb database of something else"))
            }
            _ => self.read_meta(database, namespace),
        }
    }

    fn tables(&self, database: &Database) -> Result<Vec<String>, OpenError> {
        let names = || {
            let transaction = database.begin_read()?;
            let tables = transaction.list_tables()?;
            Ok::<_, redb::Error>(tables.map(|table| table.name().to_owned()).collect())
        };
        names().map_err(|e| self.failed(e))
    }

    fn read_meta(
        &self,
        database: &Database,
        namespace: &Namespace,
    ) -> Result<(Identity, Option<Word>), OpenError> {
        let word = |name: &str| {
            let table = database.begin_read()?.open_table(META)?;
            Ok::<_, redb::Error>(table.get(name)?.map(|row| row.value().to_vec()))
        };
        let optional = |name: &str| word(name).map_err(|e| self.not_a_store(e));
        let word = |name: &str| {
            let missing = || self.not_a_store(format!("its meta table has no {name:?}"));
            optional(name)?.ok_or_else(missing)
        };
        let bad = |name: &str| self.corrupt(format!("{name:?} in its meta table"));
        let format = word(META_FORMAT)?.try_into().map_err(|_| bad(META_FORMAT))?;
        match u32::from_be_bytes(format) {
            FORMAT => {}
            found if found > FORMAT => {
                return Err(OpenError::NewerFormat { path: self.path.clone(), found });
            }
            found => return Err(OpenError::OlderFormat { path: self.path.clone(), found }),
        }
        let found = word(META_NAMESPACE)?;
        if found != namespace.as_str().as_bytes() {
            return Err(OpenError::OtherNamespace {
                path: self.path.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
                expected: namespace.to_string(),
            });
        }
        let store = word(META_STORE)?.try_into().map_err(|_| bad(META_STORE))?;
        let epoch = word(META_EPOCH)?.try_into().map_err(|_| bad(META_EPOCH))?;
        let node = word(META_NODE)?.try_into().map_err(|_| bad(META_NODE))?;
        let journal = optional(META_JOURNAL)?.map(|bytes| Word::decode(&bytes));
        let journal = journal.transpose().map_err(|_| bad(META_JOURNAL))?;
        let epoch = u64::from_be_bytes(epoch);
        Ok((Identity { store: StoreId(store), epoch, node: NodeId(node) }, journal))
    }
}

/// Bytes that the file system of this file has left for who is not its administrator.
#[cfg(target_os = "linux")]
fn room(file: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(file).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn room(_file: &Path) -> Option<u64> {
    None
}

/// Writes so many bytes beside this file, and beside its journal where a link leads to it, durably; and takes them
/// away again.
fn probe(file: &Path, bytes: usize) -> io::Result<()> {
    let target = fs::canonicalize(file)?;
    let link = (target != file).then_some(file);
    for beside in [Some(&*target), link].into_iter().flatten() {
        let beside = beside.with_extension("probe");
        let written = File::create(&beside).and_then(|mut probe| {
            probe.write_all(&vec![0; bytes])?;
            probe.sync_all()
        });
        match written.and(fs::remove_file(&beside)) {
            // That says nothing of files that are there.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Makes all tables and gives the store its id, in one transaction.
fn create(
    database: &Database,
    namespace: &Namespace,
    node: &NodeId,
) -> Result<Identity, redb::Error> {
    let identity = Identity { store: new_id(), epoch: 1, node: *node };
    let transaction = durable::begin(database)?;
    tables::create(&transaction)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, &FORMAT.to_be_bytes()[..])?;
        meta.insert(META_NAMESPACE, namespace.as_str().as_bytes())?;
        meta.insert(META_STORE, &identity.store.0[..])?;
        meta.insert(META_EPOCH, &identity.epoch.to_be_bytes()[..])?;
        meta.insert(META_NODE, &node.0[..])?;
    }
    transaction.commit()?;
    Ok(identity)
}

fn new_id() -> StoreId {
    StoreId(*uuid::Uuid::new_v4().as_bytes())
}

/// Gives a copied file an identity of its own.
fn adopt(database: &Database, identity: &Identity) -> Result<(), redb::Error> {
    let transaction = durable::begin(database)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_STORE, &identity.store.0[..])?;
        meta.insert(META_EPOCH, &identity.epoch.to_be_bytes()[..])?;
        meta.insert(META_NODE, &identity.node.0[..])?;
        // What other nodes have of the first store they do not have of this one.
        transaction.open_table(PEERS)?.retain(|_, _| false)?;
    }
    transaction.commit()?;
    Ok(())
}

/// redb's memory, shared with the next opening.
#[derive(Debug)]
struct Memory(Arc<InMemoryBackend>);

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
