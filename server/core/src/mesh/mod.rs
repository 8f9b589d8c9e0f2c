//! Who belongs to the mesh, what members say of themselves, and which way an event takes.
//!
//! Two kinds of notes spread from node to node until all have them. A *grant* is an operator's: a node
//! is admitted or removed. An *about* is a node's own: its addresses, its namespaces, and to whom it is
//! connected. Of two notes about the same node the one with the larger counter holds; of two grants with
//! the same counter the removal. So all nodes that have heard the same notes agree, in whatever order.

/// What operators and nodes say.
mod notes;
/// Which of it holds.
mod members;
/// Which way an event takes.
mod route;
#[cfg(test)]
mod tests;

pub use members::Members;
pub use notes::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, AGENT_BYTES_MAX, About, Grant, MEMBERS_MAX, NAMESPACES_MAX,
    Notes,
};
