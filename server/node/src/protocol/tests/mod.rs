//! Golden frames: what a request means, how an answer is written, and what is refused and why.

use keepboth_core::ids::{ConflictId, NodeId, StoreId, VersionId};
use keepboth_core::name::{Address, Key, Name, Namespace};

/// Requests in both formats.
mod requests;
/// Frames that are refused.
mod refused;
/// Answers, events and errors in both formats.
mod answers;
/// `PROTOCOL.md`.
mod document;

fn ns() -> Namespace {
    Namespace::new("notes").expect("namespace")
}

fn key(text: &str) -> Key {
    Key::new(text).expect("key")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("name")
}

fn version(byte: u8) -> VersionId {
    VersionId([byte; 32])
}

fn conflict(byte: u8) -> ConflictId {
    ConflictId([byte; 32])
}

fn node(byte: u8) -> NodeId {
    NodeId([byte; 32])
}

fn store() -> StoreId {
    StoreId([0xee; 16])
}

fn address(byte: u8) -> Address {
    Address { key: [byte; 16], branch: [byte; 16] }
}

/// 64 characters of one byte's hex, as ids are written.
fn id(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}
