//! How much is measured, and for how long.

use std::path::PathBuf;
use std::time::Duration;

/// How much is done, and where.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Extent {
    /// Fewer and shorter runs, with fewer objects
    #[arg(long)]
    pub quick: bool,
    /// How long each run is measured
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<Duration>,
    /// The most objects anything is measured with
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(100..))]
    pub objects: Option<u64>,
    /// Keep the files below this folder, on the disk that is to be measured; without it in the
    /// system's folder for temporary files
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3_600.0).contains(seconds));
    let seconds = seconds.ok_or("a number of seconds from 0.01 to 3600 is expected")?;
    Ok(Duration::from_secs_f64(seconds))
}

impl Extent {
    /// One of these plans, as far as nothing else is said.
    pub fn plan(&self, whole: Plan, quick: Plan) -> Plan {
        let mut plan = if self.quick { quick } else { whole };
        if let Some(run) = self.seconds {
            (plan.run, plan.warm) = (run, plan.warm.min(run));
        }
        if let Some(most) = self.objects {
            let Plan { objects, catch_up, many, conflicts, .. } = &mut plan;
            for count in [objects, catch_up, many, conflicts] {
                *count = most.min(*count);
            }
        }
        plan
    }
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Not measured, before each run.
    pub warm: Duration,
    /// One run.
    pub run: Duration,
    /// Runs of each case, by turns with its baseline.
    pub rounds: u32,
    /// Objects that gets choose from.
    pub objects: u64,
    /// Objects that an empty node is given, and that are counted on the disk.
    pub catch_up: u64,
    /// Keys of two nodes, and objects of the largest server.
    pub many: u64,
    /// How many of them differ.
    pub differing: &'static [u64],
    /// Watchers.
    pub watchers: &'static [usize],
    /// Connected nodes.
    pub nodes: &'static [usize],
    /// Keys in conflict at once.
    pub conflicts: u64,
    /// Sides of one key.
    pub sides: u64,
    /// Connections on which nothing happens.
    pub connections: usize,
}

impl Plan {
    /// `bench`.
    pub const WHOLE: Plan = Plan {
        warm: Duration::from_millis(250),
        run: Duration::from_secs(1),
        rounds: 5,
        objects: 10_000,
        catch_up: 100_000,
        many: 1_000_000,
        differing: &[10, 1_000, 100_000],
        watchers: &[1, 100, 1_000],
        nodes: &[2, 3, 5],
        conflicts: 10_000,
        sides: 1_000,
        connections: 500,
    };
    /// The same with `--quick`.
    pub const QUICK: Plan = Plan {
        warm: Duration::from_millis(200),
        run: Duration::from_millis(500),
        rounds: 1,
        catch_up: 20_000,
        many: 100_000,
        differing: &[10, 1_000, 10_000],
        conflicts: 2_000,
        ..Plan::WHOLE
    };
    /// `bench peers`.
    pub const PEERS: Plan = Plan {
        warm: Duration::from_secs(1),
        run: Duration::from_secs(4),
        rounds: 3,
        ..Plan::WHOLE
    };
    /// The same with `--quick`.
    // Three turns: what the disk does meanwhile is not to fall on one of two alone.
    pub const PEERS_QUICK: Plan = Plan { rounds: 3, ..Plan::QUICK };
}
