//! What of a journal is durable, and the thread that makes it so a while after the answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::file::JournalFile;

/// Two files of which one is written at a time, and how much of what was written is synced.
pub struct Synced {
    files: [Box<dyn JournalFile>; 2],
    /// The one that is written.
    at: AtomicUsize,
    /// Writes so far, and those that were synced.
    written: AtomicU64,
    durable: AtomicU64,
    /// True after a sync failed: what was written before it may be lost, and nothing shows it later.
    failed: AtomicBool,
}

impl Synced {
    pub fn new(files: [Box<dyn JournalFile>; 2]) -> Synced {
        let (written, durable) = (AtomicU64::new(0), AtomicU64::new(0));
        let (at, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Synced { files, at, written, durable, failed }
    }

    /// The file that is written.
    pub fn file(&self) -> &dyn JournalFile {
        &*self.files[self.at.load(Ordering::SeqCst)]
    }

    pub fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.file().write(at as u64, bytes)?;
        // Only now, for a sync that another thread begins meanwhile may come before the bytes.
        self.written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Writes, and gives when all that was written is durable.
    pub fn write_durably(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if !self.is_all() {
            self.write(at, bytes)?;
            return self.sync();
        }
        let done = self.file().write_durably(at as u64, bytes);
        done.inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        // Nobody else writes.
        let written = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        self.durable.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::SeqCst);
        self.file().sync_data().inspect_err(|_| self.failed.store(true, Ordering::SeqCst))?;
        self.durable.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    /// True if all that was written is durable.
    pub fn is_all(&self) -> bool {
        self.durable.load(Ordering::SeqCst) == self.written.load(Ordering::SeqCst)
    }

    /// Goes on with the other file, when all of this one is durable.
    pub fn switch(&self, to: usize) -> io::Result<()> {
        if !self.is_all() {
            self.sync()?;
        }
        self.at.store(to, Ordering::SeqCst);
        Ok(())
    }

    /// An error if a sync failed.
    pub fn check(&self) -> io::Result<()> {
        match self.failed.load(Ordering::SeqCst) {
            true => Err(io::Error::other("an earlier sync of the journal failed")),
            false => Ok(()),
        }
    }
}

/// A thread that syncs what was answered before it was durable; it ends when this is dropped.
pub struct Flusher {
    asked: mpsc::Sender<Duration>,
    /// True while a sync is waited for.
    later: Arc<AtomicBool>,
}

impl Flusher {
    pub fn start(synced: Arc<Synced>) -> io::Result<Flusher> {
        let (asked, waiting) = mpsc::channel();
        let later = Arc::new(AtomicBool::new(false));
        let thread = Thread { synced, waiting, later: later.clone() };
        thread::Builder::new().name("sync".into()).spawn(move || thread.run())?;
        Ok(Flusher { asked, later })
    }

    /// What was written will be durable after this time.
    pub fn within(&self, period: Duration) -> io::Result<()> {
        match self.later.swap(true, Ordering::SeqCst) {
            true => Ok(()),
            false => self.asked.send(period).map_err(|_| ended()),
        }
    }
}

struct Thread {
    synced: Arc<Synced>,
    waiting: mpsc::Receiver<Duration>,
    later: Arc<AtomicBool>,
}

impl Thread {
    fn run(self) {
        while let Ok(period) = self.waiting.recv() {
            // Nobody asks meanwhile; but the journal may end.
            if self.waiting.recv_timeout(period) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            self.later.store(false, Ordering::SeqCst);
            if self.synced.is_all() {
                continue;
            }
            if let Err(e) = self.synced.sync() {
                tracing::error!("writes that were answered may be lost: {e}");
            }
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that syncs the journal ended")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// Memory of which each write tells that it has come, and waits for a word before it is done.
    #[derive(Debug)]
    struct Slow {
        memory: InMemoryBackend,
        came: mpsc::Sender<()>,
        go: Mutex<mpsc::Receiver<()>>,
    }

    impl StorageBackend for Slow {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.came.send(()).map_err(io::Error::other)?;
            let word = self.go.lock().map(|go| go.recv());
            assert!(word.is_ok_and(|word| word.is_ok()), "nobody says go");
            self.memory.write(offset, bytes)
        }
    }

    impl JournalFile for Slow {}

    #[test]
    fn a_sync_that_began_before_a_write_was_done_does_not_count_for_it() {
        let ((came, comes), (go, waits)) = (mpsc::channel(), mpsc::channel());
        let memory = InMemoryBackend::new();
        memory.set_len(8).expect("room");
        let slow = Slow { memory, came, go: Mutex::new(waits) };
        let synced = Synced::new([Box::new(slow), Box::new(InMemoryBackend::new())]);
        thread::scope(|scope| {
            let write = scope.spawn(|| synced.write(0, b"eight by"));
            comes.recv().expect("a write");
            synced.sync().expect("synced");
            go.send(()).expect("it waits");
            write.join().expect("no panic").expect("written");
        });
        assert!(!synced.is_all());
        synced.sync().expect("synced");
        assert!(synced.is_all());
    }
}
