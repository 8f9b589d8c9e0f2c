//! One connection: a task that reads and a task that writes, both ended with the client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use keepboth_core::limits::FRAME_BYTES_MAX;
use serde_json::{Map, Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::codec;
use super::error::ClientError;
use super::routes::{Pushes, Route, Routes, Waiting};
use super::target::Target;
use crate::protocol::Format;
use crate::tls::{self, DialError, Stream};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The server pings every 25 s; one that is silent this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Requests that wait to be written; then the callers wait.
const OUTBOX_MAX: usize = 1_024;

type Socket = WebSocketStream<Stream>;

/// A connection to a server. Share it by reference: requests do not wait for each other's answers.
#[derive(Debug)]
pub struct Client {
    format: Format,
    outbox: mpsc::Sender<Message>,
    routes: Arc<Routes>,
    tasks: [JoinHandle<()>; 2],
}

impl Client {
    /// Connects to a server, for instance `ws://127.0.0.1:7400`, within ten seconds. With `wss://` its
    /// certificate must be signed by an authority of this system.
    pub async fn connect(url: &str, format: Format) -> Result<Client, ClientError> {
        Client::connect_to(&Target { url: url.to_owned(), ca: None, token: None }, format).await
    }

    /// As [`Client::connect`]; the target says who must have signed the server's certificate, and has the
    /// token that is shown before all else. Refused if the server does not take it.
    pub async fn connect_to(target: &Target, format: Format) -> Result<Client, ClientError> {
        let url = target.url.clone();
        let socket = match tokio::time::timeout(CONNECT_WITHIN, open(target, format)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(DialError::Failed(reason))) => {
                return Err(ClientError::Unreachable { url, reason });
            }
            Ok(Err(DialError::Authorities(reason))) => {
                return Err(ClientError::Authorities { url, reason });
            }
            Ok(Err(DialError::Untrusted(reason, doubt))) => {
                return Err(ClientError::Untrusted { url, reason, doubt });
            }
            Err(_) => {
                let reason = format!("no answer within {} s", CONNECT_WITHIN.as_secs());
                return Err(ClientError::Unreachable { url, reason });
            }
        };
        let (sink, stream) = socket.split();
        let (outbox, waiting) = mpsc::channel(OUTBOX_MAX);
        let routes = Arc::new(Routes::default());
        let tasks =
            [tokio::spawn(write(sink, waiting)), tokio::spawn(read(stream, routes.clone()))];
        let client = Client { format, outbox, routes, tasks };
        if let Some(token) = &target.token {
            client.call("hello", json!({"token": token})).await?;
        }
        Ok(client)
    }

    /// Asks for something, and gives what stands after `ok`.
    pub async fn call(&self, method: &str, arguments: Json) -> Result<Json, ClientError> {
        self.ask(method, arguments).await?.answer().await
    }

    /// Asks for something without waiting for the answer. Requests go out in the order of these calls.
    pub async fn ask(&self, method: &str, arguments: Json) -> Result<Asked, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.send(method, arguments, Waiting::Answer(reply)).await?;
        Ok(Asked(answer))
    }

    /// Begins a watch: `arguments` are those of `watch`.
    pub async fn watch(&self, arguments: Json) -> Result<Pushes, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.send("watch", arguments, Waiting::Watch(reply)).await?;
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// Why the connection is over, if it is.
    pub fn closed(&self) -> Option<ClientError> {
        self.routes.closed()
    }

    async fn send(
        &self,
        method: &str,
        arguments: Json,
        waiting: Waiting,
    ) -> Result<(), ClientError> {
        let id = self.routes.enter(waiting)?;
        let frame = Map::from_iter([("id".into(), id.into()), (method.to_owned(), arguments)]);
        let message = codec::message(self.format, &Json::Object(frame))?;
        self.outbox.send(message).await.map_err(|_| self.over())
    }

    fn over(&self) -> ClientError {
        let unknown =
            || ClientError::Closed { code: None, reason: "the connection is lost".into() };
        self.closed().unwrap_or_else(unknown)
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct Asked(oneshot::Receiver<Result<Json, ClientError>>);

impl Asked {
    /// Waits for what stands after `ok`.
    pub async fn answer(self) -> Result<Json, ClientError> {
        // The client is gone before its answer only if it was dropped.
        self.0.await.unwrap_or_else(|_| Err(lost("the client was dropped".to_owned())))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn open(target: &Target, format: Format) -> Result<Socket, DialError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    tls::web_socket(&target.url, format.subprotocol(), config, || target.trust()).await
}

/// Writes all that waits, then flushes once.
async fn write(mut sink: SplitSink<Socket, Message>, mut outbox: mpsc::Receiver<Message>) {
    let mut batch = Vec::new();
    while outbox.recv_many(&mut batch, 256).await > 0 {
        for message in batch.drain(..) {
            if sink.feed(message).await.is_err() {
                // The reader learns of it too, and knows better why.
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut stream: SplitStream<Socket>, routes: Arc<Routes>) {
    let error = loop {
        match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(Message::Close(frame)))) => break closed(frame),
            Ok(Some(Ok(message))) => {
                if let Err(error) = deliver(&message, &routes).await {
                    break error;
                }
            }
            Ok(Some(Err(e))) => break lost(e.to_string()),
            Ok(None) => break lost("the server went away".to_owned()),
            Err(_) => break lost(format!("no sign of life for {} s", SILENCE_MAX.as_secs())),
        }
    };
    routes.close(&error);
}

async fn deliver(message: &Message, routes: &Routes) -> Result<(), ClientError> {
    let Some(frame) = codec::frame(message)? else { return Ok(()) };
    if let Route::Push(watch, push) = routes.route(frame)? {
        // A watch that nobody reads any more is left alone.
        let _ = watch.send(push).await;
    }
    Ok(())
}

fn closed(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> ClientError {
    match frame {
        Some(frame) => {
            let reason = match frame.reason.as_str() {
                "" => "no reason given".to_owned(),
                words => words.to_owned(),
            };
            ClientError::Closed { code: Some(frame.code.into()), reason }
        }
        None => lost("the server closed it".to_owned()),
    }
}

fn lost(reason: String) -> ClientError {
    ClientError::Closed { code: None, reason }
}
