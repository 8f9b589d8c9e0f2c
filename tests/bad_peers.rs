//! Bad input of peers: nonsense, forged hashes, another protocol version; counted, logged, and the server goes on.

use futures_util::{SinkExt, StreamExt};
use keepboth_core::digest::Digest;
use keepboth_core::handshake::{Greet, PROTOCOL, Proof, Role, Transcript};
use keepboth_core::hash;
use keepboth_core::identity::NodeKey;
use keepboth_core::ids::StoreId;
use keepboth_core::name::{Key, Namespace};
use keepboth_core::policy::Policy;
use keepboth_core::value::Value;
use keepboth_core::version::{Event, Version};
use keepboth_core::wire::{Hello, Message as Wire, SUBPROTOCOL, Space};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::{PATIENCE, Server};

const CONFIG: &str = "[namespaces.notes]\n";

/// A peer that says what the test wants.
pub struct Peer<S = MaybeTlsStream<TcpStream>>(pub WebSocketStream<S>);

fn notes() -> Namespace {
    Namespace::new("notes").expect("a name")
}

/// Who the tests' peer is.
pub fn key() -> NodeKey {
    NodeKey::from_seed(&[9; 32])
}

pub const NONCE: [u8; 32] = [7; 32];

pub fn greet(protocol: u32) -> Wire {
    Wire::Greet(Greet { protocol, protocol_min: protocol, nonce: NONCE })
}

/// The proof of this node on a connection without TLS where it has greeted.
pub fn prove(key: &NodeKey, answerer: [u8; 32]) -> Wire {
    prove_on(key, answerer, [0; 32])
}

/// The proof of this node on a connection that is bound to this.
pub fn prove_on(key: &NodeKey, answerer: [u8; 32], binding: [u8; 32]) -> Wire {
    let (dialler, answerer) = (Greet::new(NONCE), Greet::new(answerer));
    let transcript = Transcript { dialler, answerer, binding };
    Wire::Prove(Proof::new(key, [1; 16], &transcript, Role::Dialler, None, None))
}

pub fn hello() -> Wire {
    Wire::Hello(Hello {
        agent: "a test".into(),
        spaces: vec![Space {
            namespace: notes(),
            store: StoreId([9; 16]),
            policy: Policy::default(),
            away: false,
            shown: 0,
            seen: 0,
        }],
    })
}

