//! The scripts in `scripts/`, each through its own tests, and what editors know of them.

use std::fs;
use std::path::{Path, PathBuf};

use keepboth_lua::{EDITOR_SETTINGS, definitions, run_tests, test_of};

use crate::harness::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts")
}

/// The names of all scripts that are shipped, without their tests.
fn shipped() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("scripts");
    let names = entries
        .map(|entry| -> String { entry.expect("entry").file_name().to_string_lossy().into() });
    let mut names: Vec<String> =
        names.filter(|name| test_of(name).is_some() && name != "kb.d.luau").collect();
    names.sort();
    names
}

#[test]
fn every_script_has_tests_and_they_pass() {
    let scripts = shipped();
    assert!(scripts.len() >= 14, "{scripts:?}");
    let mut failed = Vec::new();
    for script in scripts {
        match run_tests(&site(&folder()), &script) {
            Err(words) => failed.push(format!("{script}: {words}")),
            Ok(tests) if tests.len() < 2 => failed.push(format!("{script}: has no tests")),
            Ok(tests) => failed.extend(tests.into_iter().filter_map(|test| {
                test.failed.map(|why| format!("{script}: {:?}: {why}", test.name))
            })),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_script_says_how_to_use_it_and_stands_in_the_readme() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("README.md");
    for script in shipped() {
        let source = fs::read_to_string(folder().join(&script)).expect("source");
        assert!(source.starts_with("--!strict\n-- "), "{script}");
        for part in ["-- Options", "-- In the config:", "--   use = \"lua\""] {
            assert!(source.contains(part), "{script}: {part}");
        }
        assert!(readme.contains(&format!("| `{script}` |")), "README.md: {script}");
    }
}

/// To write it anew: `KEEPBOTH_WRITE_TYPES=1 cargo test -p keepboth-lua types`.
#[test]
fn the_types_for_editors_are_those_of_the_functions() {
    let path = folder().join("kb.d.luau");
    if std::env::var_os("KEEPBOTH_WRITE_TYPES").is_some() {
        fs::write(&path, definitions()).expect("kb.d.luau");
    }
    let found = fs::read_to_string(&path).expect("kb.d.luau");
    assert!(
        found == definitions(),
        "kb.d.luau is old; KEEPBOTH_WRITE_TYPES=1 cargo test -p keepboth-lua types"
    );
}

#[test]
fn the_settings_for_editors_are_those_that_a_new_script_gets() {
    let found = fs::read_to_string(folder().join(".luaurc")).expect(".luaurc");
    assert_eq!(found, EDITOR_SETTINGS);
}
