//! Why a link ends, and what the other side is told.

use keepboth_core::limits::figure;
use keepboth_core::refusal::{Code, Refusal};

use super::{DUPLICATE, Link};
use crate::peers::one_line;
use crate::peers::socket::Frame;

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// This node stops.
    Stopping,
    /// Another link to the same node stays.
    Duplicate,
    /// Nobody wants it any more: its URL was taken out of the config, or it could not keep up.
    Ended,
    /// Both greet anew, as rights or namespaces have changed.
    Anew,
    /// The other side is this very process.
    Itself,
    /// The peer was removed from the mesh.
    Removed,
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
            End::Ended => f.write_str("this node has ended it"),
            End::Anew => f.write_str("both greet anew, as what they share has changed"),
            End::Itself => f.write_str("this node has dialled itself"),
            End::Removed => f.write_str("the peer was removed from the mesh"),
            End::Lost(why) | End::Rejected(why) => f.write_str(why),
            End::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl Link {
    /// Closes with the code that says why, and shows that the peer is gone.
    pub(super) fn say_goodbye(&mut self, end: &End) {
        let (code, reason) = match end {
            End::Stopping => (4000, "shutting down"),
            End::Ended => (4002, "this node has ended the link"),
            End::Anew => (4001, "what is shared has changed; greet anew"),
            End::Duplicate => (DUPLICATE, "another connection to this node stays"),
            End::Removed => (4503, "removed from the mesh"),
            End::Itself => (4504, "a node does not talk to itself"),
            End::Refused(refusal) => match refusal.code {
                Code::Unsupported => {
                    (4500, "no common protocol version; the last message says more")
                }
                Code::NotAMember => (4501, "not a member of this mesh"),
                Code::SameNode => (4504, "a copy of this node"),
                _ => (4502, "refused; the last message says why"),
            },
            End::Lost(_) | End::Rejected(_) => (1000, ""),
        };
        self.outbox.send(Frame::Close(code, reason.into()));
        let why = one_line(&end.to_string());
        self.leave(&why);
        let waiting = figure(self.outbox.bytes());
        tracing::info!(peer = %self.name(), waiting, "link ended: {why}");
    }
}
