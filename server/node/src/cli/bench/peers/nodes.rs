//! Two connected nodes against one.

use std::time::Duration;

use super::Peers;
use super::judged::{Bar, Judged};
use super::load::{CLIENTS, puts_of};
use crate::cli::bench::lag::probe;
use crate::cli::bench::process::Process;
use crate::cli::bench::sample::Runs;
use crate::cli::bench::setup::{ALONE, Way};
use crate::cli::exit::Failure;

/// The rate of puts by turns alone and connected, then the lag under half of what the two can do.
pub fn two(peers: &mut Peers) -> Result<(), Failure> {
    let bench = &peers.bench;
    let (mut alone, mut both) = (Runs::default(), Runs::default());
    for round in 1..=bench.plan.rounds {
        peers.report.talk(&format!("two nodes against one, {round} of {}", bench.plan.rounds));
        let one = Process::keepboth(bench, Way::Plain, &[], &[])?;
        alone.add(puts_of(peers, &one, CLIENTS, 0)?);
        drop(one);
        let [a, _b] = pair(peers)?;
        both.add(puts_of(peers, &a, CLIENTS, 0)?);
    }
    let half = both.rate() / 2.0;
    peers.report.talk(&format!("lag under {half:.0} puts/s"));
    let [a, b] = pair(peers)?;
    let length = bench.plan.run * bench.plan.rounds;
    let places = [a.place, b.place];
    let (times, meanwhile) = bench.wait(probe(&places, super::VALUE_BYTES, Some(half), length))?;
    let row = format!("durable put 1 KiB, {}, two nodes", CLIENTS.words());
    let rates = (both.rate(), alone.rate());
    let (of, bar) = (("two-nodes", &*row), Some(Bar::AtLeast(0.6, None)));
    peers.report.add(Judged::beside(of, rates, "puts/s", "a node alone", bar));
    peers.report.talk(&format!("{meanwhile:.0} puts/s meanwhile"));
    let row = "lag between two nodes at half of that rate, 99 of 100 within";
    let lag = times.lag.within_us(0.99).unwrap_or_default() / 1e3;
    peers.report.add(Judged::limit("two-nodes-lag", row, lag, "ms", 20.0));
    peers.report.show()
}

/// Two nodes that have found each other.
fn pair(peers: &Peers) -> Result<[Process; 2], Failure> {
    let bench = &peers.bench;
    let a = Process::keepboth(bench, Way::Plain, &[], &[ALONE])?;
    let b = Process::keepboth(bench, Way::Plain, &[a.url()], &[ALONE])?;
    bench.wait(probe(&[a.place, b.place], 100, None, Duration::ZERO))?;
    Ok([a, b])
}
