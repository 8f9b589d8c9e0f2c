//! The thread that takes tasks, commits them in groups and answers; nothing else writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use redb::Database;
use tokio::sync::mpsc;

use keepboth_core::digest::Digest;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::write::Writer;

use crate::commit;
use crate::disk::{Disk, Identity, OpenError};
use crate::draft::Draft;
use crate::failure::unknown;
use crate::local::Local;
use crate::options::Options;
use crate::remote;
use crate::snapshot::Snapshot;
use crate::state::Counts;
use crate::tables::Tables;
use crate::task::{Commit, Done, Task};
use crate::totals::Totals;

/// What comes through the queue.
pub enum Job {
    Task(Task),
    /// Wakes the thread so that it sees that it should stop.
    Stop,
}

/// What the thread shares with readers.
pub struct Shared {
    pub snapshot: ArcSwap<Snapshot>,
    pub stopping: AtomicBool,
    /// True while the database cannot be written.
    pub failed: AtomicBool,
    totals: Mutex<Totals>,
}

impl Shared {
    /// The digest and counters. Held for moments only.
    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, tables: Tables, counts: Counts, root: Digest) {
        self.snapshot.store(Arc::new(Snapshot::new(tables, counts, root)));
    }
}

/// An open database with what is known of it.
pub struct Opened {
    pub database: Database,
    pub identity: Identity,
    tables: Tables,
    totals: Totals,
}

/// Opens the database and scans its keys.
pub fn open(disk: &mut Disk, namespace: &Namespace) -> Result<Opened, OpenError> {
    // redb trusts a file that was closed well and may panic on one that was damaged since.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (database, identity) = disk.open(namespace)?;
        let tables = Tables::open(&database).map_err(|e| disk.failed(e))?;
        let totals = Totals::scan(&tables).map_err(|e| match e.code {
            Code::Corrupt => disk.corrupt(e),
            _ => disk.failed(e),
        })?;
        Ok(Opened { database, identity, tables, totals })
    }));
    outcome.unwrap_or_else(|_| Err(disk.corrupt("its pages contradict each other")))
}

/// The state of the thread.
pub struct Committer<F> {
    disk: Disk,
    namespace: Namespace,
    options: Options,
    identity: Identity,
    /// None after a failure from which it could not be opened again.
    database: Option<Database>,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    on_commit: F,
}

/// Gives a task its answer: what was planned, or the failure of its group.
type Answer = Box<dyn FnOnce(Option<Refusal>) + Send>;

