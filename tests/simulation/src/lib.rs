//! Nodes on a network, a clock and disks of discrete events: the rules under every fault, the same run for the same seed. Modules stand bottom-up; each uses only those above it.
//!
//! The rules for sessions, membership and histories are state machines without sockets, clocks and disks,
//! so they run here as they are, on a queue of events that one seed orders. Simulated sockets under an
//! async runtime would bring the same faults some hundred times slower, and could not say what a session
//! holds or claims between two messages. What stands around the machines in a node (reading, writing,
//! pings, dialling, the commit thread) is modelled here, and tested with real processes elsewhere.

/// Bugs that are put into a run on purpose.
pub mod planted;
/// A replica in memory: the smallest thing that obeys the rules.
pub mod replica;
/// Stores in memory as a session sees them.
pub mod store;
/// Nodes whose sessions talk over a network of discrete events.
pub mod network;
/// Random runs with faults, then healing.
pub mod run;
