//! What goes out to a client: the queue of answers and events, and the side of a connection that writes it.

use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use bytes::Bytes;
use futures_util::future::poll_immediate;
use futures_util::{Sink, SinkExt};
use keepboth_core::limits::{FRAME_BYTES_MAX, figure};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_store::Rest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::protocol::{ANSWER_BYTES, Answer, Estimate, Format, encode_answer};

/// Bytes of large answers and of events that may wait for a client that reads slowly.
const UNREAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long writing one frame may take before the client is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Frames that are written with one flush.
const WRITE_TOGETHER: usize = 256;
/// Up to so many bytes an answer counts as small: the number of them is bound enough.
pub const SMALL_BYTES: usize = 4 * 1024;
/// How long the other side has to answer a close.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What goes out.
pub enum Out {
    /// The answer to a request.
    Answer(u64, Result<Answer, Refusal>),
    /// A refusal of a frame whose id could not be read.
    Refused(Refusal),
    /// As an answer, with the room that its bytes take until they are written.
    Large(u64, Answer, OwnedSemaphorePermit),
    /// A pushed frame, encoded, and its room likewise.
    Pushed(Bytes, Option<OwnedSemaphorePermit>),
    /// A ping.
    Ping,
    /// Nothing; what is left of a commit is done when the answers before this are written.
    After(Rest),
}

/// Room for one answer, taken before the request is carried out: so answers never wait for room.
pub type Slot = mpsc::OwnedPermit<Out>;

/// An answer that is owed: should it get lost on its way, by a panic, the client still learns that nobody
/// knows the outcome.
pub struct Owed(Option<(Slot, u64)>);

impl Owed {
    /// The answer to this request, through this room.
    pub fn new(slot: Slot, id: u64) -> Owed {
        Owed(Some((slot, id)))
    }

    /// Gives it.
    pub fn pay(mut self, outcome: Result<Answer, Refusal>) {
        self.give(outcome);
    }

    fn give(&mut self, outcome: Result<Answer, Refusal>) {
        if let Some((slot, id)) = self.0.take() {
            slot.send(Out::Answer(id, outcome));
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let words = "the server failed; whether it was written is unknown";
        self.give(Err(Refusal::new(Code::StoreFailed, words)));
    }
}

/// What the client has not read yet.
#[derive(Clone)]
pub struct Unread {
    /// Room for bytes.
    room: Arc<Semaphore>,
    /// True while the writing side waits for the client to read.
    is_waited_for: Arc<AtomicBool>,
}

impl Default for Unread {
    fn default() -> Unread {
        let room = Arc::new(Semaphore::new(UNREAD_BYTES_MAX));
        Unread { room, is_waited_for: Arc::default() }
    }
}

impl Unread {
    /// True while the writing side waits for the client to read: it takes nothing from its queue meanwhile.
    pub fn is_waited_for(&self) -> bool {
        self.is_waited_for.load(Ordering::Relaxed)
    }

    /// Waits for room for so many bytes, or for all of it.
    pub async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(UNREAD_BYTES_MAX)).ok()?;
        self.room.clone().acquire_many_owned(bytes).await.ok()
    }

    /// An answer as it goes out, when there is room for its bytes.
    pub async fn sized(&self, id: u64, outcome: Result<Answer, Refusal>) -> Out {
        let bytes = outcome.as_ref().map_or(0, Estimate::bytes_estimate);
        match outcome {
            Ok(answer) if bytes > SMALL_BYTES => match self.room(bytes).await {
                Some(room) => Out::Large(id, answer, room),
                None => Out::Answer(id, Ok(answer)),
            },
            outcome => Out::Answer(id, outcome),
        }
    }
}

/// Why a connection ends: a close code and words.
pub type Close = (u16, String);

