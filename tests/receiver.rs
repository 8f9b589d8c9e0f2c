//! An HTTP server that answers what the test says, when it says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Io, PATIENCE};

/// Listens until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Heard>,
    accepting: JoinHandle<()>,
}

/// A request that waits for its answer. Dropped, the connection ends without one.
pub struct Heard {
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub event: Json,
    answer: oneshot::Sender<(String, bool)>,
}

impl Receiver {
    pub async fn start() -> Receiver {
        Receiver::start_at("127.0.0.1:0".parse().expect("an address"), None).await
    }

    pub async fn start_at(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> Receiver {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, heard) = mpsc::unbounded_channel();
        let tls = tls.map(TlsAcceptor::from);
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (sender, tls) = (sender.clone(), tls.clone());
                tokio::spawn(async move {
                    let stream: Box<dyn Io> = match tls {
                        None => Box::new(tcp),
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    serve(stream, sender).await;
                });
            }
        });
        Receiver { address, heard, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}/in?from=keepboth", self.address)
    }

    /// The next request.
    pub async fn next(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("a request in time").expect("a server")
    }

    /// Takes the next request with 200; its event.
    pub async fn take(&mut self) -> Json {
        let heard = self.next().await;
        let event = heard.event.clone();
        heard.answer(200);
        event
    }

    /// A request that is already there.
    pub fn there(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Heard {
    pub fn key(&self) -> &str {
        self.event["subject"].as_str().expect("a subject")
    }

    /// Answers with this status.
    pub fn answer(self, status: u16) {
        self.answer_whole(&format!("HTTP/1.1 {status} Told\r\ncontent-length: 2\r\n\r\nok"));
    }

    /// Answers with these bytes.
    pub fn answer_whole(self, answer: &str) {
        // A server that was stopped meanwhile does not hear it.
        let _ = self.answer.send((answer.to_owned(), true));
    }

    /// Answers with these bytes and ends the connection.
    pub fn break_off(self, answer: &str) {
        let _ = self.answer.send((answer.to_owned(), false));
    }
}

async fn serve(mut stream: Box<dyn Io>, heard: mpsc::UnboundedSender<Heard>) {
    let mut read = Vec::new();
    loop {
        let (headers, body) = loop {
            if let Some((request, length)) = request(&read) {
                read.drain(..length);
                break request;
            }
            match stream.read_buf(&mut read).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        };
        let event = serde_json::from_slice(&body).expect("an event");
        let (answer, answered) = oneshot::channel();
        if heard.send(Heard { headers, body, event, answer }).is_err() {
            return;
        }
        // One that is not answered ends with its client, or with the test.
        let mut rest = [0; 1];
        let answer = tokio::select! {
            answer = answered => answer,
            _ = stream.read(&mut rest) => return,
        };
        let Ok((answer, go_on)) = answer else { return };
        let written = stream.write_all(answer.as_bytes()).await.and(stream.flush().await);
        if written.is_err() || !go_on {
            return;
        }
    }
}

type Request = (BTreeMap<String, String>, Vec<u8>);

/// A whole request and its length, once it is there.
fn request(read: &[u8]) -> Option<(Request, usize)> {
    let head = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&read[..head]).expect("text");
    let mut lines = text.split("\r\n");
    let mut headers = BTreeMap::from([(":".to_owned(), lines.next()?.to_owned())]);
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length: usize = headers["content-length"].parse().expect("a length");
    let end = head + 4 + length;
    let body = read.get(head + 4..end)?.to_vec();
    Some(((headers, body), end))
}
