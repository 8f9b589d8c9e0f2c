//! Gets of objects that are there against the same reads without a server around them.

use std::time::Instant;

use keepboth_core::name::Name;

use super::node::{Node, Way};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::wire::Wire;
use super::{Bench, SIZES, data};
use crate::cli::exit::{Exit, Failure};

/// Puts that are sent at once to fill the namespace.
const BATCH: u64 = 500;

/// Measures all sizes and loads.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for (size, bytes) in SIZES {
        bench.report.talk(&format!("gets of {size}"));
        let node = Node::start(&bench.below, Way::Plain, &[])?;
        fill(bench, &node, &data::value(bytes))?;
        let loads = [1, 64, 1_024];
        let (mut inside, mut runs) = (Runs::default(), loads.map(|_| Runs::default()));
        for _ in 0..bench.plan.rounds {
            inside.add(inside_run(bench, &node)?);
            for (in_flight, runs) in loads.iter().zip(&mut runs) {
                runs.add(run(bench, &node, *in_flight)?);
            }
        }
        for (in_flight, runs) in loads.iter().zip(&runs) {
            let name = format!("get {size}, {in_flight} in flight");
            let against = "in process, one thread".into();
            bench.report.add(Row::rate(name, "gets/s", runs, against, inside.rate()));
        }
    }
    bench.report.show()
}

fn fill(bench: &Bench, node: &Node, value: &str) -> Result<(), Failure> {
    bench.client.block_on(async {
        let mut wire = Wire::open(&node.url).await?;
        let mut from = 0;
        while from < bench.plan.objects {
            let until = bench.plan.objects.min(from + BATCH);
            wire.ask(data::batch(1, from..until, value)).await?;
            from = until;
        }
        Ok(())
    })
}

/// The number of the object that is read next: all of them, in no order that a disk would like.
fn pick(at: u64, objects: u64) -> u64 {
    at.wrapping_mul(7_919) % objects
}

fn run(bench: &Bench, node: &Node, in_flight: u64) -> Result<Sample, Failure> {
    let objects = bench.plan.objects;
    bench.client.block_on(async {
        let mut wire = Wire::open(&node.url).await?;
        wire.drive(in_flight, bench.window(), |id| data::get(id, pick(id, objects))).await
    })
}

/// The reads that a get is made of, one after another on this thread.
fn inside_run(bench: &Bench, node: &Node) -> Result<Sample, Failure> {
    let failed = |error: String| Failure::new(Exit::Failure, error);
    let space = node.space()?;
    let names = (0..bench.plan.objects).map(|n| data::checked_key(n).map(Name::Key));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.to_string()))?;
    let (mut sample, started) = (Sample::default(), Instant::now());
    while sample.took < bench.plan.run {
        for _ in 0..64 {
            let name = &names[pick(sample.done, bench.plan.objects) as usize];
            space.store.snapshot().get(name).map_err(|e| failed(e.to_string()))?;
            sample.done += 1;
        }
        sample.took = started.elapsed();
    }
    Ok(sample)
}
