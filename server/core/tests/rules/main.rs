//! What the rules promise, held by exact vectors and by random histories.

mod replica;
mod store;
mod network;
mod convergence;
mod gaps;
mod vectors;
mod sessions;
mod simulation;
