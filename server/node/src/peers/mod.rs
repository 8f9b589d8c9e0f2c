//! The mesh: who belongs to it, dialling and answering, and one link for each pair of nodes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepboth_core::handshake::Token;
use keepboth_core::identity::NodeKey;
use keepboth_core::ids::NodeId;
use keepboth_core::mesh::Notes;
use keepboth_core::name::Namespace;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use crate::namespace::stall::Stall;
use crate::tls::PeerTrust;

/// Members and invitations, on disk.
pub mod roster;
/// Who may stay, and what it may have.
pub mod admit;
/// What a link reads of this node's stores.
pub mod replica;
/// The frames of a link, over whichever WebSocket carries them.
pub mod socket;
/// One connection to another node, from greeting to close.
pub mod link;
/// Dialling a node, again and again.
pub mod dial;
/// Finding the members that are not connected.
pub mod discover;
/// Whether a version is everywhere.
pub mod ask;
/// What the operator sees of every member.
pub mod report;
/// Keeping and forgetting.
pub mod keep;

use dial::Target;
use link::Order;
use roster::Roster;

/// How links behave, from the config.
#[derive(Debug, Clone)]
pub struct Rules {
    /// First pause before dialling again.
    pub reconnect_min: Duration,
    /// Longest pause before dialling again.
    pub reconnect_max: Duration,
    /// How often a difference that exchange does not mend is looked at again.
    pub compare_every: Duration,
    /// Bytes that may wait for a slow peer before live events are left to repair.
    pub outbox_bytes_max: usize,
    /// How often a peer is pinged.
    pub ping_every: Duration,
    /// After this time without progress a peer counts as stalled.
    pub stall_after: Duration,
    /// After this time without progress a link is ended.
    pub cut_after: Duration,
    /// How soon the other side must greet.
    pub hello_within: Duration,
    /// After this time of silence a member stops holding the others back.
    pub expire: Duration,
    /// True if whoever is on this machine is admitted.
    pub dev: bool,
    /// Whose certificates are believed of `wss://` peers.
    pub trust: Arc<PeerTrust>,
}

/// What is known of a node that is dialled.
#[derive(Debug, Clone, Default)]
pub struct Dialled {
    /// Who answered there, once somebody has.
    pub node: Option<NodeId>,
    /// Why the last attempt or link ended.
    pub error: Option<String>,
    /// When that was, in milliseconds since 1970.
    pub at: u64,
}

/// Who this node is, as links need it.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its key.
    pub key: Arc<NodeKey>,
    /// Drawn at random when the process started.
    pub instance: [u8; 16],
    /// This software and its version.
    pub agent: String,
}

/// All links of this node, and what it knows of the other nodes.
pub struct Mesh {
    /// This node.
    pub node: NodeId,
    /// Its key.
    pub me: Me,
    /// The namespaces of this node; peers may have those that are shared.
    pub namespaces: Arc<Namespaces>,
    /// How links behave.
    pub rules: Rules,
    /// Ends all links.
    pub stop: CancellationToken,
    /// All tasks of links.
    pub tasks: TaskTracker,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    roster: Mutex<Roster>,
    links: Mutex<BTreeMap<NodeId, Entry>>,
    /// What ends the dialling of each configured URL.
    dialling: Mutex<BTreeMap<String, CancellationToken>>,
    /// What became of dialling a URL, and of the last link to a node.
    dialled: Mutex<BTreeMap<String, Dialled>>,
    ended: Mutex<BTreeMap<NodeId, Dialled>>,
    changed: Notify,
    /// Counts the notes that were passed on.
    spreads: AtomicU64,
}

