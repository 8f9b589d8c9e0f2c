//! `bench peers`: other servers under the same load, and what is demanded of this one.

use super::{Bench, Extent, Plan, Report};
use crate::cli::exit::Failure;

/// Other servers.
mod rivals;
/// The rows.
mod judged;
/// Puts and gets.
mod load;
/// Memory, disk, start.
mod size;
/// Two nodes.
mod nodes;

use judged::Judged;
use rivals::Rival;

/// Bytes of the values of puts and gets.
const VALUE_BYTES: usize = 1_024;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Redis with appendfsync always, NATS with JetStream, and Tarantool with wal_mode fsync run by
turns with this server: each in a process of its own, on files in a folder below --dir that is
removed afterwards, with the same client and the same keys and values. What is not installed is
left out, and its rows say so:
  apt-get install redis-server nats-server tarantool

A row has our figure, the peer's, their ratio and the bar: what the ratio, or without a peer our
figure itself, is to reach. Client and servers share the cores. A folder in memory makes every
fsync free. While others use the disk an fsync may take ten times as long, and not for all alike:
measure on a quiet machine, and distrust a run in which schema and hook make puts faster.

With --json each row is a line: row, ours, peer, ratio, bar, reached; further id (the same in every
run), unit, against, bar_is (what the bar is for), aim (where the ratio is to go) and skipped (why
there is no peer). What is not known is null. Exit code 0 means measured, whatever was reached.

The whole takes about ten minutes, --quick about one.

Examples:
  keepboth bench peers --dir /srv
  keepboth --json bench peers --only puts,latency"
)]
pub struct Args {
    #[command(flatten)]
    extent: Extent,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
}

/// A part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Puts of 64 clients, and of one with 1,024 in flight: peers, bare redb, the cost of schema and hook
    Puts,
    /// How long a put takes that is alone
    Latency,
    /// Gets
    Gets,
    /// Memory of an empty server and of idle connections
    Idle,
    /// Bytes written for each put, and disk
    Disk,
    /// A million objects: puts, memory, start
    Many,
    /// Two nodes against one
    Nodes,
}

/// What all parts share.
struct Peers {
    bench: Bench,
    report: Report<Judged>,
}

/// Measures and shows.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let bench = Bench::of(&args.extent, Plan::PEERS, Plan::PEERS_QUICK, json)?;
    let mut peers = Peers { bench, report: Report::new(json) };
    for rival in Rival::ALL.into_iter().filter(|rival| rival.program().is_none()) {
        peers.report.talk(&rival.missing());
    }
    let all = <Part as clap::ValueEnum>::value_variants();
    for part in all.iter().filter(|part| args.only.is_empty() || args.only.contains(part)) {
        match part {
            Part::Puts => load::puts(&mut peers)?,
            Part::Latency => load::latency(&mut peers)?,
            Part::Gets => load::gets(&mut peers)?,
            Part::Idle => size::idle(&mut peers)?,
            Part::Disk => size::disk(&mut peers)?,
            Part::Many => size::many(&mut peers)?,
            Part::Nodes => nodes::two(&mut peers)?,
        }
    }
    Ok(())
}
