//! Schemas and Lua hooks on a real server: they check, change, refuse, merge and follow, and cannot hang it.

use std::path::Path;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::harness::{Client, PATIENCE, Server, Wire, project};

/// A folder of scripts of the test's own beside the shipped ones.
fn scripts(folder: &Path, own: &[(&str, &str)]) {
    std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
    for entry in std::fs::read_dir(project().join("scripts")).expect("scripts").flatten() {
        if entry.path().extension().is_some_and(|e| e == "luau") {
            std::fs::copy(entry.path(), folder.join("scripts").join(entry.file_name()))
                .expect("a copy");
        }
    }
    for (name, text) in own {
        std::fs::write(folder.join("scripts").join(name), text).expect("a script");
    }
}

/// A server whose namespace `notes` has these plugins, and a namespace `trail` without any.
async fn server(plugins: &str, own: &[(&str, &str)]) -> (Server, Client) {
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nschemas = {:?}\n[namespaces.trail]\n[namespaces.notes]\n{plugins}",
        project().join("schemas")
    );
    let server = Server::start_with(&config, |folder| scripts(folder, own)).await;
    let client = server.client().await;
    (server, client)
}

fn lua(scripts: &[&str], more: &str) -> String {
    format!(
        "[[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = {scripts:?}\ntime_limit_ms = 5000\n{more}\n"
    )
}

