//! `bench`: measures this build on this machine, each figure beside a baseline from the same run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::exit::{Exit, Failure};
use super::out;

/// Times and quantiles.
mod sample;
/// Keys, values, frames.
mod data;
/// The client.
mod wire;
/// The server.
mod node;
/// The rows.
mod report;
/// Durable puts.
mod puts;
/// Gets.
mod gets;
/// Watch fan-out.
mod watch;
/// Replication lag.
mod lag;
/// Puts of connected nodes.
mod replicated;
/// Many objects at once.
mod bulk;
/// An empty node.
mod catchup;
/// Two sessions in memory.
mod pair;
/// Many keys, few of which differ.
mod reconcile;

use report::Report;

/// The sizes of values, in words and bytes.
const SIZES: [(&str, usize); 2] = [("100 B", 100), ("1 KiB", 1_024)];

/// What to measure.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(
    after_help = "Servers run in this process, on files that are removed afterwards. Client, servers and
baseline share the machine's cores, so figures of different machines say little;
the ratio to the baseline of the same run is what to compare.

The whole takes about ten minutes, --quick about two."
)]
pub struct Args {
    /// Shorter runs, each once: about two minutes
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
    /// Keep the files below this folder, on the disk that is to be measured; without it in the
    /// system's folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Durable puts
    Puts,
    /// Gets
    Gets,
    /// Watch fan-out
    Watch,
    /// Replication lag of two nodes, at rest and under load
    Lag,
    /// Puts of two connected nodes
    Replicated,
    /// An empty node is given everything
    CatchUp,
    /// Two nodes with many keys of which few differ
    Reconcile,
}

impl Part {
    const ALL: [Part; 7] = [
        Part::Puts,
        Part::Gets,
        Part::Watch,
        Part::Lag,
        Part::Replicated,
        Part::CatchUp,
        Part::Reconcile,
    ];
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
    /// Objects that an empty node is given.
    catch_up: u64,
    /// Keys of two nodes, and how many of them differ.
    many: u64,
    differing: &'static [u64],
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
    };
    const QUICK: Plan = Plan {
        warm: Duration::from_millis(200),
        run: Duration::from_millis(500),
        rounds: 1,
        objects: 10_000,
        catch_up: 20_000,
        many: 100_000,
        differing: &[10, 1_000, 10_000],
    };
}

/// What all parts share.
struct Bench {
    plan: Plan,
    below: PathBuf,
    report: Report,
    /// Where the client runs: one thread.
    client: Runtime,
}

/// Measures and shows.
pub fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let plan = if args.quick { Plan::QUICK } else { Plan::WHOLE };
    let below = args.data.clone().unwrap_or_else(std::env::temp_dir);
    let mut bench = Bench::new(plan, below, Report::new(json))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    bench.report.talk(&format!(
        "files below {}; client and servers share {cores} cores with whatever else runs",
        bench.below.display()
    ));
    if cfg!(debug_assertions) {
        bench.report.talk("this build is not optimised: build with --release to measure");
    }
    bench.measure(&args.only)
}

/// The quick form, as `cargo bench` runs it.
pub fn quick() -> ExitCode {
    let args = Args { quick: true, ..Args::default() };
    match run(&args, false) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out::complain(&failure, false);
            ExitCode::from(failure.exit as u8)
        }
    }
}

impl Bench {
    fn new(plan: Plan, below: PathBuf, report: Report) -> Result<Bench, Failure> {
        let client = Builder::new_current_thread().enable_all().build()?;
        if !below.is_dir() {
            let words = format!("{} is not a folder", below.display());
            return Err(Failure::new(Exit::Usage, words));
        }
        Ok(Bench { plan, below, report, client })
    }

    fn measure(&mut self, only: &[Part]) -> Result<(), Failure> {
        for part in Part::ALL.iter().filter(|part| only.is_empty() || only.contains(part)) {
            match part {
                Part::Puts => puts::measure(self)?,
                Part::Gets => gets::measure(self)?,
                Part::Watch => watch::measure(self)?,
                Part::Lag => lag::measure(self)?,
                Part::Replicated => replicated::measure(self)?,
                Part::CatchUp => catchup::measure(self)?,
                Part::Reconcile => reconcile::measure(self)?,
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
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut bench =
            Bench::new(plan, folder.path().to_owned(), Report::silent()).expect("a bench");
        bench.measure(&[]).expect("measured");
        let rows = &bench.report.rows;
        // Puts: two sizes, four loads, three ways and one comparison; then gets, watchers, lag; then
        // replicated puts, catching up, equal stores, a difference, and opening.
        let single = 2 * 4 * 4 + 2 * 3 + 3 * 2;
        assert_eq!(rows.len(), single + 2 + 3 * 2 + 2 + 2 + 3 + 1 + 2 * 2);
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
