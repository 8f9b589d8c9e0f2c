//! One connection to another node, from greeting to close: it carries frames, commits and time to the
//! session, and what the session wants to the socket and the stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use keepboth_core::ids::NodeId;
use keepboth_core::limits::figure;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Input, Output, Received, Session, Ticket};
use keepboth_core::version::Event;
use keepboth_core::wire::{ConflictNote, ConflictSide, Message, Space as WireSpace};
use keepboth_store::{KeyChange, Raised, Task};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::replica::Stores;
use super::socket::{Frame, Incoming, Outbox, Outgoing};
use super::{Mesh, one_line};
use crate::clock;
use crate::namespace::news::News;
use crate::namespace::state::PeerStanding;

/// How often the session is told of the time.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of histories that are prepared at once.
const BULK_BYTES: usize = 512 * 1024;
/// Bytes that may wait before no more histories are prepared.
const BULK_WAITING_MAX: usize = 1024 * 1024;
/// Messages whose events are with the stores; beyond it the socket is not read.
const APPLYING_MAX: usize = 64;
/// How long the other side has to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// From this close code on there is no use in connecting again soon.
const REJECTED: u16 = 4_500;

/// A connection to another node.
pub struct Link {
    /// Tells links of one process apart.
    pub number: u64,
    /// Where it was dialled; None if the other side did.
    pub url: Option<String>,
    /// Ends this link.
    pub stop: CancellationToken,
    mesh: Arc<Mesh>,
    session: Session,
    outbox: Outbox,
    applied: mpsc::UnboundedSender<Input>,
    applying: usize,
    peer: Option<NodeId>,
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// This node stops.
    Stopping,
    /// Another link to the same node stays.
    Duplicate,
    /// The other side closed, or the connection broke.
    Lost(String),
    /// The other side closed it for good: to try again soon is of no use.
    Rejected(String),
    /// This node closed it for what the other side sent.
    Refused(Refusal),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Stopping => f.write_str("this node is stopping"),
            End::Duplicate => f.write_str("another connection to the same node stays"),
            End::Lost(why) | End::Rejected(why) => f.write_str(why),
            End::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// Runs a link until it ends; tells who was there and why it ended.
pub async fn run(
    mesh: Arc<Mesh>,
    url: Option<String>,
    (mut incoming, outgoing): (Incoming, Outgoing),
) -> (Option<NodeId>, End) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (applied, mut results) = mpsc::unbounded_channel();
    let spaces = mesh
        .spaces
        .values()
        .map(|space| WireSpace { namespace: space.name.clone(), store: space.id() });
    let compare_every = u64::try_from(mesh.rules.compare_every.as_millis()).unwrap_or(u64::MAX);
    let agent = concat!("keepboth/", env!("CARGO_PKG_VERSION"));
    let mut link = Link {
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
        url,
        stop: mesh.stop.child_token(),
        session: Session::new(mesh.node, agent, spaces.collect(), compare_every),
        outbox: Outbox::start(outgoing, &mesh.tasks),
        mesh,
        applied,
        applying: 0,
        peer: None,
    };
    let end = link.talk(&mut incoming, &mut results).await;
    link.say_goodbye(&end);
    // What was said last is lost if the socket is dropped with unread input.
    let rest = async { while let Some(Ok(_)) = incoming.next().await {} };
    let _ = timeout(CLOSE_WITHIN, rest).await;
    (link.session.peer().map(|peer| peer.node), end)
}

