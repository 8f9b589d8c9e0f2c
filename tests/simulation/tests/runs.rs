//! What every run ends with: all members alike, nothing lost, silence.
//!
//! `KEEPBOTH_SIMULATIONS=100000` runs that many; `KEEPBOTH_SEED=n` runs one; `KEEPBOTH_TRACE=1` prints
//! what happens in it.

use keepboth_simulation::run::run;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[expect(clippy::print_stderr, reason = "a trace is for people")]
fn run_alone(seed: u64) {
    let traced = number("KEEPBOTH_TRACE").is_some();
    let (trace, failed) = match run(seed, None, traced) {
        Ok(report) => (report.trace, None),
        Err(failure) => (failure.trace.clone(), Some(failure)),
    };
    for line in trace {
        eprintln!("{line}");
    }
    assert!(failed.is_none(), "{}", failed.map(|failure| failure.to_string()).unwrap_or_default());
}

#[test]
fn members_of_a_mesh_with_faults_end_alike_and_fall_silent() {
    if let Some(seed) = number("KEEPBOTH_SEED") {
        return run_alone(seed);
    }
    let seeds = 0..number("KEEPBOTH_SIMULATIONS").unwrap_or(500);
    let failed: Vec<String> =
        seeds.filter_map(|s| run(s, None, false).err()).map(|f| f.to_string()).collect();
    assert!(failed.is_empty(), "{}\nrun one alone with KEEPBOTH_SEED=n", failed.join("\n"));
}

/// Nine nodes, of which some merge and do not agree, in a ring of slow links, at one key.
#[test]
fn hooks_that_disagree_about_a_hot_key_fall_silent_too() {
    run_alone(13_427);
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..5 {
        let report = || run(seed, None, true).map_err(|failure| failure.to_string());
        assert_eq!(report(), report(), "seed {seed}");
    }
}
