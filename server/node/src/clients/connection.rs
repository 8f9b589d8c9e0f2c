//! One client from first frame to close. A reading and a writing task run side by side: requests are
//! carried out in their order, answers go out as they come, many to one flush.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use keepboth_core::limits::figure;
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Clients;
use super::write::{Sorted, WriteRequest};
use crate::protocol::{
    ANSWER_BYTES, Answer, Call, Format, Hello, PROTOCOL, decode_request, encode_answer,
};

/// How long writing one group of frames may take before the client is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Frames that are written with one flush.
const WRITE_TOGETHER: usize = 256;
/// How long the other side has to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What goes out.
pub enum Out {
    /// The answer to a request.
    Answer(u64, Result<Answer, Refusal>),
    /// A refusal of a frame whose id could not be read.
    Refused(Refusal),
    /// A pushed frame, encoded.
    Pushed(Bytes),
    /// A ping.
    Ping,
}

/// Room for one answer, taken before the request is carried out: so answers never wait for room.
pub type Slot = mpsc::OwnedPermit<Out>;

/// Why a connection ends: a close code and words.
type Close = (u16, String);

/// The reading side of a connection.
pub struct Connection {
    /// What all connections share.
    pub clients: Arc<Clients>,
    /// How frames are written.
    pub format: Format,
    /// Tells connections apart; writes of one lane keep their order.
    pub lane: u64,
    /// The name that the client gave.
    pub actor: Arc<str>,
    /// The way to the writer.
    pub out: mpsc::Sender<Out>,
    /// The open watches, each with what ends it.
    pub watches: BTreeMap<u64, CancellationToken>,
    /// The number of the next watch.
    pub next_watch: u64,
    /// Ends with this connection.
    pub stop: CancellationToken,
    /// True once a bad frame of this connection was logged.
    complained: bool,
}

/// Serves a client until it leaves or the server stops.
pub async fn run(clients: Arc<Clients>, socket: WebSocket, format: Format) {
    let (sink, stream) = socket.split();
    let (out, frames) = mpsc::channel(clients.limits.in_flight_max);
    let close = Arc::new(Mutex::new((1000, String::new())));
    let stop = clients.stop.child_token();
    let writer = clients.tasks.spawn(write(sink, frames, format, close.clone(), stop.clone()));
    let mut connection = Connection {
        lane: clients.lanes.fetch_add(1, Ordering::Relaxed),
        actor: "anonymous".into(),
        watches: BTreeMap::new(),
        next_watch: 1,
        clients,
        format,
        out,
        stop,
        complained: false,
    };
    let mut stream = stream;
    let why = connection.read(&mut stream).await;
    tracing::debug!(lane = connection.lane, code = why.0, reason = why.1, "client left");
    *close.lock().unwrap_or_else(PoisonError::into_inner) = why;
    connection.watches.values().for_each(CancellationToken::cancel);
    // The writer ends when the last answer under way has been given.
    drop(connection);
    let _ = writer.await;
    // The close frame is lost if the socket is dropped with unread input.
    let _ = timeout(CLOSE_WITHIN, async { while let Some(Ok(_)) = stream.next().await {} }).await;
}

