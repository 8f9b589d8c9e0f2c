//! What an operator has to know is said loudly.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stands_still_is_named_everywhere() {
    let (a, b, _wire) = pair(NOTES).await;
    let (mut at_a, of_b) = (a.client().await, id(&b).await);
    b.signal("STOP").await;
    at_a.put("notes", "k", json!(1)).await;
    let stalled = |answer: &Json| answer["items"][0]["stalled"]["behind"] == 1;
    let peers = ask_until(&mut at_a, json!({"peers": {}}), stalled).await;
    let stall = &peers["items"][0]["stalled"];
    assert!(stall["blocked_on"].is_string() && stall["since"].is_u64(), "{stall}");
    let shown = |answer: &Json| {
        let ns = &answer["namespaces"][0];
        let said = |reason: &str| reason.contains("is stalled: 1 events behind since");
        ns["peers"][0]["stalled"]["behind"] == 1 && ns["reason"].as_str().is_some_and(said)
    };
    let status = ask_until(&mut at_a, json!({"status": {"ns": "notes"}}), shown).await;
    let reason = status["namespaces"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("blocked on"), "{reason}");
    let (_, out, _) = run(&a.url(), &["peer", "ls"]).await;
    assert!(out.contains("stalled    1 events behind since"), "{out}");
    let text = a.metrics().await;
    for line in [
        format!("keepboth_peer_stalled{{node=\"{}\"}} 1", &of_b[..8]),
        format!("keepboth_peer_behind{{node=\"{}\"}} 1", &of_b[..8]),
    ] {
        assert!(text.contains(&line), "{text} lacks {line}");
    }
    b.signal("CONT").await;
    a.until("notes", "synced").await;
    let fine = |answer: &Json| answer["items"][0]["stalled"].is_null();
    ask_until(&mut at_a, json!({"peers": {}}), fine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_node_is_found_out_and_said_loudly() {
    let b = Server::start(&dev(&[], NOTES)).await;
    let a = Server::start(&dev(&[b.url()], NOTES)).await;
    a.until("notes", "empty").await;
    let mut at_a = a.client().await;
    at_a.put("notes", "k", json!(1)).await;
    a.until("notes", "synced").await;
    let key = a.folder.path().join("data/node.key");
    let copy = Server::start_with(&dev(&[b.url()], NOTES), |folder| {
        std::fs::create_dir(folder.join("data")).expect("a folder");
        std::fs::copy(&key, folder.join("data/node.key")).expect("a copy");
    })
    .await;
    assert_eq!(id(&a).await, id(&copy).await);
    let mut at_copy = copy.client().await;
    let until = Instant::now() + PATIENCE;
    let found = loop {
        let [here, there] = [&mut at_a, &mut at_copy];
        let both = [here.ok(json!({"status": {}})).await, there.ok(json!({"status": {}})).await];
        if let Some(at) = both.iter().position(|status| status["twin"] == true) {
            break [&a, &copy][at];
        }
        assert!(Instant::now() < until, "nobody noticed the copy");
    };
    let status = found.client().await.ok(json!({"status": {}})).await;
    assert!(status["warning"].as_str().expect("words").contains("A COPY OF THIS NODE"), "{status}");
    let hello = found.client().await.ok(json!({"hello": {}})).await;
    assert_eq!(hello["twin"], true);
    let (_, _, talk) = run(&found.url(), &["status"]).await;
    assert!(talk.contains("A COPY OF THIS NODE RUNS ELSEWHERE"), "{talk}");
    assert!(found.log().contains("a copy of this node runs elsewhere"), "{}", found.log());
}
