//! Durable puts of new keys against bare redb transactions that write the same rows.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use keepboth_store::baseline::{Bare, Put};

use super::data;
use super::node::Node;
use super::report::Row;
use super::sample::{Runs, Sample, Window};
use super::setup::{Folder, Way};
use super::wire::{Place, Wire};
use super::{Bench, SIZES};
use crate::cli::exit::{Exit, Failure};

/// How requests are spread.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Puts that are in flight.
    pub in_flight: u64,
    /// Over so many connections.
    pub connections: u64,
}

/// What is measured.
pub const LOADS: [Load; 4] = [
    Load { in_flight: 1, connections: 1 },
    Load { in_flight: 64, connections: 64 },
    Load { in_flight: 64, connections: 1 },
    Load { in_flight: 1_024, connections: 1 },
];
/// What writes pass.
pub const WAYS: [Way; 3] = [Way::Plain, Way::Schema, Way::Hooked];

/// Measures all sizes, loads and ways.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for (size, bytes) in SIZES {
        let value = data::value(bytes);
        for in_flight in [1, 64, 1_024] {
            bench.report.talk(&format!("puts of {size}, {in_flight} in flight"));
            measure_group(bench, size, &value, in_flight)?;
        }
    }
    bench.report.show()
}

/// All that is measured against the same baseline, by turns.
fn measure_group(
    bench: &mut Bench,
    size: &str,
    value: &str,
    in_flight: u64,
) -> Result<(), Failure> {
    let loads = LOADS.iter().filter(|load| load.in_flight == in_flight);
    let cases: Vec<(Load, Way)> = loads.flat_map(|load| WAYS.map(|way| (*load, way))).collect();
    let mut runs: Vec<(Runs, Runs)> = cases.iter().map(|_| Default::default()).collect();
    for _ in 0..bench.plan.rounds {
        for ((load, way), (ours, bare)) in cases.iter().zip(&mut runs) {
            bare.add(bare_run(bench, value, in_flight)?);
            ours.add(run(bench, value, *load, *way)?);
        }
    }
    let mut plain = 0.0;
    for ((load, way), (ours, bare)) in cases.iter().zip(&runs) {
        let name = format!("put {size}, {}, {}", load.words(), way.as_str());
        let raw = format!("raw redb, {in_flight} a commit");
        bench.report.add(Row::rate(name.clone(), "puts/s", ours, raw, bare.rate()));
        match way {
            Way::Plain => plain = ours.rate(),
            Way::Schema | Way::Merging | Way::Interval => {}
            Way::Hooked => {
                let without = "the same, plain".into();
                bench.report.add(Row::rate(name, "puts/s", ours, without, plain));
            }
        }
    }
    Ok(())
}

impl Load {
    /// In words.
    pub fn words(self) -> String {
        let Load { in_flight, connections } = self;
        match connections {
            1 => format!("{in_flight} in flight"),
            _ => format!("{in_flight} in flight from {connections} connections"),
        }
    }
}

/// One run on a new server.
fn run(bench: &Bench, value: &str, load: Load, way: Way) -> Result<Sample, Failure> {
    let node = Node::start(&bench.below, way, &[])?;
    drive(bench, &node.place, load, |id, number, out| data::put(id, number, value, out))
}

/// One run on this server. `request` appends the one with an id for a number, which is not used twice.
pub fn drive(
    bench: &Bench,
    place: &Place,
    load: Load,
    request: impl Fn(u64, u64, &mut Vec<u8>),
) -> Result<Sample, Failure> {
    bench.wait(async {
        let opened = (0..load.connections).map(|_| Wire::open(place));
        let mut wires = try_join_all(opened).await?;
        let (window, each) = (bench.window(), load.in_flight / load.connections);
        let request = &request;
        let driven = wires.iter_mut().zip(0..).map(|(wire, lane)| {
            wire.drive(each, window, move |id, out| request(id, lane << 40 | id, out))
        });
        Ok(Sample::together(try_join_all(driven).await?))
    })
}

/// One run of bare transactions. Only the transactions are timed, not the making of their rows.
pub fn bare_run(bench: &Bench, value: &str, batch: u64) -> Result<Sample, Failure> {
    let folder = Folder::new(&bench.below)?;
    let mut bare = Bare::create(&folder.path().join("bare.redb"))?;
    let mut next = 0;
    let mut group = || -> Result<Vec<Put>, Failure> {
        let numbers = next..next + batch;
        next = numbers.end;
        numbers
            .map(|n| Ok(Put::new(data::checked_key(n).map_err(refused)?, value.as_bytes())))
            .collect()
    };
    let warm = Instant::now();
    while warm.elapsed() < bench.plan.warm {
        bare.commit(&mut group()?)?;
    }
    let mut sample = Sample::default();
    while sample.took < bench.plan.run {
        let mut puts = group()?;
        let started = Instant::now();
        bare.commit(&mut puts)?;
        let took: Duration = started.elapsed();
        sample.done += batch;
        sample.took += took;
        sample.each.push(took.as_nanos() as u64);
    }
    Ok(sample)
}

fn refused(refusal: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, refusal.to_string())
}

impl Bench {
    /// A window that begins now with its warm-up.
    pub fn window(&self) -> Window {
        Window::new(self.plan.warm, self.plan.run)
    }
}
