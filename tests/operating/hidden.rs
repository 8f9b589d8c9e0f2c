//! What is hidden is judged, and what was deleted is purged.

use super::*;
use crate::cluster::logged;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_refuses_is_listed_and_judged() {
    let (a, b, _wire) = pair(SCHEMA).await;
    let (mut at_a, mut at_b, url) = (a.client().await, b.client().await, b.url());
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    let mut put = Vec::new();
    for key in ["note/1", "note/2"] {
        let frame =
            json!({"ns": "notes", "key": key, "value": {"text": "no title"}, "wait": "all"});
        let answer = at_a.ok(json!({"put": frame})).await;
        assert_eq!(answer["reached"]["enough"], true, "it is acknowledged: {answer}");
        put.push(answer["version"].as_str().expect("a version").to_owned());
    }
    a.until("notes", "synced").await;
    b.until("notes", "synced").await;
    let get = json!({"get": {"ns": "notes", "key": "note/1"}});
    assert_eq!(code(&at_b.error(get.clone()).await), "not_found");
    let page = at_b.ok(json!({"quarantine": {"ns": "notes", "limit": 1}})).await;
    let item = &page["items"][0];
    assert_eq!((&item["key"], &item["version"]), (&json!("note/1"), &json!(put[0])));
    assert_eq!((&item["code"], &item["from"]), (&json!("schema_refused"), &json!(id(&a).await)));
    assert_eq!((&item["kind"], &item["change"]), (&json!("json"), &json!("put")));
    let rest = json!({"quarantine": {"ns": "notes", "after": page["next"]}});
    let rest = at_b.ok(rest).await;
    assert_eq!((&rest["items"][0]["key"], &rest["next"]), (&json!("note/2"), &Json::Null));
    let status = at_b.ok(json!({"status": {"ns": "notes"}})).await;
    assert_eq!(status["namespaces"][0]["quarantined"], 2);
    assert_eq!(status["namespaces"][0]["reason"], "all connected peers agree");
    assert!(b.metrics().await.contains("keepboth_quarantined{namespace=\"notes\"} 2"));
    let peers = at_a.ok(json!({"peers": {}})).await;
    assert_eq!(peers["items"][0]["namespaces"][0]["policy_differs"], json!(["schema"]));
    let (_, out, _) = run(&url, &["quarantine", "ls", "notes"]).await;
    assert!(out.contains("note/1") && out.contains("[schema_refused]"), "{out}");
    let (_, out, _) = run(&url, &["quarantine", "retry", "notes"]).await;
    assert_eq!(out.trim(), "admitted 0, held 2");

    let admitted = run(&url, &["quarantine", "admit", "notes/note/1", &put[0]]).await;
    assert_eq!((admitted.0, admitted.1.trim()), (0, put[0].as_str()), "{}", admitted.2);
    let event = at_b.event(|event| event["key"] == "note/1").await;
    assert_eq!(event["version"], json!(put[0]));
    assert_eq!(at_b.get("notes", "note/1").await, json!({"text": "no title"}));
    let report = json!({"schema_report": {"ns": "notes"}});
    let unfit = ask_until(&mut at_b, report, |report| report["unfit"] == 1).await;
    assert_eq!(unfit["items"][0]["key"], "note/1", "what was admitted still breaks the schema");
    let discard = ["quarantine", "discard", "notes/note/2", &put[1]];
    assert_eq!(run(&url, &discard).await.0, 2, "nobody said yes");
    assert_eq!(run(&url, &[&discard[..], &["--yes"]].concat()).await.0, 0);
    assert_eq!(run(&url, &[&discard[..], &["--yes"]].concat()).await.0, 5, "it is done already");
    let gone = json!({"get": {"ns": "notes", "key": "note/2"}});
    assert_eq!(code(&at_b.error(gone).await), "not_found");
    assert_eq!(at_a.get("notes", "note/2").await, json!({"text": "no title"}));
    a.until("notes", "synced").await;
    for (key, version) in [("note/1", &put[0]), ("none", &put[0]), ("note/1", &"ab".repeat(32))] {
        let judge = json!({"ns": "notes", "key": key, "version": version, "verdict": "admit"});
        assert_eq!(code(&at_b.error(json!({"judge": judge})).await), "not_found", "{key}");
    }
    let page = at_b.ok(json!({"quarantine": {"ns": "notes"}})).await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_looked_at_again_when_the_rules_change_and_at_the_start() {
    let (a, mut b, wire) = pair(SCHEMA).await;
    let mut at_a = a.client().await;
    let put = |key: &str, value: Json| json!({"put": {"ns": "notes", "key": key, "value": value, "wait": "all"}});
    at_a.ok(put("note/1", json!({"text": "no title"}))).await;
    let mut at_b = b.client().await;
    let quarantined =
        |count: u64| move |answer: &Json| answer["namespaces"][0]["quarantined"] == count;
    let status = json!({"status": {"ns": "notes"}});
    ask_until(&mut at_b, status.clone(), quarantined(1)).await;
    at_b.ok(json!({"watch": {"ns": "notes"}})).await;
    b.rewrite(&dev(&[], "[namespaces.notes]\n"));
    at_b.ok(json!({"reload": {}})).await;
    let event = at_b.event(|event| event["key"] == "note/1").await;
    assert_eq!(event["value"], json!({"text": "no title"}));
    ask_until(&mut at_b, status.clone(), quarantined(0)).await;

    let small = |bytes: u32| format!("[namespaces.notes]\nvalue_bytes_max = {bytes}\n");
    b.rewrite(&dev(&[], &small(20)));
    at_b.ok(json!({"reload": {}})).await;
    a.until("notes", "synced").await;
    at_a.ok(put("long", json!("x".repeat(100)))).await;
    at_a.ok(put("longer", json!("x".repeat(300)))).await;
    ask_until(&mut at_b, status.clone(), quarantined(2)).await;
    b.kill().await;
    b.rewrite(&dev(&[], &small(200)));
    b.go_on().await;
    wire.lead_to(b.address());
    let mut at_b = b.client().await;
    ask_until(&mut at_b, status.clone(), quarantined(1)).await;
    assert_eq!(at_b.get("notes", "long").await, json!("x".repeat(100)));
    logged(&b, "quarantine: 1 versions were admitted, 1 stay hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_refuses_is_admitted_one_by_one_when_there_is_room() {
    let bound = |objects: u32| format!("[namespaces.notes]\nobjects_max = {objects}\n");
    let (a, b, _wire) = pair(&bound(1)).await;
    let (mut at_a, mut at_b) = (a.client().await, b.client().await);
    for key in ["k1", "k2", "k3"] {
        at_a.ok(json!({"put": {"ns": "notes", "key": key, "value": 1, "wait": "all"}})).await;
    }
    let status = json!({"status": {"ns": "notes"}});
    let counts = |objects: u64, quarantined: u64| {
        move |answer: &Json| {
            let ns = &answer["namespaces"][0];
            ns["objects"] == objects && ns["quarantined"] == quarantined
        }
    };
    ask_until(&mut at_b, status.clone(), counts(1, 3)).await;
    b.rewrite(&dev(&[], &bound(3)));
    at_b.ok(json!({"reload": {}})).await;
    ask_until(&mut at_b, status.clone(), counts(3, 1)).await;
    let retried = at_b.ok(json!({"quarantine_retry": {"ns": "notes"}})).await;
    assert_eq!((&retried["admitted"], &retried["held"]), (&json!(0), &json!(1)));
    at_b.ok(json!({"delete": {"ns": "notes", "key": "first"}})).await;
    let retried = at_b.ok(json!({"quarantine_retry": {"ns": "notes"}})).await;
    assert_eq!((&retried["admitted"], &retried["held"]), (&json!(1), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_key_is_gone_everywhere_at_once() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, mut at_b, url) = (a.client().await, b.client().await, a.url());
    at_a.put("notes", "k", json!("a secret")).await;
    let purge = |key: &str| json!({"purge": {"ns": "notes", "key": key}});
    for key in ["k", "none", "first"] {
        let error = at_a.error(purge(key)).await;
        assert_eq!(code(&error), "not_found");
        assert!(words(&error).contains("in the trash"), "{error}");
    }
    let address = purge(&"ab".repeat(32));
    assert_eq!(code(&at_a.error(address).await), "reserved_key");
    at_a.ok(json!({"delete": {"ns": "notes", "key": "k", "wait": "all"}})).await;
    let trash = json!({"trash": {"ns": "notes"}});
    assert_eq!(at_b.ok(trash.clone()).await["items"][0]["key"], "k");
    assert_eq!(run(&url, &["trash", "purge", "notes/k"]).await.0, 2, "nobody said yes");
    assert_eq!(run(&url, &["trash", "purge", "notes/k", "--yes"]).await.0, 0);
    for client in [&mut at_a, &mut at_b] {
        let empty = |answer: &Json| answer["items"] == json!([]);
        ask_until(client, trash.clone(), empty).await;
        let restore = json!({"restore": {"ns": "notes", "key": "k"}});
        assert_eq!(code(&client.error(restore).await), "not_found");
    }
    // Each node says in its log who purged what.
    assert!(a.log().contains("purged by a client"), "{}", a.log());
    let (log, peer) = (b.log(), id(&a).await);
    let line = log.lines().find(|line| line.contains("purged at the peer"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(&peer[..8]) && line.contains("key=\"k\""), "{line}");
    a.until("notes", "synced").await;
    assert_eq!(run(&url, &["trash", "purge", "notes/k", "--yes"]).await.0, 5, "it is gone");
    at_a.ok(json!({"put": {"ns": "notes", "key": "k", "value": "anew", "wait": "all"}})).await;
    assert_eq!(at_b.get("notes", "k").await, "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_configured_differently_say_in_which_parts() {
    let audit = "[[namespaces.notes.plugins]]\nuse = \"audit\"\nto = \"alone\"\n[namespaces.alone]\nreplicate = false\n";
    for (more, differs) in [
        (NOTES.to_owned(), vec![]),
        ("[namespaces.notes]\nobjects_max = 7\n".to_owned(), vec!["limits"]),
        (format!("[namespaces.notes]\n{audit}"), vec!["hooks"]),
        (
            "[namespaces.notes]\ntrash = { keep = \"1d\", forget = \"2d\" }\n".to_owned(),
            vec!["retention"],
        ),
        (
            format!(
                "[namespaces.notes]\nbytes_max = 9000\nhistory = {{ values = 1, records = 2 }}\n{audit}"
            ),
            vec!["hooks", "limits", "retention"],
        ),
    ] {
        let (a, b, _wire) = pair(&more).await;
        for server in [&a, &b] {
            let peers = server.client().await.ok(json!({"peers": {}})).await;
            let told = &peers["items"][0]["namespaces"][0]["policy_differs"];
            let mut told: Vec<&str> =
                told.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
            told.sort_unstable();
            assert_eq!(told, differs, "{more}: {peers}");
            let log = server.log();
            let words = "the two nodes are configured differently here: ";
            let line = log.lines().find_map(|line| line.split_once(words));
            let mut named: Vec<&str> =
                line.map(|(_, rest)| rest.split([',', ' ']).collect()).unwrap_or_default();
            named.retain(|word| ["hooks", "limits", "retention", "schema"].contains(word));
            named.sort_unstable();
            assert_eq!(named, differs, "{more}: {log}");
            let (_, out, _) = run(&server.url(), &["peer", "ls"]).await;
            for part in &differs {
                assert!(out.contains(part), "{out} lacks {part}");
            }
            assert_eq!(out.contains(" differ"), !differs.is_empty(), "{out}");
        }
    }
}
