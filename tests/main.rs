//! What Keepboth promises, a behaviour a file, a promise a test, on real servers wherever one can run.

mod access;
mod bad_clients;
mod bad_peers;
mod cluster;
mod command_line;
mod harness;
mod hooks;
mod mesh;
mod mesh_copies;
mod mesh_shape;
mod mesh_slow;
mod mesh_trust;
mod namespaces;
mod net;
mod operating;
mod own_plugin;
mod plugins;
mod processes;
mod readme;
mod real_data;
mod requests;
mod resilience;
mod returning;
mod tidy;
mod tls;
mod watching;
