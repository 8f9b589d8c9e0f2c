//! What the rules promise, held by exact vectors and by random histories.

mod replica;
mod convergence;
mod gaps;
mod vectors;
