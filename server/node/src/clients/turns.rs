//! Two halves of one task that take turns.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes the task for the second half, unless the first is at work: then the second has its turn anyway.
#[derive(Default)]
struct Second {
    task: AtomicWaker,
    is_next: AtomicBool,
}

impl Wake for Second {
    fn wake(self: Arc<Second>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Second>) {
        if !self.is_next.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// Runs both to their ends. Each time the task wakes, the first has its turn, then the second. What the
/// first has for the second does not wake the task once more, which would set another thread of the runtime
/// looking for work. They are lent, so that the task does not hold them twice.
pub async fn in_turns(
    mut first: Pin<&mut impl Future<Output = ()>>,
    mut second: Pin<&mut impl Future<Output = ()>>,
) {
    let woken = Arc::new(Second::default());
    let waker = Waker::from(woken.clone());
    let (mut first_ended, mut second_ended) = (false, false);
    poll_fn(move |context| {
        woken.task.register(context.waker());
        if !first_ended {
            woken.is_next.store(true, Ordering::SeqCst);
            first_ended = first.as_mut().poll(context).is_ready();
            // What is there for the second by now, it sees in its turn; what comes later wakes the task.
            woken.is_next.store(false, Ordering::SeqCst);
        }
        if !second_ended {
            second_ended = second.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        }
        if first_ended && second_ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::mpsc;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_the_first_has_for_the_second_is_taken_in_the_same_turn_and_wakes_nobody() {
        let (begin, mut begun) = mpsc::unbounded_channel::<u32>();
        let (pass, mut passed) = mpsc::unbounded_channel::<u32>();
        let (late, taken) = (pass.clone(), AtomicUsize::new(0));
        let first = async move {
            while let Some(n) = begun.recv().await {
                pass.send(n).expect("the second is there");
            }
        };
        let second = async {
            while passed.recv().await.is_some() {
                taken.fetch_add(1, Ordering::SeqCst);
            }
        };
        let woken = Arc::new(Woken::default());
        let (waker, count) = (Waker::from(woken.clone()), || woken.0.load(Ordering::SeqCst));
        let mut context = Context::from_waker(&waker);
        let (first, second) = (pin!(first), pin!(second));
        let mut task = pin!(in_turns(first, second));
        assert!(task.as_mut().poll(&mut context).is_pending());

        begin.send(1).expect("the first is there");
        assert_eq!(count(), 1, "the task is woken for the first");
        assert!(task.as_mut().poll(&mut context).is_pending());
        assert_eq!((count(), taken.load(Ordering::SeqCst)), (1, 1));

        late.send(2).expect("the second is there");
        assert_eq!(count(), 2, "from elsewhere the task is woken for the second");
        assert!(task.as_mut().poll(&mut context).is_pending());
        assert_eq!(taken.load(Ordering::SeqCst), 2);

        drop((begin, late));
        assert!(task.as_mut().poll(&mut context).is_ready());
    }
}
