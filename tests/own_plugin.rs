//! `docs/PLUGINS.md`, followed: its crate stands outside the workspace, builds, passes its test, and its server
//! does what the page shows.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Server, project};

fn read(path: &str) -> String {
    std::fs::read_to_string(project().join(path)).expect(path)
}

/// The block of the page under this name.
fn block(name: &str) -> String {
    let page = read("docs/PLUGINS.md");
    let (_, rest) = page.split_once(&format!(" {name}\n")).expect(name);
    rest.split_once("```").expect("an end").0.to_owned()
}

#[test]
fn the_crate_of_the_page_is_the_one_that_is_built() {
    let fixture = |file: &str| read(&format!("tests/fixtures/own-plugin/{file}"));
    assert_eq!(fixture("src/main.rs"), block("src/main.rs"));
    assert_eq!(fixture("src/tidy.rs"), format!("{}\n{}", block("src/tidy.rs"), block("tests")));
    let dependencies = block("Cargo.toml").replace("../keepboth/", "../../../");
    assert!(fixture("Cargo.toml").contains(&dependencies), "{dependencies}");
}

#[tokio::test]
async fn a_server_with_a_plugin_of_its_own_takes_a_crate_with_a_main_of_one_line() {
    let crate_folder = project().join("tests/fixtures/own-plugin");
    // The same versions as here, so that nothing has to be fetched and what was built serves again.
    std::fs::copy(project().join("Cargo.lock"), crate_folder.join("Cargo.lock")).expect("a copy");
    // The folder that the program under test was built into.
    let target = crate::harness::program().parent().and_then(Path::parent).expect("a target");
    for word in ["test", "build"] {
        let done = Command::new(env!("CARGO"))
            .args([word, "--offline", "--manifest-path"])
            .arg(crate_folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .status()
            .expect("cargo");
        assert!(done.success(), "cargo {word}");
    }
    let program = target.join("debug/own-plugin");
    let config = block("keepboth.toml");
    let server = Server::start_program(&program, &config).await;
    let mut client = server.client().await;
    client.put("notes", "a", json!("  hello   there ")).await;
    assert_eq!(client.get("notes", "a").await, json!("hello   there"));
    let long = json!({"put": {"ns": "notes", "key": "a", "value": "one two three four five six"}});
    let error = client.error(long).await;
    assert_eq!(error["code"], "hook_refused");
    let page = read("docs/PLUGINS.md");
    for words in [&error["message"], &error["hint"]] {
        let words = words.as_str().expect("words");
        assert!(page.contains(words), "{words}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keepboth.toml");
    std::fs::write(&file, config.replace("words_max = 5", "words_max = 0")).expect("written");
    let checked = Command::new(&program)
        .args(["check", "--config", "keepboth.toml"])
        .current_dir(folder.path())
        .output()
        .expect("the program");
    let told = String::from_utf8(checked.stderr).expect("text");
    assert_eq!(checked.status.code(), Some(78), "{told}");
    assert!(page.contains(told.trim_end()), "{told}");
}
