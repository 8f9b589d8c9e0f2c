//! A server with a plugin of its own, from a crate outside the workspace: it builds, starts, and the plugin acts.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Server, project};

#[tokio::test]
async fn a_server_with_a_plugin_of_its_own_takes_a_crate_with_a_main_of_one_line() {
    let crate_folder = project().join("tests/fixtures/own-plugin");
    // The same versions as here, so that nothing has to be fetched and what was built serves again.
    std::fs::copy(project().join("Cargo.lock"), crate_folder.join("Cargo.lock")).expect("a copy");
    // The folder that the program under test was built into.
    let target = crate::harness::program().parent().and_then(Path::parent).expect("a target");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--manifest-path"])
        .arg(crate_folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo");
    assert!(built.success());
    let config = "[[namespaces.notes.plugins]]\nuse = \"shout\"\n";
    let server = Server::start_program(&target.join("debug/own-plugin"), config).await;
    let mut client = server.client().await;
    client.put("notes", "k", json!("hello")).await;
    assert_eq!(client.get("notes", "k").await, json!("HELLO"));
}
