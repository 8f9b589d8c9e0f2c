//! What a hostile peer may send, drawn at random.

use std::collections::VecDeque;

use keepboth_core::digest::{Digest, FANOUT, Prefix};
use keepboth_core::handshake::Greet;
use keepboth_core::handshake::{Proof, Role, Token};
use keepboth_core::ids::{ConflictId, KeyHash, NodeId, StoreId, VersionId};
use keepboth_core::mesh::{About, Grant, Notes};
use keepboth_core::name::{Key, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Input, Received, Side, Ticket};
use keepboth_core::version::Event;
use keepboth_core::wire::{
    ConflictNote, ConflictSide, Differing, Events, Hello, Holding, KeyTips, Message, Part, Space,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

use super::{ANSWERED, DIALLED, ME, chain, greet, number, space, update};
use keepboth_simulation::network::{namespace, node_id, node_key};
use keepboth_simulation::replica::key;

/// Draws what a hostile peer may send.
pub struct Chaos(pub StdRng);

/// The questions of the session that are not answered.
pub type Asked = VecDeque<Vec<Prefix>>;

impl Chaos {
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random_bool(p)
    }

    /// Small, large, or about as large as can be.
    pub fn figure(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::MAX - self.below(3) as u64,
            1 => self.0.next_u64(),
            _ => self.below(20) as u64,
        }
    }

    pub fn several<T>(&mut self, most: usize, make: impl Fn(&mut Chaos) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub fn name(&mut self) -> Namespace {
        namespace(if self.chance(0.9) { "notes" } else { "other" })
    }

    pub fn key(&mut self) -> Key {
        key(&format!("k{}", self.below(12)))
    }

    pub fn node(&mut self) -> NodeId {
        if self.chance(0.2) { NodeId(self.0.random()) } else { node_id(self.below(4)) }
    }

    pub fn digest(&mut self) -> Digest {
        if self.chance(0.3) { Digest::default() } else { Digest::from_bytes(&self.0.random()) }
    }

    pub fn version(&mut self) -> VersionId {
        match self.chance(0.2) {
            true => VersionId(self.0.random()),
            false => self.event().version.id,
        }
    }

    /// A good event of a chain that forks here and there, or one that was changed on the way.
    pub fn event(&mut self) -> Event {
        let name = format!("k{}", self.below(12));
        let mut events = chain(&name, 6);
        let at = self.below(6);
        let mut event = match self.below(4) {
            0 => update(&events[at], number(100 + self.below(3))),
            _ => events.swap_remove(at),
        };
        match self.below(30) {
            0 => event.version.timestamp ^= 1 << self.below(64),
            1 => event.value = None,
            2 => event.version.origin = StoreId(self.0.random()),
            3 => event.gap = Some(VersionId(self.0.random())),
            4 => event.key = self.key(),
            5 => event.version.parents = self.several(4, Chaos::version).into_iter().collect(),
            _ => {}
        }
        event
    }

    pub fn tips(&mut self) -> KeyTips {
        KeyTips { key: self.key(), tips: self.several(3, Chaos::version) }
    }

    pub fn hash(&mut self) -> [u8; 16] {
        if self.chance(0.2) { self.0.random() } else { self.key().hash() }
    }

    pub fn prefix(&mut self) -> Prefix {
        let (hash, mut prefix) = (self.hash(), Prefix::WHOLE);
        let longest = if self.chance(0.1) { 17 } else { 3 };
        for _ in 0..self.below(longest) {
            prefix = prefix.child(prefix.nibble(&hash)).expect("a child");
        }
        prefix
    }

    pub fn part(&mut self) -> Part {
        let mut children = [0; 8 * FANOUT];
        if self.chance(0.7) {
            self.0.fill_bytes(&mut children);
        }
        Part { prefix: self.prefix(), children }
    }

    pub fn differing(&mut self) -> Differing {
        let holding = match self.below(4) {
            0 => Holding::Nothing,
            1 => Holding::Sent,
            2 => Holding::Much,
            _ => {
                let mut named: Vec<u8> = Vec::new();
                for hash in self.several(33, Chaos::hash) {
                    named.extend(hash);
                    named.extend(self.0.random::<[u8; 8]>());
                }
                named.truncate(named.len() - usize::from(!named.is_empty() && self.chance(0.02)));
                Holding::Keys(named)
            }
        };
        Differing { prefix: self.prefix(), holding }
    }

    /// An answer to a question that was asked.
    pub fn answer(&mut self, asked: &mut Asked) -> Option<Message> {
        let ranges = asked.pop_front()?;
        let mut differing = Vec::new();
        for range in &ranges {
            for nibble in 0..FANOUT as u8 {
                if let Some(prefix) = range.child(nibble).filter(|_| self.chance(0.5)) {
                    differing.push(Differing { prefix, ..self.differing() });
                }
            }
        }
        let parts = ranges.len() as u32;
        Some(Message::Differ { namespace: namespace("notes"), parts, differing })
    }

    pub fn conflict(&mut self) -> ConflictNote {
        let side = |chaos: &mut Chaos| ConflictSide {
            version: chaos.version(),
            branch: chaos.0.random(),
            origin: StoreId(chaos.0.random()),
        };
        ConflictNote {
            namespace: self.name(),
            key: self.key(),
            id: ConflictId(self.0.random()),
            base: self.chance(0.5).then(|| self.version()),
            sides: self.several(4, side),
        }
    }

    pub fn notes(&mut self) -> Notes {
        let grant = |chaos: &mut Chaos| Grant {
            node: chaos.node(),
            counter: chaos.figure(),
            admitted: chaos.chance(0.7),
            namespaces: chaos.chance(0.5).then(|| chaos.several(3, Chaos::name)),
            by: chaos.node(),
            at: chaos.figure(),
        };
        let about = |chaos: &mut Chaos| About {
            node: chaos.node(),
            counter: chaos.figure(),
            agent: "x".repeat(chaos.below(20)),
            addresses: chaos.several(17, |_| "ws://a".into()),
            namespaces: chaos.several(3, Chaos::name),
            links: chaos.several(4, Chaos::node),
            instance: chaos.0.random(),
        };
        Notes { grants: self.several(3, grant), abouts: self.several(3, about) }
    }

    pub fn proof(&mut self, side: &Side) -> Proof {
        let (transcript, role) = match side {
            Side::Answered => (ANSWERED, Role::Dialler),
            Side::Dialled { .. } => (DIALLED, Role::Answerer),
        };
        let token = self.chance(0.3).then(|| Token::new(self.node(), self.0.random()));
        let peer = if self.chance(0.1) { ME } else { [0, 2][self.below(2)] };
        let to = self.chance(0.7).then(|| node_id(ME));
        let mut proof = Proof::new(&node_key(peer), [7; 16], &transcript, role, to, token.as_ref());
        if self.chance(0.1) {
            proof.signature[self.below(64)] ^= 1;
        }
        proof
    }

    /// Any message but those of the greeting.
    pub fn message(&mut self) -> Message {
        let (namespace, key) = (self.name(), self.key());
        match self.below(16) {
            0 => Message::Notes(self.notes()),
            1 => Message::Root { namespace, root: self.digest() },
            2 => Message::Live {
                namespace,
                sequence: self.figure(),
                root: self.chance(0.7).then(|| self.digest()),
                maker: self.node(),
                events: self.several(4, Chaos::event).into(),
            },
            3 => Message::Ack {
                namespace,
                sequence: self.figure(),
                root: self.digest(),
                whole: self.chance(0.5),
            },
            4 => Message::Conflict(self.conflict()),
            5 => Message::Compare { namespace, parts: self.several(5, Chaos::part) },
            6 => Message::Differ {
                namespace,
                parts: [1, 1, 2, self.0.next_u32()][self.below(4)],
                differing: self.several(5, Chaos::differing),
            },
            7 => {
                let (keys, hash) =
                    (self.several(5, Chaos::tips), |c: &mut Chaos| KeyHash(c.hash()));
                Message::Offer { namespace, keys, wanted: self.several(5, hash) }
            }
            8 => Message::Fetch { namespace, prefix: self.prefix() },
            9 => Message::Done { namespace },
            10 => Message::Want {
                namespace,
                key,
                have: self.several(4, Chaos::version),
                known: self.several(4, Chaos::version),
                question: 1,
            },
            11 => Message::Histories {
                namespace,
                events: self.several(4, Chaos::event).into(),
                answered: Vec::new(),
            },
            12 => Message::Forget { namespace, keys: self.several(4, Chaos::tips) },
            13 => {
                let (question, version) = (self.figure(), self.version());
                Message::Ask { question, namespace, key, version }
            }
            14 => Message::Holds { question: self.figure(), held: self.chance(0.5) },
            _ => Message::Refused { code: "overloaded".into(), message: "x".into() },
        }
    }

    pub fn greeting(&mut self, side: &Side) -> Message {
        match self.below(4) {
            0 => {
                let (protocol, protocol_min) = (self.below(4) as u32, self.below(4) as u32);
                Message::Greet(Greet { protocol, protocol_min, nonce: self.0.random() })
            }
            1 => greet(),
            2 => Message::Prove(self.proof(side)),
            _ => {
                let any = |chaos: &mut Chaos| {
                    let namespace = chaos.name();
                    Space { namespace, ..space(StoreId(chaos.0.random()), chaos.chance(0.3)) }
                };
                Message::Hello(Hello { agent: "x".into(), spaces: self.several(3, any) })
            }
        }
    }

    /// Something that this node itself does.
    pub fn own(&mut self) -> Input {
        let namespace = self.name();
        match self.below(8) {
            0 => Input::Tick,
            1 => Input::Tell(self.notes()),
            2 => Input::Made {
                namespace,
                sequence: self.figure(),
                root: self.digest(),
                maker: self.node(),
                told: Events::of_messages(self.several(3, Chaos::event)),
                room: self.chance(0.8),
            },
            3 => Input::Conflict(self.conflict()),
            4 => Input::Forgot { namespace, keys: self.several(3, Chaos::tips) },
            5 => {
                let (question, key, version) = (self.figure(), self.key(), self.version());
                Input::Ask { question, namespace, key, version }
            }
            6 => Input::Applied {
                ticket: Ticket {
                    namespace,
                    live: None,
                    maker: None,
                    short: false,
                    answered: Vec::new(),
                },
                keys: self.several(2, Chaos::key),
                outcomes: self.several(2, |chaos| match chaos.below(4) {
                    0 => Received::New,
                    1 => Received::Known,
                    2 => Received::Missing(chaos.several(2, Chaos::version)),
                    _ => Received::Refused(Refusal::new(Code::SchemaRefused, "no")),
                }),
            },
            _ if self.chance(0.1) => Input::Rejected(Refusal::new(Code::NotAMember, "no")),
            _ => Input::Tick,
        }
    }
}
