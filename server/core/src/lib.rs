//! Keepboth's rules, pure: no clock, no randomness, no input or output. Modules stand bottom-up; each uses only those above it.

/// What everything is measured against, and how figures are written in messages.
pub mod limits;
/// Periods of time as people write them.
pub mod period;
/// Sizes and periods in settings.
pub mod unit;
/// 32-byte and 16-byte identifiers and how they are written.
pub mod ids;
/// Addresses of a history's lines.
pub mod address;
/// The answer "no" to a client, a peer or a script, with its stable code.
pub mod refusal;
/// Names: namespaces, and keys or addresses.
pub mod name;
/// Patterns of keys, and which of several holds.
pub mod pattern;
/// Strict JSON in, canonical JSON out.
pub mod json;
/// Deterministic CBOR in and out.
pub mod cbor;
/// Values of the five kinds and their one form each.
pub mod value;
/// How versions and addresses get their hashes.
pub mod hash;
/// One immutable version record, and the event that carries it.
pub mod version;
/// All versions of one key.
pub mod history;
/// What readers see of one history.
pub mod view;
/// What of a history may be forgotten, and what is left out of what readers see.
pub mod retention;
/// What an address means in one history.
pub mod resolve;
/// The versions that each write makes.
pub mod write;
/// Conflicts: their event, base and level.
pub mod conflict;
/// Who a node is, and its signatures.
pub mod identity;
/// What nodes prove to each other before all else.
pub mod handshake;
/// Who belongs to the mesh, and which way events take.
pub mod mesh;
/// A sum over (key, tips) that two stores compare.
pub mod digest;
/// What a node accepts and keeps, as short hashes by part.
pub mod policy;
/// The contract between the server and its plugins.
pub mod plugin;
/// Messages between nodes and their bytes.
pub mod wire;
/// The conversation of two nodes as a state machine.
pub mod session;
