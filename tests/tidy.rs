//! The rules of the house: who may use whom, and what stands where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// The crates and the crates of ours that each may use.
fn rooms() -> Vec<(&'static str, &'static [&'static str])> {
    let plugins: &[&str] = &["keepboth-core"];
    vec![
        ("server/core", &[]),
        ("server/store", &["keepboth-core"]),
        ("plugins/schema", plugins),
        ("plugins/lua", plugins),
        ("plugins/audit", plugins),
        ("plugins/auth", plugins),
        ("plugins/expiry", plugins),
        ("plugins/index", plugins),
        ("plugins/webhook", plugins),
        (
            "server/node",
            &[
                "keepboth-core",
                "keepboth-store",
                "keepboth-schema",
                "keepboth-lua",
                "keepboth-audit",
                "keepboth-auth",
                "keepboth-expiry",
                "keepboth-index",
                "keepboth-webhook",
            ],
        ),
        ("tests/simulation", &["keepboth-core"]),
    ]
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text without its tests and comments.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_crate_uses_only_the_crates_below_it() {
    for (room, allowed) in rooms() {
        let manifest: toml::Table =
            read(&root().join(room).join("Cargo.toml")).parse().expect("a manifest");
        let used = manifest["dependencies"].as_table().expect("dependencies").keys();
        for name in used.filter(|name| name.starts_with("keepboth")) {
            assert!(allowed.contains(&name.as_str()), "{room} may not use {name}");
        }
    }
}

#[test]
fn a_library_stands_in_its_room_only() {
    let places: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("redb::", ["server/store"].as_slice()),
        ("mlua::", &["plugins/lua"]),
        ("jsonschema::", &["plugins/schema", "server/node/src/config"]),
        ("SystemTime::now", &["server/node/src/clock.rs"]),
        ("tokio::net", &["server/node", "plugins/webhook"]),
        ("std::fs", &["server/node", "server/store", "plugins"]),
    ]);
    for (room, _) in rooms() {
        for file in sources(&root().join(room).join("src")) {
            let place = file.strip_prefix(root()).expect("a file of ours").display().to_string();
            let code = code(&file);
            for (library, allowed) in &places {
                let here = allowed.iter().any(|room| place.starts_with(room));
                assert!(here || !code.contains(library), "{place} uses {library}");
            }
        }
    }
}

#[test]
fn the_rules_know_neither_clock_nor_chance() {
    for file in sources(&root().join("server/core/src")) {
        let code = code(&file);
        for word in ["Instant::now", "SystemTime", "rand::", "getrandom", "std::thread", "std::net"]
        {
            assert!(!code.contains(word), "{} uses {word}", file.display());
        }
    }
}

/// Its time is its own, and its chance comes from the seed.
#[test]
fn the_simulation_knows_neither_clock_nor_chance() {
    for file in sources(&root().join("tests/simulation/src")) {
        let code = code(&file);
        let words = ["Instant::now", "SystemTime", "rand::rng()", "getrandom", "std::thread"];
        for word in words {
            assert!(!code.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn every_file_opens_with_a_sentence() {
    let folders = rooms().into_iter().map(|(room, _)| room).chain(["tests"]);
    for file in folders.flat_map(|folder| sources(&root().join(folder))) {
        let text = read(&file);
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{} does not open with //!", file.display());
    }
}

/// `lib.rs` lists its modules bottom-up: a module uses only those above it.
#[test]
fn a_module_uses_only_the_modules_above_it() {
    let mut wrong = Vec::new();
    for (room, _) in rooms() {
        let source = root().join(room).join("src");
        let lib = read(&source.join("lib.rs"));
        let modules: Vec<&str> = lib
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")))
            .filter_map(|rest| rest.strip_suffix(';'))
            .collect();
        for (at, module) in modules.iter().enumerate() {
            let files = [vec![source.join(format!("{module}.rs"))], sources(&source.join(module))];
            for file in files.concat().into_iter().filter(|file| file.exists()) {
                let code = code(&file);
                for above in &modules[at + 1..] {
                    let used = format!("crate::{above}::");
                    if code.contains(&used) {
                        wrong.push(format!("{} uses {above}, which stands below", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    let home = std::env::var("HOME").unwrap_or_else(|_| "/nowhere".into());
    let texts = [
        "README.md",
        "PROTOCOL.md",
        "CHANGELOG.md",
        "server/ARCHITECTURE.md",
        "config.example.toml",
    ];
    let files = texts.iter().map(|name| root().join(name)).chain(sources(&root()));
    for file in files.filter(|file| file.exists() && !file.starts_with(root().join("target"))) {
        let text = read(&file);
        for path in [root().display().to_string(), format!("{home}/")] {
            assert!(!text.contains(&path), "{} names {path}", file.display());
        }
    }
}
