//! The command that runs the simulation: what it says, and how it ends.

use std::process::{Command, Output};

use serde_json::Value as Json;

fn simulate(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(words).output().expect("the program")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn runs_that_end_well_are_summed_up_and_end_with_zero() {
    let output = simulate(&["--seeds", "0..3", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let sum: Json = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&sum["seeds"], &sum["failures"]), (&Json::from(3), &Json::Array(Vec::new())));
    assert!(sum["writes"].as_u64() > Some(0) && sum["messages"].as_u64() > Some(0), "{sum}");
}

#[test]
fn one_seed_is_traced_alike_each_time() {
    let traced = || simulate(&["--seed", "1", "--trace"]);
    let (one, other) = (traced(), traced());
    assert_eq!(one.status.code(), Some(0));
    assert!(text(&one.stderr).lines().count() > 100, "{}", text(&one.stderr));
    assert_eq!(text(&one.stderr), text(&other.stderr));
}

#[test]
fn a_wrong_command_line_is_told_and_ends_with_two() {
    for (words, said) in [
        (&["--seeds", "5..5"][..], "the range of seeds is empty"),
        (&["--seeds", "9..5"], "the range of seeds is empty"),
        (&["--seeds", "x"], "\"x\" is no range"),
        (&["--seeds", "0..x"], "\"x\" is no number"),
        (&["--seeds"], "--seeds needs a range such as 0..1000"),
        (&["--seed", "-1"], "\"-1\" is no number"),
        (&["--seeds", "0..2", "--trace"], "--trace goes with --seed"),
        (&["--plant"], "--plant needs the name of a bug"),
        (&["--plant", "x"], "\"x\" is no bug; there are [NoRepairOnReconnect, "),
        (&["x"], "\"x\" is no option"),
    ] {
        let output = simulate(words);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.starts_with("simulate: ") && told.contains(said), "{words:?}: {told}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn a_planted_bug_is_found_and_the_command_that_is_told_repeats_it() {
    let output = simulate(&["--seeds", "0..50", "--plant", "DeleteBeatsUpdate", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let sum: Json = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let found = &sum["failures"][0];
    let (seed, error) = (found["seed"].to_string(), found["error"].as_str().expect("words"));
    assert!(error.contains("shows these values nowhere"), "{sum}");

    let told = text(&output.stderr).lines();
    let again = told.filter_map(|line| line.split_once("--bin simulate -- ")).map(|(_, w)| w);
    let again: Vec<&str> = again.filter(|w| w.contains(&format!("--seed {seed} "))).collect();
    let words: Vec<&str> = again[0].split(' ').collect();
    let (one, other) = (simulate(&words), simulate(&words));
    assert_eq!(one.status.code(), Some(1));
    assert!(text(&one.stderr).contains(error), "{}", text(&one.stderr));
    assert_eq!(text(&one.stderr), text(&other.stderr));
    let sound = simulate(&["--seed", &seed]);
    assert_eq!(sound.status.code(), Some(0), "without the bug: {}", text(&sound.stderr));
}
