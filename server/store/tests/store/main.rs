//! What a store promises, one file for each behaviour.

mod harness;
mod simulated;

mod addresses;
mod batches;
mod conflicts;
mod faults;
mod feed;
mod histories;
mod opening;
mod paging;
mod past;
mod power;
mod queue;
mod receiving;
mod trash;
mod writes;
