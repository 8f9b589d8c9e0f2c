//! Gets of objects that are there against the same reads without a server around them.

use std::ops::Range;
use std::time::Instant;

use futures_util::future::try_join;
use keepboth_core::name::Name;

use super::node::Node;
use super::puts::{Load, drive};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::setup::Way;
use super::wire::{Place, Wire};
use super::{Bench, SIZES, data};
use crate::cli::exit::{Exit, Failure};

/// Most bytes of all objects: they are to be found in memory.
const BYTES: u64 = 32 * 1024 * 1024;
/// Gets in flight of a client that wants many, and puts beside them.
const MANY: u64 = 1_024;
const PUTS: u64 = 64;
/// Parts of a filling after which is said how far it is.
const PARTS: u64 = 10;
/// Fewer objects than that are filled in without a word.
const PART_MIN: u64 = 20_000;

/// Measures all sizes and loads.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for (size, bytes) in SIZES {
        bench.report.talk(&format!("gets of {size}"));
        let node = Node::start(&bench.below, Way::Plain, &[])?;
        let objects = bench.plan.objects.min(BYTES / bytes as u64);
        let value = data::value(bytes);
        fill(bench, &node.place, 0..objects, &value)?;
        let loads = [1, 64, MANY];
        let (mut inside, mut runs) = (Runs::default(), loads.map(|_| Runs::default()));
        let mut beside = Runs::default();
        for _ in 0..bench.plan.rounds {
            inside.add(inside_run(bench, &node, objects)?);
            for (in_flight, runs) in loads.iter().zip(&mut runs) {
                runs.add(run(bench, &node.place, *in_flight, objects)?);
            }
            beside.add(run_beside(bench, &node.place, objects, &value)?);
        }
        for (in_flight, runs) in loads.iter().zip(&runs) {
            let name = format!("get {size}, {in_flight} in flight");
            let against = "in process, one thread".into();
            bench.report.add(Row::rate(name, "gets/s", runs, against, inside.rate()));
        }
        let [.., alone] = &runs;
        let name = format!("get {size}, {MANY} in flight, beside {PUTS} puts in flight");
        let against = "the same alone".into();
        bench.report.add(Row::rate(name, "gets/s", &beside, against, alone.rate()));
    }
    bench.report.show()
}

/// Puts objects with these numbers, many at once.
pub fn fill(bench: &Bench, place: &Place, numbers: Range<u64>, value: &str) -> Result<(), Failure> {
    let batch = data::batch_of(value.len());
    let total = numbers.end - numbers.start;
    let part = (total / PARTS).max(PART_MIN);
    bench.wait(async {
        let (mut wire, mut from) = (Wire::open(place).await?, numbers.start);
        while from < numbers.end {
            let until = numbers.end.min(from + part);
            let request = |id, out: &mut Vec<u8>| {
                let first = from + (id - 1) * batch;
                data::batch(id, first..until.min(first + batch), value, out);
            };
            wire.each(2, (until - from).div_ceil(batch), request).await?;
            if total > PART_MIN {
                bench.report.talk(&format!("  {} of {total} objects", until - numbers.start));
            }
            from = until;
        }
        Ok(())
    })
}

/// The number of the object that is read next: all of them, in no order that a disk would like.
pub fn pick(at: u64, objects: u64) -> u64 {
    at.wrapping_mul(7_919) % objects
}

/// One run of gets on one connection.
pub fn run(bench: &Bench, place: &Place, in_flight: u64, objects: u64) -> Result<Sample, Failure> {
    drive(bench, place, Load { in_flight, connections: 1 }, |id, _, out| {
        data::get(id, pick(id, objects), out);
    })
}

/// One run of gets on one connection while another puts new objects.
fn run_beside(bench: &Bench, place: &Place, objects: u64, value: &str) -> Result<Sample, Failure> {
    // Keys of earlier runs become updates.
    let key = |id| objects + id;
    bench.wait(async {
        let (mut reader, mut writer) = (Wire::open(place).await?, Wire::open(place).await?);
        let window = bench.window();
        let gets = reader.drive(MANY, window, |id, out| data::get(id, pick(id, objects), out));
        let puts = writer.drive(PUTS, window, |id, out| data::put(id, key(id), value, out));
        Ok(try_join(gets, puts).await?.0)
    })
}

/// The reads that a get is made of, one after another on this thread.
fn inside_run(bench: &Bench, node: &Node, objects: u64) -> Result<Sample, Failure> {
    let failed = |error: String| Failure::new(Exit::Failure, error);
    let space = node.space()?;
    let names = (0..objects).map(|n| data::checked_key(n).map(Name::Key));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.to_string()))?;
    let (mut sample, started) = (Sample::default(), Instant::now());
    while sample.took < bench.plan.run {
        for _ in 0..64 {
            let name = &names[pick(sample.done, objects) as usize];
            space.store.snapshot().get(name).map_err(|e| failed(e.to_string()))?;
            sample.done += 1;
        }
        sample.took = started.elapsed();
    }
    Ok(sample)
}
