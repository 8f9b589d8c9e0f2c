//! The Keepboth server as a library: configuration, namespaces, clients, peers, and the command line.

/// The one place that reads the clocks.
pub mod clock;
/// Small files that are there whole or not at all.
pub mod atomic;
/// TLS on the port and towards other servers.
pub mod tls;
/// Plugins that were made from their settings.
pub mod made;
/// The configuration file: its form, its checks, and errors with file, line and column.
pub mod config;
/// What clients and server say to each other, in JSON and MessagePack.
pub mod protocol;
/// A client of the protocol, as the command line uses it.
pub mod client;
/// What plugins cost and what they count.
pub mod meters;
/// The plugins of one namespace on their own threads.
pub mod hooks;
/// One namespace: its store, its hooks, its watchers; the one way in and the one way out.
pub mod namespace;
/// Counters and gauges for Prometheus.
pub mod metrics;
/// The connections between nodes.
pub mod peers;
/// Who may connect, and who that is: the plugins of the server.
pub mod gates;
/// What stands in files and is not in force.
pub mod not_taken;
/// The connections of clients.
pub mod clients;
/// The server: everything together, from start to graceful stop.
pub mod server;
/// Who this node is.
pub mod identity;
/// The configuration is read again while the server runs.
pub mod reload;
/// Scripts and schemas that were saved.
pub mod saved;
/// The `keepboth` command.
pub mod cli;

use keepboth_core::plugin::Factory;

/// Runs the `keepboth` command with plugins of your own besides those that come with it: the whole main
/// of your own server.
///
/// ```no_run
/// # const STAMP: keepboth_core::plugin::Factory = keepboth_audit::FACTORY;
/// fn main() -> std::process::ExitCode {
///     keepboth::main_with(&[STAMP])
/// }
/// ```
pub fn main_with(own: &[Factory]) -> std::process::ExitCode {
    cli::main(own)
}
