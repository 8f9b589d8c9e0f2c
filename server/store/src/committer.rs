//! What takes tasks, commits them in groups and answers; nothing else writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use redb::Database;
use tokio::sync::mpsc;

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};

use crate::commit::{self, Besides};
use crate::disk::{Disk, Identity};
use crate::draft::Draft;
use crate::failure::{lost, unknown};
use crate::filter::Filter;
use crate::format::STATE_REMOVED;
use crate::journal::When;
use crate::ledger::{Failure, Ledger, Wake};
use crate::opened::{self, Opened};
use crate::options::{Durability, Options};
use crate::plan::{Answer, Planner};
use crate::rows::Rows;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::task::{Commit, Task};

/// Where peers send much, one group of theirs waits so long for more before it is committed, since each
/// commit costs the machine as much as dozens of writes; a group that comes alone does not wait. What is
/// written here meanwhile waits no longer than that.
const GATHER: Duration = Duration::from_millis(1);

/// After a database could not be opened again, it is not tried for so long; twice as long each time that its disk
/// takes writes and it cannot be opened all the same.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Bytes that a disk has to take before a database is opened again: a page.
const PROBE_BYTES: usize = 4 * 1024;

/// What comes through the queue.
pub enum Job {
    Task(Task),
    /// Wakes the thread so that it sees that it should stop, or that the database can be given more.
    Wake,
}

/// What is told of each commit.
pub type OnCommit = Box<dyn FnMut(Commit) + Send>;

/// What commits.
pub struct Committer {
    disk: Disk,
    namespace: Namespace,
    node: NodeId,
    identity: Identity,
    planner: Planner,
    /// Of the tasks that are being committed.
    answers: Vec<Answer>,
    /// How many keys the last group has changed.
    changed: usize,
    filter: Filter,
    /// True once it was told that the store was put back from a backup.
    put_back: bool,
    /// None after a failure from which it could not be opened again.
    ledger: Option<Ledger>,
    /// Set while it may yet be opened again, since the disk was full, for example.
    closed: Option<Closed>,
    wake: Wake,
    /// What was committed and answered, and nobody was told of yet.
    untold: Option<Draft>,
    /// When the last group ended, if it came from peers alone.
    of_peers_at: Option<Instant>,
    shared: Arc<Shared>,
    on_commit: OnCommit,
}

/// A database that could not be opened again after a failure.
struct Closed {
    /// When that was tried last, and after how long it is tried again.
    tried: Instant,
    pause: Duration,
    /// True once it was said why the disk takes no writes.
    said: bool,
    /// What was being written, if nobody knows whether it is there.
    draft: Option<Draft>,
    /// How many records of its journal were answered.
    records: u64,
    /// What readers read from meanwhile; None if it cannot even be read.
    shown: Option<Database>,
}