impl Link {
    async fn talk(
        &mut self,
        incoming: &mut Incoming,
        results: &mut mpsc::UnboundedReceiver<Input>,
    ) -> End {
        let (commits, mut news) = mpsc::channel(64);
        let _listeners = listen(&self.mesh, &commits);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(self.mesh.rules.ping_every);
        let (stop, started) = (self.stop.clone(), Instant::now());
        let mut heard = Instant::now();
        loop {
            if let Err(end) = self.carry_out().await {
                return end;
            }
            let outbox = self.outbox.clone();
            let may_read = self.applying < APPLYING_MAX
                && outbox.bytes() <= 2 * self.mesh.rules.outbox_bytes_max;
            let bulk_waits = self.session.has_bulk();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    let whole = self.mesh.stop.is_cancelled();
                    return if whole { End::Stopping } else { End::Duplicate };
                }
                Some(input) = results.recv() => {
                    self.applying -= 1;
                    self.handle(input);
                }
                Some((namespace, commit)) = news.recv() => self.on_commit(&namespace, &commit),
                frame = incoming.next(), if may_read => {
                    heard = Instant::now();
                    if let Err(end) = self.on_frame(frame) {
                        return end;
                    }
                }
                () = outbox.moved(), if bulk_waits => {}
                () = outbox.closed() => {
                    return End::Lost("nothing more can be sent: the peer is gone or reads nothing".into());
                }
                _ = ticks.tick() => {
                    self.handle(Input::Tick);
                    if self.peer.is_none() && started.elapsed() > self.mesh.rules.hello_within {
                        return End::Lost("the other side did not greet in time".into());
                    }
                    if may_read && heard.elapsed() > self.mesh.rules.ping_every * 2 {
                        return End::Lost("two pings were not answered".into());
                    }
                }
                _ = pings.tick() => { self.outbox.send(Frame::Ping); }
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, &Stores(&self.mesh.spaces), clock::steady());
    }

    fn on_frame(&mut self, frame: Option<Result<Frame, String>>) -> Result<(), End> {
        match frame {
            Some(Ok(Frame::Message(bytes))) => match Message::decode(&bytes) {
                Ok(message) => {
                    self.handle(Input::Message(message));
                    Ok(())
                }
                Err(refusal) => Err(self.refuse(&refusal)),
            },
            Some(Ok(Frame::Ping | Frame::Alive)) => Ok(()),
            Some(Ok(Frame::Stray(what))) => {
                let words = format!("{what}; nodes speak binary messages only");
                Err(self.refuse(&Refusal::new(Code::BadFrame, words)))
            }
            Some(Ok(Frame::Close(code, reason))) => {
                let words = format!("the peer closed: {code} {reason}");
                Err(if code < REJECTED { End::Lost(words) } else { End::Rejected(words) })
            }
            Some(Err(error)) => Err(End::Lost(error)),
            None => Err(End::Lost("the connection ended".into())),
        }
    }

    /// Tells the peer why, and counts it.
    fn refuse(&mut self, refusal: &Refusal) -> End {
        self.mesh.metrics.peer_refused(refusal.code);
        let (code, message) = (refusal.code.as_str().to_owned(), refusal.message.clone());
        self.outbox.send(Frame::Message(Message::Refused { code, message }.encode().into()));
        End::Refused(refusal.clone())
    }

    fn on_commit(&mut self, namespace: &Namespace, commit: &News) {
        let News::Commit(published) = commit else { return };
        let commit = &published.commit;
        let made: Vec<Event> = commit
            .changes
            .iter()
            .filter(|change| change.local)
            .flat_map(|change| change.made.iter().cloned())
            .collect();
        if !made.is_empty() {
            self.handle(Input::Made {
                namespace: namespace.clone(),
                sequence: commit.counts.last_sequence,
                root: commit.root,
                events: made,
                room: self.outbox.bytes() < self.mesh.rules.outbox_bytes_max,
            });
        }
        for raised in
            commit.changes.iter().filter_map(|change: &KeyChange| change.conflict.as_ref())
        {
            let first =
                self.mesh.spaces.get(namespace).is_some_and(|space| !space.heard(&raised.id));
            if first {
                self.handle(Input::Conflict(note(namespace, raised)));
            }
        }
    }

    /// Does what the session wants, until it wants nothing more.
    async fn carry_out(&mut self) -> Result<(), End> {
        loop {
            let outputs = self.session.take();
            if outputs.is_empty() {
                if !self.session.has_bulk() || self.outbox.bytes() > BULK_WAITING_MAX {
                    break;
                }
                self.session.more(&Stores(&self.mesh.spaces), BULK_BYTES);
                continue;
            }
            for output in outputs {
                self.carry_out_one(output).await?;
            }
        }
        self.greet()?;
        self.publish(true);
        Ok(())
    }

    async fn carry_out_one(&mut self, output: Output) -> Result<(), End> {
        match output {
            Output::Send(message) => {
                if !self.outbox.send(Frame::Message(message.encode().into())) {
                    return Err(End::Lost("the connection ended".into()));
                }
            }
            Output::Apply { ticket, events } => self.apply(ticket, events).await?,
            Output::Heard(conflict) => {
                self.mesh.spaces.values().for_each(|space| space.hear(conflict));
            }
            Output::Warn(words) => {
                self.mesh.metrics.peer_warnings.inc();
                tracing::warn!(peer = %self.name(), "{}", one_line(&words));
            }
            Output::Close(refusal) => return Err(self.refuse(&refusal)),
        }
        Ok(())
    }

    async fn apply(&mut self, ticket: Ticket, events: Vec<Event>) -> Result<(), End> {
        let Some(space) = self.mesh.spaces.get(&ticket.namespace).cloned() else { return Ok(()) };
        let keys = events.iter().map(|event| event.key.clone()).collect();
        self.applying += 1;
        let applied = self.applied.clone();
        let done = Box::new(move |outcome: Result<Vec<Received>, Refusal>| {
            let outcomes = outcome.unwrap_or_else(|refusal| vec![Received::Refused(refusal)]);
            let _ = applied.send(Input::Applied { ticket, keys, outcomes });
        });
        let task = Task::Remote { events, done };
        let sent = space.store.submit(task).await;
        sent.map_err(|_| End::Stopping)
    }

    /// Enters the mesh once the peer has greeted.
    fn greet(&mut self) -> Result<(), End> {
        let (None, Some(peer)) = (self.peer, self.session.peer()) else { return Ok(()) };
        let node = peer.node;
        if !self.mesh.enter(node, self) {
            return Err(End::Duplicate);
        }
        self.peer = Some(node);
        tracing::info!(peer = %self.name(), agent = peer.agent, "connected");
        if let Some(url) = &self.url {
            self.mesh.note(url, |info| {
                (info.node, info.error) = (Some(node), None);
            });
        }
        Ok(())
    }

    /// Shows every namespace where this peer stands, or that it is gone.
    fn publish(&self, connected: bool) {
        let Some(node) = self.peer else { return };
        self.mesh.if_current(node, self.number, || self.set_standings(node, connected));
    }

    fn set_standings(&self, node: NodeId, connected: bool) {
        for (namespace, standing) in self.session.standings(&Stores(&self.mesh.spaces)) {
            if let Some(space) = self.mesh.spaces.get(&namespace) {
                let standing = PeerStanding { standing, url: self.url.clone() };
                space.set_peer(node, connected.then_some(standing));
            }
        }
    }

    fn say_goodbye(&mut self, end: &End) {
        let (code, reason) = match end {
            End::Stopping => (4000, "shutting down"),
            End::Duplicate => (4003, "another connection to this node stays"),
            End::Refused(refusal) if refusal.code == Code::Unsupported => {
                (4500, "no common protocol version; the last message says more")
            }
            End::Refused(_) => (4502, "refused; the last message says why"),
            End::Lost(_) | End::Rejected(_) => (1000, ""),
        };
        self.outbox.send(Frame::Close(code, reason.into()));
        self.publish(false);
        if let Some(node) = self.peer {
            self.mesh.leave(node, self.number);
        }
        let (why, waiting) = (one_line(&end.to_string()), figure(self.outbox.bytes()));
        tracing::info!(peer = %self.name(), waiting, "link ended: {why}");
    }

    fn name(&self) -> String {
        match (&self.peer, &self.url) {
            (Some(node), _) => node.to_string()[..8].to_owned(),
            (None, Some(url)) => url.clone(),
            (None, None) => "unknown".to_owned(),
        }
    }
}