/// The writing side: encodes what is ready, feeds it, and flushes once.
pub async fn write(
    mut sink: impl Sink<Message, Error = axum::Error> + Unpin,
    mut frames: mpsc::Receiver<Out>,
    unread: Unread,
    format: Format,
    close: Arc<Mutex<Close>>,
    stop: CancellationToken,
) {
    loop {
        // Made anew each time, so that a connection without requests holds none.
        let mut ready = Vec::with_capacity(frames.len().min(WRITE_TOGETHER));
        if frames.recv_many(&mut ready, WRITE_TOGETHER).await == 0 {
            break;
        }
        if write_group(&mut sink, ready, &unread, format).await.is_none() {
            // Slow or gone: nobody is waited for. What is not answered may have been done.
            stop.cancel();
            return;
        }
    }
    let (code, reason) = close.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(CLOSE_WITHIN, sink.send(frame)).await;
}

/// A frame that goes out now.
enum Ready {
    /// The answer that stands here among those of its group.
    Answer(Range<usize>),
    /// One that was encoded before.
    Pushed(Bytes),
    Ping,
}

/// What to do where an answer would be no frame, which would end the connection at the other side: those are
/// refused. Other pages are cut to fit, and what was written is never said to be refused.
fn if_too_large(outcome: &Result<Answer, Refusal>) -> Option<&'static str> {
    match outcome {
        Ok(Answer::List(_) | Answer::Conflicts(_) | Answer::Conflict(_)) | Err(_) => Some(
            "a conflict has too many sides to be told at once: `get` at its key names their addresses, and \
             pages go on with `after` that key",
        ),
        Ok(Answer::Status(_)) => Some("ask for the status of one namespace, with `ns`"),
        Ok(_) => None,
    }
}

/// Adds an answer to those of its group.
fn add(
    format: Format,
    id: Option<u64>,
    outcome: &Result<Answer, Refusal>,
    answers: &mut Vec<u8>,
) -> Ready {
    let from = answers.len();
    encode_answer(format, id, outcome, answers);
    let bytes = answers.len() - from;
    if bytes > FRAME_BYTES_MAX
        && let Some(hint) = if_too_large(outcome)
    {
        let (bytes, limit) = (figure(bytes), figure(FRAME_BYTES_MAX));
        let words =
            format!("the answer takes {bytes} bytes, the limit of a frame is {limit} bytes");
        let refusal = Refusal::new(Code::FrameTooLarge, words).hint(hint);
        answers.truncate(from);
        encode_answer(format, id, &Err(refusal), answers);
    }
    Ready::Answer(from..answers.len())
}

/// Writes what is ready with one flush; all answers are encoded into one buffer, of which each frame is a part.
/// None if the client is gone, or did not take a frame in time.
async fn write_group(
    sink: &mut (impl Sink<Message, Error = axum::Error> + Unpin),
    ready: Vec<Out>,
    unread: &Unread,
    format: Format,
) -> Option<()> {
    let mut answers = Vec::with_capacity(ready.len() * ANSWER_BYTES);
    let (mut rooms, mut rests) = (Vec::new(), Vec::new());
    let frames = ready.into_iter().filter_map(|out| match out {
        Out::Answer(id, outcome) => Some(add(format, Some(id), &outcome, &mut answers)),
        Out::Refused(refusal) => Some(add(format, None, &Err(refusal), &mut answers)),
        Out::Large(id, answer, room) => {
            rooms.push(room);
            Some(add(format, Some(id), &Ok(answer), &mut answers))
        }
        Out::Pushed(bytes, room) => {
            rooms.extend(room);
            Some(Ready::Pushed(bytes))
        }
        Out::Ping => Some(Ready::Ping),
        Out::After(rest) => {
            rests.push(rest);
            None
        }
    });
    let frames: Vec<Ready> = frames.collect();
    let answers = Bytes::from(answers);
    for frame in frames {
        let bytes = match frame {
            Ready::Answer(range) => answers.slice(range),
            Ready::Pushed(bytes) => bytes,
            Ready::Ping => {
                in_time(sink.feed(Message::Ping(Bytes::new())), unread, &mut rests).await?;
                continue;
            }
        };
        let message = match format {
            Format::Json => Utf8Bytes::try_from(bytes).map(Message::Text).unwrap_or_else(|e| {
                // Frames are made of text and canonical values, so this is not reached.
                Message::Text(e.to_string().into())
            }),
            Format::MessagePack => Message::Binary(bytes),
        };
        in_time(sink.feed(message), unread, &mut rests).await?;
    }
    in_time(sink.flush(), unread, &mut rests).await
}

