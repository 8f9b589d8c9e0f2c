//! `bench`: measures this build on this machine, each figure beside a baseline from the same run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::{Builder, Runtime};

use super::exit::{Exit, Failure};
use super::out;

/// How much is done.
mod plan;
/// Times and quantiles.
mod sample;
/// What servers speak.
mod speech;
/// Keys, values, requests.
mod data;
/// The client.
mod wire;
/// The configuration of servers.
mod setup;
/// A server in this process.
mod node;
/// The rows.
mod report;
/// Pictures.
mod plot;
/// Durable puts.
mod puts;
/// Puts into several namespaces.
mod spread;
/// Gets.
mod gets;
/// Watch fan-out.
mod watch;
/// Puts of connected nodes.
mod replicated;
/// Replication lag.
mod lag;
/// Many objects at once.
mod bulk;
/// Conflicts in masses.
mod storm;
/// An empty node.
mod catchup;
/// Two sessions in memory.
mod pair;
/// Many keys, few of which differ.
mod reconcile;
/// A server in a process of its own.
mod process;
/// More and more objects.
mod scale;
/// Other servers.
mod peers;

use plan::{Extent, Plan};
use report::{Report, Row};

/// The sizes of values, in words and bytes. The largest leaves room for what a hook adds.
const SIZES: [(&str, usize); 3] = [("100 B", 100), ("1 KiB", 1_024), ("64 KiB", 65_400)];

/// What to measure.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Servers run in this process, those of `scale` in processes of their own, on files that are
removed afterwards. Client, baseline and servers share the machine's cores, so figures of different
machines say little; the ratio to the baseline of the same run is what to compare.

`bench peers` runs other servers beside this one and holds the ratios against what is demanded.

The whole takes about half an hour, --quick about six minutes. A thousand watchers need 2,100 open
files: ulimit -n 4096.

Examples:
  keepboth bench --dir /srv
  keepboth bench --only puts,gets --quick
  keepboth bench --only scale --plots docs
  keepboth bench peers --help"
)]
pub struct Args {
    #[command(flatten)]
    extent: Extent,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
    /// Draw what `scale` measures as scale.svg in this folder
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    #[command(subcommand)]
    beside: Option<Beside>,
}

/// Against what, if not a baseline.
#[derive(Debug, Clone, clap::Subcommand)]
enum Beside {
    /// Redis, NATS and Tarantool under the same load, and what is demanded
    Peers(peers::Args),
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable puts
    Puts,
    /// Puts into several namespaces
    Namespaces,
    /// Gets
    Gets,
    /// Watch fan-out
    Watch,
    /// Replication lag of 2, 3 and 5 nodes, at rest and under load
    Lag,
    /// Puts of 2, 3 and 5 connected nodes
    Replicated,
    /// Many conflicts at once, merges by a hook, a key with many sides
    Conflicts,
    /// An empty node is given everything
    CatchUp,
    /// Two nodes with many keys of which few differ
    Reconcile,
    /// More and more objects: puts, gets, start, memory and disk
    Scale,
}

/// What all parts share.
struct Bench {
    plan: Plan,
    below: PathBuf,
    /// The program that processes of servers run.
    program: PathBuf,
    report: Report<Row>,
    /// Where the client runs: one thread.
    client: Runtime,
    /// Ends when the user wants an end.
    interrupted: Shared<BoxFuture<'static, ()>>,
}

/// Measures and shows.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    match &args.beside {
        Some(Beside::Peers(args)) => peers::run(args, json),
        None => {
            if let Some(folder) = &args.plots {
                is_folder(folder)?;
            }
            let mut bench = Bench::of(&args.extent, Plan::WHOLE, Plan::QUICK, json)?;
            bench.measure(&args.only, args.plots.as_deref())
        }
    }
}

