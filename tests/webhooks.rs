//! Webhooks: every change reaches its target at least once, in order for each key, whatever goes wrong there.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::harness::{Client, PATIENCE, Server, Wire, check_config};
use crate::receiver::Receiver;

/// A namespace `notes` with the target `crm`.
fn told(receiver: &Receiver, more: &str) -> String {
    format!(
        "[[namespaces.notes.plugins]]\nuse = \"webhook\"\n[namespaces.notes.plugins.targets.crm]\n\
         url = \"{}\"\nretry_min = \"10ms\"\nretry_max = \"50ms\"\n{more}\n",
        receiver.url()
    )
}

async fn start(more: &str) -> (Server, Client, Receiver) {
    let receiver = Receiver::start().await;
    let server = Server::start(&told(&receiver, more)).await;
    let client = ready(&server).await;
    (server, client, receiver)
}

/// A client, once the target hears of what changes.
async fn ready(server: &Server) -> Client {
    let mut client = server.client().await;
    let until = Instant::now() + PATIENCE;
    while client.try_ask(ask("targets", json!({}))).await.expect("an answer")["ok"].is_null() {
        assert!(Instant::now() < until, "the webhooks do not start");
        tokio::task::yield_now().await;
    }
    client
}

fn ask(op: &str, arguments: Json) -> Json {
    json!({"plugin": {"ns": "notes", "plugin": "webhook", "op": op, "arguments": arguments}})
}

