//! One node of a run: what it holds, what it knows of the mesh, and what its process is at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use keepboth_core::digest::Digest;
use keepboth_core::handshake::{InviteId, Token};
use keepboth_core::identity::NodeKey;
use keepboth_core::ids::{ConflictId, NodeId, StoreId};
use keepboth_core::mesh::{About, Grant, Members, Notes};
use keepboth_core::name::Namespace;
use keepboth_core::session::Mark;
use keepboth_core::version::Event;

use super::disk::Task;
use super::{Happening, Hook};
use crate::store::{Store, Stores};

/// When a node last wrote down where it stands with each peer in each namespace.
pub(super) type Noted = BTreeMap<(NodeId, Namespace), u64>;

/// What a node keeps of each peer and namespace, with its stores.
pub type Marks = BTreeMap<(NodeId, Namespace), Mark>;

/// One node.
pub struct Node {
    /// Who it is.
    pub id: NodeId,
    /// What it holds.
    pub stores: Stores,
    /// What it knows of the mesh.
    pub members: Members,
    /// What it does with conflicts.
    pub hook: Hook,
    /// False while it is not running.
    pub up: bool,
    /// Conflicts that a peer announced.
    pub heard: BTreeSet<ConflictId>,
    /// What its log says.
    pub warnings: Vec<String>,
    /// How far its wall clock is off, in milliseconds.
    pub clock: i64,
    /// How long its commits take, if not as long as elsewhere.
    pub disk: Option<Range<u64>>,
    /// The addresses that its operator told it.
    pub told: BTreeSet<usize>,
    /// Its invitation, until it is a member.
    pub token: Option<Token>,
    /// The invitations that its operator made, and nobody used yet.
    pub invites: BTreeMap<InviteId, [u8; 32]>,
    /// Of each peer and namespace, up to where both once agreed.
    pub marks: Marks,
    /// When it last took up where a peer stands.
    pub(super) noted: Noted,
    /// Peers that have seen of it what it does not remember since it was put back to an old copy. For
    /// these it is no witness until both agree again.
    pub(super) forgets: BTreeSet<(NodeId, Namespace)>,
    /// Grows with every crash: work of a former life is lost.
    pub(super) life: u64,
    /// Its process stands still until then, and this waits for it.
    pub(super) paused: Option<u64>,
    pub(super) parked: VecDeque<Happening>,
    /// Commits on their way to the sessions, in order.
    pub(super) commits: VecDeque<Commit>,
    /// What the store has been given and not committed yet.
    pub(super) tasks: VecDeque<Task>,
    pub(super) committed_at: u64,
    pub(super) answered_at: u64,
    pub(super) dispatched_at: u64,
    /// Whom it dials.
    pub(super) dials: BTreeMap<usize, Dial>,
    /// What a crash leaves, if that is not all.
    pub(super) synced: Option<Stores>,
}

/// Versions that became durable together.
pub(super) struct Commit {
    pub namespace: Namespace,
    pub sequence: u64,
    pub root: Digest,
    pub maker: NodeId,
    pub events: Vec<Event>,
}

/// How dialling an address goes.
pub(super) struct Dial {
    /// The pause before the next attempt.
    pub pause: u64,
    /// True while one is planned or under way.
    pub busy: bool,
}

impl Node {
    /// A node that knows that the first `count` nodes, and no others, belong to the mesh.
    pub(super) fn new(number: usize, count: usize, namespaces: &[&str]) -> Node {
        let mut members = Members::new(about(number, 0, namespaces));
        let grants = (0..count).map(grant).collect();
        members.learn(Notes { grants, abouts: Vec::new() });
        Node {
            id: node_id(number),
            stores: empty_stores(number, namespaces),
            members,
            hook: Hook::None,
            up: true,
            heard: BTreeSet::new(),
            warnings: Vec::new(),
            clock: 0,
            disk: None,
            told: BTreeSet::new(),
            token: None,
            invites: BTreeMap::new(),
            marks: BTreeMap::new(),
            noted: BTreeMap::new(),
            forgets: BTreeSet::new(),
            life: 0,
            paused: None,
            parked: VecDeque::new(),
            commits: VecDeque::new(),
            tasks: VecDeque::new(),
            committed_at: 0,
            answered_at: 0,
            dispatched_at: 0,
            dials: BTreeMap::new(),
            synced: None,
        }
    }

    /// Which run of the node it is.
    pub(super) fn instance(&self) -> [u8; 16] {
        let mut instance = [self.id.0[0]; 16];
        instance[8..].copy_from_slice(&self.life.to_be_bytes());
        instance
    }

    /// The process ends; what it knew of the mesh is read again when it starts.
    pub(super) fn end_life(&mut self, number: usize) {
        self.life += 1;
        self.commits.clear();
        self.tasks.clear();
        self.dials.clear();
        self.paused = None;
        self.parked.clear();
        let names: Vec<Namespace> = self.stores.0.keys().cloned().collect();
        let names: Vec<&str> = names.iter().map(Namespace::as_str).collect();
        let mut kept = self.members.notes();
        kept.abouts.retain(|about| about.node != self.id);
        self.members = Members::new(about(number, self.life, &names));
        self.members.learn(kept);
    }

    /// Where it stands with a peer.
    pub(super) fn mark(&self, peer: NodeId, namespace: &Namespace) -> Mark {
        self.marks.get(&(peer, namespace.clone())).copied().unwrap_or_default()
    }

    /// The time on its wall.
    pub(super) fn wall(&self, now: u64) -> u64 {
        (now + BEGIN).saturating_add_signed(self.clock)
    }
}

/// When runs begin, on walls.
const BEGIN: u64 = 1_700_000_000_000;

/// The keys of the nodes, so that a larger number has a larger id.
pub fn node_key(number: usize) -> Arc<NodeKey> {
    static KEYS: OnceLock<Vec<Arc<NodeKey>>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let mut keys: Vec<_> = (0..16).map(|n| Arc::new(NodeKey::from_seed(&[n; 32]))).collect();
        keys.sort_by_key(|key| key.id());
        keys
    });
    keys[number].clone()
}

/// The id of a node.
pub fn node_id(number: usize) -> NodeId {
    node_key(number).id()
}

/// What a node says of itself when it starts for the first time, or again.
fn about(number: usize, life: u64, namespaces: &[&str]) -> About {
    let mut instance = [node_id(number).0[0]; 16];
    instance[8..].copy_from_slice(&life.to_be_bytes());
    About {
        node: node_id(number),
        counter: 1,
        agent: "test".into(),
        addresses: vec![number.to_string()],
        namespaces: namespaces.iter().map(|name| namespace(name)).collect(),
        links: Vec::new(),
        instance,
    }
}

fn grant(number: usize) -> Grant {
    let (node, by) = (node_id(number), node_id(0));
    Grant { node, counter: 1, admitted: true, namespaces: None, by, at: BEGIN }
}

/// The store of a namespace on a node.
pub fn store_id(node: usize, namespace: &Namespace) -> StoreId {
    let mut id = [node as u8 + 1; 16];
    id[15] = namespace.as_str().as_bytes()[0];
    StoreId(id)
}

/// The namespace with this name.
pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a namespace")
}

fn empty_stores(node: usize, namespaces: &[&str]) -> Stores {
    let spaces = namespaces.iter().map(|name| namespace(name));
    Stores(spaces.map(|n| (n.clone(), Store::new(store_id(node, &n)))).collect())
}
