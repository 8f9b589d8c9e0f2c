//! JSON Schemas on real servers: steps that are judged by what was there, schemas that change under objects
//! that are there, and the commands for those who write schemas.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::cluster::logged;
use crate::harness::{Client, PATIENCE, Server, program, project};

/// A task whose state never goes back, with its own tests.
const TASK: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["state"],
  "properties": { "state": { "enum": ["open", "done"] } },
  "x-keepboth-transition": {
    "if": { "required": ["old"], "properties": { "old": { "$ref": "#/$defs/done" } } },
    "then": { "properties": { "new": { "$ref": "#/$defs/done" } } }
  },
  "$defs": { "done": { "properties": { "state": { "const": "done" } } } },
  "examples": [{ "state": "open" }],
  "x-keepboth-allowed": [{ "old": { "state": "open" }, "new": { "state": "done" } }],
  "x-keepboth-refused": [
    { "old": { "state": "done" }, "new": { "state": "open" }, "because": "\"done\" was expected" }
  ]
}"##;

/// A namespace whose keys `task/*` obey the file `task.json` beside the config.
const BOUND: &str = "[server]\nlisten = \"127.0.0.1:0\"\nschemas = \"schemas\"\n[namespaces.notes]\n\
    [[namespaces.notes.plugins]]\nuse = \"schema\"\nbind = { \"task/*\" = \"task.json\" }\n";

fn schema(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder.join("schemas")).expect("a folder");
    std::fs::write(folder.join("schemas/task.json"), text).expect("a schema");
}

async fn server(text: &str) -> Server {
    Server::start_with(BOUND, |folder| schema(folder, text)).await
}

fn put(key: &str, value: Json) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": value}})
}

fn message(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

/// The report, once all objects were looked at.
async fn report(client: &mut Client, wanted: impl Fn(&Json) -> bool) -> Json {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = client.ok(json!({"schema_report": {"ns": "notes"}})).await;
        if report["done"] == true && wanted(&report) {
            return report;
        }
        assert!(Instant::now() < until, "{report}");
        tokio::task::yield_now().await;
    }
}

fn unfit(count: usize) -> impl Fn(&Json) -> bool {
    move |report| report["unfit"] == count
}

