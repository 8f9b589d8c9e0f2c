//! Watch fan-out: how many events a second reach all watchers together while one client writes.

use std::time::Instant;

use futures_util::future::{join, try_join_all};
use tokio::time::timeout_at;

use super::node::{Node, Way};
use super::report::Row;
use super::sample::{Runs, Sample, Window};
use super::wire::Wire;
use super::{Bench, data};
use crate::cli::exit::Failure;

/// Puts of the writer that are in flight.
const IN_FLIGHT: u64 = 64;
/// Bytes of its values.
const BYTES: usize = 100;

/// Measures with few and many watchers, by turns with none.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    let counts = [1, 10, 100];
    let mut events = counts.map(|_| Runs::default());
    let mut puts = counts.map(|_| Runs::default());
    let mut alone = Runs::default();
    for _ in 0..bench.plan.rounds {
        alone.add(run(bench, 0)?.0);
        for (at, watchers) in counts.iter().enumerate() {
            bench.report.talk(&format!("watchers: {watchers}"));
            let (put, heard) = run(bench, *watchers)?;
            puts[at].add(put);
            events[at].add(heard);
        }
    }
    for (at, watchers) in counts.iter().enumerate() {
        let what = format!("watchers: {watchers}, put 100 B, {IN_FLIGHT} in flight");
        let (events, puts) = (&events[at], &puts[at]);
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

/// The writer's puts, and the events of all watchers together.
fn run(bench: &Bench, watchers: usize) -> Result<(Sample, Sample), Failure> {
    let (node, value) = (Node::start(&bench.below, Way::Plain, &[])?, data::value(BYTES));
    bench.client.block_on(async {
        let mut writer = Wire::open(&node.url).await?;
        let mut wires = try_join_all((0..watchers).map(|_| watcher(&node.url))).await?;
        let window = bench.window();
        let writing = writer.drive(IN_FLIGHT, window, |id| data::put(id, id, &value));
        let hearing = try_join_all(wires.iter_mut().map(|wire| listen(wire, window)));
        let (written, heard) = join(writing, hearing).await;
        Ok((written?, Sample::together(heard?)))
    })
}

async fn watcher(url: &str) -> Result<Wire, Failure> {
    let mut wire = Wire::open(url).await?;
    wire.ask(data::watch(1)).await?;
    Ok(wire)
}

/// Counts events until the window is over. If none came in it, those before and the next one count.
async fn listen(wire: &mut Wire, window: Window) -> Result<Sample, Failure> {
    let (started, mut early) = (Instant::now(), 0);
    let mut sample = Sample { took: window.length(), ..Sample::default() };
    let end = tokio::time::Instant::from_std(window.from() + window.length());
    while let Ok(frame) = timeout_at(end, wire.next()).await {
        let events = events(wire, &frame?)?;
        match window.counts(Instant::now()) {
            true => sample.done += events,
            false => early += events,
        }
    }
    if sample.done == 0 {
        while early == 0 {
            let frame = wire.next().await?;
            early = events(wire, &frame)?;
        }
        (sample.done, sample.took) = (early, started.elapsed());
    }
    Ok(sample)
}

/// The events in this frame and in those that are there with it.
fn events(wire: &mut Wire, frame: &str) -> Result<u64, Failure> {
    let is_event = |frame: &str| u64::from(frame.contains(r#""event":"#));
    let mut count = is_event(frame);
    while let Some(frame) = wire.ready() {
        count += is_event(&frame?);
    }
    Ok(count)
}
