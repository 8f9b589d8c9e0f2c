//! One request and its answer, over a connection that is used again where that is possible.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::{Address, server_name};
use crate::target::Target;

/// Bytes of an answer that are read. Its status counts also if there are more, but the connection is
/// not used again.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes that the head of an answer may have.
const HEAD_BYTES_MAX: usize = 64 << 10;

type Sender = SendRequest<Full<Bytes>>;

/// The way to one target.
pub struct Post {
    address: Address,
    tls: Option<TlsConnector>,
    connect_within: Duration,
    answer_within: Duration,
    /// Connections on which nothing is under way; never more than requests at once.
    idle: Mutex<Vec<Sender>>,
}

/// What a receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
}

impl Post {
    /// The way to this target; no connection is made.
    pub fn new(target: &Target) -> Post {
        Post {
            address: target.address.clone(),
            tls: target.tls.clone().map(TlsConnector::from),
            connect_within: target.declared.connect_within.get(),
            answer_within: target.declared.answer_within.get(),
            idle: Mutex::default(),
        }
    }

    /// Posts a body with these headers. An error says in words why there is no answer.
    pub async fn post(&self, headers: &[(&str, String)], body: Bytes) -> Result<Answer, String> {
        if let Some(sender) = self.idle_one() {
            match self.ask(sender, headers, body.clone()).await {
                // The other side may have ended the connection since, so this says nothing.
                Err(Failed::Broken(_)) => {}
                Err(Failed::Late(words)) => return Err(words),
                Ok(answer) => return Ok(answer),
            }
        }
        let late = || format!("no connection within {:?}", self.connect_within);
        let sender = timeout(self.connect_within, self.connect()).await.map_err(|_| late())??;
        self.ask(sender, headers, body)
            .await
            .map_err(|(Failed::Broken(words) | Failed::Late(words))| words)
    }

    fn idle_one(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(SendRequest::is_ready);
        idle.pop()
    }

    async fn connect(&self) -> Result<Sender, String> {
        let Address { host, port, .. } = &self.address;
        let failed = |e: &dyn std::fmt::Display| format!("cannot connect: {e}");
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| failed(&e))?;
        tcp.set_nodelay(true).map_err(|e| failed(&e))?;
        match &self.tls {
            None => speak(tcp).await,
            Some(tls) => {
                let stream = tls.connect(server_name(host)?, tcp).await.map_err(|e| failed(&e))?;
                speak(stream).await
            }
        }
    }

    async fn ask(
        &self,
        mut sender: Sender,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Answer, Failed> {
        let until = Instant::now() + self.answer_within;
        let request = Request::builder().method(Method::POST).uri(&self.address.path);
        let request = request.header(HOST, &self.address.authority);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let broken = |e: &dyn std::fmt::Display| Failed::Broken(format!("no answer: {e}"));
        let request = request.body(Full::new(body)).map_err(|e| broken(&e))?;
        let late = |_| Failed::Late(format!("no answer within {:?}", self.answer_within));
        let answered = timeout_at(until, sender.send_request(request)).await.map_err(late)?;
        let response = answered.map_err(|e| broken(&Whole(&e)))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|text| text.to_str().ok()).map(str::to_owned);
        let again =
            timeout_at(until, async { read(response).await && sender.ready().await.is_ok() });
        if again.await.unwrap_or(false) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        }
        Ok(Answer { status, retry_after })
    }
}

/// Why there is no answer.
enum Failed {
    /// The connection was ended.
    Broken(String),
    /// The time is over.
    Late(String),
}

/// An error with what led to it, for hyper's own words do not say it.
struct Whole<'a>(&'a hyper::Error);

impl std::fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        match std::error::Error::source(self.0) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Sender, String> {
    let opened =
        http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(|e| format!("cannot connect: {e}"))?;
    // It ends with the sender; what goes wrong on it, who asks hears.
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads the body of an answer. True if that was all of it.
async fn read(response: Response<Incoming>) -> bool {
    let (mut body, mut bytes) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > ANSWER_BYTES_MAX {
            return false;
        }
    }
    true
}
