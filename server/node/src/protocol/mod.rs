//! What clients and server say to each other: requests, answers and events, in JSON and MessagePack.
//!
//! A frame with `id` asks or answers, a frame without is pushed. `PROTOCOL.md` describes every frame.

/// The two forms of a frame.
mod format;
/// A place in a namespace's feed of changes.
mod cursor;
/// A place in a quarantine.
mod held;
/// A frame as it was read, before anybody knows what it asks for.
mod tree;
/// MessagePack in.
mod msgpack;
/// What a client can ask for.
mod request;
/// The arguments of a method, taken apart one by one.
mod args;
/// From bytes to a request.
mod decode;
/// What the server answers.
mod answer;
/// What scripts said of late.
mod hook_log;
/// What plugins say of themselves.
mod plugins_told;
/// What the server answers about other nodes.
mod members;
/// What the server tells those who watch.
mod notice;
/// How many bytes an answer takes.
mod estimate;
/// JSON and MessagePack out.
mod sink;
/// What is said of other nodes, written into a sink.
mod about_nodes;
/// From answers and events to bytes.
mod encode;
/// An event on its way to many watchers.
mod told;

pub use about_nodes::TWIN_WARNING;
pub use answer::{
    Answer, Base, Conflict, Hello, LimitsInfo, Listed, NamespaceInfo, NamespaceLimits,
    NamespaceStatus, Object, Page, PeerStatus, Recorded, Reloaded, Side, State, Status, Trashed,
    Written,
};
pub use cursor::{BadCursor, Cursor};
pub use decode::{NoRequest, decode_request};
pub use encode::{encode_answer, encode_end, encode_event, encode_live, encode_notice};
pub use estimate::{ANSWER_BYTES, Estimate, ITEMS_BYTES_MAX};
pub use format::Format;
pub use held::{BadPlace, HeldAt};
pub use hook_log::{HookLog, Logged};
pub use members::{Ack, Acks, Held, Member, Members, Reached, SHARED_MAX, Shared, Stalled, Unfit};
pub use notice::Notice;
pub use plugins_told::{HookFigures, PluginsTold};
pub use request::{BatchOp, Call, METHODS, PutValue, Request, Resolution, Wait, Waiting};
pub use told::Told;

pub(crate) use args::did_you_mean;
pub(crate) use msgpack::read as read_message_pack;
pub(crate) use tree::Tree;

/// The version of the protocol that this server speaks.
pub const PROTOCOL: u32 = 1;

#[cfg(test)]
mod tests;
