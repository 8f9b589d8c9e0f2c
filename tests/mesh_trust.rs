//! Who may talk to a node and what it gets: members, strangers, members with some rights, and removed ones.

use futures_util::{SinkExt, StreamExt};
use keepboth_core::handshake::{Greet, PROTOCOL, Proof, Role, Transcript};
use keepboth_core::identity::NodeKey;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::value::Value;
use keepboth_core::wire::{Message as Wire, SUBPROTOCOL};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use crate::bad_peers::{self, NONCE, Peer, greet, hello, prove};
use crate::cluster::{
    NOTES, alike, connected, id, logged, members, mesh, quiet, start, status, until,
};
use crate::harness::{PATIENCE, Server};

/// All that a stranger hears until the end: the bytes of every message, and how it was closed.
struct Heard {
    messages: Vec<Vec<u8>>,
    close: Option<CloseFrame>,
}

impl Heard {
    /// Nothing but a greeting and a refusal with this code, and nothing of who the node is.
    fn is_nothing_of(&self, secrets: &[&[u8]], code: &str) {
        let messages: Vec<Wire> =
            self.messages.iter().map(|bytes| Wire::decode(bytes).expect("a message")).collect();
        let [Wire::Greet(greeting), Wire::Refused { code: refused, .. }] = messages.as_slice()
        else {
            panic!("more than a greeting and a refusal: {messages:?}")
        };
        assert_eq!((greeting.protocol, refused.as_str()), (PROTOCOL, code));
        self.is_silent_about(secrets);
    }

    fn is_silent_about(&self, secrets: &[&[u8]]) {
        for secret in secrets {
            let words = String::from_utf8_lossy(secret);
            for bytes in &self.messages {
                let told = bytes.windows(secret.len()).any(|window| window == *secret);
                assert!(!told, "{words} is told in {}", String::from_utf8_lossy(bytes));
            }
            let reason = self.close.as_ref().map_or("", |close| close.reason.as_str());
            assert!(!reason.contains(words.as_ref()), "{words} is told in {reason}");
        }
    }
}

async fn hear_all<S>(socket: &mut WebSocketStream<S>) -> Heard
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut heard = Heard { messages: Vec::new(), close: None };
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("an end in time") {
            Some(Ok(Message::Binary(bytes))) => heard.messages.push(bytes.to_vec()),
            Some(Ok(Message::Close(close))) => heard.close = close,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return heard,
        }
    }
}

/// A stranger's connection, and the head of the HTTP answer.
async fn stranger(server: &Server) -> (Peer, String) {
    let mut request = server.url().into_client_request().expect("a URL");
    let protocol = SUBPROTOCOL.parse().expect("a header");
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    let (socket, head) = tokio_tungstenite::connect_async(request).await.expect("a connection");
    (Peer(socket), format!("{head:?}"))
}

fn first_nonce(bytes: &[u8]) -> [u8; 32] {
    let Ok(Wire::Greet(greeting)) = Wire::decode(bytes) else { panic!("no greeting") };
    greeting.nonce
}

