//! `hook test`: the tests of scripts, in memory.

use std::path::{Path, PathBuf};

use keepboth_core::name::Namespace;
use keepboth_lua::{run_suite, test_of};

use super::super::exit::{Exit, Failure};
use super::super::object::namespace;
use super::super::out::{Out, printable, talk};
use super::Named;
use super::report::{self, Ran};

/// Which tests, and how they are told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The tests of NAME.luau stand in NAME_test.luau. snapshot(VALUE) in a test compares with what is stored
in NAME_test.snap.json. Exit code 0 if all pass, 1 if not.

Examples:
  keepboth hook test                              all tests of the folder scripts, or else of this one
  keepboth hook test scripts/guard.luau --tap
  keepboth hook test --junit tests.xml
  keepboth hook test --update                     takes what the tests find for right"
)]
pub struct Test {
    /// Scripts or their tests
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace to which the scripts are bound
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace, default_value = "notes")]
    namespace: Namespace,
    /// Store what snapshot() finds, instead of holding it against what is stored
    #[arg(long)]
    update: bool,
    /// Write the Test Anything Protocol
    #[arg(long)]
    tap: bool,
    /// Write the results to this file too, as JUnit does
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Runs all tests of all files.
pub fn run(args: &Test, json: bool) -> Result<(), Failure> {
    let mut ran = Vec::new();
    for file in scripts(&args.files)? {
        ran.push(one(args, file)?);
    }
    let mut out = Out::new(json);
    for line in match (json, args.tap) {
        (true, _) => report::json(&ran),
        (false, true) => report::tap(&ran),
        (false, false) => report::human(&ran),
    } {
        out.line(&line)?;
    }
    out.flush()?;
    if let Some(file) = &args.junit {
        std::fs::write(file, report::junit(&ran))
            .map_err(|e| Failure::new(Exit::Failure, format!("{}: {e}", file.display())))?;
    }
    let all: usize = ran.iter().map(Ran::count).sum();
    let failed: usize = ran.iter().map(Ran::failed).sum();
    let tests = if all == 1 { "test" } else { "tests" };
    talk(&format!("{all} {tests}, {failed} failed"));
    if failed == 0 { Ok(()) } else { Err(Failure::quiet(Exit::Failure)) }
}

fn one(args: &Test, file: Named) -> Result<Ran, Failure> {
    let test = test_of(&file.name);
    let there = test.as_ref().is_some_and(|test| file.folder.join(test).symlink_metadata().is_ok());
    if !there {
        let words = match test {
            Some(test) => format!("{} is not there, so there is no test", file.path_of(&test)),
            None => format!("{} is no script: its name does not end with .luau", file.path()),
        };
        return Ok(Ran { file, outcome: Err(words) });
    }
    let outcome = run_suite(&file.site(&args.namespace), &file.name, args.update);
    if let Ok(suite) = &outcome {
        if let Some((name, text)) = &suite.snapshots {
            let path = file.path_of(name);
            let wrote = std::fs::write(&path, text);
            wrote.map_err(|e| Failure::new(Exit::Failure, format!("{path}: {e}")))?;
            talk(&printable(&format!("stored {path}")));
        }
        if suite.unused > 0 && !args.update {
            let words = "snapshots are taken by no test any more; --update drops them";
            talk(&printable(&format!("{}: {} {words}", file.path(), suite.unused)));
        }
    }
    Ok(Ran { outcome: outcome.map(|suite| suite.tests).map_err(|words| file.here(&words)), file })
}

/// The scripts that are meant, each once: a test means its script.
fn scripts(files: &[PathBuf]) -> Result<Vec<Named>, Failure> {
    let mut scripts: Vec<Named> = Vec::new();
    let files = if files.is_empty() { &found()? } else { files };
    for file in files {
        let mut file = Named::of(file)?;
        if let Some(stem) = file.name.strip_suffix("_test.luau") {
            file.name = format!("{stem}.luau");
        }
        if !scripts.contains(&file) {
            scripts.push(file);
        }
    }
    Ok(scripts)
}

/// All files of tests in the folder `scripts`, or in this one if there is none of that name.
fn found() -> Result<Vec<PathBuf>, Failure> {
    let scripts = Path::new("scripts");
    let folder = if scripts.is_dir() { scripts } else { Path::new(".") };
    let cannot = |e| Failure::new(Exit::Failure, format!("{}: {e}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        if name.to_str().is_some_and(|name| name.ends_with("_test.luau")) {
            found.push(folder.join(name));
        }
    }
    if found.is_empty() {
        let words = format!("no file in {} ends with _test.luau", folder.display());
        let hint = "keepboth hook new NAME writes a script with its test";
        return Err(Failure::new(Exit::NotFound, words).hint(hint));
    }
    found.sort();
    Ok(found)
}
