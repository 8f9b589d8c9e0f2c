//! One client from first frame to close. Reading and writing take turns in one task: requests are carried
//! out in their order, answers go out as they come, many to one flush. What one wake-up finds ready is
//! read, carried out and answered in one go.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::SplitStream;
use keepboth_core::limits::figure;
use keepboth_core::plugin::Credentials;
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Clients;
use super::enter;
use super::out::{CLOSE_WITHIN, Close, Out, SMALL_BYTES, Slot, Unread, write};
use super::turns::in_turns;
use super::watch::Open;
use super::write::{Sorted, WriteRequest};
use crate::gates::{Access, Gates};
use crate::protocol::{Answer, Call, Estimate, Format, Hello, NoRequest, PROTOCOL, decode_request};

/// Frames that are read before pings and the server's stop are looked at.
const READ_TOGETHER: usize = 64;
/// Pings without a sign of life from the client before it is given up.
const PINGS_UNHEARD_MAX: u32 = 2;

/// The reading side of a connection.
pub struct Connection {
    /// What all connections share.
    pub clients: Arc<Clients>,
    /// How frames are written.
    pub format: Format,
    /// Tells connections apart; writes of one lane keep their order.
    pub lane: u64,
    /// The name that the client gave, or proved.
    pub actor: Arc<str>,
    /// What it may do; None until it is asked who it is.
    access: Option<Access>,
    /// The gates by which it came in.
    gates: Arc<Gates>,
    /// Where it is.
    address: IpAddr,
    /// The way to the writer.
    pub out: mpsc::Sender<Out>,
    /// Bounds what waits for the writer in bytes, as the queue does in number.
    pub unread: Unread,
    /// The watches, the open ones and some that have ended.
    pub watches: BTreeMap<u64, Open>,
    /// The number of the next watch.
    pub next_watch: u64,
    /// Ends with this connection.
    pub stop: CancellationToken,
    /// Ends when nobody waits for answers any more.
    pub left: CancellationToken,
    /// True once it has asked for anything: what is no request is no greeting.
    greeted: bool,
    /// True once a bad frame of this connection was logged.
    complained: bool,
}

/// A client that was let in.
pub struct Entered {
    /// How it wants frames to be written.
    pub format: Format,
    /// Where it is.
    pub address: IpAddr,
    /// By which gates it came.
    pub gates: Arc<Gates>,
    /// What it may do, if it has shown who it is.
    pub access: Option<Access>,
}

/// Serves a client until it leaves or the server stops. No `async fn`, which would hold the socket twice.
pub fn run(
    clients: Arc<Clients>,
    socket: WebSocket,
    entered: Entered,
) -> impl Future<Output = ()> + Send + use<> {
    let Entered { format, address, gates, access } = entered;
    let (sink, mut stream) = socket.split();
    let (out, frames) = mpsc::channel(clients.limits.load().in_flight_max);
    let close = Arc::new(Mutex::new((1000, String::new())));
    let stop = gates.replaced().child_token();
    let unread = Unread::default();
    let mut connection = Connection {
        lane: clients.lanes.fetch_add(1, Ordering::Relaxed),
        actor: access.as_ref().and_then(Access::actor).cloned().unwrap_or("anonymous".into()),
        access,
        gates,
        address,
        unread: unread.clone(),
        watches: BTreeMap::new(),
        next_watch: 1,
        clients,
        format,
        out,
        left: stop.child_token(),
        stop: stop.clone(),
        greeted: false,
        complained: false,
    };
    async move {
        let (last, stream_in) = (close.clone(), &mut stream);
        {
            let reading = pin!(async move {
                let Err(why) = connection.read(stream_in).await;
                tracing::debug!(
                    lane = connection.lane,
                    code = why.0,
                    reason = why.1,
                    "client left"
                );
                *close.lock().unwrap_or_else(PoisonError::into_inner) = why;
                connection.watches.values().for_each(|watch| watch.stop.cancel());
                connection.left.cancel();
                // The writing ends when the last answer under way has been given.
                drop(connection);
            });
            // In this order: what was just read is answered without another wake-up.
            in_turns(reading, pin!(write(sink, frames, unread, format, last, stop))).await;
        }
        // The close frame is lost if the socket is dropped with unread input.
        let rest = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = timeout(CLOSE_WITHIN, rest).await;
    }
}

