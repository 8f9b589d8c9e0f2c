//! The Keepboth server as a library: configuration, namespaces, clients, peers, and the command line.

/// The one place that reads the clocks.
pub mod clock;
/// Small files that are there whole or not at all.
pub mod atomic;
/// TLS on the port and towards other servers.
pub mod tls;
/// The configuration file: its form, its checks, and errors with file, line and column.
pub mod config;
/// What clients and server say to each other, in JSON and MessagePack.
pub mod protocol;
/// A client of the protocol, as the command line uses it.
pub mod client;
/// The plugins of one namespace on their own threads.
pub mod hooks;
/// One namespace: its store, its hooks, its watchers; the one way in and the one way out.
pub mod namespace;
/// Counters and gauges for Prometheus.
pub mod metrics;
/// The connections between nodes.
pub mod peers;
/// The connections of clients.
pub mod clients;
/// The server: everything together, from start to graceful stop.
pub mod server;
/// Who this node is.
pub mod identity;
/// The configuration is read again while the server runs.
pub mod reload;
/// The `keepboth` command.
pub mod cli;
