//! How much later than its answer a put at one node is seen at all others, which have committed it too.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::replicated::mesh;
use super::report::Row;
use super::sample::{Runs, Sample};
use super::setup::ALONE;
use super::wire::{Place, Wire};
use super::{Bench, data};
use crate::cli::exit::{Exit, Failure};

/// How long nodes may take to find each other.
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);
/// The rest between two puts, in which acknowledgements settle.
const REST: Duration = Duration::from_millis(2);
/// The load of all rows here, in puts a second.
const LOAD: f64 = 5_000.0;
/// How often some of the load is sent.
const LOAD_EVERY: Duration = Duration::from_millis(2);

/// Measures one put at a time, by turns with a put that stays at another node: at rest, and while another
/// client writes.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for nodes in bench.plan.nodes {
        for load in [None, Some(LOAD)] {
            let while_what = if load.is_some() { ", under load" } else { "" };
            bench.report.talk(&format!("lag of {nodes} nodes{while_what}"));
            let length = bench.plan.run * bench.plan.rounds;
            let mesh = mesh(bench, *nodes)?;
            let places: Vec<Place> = mesh.iter().map(|node| node.place).collect();
            let (times, meanwhile) = bench.wait(probe(&places, 100, load, length))?;
            add(bench, *nodes, load.map(|_| meanwhile), times);
        }
    }
    bench.report.show()
}

fn add(bench: &mut Bench, nodes: usize, meanwhile: Option<f64>, times: Times) {
    let (lag, put) = (times.lag, times.put);
    let (p50_us, p99_us) = (lag.within_us(0.5), lag.within_us(0.99));
    let others = if nodes == 2 { "the other" } else { "all others" };
    let meanwhile = meanwhile.map_or(String::new(), |rate| format!(", under {rate:.0} puts/s"));
    bench.report.add(Row {
        row: format!(
            "{nodes} nodes: lag from the answer at one to the event at {others}{meanwhile}"
        ),
        ours: p50_us.unwrap_or_default(),
        unit: "us",
        against: "a put there, asked and answered".into(),
        baseline: put.within_us(0.5).unwrap_or_default(),
        p50_us,
        p99_us,
    });
}

/// What was timed: from the answer to the event, and a put that stays.
#[derive(Default)]
pub struct Times {
    /// The lag.
    pub lag: Runs,
    /// The put.
    pub put: Runs,
}

/// Measures for so long the lag from the first of these nodes to all others, with values of so many bytes,
/// while another client puts so many a second there; and how many these really were.
pub async fn probe(
    places: &[Place],
    bytes: usize,
    load: Option<f64>,
    length: Duration,
) -> Result<(Times, f64), Failure> {
    let mut nodes = Nodes::open(places, bytes).await?;
    let Some(load) = load else { return Ok((nodes.probe(length).await?, 0.0)) };
    let (mut other, value, done) =
        (Wire::open(&places[0]).await?, data::value(bytes), Cell::new(0));
    let at_once = (load * LOAD_EVERY.as_secs_f64()).round().max(1.0) as u64;
    let started = Instant::now();
    let writing = other.pace(LOAD_EVERY, at_once, &done, |id, out| {
        data::put(id, 1 << 40 | id, &value, out);
    });
    tokio::select! {
        end = writing => match end? {},
        times = nodes.probe(length) => {
            Ok((times?, done.get() as f64 / started.elapsed().as_secs_f64()))
        }
    }
}

/// Connections to several nodes.
struct Nodes {
    first: Wire,
    last: Wire,
    watchers: Vec<Wire>,
    next: u64,
    value: String,
}

impl Nodes {
    /// Connects, and waits until what is put at the first comes to all others.
    async fn open(places: &[Place], bytes: usize) -> Result<Nodes, Failure> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Err(Failure::new(Exit::Failure, "there is no node to measure"));
        };
        let watchers = try_join_all(places[1..].iter().map(watcher)).await?;
        let (first, last) = (Wire::open(first).await?, Wire::open(last).await?);
        let mut nodes = Nodes { first, last, watchers, next: 0, value: data::value(bytes) };
        let apart = || Failure::new(Exit::Failure, "the nodes did not find each other");
        timeout(TOGETHER_WITHIN, nodes.once(&mut Default::default()))
            .await
            .map_err(|_| apart())??;
        Ok(nodes)
    }

    /// One put at a time for so long.
    async fn probe(&mut self, length: Duration) -> Result<Times, Failure> {
        let (mut samples, until): ([Sample; 2], _) = (Default::default(), Instant::now() + length);
        while Instant::now() < until || samples[0].done == 0 {
            self.once(&mut samples).await?;
            tokio::time::sleep(REST).await;
        }
        let mut times = Times::default();
        let [lag, put] = samples;
        times.lag.add(lag);
        times.put.add(put);
        Ok(times)
    }

    async fn once(&mut self, [lag, put]: &mut [Sample; 2]) -> Result<(), Failure> {
        self.next += 1;
        let (number, value) = (self.next, &self.value);
        let key = data::key(number);
        self.first.ask(|out| data::put(number, number, value, out)).await?;
        let answered = Instant::now();
        for watcher in &mut self.watchers {
            until_heard(watcher, key.as_bytes()).await?;
        }
        count(lag, answered);
        let asked = Instant::now();
        self.last.ask(|out| data::put_to(ALONE, number, number, value, out)).await?;
        count(put, asked);
        Ok(())
    }
}

async fn watcher(place: &Place) -> Result<Wire, Failure> {
    let mut wire = Wire::open(place).await?;
    wire.ask(|out| data::watch(1, out)).await?;
    Ok(wire)
}

/// Waits for an event of this key, which stands before the value.
async fn until_heard(watcher: &mut Wire, key: &[u8]) -> Result<(), Failure> {
    loop {
        let message = watcher.next().await?;
        let text = watcher.text(&message);
        let head = &text[..text.len().min(200)];
        if head.windows(key.len()).any(|part| part == key) {
            return Ok(());
        }
    }
}

fn count(sample: &mut Sample, since: Instant) {
    let took = since.elapsed();
    sample.done += 1;
    sample.took += took;
    sample.each.push(took.as_nanos() as u64);
}