impl<F: FnMut(Commit)> Committer<F> {
    pub fn new(
        disk: Disk,
        namespace: Namespace,
        options: Options,
        opened: Opened,
        jobs: mpsc::Receiver<Job>,
        on_commit: F,
    ) -> Committer<F> {
        let (counts, root) = (opened.totals.counts, opened.totals.tree.root());
        let snapshot = Snapshot::new(opened.tables, counts, root);
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            totals: Mutex::new(opened.totals),
        });
        let (identity, database) = (opened.identity, Some(opened.database));
        Committer { disk, namespace, options, identity, database, shared, jobs, on_commit }
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Runs until it is told to stop, and then until the queue is empty.
    pub fn run(mut self) {
        while let Some(job) = self.jobs.blocking_recv() {
            if let Job::Task(task) = job {
                self.group(task);
            }
            if self.shared.stopping.load(Ordering::SeqCst) {
                // Nobody can send any more; what is in the queue still comes.
                self.jobs.close();
            }
        }
        if let Some(Err(e)) = self.database.take().map(Database::close) {
            tracing::error!(namespace = %self.namespace, "closing the database failed: {e}");
        }
    }

    /// Plans a task and all that waits behind it, commits them together, answers, and tells.
    fn group(&mut self, task: Task) {
        let mut draft = Draft::new(self.shared.snapshot.load_full());
        let mut answers: Vec<Answer> = Vec::new();
        let mut next = Some(task);
        while let Some(task) = next {
            answers.push(self.plan(&mut draft, task));
            let full = answers.len() >= self.options.group_tasks_max
                || draft.value_bytes >= self.options.group_bytes_max;
            next = if full { None } else { self.waiting() };
        }
        let failure = self.commit(&draft).err();
        for answer in answers {
            let refusal = failure.as_ref().map(|failure| failure.refusal());
            guarded("an answer", || answer(refusal));
        }
        match failure {
            None => self.tell(draft),
            Some(Failure::Stopped) => {}
            Some(Failure::Disk(error)) => self.recover(draft, &error),
        }
    }

    fn waiting(&mut self) -> Option<Task> {
        match self.jobs.try_recv() {
            Ok(Job::Task(task)) => Some(task),
            Ok(Job::Stop) | Err(_) => None,
        }
    }

    fn plan(&self, draft: &mut Draft, task: Task) -> Answer {
        let value_bytes_max = self.options.value_bytes_max;
        let writer = |now| Writer { store: self.identity.store, now };
        match task {
            Task::Local { ops, now, done } => {
                answer(done, Local { draft, writer: writer(now), value_bytes_max }.batch(ops))
            }
            Task::Merge { key, conflict, value, now, done } => {
                let local = Local { draft, writer: writer(now), value_bytes_max };
                answer(done, local.merge(key, conflict, value))
            }
            Task::Remote { events, done } => {
                answer(done, Ok(remote::receive(draft, events, value_bytes_max)))
            }
        }
    }

    /// Makes the draft durable and shows it to readers.
    fn commit(&self, draft: &Draft) -> Result<(), Failure> {
        let database = self.database.as_ref().ok_or(Failure::Stopped)?;
        if draft.is_empty() {
            return Ok(());
        }
        commit::write(database, draft).map_err(Failure::Disk)?;
        let tables = Tables::open(database).map_err(Failure::Disk)?;
        let mut totals = self.shared.totals();
        for (key, cell, now) in draft.keys.iter().filter_map(commit::changed) {
            totals.replace(key, cell.before.as_ref(), now);
        }
        self.shared.publish(tables, totals.counts, totals.tree.root());
        Ok(())
    }

    fn tell(&mut self, draft: Draft) {
        if draft.is_empty() {
            return;
        }
        let snapshot = self.shared.snapshot.load();
        let (root, counts) = (snapshot.root(), snapshot.counts());
        let commit = Commit { changes: draft.changes, root, counts };
        guarded("what follows a commit", || (self.on_commit)(commit));
    }

    /// redb refuses everything after an error of the disk, so the database is opened anew, once.
    fn recover(&mut self, draft: Draft, error: &redb::Error) {
        let namespace = self.namespace.clone();
        tracing::error!(%namespace, "a commit failed, opening the database again: {error}");
        drop(self.database.take());
        self.shared.failed.store(true, Ordering::SeqCst);
        let opened = match open(&mut self.disk, &self.namespace) {
            Ok(opened) => opened,
            Err(e) => return tracing::error!(%namespace, "the store takes no more writes: {e}"),
        };
        let answered = self.shared.snapshot.load().counts().last_sequence;
        if opened.identity != self.identity || opened.totals.counts.last_sequence < answered {
            return tracing::error!(%namespace, "the store takes no more writes: the file lost what was written before");
        }
        let there = is_there(&draft, &opened.tables);
        self.database = Some(opened.database);
        self.shared.failed.store(false, Ordering::SeqCst);
        let (counts, root) = (opened.totals.counts, opened.totals.tree.root());
        *self.shared.totals() = opened.totals;
        self.shared.publish(opened.tables, counts, root);
        // Readers see it from now on, so watchers and peers have to hear of it.
        if there {
            self.tell(draft);
        }
    }
}

/// Why a group was not committed.
enum Failure {
    Disk(redb::Error),
    /// An earlier failure ended all writing.
    Stopped,
}

impl Failure {
    fn refusal(&self) -> Refusal {
        match self {
            Failure::Disk(error) => unknown(error),
            Failure::Stopped => Refusal::new(
                Code::StoreFailed,
                "the store takes no more writes since its disk failed; see the log of the server",
            ),
        }
    }
}

/// True if a draft whose commit failed was written all the same.
fn is_there(draft: &Draft, tables: &Tables) -> bool {
    draft.sequenced().last().is_some_and(|(sequence, drafted)| {
        tables.record(sequence).is_ok_and(|record| record == drafted.record)
    })
}

fn answer<T: Send + 'static>(done: Done<T>, planned: Result<T, Refusal>) -> Answer {
    Box::new(move |failure| {
        done(match failure {
            None => planned,
            Some(refusal) => Err(refusal),
        });
    })
}

/// A panic in somebody else's code must not end the commit thread.
fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{what} panicked on the commit thread");
    }
}
