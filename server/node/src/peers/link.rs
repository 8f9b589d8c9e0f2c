//! One connection to another node, from greeting to close: it carries frames, commits and time to the
//! session, and what the session wants to the socket and the stores.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use keepboth_core::ids::NodeId;
use keepboth_core::mesh::Notes;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Input, Session, Setup, Side};
use keepboth_core::wire::Message;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Mesh;
use super::ask::Question;
use super::replica::Stores;
use super::socket::{Frame, Incoming, Outbox, Outgoing};
use crate::clock;
use crate::namespace::Spaces;
use crate::namespace::news::News;
use crate::namespace::state::PeerStanding;

/// What the store's news become for a peer.
mod tell;
/// What a session wants of the stores.
mod store;
/// What a session wants of all else.
mod wants;
/// A peer that makes no progress.
mod stalled;
/// Why a link ends, and what is said then.
mod end;
#[cfg(test)]
mod tests;

pub use end::End;

/// How often the session is told of the time.
const TICK: Duration = Duration::from_millis(50);
/// Bytes of histories that are prepared at once.
const BULK_BYTES: usize = 512 * 1024;
/// Bytes that may wait before no more histories are prepared.
const BULK_WAITING_MAX: usize = 1024 * 1024;
/// Messages whose events are with the stores; beyond it the socket is not read.
const APPLYING_MAX: usize = 64;
/// Orders of the mesh that may wait; a link that cannot take any more is ended.
const ORDERS_MAX: usize = 1_024;
/// Questions to the peer that are not answered.
const QUESTIONS_MAX: usize = 1_024;
/// How long the other side has to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// The close code of a link of which there is another one.
const DUPLICATE: u16 = 4_003;
/// From this close code on there is no use in connecting again soon.
const REJECTED: u16 = 4_500;

/// What the mesh wants of a link.
#[derive(Debug)]
pub enum Order {
    /// Pass on what is new of the mesh.
    Tell(Notes),
    /// Ask the peer whether it has a version.
    Ask(Question),
    /// The peer's rights, or what this node has, have changed: both greet anew.
    GreetAnew,
    /// The peer was removed from the mesh.
    Remove,
}

/// How a connection came about.
#[derive(Debug)]
pub struct Opening {
    /// Where it was dialled; None if the other side did.
    pub url: Option<String>,
    /// Which side this node is.
    pub side: Side,
    /// Where the other side is.
    pub address: Option<IpAddr>,
    /// What binds the connection, with TLS.
    pub binding: Option<[u8; 32]>,
    /// Ends the link.
    pub stop: CancellationToken,
}

/// A connection to another node.
pub struct Link {
    /// Tells links of one process apart.
    pub number: u64,
    /// Where it was dialled; None if the other side did.
    pub url: Option<String>,
    /// Ends this link.
    pub stop: CancellationToken,
    /// Takes what the mesh wants.
    pub orders: mpsc::Sender<Order>,
    /// The namespaces that the peer was granted when it was admitted; None for all.
    pub granted: Option<Vec<Namespace>>,
    mesh: Arc<Mesh>,
    /// The namespaces that peers might have when the link began.
    spaces: Arc<Spaces>,
    session: Session,
    outbox: Outbox,
    inviter: Option<NodeId>,
    /// How many notes were passed on before the peer was told all.
    noted: u64,
    address: Option<IpAddr>,
    applied: mpsc::UnboundedSender<Input>,
    applying: usize,
    questions: BTreeMap<u64, oneshot::Sender<bool>>,
    asked: u64,
    heard: Instant,
    pinged: Option<Instant>,
    peer: Option<NodeId>,
}

