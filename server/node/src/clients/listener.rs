//! The listening socket: a connection whose handshake or request does not come in time is closed.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep, timeout};

use crate::tls::{Binding, Stream, Tls};

/// How long a TLS handshake may take, the other side's pauses included.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Most TLS handshakes under way; a further one takes the place of the oldest.
const HANDSHAKES_MAX: usize = 256;

/// Connections that wait until they are taken; the kernel may allow fewer. Others are not let in at once, or not at all:
/// after a start all clients may come together.
const BACKLOG: u32 = 4_096;

/// Listens there.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port that was left a moment ago is taken again; elsewhere that would take it from who has it.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A listener of sockets that have to say what they want.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
    request_within: Duration,
    /// Handshakes, side by side: a slow one holds up nobody.
    handshakes: JoinSet<Option<(Stream, SocketAddr)>>,
    /// The same, in the order in which they began.
    begun: VecDeque<AbortHandle>,
}

/// Who reached the server, as a connection's handler is told of it.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// Where the other side is.
    pub address: IpAddr,
    /// The channel binding; None without TLS.
    pub binding: Option<Binding>,
}

/// A socket that is read in vain once its time for the request is over. The first answer ends that
/// limit: after it a WebSocket has limits of its own, and anything else is closed.
pub struct Socket {
    stream: Stream,
    request_until: Option<Pin<Box<Sleep>>>,
}

impl Listener {
    /// Takes connections of this socket, within TLS or as they are. `request_within` is how soon after
    /// connecting, or after the handshake, the request must be whole.
    pub fn new(tcp: TcpListener, tls: Option<Arc<Tls>>, request_within: Duration) -> Listener {
        let (handshakes, begun) = (JoinSet::new(), VecDeque::new());
        Listener { tcp, tls, request_within, handshakes, begun }
    }

    fn begin(&mut self, tls: Arc<Tls>, tcp: TcpStream, address: SocketAddr) {
        if self.begun.len() >= HANDSHAKES_MAX {
            self.begun.retain(|handshake| !handshake.is_finished());
        }
        if self.begun.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.begun.pop_front()
        {
            // Who is in earnest needs some milliseconds. To wait instead would let a crowd of silent
            // clients keep everybody out.
            oldest.abort();
        }
        let within = HANDSHAKE_WITHIN.min(self.request_within);
        self.begun.push_back(self.handshakes.spawn(async move {
            let error = match timeout(within, tls.accept(tcp)).await {
                Ok(Ok(stream)) => return Some((stream, address)),
                Ok(Err(error)) => error,
                Err(_) => format!("no handshake within {} ms", within.as_millis()),
            };
            tracing::debug!(client = %address, "no TLS connection: {error}");
            None
        }));
    }

    fn socket(&self, stream: Stream) -> Socket {
        Socket { stream, request_until: Some(Box::pin(sleep(self.request_within))) }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        loop {
            tokio::select! {
                // It goes on after errors, with a pause where descriptors ran out.
                (tcp, address) = axum::serve::Listener::accept(&mut self.tcp) => {
                    // Frames are flushed in groups, so there is nothing to wait for; a failure only
                    // costs time.
                    let _ = tcp.set_nodelay(true);
                    match self.tls.clone() {
                        None => return (self.socket(Stream::Plain(tcp)), address),
                        Some(tls) => self.begin(tls, tcp, address),
                    }
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some((stream, address))) = done {
                        return (self.socket(stream), address);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, Listener>> for Reached {
    fn connect_info(connection: IncomingStream<'_, Listener>) -> Reached {
        let (address, binding) = (connection.remote_addr().ip(), connection.io().stream.binding());
        Reached { address, binding }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(until) = &mut self.request_until
            && until.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.request_until = None;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.request_until = None;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::tls::{Files, Trust, web_socket};

    /// A listener with TLS, its port, and the certificate to trust.
    async fn listener(folder: &std::path::Path, within: Duration) -> (Listener, u16, Files) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.cert, made.cert.pem()).expect("written");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
        let tls = Arc::new(Tls::load(&files).expect("sound files"));
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = tcp.local_addr().expect("an address").port();
        (Listener::new(tcp, Some(tls), within), port, files)
    }

    #[tokio::test]
    async fn hundreds_that_come_at_once_wait_to_be_let_in() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
        let allowed = allowed.ok().and_then(|allowed| allowed.trim().parse().ok());
        // As many as this machine lets wait.
        let count = allowed.unwrap_or(128_usize).min(300);
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("it listens");
        let address = listener.local_addr().expect("an address");
        let mut clients = Vec::new();
        for n in 0..count {
            let client = timeout(Duration::from_secs(10), TcpStream::connect(address)).await;
            let client = client.unwrap_or_else(|_| panic!("{n} of {count} came"));
            clients.push(client.expect("connected"));
        }
    }

    #[tokio::test]
    async fn silent_clients_hold_up_nobody_and_a_crowd_of_them_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let hour = Duration::from_secs(3_600);
        let (mut listener, port, files) = listener(folder.path(), hour).await;
        let mut silent = Vec::new();
        for _ in 0..=HANDSHAKES_MAX {
            silent.push(TcpStream::connect(("127.0.0.1", port)).await.expect("connected"));
            if silent.len().is_multiple_of(64) {
                // So that no queue of the system runs full.
                while listener.begun.len() < silent.len() {
                    let accepted = timeout(Duration::from_millis(20), listener.accept()).await;
                    assert!(accepted.is_err(), "a silent client is no connection");
                }
            }
        }
        let url = format!("wss://localhost:{port}");
        let dial = tokio::spawn(async move {
            let trust = || Trust::authorities(&files.cert);
            let _ = web_socket(&url, "test", Default::default(), trust).await;
        });
        let accepted = timeout(HANDSHAKE_WITHIN / 2, listener.accept()).await;
        let (socket, _) = accepted.expect("the handshake of who is in earnest");
        assert!(socket.stream.binding().is_some());
        assert_eq!(listener.begun.len(), HANDSHAKES_MAX);
        let ended = silent[0].read(&mut [0; 8]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "the oldest is closed");
        dial.abort();
    }

    #[tokio::test]
    async fn a_handshake_that_takes_too_long_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut listener, port, _) = listener(folder.path(), Duration::from_millis(50)).await;
        let mut silent = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        let ended = async {
            let _ = silent.read(&mut [0; 8]).await;
        };
        tokio::select! {
            () = ended => {}
            _ = listener.accept() => panic!("no connection came"),
        }
    }
}
