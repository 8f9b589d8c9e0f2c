//! Puts at one of two connected nodes against the same puts at a node that is alone.

use std::time::Instant;

use super::node::{Node, Way};
use super::puts::{LOADS, Load, drive};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::{Bench, bulk, data};
use crate::cli::exit::Failure;

/// Bytes of values.
const BYTES: usize = 1_024;

/// Measures the loads with many puts in flight, each by turns alone and connected.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let value = data::value(BYTES);
    for load in LOADS.iter().filter(|load| load.in_flight > 1) {
        bench.report.talk(&format!("replicated puts, {}", load.words()));
        let (mut alone, mut both, mut there) = (Runs::default(), Runs::default(), Runs::default());
        for _ in 0..bench.plan.rounds {
            let node = Node::start(&bench.below, Way::Plain, &[])?;
            alone.add(drive(bench, &node, &value, *load)?);
            drop(node);
            let (here, arrived) = connected(bench, *load, &value)?;
            both.add(here);
            there.add(arrived);
        }
        let row = format!("replicated put 1 KiB, {}", load.words());
        let against = || "the same at a node alone".to_owned();
        let rate = alone.rate();
        bench.report.add(Row::rate(row.clone(), "puts/s", &both, against(), rate));
        let row = format!("{row}, until the other node has all");
        bench.report.add(Row::one(row, there.rate(), "puts/s", &against(), rate));
    }
    bench.report.show()
}

/// Puts at one of two connected nodes: as they were answered, and all of them until the other had them.
fn connected(bench: &Bench, load: Load, value: &str) -> Result<(Sample, Sample), Failure> {
    let a = Node::start(&bench.below, Way::Plain, &[])?;
    let b = Node::start(&bench.below, Way::Plain, std::slice::from_ref(&a.url))?;
    let (here, there) = (a.store()?, b.store()?);
    bulk::put(&here, u64::MAX - 1..u64::MAX, 1, value)?;
    bulk::until_same(&here, &there, Instant::now())?;
    let started = Instant::now();
    let sample = drive(bench, &a, value, load)?;
    let took = bulk::until_same(&here, &there, started)?;
    let done = here.counts().keys - 1;
    Ok((sample, Sample { done, took, each: Vec::new() }))
}