impl Connection {
    /// Reads until the connection is to be closed.
    async fn read(&mut self, stream: &mut SplitStream<WebSocket>) -> Result<Infallible, Close> {
        let limits = self.clients.limits.load_full();
        let opened = Instant::now();
        let mut stopped = pin!(self.stop.clone().cancelled_owned());
        // Pings since the client was heard of last.
        let mut unheard = 0;
        let mut pings = interval(limits.ping_every.into());
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut greeting = Box::pin(tokio::time::sleep(limits.hello_within.into()));
        // True if this poll of the task has found the stream without a message: then it will wake the task, and to
        // look again at once would find nothing once more.
        let mut looked = false;
        loop {
            let message = poll_fn(|context| match std::mem::take(&mut looked) {
                true => Poll::Pending,
                false => stream.poll_next_unpin(context),
            });
            let message = tokio::select! {
                biased;
                () = &mut stopped => return Err(self.stopped()),
                // Before what the client sends: one that is never silent is looked at all the same.
                _ = pings.tick() => {
                    if unheard >= PINGS_UNHEARD_MAX {
                        return Err((4001, "two pings were not answered".into()));
                    }
                    // Requests are refused one by one; watches end with the connection.
                    self.access().check().map_err(|refusal| (4002, refusal.message))?;
                    unheard += 1;
                    // A full queue is a sign of life of its own.
                    let _ = self.out.try_send(Out::Ping);
                    continue;
                }
                message = message => message,
                () = &mut greeting, if !self.greeted => {
                    let words = format!("no request within {} s", opened.elapsed().as_secs());
                    return Err((4501, words));
                }
            };
            unheard = 0;
            // Boxed, so that a connection without requests does not hold what carrying them out takes.
            looked = Box::pin(self.on_messages(stream, message)).await?;
        }
    }

