//! The thread that brings the database up to the journal, behind the answers.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::{Database, WriteTransaction};

use crate::format::{META, META_JOURNAL};
use crate::late::Late;
use crate::tables::{Layer, Stored};
use crate::word::{Word, settle};

/// Groups that come within this time are written to the database together: the more rows a transaction has,
/// the fewer pages it costs for each.
pub const GATHER: Duration = Duration::from_millis(100);

/// Rows for the database.
pub struct Batch {
    pub rows: Arc<Layer>,
    /// Those that it has and that are late, and from how many bytes on they move.
    pub late: Late,
    pub late_bytes_max: usize,
    /// What the database says of its journal when it has them.
    pub word: Word,
    /// True if it has to be durable with them.
    pub durable: bool,
}

/// The database with a batch.
pub struct Done {
    pub stored: Stored,
    pub late: Late,
}

/// The thread, as the commit thread sees it. It has one batch at a time. It ends when this is dropped, which
/// waits for it.
pub struct Behind {
    batches: Option<Sender<Batch>>,
    done: Receiver<Result<Done, redb::Error>>,
    thread: Option<JoinHandle<()>>,
    /// True while it has a batch.
    busy: bool,
}

impl Behind {
    /// Starts it. `wake` is called when a batch is done, and once more if no other follows for a while.
    pub fn start(
        database: Arc<Database>,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Behind> {
        let ((batches, waiting), (tell, done)) = (mpsc::channel(), mpsc::channel());
        let thread = thread::Builder::new().name("behind".into());
        let thread = thread.spawn(move || run(&database, &waiting, &tell, wake))?;
        Ok(Behind { batches: Some(batches), done, thread: Some(thread), busy: false })
    }

    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives it a batch; it must not have one.
    pub fn give(&mut self, batch: Batch) -> Result<(), redb::Error> {
        self.busy = true;
        let sent = self.batches.as_ref().and_then(|batches| batches.send(batch).ok());
        sent.ok_or_else(ended)
    }

    /// The database with the batch, if it is done.
    pub fn take(&mut self) -> Result<Option<Done>, redb::Error> {
        if !self.busy {
            return Ok(None);
        }
        match self.done.try_recv() {
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            outcome => self.done(outcome.map_err(|_| ended())),
        }
    }

    /// As [`Behind::take`]; waits until it is done.
    pub fn wait(&mut self) -> Result<Option<Done>, redb::Error> {
        if !self.busy {
            return Ok(None);
        }
        let outcome = self.done.recv().map_err(|_| ended());
        self.done(outcome)
    }

    fn done(
        &mut self,
        outcome: Result<Result<Done, redb::Error>, redb::Error>,
    ) -> Result<Option<Done>, redb::Error> {
        self.busy = false;
        outcome?.map(Some)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.batches.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that writes to the database panicked");
        }
    }
}

fn run(
    database: &Database,
    batches: &Receiver<Batch>,
    done: &Sender<Result<Done, redb::Error>>,
    wake: impl Fn(),
) {
    let mut waits = false;
    loop {
        let batch = match waits {
            true => batches.recv_timeout(GATHER),
            false => batches.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => {
                wake();
                waits = false;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // Its memory goes before the next one comes.
        let outcome = write(database, batch);
        if done.send(outcome).is_err() {
            return;
        }
        wake();
        waits = true;
    }
}

fn write(database: &Database, batch: Batch) -> Result<Done, redb::Error> {
    let Batch { rows, mut late, late_bytes_max, word, durable } = batch;
    let mut write = |to: &WriteTransaction| late.write(&rows, to, late_bytes_max);
    if durable {
        settle(database, &word, write)?;
    } else {
        let mut transaction = database.begin_write()?;
        transaction.set_durability(redb::Durability::None)?;
        write(&transaction)?;
        // Should it be closed before it is made durable.
        transaction.open_table(META)?.insert(META_JOURNAL, &word.encode()[..])?;
        transaction.commit()?;
    }
    Ok(Done { stored: Stored::open(database)?, late })
}

fn ended() -> redb::Error {
    redb::Error::Corrupted("the thread that writes to the database ended".into())
}
