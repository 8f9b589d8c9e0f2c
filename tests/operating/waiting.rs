//! Writes wait for other nodes, and nodes are asked what they have.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_can_wait_until_all_have_it() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, of_b) = (a.client().await, id(&b).await);
    let there = json!({"nodes": [of_b], "missing": [], "enough": true});
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}});
    let put = at_a.ok(put).await;
    assert_eq!(put["reached"], there);
    assert_eq!(b.client().await.get("notes", "k").await, 1);
    let revert = json!({"ns": "notes", "key": "k", "version": put["version"], "wait": 1});
    for frame in [
        json!({"batch": {"ns": "notes", "ops": [{"put": {"key": "k", "value": 2}}], "wait": 1}}),
        json!({"revert": revert}),
        json!({"delete": {"ns": "notes", "key": "k", "wait": "all"}}),
        json!({"restore": {"ns": "notes", "key": "k", "wait": "all"}}),
    ] {
        assert_eq!(at_a.ok(frame).await["reached"], there);
    }
    let plain = at_a.put("notes", "k", json!(5)).await;
    assert!(plain["reached"].is_null());
    let more = json!({"put": {"ns": "notes", "key": "k", "value": 6, "wait": 2, "wait_ms": 50}});
    let more = at_a.ok(more).await;
    assert_eq!(more["reached"]["enough"], false, "there are not so many: {more}");
    for (wait, ms) in [(json!(0), 1), (json!("none"), 1), (json!("all"), 60_001), (json!(1), 0)] {
        let put = json!({"ns": "notes", "key": "none", "value": 1, "wait": wait, "wait_ms": ms});
        assert_eq!(code(&at_a.error(json!({"put": put})).await), "bad_request");
    }
    let unshared = json!({"put": {"ns": "alone", "key": "none", "value": 1, "wait": "all"}});
    let error = at_a.error(unshared).await;
    assert!(code(&error) == "bad_request" && words(&error).contains("not shared"), "{error}");
    let get = json!({"get": {"ns": "alone", "key": "none"}});
    assert_eq!(code(&at_a.error(get).await), "not_found", "nothing was written");
    let refused =
        json!({"put": {"ns": "notes", "key": "k", "value": 1, "if_version": null, "wait": 1}});
    assert_eq!(code(&at_a.error(refused).await), "version_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_in_vain_is_answered_in_time_and_holds_up_no_other() {
    let (a, b, wire) = pair(NOTES).await;
    let (mut at_a, of_b, url) = (a.client().await, id(&b).await, a.url());
    let old = at_a.ok(json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}})).await;
    wire.cut();
    a.until("notes", "not_synced").await;
    let put = json!({"ns": "notes", "key": "k", "value": 2, "wait": "all", "wait_ms": 2_000});
    let waiting = at_a.ask(json!({"put": put})).await;
    let get = at_a.ask(json!({"get": {"ns": "notes", "key": "first"}})).await;
    // The first frame that comes is not the one that was asked for first.
    let first = at_a.frame().await;
    assert_eq!(first["id"], get, "{first}");
    let answer = at_a.answer(waiting).await;
    let reached = json!({"nodes": [], "missing": [of_b], "enough": false});
    assert_eq!(answer["ok"]["reached"], reached);
    let new = answer["ok"]["version"].clone();

    let acks = json!({"acks": {"ns": "notes", "key": "k"}});
    let now = at_a.ok(acks.clone()).await;
    assert_eq!((&now["version"], &now["everywhere"]), (&new, &json!(false)));
    let unknown = json!({"node": of_b, "why": "it is not connected"});
    assert_eq!(now["members"], json!([unknown]));
    let before = json!({"acks": {"ns": "notes", "key": "k", "version": old["version"]}});
    let before = at_a.ok(before).await;
    assert_eq!(
        (&before["everywhere"], &before["members"][0]["held"]),
        (&json!(true), &json!(true))
    );

    let words = ["put", "notes/k", "3", "--wait", "1", "--wait-for", "50ms"];
    let (exit, out, err) = run(&url, &words).await;
    assert_eq!((exit, out.trim().len()), (10, 64), "{err}");
    assert!(err.contains("0 of 1 other nodes") && err.contains(&of_b), "{err}");
    let (exit, out, _) = run(&url, &["acks", "notes/k", "--within", "1s"]).await;
    assert!(exit == 10 && out.contains("is not known to be everywhere"), "{exit} {out}");
    assert!(out.contains("unknown  it is not connected"), "{out}");

    wire.mend();
    a.until("notes", "synced").await;
    let mended = at_a.ok(acks).await;
    assert_eq!(mended["everywhere"], true, "{mended}");
    assert_eq!(mended["members"], json!([{"node": of_b, "held": true, "why": "it says so"}]));
    let (exit, out, _) = run(&url, &["acks", "notes/k"]).await;
    assert!(exit == 0 && out.contains("is everywhere"), "{exit} {out}");
    let (exit, out, _) = run(&url, &["rm", "notes/k", "--wait", "all"]).await;
    assert_eq!((exit, out.trim().len()), (0, 64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_or_a_client_that_leaves_waits_for_nobody() {
    let (mut a, _b, wire) = pair(NOTES).await;
    wire.cut();
    a.until("notes", "not_synced").await;
    let put = json!({"ns": "notes", "key": "k", "value": 1, "wait": "all", "wait_ms": 60_000});
    let (mut stays, mut leaves) = (a.client().await, a.client().await);
    leaves.ask(json!({"put": put})).await;
    drop(leaves);
    let waiting = stays.ask(json!({"put": put})).await;
    let get = json!({"history": {"ns": "notes", "key": "k"}});
    let both = |answer: &Json| answer["versions"].as_array().is_some_and(|v| v.len() == 2);
    let mut reader = a.client().await;
    let until = Instant::now() + PATIENCE;
    loop {
        let asked = reader.ask(get.clone()).await;
        if both(&reader.answer(asked).await["ok"]) {
            break;
        }
        assert!(Instant::now() < until, "the writes are not done");
    }
    let begun = Instant::now();
    let (answer, exit) = tokio::join!(stays.answer(waiting), a.stop());
    assert_eq!(answer["ok"]["reached"]["enough"], false, "{answer}");
    assert_eq!(exit, Some(0));
    assert!(begun.elapsed().as_secs() < 9, "the stop took {:?}", begun.elapsed());
}

#[tokio::test]
async fn alone_everywhere_is_here_and_what_is_unknown_is_said_to_be() {
    let a = Server::start(&strict()).await;
    let mut client = a.client().await;
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all"}});
    let put = client.ok(put).await;
    assert_eq!(put["reached"], json!({"nodes": [], "missing": [], "enough": true}));
    let of = |key: &str, version: Option<&str>| {
        let mut acks = json!({"ns": "notes", "key": key, "within_ms": 100});
        if let Some(version) = version {
            acks["version"] = json!(version);
        }
        json!({"acks": acks})
    };
    let acks = client.ok(of("k", None)).await;
    assert_eq!((&acks["version"], &acks["members"]), (&put["version"], &json!([])));
    assert_eq!(acks["everywhere"], true);
    let (nowhere, wrong) = ("ab".repeat(32), "xyz");
    assert_eq!(code(&client.error(of("none", None)).await), "not_found");
    assert_eq!(code(&client.error(of("k", Some(&nowhere))).await), "not_found");
    assert_eq!(code(&client.error(of(&nowhere, None)).await), "not_found");
    assert_eq!(code(&client.error(of("k", Some(wrong))).await), "bad_request");
    let deleted = client.ok(json!({"delete": {"ns": "notes", "key": "k"}})).await;
    assert_eq!(client.ok(of("k", None)).await["version"], deleted["version"]);
    assert_eq!(run(&a.url(), &["acks", "notes/none"]).await.0, 5);

    // A member that was never heard of may have the namespace as well.
    client.ok(json!({"peer_add": {"node": nowhere}})).await;
    let acks = client.ok(of("k", None)).await;
    assert_eq!((&acks["everywhere"], &acks["members"][0]["held"]), (&json!(false), &Json::Null));
    let put = json!({"put": {"ns": "notes", "key": "k", "value": 1, "wait": "all", "wait_ms": 1}});
    assert_eq!(client.ok(put).await["reached"]["missing"], json!([nowhere]));
}