fn put(key: &str, value: Json) -> Json {
    json!({"put": {"ns": "notes", "key": key, "value": value}})
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

const SCHEMA: &str = "[[namespaces.notes.plugins]]\nuse = \"schema\"\nbind = { \"note/*\" = \"note.schema.json\" }\n";

#[tokio::test]
async fn a_schema_refuses_with_file_pointer_and_rule() {
    let (_server, mut client) = server(SCHEMA, &[]).await;
    client.ok(put("note/1", json!({"title": "Hello"}))).await;
    let error = client.error(put("note/2", json!({"title": ""}))).await;
    assert_eq!(error["code"], "schema_refused");
    for part in ["note.schema.json", "/title", "minLength"] {
        assert!(words(&error).contains(part), "{part:?} in {error}");
    }
    client.ok(put("free/1", json!("no pattern is bound to this key"))).await;
    let ops =
        json!([{"put": {"key": "free/2", "value": 1}}, {"put": {"key": "note/3", "value": {}}}]);
    let error = client.error(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    assert_eq!(error["code"], "schema_refused");
    assert!(words(&error).starts_with("operation 1: "), "{error}");
    let gone = client.error(json!({"get": {"ns": "notes", "key": "free/2"}})).await;
    assert_eq!(gone["code"], "not_found", "nothing half written");
}

#[tokio::test]
async fn hooks_run_in_order_and_the_schema_sees_what_they_made() {
    let plugins = format!("{}{SCHEMA}", lua(&["title.luau"], ""));
    let script = "kb.namespace():on_put(function(ev) ev.value.title = ev.value.name; ev.value.name = nil end)";
    let (_server, mut client) = server(&plugins, &[("title.luau", script)]).await;
    client.ok(put("note/1", json!({"name": "Hello"}))).await;
    assert_eq!(client.get("notes", "note/1").await, json!({"title": "Hello"}));
}

#[tokio::test]
async fn a_hook_changes_refuses_and_names_its_place() {
    let script = r#"
local here = kb.namespace()
here:on_put(function(ev)
  if ev.key == "no" then kb.reject("NOT_THIS", "never write this") end
  if ev.key == "oops" then local x = nil; return x.y end
  ev.value.by = ev.actor
end)
here:on_delete(function(ev)
  if ev.key == "keep" then kb.reject("KEEP", "this stays") end
end)
"#;
    let (_server, mut client) = server(&lua(&["own.luau"], ""), &[("own.luau", script)]).await;
    client.ok(json!({"hello": {"client": "anna"}})).await;
    client.ok(put("keep", json!({"n": 1}))).await;
    assert_eq!(client.get("notes", "keep").await, json!({"n": 1, "by": "anna"}));
    let error = client.error(put("no", json!({}))).await;
    assert_eq!((&error["code"], &error["reason"]), (&json!("hook_refused"), &json!("NOT_THIS")));
    let error = client.error(put("oops", json!({}))).await;
    assert_eq!(error["code"], "hook_failed");
    assert!(words(&error).contains("own.luau:5"), "{error}");
    let error = client.error(json!({"delete": {"ns": "notes", "key": "keep"}})).await;
    assert_eq!(error["reason"], "KEEP");
    assert_eq!(client.get("notes", "keep").await["n"], 1);
}

#[tokio::test]
async fn hooks_also_see_what_revert_restore_and_resolve_write() {
    let script =
        "kb.namespace():on_put(function(ev) ev.value.count = (ev.value.count or 0) + 1 end)";
    let (_server, mut client) = server(&lua(&["count.luau"], ""), &[("count.luau", script)]).await;
    let first = client.ok(put("k", json!({}))).await;
    client.ok(json!({"revert": {"ns": "notes", "key": "k", "version": first["version"]}})).await;
    assert_eq!(client.get("notes", "k").await["count"], 2);
    client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    client.ok(json!({"restore": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(client.get("notes", "k").await["count"], 3);
}

#[tokio::test]
async fn an_endless_loop_is_stopped_also_inside_pcall_and_holds_up_its_namespace_only() {
    let script = r#"
kb.namespace():on_put(function(ev)
  if ev.key == "loop" then while true do end end
  if ev.key == "pcall" then while true do pcall(function() while true do end end) end end
end)
"#;
    let plugin = lua(&["loop.luau"], "").replace("time_limit_ms = 5000", "time_limit_ms = 1000");
    let (server, mut client) = server(&plugin, &[("loop.luau", script)]).await;
    let mut other = server.client().await;
    for key in ["loop", "pcall"] {
        let slow = client.ask(put(key, json!({}))).await;
        other.put("trail", "meanwhile", json!(1)).await;
        let answer = client.answer(slow).await;
        assert_eq!(answer["error"]["code"], "hook_failed", "{answer}");
        assert!(words(&answer["error"]).contains("1,000 ms"), "{answer}");
        assert!(words(&answer["error"]).contains("loop.luau"), "{answer}");
    }
    client.ok(put("good", json!({}))).await;
    assert!(server.log().contains("loop.luau"), "{}", server.log());
}

#[tokio::test]
async fn a_value_that_a_hook_made_too_large_is_refused_at_that_stage() {
    let script = "kb.namespace():on_put(function(ev) ev.value.pad = string.rep(\"x\", 70000) end)";
    let (_server, mut client) = server(&lua(&["pad.luau"], ""), &[("pad.luau", script)]).await;
    let error = client.error(put("k", json!({}))).await;
    assert_eq!(error["code"], "value_too_large");
    assert!(words(&error).contains("bytes after hooks, the limit is 65,536 bytes"), "{error}");
    assert_eq!(client.objects("notes").await, json!({}));
}

#[tokio::test]
async fn the_shipped_guard_and_stamp_do_what_they_say() {
    let options = "options = { required = [\"title\"] }";
    let (_server, mut client) = server(&lua(&["guard.luau", "stamp.luau"], options), &[]).await;
    assert_eq!(client.error(put("k", json!({}))).await["code"], "hook_refused");
    client.ok(put("k", json!({"title": "T"}))).await;
    let value = client.get("notes", "k").await;
    assert!(value["updated_at"].is_number() && value["revision"] == 1, "{value}");
}

#[tokio::test]
async fn the_audit_trail_stands_in_another_namespace() {
    for plugin in [
        "[[namespaces.notes.plugins]]\nuse = \"audit\"\nto = \"trail\"\n".to_owned(),
        lua(&["audit_trail.luau"], "options = { to = \"trail\" }"),
    ] {
        let (_server, mut client) = server(&plugin, &[]).await;
        client.ok(json!({"hello": {"client": "anna"}})).await;
        let mut watcher = _server.client().await;
        watcher.ok(json!({"watch": {"ns": "trail"}})).await;
        client.ok(put("k", json!({"n": 1}))).await;
        let event = watcher.change().await;
        assert!(event["key"].as_str().expect("a key").contains('k'), "{event}");
        assert!(event["value"].to_string().contains("anna"), "{event}");
        client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
        assert!(watcher.change().await["value"].to_string().contains("delete"));
    }
}

#[tokio::test]
async fn hooks_that_answer_each_other_come_to_an_end() {
    let ping = "kb.namespace():after_put(function(ev) kb.put(\"trail\", ev.key, ev.value) end)";
    let pong =
        "kb.namespace():after_put(function(ev) kb.put(\"notes\", ev.key .. \"!\", ev.value) end)";
    let plugins = format!(
        "{}[[namespaces.trail.plugins]]\nuse = \"lua\"\nscripts = [\"pong.luau\"]\ntime_limit_ms = 5000\n",
        lua(&["ping.luau"], "")
    );
    let (server, mut client) = server(&plugins, &[("ping.luau", ping), ("pong.luau", pong)]).await;
    let mut watcher = server.client().await;
    watcher.ok(json!({"watch": {"ns": "notes"}})).await;
    client.ok(put("k", json!(1))).await;
    for key in ["k", "k!", "k!!"] {
        assert_eq!(watcher.change().await["key"], key);
    }
    client.ok(put("end", json!(1))).await;
    assert_eq!(watcher.change().await["key"], "end", "the depth is bounded");
}

#[tokio::test]
async fn a_write_that_a_hook_asks_for_and_that_is_refused_stands_in_its_log_and_in_the_status() {
    let script = "kb.namespace():after_put(function(ev) kb.put(\"new\", ev.key, ev.value) end)";
    let (server, mut client) = server(&lua(&["own.luau"], ""), &[("own.luau", script)]).await;
    client.ok(put("k", json!(1))).await;
    let log = json!({"hook_log": {"ns": "notes", "after": 0, "wait_ms": 30_000}});
    let line = client.ok(log).await["lines"][0].take();
    let told =
        "a write to new/k, after that of notes/k, was refused: there is no namespace \"new\"";
    assert_eq!(
        (&line["level"], &line["at"], &line["text"]),
        (&json!("error"), &json!("lua"), &json!(told))
    );
    let warnings = |status: Json| status["namespaces"][0]["warnings"].clone();
    let mut until = json!([format!("lua: {told}")]);
    for _ in 0..2 {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = warnings(client.ok(json!({"status": {"ns": "notes"}})).await);
            if found == until {
                break;
            }
            assert!(Instant::now() < end, "{found}");
            tokio::task::yield_now().await;
        }
        client.ok(json!({"ns_add": {"ns": "new"}})).await;
        client.ok(put("l", json!(2))).await;
        until = Json::Null;
    }
    assert!(server.log().contains(told), "{}", server.log());
    let count = "{namespace=\"notes\",plugin=\"lua\",name=\"writes_refused\"} 1";
    let metrics = server.get("/metrics", &[]).await;
    assert!(metrics.contains(count), "{metrics}");
}

/// Two nodes that change a list of things at the same time, the second with or without the hook.
async fn merged(script: &str, sides: [Json; 2], both_have_it: bool) -> Json {
    let wire = Wire::start().await.expect("a wire");
    let config = |peers: &str, hook: bool| {
        let hook = if hook { lua(&[script], "") } else { String::new() };
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[mesh]\ndev = true\nadvertise = []\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n[namespaces.notes]\n{hook}"
        )
    };
    let b = Server::start_with(&config("", both_have_it), |folder| scripts(folder, &[])).await;
    wire.lead_to(b.address());
    let peers = format!("\"ws://{}\"", wire.address);
    let a = Server::start_with(&config(&peers, true), |folder| scripts(folder, &[])).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.ok(put("k", json!({"x": 1, "y": 1, "updated_at": 1}))).await;
    b.until("notes", "synced").await;
    wire.cut();
    a.until("notes", "not_synced").await;
    b.until("notes", "not_synced").await;
    let [mine, theirs] = sides;
    at_a.ok(put("k", mine)).await;
    at_b.ok(put("k", theirs)).await;
    for client in [&mut at_a, &mut at_b] {
        client.ok(json!({"watch": {"ns": "notes"}})).await;
    }
    wire.mend();
    let is_merge = |event: &Json| event["type"] == "put" && event["key"] == "k";
    let saw_conflict = |event: &Json| event["type"] == "conflict";
    at_a.event(saw_conflict).await;
    let merge = at_a.event(is_merge).await;
    loop {
        // B may see the merge at once, or the conflict first.
        if at_b.event(is_merge).await["version"] == merge["version"] {
            break;
        }
    }
    a.until("notes", "synced").await;
    let value = at_b.get("notes", "k").await;
    assert_eq!(value, at_a.get("notes", "k").await);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_hook_on_one_node_merges_for_all() {
    let sides =
        [json!({"x": 2, "y": 1, "updated_at": 1}), json!({"x": 1, "y": 3, "updated_at": 1})];
    let value = merged("merge.luau", sides, false).await;
    assert_eq!(value, json!({"x": 2, "y": 3, "updated_at": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hook_on_both_nodes_makes_the_same_version() {
    let sides = [json!({"x": 2, "updated_at": 5}), json!({"x": 3, "updated_at": 7})];
    let value = merged("last_writer_wins.luau", sides, true).await;
    assert_eq!(value, json!({"x": 3, "updated_at": 7}));
}

#[tokio::test]
async fn a_stopping_server_lets_hooks_finish_what_they_write() {
    let plugin = "[[namespaces.notes.plugins]]\nuse = \"audit\"\nto = \"trail\"\n";
    let (mut server, mut client) = server(plugin, &[]).await;
    let mut last = 0;
    for n in 0..300 {
        last = client.ask(put(&format!("k{n}"), json!(n))).await;
    }
    client.answer(last).await;
    assert_eq!(server.stop().await, Some(0));
    server.go_on().await;
    let trail = server.client().await.objects("trail").await;
    assert_eq!(trail.as_object().expect("objects").len(), 300);
}
