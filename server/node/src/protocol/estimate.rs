//! How many bytes something takes in a frame, at most, so that no frame grows over its bound.

use keepboth_core::json;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::value::{Kind, Value};
use serde_json::Value as Json;

use super::answer::{
    Answer, Base, Conflict, Listed, NamespaceStatus, PeerStatus, Recorded, Side, Trashed,
};
use super::members::{Held, Member, Shared, Unfit};

/// What all items of one answer may take together; the rest is for what stands around them.
pub const ITEMS_BYTES_MAX: usize = FRAME_BYTES_MAX - 8 * 1024;

/// What the answer to a put or a small get takes: a buffer begins with so much.
pub const ANSWER_BYTES: usize = 512;

/// Ids, numbers and the names of the members of one item.
const FIELDS_BYTES: usize = 400;
/// An id or address in quotes, with its comma.
const ID_BYTES: usize = 67;

/// A part of an answer of which there can be many.
pub trait Estimate {
    /// The bytes that it takes in either format, at most.
    fn bytes_estimate(&self) -> usize;
}

impl Estimate for str {
    fn bytes_estimate(&self) -> usize {
        let escaped = |byte: u8| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        };
        self.bytes().map(escaped).sum::<usize>() + 5
    }
}

impl Estimate for Value {
    fn bytes_estimate(&self) -> usize {
        let size = self.as_bytes().len();
        match self.kind() {
            Kind::Bytes | Kind::Cbor => size.div_ceil(3) * 4 + 20,
            Kind::Number => 32,
            Kind::String => {
                std::str::from_utf8(self.as_bytes()).map_or(size, Estimate::bytes_estimate)
            }
            // In MessagePack the four bytes of `0.5,` become nine.
            Kind::Json => size / 4 * 9 + 32,
        }
    }
}

impl Estimate for Answer {
    /// 0 for one that is small, or that no page bounds.
    fn bytes_estimate(&self) -> usize {
        match self {
            Answer::Object(object) => object.value.as_bytes().len(),
            Answer::List(page) => page.items.bytes_estimate(),
            Answer::History(page) => page.items.bytes_estimate(),
            Answer::Conflicts(page) => page.items.bytes_estimate(),
            Answer::Conflict(conflict) => conflict.bytes_estimate(),
            Answer::Trash(page) => page.items.bytes_estimate(),
            Answer::Quarantine(page) => page.items.bytes_estimate(),
            Answer::SchemaReport { page, .. } => page.items.bytes_estimate(),
            Answer::Hello(hello) => hello.namespaces.len() * ID_BYTES,
            Answer::Status(status) => status.namespaces.bytes_estimate(),
            Answer::NsInfo(info) => {
                let names = info.plugins.iter().map(|name| name.bytes_estimate());
                info.status.bytes_estimate() + names.sum::<usize>()
            }
            Answer::Peers(members) => members.page.items.bytes_estimate(),
            Answer::HookLog(log) => log.lines.bytes_estimate(),
            Answer::Plugin(answer) => answer.bytes_estimate(),
            Answer::Written(..)
            | Answer::Batch(..)
            | Answer::Watch { .. }
            | Answer::Unwatch
            | Answer::NsAdded { .. }
            | Answer::NsRemoved { .. }
            | Answer::Reloaded(_)
            | Answer::Purged { .. }
            | Answer::Judged { .. }
            | Answer::Retried { .. }
            | Answer::Acks(_)
            | Answer::Invited { .. }
            | Answer::PeerAdded { .. }
            | Answer::PeerRemoved { .. } => 0,
        }
    }
}

impl<T: Estimate> Estimate for Option<T> {
    fn bytes_estimate(&self) -> usize {
        self.as_ref().map_or(0, Estimate::bytes_estimate)
    }
}

impl<T: Estimate> Estimate for [T] {
    fn bytes_estimate(&self) -> usize {
        self.iter().map(Estimate::bytes_estimate).sum::<usize>() + 8
    }
}

impl Estimate for Json {
    fn bytes_estimate(&self) -> usize {
        json::size(self)
    }
}

impl Estimate for NamespaceStatus {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES
            + self.reason.bytes_estimate()
            + self.plugins.bytes_estimate()
            + self.peers.bytes_estimate()
    }
}

impl Estimate for PeerStatus {
    fn bytes_estimate(&self) -> usize {
        let stalled = self.stalled.iter().map(|stalled| &stalled.blocked_on);
        let texts = self.url.iter().chain(&self.error).chain(stalled);
        FIELDS_BYTES + texts.map(|text| text.bytes_estimate()).sum::<usize>()
    }
}

impl Estimate for Listed {
    fn bytes_estimate(&self) -> usize {
        // The name is the key or shorter than the fixed part allows for.
        FIELDS_BYTES + 2 * self.key.as_str().bytes_estimate() + self.value.bytes_estimate()
    }
}

impl Estimate for Recorded {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES + self.parents.len() * ID_BYTES
    }
}

impl Estimate for Trashed {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES + self.key.as_str().bytes_estimate()
    }
}

impl Estimate for Held {
    fn bytes_estimate(&self) -> usize {
        let texts = [self.key.as_str(), &self.refusal.message];
        FIELDS_BYTES + texts.iter().map(|text| text.bytes_estimate()).sum::<usize>()
    }
}

impl Estimate for Unfit {
    fn bytes_estimate(&self) -> usize {
        // The name is the key or shorter than the fixed part allows for.
        let texts = [self.key.as_str(), self.key.as_str(), &self.refusal.message];
        FIELDS_BYTES + texts.iter().map(|text| text.bytes_estimate()).sum::<usize>()
    }
}

impl Estimate for Shared {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES
    }
}

impl Estimate for Member {
    fn bytes_estimate(&self) -> usize {
        let texts = self.urls.iter().chain(&self.agent).chain(&self.error);
        let granted = self.granted.as_ref().map_or(0, |names| names.len() * ID_BYTES);
        let texts = texts.map(|text| text.bytes_estimate()).sum::<usize>();
        2 * FIELDS_BYTES + texts + granted + self.namespaces.bytes_estimate()
    }
}

impl Estimate for Side {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES + self.value.bytes_estimate()
    }
}

impl Estimate for Base {
    fn bytes_estimate(&self) -> usize {
        FIELDS_BYTES + self.value.bytes_estimate()
    }
}

impl Estimate for Conflict {
    fn bytes_estimate(&self) -> usize {
        let fields = FIELDS_BYTES + self.key.as_str().bytes_estimate();
        fields + self.base.bytes_estimate() + self.sides.bytes_estimate()
    }
}
