//! The simulation for as long as one likes: runs a range of seeds on all cores, and says what it found.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keepboth_simulation::planted::Planted;
use keepboth_simulation::run::{Failure, Report, run};
use serde_json::json;

const HELP: &str = "\
Runs nodes on a simulated network, with simulated disks and clocks, under every kind of fault, then
mends everything and holds what must be true: all members agree within 30 simulated seconds, nothing
that a client was told is done is lost, readers see the same everywhere, and all fall silent.

The same seed always makes the same run.

USAGE:
    simulate [--seeds FROM..TO] [--threads N] [--plant BUG] [--json]
    simulate --seed N [--trace] [--plant BUG] [--json]

OPTIONS:
    --seeds FROM..TO   the runs, TO left out [default: 0..1000]
    --seed N           one run
    --trace            print every message, commit and fault of that run
    --plant BUG        break a rule on purpose, for instance DeleteBeatsUpdate, to see it found
    --threads N        how many runs at once [default: one for each core]
    --json             the summary as one JSON object on stdout
    --help             this text

Progress goes to stderr, the summary to stdout. The exit code is 0 if every run ended as it should, 1 if
one did not, 2 if the command line is wrong. Each failing run is named with the command that repeats it.

EXAMPLES:
    cargo run --release -p keepboth-tests --bin simulate -- --seeds 0..100000
    cargo run --release -p keepboth-tests --bin simulate -- --seed 4711 --trace
";

/// What the command line asks for.
struct Wanted {
    from: u64,
    to: u64,
    threads: usize,
    trace: bool,
    json: bool,
    planted: Option<Planted>,
}

/// What all runs together came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    writes: u64,
    messages: u64,
    bytes: u64,
    connections: u64,
    conflicts: u64,
    simulated: u64,
    longest: (u64, u64),
    failures: Vec<Failure>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Result<Report, Box<Failure>>) {
        self.runs += 1;
        match outcome {
            Ok(report) => {
                self.writes += report.writes;
                self.messages += report.messages;
                self.bytes += report.bytes;
                self.connections += report.connections;
                self.conflicts += report.conflicts;
                self.simulated += report.simulated;
                self.longest = self.longest.max((report.healing, seed));
            }
            Err(failure) => self.failures.push(*failure),
        }
    }

    fn per_write(&self) -> f64 {
        self.messages as f64 / self.writes.max(1) as f64
    }

    fn json(&self, took: Duration) -> serde_json::Value {
        let failure = |f: &Failure| json!({ "seed": f.seed, "error": f.words, "faults": f.faults });
        json!({
            "seeds": self.runs,
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
            "writes": self.writes,
            "messages": self.messages,
            "bytes": self.bytes,
            "messages_per_write": self.per_write(),
            "connections": self.connections,
            "conflicts": self.conflicts,
            "longest_healing_ms": self.longest.0,
            "longest_healing_seed": self.longest.1,
            "simulated_seconds": self.simulated / 1_000,
            "seconds": took.as_secs_f64(),
        })
    }

    fn words(&self, took: Duration) -> String {
        format!(
            "{} seeds, {} failures: {} writes, {:.1} messages per write, {} connections, {} conflicts, \
             longest healing {:.1} s (seed {}), {} simulated hours in {:.0} s",
            self.runs,
            self.failures.len(),
            self.writes,
            self.per_write(),
            self.connections,
            self.conflicts,
            self.longest.0 as f64 / 1_000.0,
            self.longest.1,
            self.simulated / 3_600_000,
            took.as_secs_f64(),
        )
    }
}

fn wanted(args: impl Iterator<Item = String>) -> Result<Option<Wanted>, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wanted =
        Wanted { from: 0, to: 1_000, threads, trace: false, json: false, planted: None };
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or(format!("{arg} needs {what}"));
        let number = |text: &str| {
            let digits = text.replace('_', "");
            digits.parse::<u64>().map_err(|_| format!("{text:?} is no number"))
        };
        match arg.as_str() {
            "--seeds" => {
                let range = value("a range such as 0..1000")?;
                let ends = range.split_once("..").ok_or(format!("{range:?} is no range"))?;
                (wanted.from, wanted.to) = (number(ends.0)?, number(ends.1)?);
            }
            "--seed" => {
                wanted.from = number(&value("a number")?)?;
                wanted.to = wanted.from.saturating_add(1);
            }
            "--threads" => wanted.threads = number(&value("a number")?)?.clamp(1, 1_024) as usize,
            "--plant" => {
                let name = value("the name of a bug")?;
                let planted = Planted::named(&name);
                let known = || format!("{name:?} is no bug; there are {:?}", Planted::ALL);
                wanted.planted = Some(planted.ok_or_else(known)?);
            }
            "--trace" => wanted.trace = true,
            "--json" => wanted.json = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other:?} is no option")),
        }
    }
    if wanted.from >= wanted.to {
        return Err("the range of seeds is empty".into());
    }
    if wanted.trace && wanted.to - wanted.from > 1 {
        return Err("--trace goes with --seed".into());
    }
    Ok(Some(wanted))
}

#[expect(clippy::print_stderr, reason = "progress is for people")]
fn run_all(wanted: &Wanted) -> Sum {
    let (next, sum) = (AtomicU64::new(wanted.from), Mutex::new(Sum::default()));
    let said = Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= wanted.to {
                        return;
                    }
                    let outcome = run(seed, wanted.planted, wanted.trace);
                    let trace = match &outcome {
                        Ok(report) => &report.trace,
                        Err(failure) => &failure.trace,
                    };
                    trace.iter().for_each(|line| eprintln!("{line}"));
                    if let Err(failure) = &outcome {
                        eprintln!("{failure}\n    repeat it: {}", again(seed, wanted.planted));
                    }
                    let mut sum = sum.lock().expect("nobody panics with the sum");
                    sum.add(seed, outcome);
                    let mut said = said.lock().expect("nobody panics while it tells");
                    if said.elapsed() > Duration::from_secs(5) {
                        *said = Instant::now();
                        let all = wanted.to - wanted.from;
                        eprintln!("{} of {all} runs, {} failed", sum.runs, sum.failures.len());
                    }
                }
            });
        }
    });
    sum.into_inner().expect("nobody panics with the sum")
}

fn again(seed: u64, planted: Option<Planted>) -> String {
    let plant = planted.map(|planted| format!(" --plant {planted:?}")).unwrap_or_default();
    format!("cargo run --release -p keepboth-tests --bin simulate -- --seed {seed} --trace{plant}")
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks")]
fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(Some(wanted)) => wanted,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(words) => {
            eprintln!("simulate: {words}; --help says more");
            return ExitCode::from(2);
        }
    };
    // What panics in a run is part of its report.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let sum = run_all(&wanted);
    let took = began.elapsed();
    match wanted.json {
        true => println!("{}", sum.json(took)),
        false => println!("{}", sum.words(took)),
    }
    if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
