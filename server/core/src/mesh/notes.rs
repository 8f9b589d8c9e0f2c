//! Notes on their way: what operators and nodes say, in messages that fit and that are checked.

use std::collections::HashSet;

use minicbor::{Decode, Encode};

use crate::ids::NodeId;
use crate::limits::figure;
use crate::name::Namespace;
use crate::refusal::{Code, Refusal};

/// Most nodes of which a node keeps notes.
pub const MEMBERS_MAX: usize = 1_024;
/// Most addresses of a node, and most bytes of one.
pub const ADDRESSES_MAX: usize = 16;
/// Most bytes of an address.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Most namespaces of which a note may speak.
pub const NAMESPACES_MAX: usize = 10_000;
/// Most bytes of the name and version of a node's software.
pub const AGENT_BYTES_MAX: usize = 256;

/// Bytes of notes after which a message is sent and the next begun.
const PART_BYTES: usize = 256 * 1024;

/// An operator's word on a node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Grant {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Larger than that of any earlier word on it.
    #[n(1)]
    pub counter: u64,
    /// False if the node was removed.
    #[n(2)]
    pub admitted: bool,
    /// The namespaces that it may have; None for all.
    #[n(3)]
    pub namespaces: Option<Vec<Namespace>>,
    /// The node at which the operator said so.
    #[n(4)]
    pub by: NodeId,
    /// When, in milliseconds since 1970, for people.
    #[n(5)]
    pub at: u64,
}

impl Grant {
    /// True if the node may have this namespace.
    pub fn allows(&self, namespace: &Namespace) -> bool {
        let listed = |names: &Vec<Namespace>| names.contains(namespace);
        self.admitted && self.namespaces.as_ref().is_none_or(listed)
    }

    /// Equal for copies of one word, which may name fewer namespaces, and for nothing else.
    pub(super) fn rank(&self) -> (u64, bool, NodeId, u64) {
        (self.counter, !self.admitted, self.by, self.at)
    }
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct About {
    /// Who says it.
    #[n(0)]
    pub node: NodeId,
    /// Larger than that of anything it said before.
    #[n(1)]
    pub counter: u64,
    /// Its software and version.
    #[n(2)]
    pub agent: String,
    /// Where it can be dialled: URLs.
    #[n(3)]
    pub addresses: Vec<String>,
    /// The namespaces that it shares.
    #[n(4)]
    pub namespaces: Vec<Namespace>,
    /// The nodes to which it is connected.
    #[n(5)]
    pub links: Vec<NodeId>,
    /// Which run of the node says it, drawn at random at its start.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub instance: [u8; 16],
}

impl About {
    /// About how many bytes it takes in a message.
    fn size(&self) -> usize {
        let texts = self.addresses.iter().map(String::as_str);
        let texts = texts.chain(self.namespaces.iter().map(Namespace::as_str));
        160 + self.agent.len() + 34 * self.links.len() + texts.map(|t| t.len() + 4).sum::<usize>()
    }
}

/// Notes on their way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Notes {
    /// Operators' words.
    #[n(0)]
    pub grants: Vec<Grant>,
    /// What nodes say of themselves.
    #[n(1)]
    pub abouts: Vec<About>,
}

impl Notes {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.abouts.is_empty()
    }

    /// The notes without the names of namespaces that their reader may not have. It may have these, or
    /// all.
    #[must_use]
    pub fn naming_only(mut self, may: Option<&[Namespace]>) -> Notes {
        let Some(may) = may else { return self };
        let may: HashSet<&Namespace> = may.iter().collect();
        let granted = self.grants.iter_mut().filter_map(|grant| grant.namespaces.as_mut());
        let shared = self.abouts.iter_mut().map(|about| &mut about.namespaces);
        granted.chain(shared).for_each(|names| names.retain(|name| may.contains(name)));
        self
    }

    /// Cuts the notes into parts that a message can hold.
    pub fn parts(self) -> Vec<Notes> {
        let (mut parts, mut part, mut bytes) = (Vec::new(), Notes::default(), 0);
        let mut cut = |part: &mut Notes, bytes: &mut usize, size: usize| {
            if *bytes + size > PART_BYTES && !part.is_empty() {
                parts.push(std::mem::take(part));
                *bytes = 0;
            }
            *bytes += size;
        };
        for grant in self.grants {
            let names = grant.namespaces.iter().flatten().map(|name| name.as_str().len() + 4);
            cut(&mut part, &mut bytes, 100 + names.sum::<usize>());
            part.grants.push(grant);
        }
        for about in self.abouts {
            cut(&mut part, &mut bytes, about.size());
            part.abouts.push(about);
        }
        if !part.is_empty() {
            parts.push(part);
        }
        parts
    }

    /// Refuses what is larger than an honest node's notes.
    pub fn check(&self) -> Result<(), Refusal> {
        let too = |what: &str, count: usize, limit: usize| {
            let words = format!("{} {what}, the limit is {}", figure(count), figure(limit));
            Err(Refusal::new(Code::BadFrame, words))
        };
        for names in self.grants.iter().filter_map(|grant| grant.namespaces.as_ref()) {
            if names.len() > NAMESPACES_MAX {
                return too("namespaces of a grant", names.len(), NAMESPACES_MAX);
            }
        }
        for about in &self.abouts {
            if about.agent.len() > AGENT_BYTES_MAX {
                return too("bytes of an agent", about.agent.len(), AGENT_BYTES_MAX);
            }
            if about.addresses.len() > ADDRESSES_MAX {
                return too("addresses of a node", about.addresses.len(), ADDRESSES_MAX);
            }
            if let Some(long) = about.addresses.iter().find(|a| a.len() > ADDRESS_BYTES_MAX) {
                return too("bytes of an address", long.len(), ADDRESS_BYTES_MAX);
            }
            if about.links.len() > MEMBERS_MAX {
                return too("links of a node", about.links.len(), MEMBERS_MAX);
            }
            if about.namespaces.len() > NAMESPACES_MAX {
                return too("namespaces of a node", about.namespaces.len(), NAMESPACES_MAX);
            }
        }
        let notes = self.grants.len().max(self.abouts.len());
        if notes > MEMBERS_MAX { too("notes at once", notes, MEMBERS_MAX) } else { Ok(()) }
    }
}