/// The quick form, as `cargo bench` runs it; `program` is the command that was built with it.
pub fn quick(program: &Path) -> ExitCode {
    let extent = Extent { quick: true, ..Extent::default() };
    let bench = Bench::of(&extent, Plan::WHOLE, Plan::QUICK, false);
    let outcome =
        bench.and_then(|bench| Bench { program: program.to_owned(), ..bench }.measure(&[], None));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::complain(&failure, false);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn is_folder(path: &Path) -> Result<(), Failure> {
    let words = || format!("{} is not a folder", path.display());
    path.is_dir().then_some(()).ok_or_else(|| Failure::new(Exit::Usage, words()))
}

impl Bench {
    /// What was asked for, beginning with where it is and what is wrong with it.
    fn of(extent: &Extent, whole: Plan, quick: Plan, json: bool) -> Result<Bench, Failure> {
        let plan = extent.plan(whole, quick);
        let below = extent.dir.clone().unwrap_or_else(std::env::temp_dir);
        let bench = Bench::new(plan, below, Report::new(json))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        bench.report.talk(&format!(
            "files below {}; client and servers share {cores} cores with whatever else runs",
            bench.below.display()
        ));
        if cfg!(debug_assertions) {
            bench.report.talk("this build is not optimised: build with --release to measure");
        }
        Ok(bench)
    }

    fn new(plan: Plan, below: PathBuf, report: Report<Row>) -> Result<Bench, Failure> {
        let client = Builder::new_current_thread().enable_all().build()?;
        let below = std::path::absolute(&below)?;
        is_folder(&below)?;
        let interrupted = async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (program, interrupted) = (std::env::current_exe()?, interrupted.boxed().shared());
        // From now on an interruption is noticed, and what the client waits for ends with it.
        let _ = client.block_on(async { interrupted.clone().now_or_never() });
        Ok(Bench { plan, below, program, report, client, interrupted })
    }

    /// Waits for the client's work, unless the user wants an end: then all is stopped and removed on the way
    /// out.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let interrupted = self.interrupted.clone();
        self.client.block_on(async {
            tokio::select! {
                done = work => done,
                () = interrupted => Err(Failure::quiet(Exit::Interrupted)),
            }
        })
    }

    fn measure(&mut self, only: &[Part], plots: Option<&Path>) -> Result<(), Failure> {
        let all = Part::value_variants();
        for part in all.iter().filter(|part| only.is_empty() || only.contains(part)) {
            match part {
                Part::Puts => puts::measure(self)?,
                Part::Namespaces => spread::measure(self)?,
                Part::Gets => gets::measure(self)?,
                Part::Watch => watch::measure(self)?,
                Part::Lag => lag::measure(self)?,
                Part::Replicated => replicated::measure(self)?,
                Part::Conflicts => storm::measure(self)?,
                Part::CatchUp => catchup::measure(self)?,
                Part::Reconcile => reconcile::measure(self)?,
                Part::Scale => scale::measure(self, plots)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_part_in_this_process_gives_whole_rows() {
        let plan = Plan {
            warm: Duration::from_millis(20),
            run: Duration::from_millis(50),
            rounds: 1,
            objects: 200,
            catch_up: 200,
            many: 1_000,
            differing: &[10],
            watchers: &[1, 10],
            nodes: &[2, 3],
            conflicts: 100,
            sides: 20,
            connections: 0,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut bench =
            Bench::new(plan, folder.path().to_owned(), Report::silent()).expect("a bench");
        // Its servers are processes of the command, which a test is not.
        let here = Part::value_variants().iter().filter(|part| **part != Part::Scale);
        bench.measure(&here.copied().collect::<Vec<_>>(), None).expect("measured");
        let rows = &bench.report.rows;
        // Puts: three sizes at four loads, three ways and one comparison.
        let puts = 3 * 4 * 4;
        // Two, and for the load of many clients also three, nodes; with two rows each.
        let (spread, gets, watch, lag, replicated) = (3 * 3, 3 * 4, 2 * 2, 2 * 2, (2 + 1 + 1) * 2);
        let (conflicts, catch_up, reconcile) = (2 + 3, 2, 2 + 3 + 1 + 2 * 2);
        let single = puts + spread + gets + watch;
        assert_eq!(rows.len(), single + lag + replicated + conflicts + catch_up + reconcile);
        for row in rows {
            let none = row.unit == "changes";
            assert!(row.ours > 0.0 || none, "{row:?}");
            assert!(row.baseline > 0.0 && row.ratio().is_finite(), "{row:?}");
            assert!(row.p50_us.is_none_or(|us| us > 0.0), "{row:?}");
            assert!(row.p50_us <= row.p99_us, "{row:?}");
        }
        let left = std::fs::read_dir(folder.path()).expect("the folder").count();
        assert_eq!(left, 0, "files are left behind");
    }
}
