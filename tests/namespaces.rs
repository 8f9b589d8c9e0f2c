//! Namespaces come and go while the server runs, the configuration is read again, and what one namespace
//! may cost is bounded.

use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::cluster::{connected, until};
use crate::harness::{Client, Server, program};

const NOTES: &str = "[namespaces.notes]\n";

fn put(ns: &str, key: &str, value: impl Into<Json>) -> Json {
    json!({"put": {"ns": ns, "key": key, "value": value.into()}})
}

fn ask(method: &str, ns: &str) -> Json {
    json!({method: {"ns": ns}})
}

fn words(error: &Json) -> &str {
    error["message"].as_str().expect("words")
}

fn code(error: &Json) -> &str {
    error["code"].as_str().expect("a code")
}

/// A config whose namespace `notes` runs this script, which `prepare` puts into the folder.
fn scripted(more: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n{more}\n[namespaces.trail]\n[namespaces.notes]\n\
         [[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"own.luau\"]\n\
         time_limit_ms = 5000\n"
    )
}

fn script(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder.join("scripts")).expect("a folder");
    std::fs::write(folder.join("scripts/own.luau"), text).expect("a script");
}

/// A script that marks each value on its way in and each after it.
fn marker(mark: &str) -> String {
    format!(
        "local here = kb.namespace()
         here:on_put(function(ev) ev.value.before = \"{mark}\" end)
         here:after_put(function(ev)
           kb.put(\"trail\", ev.key, {{ before = ev.value.before, after = \"{mark}\" }})
         end)"
    )
}

#[tokio::test]
async fn a_namespace_made_by_command_is_there_at_once_and_after_a_restart() {
    let mut server = Server::start(NOTES).await;
    let mut client = server.client().await;
    let added = client.ok(ask("ns_add", "mine")).await;
    assert_eq!((&added["ns"], &added["added"]), (&json!("mine"), &json!(true)));
    assert_eq!(client.ok(ask("ns_add", "mine")).await["added"], false);
    client.put("mine", "k", json!(1)).await;
    let hello = client.ok(json!({"hello": {}})).await;
    assert_eq!(hello["namespaces"], json!(["mine", "notes"]));
    server.kill().await;
    server.go_on().await;
    let mut client = server.client().await;
    assert_eq!(client.get("mine", "k").await, 1);
    let info = client.ok(ask("ns_info", "mine")).await;
    assert_eq!(info["status"]["store"], added["store"]);
    assert_eq!((&info["made_by"], &info["epoch"]), (&json!("command"), &json!(1)));
    assert_eq!(client.ok(ask("ns_info", "notes")).await["made_by"], "config");
}

#[tokio::test]
async fn a_removed_namespace_is_refused_its_watches_end_and_its_database_is_kept() {
    let mut server = Server::start(NOTES).await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    client.ok(ask("ns_add", "mine")).await;
    client.put("mine", "k", json!(1)).await;
    watcher.ok(ask("watch", "mine")).await;
    let removed = client.ok(ask("ns_rm", "mine")).await;
    let file = Path::new(removed["file"].as_str().expect("a file"));
    assert!(
        file.is_file() && file.parent().expect("a folder").ends_with("data/removed"),
        "{file:?}"
    );
    assert!(!server.folder.path().join("data/mine.redb").exists());
    let end = loop {
        let frame = watcher.push().await;
        if !frame["end"].is_null() {
            break frame["end"].clone();
        }
    };
    assert_eq!(code(&end), "unknown_namespace");
    assert!(words(&end).contains("\"mine\" was removed"), "{end}");
    for frame in [put("mine", "k", 2), ask("list", "mine"), ask("ns_rm", "mine")] {
        assert_eq!(code(&client.error(frame).await), "unknown_namespace");
    }
    assert!(!server.metrics().await.contains("\"mine\""));

    client.ok(ask("ns_add", "mine")).await;
    let gone = client.error(json!({"get": {"ns": "mine", "key": "k"}})).await;
    assert_eq!(code(&gone), "not_found", "it begins anew");
    client.ok(ask("ns_rm", "mine")).await;
    server.kill().await;
    server.go_on().await;
    let hello = server.client().await.ok(json!({"hello": {}})).await;
    assert_eq!(hello["namespaces"], json!(["notes"]));
    let kept = std::fs::read_dir(server.folder.path().join("data/removed")).expect("a folder");
    assert_eq!(kept.count(), 2);
}

#[tokio::test]
async fn writes_under_way_are_answered_before_a_namespace_goes() {
    let server = Server::start(NOTES).await;
    let (mut writer, mut client) = (server.client().await, server.client().await);
    client.ok(ask("ns_add", "mine")).await;
    for n in 0..500 {
        writer.ask(put("mine", &format!("k{n}"), n)).await;
    }
    client.ok(ask("ns_rm", "mine")).await;
    let (mut done, mut refused) = (0, 0);
    for _ in 0..500 {
        let answer = writer.frame().await;
        match answer["error"]["code"].as_str() {
            None => done += 1,
            Some("unknown_namespace") => refused += 1,
            Some(_) => panic!("{answer}"),
        }
    }
    assert_eq!(done + refused, 500);
}

#[tokio::test]
async fn a_namespace_of_the_config_is_removed_there_and_not_by_command() {
    let server = Server::start("[namespaces.notes]\n[namespaces.other]\n").await;
    let mut client = server.client().await;
    let error = client.error(ask("ns_rm", "notes")).await;
    assert_eq!(code(&error), "in_config");
    assert!(error["hint"].as_str().expect("a hint").contains("reload"), "{error}");
    client.put("notes", "k", json!(1)).await;
    server.rewrite("[namespaces.other]\n");
    let reloaded = client.ok(json!({"reload": {}})).await;
    assert_eq!(reloaded["namespaces_removed"], json!(["notes"]));
    assert_eq!(code(&client.error(put("notes", "k", 2)).await), "unknown_namespace");
    assert_eq!(
        std::fs::read_dir(server.folder.path().join("data/removed")).expect("a folder").count(),
        1
    );
}

#[tokio::test]
async fn what_is_half_removed_when_the_process_dies_is_removed_at_the_next_start() {
    let mut server = Server::start(NOTES).await;
    let data = server.folder.path().join("data");
    server.client().await.ok(ask("ns_add", "mine")).await;
    server.kill().await;
    std::fs::write(data.join("namespaces.json"), "{\"removing\": [\"mine\"]}").expect("written");
    server.go_on().await;
    assert_eq!(code(&server.client().await.error(ask("list", "mine")).await), "unknown_namespace");
    assert!(!data.join("mine.redb").exists() && data.join("removed").is_dir());
}

#[tokio::test]
async fn a_namespace_that_comes_back_after_its_removal_failed_begins_anew_and_outlives_a_restart() {
    let mut server = Server::start(NOTES).await;
    let removed = server.folder.path().join("data/removed");
    for by_command in [true, false] {
        let mut client = server.client().await;
        let with = format!("{NOTES}[namespaces.mine]\n");
        let come = async |client: &mut Client| match by_command {
            true => client.try_ask(ask("ns_add", "mine")).await.expect("an answer"),
            false => {
                server.rewrite(&with);
                client.try_ask(json!({"reload": {}})).await.expect("an answer")
            }
        };
        let came = come(&mut client).await;
        assert!(came["error"].is_null(), "{came}");
        client.put("mine", "old", json!(1)).await;
        std::fs::write(&removed, "in the way").expect("written");
        match by_command {
            true => {
                assert_eq!(code(&client.error(ask("ns_rm", "mine")).await), "store_failed");
            }
            false => {
                server.rewrite(NOTES);
                client.ok(json!({"reload": {}})).await;
            }
        }
        // Nothing comes in its place while it is not out of the way.
        let refused = come(&mut client).await;
        assert!(words(&refused["error"]).contains("cannot move a removed database"), "{refused}");
        std::fs::remove_file(&removed).expect("out of the way");
        let came = come(&mut client).await;
        assert!(came["error"].is_null(), "{came}");
        assert_eq!(client.objects("mine").await, json!({}));
        client.put("mine", "new", json!(2)).await;
        server.stop().await;
        server.go_on().await;
        let mut client = server.client().await;
        assert_eq!(client.get("mine", "new").await, 2, "by command: {by_command}");
        assert_eq!(std::fs::read_dir(&removed).expect("a folder").count(), 1);
        server.rewrite(NOTES);
        server.stop().await;
        std::fs::remove_dir_all(server.folder.path().join("data")).expect("all gone");
        server.go_on().await;
    }
}

#[tokio::test]
async fn a_namespace_that_the_config_names_later_belongs_to_the_config() {
    let server = Server::start(NOTES).await;
    let mut client = server.client().await;
    client.ok(ask("ns_add", "mine")).await;
    client.put("mine", "k", json!(1)).await;
    server.rewrite("[namespaces.notes]\n[namespaces.mine]\nwrites_per_second = 5\n");
    let reloaded = client.ok(json!({"reload": {}})).await;
    assert_eq!(reloaded["namespaces_changed"], json!(["mine"]));
    let info = client.ok(ask("ns_info", "mine")).await;
    assert_eq!(
        (&info["made_by"], &info["limits"]["writes_per_second"]),
        (&json!("config"), &json!(5))
    );
    assert_eq!(client.get("mine", "k").await, 1);
    assert_eq!(code(&client.error(ask("ns_rm", "mine")).await), "in_config");
}

#[tokio::test]
async fn two_nodes_exchange_a_namespace_that_was_added_while_they_were_connected() {
    let config = |peers: &str| {
        format!(
            "[mesh]\ndev = true\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n{NOTES}"
        )
    };
    let b = Server::start(&config("")).await;
    let a = Server::start(&config(&format!("{:?}", b.url()))).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "k", json!(1)).await;
    a.until("notes", "synced").await;
    at_a.ok(ask("ns_add", "late")).await;
    at_a.put("late", "k", json!("from a")).await;
    at_b.ok(ask("ns_add", "late")).await;
    b.until("late", "synced").await;
    assert_eq!(at_b.get("late", "k").await, "from a");
    at_b.put("late", "l", json!("from b")).await;
    a.until("late", "synced").await;

    at_b.ok(ask("ns_rm", "late")).await;
    a.until("late", "not_synced").await;
    assert_eq!(at_a.get("late", "k").await, "from a", "it stays at the other node");
    a.until("notes", "synced").await;
}

#[tokio::test]
async fn every_change_of_state_is_told_to_scripts_and_counted() {
    let text = "kb.namespace():on_state(function(ev)
        kb.log.warn(ev.namespace .. \" went from \" .. ev.before .. \" to \" .. ev.now .. \": \" .. ev.reason)
    end)";
    let server = Server::start_with(&scripted(""), |folder| script(folder, text)).await;
    let mut client = server.client().await;
    let said = "notes went from empty to not_synced: no peer is connected";
    client.ok(ask("watch", "notes")).await;
    client.put("notes", "k", json!({})).await;
    client.event(|event| event["type"] == "state").await;
    // Another write of the namespace is only done after the hooks of the one before.
    while !server.log().contains(said) {
        client.put("notes", "k", json!({})).await;
    }
    let text = server.metrics().await;
    let line = "keepboth_state_changes_total{namespace=\"notes\",state=\"not_synced\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_reload_swaps_the_hooks_and_no_write_meets_old_and_new() {
    let server = Server::start_with(&scripted(""), |folder| script(folder, &marker("old"))).await;
    let (mut writer, mut client) = (server.client().await, server.client().await);
    let mut watcher = server.client().await;
    watcher.ok(ask("watch", "trail")).await;
    let mut last = 0;
    for n in 0..300 {
        if n == 100 {
            // Some are done by the old ones, and some are under way.
            writer.answer(50).await;
            script(server.folder.path(), &marker("new"));
            server.hang_up().await;
        }
        last = writer.ask(put("notes", &format!("k{n:03}"), json!({}))).await;
    }
    writer.answer(last).await;
    // The signal may be heard after all that; this is carried out after it.
    client.ok(json!({"reload": {}})).await;
    client.ok(put("notes", "last", json!({}))).await;
    let mut marks = Vec::new();
    loop {
        let event = watcher.change().await;
        let value = &event["value"];
        assert_eq!(value["before"], value["after"], "{event}");
        marks.push(value["after"].clone());
        if event["key"] == "last" {
            assert_eq!(value["after"], "new");
            break;
        }
    }
    assert!(marks.contains(&json!("old")), "{marks:?}");
    assert!(server.log().contains("namespaces changed: notes"), "{}", server.log());
}

#[tokio::test]
async fn hooks_that_come_with_a_reload_are_asked_and_those_that_go_are_not() {
    let plain = "[server]\nlisten = \"127.0.0.1:0\"\n[namespaces.trail]\n[namespaces.notes]\n";
    let server = Server::start_with(plain, |folder| script(folder, &marker("new"))).await;
    let mut client = server.client().await;
    client.ok(put("notes", "a", json!({}))).await;
    assert_eq!(client.get("notes", "a").await, json!({}));
    server.rewrite(&scripted(""));
    client.ok(json!({"reload": {}})).await;
    client.ok(put("notes", "b", json!({}))).await;
    assert_eq!(client.get("notes", "b").await, json!({"before": "new"}));
    server.rewrite(plain);
    let reloaded = client.ok(json!({"reload": {}})).await;
    assert_eq!(reloaded["namespaces_changed"], json!(["notes"]));
    client.ok(put("notes", "c", json!({}))).await;
    assert_eq!(client.get("notes", "c").await, json!({}));
    let nothing = client.ok(json!({"reload": {}})).await;
    assert_eq!(nothing["namespaces_changed"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_hook_that_comes_with_a_reload_merges_what_was_there_before() {
    let config = |peers: &str, hook: &str| {
        format!(
            "[mesh]\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n{NOTES}{hook}"
        )
    };
    let hook = "[[namespaces.notes.plugins]]\nuse = \"lua\"\nscripts = [\"last_writer_wins.luau\"]\ntime_limit_ms = 5000\n";
    let (a, b) = (Server::start(NOTES).await, Server::start(NOTES).await);
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    at_a.put("notes", "k", json!({"x": 1, "updated_at": 1})).await;
    at_b.put("notes", "k", json!({"x": 2, "updated_at": 2})).await;
    let peers = format!("{:?}", b.url());
    a.rewrite(&config(&peers, ""));
    at_a.ok(json!({"reload": {}})).await;
    b.until("notes", "synced").await;
    let get = json!({"get": {"ns": "notes", "key": "k"}});
    assert_eq!(code(&at_b.error(get).await), "in_conflict");
    at_b.ok(ask("watch", "notes")).await;
    a.rewrite(&config(&peers, hook));
    at_a.ok(json!({"reload": {}})).await;
    let merge = at_b.event(|event| event["type"] == "put" && event["key"] == "k").await;
    assert_eq!(merge["value"]["x"], 2);
}

#[tokio::test]
async fn hooks_settle_before_the_namespace_of_their_writes_is_closed() {
    let trail = "[namespaces.trail]\n";
    let audited = format!(
        "{trail}[namespaces.notes]\n[[namespaces.notes.plugins]]\nuse = \"audit\"\nto = \"trail\"\n"
    );
    let server = Server::start(&audited).await;
    let mut client = server.client().await;
    let mut last = 0;
    for n in 0..300 {
        last = client.ask(put("notes", &format!("k{n}"), n)).await;
    }
    client.answer(last).await;
    server.rewrite(trail);
    client.ok(json!({"reload": {}})).await;
    let told = client.objects("trail").await;
    assert_eq!(told.as_object().expect("objects").len(), 300);
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_is_told_in_the_words_of_check() {
    let server = Server::start_with(&scripted(""), |folder| script(folder, &marker("old"))).await;
    let mut client = server.client().await;
    let bad = scripted("")
        .replace("own.luau", "none.luau")
        .replace("notes]", "notes]\nvalue_byte_max = 1");
    server.rewrite(&format!("{bad}[namespaces.fresh]\n"));
    let error = client.error(json!({"reload": {}})).await;
    assert_eq!(code(&error), "bad_config");
    let checked = Command::new(program()).args(["check", "--config"]).arg(server.config()).output();
    let checked = String::from_utf8(checked.expect("the program").stderr).expect("text");
    assert_eq!(words(&error), checked.trim_end());
    for part in ["value_byte_max", "none.luau", "config.toml:"] {
        assert!(checked.contains(part), "{part:?} in {checked}");
    }
    assert!(server.log().contains("the old configuration stays"), "{}", server.log());
    assert_eq!(code(&client.error(ask("list", "fresh")).await), "unknown_namespace");
    client.ok(put("notes", "k", json!({}))).await;
    assert_eq!(client.get("notes", "k").await, json!({"before": "old"}));
}

#[tokio::test]
async fn a_namespace_that_cannot_be_opened_lets_the_old_configuration_stay() {
    let server = Server::start(NOTES).await;
    let data = server.folder.path().join("data");
    std::fs::write(data.join("torn.redb"), "this is no database").expect("written");
    server.rewrite("[namespaces.fresh]\n[namespaces.torn]\n");
    let mut client = server.client().await;
    let error = client.error(json!({"reload": {}})).await;
    assert_eq!(code(&error), "bad_config");
    assert!(words(&error).contains("torn"), "{error}");
    let hello = client.ok(json!({"hello": {}})).await;
    assert_eq!(hello["namespaces"], json!(["notes"]));
    client.put("notes", "k", json!(1)).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_limits_of_namespaces_hold_at_once() {
    let server = Server::start(NOTES).await;
    let mut client = server.client().await;
    client.put("notes", "k", json!("x".repeat(2_000))).await;
    let config = "[limits]\nconnections_max = 5\nbatch_ops_max = 2\n[namespaces.notes]\nvalue_bytes_max = \"1 KiB\"\n";
    server.rewrite(config);
    let reloaded = client.ok(json!({"reload": {}})).await;
    assert_eq!(reloaded["restart_needed"], json!(["limits.connections_max"]));
    assert_eq!(reloaded["namespaces_changed"], json!(["notes"]));
    let error = client.error(put("notes", "k", "x".repeat(2_000))).await;
    assert!(words(&error).contains("the limit is 1,024 bytes"), "{error}");
    let hello = client.ok(json!({"hello": {}})).await;
    assert_eq!(hello["limits"]["batch_ops_max"], 2);
    assert!(server.log().contains("needs a restart: limits.connections_max"), "{}", server.log());
}

#[tokio::test]
async fn peers_are_dialled_and_left_alone_as_the_configuration_says() {
    let fast = "reconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n";
    let hidden = "[mesh]\ndev = true\nadvertise = []\n";
    let b = Server::start(&format!("{hidden}{NOTES}")).await;
    let a = Server::start(&format!("{hidden}{fast}{NOTES}")).await;
    let mut client = a.client().await;
    client.put("notes", "k", json!(1)).await;
    let peers =
        format!("[mesh]\ndev = true\nadvertise = []\npeers = [{:?}]\n{fast}{NOTES}", b.url());
    a.rewrite(&peers);
    assert_eq!(client.ok(json!({"reload": {}})).await["peers_added"], json!([b.url()]));
    b.until("notes", "synced").await;
    assert_eq!(b.client().await.get("notes", "k").await, 1);
    a.rewrite(&format!("[mesh]\ndev = true\nadvertise = []\n{fast}{NOTES}"));
    assert_eq!(client.ok(json!({"reload": {}})).await["peers_removed"], json!([b.url()]));
    b.until("notes", "not_synced").await;
    // It stays a member, and nobody dials it.
    until(&mut client, "no link", |status| connected(status) == 0).await;
}

#[tokio::test]
async fn too_many_writes_in_a_second_are_refused_and_may_come_again() {
    let server =
        Server::start("[namespaces.notes]\nwrites_per_second = 5\n[namespaces.free]\n").await;
    let mut client = server.client().await;
    for n in 0..200 {
        client.ask(put("notes", &format!("k{n}"), n)).await;
    }
    let mut refused = None;
    let mut done = 0;
    for _ in 0..200 {
        let mut answer = client.frame().await;
        match answer["error"].take() {
            Json::Null => done += 1,
            error => refused = Some(error),
        }
    }
    let refused = refused.expect("some come too early");
    assert!((5..200).contains(&done), "{done} were done");
    assert_eq!((code(&refused), &refused["retry"]), ("rate_limited", &json!(true)));
    assert!(
        words(&refused).contains("the limit of 5 writes a second of namespace notes"),
        "{refused}"
    );
    client.put("free", "k", json!(1)).await;
    client.ok(json!({"list": {"ns": "notes"}})).await;
    loop {
        let id = client.ask(put("notes", "again", 1)).await;
        let answer = client.answer(id).await;
        if answer["error"].is_null() {
            break;
        }
        assert_eq!(code(&answer["error"]), "rate_limited");
    }
}

#[tokio::test]
async fn each_operation_of_a_batch_counts_and_what_hooks_write_does_not() {
    let config = scripted("").replace("trail]", "trail]\nwrites_per_second = 1");
    let text = "kb.namespace():after_put(function(ev) kb.put(\"trail\", ev.key, ev.value) end)";
    let server = Server::start_with(&config, |folder| script(folder, text)).await;
    let (mut client, mut watcher): (Client, Client) =
        (server.client().await, server.client().await);
    watcher.ok(ask("watch", "trail")).await;
    for n in 0..10 {
        client.ok(put("notes", &format!("k{n}"), n)).await;
    }
    for _ in 0..10 {
        watcher.change().await;
    }
    let ops: Vec<Json> =
        (0..50).map(|n| json!({"put": {"key": format!("b{n}"), "value": n}})).collect();
    let batch = json!({"batch": {"ns": "trail", "ops": ops}});
    client.ok(batch.clone()).await;
    let error = client.error(batch).await;
    assert_eq!(code(&error), "rate_limited");
    assert!(words(&error).starts_with("50 more"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_add_and_remove_namespaces_on_the_command_line() {
    let server = Server::start(NOTES).await;
    let url = server.url();
    let run = |words: &[&str]| {
        let output = Command::new(program()).args(["--url", &url]).args(words).output();
        let output = output.expect("the program");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (exit, store, _) = run(&["ns", "add", "mine"]);
    assert_eq!((exit, store.trim().len()), (Some(0), 32));
    let (_, list, _) = run(&["ns", "ls"]);
    assert!(list.contains("mine") && list.contains("notes"), "{list}");
    let (_, info, _) = run(&["ns", "info", "mine"]);
    assert!(info.contains("made by command") && info.contains(store.trim()), "{info}");
    let (exit, _, words) = run(&["ns", "rm", "mine"]);
    assert!(exit == Some(2) && words.contains("--yes"), "{words}");
    let (exit, file, _) = run(&["ns", "rm", "mine", "--yes"]);
    assert!(exit == Some(0) && Path::new(file.trim()).is_file(), "{file}");
    let (exit, _, words) = run(&["ns", "rm", "notes", "--yes"]);
    assert!(exit == Some(7) && words.contains("[namespaces.notes]"), "{words}");
    assert_eq!(run(&["ns", "info", "mine"]).0, Some(5));
    let (exit, words, _) = run(&["reload"]);
    assert_eq!((exit, words.trim()), (Some(0), "nothing has changed"));
    server.rewrite("[namespaces.notes]\nreplicat = true\n");
    let (exit, _, words) = run(&["reload"]);
    assert!(exit == Some(78) && words.contains("did you mean \"replicate\"?"), "{words}");
}

#[tokio::test]
async fn a_client_over_a_quota_is_told_figure_and_limit() {
    let config = "[namespaces.notes]\nobjects_max = 2\n[namespaces.small]\nbytes_max = 1000\n";
    let server = Server::start(config).await;
    let mut client = server.client().await;
    for key in ["a", "b"] {
        client.ok(put("notes", key, json!(1))).await;
    }
    let refusal = client.error(put("notes", "c", json!(1))).await;
    let words = "the namespace would have 3 objects, the limit is 2";
    assert_eq!((&refusal["code"], &refusal["message"]), (&json!("quota_exceeded"), &json!(words)));
    client.ok(put("notes", "a", json!(2))).await;
    client.ok(json!({"delete": {"ns": "notes", "key": "b"}})).await;
    client.ok(put("notes", "c", json!(1))).await;

    client.ok(put("small", "a", json!("x".repeat(600)))).await;
    let refusal = client.error(put("small", "b", json!("x".repeat(500)))).await;
    let words = "the values of the namespace would have 1,100 bytes, the limit is 1,000";
    assert_eq!((&refusal["code"], &refusal["message"]), (&json!("quota_exceeded"), &json!(words)));
    client.ok(put("small", "b", json!("x".repeat(400)))).await;
    assert_eq!(client.error(put("small", "c", json!("x"))).await["code"], "quota_exceeded");
}
