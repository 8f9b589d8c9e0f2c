//! Watch fan-out: how many events a second reach all watchers together while one client writes.

use std::time::Instant;

use futures_util::future::{join, try_join_all};
use tokio::time::timeout_at;

use super::node::Node;
use super::process::open_files_max;
use super::report::Row;
use super::sample::{Runs, Sample, Window};
use super::setup::Way;
use super::wire::{Message, Place, Wire};
use super::{Bench, data};
use crate::cli::exit::Failure;

/// Puts of the writer that are in flight.
const IN_FLIGHT: u64 = 64;
/// Files that are open besides connections of watchers, at most.
const FILES: u64 = 100;
/// Bytes of its values.
const BYTES: usize = 100;

/// Measures with few and many watchers, by turns with none.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let counts = possible(bench);
    let mut runs: Vec<(Runs, Runs)> = counts.iter().map(|_| Default::default()).collect();
    let mut alone = Runs::default();
    for _ in 0..bench.plan.rounds {
        alone.add(run(bench, 0)?.0);
        for (watchers, (puts, events)) in counts.iter().zip(&mut runs) {
            bench.report.talk(&format!("watchers: {watchers}"));
            let (put, heard) = run(bench, *watchers)?;
            puts.add(put);
            events.add(heard);
        }
    }
    for (watchers, (puts, events)) in counts.iter().zip(&runs) {
        let what = format!("watchers: {watchers}, put 100 B, {IN_FLIGHT} in flight");
        let written = "puts/s meanwhile".into();
        bench.report.add(Row {
            p50_us: None,
            p99_us: None,
            ..Row::rate(what.clone(), "events/s", events, written, puts.rate())
        });
        let unwatched = "the same, unwatched".into();
        bench.report.add(Row::rate(what, "puts/s", puts, unwatched, alone.rate()));
    }
    bench.report.show()
}

/// The counts of watchers for which this process may open files enough: both ends of each connection.
fn possible(bench: &Bench) -> Vec<usize> {
    let most = open_files_max().unwrap_or(u64::MAX);
    let fits = |watchers: &usize| {
        let needed = *watchers as u64 * 2 + FILES;
        if needed > most {
            bench.report.talk(&format!(
                "{watchers} watchers are left out: {needed} open files are needed, {most} allowed; \
                 ulimit -n {needed} allows more"
            ));
        }
        needed <= most
    };
    bench.plan.watchers.iter().copied().filter(fits).collect()
}

/// The writer's puts, and the events of all watchers together.
fn run(bench: &Bench, watchers: usize) -> Result<(Sample, Sample), Failure> {
    let (node, value) = (Node::start(&bench.below, Way::Plain, &[])?, data::value(BYTES));
    bench.wait(async {
        let mut writer = Wire::open(&node.place).await?;
        let mut wires = try_join_all((0..watchers).map(|_| watcher(&node.place))).await?;
        let window = bench.window();
        let writing = writer.drive(IN_FLIGHT, window, |id, out| {
            data::put(id, id, &value, out);
        });
        let hearing = try_join_all(wires.iter_mut().map(|wire| listen(wire, window)));
        let (written, heard) = join(writing, hearing).await;
        Ok((written?, Sample::together(heard?)))
    })
}

async fn watcher(place: &Place) -> Result<Wire, Failure> {
    let mut wire = Wire::open(place).await?;
    wire.ask(|out| data::watch(1, out)).await?;
    Ok(wire)
}

/// Counts events until the window is over. If none came in it, those before and the next one count.
async fn listen(wire: &mut Wire, window: Window) -> Result<Sample, Failure> {
    let (started, mut early) = (Instant::now(), 0);
    let mut sample = Sample { took: window.length(), ..Sample::default() };
    let end = tokio::time::Instant::from_std(window.from() + window.length());
    while let Ok(message) = timeout_at(end, wire.next()).await {
        let events = events(wire, message?)?;
        match window.counts(Instant::now()) {
            true => sample.done += events,
            false => early += events,
        }
    }
    if sample.done == 0 {
        while early == 0 {
            let message = wire.next().await?;
            early = events(wire, message)?;
        }
        (sample.done, sample.took) = (early, started.elapsed());
    }
    Ok(sample)
}

/// How many events this message and those that are there with it are.
fn events(wire: &mut Wire, message: Message) -> Result<u64, Failure> {
    let (mut next, mut count) = (Some(message), 0);
    while let Some(message) = next {
        let text = wire.text(&message);
        // It stands right after the number of the watch.
        let head = &text[..text.len().min(40)];
        count += u64::from(head.windows(8).any(|part| part == br#""event":"#));
        next = wire.ready()?;
    }
    Ok(count)
}
