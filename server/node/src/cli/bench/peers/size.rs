//! What a server of ours takes: memory, disk, bytes that are written, and time to start; and what a million
//! objects change.

use futures_util::future::try_join_all;

use super::judged::{Bar, Judged};
use super::load::{CLIENTS, puts_of};
use super::{Peers, VALUE_BYTES};
use crate::cli::bench::data;
use crate::cli::bench::gets::fill;
use crate::cli::bench::process::{Process, on_disk};
use crate::cli::bench::sample::Runs;
use crate::cli::bench::setup::Way;
use crate::cli::bench::wire::Wire;
use crate::cli::exit::Failure;

/// Bytes of the values of a million.
const SMALL: usize = 100;
const KIB: f64 = 1_024.0;
const MIB: f64 = 1_048_576.0;
/// Parts of the puts that are counted on the disk, after each of which is said how far it is.
const PARTS: u64 = 5;

/// Memory of a server that has nothing, and of connections on which nothing happens.
pub fn idle(peers: &mut Peers) -> Result<(), Failure> {
    let (bench, count) = (&peers.bench, peers.bench.plan.connections);
    let server = Process::keepboth(bench, Way::Plain, &[], &[])?;
    let empty = server.memory()? as f64 / MIB;
    peers.report.talk(&format!("{count} connections on which nothing happens"));
    let held = bench.wait(async {
        let value = data::value(SMALL);
        let mut first = Wire::open(&server.place).await?;
        first.ask(|out| data::put(1, 0, &value, out)).await?;
        let before = server.memory()?;
        let mut wires = try_join_all((0..count).map(|_| Wire::open(&server.place))).await?;
        for wire in &mut wires {
            wire.ask(|out| data::get(1, 0, out)).await?;
        }
        Ok(server.memory()?.saturating_sub(before))
    })?;
    peers.report.add(Judged::limit(
        "memory-empty",
        "memory of an empty server",
        empty,
        "MiB",
        30.0,
    ));
    let each = held as f64 / KIB / count as f64;
    peers.report.add(Judged::limit(
        "memory-connection",
        "memory of an idle connection",
        each,
        "KiB",
        16.0,
    ));
    peers.report.show()
}

/// Bytes that are written for each put until the last checkpoint, and those that then stand on the disk.
pub fn disk(peers: &mut Peers) -> Result<(), Failure> {
    let (bench, value) = (&peers.bench, data::value(VALUE_BYTES));
    let each = bench.plan.catch_up.div_ceil(CLIENTS.connections * PARTS);
    let objects = each * CLIENTS.connections * PARTS;
    let mut server = Process::keepboth(bench, Way::Plain, &[], &[])?;
    let (before, begun) = (server.written()?, server.processor()?);
    for part in 0..PARTS {
        let done = part * objects / PARTS;
        peers.report.talk(&format!("{done} of {objects} puts, each answered alone"));
        bench.wait(async {
            let opened = (0..CLIENTS.connections).map(|_| Wire::open(&server.place));
            let mut wires = try_join_all(opened).await?;
            let puts = wires.iter_mut().zip(0..).map(|(wire, lane)| {
                let from = (part * CLIENTS.connections + lane) * each;
                let value = &value;
                wire.each(1, each, move |id, out| data::put(id, from + id, value, out))
            });
            try_join_all(puts).await
        })?;
    }
    let processor = (server.processor()? - begun) * 1e6 / objects as f64;
    let written = server.stop()?.saturating_sub(before) as f64;
    let held = on_disk(&server.folder().join("data"))? as f64;
    let row =
        format!("bytes written for each put of 1 KiB, {}, checkpoint and all", CLIENTS.words());
    let each = |bytes: f64| bytes / objects as f64 / KIB;
    let compacted = server.has_said("compacted")?;
    // Compaction at the stop has written all that is there once more.
    let puts = if compacted { written - held } else { written };
    peers.report.add(Judged::limit("disk-written", &row, each(puts), "KiB", 6.0));
    if compacted {
        let row = format!("{row}, and the compaction at the stop");
        peers.report.add(Judged::figure("disk-written-all", &row, each(written), "KiB"));
    }
    let row = format!("processor for each put of 1 KiB, {}, the server alone", CLIENTS.words());
    peers.report.add(Judged::figure("processor", &row, processor, "us"));
    let row = format!("disk of {objects} objects of 1 KiB after a stop");
    let values = (objects as usize * VALUE_BYTES) as f64;
    let both = (held / MIB, values / MIB);
    let (of, bar) = (("disk-held", &*row), Some(Bar::AtMost(1.5)));
    peers.report.add(Judged::beside(of, both, "MiB", "the values alone", bar));
    peers.report.show()
}

/// Many objects that are there already: memory, puts beside those of an empty store, and the start.
pub fn many(peers: &mut Peers) -> Result<(), Failure> {
    let (bench, objects) = (&peers.bench, peers.bench.plan.many);
    peers.report.talk(&format!("a server is given {objects} objects of 100 B"));
    let mut server = Process::keepboth(bench, Way::Hooked, &[], &[])?;
    fill(bench, &server.place, 0..objects, &data::value(SMALL))?;
    let memory = server.memory()? as f64 / MIB;
    let (mut full, mut empty) = (Runs::default(), Runs::default());
    for round in 1..=u64::from(bench.plan.rounds) {
        peers.report.talk(&format!("puts beside those objects, {round} of {}", bench.plan.rounds));
        let other = Process::keepboth(bench, Way::Hooked, &[], &[])?;
        empty.add(puts_of(peers, &other, CLIENTS, 0)?);
        drop(other);
        full.add(puts_of(peers, &server, CLIENTS, round << 56)?);
    }
    server.stop()?;
    server.start_again(bench)?;
    let start = server.started_in.as_secs_f64() * 1e3;
    peers.report.talk("a start after a kill under the same puts");
    puts_of(peers, &server, CLIENTS, u64::from(bench.plan.rounds + 1) << 56)?;
    server.kill();
    server.start_again(bench)?;
    let killed = server.started_in.as_secs_f64() * 1e3;
    let there = format!("with {objects} objects of 100 B");
    let row = format!("memory {there}");
    peers.report.add(Judged::limit("many-memory", &row, memory, "MiB", 400.0));
    let row = format!("durable put 1 KiB, {}, schema and hook, {there}", CLIENTS.words());
    let (both, bar) = ((full.rate(), empty.rate()), Some(Bar::AtLeast(0.4, Some(0.6))));
    let of = ("many-puts", &*row);
    peers.report.add(Judged::beside(of, both, "puts/s", "the same, empty", bar));
    let within = |share| full.within_us(share).unwrap_or_default();
    let (both, bar) = ((within(0.99), within(0.5)), Some(Bar::AtMost(20.0)));
    let row = format!("{row}, 99 of 100 within");
    peers.report.add(Judged::beside(("many-p99", &row), both, "us", "half within", bar));
    let row = format!("start to the first answer {there} and those puts");
    peers.report.add(Judged::limit("many-start", &row, start, "ms", 1_000.0));
    let row = format!("start to the first answer {there}, after a kill right after puts");
    peers.report.add(Judged::figure("many-start-killed", &row, killed, "ms"));
    peers.report.show()
}
