//! What of a journal is durable, and the thread that makes it so a while after the answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use redb::StorageBackend;

/// A file, and how much of what was written to it is synced.
pub struct Synced {
    file: Box<dyn StorageBackend>,
    /// Writes so far, and those that were synced.
    written: AtomicU64,
    durable: AtomicU64,
    /// True after a sync failed: what was written before it may be lost, and nothing shows it later.
    failed: AtomicBool,
}

impl Synced {
    pub fn new(file: Box<dyn StorageBackend>) -> Synced {
        let (written, durable) = (AtomicU64::new(0), AtomicU64::new(0));
        Synced { file, written, durable, failed: AtomicBool::new(false) }
    }

    pub fn file(&self) -> &dyn StorageBackend {
        &*self.file
    }

    pub fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.written.fetch_add(1, Ordering::SeqCst);
        self.file.write(at as u64, bytes)
    }

    pub fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::SeqCst);
        self.file.sync_data().inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        self.durable.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    /// True if all that was written is durable.
    pub fn is_all(&self) -> bool {
        self.durable.load(Ordering::SeqCst) == self.written.load(Ordering::SeqCst)
    }

    /// What was written is needed no more.
    pub fn forget(&self) {
        self.durable.store(self.written.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// An error if a sync failed.
    pub fn check(&self) -> io::Result<()> {
        match self.failed.load(Ordering::SeqCst) {
            true => Err(io::Error::other("an earlier sync of the journal failed")),
            false => Ok(()),
        }
    }
}

/// A thread that syncs; it ends when this is dropped.
pub struct Flusher {
    due: mpsc::Sender<Duration>,
    waiting: Arc<AtomicBool>,
}

impl Flusher {
    pub fn start(synced: Arc<Synced>) -> io::Result<Flusher> {
        let (due, wait) = mpsc::channel();
        let waiting = Arc::new(AtomicBool::new(false));
        let waits = waiting.clone();
        thread::Builder::new().name("sync".into()).spawn(move || {
            while let Ok(period) = wait.recv() {
                // Nothing is sent meanwhile; only the end of the journal comes sooner.
                if wait.recv_timeout(period) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
                waits.store(false, Ordering::SeqCst);
                if let Err(e) = synced.sync() {
                    return tracing::error!("what was written last may be lost: {e}");
                }
            }
        })?;
        Ok(Flusher { due, waiting })
    }

    /// What was written will be durable after this time.
    pub fn within(&self, period: Duration) {
        if !self.waiting.swap(true, Ordering::SeqCst) {
            // A thread that is gone has left word in `Synced`.
            let _ = self.due.send(period);
        }
    }
}
