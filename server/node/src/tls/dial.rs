//! Opening a WebSocket to `ws://` or `wss://`, and why it cannot be opened.

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, uri_mode};
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, stream::Mode};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::files::Fault;
use super::stream::Stream;
use super::trust::Trust;
use super::validity::day;

/// Most characters of a server's plain answer that are shown.
const WORDS_MAX: usize = 200;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The URL, the network, or what the server answered.
    #[error("{0}")]
    Failed(String),
    /// The server showed a certificate that is not believed.
    #[error("{0}")]
    Untrusted(String, Doubt),
    /// Nobody can be believed, for want of authorities.
    #[error("{0}")]
    Authorities(String),
}

/// What is doubted of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody who is trusted signed it.
    Authority,
    /// The certificate itself: its time, its names, its form.
    Certificate,
}

/// Opens a WebSocket with this subprotocol. `trust` is asked for `wss://` only, and only once the
/// server has answered. Takes as long as the network does: the caller limits the time.
pub async fn web_socket(
    url: &str,
    subprotocol: &'static str,
    config: WebSocketConfig,
    trust: impl FnOnce() -> Result<Trust, Fault>,
) -> Result<WebSocketStream<Stream>, DialError> {
    let mut request = url.into_client_request().map_err(|e| failed(&e))?;
    let header = HeaderValue::from_static(subprotocol);
    request.headers_mut().insert("Sec-WebSocket-Protocol", header);
    let stream = stream(request.uri(), trust).await?;
    let opened = client_async_with_config(request, stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|e| failed(&e))
}

async fn stream(
    uri: &Uri,
    trust: impl FnOnce() -> Result<Trust, Fault>,
) -> Result<Stream, DialError> {
    let mode = uri_mode(uri).map_err(|e| failed(&e))?;
    let host = uri.host().ok_or_else(|| failed(&UrlError::NoHostName.into()))?;
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(match mode {
        Mode::Plain => 80,
        Mode::Tls => 443,
    });
    let tcp = TcpStream::connect((host, port)).await.map_err(|e| failed(&e.into()))?;
    // Frames are flushed in groups, so there is nothing to wait for; a failure only costs time.
    let _ = tcp.set_nodelay(true);
    match mode {
        Mode::Plain => Ok(Stream::Plain(tcp)),
        Mode::Tls => {
            secure(host, tcp, trust().map_err(|e| DialError::Authorities(e.to_string()))?).await
        }
    }
}

pub(super) async fn secure(host: &str, tcp: TcpStream, trust: Trust) -> Result<Stream, DialError> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|e| DialError::Failed(format!("{host:?}: {e}")))?;
    let connected = TlsConnector::from(trust.0).connect(name, tcp).await;
    let tls = connected.map_err(|error| {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            Some(tls) => refused(tls),
            None => DialError::Failed(format!("the TLS handshake failed: {error}")),
        }
    })?;
    Stream::secured(tls.into()).map_err(|e| refused(&e))
}

fn refused(error: &TlsError) -> DialError {
    let failed = |words: &str| DialError::Failed(words.to_owned());
    match error {
        TlsError::InvalidCertificate(why) => doubted(why),
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            failed("the server speaks no TLS at this port: use ws://")
        }
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
        ) => failed("the server does not speak TLS 1.3"),
        other => DialError::Failed(format!("the TLS handshake failed: {other}")),
    }
}

fn doubted(why: &CertificateError) -> DialError {
    let (words, doubt) = match why {
        CertificateError::UnknownIssuer => {
            ("is signed by no authority that is trusted here".to_owned(), Doubt::Authority)
        }
        // As with a certificate that was made anew under the same name.
        CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            let words = "names an authority that is trusted here, but is not signed with its key";
            (words.to_owned(), Doubt::Authority)
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("expired on {}", day(*not_after)), Doubt::Certificate)
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("is not valid before {}", day(*not_before)), Doubt::Certificate)
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            let words = "is that of an authority (CA:TRUE), which may not serve itself";
            (words.to_owned(), Doubt::Certificate)
        }
        other => (format!("is refused: {other}"), Doubt::Certificate),
    };
    DialError::Untrusted(format!("the server's certificate {words}"), doubt)
}

fn failed(error: &Error) -> DialError {
    let words = match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let words: String = String::from_utf8_lossy(body).chars().take(WORDS_MAX).collect();
            format!("the server answered {} {}", response.status(), words.trim())
        }
        other => other.to_string(),
    };
    DialError::Failed(words.trim_end().to_owned())
}