/// A command's end: exit code, stdout, stderr.
fn run(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(program()).args(words).output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_never_goes_back_without_a_script() {
    let server = server(TASK).await;
    let mut client = server.client().await;
    client.ok(put("task/1", json!({"state": "open"}))).await;
    client.ok(put("task/1", json!({"state": "done"}))).await;
    let refused = client.error(put("task/1", json!({"state": "open"}))).await;
    assert_eq!(refused["code"], "schema_refused");
    assert!(
        message(&refused).starts_with("task.json: /new/state: \"done\" was expected"),
        "{refused}"
    );
    assert_eq!(client.get("notes", "task/1").await, json!({"state": "done"}));
    // By no other way in either.
    let history = client.ok(json!({"history": {"ns": "notes", "key": "task/1"}})).await;
    let first = history["versions"][1]["version"].clone();
    let revert = json!({"revert": {"ns": "notes", "key": "task/1", "version": first}});
    assert_eq!(client.error(revert).await["code"], "schema_refused");
    let ops = json!([{"put": {"key": "task/2", "value": {"state": "open"}}},
        {"put": {"key": "task/1", "value": {"state": "open"}}}]);
    let batch = client.error(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    assert!(message(&batch).starts_with("operation 1: task.json: "), "{batch}");
    assert_eq!(
        client.error(json!({"get": {"ns": "notes", "key": "task/2"}})).await["code"],
        "not_found"
    );
    // What was deleted begins anew.
    client.ok(json!({"delete": {"ns": "notes", "key": "task/1"}})).await;
    client.ok(put("task/1", json!({"state": "open"}))).await;
}

/// Sends all frames before it reads an answer; the codes of their errors, null where all is well.
async fn codes(client: &mut Client, frames: Vec<Json>) -> Vec<Json> {
    let mut ids = Vec::new();
    for frame in frames {
        ids.push(client.ask(frame).await);
    }
    let mut codes = vec![Json::Null; ids.len()];
    for _ in 0..ids.len() {
        let answer = client.frame().await;
        let at = ids.iter().position(|id| answer["id"] == *id).expect("an answer to one of them");
        codes[at] = answer["error"]["code"].clone();
    }
    codes
}

fn state(state: &str) -> Json {
    json!({"state": state})
}

#[tokio::test(flavor = "multi_thread")]
async fn no_step_is_judged_by_a_value_that_an_overtaking_write_replaced() {
    let server = server(TASK).await;
    let (mut one, mut other) = (server.client().await, server.client().await);
    for round in 0..100 {
        let key = format!("task/{round}");
        // One connection: what was sent first is there first.
        let away = json!({"delete": {"ns": "notes", "key": key}});
        let to = |to| put(&key, state(to));
        let frames = vec![to("open"), to("done"), to("open"), to("done"), away, to("open")];
        let refused = json!([null, null, "schema_refused", null, null, null]);
        assert_eq!(json!(codes(&mut one, frames).await), refused, "round {round}");
        // Two connections at once: one of both is first, and nothing leads back.
        let key = format!("task/both/{round}");
        let done = one.ask(put(&key, state("done"))).await;
        let open = other.ask(put(&key, state("open"))).await;
        assert_eq!(one.answer(done).await["error"], Json::Null, "round {round}");
        let code = other.answer(open).await["error"]["code"].clone();
        assert!(code.is_null() || code == "schema_refused", "round {round}: {code}");
        assert_eq!(one.get("notes", &key).await, state("done"), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_a_batch_is_judged_by_what_the_operation_before_it_makes() {
    let server = server(TASK).await;
    let mut client = server.client().await;
    let op = |to: &str| json!({"put": {"key": "task/1", "value": state(to)}});
    let batch = |ops: Json| json!({"batch": {"ns": "notes", "ops": ops}});
    let refused = client.error(batch(json!([op("done"), op("open")]))).await;
    assert_eq!(refused["code"], "schema_refused");
    assert!(message(&refused).starts_with("operation 1: task.json: /new/state: "), "{refused}");
    let get = json!({"get": {"ns": "notes", "key": "task/1"}});
    assert_eq!(client.error(get).await["code"], "not_found");
    client.ok(batch(json!([op("open"), op("open"), op("done")]))).await;
    let away = json!({"delete": {"key": "task/1"}});
    client.ok(batch(json!([away, op("open"), op("done")]))).await;
    assert_eq!(client.get("notes", "task/1").await, state("done"));
    // A batch and a put that are under way together.
    for round in 0..50 {
        let key = format!("task/under/{round}");
        let ops = json!([{"put": {"key": key, "value": state("open")}},
            {"put": {"key": key, "value": state("done")}}]);
        let frames = vec![batch(ops), put(&key, state("open"))];
        let refused = json!([null, "schema_refused"]);
        assert_eq!(json!(codes(&mut client, frames).await), refused, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_schema_hides_nothing_and_says_what_breaks_it_until_that_is_mended() {
    let mut server = server("true").await;
    let mut client = server.client().await;
    for n in 0..5 {
        client.ok(put(&format!("task/{n}"), json!({"n": n}))).await;
    }
    client.ok(put("free", json!(5))).await;
    let before = report(&mut client, unfit(0)).await;
    assert_eq!((&before["bound"], &before["items"]), (&json!(true), &json!([])));

    schema(server.folder.path(), r#"{"properties": {"n": {"maximum": 2}}}"#);
    client.ok(json!({"reload": {}})).await;
    let after = report(&mut client, unfit(2)).await;
    assert_eq!(after["checked"], 6);
    let items = after["items"].as_array().expect("items");
    assert_eq!((&items[0]["key"], &items[1]["name"]), (&json!("task/3"), &json!("task/4")));
    assert_eq!(items[0]["code"], "schema_refused");
    assert!(message(&items[0]).starts_with("task.json: /n: 3 is greater"), "{items:?}");
    assert_eq!(client.get("notes", "task/4").await, json!({"n": 4}), "nothing is hidden");
    let status = client.ok(json!({"status": {}})).await;
    assert_eq!(status["namespaces"][0]["unfit"], 2);
    assert!(server.metrics().await.contains("keepboth_unfit{namespace=\"notes\"} 2"));
    logged(&server, "2 of 6 objects do not fit; `keepboth schema report notes` lists").await;
    let url = server.url();
    let (code, out, err) = run(&["--url", &url, "schema", "report", "notes"]);
    assert_eq!((code, out.matches("task.json: /n: ").count()), (0, 2), "{out}{err}");
    assert!(err.contains("2 unfit; 6 objects were looked at"), "{err}");
    let page = json!({"schema_report": {"ns": "notes", "limit": 1}});
    let page = client.ok(page).await;
    assert_eq!(
        (page["items"].as_array().map(Vec::len), &page["next"]),
        (Some(1), &json!("task/3"))
    );
    let rest = client.ok(json!({"schema_report": {"ns": "notes", "after": "task/3"}})).await;
    assert_eq!((&rest["items"][0]["key"], &rest["next"]), (&json!("task/4"), &Json::Null));

    assert_eq!(client.error(put("task/3", json!({"n": 9}))).await["code"], "schema_refused");
    client.ok(put("task/3", json!({"n": 1}))).await;
    report(&mut client, unfit(1)).await;
    client.ok(json!({"delete": {"ns": "notes", "key": "task/4"}})).await;
    report(&mut client, unfit(0)).await;

    // A file that is no schema any more changes nothing.
    client.ok(put("task/5", json!({"n": 2}))).await;
    schema(server.folder.path(), r#"{"properties": {"n": {"maximun": 1}}}"#);
    let refused = client.error(json!({"reload": {}})).await;
    assert!(
        message(&refused).contains("task.json:1:23: /properties/n/maximun: unknown"),
        "{refused}"
    );
    std::fs::remove_file(server.folder.path().join("schemas/task.json")).expect("removed");
    let refused = client.error(json!({"reload": {}})).await;
    assert!(message(&refused).contains("task.json: cannot read it in "), "{refused}");
    assert_eq!(client.error(put("task/6", json!({"n": 3}))).await["code"], "schema_refused");

    // Also what changed while the server was away.
    server.kill().await;
    schema(server.folder.path(), r#"{"properties": {"n": {"maximum": 1}}}"#);
    server.go_on().await;
    let mut client = server.client().await;
    let found = report(&mut client, unfit(2)).await;
    let keys: Vec<&Json> =
        found["items"].as_array().expect("items").iter().map(|i| &i["key"]).collect();
    assert_eq!(keys, ["task/2", "task/5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_schemas_has_nothing_to_report() {
    let server = Server::start("[namespaces.notes]\n").await;
    let mut client = server.client().await;
    client.ok(put("k", json!(1))).await;
    let report = client.ok(json!({"schema_report": {"ns": "notes"}})).await;
    assert_eq!(
        report,
        json!({"bound": false, "done": true, "checked": 0, "unfit": 0, "items": []})
    );
    let (code, _, err) = run(&["--url", &server.url(), "schema", "report", "notes"]);
    assert_eq!(code, 0);
    assert!(err.contains("no schema is bound to keys of this namespace"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_unfit_objects_than_are_listed_are_counted_and_come_up_when_there_is_room() {
    let server = server("true").await;
    let mut client = server.client().await;
    for start in [0, 700] {
        let op = |n: usize| json!({"put": {"key": format!("task/{n:04}"), "value": n}});
        let ops: Vec<Json> = (start..start + 700).map(op).collect();
        client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    }
    schema(server.folder.path(), r#"{"type": "string"}"#);
    client.ok(json!({"reload": {}})).await;
    let found = report(&mut client, unfit(1400)).await;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1000));
    let ops: Vec<Json> =
        (0..1000).map(|n| json!({"delete": {"key": format!("task/{n:04}")}})).collect();
    client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    let listed = |report: &Json| report["items"].as_array().map(Vec::len) == Some(400);
    let rest = report(&mut client, |report| unfit(400)(report) && listed(report)).await;
    assert_eq!(rest["items"][0]["key"], "task/1000");
}

#[test]
fn schema_files_are_checked_and_their_own_tests_are_run() {
    let folder = tempfile::tempdir().expect("a folder");
    schema(folder.path(), TASK);
    let file = folder.path().join("schemas/task.json").display().to_string();
    let (code, out, err) = run(&["schema", "check", &file]);
    assert_eq!((code, out.as_str(), err.trim_end()), (0, "", "1 file, no mistakes"));
    let (code, out, err) = run(&["schema", "test", &file]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        (code, err.trim_end(), lines[0], lines[1]),
        (0, "3 tests, 0 failed", "TAP version 14", "1..3")
    );
    assert_eq!(lines[2], format!("ok 1 - {file}:11:16 /examples/0 passes"));
    assert_eq!(lines[4], format!("ok 3 - {file}:14:5 /x-keepboth-refused/0 is refused"));

    schema(folder.path(), &TASK.replace("[{ \"state\": \"open\" }]", "[{ \"state\": \"shut\" }]"));
    let (code, out, _) = run(&["schema", "test", &file]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains(&format!("not ok 1 - {file}:11:16 /examples/0 passes\n  ---\n  message: "))
    );
    assert!(out.contains("/state: \\\"shut\\\" is not one of"), "{out}");
    let (_, out, _) = run(&["--json", "schema", "test", &file]);
    let first: Json = serde_json::from_str(out.lines().next().expect("a line")).expect("JSON");
    assert_eq!(
        (&first["ok"], &first["line"], &first["column"]),
        (&json!(false), &json!(11), &json!(16))
    );

    schema(folder.path(), &TASK.replace("\"const\"", "\"cnost\"").replace("\"enum\"", "\"enmu\""));
    let (code, _, err) = run(&["schema", "check", &file]);
    assert_eq!(code, 78);
    for said in [
        format!(
            "{file}:5:30: error: /properties/state/enmu: unknown keyword \"enmu\"; did you mean \"enum\"?"
        ),
        format!("{file}:10:51: error: /$defs/done/properties/state/cnost: unknown keyword"),
        "2 mistakes in 1 file".to_owned(),
    ] {
        assert!(err.contains(&said), "{err}\nlacks\n{said}");
    }
    let (_, out, _) = run(&["--json", "schema", "check", &file]);
    let told: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&told["ok"], &told["errors"][0]["line"]), (&json!(false), &json!(5)));
    assert_eq!(run(&["schema", "test", &file]).0, 78, "what is no schema has no tests");
    let (code, _, err) = run(&["schema", "check", "/etc/passwd", "--schemas", "schemas"]);
    assert_eq!((code, err.contains("does not begin with the folder schemas")), (2, true), "{err}");
}

#[test]
fn the_schemas_that_come_along_pass_their_own_tests() {
    let folder = project().join("schemas");
    let files =
        ["note", "airport", "events/put", "events/delete", "events/conflict", "events/state"];
    let paths = files.map(|name| folder.join(format!("{name}.schema.json")).display().to_string());
    let mut words = vec!["schema", "test"];
    words.extend(paths.iter().map(String::as_str));
    let (code, out, err) = run(&words);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!out.contains("SKIP"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_inferred_from_objects_and_lets_them_pass() {
    let mut server = server("true").await;
    let mut client = server.client().await;
    for n in 0..9 {
        let state = ["open", "done"][n % 2];
        client.ok(put(&format!("task/{n}"), json!({"state": state, "n": n}))).await;
    }
    client.ok(put("task/odd", json!({"$json": {"$n": 1, "n": 3, "state": "open"}}))).await;
    client.ok(put("other", json!({"$bytes": "AAE="}))).await;
    let url = server.url();
    let (code, out, err) = run(&["--url", &url, "schema", "infer", "notes/task/"]);
    assert_eq!((code, err.trim_end()), (0, "inferred from 10 objects"));
    let inferred: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!(inferred["required"], json!(["n", "state"]));
    assert_eq!(inferred["properties"]["state"]["enum"], json!(["done", "open"]));
    assert_eq!(inferred["properties"]["n"]["maximum"], 8);
    let (_, whole, _) = run(&["--url", &url, "schema", "infer", "notes"]);
    let whole: Json = serde_json::from_str(&whole).expect("JSON");
    assert_eq!(whole["x-keepboth-kind"], json!(["bytes", "json"]));

    let file = server.folder.path().join("export.ndjson");
    let path = file.to_str().expect("a path");
    let (_, lines, _) = run(&["--url", &url, "export", "notes"]);
    std::fs::write(&file, &lines).expect("written");
    // The port of nobody: no server is asked.
    let nobody = ["--url", "ws://127.0.0.1:1", "schema", "infer", "--from", path];
    for (of, expected) in [("notes/task/", &inferred), ("notes", &whole)] {
        let (code, out, err) = run(&[&nobody[..], &[of]].concat());
        assert_eq!(code, 0, "{err}");
        assert_eq!(serde_json::from_str::<Json>(&out).expect("JSON"), *expected);
    }
    std::fs::write(&file, format!("{lines}{{\"key\":1}}\n")).expect("written");
    let (code, _, err) = run(&[&nobody[..], &["notes"]].concat());
    assert_eq!(code, 7);
    assert!(err.contains("line 12: key or value is missing"), "{err}");

    schema(server.folder.path(), &out);
    client.ok(json!({"reload": {}})).await;
    assert_eq!(report(&mut client, |report| report["checked"] == 11).await["unfit"], 0);
    assert_eq!(
        client.error(put("task/1", json!({"state": "shut", "n": 1}))).await["code"],
        "schema_refused"
    );
    server.stop().await;
}