impl Peer {
    pub async fn connect(server: &Server) -> Peer {
        let mut request = server.url().into_client_request().expect("a URL");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().expect("a header"));
        Peer(tokio_tungstenite::connect_async(request).await.expect("a connection").0)
    }

    /// A peer that has greeted.
    pub async fn greeted(server: &Server) -> Peer {
        Peer::told(server).await.0
    }

    /// A peer that has greeted, and what the server has told it of itself.
    pub async fn told(server: &Server) -> (Peer, Hello) {
        let (mut peer, theirs) = Peer::proven(server).await;
        peer.say(hello()).await;
        (peer, theirs)
    }

    /// A peer that has proven who it is and was admitted, but has said nothing of itself.
    pub async fn proven(server: &Server) -> (Peer, Hello) {
        let mut peer = Peer::connect(server).await;
        let answerer = peer.nonce().await;
        peer.say(prove(&key(), answerer)).await;
        assert!(matches!(peer.hear().await, Some(Wire::Prove(_))));
        let Some(Wire::Hello(theirs)) = peer.hear().await else { panic!("no hello") };
        (peer, theirs)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Greets, and takes the nonce of the server's greeting.
    pub async fn nonce(&mut self) -> [u8; 32] {
        self.say(greet(PROTOCOL)).await;
        let Some(Wire::Greet(theirs)) = self.hear().await else { panic!("no greeting") };
        theirs.nonce
    }

    pub async fn say(&mut self, message: Wire) {
        self.0.send(Message::binary(message.encode())).await.expect("sent");
    }

    /// The next message; None at the end.
    pub async fn hear(&mut self) -> Option<Wire> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("a message in time");
            match next {
                Some(Ok(Message::Binary(bytes))) => {
                    return Some(Wire::decode(&bytes).expect("a message"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The code and words of the next refusal.
    pub async fn refusal(&mut self) -> (String, String) {
        loop {
            let message = self.hear().await.expect("a refusal before the end");
            if let Wire::Refused { code, message } = message {
                return (code, message);
            }
        }
    }

    pub async fn ended(mut self) -> bool {
        while self.hear().await.is_some() {}
        true
    }
}

pub fn event(value: Value) -> Event {
    let key = Key::new("k").expect("a key");
    let version = Version::first(&key, hash::data_hash(&value), 1, StoreId([9; 16]));
    Event::new(key, version, Some(value))
}

pub fn live(event: Event) -> Wire {
    Wire::Live {
        namespace: notes(),
        sequence: 1,
        root: Some(Digest::default()),
        maker: key().id(),
        events: vec![event].into(),
    }
}

async fn goes_on(server: &Server) {
    let mut client = server.client().await;
    client.put("notes", "after", json!(1)).await;
    assert_eq!(client.get("notes", "after").await, 1);
}

#[tokio::test]
async fn nonsense_is_refused_with_its_place_and_ends_the_link() {
    let server = Server::start(CONFIG).await;
    for nonsense in [&b"hello"[..], &[], &[0x82, 0x18, 0x63, 0x80], &[0xff; 100]] {
        let mut peer = Peer::connect(&server).await;
        peer.0.send(Message::binary(nonsense.to_vec())).await.expect("sent");
        let (code, words) = peer.refusal().await;
        assert_eq!(code, "bad_frame");
        assert!(words.contains("byte "), "{words}");
        assert!(peer.ended().await);
    }
    goes_on(&server).await;
    assert!(server.log().contains("not a message of keepboth.peer.v1"), "{}", server.log());
}

#[tokio::test]
async fn text_frames_have_no_place_between_nodes() {
    let server = Server::start(CONFIG).await;
    let mut peer = Peer::connect(&server).await;
    peer.0.send(Message::text("{}")).await.expect("sent");
    assert!(peer.refusal().await.1.contains("binary"));
    assert!(peer.ended().await);
}

#[tokio::test]
async fn another_protocol_version_is_refused_naming_both() {
    let server = Server::start(CONFIG).await;
    let mut peer = Peer::connect(&server).await;
    peer.say(greet(99)).await;
    let (code, words) = peer.refusal().await;
    assert_eq!(code, "unsupported");
    assert!(words.contains("99") && words.contains(&PROTOCOL.to_string()), "{words}");
    assert!(peer.ended().await);
    goes_on(&server).await;
}

#[tokio::test]
async fn a_message_before_the_greeting_is_refused() {
    let server = Server::start(CONFIG).await;
    let mut peer = Peer::connect(&server).await;
    peer.say(live(event(Value::string("v")))).await;
    assert!(peer.refusal().await.1.contains("greeting"));
    assert!(peer.ended().await);
}

#[tokio::test]
async fn forged_versions_are_refused_and_the_stream_goes_on() {
    let server = Server::start(CONFIG).await;
    let mut peer = Peer::greeted(&server).await;
    let mut forged = event(Value::string("v"));
    forged.version.timestamp = 2;
    peer.say(live(forged)).await;
    let (code, words) = peer.refusal().await;
    assert_eq!(code, "bad_version");
    assert!(words.contains("\"k\""), "{words}");

    let mut swapped = event(Value::string("v"));
    swapped.value = Some(Value::string("w"));
    peer.say(live(swapped)).await;
    assert!(peer.refusal().await.1.contains("data hash"));

    let unclean = event(Value::trusted(keepboth_core::value::Kind::Json, "{ }".into()));
    peer.say(live(unclean)).await;
    assert_eq!(peer.refusal().await.0, "bad_value");

    peer.say(live(event(Value::string("good")))).await;
    while !matches!(peer.hear().await.expect("an answer"), Wire::Ack { sequence: 1, .. }) {}
    let mut client = server.client().await;
    while client.ok(json!({"list": {"ns": "notes"}})).await["items"] == json!([]) {
        // The acknowledgement of an earlier message came first; the good one is on its way.
        while !matches!(peer.hear().await.expect("an answer"), Wire::Ack { sequence: 1, .. }) {}
    }
    assert_eq!(client.get("notes", "k").await, "good");
}

#[tokio::test]
async fn an_oversized_value_of_a_peer_is_kept_unseen_and_said_with_limit_size_and_stage() {
    let server = Server::start("[namespaces.notes]\nvalue_bytes_max = \"1 KiB\"\n").await;
    let mut peer = Peer::greeted(&server).await;
    peer.say(live(event(Value::string("x".repeat(1_025))))).await;
    let (code, words) = peer.refusal().await;
    assert_eq!(code, "value_too_large");
    assert!(
        words.contains("value is 1,025 bytes from a peer, the limit is 1,024 bytes"),
        "{words}"
    );
    while !matches!(peer.hear().await.expect("an answer"), Wire::Ack { whole: true, .. }) {}
    assert_eq!(server.client().await.objects("notes").await, json!({}));
}

#[tokio::test]
async fn a_peer_that_is_refused_too_often_is_cut_off() {
    let server = Server::start(CONFIG).await;
    let mut peer = Peer::greeted(&server).await;
    for n in 0..200 {
        let mut forged = event(Value::number(f64::from(n)));
        forged.version.timestamp = 2;
        if peer.0.send(Message::binary(live(forged).encode())).await.is_err() {
            break;
        }
    }
    assert!(peer.ended().await);
    goes_on(&server).await;
}

#[tokio::test]
async fn live_events_of_ones_own_origin_and_of_other_namespaces_are_ignored() {
    let server = Server::start(CONFIG).await;
    let (mut peer, theirs) = Peer::told(&server).await;
    let mut own = event(Value::string("own"));
    own.version.origin = theirs.spaces[0].store;
    peer.say(live(own)).await;
    let elsewhere = Namespace::new("elsewhere").expect("a name");
    let events = vec![event(Value::string("other"))];
    let (maker, root) = (key().id(), None);
    peer.say(Wire::Live { namespace: elsewhere, sequence: 1, root, maker, events: events.into() })
        .await;
    while !matches!(peer.hear().await.expect("an answer"), Wire::Ack { .. }) {}
    assert_eq!(server.client().await.objects("notes").await, json!({}));
}