/// Runs a link until it ends; tells who was there and why it ended.
pub async fn run(
    mesh: Arc<Mesh>,
    opening: Opening,
    (mut incoming, outgoing): (Incoming, Outgoing),
) -> (Option<NodeId>, End) {
    let (applied, mut results) = mpsc::unbounded_channel();
    let (orders, mut ordered) = mpsc::channel(ORDERS_MAX);
    let mut link = match Link::new(mesh, opening, outgoing, applied, orders) {
        Ok(link) => link,
        Err(why) => return (None, End::Lost(why)),
    };
    let end = link.talk(&mut incoming, &mut results, &mut ordered).await;
    link.say_goodbye(&end);
    // What was said last is lost if the socket is dropped with unread input.
    let rest = async { while let Some(Ok(_)) = incoming.next().await {} };
    let _ = timeout(CLOSE_WITHIN, rest).await;
    (link.session.node(), end)
}

impl Link {
    fn new(
        mesh: Arc<Mesh>,
        opening: Opening,
        outgoing: Outgoing,
        applied: mpsc::UnboundedSender<Input>,
        orders: mpsc::Sender<Order>,
    ) -> Result<Link, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| format!("no randomness: {error}"))?;
        let inviter = match &opening.side {
            Side::Dialled { token: Some(token), .. } => Some(token.inviter),
            _ => None,
        };
        let compare_every = u64::try_from(mesh.rules.compare_every.as_millis()).unwrap_or(u64::MAX);
        let session = Session::new(Setup {
            key: mesh.me.key.clone(),
            instance: mesh.me.instance,
            agent: mesh.me.agent.clone(),
            side: opening.side,
            nonce,
            binding: opening.binding.unwrap_or([0; 32]),
            compare_every,
        });
        Ok(Link {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            url: opening.url,
            stop: opening.stop,
            granted: None,
            spaces: mesh.namespaces.shared(),
            orders,
            session,
            outbox: Outbox::start(outgoing, &mesh.tasks, mesh.rules.cut_after),
            inviter,
            noted: 0,
            address: opening.address,
            mesh,
            applied,
            applying: 0,
            questions: BTreeMap::new(),
            asked: 0,
            heard: Instant::now(),
            pinged: None,
            peer: None,
        })
    }

    async fn talk(
        &mut self,
        incoming: &mut Incoming,
        results: &mut mpsc::UnboundedReceiver<Input>,
        orders: &mut mpsc::Receiver<Order>,
    ) -> End {
        let mut changed = self.mesh.namespaces.changed();
        let (commits, mut news) = mpsc::channel(64);
        let _listeners = listen(&self.spaces, &commits);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(self.mesh.rules.ping_every);
        let (stop, started) = (self.stop.clone(), Instant::now());
        loop {
            if let Err(end) = self.carry_out().await {
                return end;
            }
            let outbox = self.outbox.clone();
            let may_read = self.may_read();
            let bulk_waits = self.session.has_bulk();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    let whole = self.mesh.stop.is_cancelled();
                    let replaced = self.peer.is_some_and(|node| !self.mesh.is_current(&node, self.number));
                    return match (whole, replaced) {
                        (true, _) => End::Stopping,
                        (false, true) => End::Duplicate,
                        (false, false) => End::Ended,
                    };
                }
                Ok(()) = changed.changed() => return End::Anew,
                Some(order) = orders.recv() => {
                    if let Err(end) = self.on_order(order) {
                        return end;
                    }
                }
                Some(input) = results.recv() => {
                    self.applying -= 1;
                    self.handle(input);
                }
                Some((namespace, heard)) = news.recv() => match heard {
                    Some(news) => self.on_news(&namespace, &news),
                    None => self.on_missed(namespace),
                },
                frame = incoming.next(), if may_read => {
                    self.heard = Instant::now();
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
                    if let Err(end) =
                        self.look_for_stalls().and_then(|()| self.look_for_what_it_missed())
                    {
                        return end;
                    }
                }
                _ = pings.tick() => {
                    self.pinged.get_or_insert_with(Instant::now);
                    self.outbox.send(Frame::Ping);
                }
            }
        }
    }

    fn may_read(&self) -> bool {
        self.applying < APPLYING_MAX && self.outbox.bytes() <= 2 * self.mesh.rules.outbox_bytes_max
    }

    fn handle(&mut self, input: Input) {
        self.session.handle(input, &Stores(&self.spaces), clock::steady());
    }

    fn on_order(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Tell(notes) => self.handle(Input::Tell(notes)),
            Order::Ask(question) if self.questions.len() < QUESTIONS_MAX => {
                self.asked += 1;
                let Question { namespace, key, version, answer } = question;
                self.questions.retain(|_, waiting| !waiting.is_closed());
                self.questions.insert(self.asked, answer);
                self.handle(Input::Ask { question: self.asked, namespace, key, version });
            }
            // The question is dropped, and with it the hope of an answer.
            Order::Ask(_) => {}
            Order::GreetAnew => return Err(End::Anew),
            Order::Remove => return Err(End::Removed),
        }
        Ok(())
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
            Some(Ok(Frame::Pong)) => {
                if let (Some(pinged), Some(node)) = (self.pinged.take(), self.peer) {
                    let took = pinged.elapsed();
                    self.mesh.if_current(node, self.number, |e| e.round_trip = Some(took));
                }
                Ok(())
            }
            Some(Ok(Frame::Ping | Frame::Alive)) => Ok(()),
            Some(Ok(Frame::Stray(what))) => {
                let words = format!("{what}; nodes speak binary messages only");
                Err(self.refuse(&Refusal::new(Code::BadFrame, words)))
            }
            Some(Ok(Frame::Close(DUPLICATE, _))) => Err(End::Duplicate),
            Some(Ok(Frame::Close(code, reason))) => {
                let words = match self.session.complaint() {
                    Some(complaint) => format!("the peer closed: {code} {reason}: {complaint}"),
                    None => format!("the peer closed: {code} {reason}"),
                };
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
        if refusal.code == Code::SameNode {
            match self.session.is_itself() {
                true => return End::Itself,
                false => tracing::error!(node = %self.mesh.node, "{refusal}"),
            }
        }
        End::Refused(refusal.clone())
    }

    /// Shows every namespace where this peer stands.
    pub(super) fn publish(&self) {
        let Some(node) = self.peer else { return };
        let standings = self.session.standings(&Stores(&self.spaces));
        self.mesh.if_current(node, self.number, |entry| {
            for (namespace, standing) in standings {
                if let Some(space) = self.spaces.get(&namespace) {
                    let (url, stall) = (self.url.clone(), entry.stall);
                    space.set_peer(node, Some(PeerStanding { standing, url, stall }));
                }
            }
            entry.shown = true;
        });
    }

    /// Leaves the mesh, in which the peer is connected no more.
    pub(super) fn leave(&self, why: &str) {
        let Some(node) = self.peer else { return };
        self.mesh.leave(node, self.number, Some(why.to_owned()), || {
            self.spaces.values().for_each(|space| space.set_peer(node, None));
        });
    }

    pub(super) fn name(&self) -> String {
        match (self.session.node(), &self.url) {
            (Some(node), _) => node.to_string()[..8].to_owned(),
            (None, Some(url)) => url.clone(),
            (None, None) => "unknown".to_owned(),
        }
    }
}

/// Forwards what happens in every namespace. A link that lags misses commits (None); the next comparison
/// of digests finds what they held.
fn listen(spaces: &Spaces, commits: &mpsc::Sender<(Namespace, Option<Arc<News>>)>) -> JoinSet<()> {
    let mut listeners = JoinSet::new();
    for space in spaces.values() {
        let (mut news, name, commits) = (space.listen(), space.name.clone(), commits.clone());
        listeners.spawn(async move {
            loop {
                let heard = match news.recv().await {
                    Ok(commit) => Some(commit),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                };
                if commits.send((name.clone(), heard)).await.is_err() {
                    return;
                }
            }
        });
    }
    listeners
}
