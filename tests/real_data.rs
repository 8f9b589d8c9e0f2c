//! Real input: thousands of airports through a schema and a hook, to a second node, edited apart, and together again.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::harness::{Client, Server, Wire, program, project};

const CONFIG: &str = r#"
[[namespaces.airports.plugins]]
use = "schema"
bind = { "airport/*" = "airport.schema.json" }

[[namespaces.airports.plugins]]
use = "lua"
scripts = ["stamp.luau"]
time_limit_ms = 5000
"#;

fn import(url: &str, file: &std::path::Path) -> std::process::Output {
    let mut command = Command::new(program());
    command.args(["--url", url, "import", "airports"]).arg(file).output().expect("the program")
}

fn airports() -> Vec<Json> {
    let text = std::fs::read_to_string(project().join("tests/data/airports.ndjson")).expect("data");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What of a value was written by people: the hook's stamps differ from node to node.
fn unstamped(value: &Json) -> Json {
    let mut value = value.clone();
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| {
            !["created_at", "updated_at", "updated_by", "revision"].contains(&name.as_str())
        });
    }
    value
}

async fn edit(client: &mut Client, airport: &Json, runways: u64) {
    let mut value = airport["value"].clone();
    value["runways"] = runways.into();
    client.put("airports", airport["key"].as_str().expect("a key"), value).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn airports_are_imported_replicated_edited_apart_and_converge() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(CONFIG).await;
    wire.lead_to(b.address());
    let mesh = format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = [\"ws://{}\"]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n",
        wire.address
    );
    let a = Server::start(&format!("{mesh}{CONFIG}")).await;

    let output = import(&a.url(), &project().join("tests/data/airports.ndjson"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (airports, mut at_a, mut at_b) = (airports(), a.client().await, b.client().await);
    b.until("airports", "synced").await;
    a.until("airports", "synced").await;
    let imported = at_b.objects("airports").await;
    assert_eq!(imported, at_a.objects("airports").await);
    assert_eq!(imported.as_object().expect("objects").len(), airports.len());
    for airport in &airports {
        let key = airport["key"].as_str().expect("a key");
        let value = &imported[key][1];
        assert_eq!(unstamped(value), airport["value"], "{key}");
        assert_eq!(value["revision"], 1, "the hook saw {key}");
    }

    wire.cut();
    a.until("airports", "not_synced").await;
    b.until("airports", "not_synced").await;
    for airport in &airports[0..100] {
        edit(&mut at_a, airport, 1).await;
        edit(&mut at_b, airport, 2).await;
    }
    for airport in &airports[100..200] {
        edit(&mut at_a, airport, 3).await;
    }
    for airport in &airports[200..300] {
        edit(&mut at_b, airport, 4).await;
    }
    for airport in &airports[300..350] {
        at_a.ok(json!({"delete": {"ns": "airports", "key": airport["key"]}})).await;
        edit(&mut at_b, airport, 5).await;
    }
    for airport in &airports[350..400] {
        at_a.ok(json!({"delete": {"ns": "airports", "key": airport["key"]}})).await;
    }

    wire.mend();
    a.until("airports", "synced").await;
    b.until("airports", "synced").await;
    let objects = at_a.objects("airports").await;
    assert_eq!(objects, at_b.objects("airports").await, "both show the same under the same names");
    let runways = |name: &str| objects[name][1]["runways"].as_u64();
    for airport in &airports[0..100] {
        let key = &airport["key"];
        let refusal = at_a.error(json!({"get": {"ns": "airports", "key": key}})).await;
        assert_eq!(refusal["code"], "in_conflict");
        let sides = refusal["addresses"].as_array().expect("addresses");
        let mut found: Vec<_> =
            sides.iter().map(|side| runways(side.as_str().expect("an address"))).collect();
        found.sort();
        assert_eq!(found, [Some(1), Some(2)], "both sides of {key} are kept");
    }
    for (range, expected) in [(100..200, Some(3)), (200..300, Some(4)), (300..350, Some(5))] {
        for airport in &airports[range] {
            let key = airport["key"].as_str().expect("a key");
            assert_eq!(runways(key), expected, "{key}");
        }
    }
    for airport in &airports[350..400] {
        assert!(objects[airport["key"].as_str().expect("a key")].is_null(), "deleted on one side");
    }
    assert_eq!(objects.as_object().expect("objects").len(), airports.len() + 100 - 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_names_the_line_that_was_refused() {
    let server = Server::start(CONFIG).await;
    let file = server.folder.path().join("bad.ndjson");
    let good =
        r#"{"key":"airport/AAA","value":{"name":"A","country":"USA","latitude":1,"longitude":2}}"#;
    let bad =
        r#"{"key":"airport/BBB","value":{"name":"B","country":"USA","latitude":91,"longitude":2}}"#;
    std::fs::write(&file, format!("{good}\n{bad}\n")).expect("a file");
    let output = import(&server.url(), &file);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{words}");
    for part in ["line 2", "airport.schema.json", "/latitude", "maximum"] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    assert_eq!(
        server.client().await.objects("airports").await.as_object().expect("objects").len(),
        1
    );
}
