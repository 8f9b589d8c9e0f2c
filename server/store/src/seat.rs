//! Who commits: one at a time, and no task overtakes one that waits.
//!
//! A thread takes the tasks that wait in the queue. A task that comes alone, while nothing is done, may be
//! committed on the thread that brings it, which saves waking two threads.

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::committer::{Committer, Job};
use crate::failure::gave_up;
use crate::shared::Shared;
use crate::task::Task;

/// A group that takes no longer may be committed by who brings it.
const LIGHT: Duration = Duration::from_millis(2);

/// Where the committer sits: whoever has the seat commits.
pub struct Seat {
    /// None after a panic, and when the store is closed.
    committer: Mutex<Option<Committer>>,
    /// What panicked: its database stays open, for what is there can still be read.
    broken: Mutex<Option<Committer>>,
    /// Who has the seat.
    holder: Mutex<Option<ThreadId>>,
    /// Tasks that are in the queue, or were taken from it and are not committed.
    waiting: AtomicUsize,
    /// True if the last group was one task, so that another one will hardly come to share its sync, and was
    /// soon durable, so that it holds up nobody much.
    light: AtomicBool,
}

impl Seat {
    pub fn new(committer: Committer) -> Seat {
        Seat {
            committer: Mutex::new(Some(committer)),
            broken: Mutex::default(),
            holder: Mutex::default(),
            waiting: AtomicUsize::new(0),
            light: AtomicBool::new(true),
        }
    }

    /// Counts a task that is put in the queue now.
    pub fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// True if a task that comes now may be committed by who brings it.
    pub fn is_free(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0 && self.light.load(Ordering::SeqCst)
    }

    /// True on the thread that commits.
    pub fn is_held_here(&self) -> bool {
        *self.held() == Some(thread::current().id())
    }

    fn held(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the database of what panicked.
    pub fn clear(&self) {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What panicked once may do so again.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
    }

    /// Commits a task on this thread if nobody else commits and none waits; otherwise gives it back.
    pub fn commit_here(self: &Arc<Seat>, task: Task) -> Result<Rest, Task> {
        let mut seat = match self.committer.try_lock() {
            Ok(seat) => seat,
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => return Err(task),
        };
        match seat.is_some() && self.is_free() {
            true => {
                self.group(&mut seat, task, || None);
                Ok(Rest(self.clone()))
            }
            false => Err(task),
        }
    }

    /// Commits what comes through the queue until it is told to stop, and then until the queue is empty.
    pub fn run(&self, shared: &Shared, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            let mut seat = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
            if seat.is_none() {
                return refuse(job, &mut jobs);
            }
            if let Job::Task(task) = job {
                let mut next = Some(task);
                while let Some(task) = next {
                    let waiting = || match jobs.try_recv() {
                        Ok(Job::Task(task)) => Some(task),
                        Ok(Job::Wake) | Err(_) => None,
                    };
                    let Some((tasks, held)) = self.group(&mut seat, task, waiting) else {
                        return refuse(Job::Wake, &mut jobs);
                    };
                    self.waiting.fetch_sub(tasks, Ordering::SeqCst);
                    if self.sit(&mut seat, Committer::rest).is_none() {
                        held.into_iter().for_each(|task| task.refuse(gave_up()));
                        return refuse(Job::Wake, &mut jobs);
                    }
                    next = held;
                }
            } else if self.sit(&mut seat, Committer::rest).is_none() {
                return refuse(Job::Wake, &mut jobs);
            }
            if shared.stopping.load(Ordering::SeqCst) {
                // Nobody can send any more; what is in the queue still comes.
                jobs.close();
            }
        }
        let mut seat = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        self.sit(&mut seat, Committer::close);
        *seat = None;
    }

    /// Commits a group, and sees how long that took.
    fn group(
        &self,
        seat: &mut Option<Committer>,
        task: Task,
        waiting: impl FnMut() -> Option<Task>,
    ) -> Option<(usize, Option<Task>)> {
        let begun = Instant::now();
        let done = self.sit(seat, |committer| committer.group(task, waiting))?;
        self.light.store(done.0 == 1 && begun.elapsed() <= LIGHT, Ordering::SeqCst);
        Some(done)
    }

    /// Lets the committer do something. redb may panic on pages that were damaged: then nothing more is
    /// written, and it shows.
    fn sit<T>(
        &self,
        seat: &mut Option<Committer>,
        work: impl FnOnce(&mut Committer) -> T,
    ) -> Option<T> {
        let committer = seat.as_mut()?;
        *self.held() = Some(thread::current().id());
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut *committer))).ok();
        *self.held() = None;
        if done.is_none() {
            committer.gives_up();
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = seat.take();
        }
        done
    }
}

/// What a commit leaves to be done after its answer: others are told of it, and the database gets what it lacks.
/// It is done when this is dropped, or before the next commit.
#[must_use = "it is done when this is dropped"]
pub struct Rest(Arc<Seat>);

impl Drop for Rest {
    fn drop(&mut self) {
        // Who has the seat by now does it, has done it, or gives its task back, which then comes through the queue.
        if let Ok(mut seat) = self.0.committer.try_lock() {
            self.0.sit(&mut seat, Committer::rest);
        }
    }
}

/// Answers what waits after a panic. Who comes later gets his task back.
fn refuse(first: Job, jobs: &mut mpsc::Receiver<Job>) {
    jobs.close();
    let waiting = iter::from_fn(|| jobs.blocking_recv());
    for job in iter::once(first).chain(waiting) {
        if let Job::Task(task) = job {
            task.refuse(gave_up());
        }
    }
}
