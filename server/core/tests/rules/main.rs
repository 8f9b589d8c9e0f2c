//! What the rules promise, held by exact vectors and by random histories.

mod convergence;
mod gaps;
mod retention;
mod vectors;
mod sessions;
mod claims;
