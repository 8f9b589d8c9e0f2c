//! What a store promises, one file for each behaviour.

mod harness;
mod simulated;
mod chores;

mod addresses;
mod batches;
mod compacting;
mod conflicts;
mod converging;
mod digests;
mod everything;
mod faults;
mod feed;
mod forgetting;
mod here;
mod histories;
mod identity;
mod journal;
mod keeping;
mod nearer;
mod opening;
mod paging;
mod panics;
mod past;
mod power;
mod quarantine;
mod queue;
mod quotas;
mod receiving;
mod room;
mod rows;
mod shelf;
mod syncs;
mod trash;
mod writes;
