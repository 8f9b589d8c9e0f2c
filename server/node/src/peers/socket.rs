//! The frames of a link, over whichever WebSocket carries them, and the queue before it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, future};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::clock;

/// What goes over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message of the protocol.
    Message(Bytes),
    /// A sign of life, which the other side answers.
    Ping,
    /// The answer to a ping.
    Pong,
    /// Anything else that shows that the other side lives.
    Alive,
    /// The end, with code and reason.
    Close(u16, String),
    /// A frame that has no place here.
    Stray(&'static str),
}

/// Frames that come.
pub type Incoming = Pin<Box<dyn Stream<Item = Result<Frame, String>> + Send>>;
/// Frames that go.
pub type Outgoing = Pin<Box<dyn Sink<Frame, Error = String> + Send>>;

/// The two directions of a connection that was answered.
pub fn answered(socket: axum::extract::ws::WebSocket) -> (Incoming, Outgoing) {
    use axum::extract::ws::{CloseFrame, Message};
    let (sink, stream) = socket.split();
    let incoming = stream.map(|message| match message {
        Ok(Message::Binary(bytes)) => Ok(Frame::Message(bytes)),
        Ok(Message::Text(_)) => Ok(Frame::Stray("a text frame")),
        Ok(Message::Pong(_)) => Ok(Frame::Pong),
        Ok(Message::Ping(_)) => Ok(Frame::Alive),
        Ok(Message::Close(close)) => {
            Ok(close.map_or_else(gone, |c| Frame::Close(c.code, c.reason.to_string())))
        }
        Err(e) => Err(e.to_string()),
    });
    let outgoing = sink.sink_map_err(|e| e.to_string()).with(|frame| {
        future::ok::<_, String>(match frame {
            Frame::Message(bytes) => Message::Binary(bytes),
            Frame::Close(code, reason) => {
                Message::Close(Some(CloseFrame { code, reason: reason.into() }))
            }
            Frame::Ping | Frame::Pong | Frame::Alive | Frame::Stray(_) => {
                Message::Ping(Bytes::new())
            }
        })
    });
    (Box::pin(incoming), Box::pin(outgoing))
}

/// The two directions of a connection that was dialled.
pub fn dialled<S>(socket: tokio_tungstenite::WebSocketStream<S>) -> (Incoming, Outgoing)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    let (sink, stream) = socket.split();
    let incoming = stream.map(|message| match message {
        Ok(Message::Binary(bytes)) => Ok(Frame::Message(bytes)),
        Ok(Message::Text(_)) => Ok(Frame::Stray("a text frame")),
        Ok(Message::Pong(_)) => Ok(Frame::Pong),
        Ok(Message::Ping(_) | Message::Frame(_)) => Ok(Frame::Alive),
        Ok(Message::Close(close)) => {
            Ok(close.map_or_else(gone, |c| Frame::Close(c.code.into(), c.reason.to_string())))
        }
        Err(e) => Err(e.to_string()),
    });
    let outgoing = sink.sink_map_err(|e| e.to_string()).with(|frame| {
        future::ok::<_, String>(match frame {
            Frame::Message(bytes) => Message::Binary(bytes),
            Frame::Close(code, reason) => {
                Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
            }
            Frame::Ping | Frame::Pong | Frame::Alive | Frame::Stray(_) => {
                Message::Ping(Bytes::new())
            }
        })
    });
    (Box::pin(incoming), Box::pin(outgoing))
}

fn gone() -> Frame {
    Frame::Close(1005, String::new())
}

/// What waits to be written, counted in bytes. The link looks at the count before it adds.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Frame>,
    waiting: Arc<Waiting>,
}

/// What the two ends of an outbox share.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    /// When the queue last began to fill or to move, by the steady clock in milliseconds.
    moved_at: AtomicU64,
    room: Notify,
}

impl Outbox {
    /// Starts the task that writes; it ends after a close frame, an error, when a frame could not be
    /// written `within` that time, or with the last sender.
    pub fn start(
        outgoing: Outgoing,
        tasks: &tokio_util::task::TaskTracker,
        within: Duration,
    ) -> Outbox {
        let (queue, frames) = mpsc::unbounded_channel();
        let outbox = Outbox { queue, waiting: Arc::default() };
        tasks.spawn(write(frames, outgoing, outbox.waiting.clone(), within));
        outbox
    }

    /// Adds a frame. False if the connection is gone.
    pub fn send(&self, frame: Frame) -> bool {
        if self.waiting.bytes.fetch_add(length(&frame), Ordering::AcqRel) == 0 {
            self.waiting.moved_at.store(clock::steady(), Ordering::Release);
        }
        self.queue.send(frame).is_ok()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.waiting.bytes.load(Ordering::Acquire)
    }

    /// Since when bytes wait and none was written, by the steady clock in milliseconds.
    pub fn stuck_since(&self) -> Option<u64> {
        (self.bytes() > 0).then(|| self.waiting.moved_at.load(Ordering::Acquire))
    }

    /// Waits until nothing more can be written: the connection broke, or the other side does not read.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Waits until something was written.
    pub async fn moved(&self) {
        self.waiting.room.notified().await;
    }
}

fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Message(bytes) => bytes.len(),
        _ => 8,
    }
}

/// Writes what is ready and flushes once. Bytes count as waiting until they are flushed.
async fn write(
    mut frames: mpsc::UnboundedReceiver<Frame>,
    mut outgoing: Outgoing,
    waiting: Arc<Waiting>,
    within: Duration,
) {
    let mut ready = Vec::new();
    while frames.recv_many(&mut ready, 64).await > 0 {
        let mut size = 0;
        for frame in ready.drain(..) {
            size += length(&frame);
            let last = matches!(frame, Frame::Close(..));
            let fed = timeout(within, outgoing.feed(frame)).await;
            waiting.moved_at.store(clock::steady(), Ordering::Release);
            if last || !matches!(fed, Ok(Ok(()))) {
                let _ = timeout(within, outgoing.close()).await;
                return;
            }
        }
        if !matches!(timeout(within, outgoing.flush()).await, Ok(Ok(()))) {
            return;
        }
        waiting.moved_at.store(clock::steady(), Ordering::Release);
        waiting.bytes.fetch_sub(size, Ordering::AcqRel);
        waiting.room.notify_one();
    }
}
