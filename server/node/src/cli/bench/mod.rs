//! `bench`: measures this build on this machine, each figure beside a baseline from the same run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::{Builder, Runtime};

use super::exit::{Exit, Failure};
use super::out;

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

use report::{Report, Row};

/// The sizes of values, in words and bytes. The largest leaves room for what a hook adds.
const SIZES: [(&str, usize); 3] = [("100 B", 100), ("1 KiB", 1_024), ("64 KiB", 65_400)];

/// What to measure.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Servers run in this process, those of `scale` in processes of their own, on files that are removed
afterwards. Client, baseline and servers share the machine's cores, so figures of different machines
say little; the ratio to the baseline of the same run is what to compare.

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

/// How much is done, and where.
#[derive(Debug, Clone, Default, clap::Args)]
struct Extent {
    /// Shorter runs, each once, with fewer objects
    #[arg(long)]
    quick: bool,
    /// How long each run is measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// The most objects anything is measured with
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(100..))]
    objects: Option<u64>,
    /// Keep the files below this folder, on the disk that is to be measured; without it in the
    /// system's folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3_600.0).contains(seconds));
    let seconds = seconds.ok_or("a number of seconds from 0.01 to 3600 is expected")?;
    Ok(Duration::from_secs_f64(seconds))
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

/// How long and how often.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Not measured, before each run.
    warm: Duration,
    /// One run.
    run: Duration,
    /// Runs of each case, by turns with its baseline.
    rounds: u32,
    /// Objects that gets choose from.
    objects: u64,
    /// Objects that an empty node is given, and that are counted on the disk.
    catch_up: u64,
    /// Keys of two nodes, and how many of them differ.
    many: u64,
    differing: &'static [u64],
    /// Objects of servers that grow, as far as they are not more than `many`.
    sizes: &'static [u64],
    /// Watchers.
    watchers: &'static [usize],
    /// Connected nodes.
    nodes: &'static [usize],
    /// Keys in conflict at once, and sides of one key.
    conflicts: u64,
    sides: u64,
    /// Connections on which nothing happens.
    connections: usize,
}

impl Plan {
    const WHOLE: Plan = Plan {
        warm: Duration::from_millis(250),
        run: Duration::from_secs(1),
        rounds: 5,
        objects: 10_000,
        catch_up: 100_000,
        many: 1_000_000,
        differing: &[10, 1_000, 100_000],
        sizes: &[10_000, 100_000, 1_000_000],
        watchers: &[1, 100, 1_000],
        nodes: &[2, 3, 5],
        conflicts: 10_000,
        sides: 1_000,
        connections: 500,
    };
    const QUICK: Plan = Plan {
        warm: Duration::from_millis(200),
        run: Duration::from_millis(500),
        rounds: 1,
        catch_up: 20_000,
        many: 100_000,
        differing: &[10, 1_000, 10_000],
        conflicts: 2_000,
        ..Plan::WHOLE
    };
    const PEERS: Plan = Plan {
        warm: Duration::from_secs(1),
        run: Duration::from_secs(4),
        rounds: 3,
        ..Plan::WHOLE
    };
    const PEERS_QUICK: Plan = Plan { run: Duration::from_secs(1), ..Plan::QUICK };
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
        let mut plan = if extent.quick { quick } else { whole };
        if let Some(run) = extent.seconds {
            (plan.run, plan.warm) = (run, plan.warm.min(run));
        }
        if let Some(most) = extent.objects {
            for count in [&mut plan.objects, &mut plan.catch_up, &mut plan.many] {
                *count = most.min(*count).max(most.min(100));
            }
            plan.conflicts = plan.conflicts.min(most);
        }
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
    use super::*;

    #[test]
    fn every_part_gives_whole_rows() {
        let plan = Plan {
            warm: Duration::from_millis(20),
            run: Duration::from_millis(50),
            rounds: 1,
            objects: 200,
            catch_up: 200,
            many: 1_000,
            differing: &[10],
            sizes: &[],
            watchers: &[1, 10],
            nodes: &[2, 3],
            conflicts: 100,
            sides: 20,
            connections: 0,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut bench =
            Bench::new(plan, folder.path().to_owned(), Report::silent()).expect("a bench");
        bench.measure(&[], None).expect("measured");
        let rows = &bench.report.rows;
        // Puts: two sizes at four loads and one at three, three ways and one comparison.
        let puts = (4 + 4 + 3) * 4;
        // Two, and for the load of many clients also three, nodes; with two rows each.
        let (spread, gets, watch, lag, replicated) = (3, 3 * 3, 2 * 2, 2 * 2, (2 + 1 + 1) * 2);
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