#[tokio::test(flavor = "multi_thread")]
async fn members_talk_and_whom_one_of_them_admits_is_admitted_by_all() {
    let b = start(2, &mesh(&[], &format!("{}{NOTES}", members(&[1, 3])))).await;
    let a = start(1, &mesh(&[b.url()], &format!("{}{NOTES}", members(&[2])))).await;
    let c = start(3, &mesh(&[b.url()], &format!("{}{NOTES}", members(&[2])))).await;
    for (server, value) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        let mut client = server.client().await;
        client.put("notes", value, json!(value)).await;
        until(&mut client, "two links", |status| connected(status) == 2).await;
    }
    let all = |objects: &Json| ["a", "b", "c"].iter().all(|name| objects[name].is_array());
    alike(&[&a, &b, &c], all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_a_greeting_and_a_refusal_and_nothing_else() {
    let spaces = "[namespaces.very-secret]\n";
    let server = start(1, &quiet(&format!("{}{spaces}", members(&[2])))).await;
    server.client().await.put("very-secret", "hidden key", json!("hidden value")).await;
    let me = id(1);
    let store = status(&mut server.client().await, "very-secret").await["store"].clone();
    let store = store.as_str().expect("a store id").to_owned();
    let (text, other) = (me.to_string(), id(2));
    let secrets: &[&[u8]] = &[
        &me.0,
        text.as_bytes(),
        &other.0,
        b"very-secret",
        store.as_bytes(),
        b"keepboth/",
        b"hidden",
    ];

    let another = NodeKey::from_seed(&[99; 32]);
    let forged = |answerer| {
        let (dialler, answerer) = (Greet::new(NONCE), Greet::new(answerer));
        let transcript = Transcript { dialler, answerer, binding: [0; 32] };
        let proof = Proof::new(&another, [1; 16], &transcript, Role::Dialler, None, None);
        let mut proof = proof;
        proof.who.node = id(2);
        Wire::Prove(proof)
    };
    type Says<'s> = &'s dyn Fn([u8; 32]) -> Wire;
    let unproven: Says = &|_| hello();
    let unknown: Says = &|answerer| prove(&another, answerer);
    let old: Says = &|_| prove(&NodeKey::from_seed(&[2; 32]), [0; 32]);
    for (says, code, closed) in [
        (unknown, "not_a_member", 4501),
        (&forged, "not_a_member", 4501),
        (old, "not_a_member", 4501),
        (unproven, "bad_frame", 4502),
    ] {
        let (mut peer, head) = stranger(&server).await;
        assert!(!head.contains("very-secret") && !head.contains(&text), "{head}");
        let greeting = peer.0.next().await.expect("a greeting").expect("a greeting").into_data();
        peer.say(greet(PROTOCOL)).await;
        peer.say(says(first_nonce(&greeting))).await;
        // Whatever it goes on saying is not answered.
        for message in [
            hello(),
            Wire::Want {
                namespace: Namespace::new("very-secret").expect("a name"),
                key: Key::new("hidden key").expect("a key"),
                have: Vec::new(),
                known: Vec::new(),
                question: 1,
            },
        ] {
            let _ = peer.0.send(Message::binary(message.encode())).await;
        }
        let mut heard = hear_all(&mut peer.0).await;
        heard.messages.insert(0, greeting.to_vec());
        heard.is_nothing_of(secrets, code);
        assert_eq!(heard.close.expect("a close").code, closed.into(), "{code}");
    }
    let status = status(&mut server.client().await, "very-secret").await;
    assert_eq!(connected(&status), 0, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_is_dialled_learns_who_dials_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let config = mesh(&[url], &format!("{}[namespaces.very-secret]\n", members(&[2])));
    let server = start(1, &config).await;
    server.client().await.put("very-secret", "hidden key", json!("hidden value")).await;
    let (tcp, _) = listener.accept().await.expect("a dialler");
    let mut peer = accept(tcp).await;
    peer.send(Message::binary(greet(PROTOCOL).encode())).await.expect("sent");
    let (greeting, proof) = (binary(&mut peer).await, binary(&mut peer).await);
    let transcript = Transcript {
        dialler: Greet::new(first_nonce(&greeting)),
        answerer: Greet::new(NONCE),
        binding: [0; 32],
    };
    let Ok(Wire::Prove(theirs)) = Wire::decode(&proof) else { panic!("no proof") };
    assert!(theirs.who.node == id(1) && theirs.holds(&transcript, Role::Dialler, &id(99)));
    let key = NodeKey::from_seed(&[99; 32]);
    let mine = Proof::new(&key, [1; 16], &transcript, Role::Answerer, Some(id(1)), None);
    peer.send(Message::binary(Wire::Prove(mine).encode())).await.expect("sent");
    let mut heard = hear_all(&mut peer).await;
    heard.messages.insert(0, greeting.to_vec());
    heard.is_nothing_of(&[b"very-secret", b"keepboth/", b"hidden", &id(2).0], "not_a_member");
    assert_eq!(heard.close.expect("a close").code, 4501.into());
}

/// The next message, but for pings.
async fn binary(peer: &mut WebSocketStream<TcpStream>) -> Vec<u8> {
    loop {
        if let Message::Binary(bytes) = peer.next().await.expect("a message").expect("a message") {
            return bytes.to_vec();
        }
    }
}

#[expect(clippy::result_large_err, reason = "the library wants it so")]
async fn accept(tcp: TcpStream) -> WebSocketStream<TcpStream> {
    let speak = |_: &Request, mut response: Response| {
        let protocol = SUBPROTOCOL.parse().expect("a header");
        response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    };
    tokio_tungstenite::accept_hdr_async(tcp, speak).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_no_member_is_told_so_in_its_status() {
    let server = start(1, &quiet(&format!("{}{NOTES}", members(&[2])))).await;
    let other = start(3, &mesh(&[server.url()], &format!("{}{NOTES}", members(&[1])))).await;
    let refused = |status: &Json| {
        let mut peers = status["peers"].as_array().expect("peers").iter();
        peers.any(|peer| peer["error"].as_str().is_some_and(|e| e.contains("not a member")))
    };
    let status = until(&mut other.client().await, "a refusal", refused).await;
    assert_eq!(connected(&status), 0, "{status:#}");
}

/// Two namespaces, and a member that may have one of them.
fn partly(seed: u8) -> String {
    let others = members(&[seed]);
    format!("{others}namespaces = [\"notes\"]\n{}[namespaces.other]\n{NOTES}", members(&[3]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_right_to_one_namespace_gets_that_one_alone() {
    let both = format!("{}[namespaces.other]\n{NOTES}", members(&[1]));
    let b = start(2, &quiet(&both)).await;
    let mut a = start(1, &mesh(&[b.url()], &partly(2))).await;
    let c = start(3, &mesh(&[a.url()], &both)).await;
    let (mut at_a, mut at_b, mut at_c) = (a.client().await, b.client().await, c.client().await);
    at_c.ok(json!({"watch": {"ns": "other"}})).await;
    at_a.put("other", "k", json!("not for b")).await;
    at_b.put("other", "mine", json!("not for a")).await;
    at_a.put("notes", "k", json!("for all")).await;
    at_c.event(|event| event["key"] == "k").await;
    alike(&[&a, &b, &c], |objects| objects["k"][1] == "for all").await;
    for server in [&a, &b, &c] {
        until(&mut server.client().await, "two links", |status| connected(status) == 2).await;
    }
    // All that were to exchange `other` have done so.
    c.until("other", "synced").await;
    at_a.ok(json!({"watch": {"ns": "other"}})).await;
    at_c.put("other", "k2", json!("not for b")).await;
    at_a.event(|event| event["key"] == "k2").await;
    // What either of them tells it afterwards has come.
    at_a.put("notes", "a", json!(1)).await;
    at_c.put("notes", "c", json!(1)).await;
    alike(&[&a, &b, &c], |o| o["a"].is_array() && o["c"].is_array()).await;
    a.until("other", "synced").await;
    let shown = at_b.objects("other").await;
    assert_eq!(shown.as_object().map(serde_json::Map::len), Some(1), "{shown}");
    assert!(at_a.objects("other").await["mine"].is_null());
    let status = status(&mut at_b, "other").await;
    assert_eq!(status["reason"], "no peer is connected", "{status:#}");

    // With the right to all it gets all.
    a.stop().await;
    a.rewrite(&mesh(
        &[b.url(), c.url()],
        &format!("{}[namespaces.other]\n{NOTES}", members(&[2, 3])),
    ));
    a.go_on().await;
    let mut at_b = b.client().await;
    at_b.ok(json!({"watch": {"ns": "other", "initial": true}})).await;
    at_b.event(|event| event["key"] == "k2").await;
    assert_eq!(at_b.get("other", "k").await, "not for b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_asks_for_a_namespace_it_may_not_have_gets_no_answer() {
    let own = format!("[[mesh.members]]\nnode = \"{}\"\n", bad_peers::key().id());
    let third = format!("[[mesh.members]]\nnode = \"{}\"\nnamespaces = [\"other\"]\n", id(3));
    let spaces = format!("namespaces = [\"notes\"]\n{third}[namespaces.other]\n{NOTES}");
    let server = start(1, &quiet(&format!("{own}{spaces}"))).await;
    server.client().await.put("other", "k", json!("hidden")).await;
    let version = server.client().await.put("notes", "k", json!("seen")).await;
    let (mut peer, theirs) = Peer::told(&server).await;
    let told: Vec<&str> = theirs.spaces.iter().map(|space| space.namespace.as_str()).collect();
    assert_eq!(told, ["notes"]);
    let (other, key) = (Namespace::new("other").expect("a name"), Key::new("k").expect("a key"));
    let none = Vec::new;
    let version = version["version"].as_str().expect("a version").parse().expect("a version");
    let ask = |question, namespace| Wire::Ask { question, namespace, key: key.clone(), version };
    peer.say(Wire::Want {
        namespace: other.clone(),
        key: key.clone(),
        have: none(),
        known: none(),
        question: 1,
    })
    .await;
    peer.say(Wire::Root { namespace: other.clone(), root: Default::default() }).await;
    peer.say(ask(1, other.clone())).await;
    peer.say(ask(2, Namespace::new("notes").expect("a name"))).await;
    loop {
        let message = peer.hear().await.expect("an answer");
        let words = format!("{message:?}");
        assert!(!words.contains("\"other\""), "{words}");
        match message {
            Wire::Holds { question, held } => {
                assert_eq!((question, held), (2, true));
                return;
            }
            Wire::Root { namespace, .. } => assert_ne!(namespace, other),
            Wire::Histories { namespace, .. } => assert_ne!(namespace, other),
            _ => {}
        }
    }
}

/// Three nodes that know each other; the second and the third dial the first.
async fn three() -> [Server; 3] {
    let (both, notes) = (members(&[1, 2, 3]), "[namespaces.other]\n[namespaces.notes]\n");
    let a = start(1, &mesh(&[], &format!("{both}{notes}"))).await;
    let b = start(2, &mesh(&[a.url()], &format!("{both}{notes}"))).await;
    let c = start(3, &mesh(&[a.url()], &format!("{both}{notes}"))).await;
    for server in [&a, &b, &c] {
        until(&mut server.client().await, "two links", |status| connected(status) == 2).await;
    }
    [a, b, c]
}

async fn links(server: &Server, count: usize) {
    let what = format!("{count} links of {}", server.url());
    until(&mut server.client().await, &what, |status| connected(status) == count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_gets_nothing_more_from_any_member_until_it_is_taken_back() {
    let [a, b, mut c] = three().await;
    let (mut at_a, mut at_b, removed) = (a.client().await, b.client().await, id(3).to_string());
    at_a.put("notes", "before", json!(1)).await;
    alike(&[&a, &b, &c], |objects| objects["before"][1] == 1).await;
    c.client().await.ok(json!({"peer_invite": {}})).await;
    at_a.ok(json!({"peer_rm": {"node": removed}})).await;
    // Nobody joins by what it gave out.
    logged(&c, "open invitations are withdrawn").await;
    // It is out everywhere, also where nobody has asked for it, and after it has started again.
    links(&c, 0).await;
    links(&a, 1).await;
    links(&b, 1).await;
    at_b.put("notes", "after", json!(1)).await;
    alike(&[&a, &b], |objects| objects["after"][1] == 1).await;
    c.stop().await;
    c.go_on().await;
    let mut at_c = c.client().await;
    let refused = |status: &Json| {
        let mut peers = status["peers"].as_array().expect("peers").iter();
        let said = |error: &str| error.contains("4501") || error.contains("removed");
        peers.any(|peer| peer["error"].as_str().is_some_and(said))
    };
    until(&mut at_c, "a refusal", refused).await;
    assert_eq!(connected(&status(&mut at_c, "notes").await), 0);
    // What it has stays with it, and it goes on serving its clients.
    at_c.put("notes", "alone", json!(1)).await;
    let alone = at_c.objects("notes").await;
    assert!(alone["before"].is_array() && alone["after"].is_null(), "{alone}");
    assert!(at_a.objects("notes").await["alone"].is_null());

    at_b.ok(json!({"peer_add": {"node": removed}})).await;
    let all = |o: &Json| o["after"].is_array() && o["alone"].is_array();
    alike(&[&a, &b, &c], all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_reaches_members_that_were_down_and_the_config_takes_nobody_back() {
    let [mut a, mut b, mut c] = three().await;
    b.stop().await;
    c.stop().await;
    links(&a, 0).await;
    a.client().await.ok(json!({"peer_rm": {"node": id(3).to_string()}})).await;
    // `mesh.members` of all of them still names it, and it knows where they were.
    a.stop().await;
    for server in [&mut c, &mut b, &mut a] {
        server.go_on().await;
    }
    let peers = [a.url()];
    for server in [&mut b, &mut c] {
        server.stop().await;
        let notes = "[namespaces.other]\n[namespaces.notes]\n";
        server.rewrite(&mesh(&peers, &format!("{}{notes}", members(&[1, 2, 3]))));
        server.go_on().await;
    }
    let mut at_a = a.client().await;
    at_a.put("notes", "k", json!(1)).await;
    alike(&[&a, &b], |objects| objects["k"][1] == 1).await;
    links(&a, 1).await;
    links(&b, 1).await;
    links(&c, 0).await;
    assert!(c.client().await.objects("notes").await["k"].is_null());
    assert!(a.log().contains("names a node that was removed from the mesh"), "{}", a.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_holds_at_once_and_comes_back() {
    let [a, b, c] = three().await;
    let (mut at_a, mut at_b, mut at_c) = (a.client().await, b.client().await, c.client().await);
    for client in [&mut at_b, &mut at_c] {
        client.ok(json!({"watch": {"ns": "other"}})).await;
    }
    at_a.put("other", "k", json!(1)).await;
    at_c.event(|event| event["key"] == "k").await;
    let grant = |namespaces: Json| {
        json!({"peer_add":
        {"node": id(3).to_string(), "namespaces": namespaces}})
    };
    at_a.ok(grant(json!(["notes"]))).await;
    let alone = |status: &Json| status["reason"] == "no peer is connected";
    let end = tokio::time::Instant::now() + PATIENCE;
    while !alone(&status(&mut at_c, "other").await) {
        assert!(tokio::time::Instant::now() < end, "{}", c.log());
    }
    at_a.put("other", "hidden", json!(1)).await;
    at_b.event(|event| event["key"] == "hidden").await;
    // What either of them tells it afterwards has come.
    at_a.put("notes", "a", json!(1)).await;
    at_b.put("notes", "b", json!(1)).await;
    alike(&[&a, &b, &c], |o| o["a"].is_array() && o["b"].is_array()).await;
    b.until("other", "synced").await;
    assert!(at_c.objects("other").await["hidden"].is_null());
    at_a.ok(grant(json!(["notes", "other"]))).await;
    at_c.event(|event| event["key"] == "hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_a_member_that_has_proven_who_it_is_and_not_greeted_yet_holds_when_it_does() {
    let node = bad_peers::key().id();
    let own = format!("[[mesh.members]]\nnode = \"{node}\"\n[namespaces.other]\n{NOTES}");
    for (decision, closed) in [
        (json!({"peer_rm": {"node": node.to_string()}}), 4503),
        (json!({"peer_add": {"node": node.to_string(), "namespaces": ["other"]}}), 4001),
    ] {
        let server = start(1, &quiet(&own)).await;
        let mut client = server.client().await;
        client.put("notes", "k", json!("hidden")).await;
        let (mut peer, _) = Peer::proven(&server).await;
        client.ok(decision.clone()).await;
        peer.say(hello()).await;
        peer.say(bad_peers::live(bad_peers::event(Value::string("mine")))).await;
        let heard = timeout(PATIENCE, hear_all(&mut peer.0)).await.expect("an end in time");
        assert_eq!(heard.close.as_ref().expect("a close").code, closed.into(), "{decision}");
        // What it was told when it was admitted may have come before the decision.
        for message in &heard.messages {
            let message = Wire::decode(message).expect("a message");
            assert!(matches!(message, Wire::Notes(_)), "{decision}: {message:?}");
        }
        assert_eq!(client.get("notes", "k").await, "hidden", "{decision}");
        links(&server, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_could_not_be_written_is_done_when_it_is_asked_for_again() {
    let [mut a, b, c] = three().await;
    let mut at_a = a.client().await;
    let file = a.folder.path().join("data/mesh.json");
    let removal = json!({"peer_rm": {"node": id(3).to_string()}});
    std::fs::remove_file(&file).and_then(|()| std::fs::create_dir(&file)).expect("in the way");
    assert_eq!(at_a.error(removal.clone()).await["code"], "store_failed");
    links(&a, 2).await;
    std::fs::remove_dir(&file).expect("out of the way");
    assert_eq!(at_a.ok(removal).await["removed"], true);
    for (server, count) in [(&a, 1), (&b, 1), (&c, 0)] {
        links(server, count).await;
    }
    a.stop().await;
    a.go_on().await;
    let peers = a.client().await.ok(json!({"peers": {}})).await;
    let of = |seed: u8| {
        let node = json!(id(seed).to_string());
        let mut peers = peers["items"].as_array().expect("items").iter();
        peers.find(|peer| peer["node"] == node).expect("a peer")["admitted"].clone()
    };
    assert_eq!((of(2), of(3)), (json!(true), json!(false)), "{peers:#}");
}
