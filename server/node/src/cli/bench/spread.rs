//! Puts that are spread over several namespaces, each with a database and threads of its own, against the
//! same puts into one.

use super::node::Node;
use super::puts::{LOADS, Load, WAYS, drive};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::setup::{Setup, Way};
use super::{Bench, data};
use crate::cli::exit::Failure;

/// The names of the namespaces.
const SPREAD: [&str; 4] = ["one", "two", "three", "four"];
/// Bytes of values.
const BYTES: usize = 1_024;

/// Measures the loads with many puts in flight.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for load in LOADS.iter().filter(|load| load.in_flight > 1) {
        bench.report.talk(&format!("puts into several namespaces, {}", load.words()));
        for way in WAYS {
            let (mut one, mut several) = (Runs::default(), Runs::default());
            for _ in 0..bench.plan.rounds {
                one.add(run(bench, *load, way, &SPREAD[..1])?);
                several.add(run(bench, *load, way, &SPREAD)?);
            }
            let (count, words) = (SPREAD.len(), load.words());
            let row = format!("put 1 KiB into {count} namespaces, {words}, {}", way.as_str());
            let against = "the same into one".into();
            bench.report.add(Row::rate(row, "puts/s", &several, against, one.rate()));
        }
    }
    bench.report.show()
}

fn run(bench: &Bench, load: Load, way: Way, names: &[&str]) -> Result<Sample, Failure> {
    let setup = Setup { port: 0, way, peers: &[], others: names };
    let (node, value) = (Node::start_as(&bench.below, &setup)?, data::value(BYTES));
    drive(bench, &node.place, load, |id, number, out| {
        // Each connection writes to all of them.
        data::put_to(names[id as usize % names.len()], id, number, &value, out);
    })
}
