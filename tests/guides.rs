//! The examples of `scripts/README.md` and `schemas/README.md` hold on a server as they stand there.

use serde_json::json;

use crate::harness::{Server, check_config, project};

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(project().join(page)).expect("a page");
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block.to_owned()).collect()
}

/// The block that holds these words.
fn block(page: &str, language: &str, words: &str) -> String {
    let found = blocks(page, language).into_iter().find(|block| block.contains(words));
    found.unwrap_or_else(|| panic!("{page} has no {language} with {words:?}"))
}

const SERVER: &str = "[server]\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn no_example_is_left_out() {
    for (page, language, held) in [
        ("scripts/README.md", "lua", 2),
        ("scripts/README.md", "toml", 1),
        ("schemas/README.md", "toml", 1),
        ("schemas/README.md", "json", 1),
    ] {
        assert_eq!(blocks(page, language).len(), held, "{page}: {language}");
    }
}

#[tokio::test]
async fn the_script_and_its_binding_refuse_and_set_what_the_page_says() {
    let page = "scripts/README.md";
    let script = block(page, "lua", "TITLE_REQUIRED");
    // A busy machine must not stop a script that is no test of the time limit.
    let binding = block(page, "toml", "mine.luau");
    let binding = binding.replace("time_limit_ms = 50 ", "time_limit_ms = 5000 ");
    let server = Server::start_with(&format!("{SERVER}{binding}"), |folder| {
        std::fs::create_dir(folder.join("scripts")).expect("a folder");
        std::fs::write(folder.join("scripts/mine.luau"), script).expect("a script");
    })
    .await;
    let mut client = server.client().await;
    let put = json!({"put": {"ns": "notes", "key": "a", "value": {"body": "x"}}});
    let refusal = client.error(put).await;
    assert!(refusal.to_string().contains("TITLE_REQUIRED"), "{refusal}");
    assert!(refusal["message"].as_str().is_some_and(|m| m.contains("title is required")));
    client.put("notes", "a", json!({"title": "x"})).await;
    let value = client.get("notes", "a").await;
    assert!(value["title"] == "x" && value["updated_by"].is_string(), "{value}");
}

#[tokio::test]
async fn the_test_of_a_script_passes_for_the_script_that_it_is_of() {
    let test = block("scripts/README.md", "lua", "hooks.load");
    let binding = "[[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"guard.luau\"]\n";
    let guard = std::fs::read(project().join("scripts/guard.luau")).expect("a script");
    for (test, code) in [(test.clone(), 0), (test.replace("FIELD_REQUIRED", "OTHER"), 78)] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("guard.luau"), &guard).expect("a script");
        std::fs::write(folder.path().join("guard_test.luau"), test).expect("a test");
        let config = format!("[server]\nscripts = {:?}\n{binding}", folder.path());
        let (ended, words) = check_config(&config).await;
        assert_eq!(ended, code, "{words}");
    }
}

#[tokio::test]
async fn the_schemas_are_bound_and_the_state_never_goes_back_as_the_page_says() {
    let page = "schemas/README.md";
    let (binding, done) =
        (block(page, "toml", "note.schema.json"), block(page, "json", "x-keepboth-transition"));
    let server = Server::start_with(&format!("{SERVER}{binding}"), |folder| {
        let schemas = folder.join("schemas");
        std::fs::create_dir(&schemas).expect("a folder");
        let note = project().join("schemas/note.schema.json");
        std::fs::copy(note, schemas.join("note.schema.json")).expect("a schema");
        std::fs::write(schemas.join("doc.schema.json"), done).expect("a schema");
        let title = json!({"type": "string", "maxLength": 5}).to_string();
        std::fs::write(schemas.join("title.schema.json"), title).expect("a schema");
    })
    .await;
    let mut client = server.client().await;
    let put = |key: &str, value| json!({"put": {"ns": "notes", "key": key, "value": value}});
    for (key, value) in [
        ("doc/a", json!({"state": "open"})),
        ("doc/a", json!({"state": "done"})),
        ("doc/a", json!({"state": "done", "more": 1})),
        ("doc/title", json!("short")),
        ("doc/bytes", json!({"$bytes": "AAAA"})),
    ] {
        client.ok(put(key, value)).await;
    }
    for (key, value) in [
        ("doc/a", json!({"state": "open"})),
        ("doc/title", json!("too long")),
        ("doc/number", json!(1)),
        ("note/a", json!({"text": "no title"})),
        ("elsewhere", json!({"state": "open"})),
    ] {
        let refusal = client.error(put(key, value)).await;
        assert_eq!(refusal["code"], "schema_refused", "{key}: {refusal}");
    }
    assert_eq!(client.get("notes", "doc/a").await, json!({"state": "done", "more": 1}));
}