impl Connection {
    async fn read(&mut self, stream: &mut SplitStream<WebSocket>) -> Close {
        let limits = self.clients.limits.clone();
        let ping_every: Duration = limits.ping_every.into();
        let (opened, server_stops, stop) =
            (Instant::now(), self.clients.stop.clone(), self.stop.clone());
        let (mut heard, mut greeted) = (Instant::now(), false);
        let mut pings = interval(ping_every);
        let mut greeting = Box::pin(tokio::time::sleep(limits.hello_within.into()));
        loop {
            let message = tokio::select! {
                biased;
                () = server_stops.cancelled() => return (4000, "the server is shutting down".into()),
                () = stop.cancelled() => return (4001, "the client does not read".into()),
                message = stream.next() => message,
                () = &mut greeting, if !greeted => {
                    let words = format!("no frame within {} s", opened.elapsed().as_secs());
                    return (4501, words);
                }
                _ = pings.tick() => {
                    if heard.elapsed() > ping_every * 2 {
                        return (4001, "two pings were not answered".into());
                    }
                    // A full queue is a sign of life of its own.
                    let _ = self.out.try_send(Out::Ping);
                    continue;
                }
            };
            heard = Instant::now();
            let frame = match message {
                Some(Ok(Message::Text(text))) => Bytes::from(text),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) | None => return (1000, String::new()),
                Some(Err(error)) => return self.broken(&error.to_string()),
            };
            greeted = true;
            if let Err(close) = self.on_frame(&frame).await {
                return close;
            }
        }
    }

    fn broken(&self, error: &str) -> Close {
        let code = if error.contains("too long") || error.contains("too large") {
            1009
        } else if error.contains("UTF-8") || error.contains("utf-8") {
            1007
        } else {
            1002
        };
        self.clients.metrics.refused(Code::BadFrame);
        (code, error.chars().take(100).collect())
    }

    async fn on_frame(&mut self, frame: &Bytes) -> Result<(), Close> {
        let slot = tokio::select! {
            slot = self.out.clone().reserve_owned() => slot,
            () = self.stop.cancelled() => return Err((4001, "the client does not read".into())),
        };
        let slot = slot.map_err(|_| (1006, "the connection is gone".to_owned()))?;
        let limit = self.clients.limits.frame_bytes_max.get();
        if frame.len() > limit {
            let (size, limit) = (figure(frame.len()), figure(limit));
            let words = format!("the frame is {size} bytes, the limit is {limit} bytes");
            self.refuse(slot, None, Refusal::new(Code::FrameTooLarge, words));
            return Ok(());
        }
        match decode_request(self.format, frame) {
            Ok(request) => {
                self.clients.metrics.request(request.call.method());
                self.carry_out(request.id, request.call, slot).await;
            }
            Err((id, refusal)) => self.refuse(slot, id, refusal),
        }
        Ok(())
    }

    /// Refuses a frame that is no request. The log has the first of each connection, the metrics all.
    fn refuse(&mut self, slot: Slot, id: Option<u64>, refusal: Refusal) {
        self.clients.metrics.refused(refusal.code);
        if !self.complained {
            self.complained = true;
            tracing::warn!(client = self.lane, actor = ?self.actor, "bad frame: {refusal}");
        }
        slot.send(match id {
            Some(id) => Out::Answer(id, Err(refusal)),
            None => Out::Refused(refusal),
        });
    }

    async fn carry_out(&mut self, id: u64, call: Call, slot: Slot) {
        let call = match WriteRequest::sort(call) {
            Sorted::Write(request) => return self.write(id, request, slot).await,
            Sorted::Other(call) => call,
        };
        let outcome = match call {
            Call::Watch { .. } => return self.watch(id, call, slot),
            Call::Unwatch { sub } => self.unwatch(sub),
            Call::Hello { client, version, .. } => self.hello(client, version),
            Call::Status { ns } => self.clients.status(ns.as_ref()).map(Answer::Status),
            call => self.clients.read(call),
        };
        self.answer(slot, id, outcome);
    }

    /// Gives the answer of what needs no commit.
    pub fn answer(&self, slot: Slot, id: u64, outcome: Result<Answer, Refusal>) {
        if let Err(refusal) = &outcome {
            self.clients.metrics.refused(refusal.code);
        }
        slot.send(Out::Answer(id, outcome));
    }

    fn hello(&mut self, client: Option<String>, version: Option<u32>) -> Result<Answer, Refusal> {
        let (asked, spoken) = (version.unwrap_or(PROTOCOL), PROTOCOL);
        if asked != spoken {
            let words = format!("this server speaks version {spoken} of the protocol, not {asked}");
            return Err(Refusal::new(Code::Unsupported, words));
        }
        if let Some(client) = client {
            self.actor = client.into();
        }
        Ok(Answer::Hello(Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.clients.node,
            namespaces: self.clients.spaces.keys().cloned().collect(),
            limits: self.clients.limits_info(),
        }))
    }

    fn unwatch(&mut self, sub: u64) -> Result<Answer, Refusal> {
        let words = || format!("this connection has no watch {sub}");
        let watch = self.watches.remove(&sub);
        watch.ok_or_else(|| Refusal::new(Code::NotFound, words()))?.cancel();
        Ok(Answer::Unwatch)
    }
}

/// The writing side: encodes what is ready, feeds it, and flushes once.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut frames: mpsc::Receiver<Out>,
    format: Format,
    close: Arc<Mutex<Close>>,
    stop: CancellationToken,
) {
    let mut ready = Vec::with_capacity(WRITE_TOGETHER);
    while frames.recv_many(&mut ready, WRITE_TOGETHER).await > 0 {
        let written = timeout(WRITE_WITHIN, write_group(&mut sink, &mut ready, format)).await;
        if !matches!(written, Ok(Ok(()))) {
            // Slow or gone: nobody is waited for. What is not answered may have been done.
            stop.cancel();
            return;
        }
    }
    let (code, reason) = close.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(CLOSE_WITHIN, sink.send(frame)).await;
}

async fn write_group(
    sink: &mut SplitSink<WebSocket, Message>,
    ready: &mut Vec<Out>,
    format: Format,
) -> Result<(), axum::Error> {
    for out in ready.drain(..) {
        let mut bytes = Vec::with_capacity(ANSWER_BYTES);
        let bytes = match out {
            Out::Answer(id, outcome) => {
                encode_answer(format, Some(id), &outcome, &mut bytes);
                bytes.into()
            }
            Out::Refused(refusal) => {
                encode_answer(format, None, &Err(refusal), &mut bytes);
                bytes.into()
            }
            Out::Pushed(bytes) => bytes,
            Out::Ping => {
                sink.feed(Message::Ping(Bytes::new())).await?;
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
        sink.feed(message).await?;
    }
    sink.flush().await
}
