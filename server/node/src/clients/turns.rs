//! Two halves of one task that take turns.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes the task for one half.
#[derive(Default)]
struct Half {
    task: AtomicWaker,
    /// True if it is to have a turn.
    is_woken: AtomicBool,
    /// True while the task sees to it anyway that it has one.
    is_next: AtomicBool,
}

impl Half {
    /// It has its turn when the task begins.
    fn new() -> Arc<Half> {
        Arc::new(Half { is_woken: AtomicBool::new(true), ..Half::default() })
    }

    /// Takes its turn, if it is to have one; true once it has ended.
    fn turn(&self, half: Pin<&mut impl Future<Output = ()>>, waker: &Waker) -> bool {
        let woken = self.is_woken.swap(false, Ordering::SeqCst);
        woken && half.poll(&mut Context::from_waker(waker)).is_ready()
    }
}

impl Wake for Half {
    fn wake(self: Arc<Half>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Half>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_next.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

/// Runs both to their ends. Each time the task wakes, the first has its turn, then the second; but only those
/// that were woken. What the first has for the second does not wake the task once more, which would set another
/// thread of the runtime looking for work. They are lent, so that the task does not hold them twice.
pub async fn in_turns(
    mut first: Pin<&mut impl Future<Output = ()>>,
    mut second: Pin<&mut impl Future<Output = ()>>,
) {
    let halves = [Half::new(), Half::new()];
    let wakers = halves.each_ref().map(|half| Waker::from(half.clone()));
    let (mut first_ended, mut second_ended) = (false, false);
    poll_fn(move |context| {
        let [one, two] = &halves;
        one.task.register(context.waker());
        two.task.register(context.waker());
        if !first_ended {
            two.is_next.store(true, Ordering::SeqCst);
            first_ended = one.turn(first.as_mut(), &wakers[0]);
            // What is there for the second by now, it sees in its turn; what comes later wakes the task.
            two.is_next.store(false, Ordering::SeqCst);
        }
        if !second_ended {
            second_ended = two.turn(second.as_mut(), &wakers[1]);
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

    #[test]
    fn a_half_that_was_not_woken_has_no_turn() {
        let ((a, mut b), (c, mut d)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let turns = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let half = async |channel: &mut mpsc::UnboundedReceiver<()>, turns: &AtomicUsize| {
            poll_fn(|context| {
                turns.fetch_add(1, Ordering::SeqCst);
                channel.poll_recv(context)
            })
            .await;
        };
        let (one, two) = (pin!(half(&mut b, &turns[0])), pin!(half(&mut d, &turns[1])));
        let mut context = Context::from_waker(Waker::noop());
        let mut task = pin!(in_turns(one, two));
        let had = || turns.each_ref().map(|turns| turns.load(Ordering::SeqCst));
        assert!(task.as_mut().poll(&mut context).is_pending());
        assert_eq!(had(), [1, 1]);
        assert!(task.as_mut().poll(&mut context).is_pending());
        assert_eq!(had(), [1, 1], "nobody was woken");
        c.send(()).expect("the second is there");
        assert!(task.as_mut().poll(&mut context).is_pending());
        assert_eq!(had(), [1, 2]);
        a.send(()).expect("the first is there");
        assert!(task.as_mut().poll(&mut context).is_ready());
        assert_eq!(had(), [2, 2]);
    }
}
