//! What Keepboth promises, a behaviour a file, a promise a test, on real servers wherever one can run.

mod bad_clients;
mod bad_peers;
mod command_line;
mod harness;
mod hooks;
mod mesh;
mod readme;
mod real_data;
mod requests;
mod resilience;
mod tidy;
mod watching;