/// The dead events, once there are so many.
async fn dead(client: &mut Client, count: usize) -> Vec<Json> {
    let until = Instant::now() + PATIENCE;
    loop {
        let items = client.ok(ask("dead", json!({"target": "crm"}))).await["items"].take();
        let Json::Array(items) = items else { panic!("{items}") };
        if items.len() == count {
            return items;
        }
        assert!(Instant::now() < until, "not {count} dead: {items:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until nothing is on its way to the target.
async fn at_rest(client: &mut Client) -> Json {
    let until = Instant::now() + PATIENCE;
    loop {
        let target = client.ok(ask("targets", json!({}))).await["items"][0].take();
        if target["waiting"] == 0 && target["at"] == target["of"] {
            return target;
        }
        assert!(Instant::now() < until, "{target}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn changes_come_as_signed_cloud_events() {
    let receiver = Receiver::start().await;
    let config = told(&receiver, "secret_file = \"crm.secret\"");
    let server = Server::start_with(&config, |folder| {
        let secret = format!("whsec_{}\n", BASE64.encode("a secret of 24 bytes or so"));
        std::fs::write(folder.join("crm.secret"), secret).expect("written");
    })
    .await;
    let (mut client, mut receiver) = (ready(&server).await, receiver);
    let written = client.put("notes", "a/ü", json!({"n": 1})).await;
    let heard = receiver.next().await;
    let head = &heard.headers;
    assert_eq!(head[":"], "POST /in?from=keepboth HTTP/1.1");
    assert_eq!(head["host"], receiver.address.to_string());
    assert_eq!(head["content-type"], "application/cloudevents+json; charset=utf-8");
    let mut event = heard.event.clone();
    let history = client.ok(json!({"history": {"ns": "notes", "key": "a/ü"}})).await;
    let written_at = history["versions"][0]["timestamp"].as_i64().expect("a time");
    let time = jiff::Timestamp::from_millisecond(written_at).expect("a time").to_string();
    assert_eq!(event["time"].take(), time);
    let id = event["id"].as_str().expect("an id").to_owned();
    let status = client.ok(json!({"status": {}})).await;
    assert_eq!(
        event,
        json!({
            "specversion": "1.0", "id": id, "type": "keepboth.put", "subject": "a/ü",
            "source": format!("/nodes/{}/namespaces/notes", status["node"].as_str().expect("a node")),
            "datacontenttype": "application/json", "time": null,
            "data": {"ns": "notes", "key": "a/ü", "version": written["version"], "value": {"n": 1}},
        })
    );
    assert_eq!(head["webhook-id"], id);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of 24 bytes or so");
    let signed = [format!("{id}.{}.", head["webhook-timestamp"]).as_bytes(), &heard.body].concat();
    let expected = format!("v1,{}", BASE64.encode(hmac::sign(&key, &signed)));
    assert_eq!(head["webhook-signature"], expected);
    heard.answer(204);
    client.ok(json!({"delete": {"ns": "notes", "key": "a/ü"}})).await;
    let event = receiver.take().await;
    assert_eq!((&event["type"], &event["subject"]), (&json!("keepboth.delete"), &json!("a/ü")));
    assert_ne!(event["id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_told_with_its_addresses() {
    let wire = Wire::start().await.expect("a wire");
    let b = Server::start(&format!("{}[namespaces.notes]\n", mesh(""))).await;
    b.client().await.put("notes", "k", json!("b")).await;
    let mut receiver = Receiver::start().await;
    let peers = mesh(&format!("\"ws://{}\"", wire.address));
    let config = format!("{peers}{}", told(&receiver, "events = [\"conflict\"]"));
    let a = Server::start(&config).await;
    ready(&a).await.put("notes", "k", json!("a")).await;
    wire.lead_to(b.address());
    let event = receiver.take().await;
    assert_eq!((&event["type"], &event["subject"]), (&json!("keepboth.conflict"), &json!("k")));
    assert_eq!(event["data"]["addresses"].as_array().map(Vec::len), Some(2));
}

/// The settings of a node of a mesh that dials these.
fn mesh(peers: &str) -> String {
    format!(
        "[mesh]\ndev = true\nadvertise = []\npeers = [{peers}]\nreconnect_min = \"20ms\"\nreconnect_max = \"100ms\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_mesh_the_node_at_which_a_change_was_made_tells_it_or_every_node_if_that_is_wanted() {
    for (on, tellers) in
        [("local", [vec!["a"], vec!["b"]]), ("every", [vec!["a", "b"], vec!["a", "b"]])]
    {
        let mut receiver = Receiver::start().await;
        let targets = told(&receiver, &format!("on = \"{on}\""));
        let b = Server::start(&format!("{}{targets}", mesh(""))).await;
        let peers = mesh(&format!("\"ws://{}\"", b.address()));
        let a = Server::start(&format!("{peers}{targets}")).await;
        let (mut at_a, mut at_b) = (ready(&a).await, ready(&b).await);
        for client in [&mut at_a, &mut at_b] {
            client.ok(json!({"watch": {"ns": "notes"}})).await;
        }
        at_a.put("notes", "of a", json!(1)).await;
        at_b.put("notes", "of b", json!(1)).await;
        at_a.event(|event| event["key"] == "of b").await;
        at_b.event(|event| event["key"] == "of a").await;
        let mut source = BTreeMap::new();
        for (name, client) in [("a", &mut at_a), ("b", &mut at_b)] {
            let status = client.ok(json!({"status": {}})).await;
            let node = status["node"].as_str().expect("a node");
            source.insert(format!("/nodes/{node}/namespaces/notes"), name);
        }
        let mut heard: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for _ in 0..tellers.concat().len() {
            let event = receiver.take().await;
            let key = event["subject"].as_str().expect("a key").to_owned();
            heard.entry(key).or_default().push(source[event["source"].as_str().expect("a source")]);
        }
        heard.values_mut().for_each(|tellers| tellers.sort_unstable());
        let [of_a, of_b] = tellers;
        let expected = BTreeMap::from([("of a".to_owned(), of_a), ("of b".to_owned(), of_b)]);
        assert_eq!(heard, expected, "{on}");
        for client in [&mut at_a, &mut at_b] {
            at_rest(client).await;
        }
        assert!(receiver.there().is_none(), "{on}: nothing is told twice by one node");
    }
}

#[tokio::test]
async fn what_fails_is_sent_again_under_the_same_id_until_it_is_taken() {
    let (_server, mut client, mut receiver) = start("").await;
    client.put("notes", "k", json!(1)).await;
    let first = receiver.next().await;
    let event = first.event.clone();
    first.answer(500);
    for status in [429, 408, 503, 599] {
        let heard = receiver.next().await;
        assert_eq!(heard.event, event);
        heard.answer(status);
    }
    for broken in ["", "HTTP/1.1 200 OK\r\ncont", "hello\r\n\r\n"] {
        let heard = receiver.next().await;
        assert_eq!(heard.event, event);
        heard.break_off(broken);
    }
    let heard = receiver.next().await;
    assert_eq!(heard.event, event);
    heard.break_off("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe");
    let target = at_rest(&mut client).await;
    assert_eq!((&target["dead"], &target["last_error"]), (&json!(0), &json!(null)));
    assert!(receiver.there().is_none(), "its status was there, so it was taken");
}

#[tokio::test]
async fn a_target_that_is_not_there_yet_hears_of_everything_when_it_comes() {
    let receiver = Receiver::start().await;
    let (address, config) = (receiver.address, told(&receiver, ""));
    drop(receiver);
    let server = Server::start(&config).await;
    let mut client = ready(&server).await;
    client.put("notes", "a", json!(1)).await;
    client.put("notes", "b", json!(2)).await;
    let until = Instant::now() + PATIENCE;
    loop {
        let target = client.ok(ask("targets", json!({}))).await["items"][0].take();
        let error = target["last_error"].as_str().unwrap_or_default();
        if error.starts_with("cannot connect: ") {
            break;
        }
        assert!(Instant::now() < until, "{target}");
    }
    let mut receiver = Receiver::start_at(address, None).await;
    let mut keys =
        [receiver.take().await, receiver.take().await].map(|mut event| event["subject"].take());
    keys.sort_by_key(Json::to_string);
    assert_eq!(keys, ["a", "b"]);
    let target = at_rest(&mut client).await;
    assert_eq!((&target["dead"], &target["last_error"]), (&json!(0), &json!(null)));
}

#[tokio::test]
async fn what_a_target_refuses_is_dead_at_once_and_can_be_sent_after_all() {
    let (mut server, mut client, mut receiver) = start("").await;
    for (key, status) in [("a", 400), ("b", 410), ("c", 302)] {
        client.put("notes", key, json!({"of": key})).await;
        receiver.next().await.answer(status);
    }
    let found = dead(&mut client, 3).await;
    let shown = |item: &Json| format!("{} {} {}", item["key"], item["attempts"], item["why"]);
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        [
            "\"a\" 1 \"it answered 400\"",
            "\"b\" 1 \"it answered 410\"",
            "\"c\" 1 \"it answered 302, and redirects are not followed\"",
        ]
    );
    assert_eq!(server.stop().await, Some(0));
    server.go_on().await;
    let mut client = ready(&server).await;
    assert_eq!(dead(&mut client, 3).await, found, "they outlive the server");
    let warnings = |status: Json| status["namespaces"][0]["warnings"].clone();
    let status = client.ok(json!({"status": {"ns": "notes"}})).await;
    let warning = "webhook: 3 events for the target crm are dead: keepboth plugin notes webhook dead shows why";
    assert_eq!(warnings(status), json!([warning]));
    let page = client.ok(ask("dead", json!({"after": found[0]["id"], "limit": 1}))).await;
    assert_eq!(page["items"], json!([found[1]]));
    let answer = client.ok(ask("retry", json!({"id": found[1]["id"]}))).await;
    assert_eq!(answer, json!({"retried": 1}));
    assert_eq!(receiver.take().await["subject"], "b");
    let answer = client.ok(ask("drop", json!({"id": found[0]["id"]}))).await;
    assert_eq!(answer, json!({"dropped": 1}));
    assert_eq!(client.ok(ask("retry", json!({}))).await, json!({"retried": 1}));
    assert_eq!(receiver.take().await["data"]["value"], json!({"of": "c"}));
    at_rest(&mut client).await;
    assert!(dead(&mut client, 0).await.is_empty());
    assert!(warnings(client.ok(json!({"status": {"ns": "notes"}})).await).is_null());
}

#[tokio::test]
async fn after_its_attempts_an_event_is_dead_and_of_too_many_the_oldest_goes() {
    let (_server, mut client, mut receiver) = start("attempts = 3\ndead_max = 2").await;
    for key in ["a", "b", "c"] {
        client.put("notes", key, json!(1)).await;
        for _ in 0..3 {
            receiver.next().await.answer(503);
        }
    }
    let until = Instant::now() + PATIENCE;
    let found = loop {
        let found = dead(&mut client, 2).await;
        if found[1]["key"] == "c" {
            break found;
        }
        assert!(Instant::now() < until, "{found:?}");
    };
    assert_eq!((&found[0]["key"], &found[0]["attempts"]), (&json!("b"), &json!(3)));
    assert_eq!(found[1]["why"], "3 attempts, the last: it answered 503");
}

#[tokio::test]
async fn a_request_that_hangs_holds_up_neither_other_keys_nor_the_stop_and_is_sent_again() {
    let (mut server, mut client, mut receiver) = start("answer_within = \"10m\"").await;
    client.put("notes", "hangs", json!(1)).await;
    let hanging = receiver.next().await;
    for n in 0..20 {
        client.put("notes", &format!("k{n}"), json!(n)).await;
        assert_eq!(receiver.take().await["subject"], format!("k{n}"));
    }
    assert_eq!(server.stop().await, Some(0), "all was done within the grace");
    let event = hanging.event.clone();
    drop(hanging);
    server.go_on().await;
    assert_eq!(receiver.take().await, event);
    at_rest(&mut ready(&server).await).await;
    assert!(receiver.there().is_none(), "what was taken is not sent again after a stop");
}

#[tokio::test]
async fn a_target_that_never_answers_in_time_does_not_hold_up_another_one() {
    let (mut silent, mut quick) = (Receiver::start().await, Receiver::start().await);
    let config = format!(
        "{}[namespaces.notes.plugins.targets.quick]\nurl = \"{}\"\n",
        told(&silent, "concurrency = 1\nanswer_within = \"20ms\""),
        quick.url()
    );
    let server = Server::start(&config).await;
    let mut client = ready(&server).await;
    for n in 0..10 {
        client.put("notes", &format!("k{n}"), json!(n)).await;
    }
    let mut held = Vec::new();
    for n in 0..10 {
        assert_eq!(quick.take().await["subject"], format!("k{n}"));
        held.push(silent.next().await);
    }
}

#[tokio::test]
async fn a_key_is_told_in_order_and_never_twice_at_once() {
    let (_server, mut client, mut receiver) = start("").await;
    client.put("notes", "k", json!(1)).await;
    let first = receiver.next().await;
    client.put("notes", "k", json!(2)).await;
    client.put("notes", "k", json!(3)).await;
    client.put("notes", "other", json!(0)).await;
    let other = receiver.next().await;
    assert_eq!(other.key(), "other", "k is under way");
    other.answer(200);
    assert_eq!(first.event["data"]["value"], 1);
    first.answer(500);
    let next = receiver.take().await;
    assert_eq!(next["data"]["value"], 3, "what is newer takes the place of what failed");
    at_rest(&mut client).await;
    assert!(receiver.there().is_none());
}

#[tokio::test]
async fn nothing_is_lost_over_a_crash() {
    let (mut server, mut client, mut receiver) = start("concurrency = 3").await;
    let ops: Vec<Json> =
        (0..60).map(|n| json!({"put": {"key": format!("k{n:02}"), "value": n}})).collect();
    client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    let mut seen = BTreeMap::new();
    for round in 0..3 {
        for _ in 0..10 {
            let event = receiver.take().await;
            seen.insert(event["subject"].to_string(), event["data"]["value"].clone());
        }
        server.kill().await;
        server.go_on().await;
        ready(&server).await.put("notes", &format!("k{round:02}"), json!("new")).await;
    }
    let until = Instant::now() + PATIENCE;
    let news = |seen: &BTreeMap<String, Json>| seen.values().filter(|v| **v == "new").count();
    while seen.len() < 60 || news(&seen) < 3 {
        assert!(Instant::now() < until, "{seen:?}");
        let event = receiver.take().await;
        seen.insert(event["subject"].to_string(), event["data"]["value"].clone());
    }
}

#[tokio::test]
async fn a_dead_event_for_which_there_is_no_room_is_refused_and_stays() {
    let (_server, mut client, mut receiver) =
        start("concurrency = 1\nanswer_within = \"10m\"").await;
    client.put("notes", "dead", json!(1)).await;
    receiver.next().await.answer(400);
    let found = dead(&mut client, 1).await;
    for round in 0..10 {
        let op = |n: usize| json!({"put": {"key": format!("k{round}/{n:03}"), "value": n}});
        let ops: Vec<Json> = (0..1_000).map(op).collect();
        client.ok(json!({"batch": {"ns": "notes", "ops": ops}})).await;
    }
    let _hangs = receiver.next().await;
    let until = Instant::now() + PATIENCE;
    while client.ok(ask("targets", json!({}))).await["items"][0]["waiting"] != 10_000 {
        assert!(Instant::now() < until, "the queue does not fill");
        tokio::task::yield_now().await;
    }
    let error = client.error(ask("retry", json!({"id": found[0]["id"]}))).await;
    assert_eq!(error["code"], "overloaded", "{error}");
    assert_eq!(error["message"], "10,000 keys wait for the target crm, no more fit");
    assert_eq!(client.ok(ask("retry", json!({}))).await, json!({"retried": 0}));
    assert_eq!(dead(&mut client, 1).await, found);
}

#[tokio::test]
async fn a_target_hears_only_of_the_keys_and_kinds_that_it_wants() {
    let (_server, mut client, mut receiver) =
        start("keys = [\"order/*\", \"bill/?\"]\nevents = [\"put\"]").await;
    for key in ["note/1", "order/1", "bill/10", "bill/1"] {
        client.put("notes", key, json!(1)).await;
    }
    client.ok(json!({"delete": {"ns": "notes", "key": "order/1"}})).await;
    client.put("notes", "order/2", json!(1)).await;
    let mut keys = Vec::new();
    while keys.last().is_none_or(|key| key != "order/2") {
        keys.push(receiver.take().await["subject"].take());
    }
    at_rest(&mut client).await;
    assert!(receiver.there().is_none());
    // The put of order/1 may be overtaken by its delete, of which nothing is told.
    keys.retain(|key| key != "order/1");
    assert_eq!(keys, ["bill/1", "order/2"]);
}

#[tokio::test]
async fn an_answer_without_end_counts_by_its_status() {
    let (_server, mut client, mut receiver) = start("").await;
    client.put("notes", "a", json!(1)).await;
    let much = "x".repeat(1 << 20);
    receiver
        .next()
        .await
        .answer_whole(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{much}"));
    client.put("notes", "b", json!(1)).await;
    assert_eq!(receiver.take().await["subject"], "b");
    at_rest(&mut client).await;
    client.put("notes", "c", json!(1)).await;
    let head = format!("HTTP/1.1 200 OK\r\nx: {much}\r\n\r\n");
    receiver.next().await.answer_whole(&head);
    let again = receiver.take().await;
    assert_eq!(again["subject"], "c", "a head over the limit is no answer");
}

#[tokio::test]
async fn a_target_may_be_told_what_is_there_and_goes_on_after_a_reload() {
    let receiver = Receiver::start().await;
    let server = Server::start("[namespaces.notes]\n").await;
    let mut client = server.client().await;
    client.put("notes", "old", json!(1)).await;
    let mut receiver = receiver;
    server.rewrite(&told(&receiver, "initial = true"));
    client.ok(json!({"reload": {}})).await;
    assert_eq!(receiver.take().await["subject"], "old");
    client.put("notes", "fails", json!(1)).await;
    receiver.next().await.answer(500);
    server.rewrite(&told(&receiver, "initial = true\nconcurrency = 2"));
    client.ok(json!({"reload": {}})).await;
    let seen = receiver.next().await;
    assert_eq!(seen.key(), "fails");
    seen.answer(200);
    client.put("notes", "new", json!(1)).await;
    loop {
        let event = receiver.take().await;
        if event["subject"] == "new" {
            break;
        }
        assert_eq!(event["subject"], "fails", "it may come twice, and what was taken not again");
    }
}

#[tokio::test]
async fn an_https_target_must_show_a_certificate_that_is_trusted() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let other =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key)
        .expect("a certificate");
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut receiver = Receiver::start_at(any, Some(Arc::new(tls))).await;
    let target = |name: &str| {
        format!(
            "[namespaces.notes.plugins.targets.{name}]\nurl = \"https://localhost:{}/\"\nca = \"{name}.pem\"\nretry_min = \"10ms\"\nretry_max = \"20ms\"\nattempts = 2\n",
            receiver.address.port()
        )
    };
    let config = format!(
        "[[namespaces.notes.plugins]]\nuse = \"webhook\"\n{}{}",
        target("crm"),
        target("good")
    );
    let server = Server::start_with(&config, |folder| {
        std::fs::write(folder.join("good.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.join("crm.pem"), other.cert.pem()).expect("written");
    })
    .await;
    let mut client = ready(&server).await;
    client.put("notes", "k", json!(1)).await;
    assert_eq!(receiver.take().await["subject"], "k");
    let why = dead(&mut client, 1).await[0]["why"].take();
    assert!(why.as_str().expect("words").contains("invalid peer certificate"), "{why}");
    assert!(receiver.there().is_none());
}

#[tokio::test]
async fn a_question_out_of_form_is_refused_in_words() {
    let (_server, mut client, _receiver) = start("").await;
    for (op, arguments, code, words) in [
        ("dead", json!({"target": "crn"}), "not_found", "there is no target \"crn\""),
        ("dead", json!({"limt": 5}), "bad_request", "dead has no argument \"limt\""),
        ("dead", json!({"limit": "5"}), "bad_request", "limit is \"5\""),
        ("retry", json!({"id": 5}), "not_found", "there is no dead event 5"),
        ("retry", json!({"target": 5}), "bad_request", "target is 5, it should be a text"),
        ("dance", json!({}), "not_found", "webhook has no answer to \"dance\""),
    ] {
        let error = client.error(ask(op, arguments.clone())).await;
        assert_eq!(error["code"], code, "{op} {arguments}: {error}");
        assert!(error["message"].as_str().expect("words").contains(words), "{error}");
    }
}

#[tokio::test]
async fn faulty_targets_are_told_with_line_and_column() {
    let with = |lines: &str| {
        format!(
            "[[namespaces.notes.plugins]]\nuse = \"webhook\"\n[namespaces.notes.plugins.targets.crm]\n{lines}\n"
        )
    };
    let url = "url = \"http://127.0.0.1:1/\"";
    for (lines, told) in [
        ("url = \"crm.example/in\"".to_owned(), "config.toml:4:7: error: "),
        (
            "url = \"ftp://a/\"".to_owned(),
            "4:7: error: \"ftp://a/\" begins with ftp: use http or https",
        ),
        (format!("{url}\nsecret_file = \"none\""), "5:15: error: the secret in "),
        (
            format!("{url}\nsecret_file = \"config.toml\"\nsecret_env = \"X\""),
            "6:14: error: secret_file and secret_env are both there",
        ),
        (
            format!("{url}\nsecret_env = \"KEEPBOTH_NONE\""),
            "5:14: error: there is no variable KEEPBOTH_NONE in the environment",
        ),
        (format!("{url}\nanswer_within = \"soon\""), "5:17: error: "),
        (format!("{url}\nconcurrency = 0"), "5:15: error: "),
        (format!("{url}\nevents = [\"puts\"]"), "5:11: error: \"puts\" cannot stand in events"),
        (format!("{url}\nretries = 5"), "5:1: error: unknown key \"retries\""),
        ("keys = [\"*\"]".to_owned(), "url"),
    ] {
        let (code, text) = check_config(&with(&lines)).await;
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(told), "{told}: {text}");
    }
}
