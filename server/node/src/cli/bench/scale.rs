//! What changes with the number of objects: puts, gets, the start, memory and disk, at servers in processes
//! of their own, each against the smallest.

use std::path::Path;

use super::gets::{self, fill};
use super::plot::{Line, Plot};
use super::process::{Process, on_disk};
use super::puts::{Load, drive};
use super::report::Row;
use super::sample::Runs;
use super::setup::Way;
use super::{Bench, data};
use crate::cli::exit::Failure;

/// Objects of the servers that are smaller than the largest.
const SMALLER: [u64; 2] = [10_000, 100_000];
/// Bytes of values.
const BYTES: usize = 100;
/// How puts come.
const PUTS: Load = Load { in_flight: 64, connections: 64 };
/// How many gets are in flight on one connection.
const GETS: u64 = 1_024;

/// The figures of one server.
struct Figures {
    objects: u64,
    puts: Runs,
    gets: Runs,
    start_ms: f64,
    memory_mib: f64,
    disk_bytes: f64,
}

/// Measures all sizes, and draws them if it was told where.
pub fn measure(bench: &mut Bench, plots: Option<&Path>) -> Result<(), Failure> {
    let mut all = Vec::new();
    let largest = bench.plan.many;
    for objects in SMALLER.into_iter().filter(|size| *size < largest).chain([largest]) {
        bench.report.talk(&format!("a server with {objects} objects of 100 B"));
        all.push(one(bench, objects)?);
    }
    let Some(smallest) = all.first() else { return Ok(()) };
    let against = || format!("with {} objects", smallest.objects);
    for figures in &all {
        let row = |what: &str| format!("{} objects of 100 B, {what}", figures.objects);
        let puts = row(&format!("put, {}", PUTS.words()));
        let rate = smallest.puts.rate();
        bench.report.add(Row::rate(puts, "puts/s", &figures.puts, against(), rate));
        let gets = row(&format!("get, {GETS} in flight"));
        let rate = smallest.gets.rate();
        bench.report.add(Row::rate(gets, "gets/s", &figures.gets, against(), rate));
        let mut add = |what, unit, of: fn(&Figures) -> f64| {
            let (ours, baseline) = (of(figures), of(smallest));
            bench.report.add(Row::one(row(what), ours, unit, &against(), baseline));
        };
        add("start to the first answer", "ms", |figures| figures.start_ms);
        add("memory after they were put", "MiB", |figures| figures.memory_mib);
        add("disk for each, after a stop", "B", |figures| figures.disk_bytes);
    }
    if let Some(folder) = plots {
        let file = folder.join("scale.svg");
        std::fs::write(&file, plot(&all).svg())?;
        bench.report.talk(&format!("drawn: {}", file.display()));
    }
    bench.report.show()
}

/// One server, filled, stopped and started again. Puts come last, for they add to the objects.
fn one(bench: &Bench, objects: u64) -> Result<Figures, Failure> {
    let (mut server, value) = (Process::keepboth(bench, Way::Plain, &[], &[])?, data::value(BYTES));
    fill(bench, &server.place, 0..objects, &value)?;
    let memory_mib = server.memory()? as f64 / 1_048_576.0;
    server.stop()?;
    let disk_bytes = on_disk(&server.folder().join("data"))? as f64 / objects as f64;
    server.start_again(bench)?;
    let start_ms = server.started_in.as_secs_f64() * 1e3;
    let (mut puts, mut gets) = (Runs::default(), Runs::default());
    for _ in 0..bench.plan.rounds {
        gets.add(gets::run(bench, &server.place, GETS, objects)?);
    }
    puts.add(drive(bench, &server.place, PUTS, |id, number, out| {
        data::put(id, 1 << 60 | number, &value, out);
    })?);
    Ok(Figures { objects, puts, gets, start_ms, memory_mib, disk_bytes })
}

fn plot(all: &[Figures]) -> Plot {
    let line = |title, of: fn(&Figures) -> f64| Line {
        title,
        points: all.iter().map(|figures| (figures.objects as f64, of(figures))).collect(),
    };
    Plot {
        title: "Objects of 100 B in one namespace",
        lines: vec![
            line("puts a second, 64 connections", |figures| figures.puts.rate()),
            line("gets a second, 1,024 in flight", |figures| figures.gets.rate()),
            line("start to the first answer, ms", |figures| figures.start_ms),
            line("memory, MiB", |figures| figures.memory_mib),
            line("disk for each object, bytes", |figures| figures.disk_bytes),
        ],
    }
}
