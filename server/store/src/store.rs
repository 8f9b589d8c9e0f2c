//! The store as the rest of the server sees it: tasks in, snapshots out.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use redb::StorageBackend;
use tokio::sync::mpsc;

use keepboth_core::digest::Digest;
use keepboth_core::ids::StoreId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;

use crate::committer::{Committer, Job};
use crate::compact::Unfinished;
use crate::disk::{Disk, Identity};
use crate::error::OpenError;
use crate::failure::gave_up;
use crate::journal::file::JournalFile;
use crate::opened;
use crate::options::Options;
use crate::seat::{Rest, Seat};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::state::Counts;
use crate::task::{Commit, Task};

/// One namespace's database with its commit thread. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    namespace: Namespace,
    identity: Identity,
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    seat: Arc<Seat>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the file, or makes it, and starts the commit thread. While it is written to, the two files
    /// of its journal stand beside it ([`journal_of`](crate::journal_of)). `on_commit` is called on the thread
    /// that commits after each commit is durable and its tasks are answered; it must not block for long.
    pub fn open(
        path: &Path,
        namespace: &Namespace,
        options: Options,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Store, OpenError> {
        Store::start(Disk::file(path, options.cache_bytes), namespace, options, on_commit)
    }

    /// A store that is gone when it is closed.
    pub fn in_memory(
        namespace: &Namespace,
        options: Options,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Store, OpenError> {
        Store::start(Disk::memory(options.cache_bytes), namespace, options, on_commit)
    }

    /// A store without a journal on a disk of the caller's, for tests with faults. `make` is called at the start and
    /// again whenever the database is opened anew, and must give the same disk each time.
    pub fn on_backend<B: StorageBackend>(
        make: impl FnMut() -> B + Send + 'static,
        namespace: &Namespace,
        options: Options,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Store, OpenError> {
        Store::start(Disk::backend(make, options.cache_bytes), namespace, options, on_commit)
    }

    /// As [`Store::on_backend`], with the two files of the journal on other disks of the caller's, a place for the
    /// new file of a compaction, and a way to see how many bytes the disk has left, if that is known.
    pub fn on_backends<B: StorageBackend, J: JournalFile>(
        make: impl FnMut() -> B + Send + 'static,
        journal: [impl FnMut() -> J + Send + 'static; 2],
        unfinished: impl Unfinished + 'static,
        room: impl Fn() -> Option<u64> + Send + 'static,
        namespace: &Namespace,
        options: Options,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Store, OpenError> {
        let disk = Disk::backend(make, options.cache_bytes);
        let disk = disk.with_journal(journal).with_unfinished(unfinished).with_room(room);
        Store::start(disk, namespace, options, on_commit)
    }

    fn start(
        mut disk: Disk,
        namespace: &Namespace,
        options: Options,
        on_commit: impl FnMut(Commit) + Send + 'static,
    ) -> Result<Store, OpenError> {
        let opened = opened::open(&mut disk, namespace, &options.node)?;
        let identity = opened.identity;
        let no_thread = disk.failed("the commit thread could not be started");
        let (jobs, receiver) = mpsc::channel(options.queue_tasks_max.max(1));
        let (space, on_commit) = (namespace.clone(), Box::new(on_commit));
        let committer = Committer::new(disk, space, options, opened, jobs.clone(), on_commit);
        let shared = committer.shared();
        let seat = Arc::new(Seat::new(committer));
        let name = format!("commit {namespace}");
        let (sits, seen) = (seat.clone(), shared.clone());
        let started = thread::Builder::new().name(name).spawn(move || sits.run(&seen, receiver));
        let thread = started.map_err(|_| no_thread)?;
        Ok(Store {
            inner: Arc::new(Inner {
                namespace: namespace.clone(),
                identity,
                shared,
                jobs,
                seat,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    /// The origin of what is written here; kept in the file, and made anew for a copy of it.
    pub fn id(&self) -> StoreId {
        self.inner.identity.store
    }

    /// How often the store was found to be a copy or put back from a backup, from 1. Sequences of
    /// another epoch may mean something else.
    pub fn epoch(&self) -> u64 {
        self.inner.shared.epoch.load(Ordering::SeqCst)
    }

    /// How the store is set up now.
    pub fn options(&self) -> Arc<Options> {
        self.inner.shared.options.load_full()
    }

    /// Changes limits for what comes from now on. The node and what belongs to the opening stay.
    pub fn set_options(&self, options: Options) {
        let node = self.options().node;
        self.inner.shared.options.store(Arc::new(Options { node, ..options }));
    }

    /// The last sequence at which the namespace had this digest; None if that is long ago, or never was.
    pub fn sequence_of(&self, root: &Digest) -> Option<u64> {
        self.inner.shared.sequence_of(root)
    }

    /// The largest sequence of a forgotten key that is gone for good. A peer that has nothing newer
    /// than this of us may still hold such keys.
    pub fn forgotten_high(&self) -> u64 {
        self.inner.shared.removed.load(Ordering::SeqCst)
    }

    /// How many changes of digests had to be read when the database was opened last: those since the
    /// digests were written. No row of a key is read.
    pub fn changes_read_at_opening(&self) -> u64 {
        self.inner.shared.totals().changes_read
    }

    /// The newest durable state. Takes no lock; what it shows never changes.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.shared.snapshot.load_full()
    }

    /// The digest of the namespace.
    pub fn root(&self) -> Digest {
        self.inner.shared.totals().tree.root()
    }

    /// How much the store holds.
    pub fn counts(&self) -> Counts {
        self.inner.shared.snapshot.load().counts()
    }

    /// Bytes of the journal that would be read after a crash: what came since the database was made
    /// durable. 0 while nothing was written.
    pub fn journal_bytes(&self) -> u64 {
        self.inner.shared.journal_bytes.load(Ordering::Relaxed)
    }

    /// False after the disk failed and the database could not be opened again: all writes are refused. It is tried
    /// once more, in case that nothing is written meanwhile.
    pub fn is_healthy(&self) -> bool {
        let failed = self.inner.shared.failed.load(Ordering::SeqCst);
        if failed {
            self.look_again();
        }
        !failed
    }

    /// Has the commit thread look whether the disk takes writes again.
    fn look_again(&self) {
        // A full queue does so as well.
        let _ = self.inner.jobs.try_send(Job::Wake);
    }

    /// Why nothing is written any more, if a commit panicked or the database could not be opened again.
    pub fn gave_up(&self) -> Option<Refusal> {
        (!self.is_healthy()).then(gave_up)
    }

    /// Why nothing is written now: the store gave up, or the disk has too little room for what comes.
    pub fn trouble(&self) -> Option<Refusal> {
        let full = self.inner.shared.full.load().as_deref().cloned();
        if full.is_some() {
            self.look_again();
        }
        self.gave_up().or(full)
    }

    /// Puts a task in the queue; waits while the queue is full. Gives the task back if the store is
    /// closed.
    pub async fn submit(&self, task: Task) -> Result<(), Task> {
        let Ok(room) = self.inner.jobs.reserve().await else { return Err(task) };
        self.inner.seat.waits();
        room.send(Job::Task(task));
        Ok(())
    }

    /// As [`Store::submit`], for plain threads: blocks while the queue is full.
    pub fn submit_blocking(&self, task: Task) -> Result<(), Task> {
        self.inner.seat.waits();
        self.inner.jobs.blocking_send(Job::Task(task)).map_err(|e| returned(e.0))
    }

    /// True if nothing is committed, none waits, and the last task came alone: then
    /// [`Store::commit_here`] is likely to take a task.
    pub fn is_idle(&self) -> bool {
        self.inner.seat.is_free()
    }

    /// Commits a task on this thread, which blocks until it is durable and answered, without waking the
    /// commit thread; what is left to be done after the answer is done when the [`Rest`] is dropped. Gives the
    /// task back if others are committed or wait: then it is to be submitted.
    pub fn commit_here(&self, task: Task) -> Result<Rest, Task> {
        self.inner.seat.commit_here(task)
    }

    /// Answers what is in the queue, stops the commit thread and closes the database; blocks until
    /// that is done. Called from the commit thread itself it only asks for it. Idempotent.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // A full queue wakes the thread as well.
        let _ = self.jobs.try_send(Job::Wake);
        if self.seat.is_held_here() {
            return;
        }
        let mut handle = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |handle: &JoinHandle<()>| handle.thread().id() == thread::current().id();
        if handle.as_ref().is_some_and(here) {
            return;
        }
        if let Some(Err(_)) = handle.take().map(JoinHandle::join) {
            tracing::error!(namespace = %self.namespace, "the commit thread panicked");
        }
        self.seat.clear();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn returned(job: Job) -> Task {
    match job {
        Job::Task(task) => task,
        // Only `close` sends it, and not through these methods.
        Job::Wake => Task::Agreed { marks: Vec::new() },
    }
}
