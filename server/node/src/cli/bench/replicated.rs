//! Puts at one of several connected nodes against the same puts at a node that is alone.

use std::time::Instant;

use super::node::Node;
use super::puts::{LOADS, Load, drive};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::setup::Way;
use super::{Bench, bulk, data};
use crate::cli::exit::Failure;

/// Bytes of values.
const BYTES: usize = 1_024;

/// Measures the loads with many puts in flight, each by turns alone and connected: all loads at two nodes,
/// the one of many clients at more.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for load in LOADS.iter().filter(|load| load.in_flight > 1) {
        let counts = bench.plan.nodes.iter().filter(|count| **count == 2 || load.connections > 1);
        let counts: Vec<usize> = counts.copied().collect();
        measure_load(bench, *load, &counts)?;
    }
    bench.report.show()
}

fn measure_load(bench: &mut Bench, load: Load, counts: &[usize]) -> Result<(), Failure> {
    let mut alone = Runs::default();
    let mut runs: Vec<(Runs, Runs)> = counts.iter().map(|_| Default::default()).collect();
    for _ in 0..bench.plan.rounds {
        let node = Node::start(&bench.below, Way::Plain, &[])?;
        alone.add(puts(bench, &node, load)?);
        drop(node);
        for (count, (here, there)) in counts.iter().zip(&mut runs) {
            bench.report.talk(&format!("puts replicated to {count} nodes, {}", load.words()));
            let (answered, arrived) = connected(bench, load, *count)?;
            here.add(answered);
            there.add(arrived);
        }
    }
    for (count, (here, there)) in counts.iter().zip(&runs) {
        let row = format!("replicated put 1 KiB, {count} nodes, {}", load.words());
        let against = || "the same at a node alone".to_owned();
        let rate = alone.rate();
        bench.report.add(Row::rate(row.clone(), "puts/s", here, against(), rate));
        let row = format!("{row}, until all have all");
        bench.report.add(Row::one(row, there.rate(), "puts/s", &against(), rate));
    }
    Ok(())
}

fn puts(bench: &Bench, node: &Node, load: Load) -> Result<Sample, Failure> {
    let value = data::value(BYTES);
    drive(bench, &node.place, load, |id, number, out| data::put(id, number, &value, out))
}

/// Puts at one of so many connected nodes: as they were answered, and until all others had them.
fn connected(bench: &Bench, load: Load, count: usize) -> Result<(Sample, Sample), Failure> {
    let nodes = mesh(bench, count)?;
    let stores = nodes.iter().map(Node::store).collect::<Result<Vec<_>, _>>()?;
    let Some((here, others)) = stores.split_first() else { return Ok(Default::default()) };
    let all_have_all = |since| {
        let took = others.iter().map(|there| bulk::until_same(here, there, since));
        took.collect::<Result<Vec<_>, _>>().map(|took| took.into_iter().max().unwrap_or_default())
    };
    bulk::put(here, u64::MAX - 1..u64::MAX, 1, &data::value(BYTES))?;
    all_have_all(Instant::now())?;
    let started = Instant::now();
    let sample = puts(bench, &nodes[0], load)?;
    let took = all_have_all(started)?;
    let done = here.counts().keys - 1;
    Ok((sample, Sample { done, took, each: Vec::new() }))
}

/// So many nodes, each of which knows all that were started before it.
pub fn mesh(bench: &Bench, count: usize) -> Result<Vec<Node>, Failure> {
    let (mut nodes, mut urls) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let node = Node::start(&bench.below, Way::Plain, &urls)?;
        urls.push(node.url.clone());
        nodes.push(node);
    }
    Ok(nodes)
}