/// The link that stands for a pair of nodes.
struct Entry {
    number: u64,
    dialler: NodeId,
    url: Option<String>,
    agent: String,
    /// The namespaces that the peer was granted when it was admitted; None for all.
    granted: Option<Vec<Namespace>>,
    since: u64,
    round_trip: Option<Duration>,
    stall: Option<Stall>,
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
    /// True once the namespaces show where the peer stands.
    shown: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mesh {
    /// A node without links.
    pub fn new(
        me: Me,
        roster: Roster,
        namespaces: Arc<Namespaces>,
        rules: Rules,
        stop: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Arc<Mesh> {
        Arc::new(Mesh {
            node: me.key.id(),
            me,
            namespaces,
            rules,
            stop,
            tasks: TaskTracker::new(),
            metrics,
            roster: Mutex::new(roster),
            links: Mutex::default(),
            dialling: Mutex::default(),
            dialled: Mutex::default(),
            ended: Mutex::default(),
            changed: Notify::new(),
            spreads: AtomicU64::new(0),
        })
    }

    /// Members and invitations. Held for moments only, and never while links are locked.
    pub fn roster(&self) -> MutexGuard<'_, Roster> {
        lock(&self.roster)
    }

    /// Keeps a link to the node at this URL, until the mesh stops or [`Mesh::leave_alone`] is called.
    pub fn dial(self: &Arc<Mesh>, url: &str, token: Option<Token>) {
        let mut dialling = lock(&self.dialling);
        if dialling.contains_key(url) {
            return;
        }
        let stop = self.stop.child_token();
        dialling.insert(url.to_owned(), stop.clone());
        let target = Target { urls: vec![url.to_owned()], node: None, token };
        self.tasks.spawn(dial::keep(self.clone(), target, stop));
    }

    /// Joins the mesh of the node that has sent an invitation, unless it has done so before.
    pub fn join(self: &Arc<Mesh>, url: &str, token: Token) {
        let grant = self.roster().members.grant(&token.inviter).cloned();
        let joined = grant.is_some_and(|grant| grant.admitted);
        if joined {
            tracing::info!(url, "this node has joined already; the invitation is not used");
        }
        self.dial(url, (!joined).then_some(token));
    }

    /// Dials this URL no more, and ends the link that came of it.
    pub fn leave_alone(&self, url: &str) {
        if let Some(stop) = lock(&self.dialling).remove(url) {
            stop.cancel();
        }
        lock(&self.dialled).remove(url);
        self.changed.notify_waiters();
    }

    /// Takes up a link whose peer has greeted. Of two links between the same nodes the one that the
    /// smaller node id dialled stays, and of two that the same node dialled the newer; both sides
    /// decide alike. None if this link has to go; otherwise how many notes were passed on before: it
    /// gets those that come after.
    fn enter(&self, node: NodeId, agent: &str, link: &link::Link) -> Option<u64> {
        let mut links = lock(&self.links);
        let dialler = if link.url.is_some() { self.node } else { node };
        if let Some(old) = links.get(&node) {
            let newer_wins = old.dialler == dialler || dialler < old.dialler;
            if !newer_wins {
                return None;
            }
            old.stop.cancel();
        }
        let entry = Entry {
            number: link.number,
            dialler,
            url: link.url.clone(),
            agent: agent.to_owned(),
            granted: link.granted.clone(),
            since: clock::now(),
            round_trip: None,
            stall: None,
            orders: link.orders.clone(),
            stop: link.stop.clone(),
            shown: false,
        };
        links.insert(node, entry);
        self.metrics.peers_connected.set(links.len() as i64);
        drop(links);
        let spreads = self.spreads();
        self.say_links();
        self.changed.notify_waiters();
        Some(spreads)
    }

    /// How many notes were passed on.
    fn spreads(&self) -> u64 {
        self.spreads.load(Ordering::SeqCst)
    }

    /// Does something for a link, unless another one has taken its place: nobody comes between.
    fn if_current(&self, node: NodeId, number: u64, act: impl FnOnce(&mut Entry)) {
        let mut links = lock(&self.links);
        if let Some(entry) = links.get_mut(&node).filter(|entry| entry.number == number) {
            act(entry);
        }
    }

    /// True if this link stands for the pair of nodes.
    fn is_current(&self, node: &NodeId, number: u64) -> bool {
        lock(&self.links).get(node).is_some_and(|entry| entry.number == number)
    }

    /// Forgets a link and hides where its peer stood, in one, unless a newer link has taken its place.
    fn leave(&self, node: NodeId, number: u64, error: Option<String>, hide: impl FnOnce()) {
        let mut links = lock(&self.links);
        let own = links.get(&node).is_some_and(|entry| entry.number == number);
        if own {
            links.remove(&node);
            self.metrics.peers_connected.set(links.len() as i64);
            hide();
        }
        drop(links);
        if own {
            let ended = Dialled { node: Some(node), error, at: clock::now() };
            lock(&self.ended).insert(node, ended);
            self.say_links();
        }
        self.changed.notify_waiters();
    }

    /// True while a link to the node is up.
    pub fn is_connected(&self, node: &NodeId) -> bool {
        lock(&self.links).contains_key(node)
    }

    fn note(&self, url: &str, note: impl FnOnce(&mut Dialled)) {
        let mut dialled = lock(&self.dialled);
        let entry = dialled.entry(url.to_owned()).or_default();
        entry.at = clock::now();
        note(entry);
    }

    /// Tells everybody to whom this node is connected.
    fn say_links(&self) {
        let mut roster = self.roster();
        // Read while nobody else can say anything: what is said last is then what holds.
        let linked: Vec<NodeId> = lock(&self.links).keys().copied().collect();
        let said = roster.members.say(|me| me.links = linked);
        drop(roster);
        if let Some(notes) = said {
            self.spread(&notes, None);
        }
    }

    /// Tells everybody which namespaces this node shares.
    pub fn say_namespaces(&self) {
        let mut roster = self.roster();
        let shared = self.namespaces.shared().keys().cloned().collect();
        let said = roster.members.say(|me| me.namespaces = shared);
        drop(roster);
        if let Some(notes) = said {
            self.spread(&notes, None);
        }
    }

    /// Passes notes on to all links but the one they came from. A link that cannot take any more is
    /// ended: it learns all when it comes back.
    fn spread(&self, notes: &Notes, from: Option<NodeId>) {
        if notes.is_empty() {
            return;
        }
        // Counted before it is sent: a link that enters between the two gets the note twice, not never.
        self.spreads.fetch_add(1, Ordering::SeqCst);
        for (node, entry) in lock(&self.links).iter() {
            let told = || notes.clone().naming_only(entry.granted.as_deref());
            let full = Some(*node) != from && entry.orders.try_send(Order::Tell(told())).is_err();
            if full {
                entry.stop.cancel();
            }
        }
    }

    /// Takes up what a peer knows of the mesh, and passes on what is new.
    fn learn(&self, notes: Notes, from: NodeId) {
        let mut roster = self.roster();
        let had_twin = roster.members.has_twin();
        let new = roster.hear(notes, &from);
        if let Err(error) = roster.save() {
            tracing::error!("what is new of the mesh cannot be written down: {error}");
        }
        let twin = !had_twin && roster.members.has_twin();
        drop(roster);
        if twin {
            tracing::error!(
                node = %self.node,
                "a copy of this node runs elsewhere: both have the same node.key; stop one of them and \
                 remove node.key from its data folder"
            );
        }
        self.apply_grants(&new);
        // What this node says against an older word of its own, whoever passed that on has to hear too.
        let outdone = new.abouts.iter().any(|about| about.node == self.node);
        self.spread(&new, (!outdone).then_some(from));
        self.changed.notify_waiters();
    }
}

/// Most characters of what a peer said that the log shows.
const WORDS_MAX: usize = 1_000;

/// Words of a peer for the log: no line breaks, no control characters, and not without end.
fn one_line(words: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    words.chars().take(WORDS_MAX).map(plain).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    //! A mesh without other nodes.

    use std::path::Path;

    use keepboth_core::mesh::About;

    use super::*;
    use crate::config::{Config, NamespaceConfig};
    use crate::hooks::Chain;
    use crate::namespace::{Bounds, MadeBy, Setup};

    /// A node with the namespace `notes`, whose data is in this folder.
    pub fn mesh(folder: &Path) -> Arc<Mesh> {
        let key = NodeKey::from_seed(&[1; 32]);
        let (node, instance, long) = (key.id(), [1; 16], Duration::from_secs(3_600));
        let about = About {
            node,
            counter: 0,
            agent: String::new(),
            addresses: Vec::new(),
            namespaces: Vec::new(),
            links: Vec::new(),
            instance,
        };
        let rules = Rules {
            reconnect_min: long,
            reconnect_max: long,
            compare_every: long,
            outbox_bytes_max: 1,
            ping_every: long,
            stall_after: long,
            cut_after: long,
            hello_within: long,
            expire: long,
            dev: false,
            trust: Arc::new(PeerTrust::load(None).expect("trust")),
        };
        let bounds = Bounds::of(&Config::default(), &NamespaceConfig::default());
        let setup = Setup { bounds, chain: Chain::default(), made_by: MadeBy::Command };
        let notes = (Namespace::new("notes").expect("a name"), setup.clone());
        let namespaces =
            Namespaces::open(node, folder, long, vec![notes], setup, Default::default());
        let roster = Roster::load(folder, about).expect("a roster");
        let me = Me { key: Arc::new(key), instance, agent: String::new() };
        let stop = CancellationToken::new();
        Mesh::new(me, roster, namespaces.expect("namespaces"), rules, stop, Arc::default())
    }
}
