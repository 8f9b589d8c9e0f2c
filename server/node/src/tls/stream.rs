//! A TCP connection with or without TLS, and its channel binding.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// What both ends of one TLS connection know, and what differs as soon as somebody stands between them:
/// `tls-exporter` of RFC 9266. Who signs it proves to be the other end of this very connection.
pub type Binding = [u8; 32];

/// The label of RFC 9266, section 2; the context is empty.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A connection.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>, Binding),
}

impl Stream {
    /// Takes a connection whose handshake is done. Fails if it has no binding: it must never pass for
    /// one without TLS.
    pub(super) fn secured(tls: TlsStream<TcpStream>) -> Result<Stream, rustls::Error> {
        let (output, context) = ([0; 32], Some([].as_slice()));
        let binding = match &tls {
            TlsStream::Client(tls) => {
                tls.get_ref().1.export_keying_material(output, LABEL, context)
            }
            TlsStream::Server(tls) => {
                tls.get_ref().1.export_keying_material(output, LABEL, context)
            }
        };
        Ok(Stream::Tls(Box::new(tls), binding?))
    }

    /// Where the other side is, if the system knows.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Stream::Plain(tcp) => tcp.peer_addr().ok(),
            Stream::Tls(tls, _) => tls.get_ref().0.peer_addr().ok(),
        }
    }

    /// The channel binding; None without TLS.
    pub fn binding(&self) -> Option<Binding> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(_, binding) => Some(*binding),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls, _) => match Pin::new(tls).poll_read(cx, buffer) {
                // An end without TLS's own goodbye. Frames have lengths and WebSockets a goodbye of
                // their own, so nothing can be cut off unseen, and it is an end as any other.
                Poll::Ready(Err(e)) if e.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => read,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls, _) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, parts),
            Stream::Tls(tls, _) => Pin::new(tls).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls, _) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls, _) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls, _) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
