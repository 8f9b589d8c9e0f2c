//! `keepboth bench` with real servers in processes of their own, other servers among them where they are
//! installed: short runs, for what they measure is worth nothing here.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value as Json;

use crate::harness::program;

/// Runs of no length, with few objects.
const SHORT: [&str; 5] = ["--quick", "--objects", "300", "--seconds", "0.05"];

/// The rows beside peers, in their order; nothing is compacted here, since nothing grows.
const ROWS: [&str; 24] = [
    "puts-64-redis",
    "puts-64-tarantool",
    "puts-64-plain",
    "puts-64-interval",
    "puts-1024-redis",
    "puts-1024-tarantool",
    "puts-1024-redb",
    "puts-1024-plain",
    "puts-1024-interval",
    "put-alone-redis",
    "gets-nats",
    "gets-redis",
    "memory-empty",
    "memory-connection",
    "disk-written",
    "processor",
    "disk-held",
    "many-memory",
    "many-puts",
    "many-p99",
    "many-start",
    "many-start-killed",
    "two-nodes",
    "two-nodes-lag",
];

fn bench(words: &[&str], folder: &Path, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(program());
    command.args(["--json", "bench"]).args(words).args(SHORT).arg("--dir").arg(folder);
    change(&mut command);
    command.output().expect("the program")
}

/// The rows of a run that went well and left nothing behind.
fn rows(words: &[&str], change: impl FnOnce(&mut Command)) -> Vec<Json> {
    let folder = tempfile::tempdir().expect("a folder");
    let output = bench(words, folder.path(), change);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "files are left behind");
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_row_beside_peers_says_whether_its_bar_is_reached() {
    let rows = rows(&["peers"], |_| {});
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, ROWS);
    for row in &rows {
        assert!(row["row"].is_string() && row["ours"].as_f64().is_some_and(|it| it > 0.0), "{row}");
        let (peer, ratio, skipped) = (&row["peer"], &row["ratio"], &row["skipped"]);
        assert_eq!(peer.is_number(), ratio.is_number(), "{row}");
        assert!(skipped.is_null() || peer.is_null(), "{row}");
        let known = row["bar"].is_number() && skipped.is_null();
        assert_eq!(row["reached"].is_boolean(), known, "{row}");
    }
}

#[test]
fn a_peer_that_is_not_installed_is_left_out_and_its_row_says_how_to_install_it() {
    let path = tempfile::tempdir().expect("a folder");
    // The one program that the benchmark itself asks for.
    symlink("/bin/kill", path.path().join("kill")).expect("a link");
    let rows = rows(&["peers", "--only", "latency"], |command| {
        command.env("PATH", path.path());
    });
    let [row] = &rows[..] else { panic!("{rows:#?}") };
    assert_eq!(row["skipped"], "Redis is not installed: apt-get install redis-server");
    assert!(row["peer"].is_null() && row["ratio"].is_null() && row["reached"].is_null(), "{row}");
    assert_eq!(row["bar"], 1.0);
}

#[test]
fn a_growing_server_is_measured_and_drawn() {
    let plots = tempfile::tempdir().expect("a folder");
    let path = plots.path().to_str().expect("a path in UTF-8");
    let rows = rows(&["--only", "scale", "--plots", path], |_| {});
    assert_eq!(rows.len(), 5, "{rows:#?}");
    let svg = std::fs::read_to_string(plots.path().join("scale.svg")).expect("a picture");
    assert_eq!(svg.matches("<polyline").count(), 5, "{svg}");
}

#[test]
fn an_interrupted_run_ends_its_servers_and_removes_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(program())
        .args(["bench", "peers", "--only", "latency", "--seconds", "600", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut talk = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let begun = |line: &Result<String, _>| line.as_ref().is_ok_and(|line| line.contains("puts, "));
    talk.find(begun).expect("a run that begins").expect("text");
    let id = child.id().to_string();
    let killed = Command::new("kill").args(["-s", "INT", &id]).status().expect("kill");
    assert!(killed.success());
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let left = std::fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 0, "files are left behind");
}

#[test]
fn an_unusable_folder_ends_it_before_anything_runs() {
    let folder = Path::new("/nowhere/at/all");
    for words in [["peers"].as_slice(), &[]] {
        let output = bench(words, folder, |_| {});
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("/nowhere/at/all is not a folder"), "{text}");
    }
}

/// What builds an optimized program.
fn optimized() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/optimized")
}

#[test]
fn an_optimized_build_is_explained_and_refuses_what_it_does_not_know_before_it_builds() {
    let said = |words: &[&str]| {
        let output = Command::new(optimized()).args(words).output().expect("tools/optimized");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = said(&["--help"]);
    assert!(code == Some(0) && text.contains("tools/optimized [FOLDER]"), "{text}");
    for (words, wrong) in [
        (&["--fast"][..], "there is no option --fast"),
        (&["one", "two"], "one folder at most, not 2"),
    ] {
        let (code, text) = said(words);
        assert!(code == Some(2) && text.contains(wrong), "{text}");
    }
}

#[test]
fn the_benchmark_by_which_an_optimized_build_counts_is_one_that_the_program_has() {
    let script = std::fs::read_to_string(optimized()).expect("tools/optimized");
    let words = script.lines().find_map(|line| line.split_once("/keepboth\" bench "));
    let (_, words) = words.expect("a benchmark");
    let words = words.split('>').next().expect("its words");
    let is_known = |words: &str| {
        let mut command = Command::new(program());
        // With it, what stands before it is looked at and not done.
        let command = command.arg("bench").args(words.split_whitespace()).arg("--help");
        command.output().expect("the program").status.success()
    };
    assert!(is_known(words), "{words}");
    assert!(!is_known("--only nothing"));
}