    fn stopped(&self) -> Close {
        match self.clients.stop.is_cancelled() {
            true => (4000, "the server is shutting down".into()),
            false if self.gates.replaced().is_cancelled() => {
                (4002, "the rules of access have changed; connect again".into())
            }
            false => (4001, "the client does not read".into()),
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

    /// Takes a message, and then the others that have come with it; true if the stream will wake the task when
    /// there are more.
    async fn on_messages(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        mut message: Option<Result<Message, axum::Error>>,
    ) -> Result<bool, Close> {
        let mut taken = 0;
        loop {
            let frame = match message {
                Some(Ok(Message::Text(text))) => Some(Bytes::from(text)),
                Some(Ok(Message::Binary(bytes))) => Some(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
                Some(Ok(Message::Close(_))) | None => return Err((1000, String::new())),
                Some(Err(error)) => return Err(self.broken(&error.to_string())),
            };
            if let Some(frame) = frame {
                self.on_frame(&frame).await?;
            }
            taken += 1;
            if taken == READ_TOGETHER {
                return Ok(false);
            }
            match poll_immediate(stream.next()).await {
                Some(next) => message = next,
                // Without budget the runtime does not let it look, and nobody else wakes the task.
                None => return Ok(has_budget_remaining()),
            }
        }
    }

    async fn on_frame(&mut self, frame: &Bytes) -> Result<(), Close> {
        let slot = self.slot().await?;
        let limit = self.clients.limits.load().frame_bytes_max.get();
        if frame.len() > limit {
            let (size, limit) = (figure(frame.len()), figure(limit));
            let words = format!("the frame is {size} bytes, the limit is {limit} bytes");
            let refusal = Refusal::new(Code::FrameTooLarge, words);
            self.refuse(slot, NoRequest { id: None, method: None, refusal });
            return Ok(());
        }
        match decode_request(self.format, frame) {
            Ok(request) => {
                self.greeted = true;
                self.clients.metrics.request(request.call.method());
                self.carry_out(request.id, request.call, slot).await;
            }
            Err(why) => self.refuse(slot, why),
        }
        Ok(())
    }

    /// Room for an answer; while there is none the client is not read from.
    async fn slot(&self) -> Result<Slot, Close> {
        let gone = || (1006, "the connection is gone".to_owned());
        let out = match self.out.clone().try_reserve_owned() {
            Ok(slot) => return Ok(slot),
            Err(TrySendError::Closed(_)) => return Err(gone()),
            Err(TrySendError::Full(out)) => out,
        };
        tokio::select! {
            slot = out.reserve_owned() => slot.map_err(|_| gone()),
            () = self.stop.cancelled() => Err(self.stopped()),
        }
    }

    /// Refuses a frame that is no request. The log has the first of each connection, the metrics all. What
    /// the frame holds, and so the words of the refusal, may be secret: the log has neither, and of names
    /// only one that was proven.
    fn refuse(&mut self, slot: Slot, NoRequest { id, method, refusal }: NoRequest) {
        self.clients.metrics.refused(refusal.code);
        if !self.complained {
            self.complained = true;
            let (actor, code) = (self.access().actor().map(|name| &**name), refusal.code);
            tracing::warn!(client = self.lane, actor, method, "bad frame: {code}");
        }
        slot.send(match id {
            Some(id) => Out::Answer(id, Err(refusal)),
            None => Out::Refused(refusal),
        });
    }

    async fn carry_out(&mut self, id: u64, call: Call, slot: Slot) {
        let known = self.ask_who(&call).await;
        if let Err(refusal) = known.and_then(|()| self.clients.authorize(self.access(), &call)) {
            return self.answer(slot, id, Err(refusal));
        }
        let call = match WriteRequest::sort(call) {
            Sorted::Write(request) => return self.write(id, request, slot).await,
            Sorted::Other(call) => call,
        };
        let outcome = match call {
            Call::Watch { .. } => return self.watch(id, call, slot),
            Call::HookLog { .. } => return self.hook_log(id, call, slot).await,
            Call::Unwatch { sub } => self.unwatch(sub).await,
            Call::Hello { client, version, .. } => self.hello(client, version),
            Call::Status { ns } => {
                self.clients.status(ns.as_ref(), self.access()).map(Answer::Status)
            }
            Call::NsInfo { ns } => {
                self.clients.ns_info(&ns).map(|info| Answer::NsInfo(info.into()))
            }
            Call::Query { .. } | Call::Plugin { .. } => return self.ask_plugin(id, call, slot),
            Call::NsAdd { .. }
            | Call::NsRm { .. }
            | Call::Reload
            | Call::Purge { .. }
            | Call::Judge { .. }
            | Call::QuarantineRetry { .. }
            | Call::Acks { .. }
            | Call::PeerInvite { .. }
            | Call::PeerAdd { .. }
            | Call::PeerRm { .. } => return self.manage(id, call, slot),
            call => self.clients.read(call),
        };
        match outcome {
            Ok(answer) => self.answer_read(slot, id, answer).await,
            refused => self.answer(slot, id, refused),
        }
    }

    /// What the client may do, as far as it was asked who it is.
    fn access(&self) -> &Access {
        self.access.as_ref().unwrap_or(&Access::Unknown)
    }

    /// Finds out who the client is before its first request, and again if its hello has a token.
    async fn ask_who(&mut self, call: &Call) -> Result<(), Refusal> {
        let token = match call {
            Call::Hello { token, .. } => token.clone(),
            _ => None,
        };
        if self.access.is_none() || token.is_some() {
            let credentials = Credentials { token, address: self.address };
            let access = enter::who(&self.gates, credentials).await?;
            if let Some(actor) = access.actor() {
                self.actor = actor.clone();
            }
            self.access = Some(access);
        }
        Ok(())
    }

    /// Gives an answer when there is room for its bytes; until then the client is not read from.
    pub async fn answer_read(&self, slot: Slot, id: u64, answer: Answer) {
        if answer.bytes_estimate() <= SMALL_BYTES {
            return self.answer(slot, id, Ok(answer));
        }
        tokio::select! {
            biased;
            out = self.unread.sized(id, Ok(answer)) => { slot.send(out); }
            // The writer has given up: nobody will read it.
            () = self.out.closed() => {}
        }
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
        if let (Some(client), None) = (client, self.access().actor()) {
            self.actor = client.into();
        }
        let access = self.access();
        Ok(Answer::Hello(Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            node: self.clients.node,
            twin: self.clients.has_twin(),
            namespaces: self
                .clients
                .namespaces
                .all()
                .keys()
                .filter(|name| access.knows(name))
                .cloned()
                .collect(),
            limits: self.clients.limits_info(),
        }))
    }

    async fn unwatch(&mut self, sub: u64) -> Result<Answer, Refusal> {
        let words = || format!("this connection has no watch {sub}");
        let watch = self.watches.remove(&sub);
        watch.ok_or_else(|| Refusal::new(Code::NotFound, words()))?.end().await;
        Ok(Answer::Unwatch)
    }
}
