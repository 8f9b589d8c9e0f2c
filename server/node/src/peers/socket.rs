//! The frames of a link, over whichever WebSocket carries them, and the queue before it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt, future};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// How long one frame may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// What goes over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message of the protocol.
    Message(Bytes),
    /// A sign of life.
    Ping,
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
        Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Frame::Alive),
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
            Frame::Ping | Frame::Alive | Frame::Stray(_) => Message::Ping(Bytes::new()),
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
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Ok(Frame::Alive),
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
            Frame::Ping | Frame::Alive | Frame::Stray(_) => Message::Ping(Bytes::new()),
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
    bytes: Arc<AtomicUsize>,
    room: Arc<Notify>,
}

impl Outbox {
    /// Starts the task that writes; it ends after a close frame, an error or with the last sender.
    pub fn start(outgoing: Outgoing, tasks: &tokio_util::task::TaskTracker) -> Outbox {
        let (queue, frames) = mpsc::unbounded_channel();
        let outbox = Outbox { queue, bytes: Arc::default(), room: Arc::default() };
        tasks.spawn(write(frames, outgoing, outbox.bytes.clone(), outbox.room.clone()));
        outbox
    }

    /// Adds a frame. False if the connection is gone.
    pub fn send(&self, frame: Frame) -> bool {
        self.bytes.fetch_add(length(&frame), Ordering::AcqRel);
        self.queue.send(frame).is_ok()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Waits until nothing more can be written: the connection broke, or the other side does not read.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Waits until something was written.
    pub async fn moved(&self) {
        self.room.notified().await;
    }
}

fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Message(bytes) => bytes.len(),
        _ => 8,
    }
}

/// Writes what is ready and flushes once.
async fn write(
    mut frames: mpsc::UnboundedReceiver<Frame>,
    mut outgoing: Outgoing,
    bytes: Arc<AtomicUsize>,
    room: Arc<Notify>,
) {
    let mut ready = Vec::new();
    while frames.recv_many(&mut ready, 64).await > 0 {
        for frame in ready.drain(..) {
            let (size, last) = (length(&frame), matches!(frame, Frame::Close(..)));
            let fed = timeout(WRITE_WITHIN, outgoing.feed(frame)).await;
            bytes.fetch_sub(size, Ordering::AcqRel);
            if last || !matches!(fed, Ok(Ok(()))) {
                let _ = timeout(WRITE_WITHIN, outgoing.close()).await;
                return;
            }
        }
        if !matches!(timeout(WRITE_WITHIN, outgoing.flush()).await, Ok(Ok(()))) {
            return;
        }
        room.notify_one();
    }
}