/// Nearly always a socket has room: only who has to wait looks at the clock. What is left of commits does not wait.
async fn in_time(
    written: impl Future<Output = Result<(), axum::Error>>,
    unread: &Unread,
    rests: &mut Vec<Rest>,
) -> Option<()> {
    let mut written = pin!(written);
    match poll_immediate(&mut written).await {
        Some(done) => done.ok(),
        None => {
            rests.clear();
            unread.is_waited_for.store(true, Ordering::Relaxed);
            let written = timeout(WRITE_WITHIN, written).await;
            unread.is_waited_for.store(false, Ordering::Relaxed);
            written.ok()?.ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use keepboth_core::ids::NodeId;
    use tokio::sync::oneshot;

    use super::*;
    use crate::protocol::{PluginsTold, Status};

    /// Frames, as far as each flush.
    #[derive(Default)]
    struct Flushed(Vec<usize>, usize);

    impl Sink<Message> for &mut Flushed {
        type Error = axum::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), axum::Error> {
            self.get_mut().1 += 1;
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            let Flushed(flushes, frames) = self.get_mut();
            flushes.push(std::mem::take(frames));
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, c: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
            self.poll_flush(c)
        }
    }

    #[tokio::test]
    async fn frames_that_are_ready_together_are_flushed_together_up_to_their_bound() {
        let (out, frames) = mpsc::channel(1_000);
        for id in 0..600 {
            out.try_send(Out::Answer(id, Ok(Answer::Unwatch))).expect("room");
        }
        drop(out);
        let mut sink = Flushed::default();
        let close = Arc::new(Mutex::new((1_000, "the end".to_owned())));
        let (unread, stop) = (Unread::default(), CancellationToken::new());
        write(&mut sink, frames, unread, Format::Json, close, stop).await;
        // The last is the close.
        assert_eq!(sink.0, [WRITE_TOGETHER, WRITE_TOGETHER, 600 - 2 * WRITE_TOGETHER, 1]);
    }

    #[tokio::test]
    async fn an_answer_that_gets_lost_is_given_all_the_same_and_only_once() {
        let (out, mut sent) = mpsc::channel(2);
        let slot = async || out.clone().reserve_owned().await.expect("room");
        drop(Owed::new(slot().await, 7));
        let Some(Out::Answer(7, Err(refusal))) = sent.recv().await else { panic!("no answer") };
        assert_eq!(refusal.code, Code::StoreFailed);
        Owed::new(slot().await, 8).pay(Ok(Answer::Unwatch));
        assert!(matches!(sent.recv().await, Some(Out::Answer(8, Ok(_)))));
        assert!(sent.try_recv().is_err());
    }

    #[tokio::test]
    async fn while_the_client_is_waited_for_it_shows() {
        let (read, waits) = oneshot::channel();
        let (unread, mut rests) = (Unread::default(), Vec::new());
        let written = async { waits.await.expect("the client reads") };
        let mut written = pin!(in_time(written, &unread, &mut rests));
        assert!(!unread.is_waited_for());
        assert!(poll_immediate(&mut written).await.is_none());
        assert!(unread.is_waited_for());
        read.send(Ok(())).expect("it waits");
        assert_eq!(written.await, Some(()));
        assert!(!unread.is_waited_for());
    }

    #[test]
    fn a_status_that_would_be_no_frame_is_refused_with_what_to_ask_for() {
        let status = Status {
            node: NodeId([1; 32]),
            version: "x".repeat(2 * FRAME_BYTES_MAX),
            twin: false,
            uptime_s: 1,
            namespaces: Vec::new(),
            connections: 1,
            plugins: PluginsTold::default(),
        };
        let mut answers = b"{}".to_vec();
        add(Format::Json, Some(7), &Ok(Answer::Status(status)), &mut answers);
        let text = String::from_utf8(answers).expect("text");
        assert!(text.len() < 1_000 && text.contains("frame_too_large"), "{text:.1000}");
        assert!(text.contains("the status of one namespace"), "{text}");
    }
}
