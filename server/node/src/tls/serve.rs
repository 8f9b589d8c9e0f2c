//! The server's side of TLS: handshakes, and a new certificate for new connections while it runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::files::{Fault, Faults, Files, What};
use super::stream::Stream;
use super::{ALPN, VERSIONS, provider, validity};
use crate::clock;

/// The first byte of every TLS connection: a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Most bytes of a plain request that are read so that its sender sees the answer.
const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// What plain HTTP is told.
const PLAIN: &str =
    "this port speaks TLS only: use wss://, or https:// for /healthz and the like\n";

/// The certificate and key that new connections are served with.
pub struct Tls {
    now: ArcSwap<Serving>,
}

struct Serving {
    files: Files,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads certificate and key.
    pub fn load(files: &Files) -> Result<Tls, Faults> {
        Ok(Tls { now: ArcSwap::from_pointee(serving(files)?) })
    }

    /// Reads the same files again, and gives what puts them in force: new connections then get what was in
    /// them, open ones stay as they are.
    pub fn read_again(&self) -> Result<impl FnOnce() + use<'_>, Faults> {
        let new = Arc::new(serving(&self.now.load().files)?);
        Ok(move || self.now.store(new))
    }

    /// Does the handshake of a connection that was accepted; otherwise says why there is none. Waits
    /// as long as the other side likes: the caller limits the time.
    pub async fn accept(&self, tcp: TcpStream) -> Result<Stream, String> {
        let said = first_byte(&tcp).await.map_err(|e| e.to_string())?;
        match said {
            Some(HANDSHAKE) => {}
            Some(byte) => {
                turn_away(tcp, byte).await;
                return Err("this is no TLS; it was told to use wss://".into());
            }
            None => return Err("it left without a word".into()),
        }
        let config = self.now.load().config.clone();
        let tls = TlsAcceptor::from(config).accept(tcp).await.map_err(|e| e.to_string())?;
        Stream::secured(tls.into()).map_err(|e| e.to_string())
    }
}

fn serving(files: &Files) -> Result<Serving, Faults> {
    let key = files.read()?;
    if let Some(certificate) = key.cert.first()
        && let Some(words) = validity::warning(certificate, Duration::from_millis(clock::now()))
    {
        tracing::warn!(file = %files.cert.display(), "{words}");
    }
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS);
    let builder = builder.map_err(|error| Fault {
        what: What::Cert,
        message: format!("TLS cannot be set up: {error}"),
        hint: "this is a mistake of the program",
    })?;
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Serving { files: files.clone(), config: Arc::new(config) })
}

/// The first byte, which stays to be read; None at the end of the connection.
async fn first_byte(tcp: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let read = tcp.peek(&mut byte).await?;
    Ok((read > 0).then_some(byte[0]))
}

/// Tells a client that speaks plain HTTP what this port speaks, and says nothing to anything else.
async fn turn_away(mut tcp: TcpStream, first: u8) {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{PLAIN}",
        PLAIN.len()
    );
    if !first.is_ascii_uppercase() || tcp.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    let _ = tcp.shutdown().await;
    // With unread input the connection would be reset, and the answer lost.
    let (mut rest, mut read) = ([0; 1024], 0);
    while let Ok(n @ 1..) = tcp.read(&mut rest).await {
        read += n;
        if read > PLAIN_BYTES_MAX {
            return;
        }
    }
}