impl Committer {
    pub fn new(
        disk: Disk,
        namespace: Namespace,
        options: Options,
        opened: Opened,
        sender: mpsc::Sender<Job>,
        on_commit: OnCommit,
    ) -> Committer {
        // A full queue wakes the thread as well.
        let wake: Wake = Arc::new(move || drop(sender.try_send(Job::Wake)));
        let (counts, root) = (opened.totals.counts, opened.totals.tree.root());
        let totals = Arc::new(Mutex::new(opened.totals));
        let snapshot = Snapshot::new(opened.tables.clone(), counts, root, totals.clone());
        let node = options.node;
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            options: ArcSwap::from_pointee(options),
            epoch: AtomicU64::new(opened.identity.epoch),
            removed: AtomicU64::new(opened.removed),
            journal_bytes: AtomicU64::new(0),
            roots: Mutex::default(),
            stopping: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            full: ArcSwapOption::empty(),
            totals,
        });
        shared.remember(root, counts.last_sequence);
        Committer {
            disk,
            node,
            identity: opened.identity,
            planner: Planner::new(opened.identity.store, namespace.clone()),
            namespace,
            answers: Vec::new(),
            changed: 0,
            filter: Filter::default(),
            put_back: false,
            untold: None,
            of_peers_at: None,
            closed: None,
            ledger: Some(Ledger::new(
                opened.database,
                opened.identity.store,
                (opened.late, opened.tables),
                wake.clone(),
            )),
            wake,
            shared,
            on_commit,
        }
    }

    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Nothing more is written after a panic. What was being committed may be there or not.
    pub fn gives_up(&mut self) {
        self.shared.failed.store(true, Ordering::SeqCst);
        tracing::error!(namespace = %self.namespace, "the commit panicked: no more writes");
        for answer in std::mem::take(&mut self.answers) {
            guarded("an answer", || answer(Some(lost())));
        }
    }

    /// Plans a task and those that wait behind it, commits them together, and answers. Gives how many they were,
    /// and one that wants a transaction of its own. [`Committer::rest`] is to follow soon.
    pub fn group(
        &mut self,
        task: Task,
        mut waiting: impl FnMut() -> Option<Task>,
    ) -> (usize, Option<Task>) {
        // Should the database have failed meanwhile, it is opened again before anything is read from it.
        self.rest();
        let base = self.shared.snapshot.load_full();
        // Nothing comes to a database that is closed.
        let known = self.ledger.as_ref().and_then(|_| self.filter.known(&base.tables));
        let mut draft = Draft::new(base, known);
        // Groups that follow each other are much alike.
        draft.reserve(self.changed);
        let options = self.shared.options.load_full();
        let (mut next, mut may_wait, mut of_peers) = (Some(task), true, true);
        let mut held = None;
        let mut may_gather = self.of_peers_at.is_some_and(|at| at.elapsed() < GATHER);
        while let Some(task) = next {
            if task.is_alone() && !self.answers.is_empty() {
                held = Some(task);
                break;
            }
            let alone = task.is_alone();
            may_wait &= task.may_wait();
            of_peers &= task.is_remote();
            let answer = self.planner.plan(&mut draft, &options, task);
            self.answers.push(answer);
            let full = alone
                || self.answers.len() >= options.group_tasks_max
                || draft.value_bytes >= options.group_bytes_max;
            next = if full { None } else { waiting() };
            if next.is_none() && !full && of_peers && std::mem::take(&mut may_gather) {
                thread::sleep(GATHER);
                next = waiting();
            }
        }
        let when = match options.durability {
            Durability::Interval(period) if may_wait => When::Within(period),
            _ => When::Now,
        };
        let failure = self.commit(&draft, when).err();
        let tasks = self.answers.len();
        self.changed = draft.changes.len();
        for answer in self.answers.drain(..) {
            let refusal = failure.as_ref().map(|failure| failure.refusal());
            guarded("an answer", || answer(refusal));
        }
        match failure {
            None => self.untold = Some(draft),
            Some(Failure::Stopped | Failure::Refused(_)) => {}
            Some(Failure::Disk(error)) => self.recover(Some(draft), &error),
        }
        self.of_peers_at = of_peers.then(Instant::now);
        (tasks, held)
    }

    /// What need not be done before the answers of a group: tells of it, and gives the database what it lacks.
    pub fn rest(&mut self) {
        if let Some(draft) = self.untold.take() {
            self.tell(draft);
        }
        self.try_again();
        self.go_on();
    }

    /// Gives the database what it lacks, if it is time.
    fn go_on(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        match ledger.go_on(&self.disk, &self.shared.options.load()) {
            Ok(moved) => {
                if moved {
                    let (tables, shown) = (ledger.tables(), self.shared.snapshot.load());
                    self.shared.publish(tables, shown.counts(), shown.root());
                }
                self.say_if_full();
            }
            Err(error) => self.recover(None, &error),
        }
        let bytes = self.ledger.as_ref().map_or(0, Ledger::journal_bytes);
        self.shared.journal_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Says when the disk becomes too full for writes, and when there is room again.
    fn say_if_full(&self) {
        let (full, told) =
            (self.ledger.as_ref().and_then(Ledger::full), self.shared.full.load_full());
        if full == told.as_deref() {
            return;
        }
        let namespace = &self.namespace;
        match full {
            // With other figures it is told, and not logged again.
            Some(refusal) if told.is_none() => {
                tracing::error!(%namespace, "no more writes: {}", refusal.message);
            }
            Some(_) => {}
            None => tracing::info!(%namespace, "the disk takes writes again"),
        }
        self.shared.full.store(full.map(|refusal| Arc::new(refusal.clone())));
    }

    /// Makes the draft durable and shows it to readers.
    fn commit(&mut self, draft: &Draft, when: When) -> Result<(), Failure> {
        let ledger = self.ledger.as_mut().ok_or(Failure::Stopped)?;
        if draft.is_empty() && draft.marks.is_empty() {
            return Ok(());
        }
        let epoch = (draft.own_came_back && !self.put_back).then_some(self.identity.epoch + 1);
        let changed = commit::changed(draft);
        let new = changed.iter().filter(|(_, cell, _)| cell.before.is_none());
        new.for_each(|(_, cell, _)| self.filter.add(&cell.hash));
        let besides = {
            let totals = self.shared.totals();
            let mark = (totals.is_due() && !draft.is_empty()).then(|| totals.mark());
            let rows = changed.iter().map(|(_, cell, now)| (cell.hash, cell.before.as_ref(), *now));
            Besides { epoch, mark, buckets: (totals.next(), totals.after(rows)) }
        };
        let redo = commit::redo(draft, &changed, &besides).map_err(Failure::Refused)?;
        ledger.write(&mut self.disk, &self.shared.options.load(), redo, when)?;
        let tables = ledger.tables();
        if let Some(epoch) = epoch {
            self.came_back(epoch);
        }
        let mut totals = self.shared.totals();
        if let Some(mark) = &besides.mark {
            totals.marked(mark);
        }
        totals.take(&besides.buckets.1);
        let last = draft.next_sequence() - 1;
        totals.counts.last_sequence = totals.counts.last_sequence.max(last);
        totals.counts.quarantined = draft.running.quarantined;
        totals.counts.quarantined_bytes = draft.running.quarantined_bytes;
        if let Some(removed) = draft.removal.state.get(STATE_REMOVED) {
            self.shared.removed.store(*removed, Ordering::SeqCst);
        }
        self.shared.publish(tables, totals.counts, totals.tree.root());
        Ok(())
    }

    /// A version that was made here, and that nobody knew here, came from elsewhere.
    fn came_back(&mut self, epoch: u64) {
        tracing::warn!(
            namespace = %self.namespace,
            "a version that this store made is unknown to it: it was put back from a backup, or has \
             forgotten the version; cursors of watchers begin anew at epoch {epoch}"
        );
        self.put_back = true;
        self.set_epoch(epoch);
    }

    fn set_epoch(&mut self, epoch: u64) {
        self.identity.epoch = epoch;
        self.shared.epoch.store(epoch, Ordering::SeqCst);
    }

    /// Closes the database with its digests, so that the next opening has nothing to count.
    pub fn close(&mut self) {
        self.rest();
        self.filter = Filter::default();
        let Some(ledger) = self.ledger.take() else { return };
        let mut last = Rows::with_capacity(0);
        let totals = self.shared.totals();
        if totals.is_dirty() {
            totals.mark().redo(&mut last);
        }
        drop(totals);
        if let Err(e) = ledger.close(&mut self.disk, last) {
            tracing::error!(namespace = %self.namespace, "closing the database failed: {e}");
        }
    }

    fn tell(&mut self, draft: Draft) {
        if draft.is_empty() {
            return;
        }
        let snapshot = self.shared.snapshot.load();
        let (root, counts) = (snapshot.root(), snapshot.counts());
        let forgotten = draft.removal.forgotten;
        let commit = Commit { changes: draft.changes, forgotten, root, counts };
        guarded("what follows a commit", || (self.on_commit)(commit));
    }

    /// redb refuses everything after an error of the disk, so the database is opened anew.
    fn recover(&mut self, draft: Option<Draft>, error: &redb::Error) {
        let namespace = self.namespace.clone();
        tracing::error!(%namespace, "a commit failed, opening the database again: {error}");
        let records = self.ledger.take().map_or(0, |ledger| ledger.records());
        self.shared.failed.store(true, Ordering::SeqCst);
        self.reopen(draft, records, TRY_AGAIN);
    }

    /// Opens a database again that could not be opened, if it is time.
    fn try_again(&mut self) {
        let due = |closed: &&mut Closed| closed.tried.elapsed() >= closed.pause;
        let Some(closed) = self.closed.as_mut().filter(due) else { return };
        if self.shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        // Who reads is not disturbed for nothing. A database of which a read has failed reads nothing more, and
        // takes no transaction.
        if closed.shown.as_ref().is_some_and(|shown| shown.begin_write().is_ok())
            && let Err(error) = self.disk.takes(PROBE_BYTES)
        {
            closed.tried = Instant::now();
            if !std::mem::replace(&mut closed.said, true) {
                tracing::warn!(namespace = %self.namespace, "the disk takes no writes: {error}");
            }
            return;
        }
        if let Some(Closed { draft, records, shown, pause, .. }) = self.closed.take() {
            drop(shown);
            self.reopen(draft, records, TRY_AGAIN_MAX.min(2 * pause));
        }
    }

    /// Opens the database again. The draft is one of which nobody knows whether it is there; so many records of its
    /// journal were answered. If it cannot be opened, it is tried again after this pause.
    fn reopen(&mut self, draft: Option<Draft>, records: u64, pause: Duration) {
        let namespace = self.namespace.clone();
        self.filter = Filter::default();
        let opened = match opened::open(&mut self.disk, &self.namespace, &self.node) {
            Ok(opened) => opened,
            Err(e) => {
                tracing::error!(%namespace, "the store takes no writes, until it can be opened again: {e}");
                let (tried, shown) = (Instant::now(), self.show(records));
                self.closed = Some(Closed { tried, pause, said: false, draft, records, shown });
                return;
            }
        };
        if self.lost_anything(&opened) {
            return tracing::error!(%namespace, "the store takes no more writes: the file lost what was written before");
        }
        let there = draft.filter(|draft| opened.has(draft));
        self.put_back |= there.as_ref().is_some_and(|draft| draft.own_came_back);
        self.set_epoch(opened.identity.epoch);
        self.shared.removed.store(opened.removed, Ordering::SeqCst);
        let (store, tables) = (self.identity.store, (opened.late, opened.tables.clone()));
        self.ledger = Some(Ledger::new(opened.database, store, tables, self.wake.clone()));
        self.shared.failed.store(false, Ordering::SeqCst);
        tracing::info!(%namespace, "the database is open again and takes writes");
        let (counts, root) = (opened.totals.counts, opened.totals.tree.root());
        *self.shared.totals() = opened.totals;
        self.shared.publish(opened.tables, counts, root);
        // Readers see it from now on, so watchers and peers have to hear of it.
        if let Some(draft) = there {
            self.tell(draft);
        }
    }

    /// Lets what was answered be read from a disk that takes no writes.
    fn show(&mut self, records: u64) -> Option<Database> {
        let (space, node) = (&self.namespace, &self.node);
        let opened = self.disk.for_readers(records, |disk| opened::open(disk, space, node));
        let opened = match opened {
            Ok(opened) if !self.lost_anything(&opened) => opened,
            Ok(_) => {
                tracing::error!(namespace = %space, "the file lost what was written before");
                return None;
            }
            Err(e) => {
                tracing::error!(namespace = %space, "it cannot be read either: {e}");
                return None;
            }
        };
        tracing::warn!(namespace = %space, "what was answered can be read meanwhile");
        let (counts, root) = (opened.totals.counts, opened.totals.tree.root());
        *self.shared.totals() = opened.totals;
        self.shared.publish(opened.tables, counts, root);
        Some(opened.database)
    }

    /// True if a database that was opened again is not what was answered for.
    fn lost_anything(&self, opened: &Opened) -> bool {
        let answered = self.shared.snapshot.load().counts().last_sequence;
        let is = (opened.identity.store, opened.identity.node);
        is != (self.identity.store, self.node) || opened.totals.counts.last_sequence < answered
    }
}

impl Failure {
    fn refusal(&self) -> Refusal {
        match self {
            Failure::Refused(refusal) => refusal.clone(),
            Failure::Disk(error) => unknown(error),
            Failure::Stopped => Refusal::new(
                Code::StoreFailed,
                "the store takes no writes since its disk failed; see the log of the server",
            ),
        }
    }
}

/// A panic in somebody else's code must not end the commit thread.
fn guarded(what: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{what} panicked on the commit thread");
    }
}
