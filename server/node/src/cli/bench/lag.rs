//! How much later than its answer a put at one node is seen at another that has committed it too.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::node::{Node, Way};
use super::report::Row;
use super::sample::{Runs, Sample};
use super::wire::Wire;
use super::{Bench, data};
use crate::cli::exit::{Exit, Failure};

/// How long two nodes may take to find each other.
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);
/// The rest between two puts, in which acknowledgements settle.
const REST: Duration = Duration::from_millis(2);
/// The load: so many puts, so often.
const LOAD: u64 = 10;
const LOAD_EVERY: Duration = Duration::from_millis(2);

/// Measures one put at a time, by turns with a put that stays at the other node: at rest, and while
/// another client writes.
pub fn measure(bench: &mut Bench) -> Result<(), Failure> {
    for load in [false, true] {
        bench.report.talk(if load { "two nodes under load" } else { "two nodes" });
        let a = Node::start(&bench.below, Way::Plain, &[])?;
        let b = Node::start(&bench.below, Way::Plain, std::slice::from_ref(&a.url))?;
        let length = bench.plan.run * bench.plan.rounds;
        let (times, meanwhile) = bench.client.block_on(async {
            let mut nodes = Nodes::open(&a.url, &b.url).await?;
            match load {
                false => Ok((nodes.probe(length).await?, 0.0)),
                true => nodes.probe_under_load(&a.url, length).await,
            }
        })?;
        let while_what = match load {
            false => String::new(),
            true => format!(", under {meanwhile:.0} puts/s"),
        };
        add(bench, &while_what, times);
    }
    bench.report.show()
}

fn add(bench: &mut Bench, while_what: &str, times: Times) {
    let (lag, put) = (runs(times.lag), runs(times.put));
    let (p50_us, p99_us) = (lag.within_us(0.5), lag.within_us(0.99));
    bench.report.add(Row {
        row: format!(
            "lag from the answer at one node to the event at the other, 100 B{while_what}"
        ),
        ours: p50_us.unwrap_or_default(),
        unit: "us",
        against: "a put there, asked and answered".into(),
        baseline: put.within_us(0.5).unwrap_or_default(),
        p50_us,
        p99_us,
    });
}

#[derive(Default)]
struct Times {
    lag: Sample,
    put: Sample,
}

fn runs(sample: Sample) -> Runs {
    let mut runs = Runs::default();
    runs.add(sample);
    runs
}

/// Connections to two nodes.
struct Nodes {
    a: Wire,
    b: Wire,
    watcher: Wire,
    next: u64,
    value: String,
}

impl Nodes {
    /// Connects, and waits until what is put at one comes to the other.
    async fn open(a: &str, b: &str) -> Result<Nodes, Failure> {
        let (a, mut watcher) = (Wire::open(a).await?, Wire::open(b).await?);
        watcher.ask(data::watch(1)).await?;
        let (b, value) = (Wire::open(b).await?, data::value(100));
        let mut nodes = Nodes { a, b, watcher, next: 0, value };
        let apart = || Failure::new(Exit::Failure, "the two nodes did not find each other");
        timeout(TOGETHER_WITHIN, nodes.once(&mut Times::default()))
            .await
            .map_err(|_| apart())??;
        Ok(nodes)
    }

    /// One put at a time for so long.
    async fn probe(&mut self, length: Duration) -> Result<Times, Failure> {
        let (mut times, until) = (Times::default(), Instant::now() + length);
        while Instant::now() < until || times.lag.done == 0 {
            self.once(&mut times).await?;
            tokio::time::sleep(REST).await;
        }
        Ok(times)
    }

    /// The same while another client writes; and how many puts a second that was.
    async fn probe_under_load(
        &mut self,
        url: &str,
        length: Duration,
    ) -> Result<(Times, f64), Failure> {
        let (mut other, value, done) = (Wire::open(url).await?, data::value(100), Cell::new(0));
        let started = Instant::now();
        let writing = other.pace(LOAD_EVERY, LOAD, &done, |id| data::put(id, 1 << 40 | id, &value));
        tokio::select! {
            end = writing => match end? {},
            times = self.probe(length) => {
                Ok((times?, done.get() as f64 / started.elapsed().as_secs_f64()))
            }
        }
    }

    async fn once(&mut self, times: &mut Times) -> Result<(), Failure> {
        self.next += 1;
        let (number, key) = (self.next, data::key(self.next));
        self.a.ask(data::put(number, number, &self.value)).await?;
        let answered = Instant::now();
        while !self.watcher.next().await?.contains(&key) {}
        count(&mut times.lag, answered);
        let asked = Instant::now();
        self.b.ask(data::put_to("alone", number, number, &self.value)).await?;
        count(&mut times.put, asked);
        Ok(())
    }
}

fn count(sample: &mut Sample, since: Instant) {
    let took = since.elapsed();
    sample.done += 1;
    sample.took += took;
    sample.each.push(took.as_nanos() as u64);
}