/// Forwards what happens in every namespace. A link that lags misses commits; the next comparison of
/// digests finds what they held.
fn listen(mesh: &Mesh, commits: &mpsc::Sender<(Namespace, Arc<News>)>) -> JoinSet<()> {
    let mut listeners = JoinSet::new();
    for space in mesh.spaces.values() {
        let (mut news, name, commits) = (space.listen(), space.name.clone(), commits.clone());
        listeners.spawn(async move {
            loop {
                match news.recv().await {
                    Ok(commit) => {
                        if commits.send((name.clone(), commit)).await.is_err() {
                            return;
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
    listeners
}

fn note(namespace: &Namespace, raised: &Raised) -> ConflictNote {
    ConflictNote {
        namespace: namespace.clone(),
        key: raised.key.clone(),
        id: raised.id,
        base: raised.base,
        sides: raised
            .sides
            .iter()
            .map(|side| ConflictSide {
                version: side.version,
                branch: side.address.branch,
                origin: side.origin,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::{SinkExt, sink, stream};
    use keepboth_core::wire::{Hello, PROTOCOL};

    use super::super::Rules;
    use super::*;
    use crate::metrics::Metrics;

    fn mesh() -> Arc<Mesh> {
        let long = Duration::from_secs(3_600);
        let rules = Rules {
            reconnect_min: long,
            reconnect_max: long,
            compare_every: long,
            outbox_bytes_max: 1,
            ping_every: long,
            hello_within: long,
        };
        let (node, metrics) = (NodeId([1; 32]), Arc::new(Metrics::default()));
        Mesh::new(node, BTreeMap::new(), rules, CancellationToken::new(), metrics)
    }

    #[tokio::test]
    async fn a_link_to_a_peer_that_takes_nothing_more_ends_although_the_peer_goes_on_living() {
        let hello = Message::Hello(Hello {
            protocol: PROTOCOL,
            protocol_min: PROTOCOL,
            node: NodeId([2; 32]),
            agent: "a test".into(),
            spaces: Vec::new(),
        });
        let greeting = stream::iter([Ok(Frame::Message(hello.encode().into()))]);
        let incoming = Box::pin(greeting.chain(stream::pending()));
        let outgoing = sink::unfold((), |(), _: Frame| async { Err("broken".to_owned()) });
        let link = run(mesh(), None, (incoming, Box::pin(outgoing)));
        let ended = timeout(Duration::from_secs(10), link).await;
        let (peer, end) = ended.expect("an end in time");
        assert!(matches!(end, End::Lost(_)), "{end} {peer:?}");
    }

    #[test]
    fn a_link_that_was_replaced_says_no_more_where_the_peer_stands() {
        let (mesh, peer) = (mesh(), NodeId([2; 32]));
        let link = |number| {
            let mesh = mesh.clone();
            let outgoing = sink::drain().sink_map_err(|never| match never {});
            let outbox = Outbox::start(Box::pin(outgoing), &mesh.tasks);
            Link {
                number,
                url: None,
                stop: CancellationToken::new(),
                session: Session::new(mesh.node, "a test", Vec::new(), 1),
                outbox,
                mesh,
                applied: mpsc::unbounded_channel().0,
                applying: 0,
                peer: None,
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _inside = runtime.enter();
        let (old, new) = (link(1), link(2));
        assert!(mesh.enter(peer, &old) && mesh.enter(peer, &new));
        assert!(old.stop.is_cancelled() && !new.stop.is_cancelled());
        mesh.leave(peer, 1);
        let (mut by_old, mut by_new) = (false, false);
        mesh.if_current(peer, 1, || by_old = true);
        mesh.if_current(peer, 2, || by_new = true);
        assert!(!by_old && by_new);
        mesh.leave(peer, 2);
        assert!(!mesh.is_connected(&peer));
    }
}
