//! `keepboth demo`: three nodes on this machine, a cut link, a conflict, the heal, and a merge by a hook.

/// A wire that can be cut.
pub mod link;
/// A node of its own process.
pub mod node;
