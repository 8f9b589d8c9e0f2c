//! Real servers of their own process on free ports, and a WebSocket client that is not ours.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
pub use keepboth::cli::demo::link::Wire;
use keepboth::cli::demo::node::Node;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// After this a test that waits has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keepboth-node"))
}

/// The program with the plugins of `tests/own`.
pub fn own_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_keepboth-own"))
}

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// Exit code and stderr of a command of the program with its own plugins.
pub async fn run_own(words: &[&str], config: &Path) -> (i32, String) {
    let output = Command::new(own_program())
        .args(words)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output();
    let output = timeout(PATIENCE, output).await.expect("an end in time").expect("the program");
    let text = String::from_utf8(output.stderr).expect("text");
    (output.status.code().expect("an exit code"), text)
}

/// What `keepboth check` says of this configuration, and its exit code.
pub async fn check_config(config: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).expect("written");
    let (code, text) = run_own(&["check"], &file).await;
    (code, text.replace(&format!("{}/", folder.path().display()), ""))
}

/// A server with its folder; killed and removed when dropped.
pub struct Server {
    node: Option<Node>,
    program: PathBuf,
    pub folder: TempDir,
}

impl Server {
    /// Starts a server with this configuration. Port, data, scripts and schemas are set if it does not.
    pub async fn start(config: &str) -> Server {
        Server::start_with(config, |_| {}).await
    }

    /// As [`Server::start`], of another program.
    pub async fn start_program(program: &Path, config: &str) -> Server {
        Server::start_in(program, TempDir::new().expect("a folder"), config).await
    }

    /// As [`Server::start`], after files were put into its folder.
    pub async fn start_with(config: &str, prepare: impl FnOnce(&Path)) -> Server {
        let folder = TempDir::new().expect("a folder");
        prepare(folder.path());
        Server::start_in(program(), folder, config).await
    }

    async fn start_in(program: &Path, folder: TempDir, config: &str) -> Server {
        std::fs::write(folder.path().join("config.toml"), whole(config)).expect("a config");
        let mut server = Server { node: None, program: program.to_owned(), folder };
        server.go_on().await;
        server
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Starts again on the same folder, on another port.
    pub async fn go_on(&mut self) {
        let node = Node::start(&self.program, &self.config()).await;
        self.node = Some(node.expect("a server that starts"));
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("a running server")
    }

    pub fn url(&self) -> String {
        self.node().url()
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.node().address
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.node().process().expect("a running server")
    }

    pub async fn kill(&mut self) {
        self.node.take().expect("a running server").kill().await.expect("killed");
    }

    /// Stops by SIGTERM; the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.node.take().expect("a running server").stop().await.expect("stopped")
    }

    /// Has the server read its configuration again, by SIGHUP.
    pub async fn hang_up(&self) {
        self.signal("HUP").await;
    }

    /// Sends a signal to the process, for instance `STOP`, which holds it as a stuck machine would.
    pub async fn signal(&self, name: &str) {
        self.node().signal(name).await.expect("a signal");
    }

    /// Writes another configuration into the server's folder.
    pub fn rewrite(&self, config: &str) {
        std::fs::write(self.config(), whole(config)).expect("a config");
    }

    /// Asks over HTTP with these headers; the whole answer.
    pub async fn get(&self, path: &str, headers: &[&str]) -> String {
        let mut socket = TcpStream::connect(self.address()).await.expect("connected");
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = timeout(PATIENCE, socket.read_to_string(&mut answer)).await;
        read.expect("an answer in time").expect("an answer");
        answer
    }

    pub async fn metrics(&self) -> String {
        self.get("/metrics", &[]).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A client that trusts the certificate beside the configuration, if the server speaks TLS.
    pub async fn client(&self) -> Client {
        let ca = self.folder.path().join("cert.pem");
        Client::try_connect(&self.url(), None, &ca).await.expect("a connection")
    }

    /// Waits until the namespace is in this state.
    pub async fn until(&self, namespace: &str, state: &str) {
        let mut client = self.client().await;
        client.ok(json!({"watch": {"ns": namespace}})).await;
        let status = client.ok(json!({"status": {"ns": namespace}})).await;
        if status["namespaces"][0]["state"] == state {
            return;
        }
        client.event(|event| event["type"] == "state" && event["state"] == state).await;
    }
}

fn whole(config: &str) -> String {
    let project = project();
    let server = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nscripts = {:?}\nschemas = {:?}\n",
        project.join("scripts"),
        project.join("schemas")
    );
    let dev = if config.contains("[mesh]") { "" } else { "[mesh]\ndev = true\n" };
    // A test that saves scripts says itself when they are taken up.
    let watch = if config.contains("watch = ") { "" } else { "watch = false\n" };
    let server = format!("{server}{watch}");
    match config.contains("[server]\n") {
        true => format!("{}{dev}", config.replacen("[server]\n", &format!("[server]\n{watch}"), 1)),
        false => format!("{server}{dev}{config}"),
    }
}

/// A TLS connection over this one, to a server whose certificate is one of these or is signed by one.
pub async fn secure(
    host: &str,
    tcp: TcpStream,
    ca: &Path,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("certificates") {
        roots.add(certificate.expect("a certificate")).expect("a certificate");
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(roots)
    .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, tcp).await.map_err(|e| e.to_string())
}

/// A plain WebSocket client that speaks JSON.
pub struct Client {
    socket: WebSocketStream<Box<dyn Io>>,
    next: u64,
    /// Pushed frames that came while an answer was waited for.
    pushed: Vec<Json>,
}

/// What carries a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Client {
    pub async fn connect(url: &str, protocol: Option<&str>) -> Client {
        Client::try_connect(url, protocol, Path::new("/nowhere")).await.expect("a connection")
    }

    /// Connects, or says why not. With `wss://` the server's certificate must be one of these, or be
    /// signed by one of them.
    pub async fn try_connect(
        url: &str,
        protocol: Option<&str>,
        ca: &Path,
    ) -> Result<Client, String> {
        let mut request = url.into_client_request().expect("a URL");
        if let Some(protocol) = protocol {
            let protocol = protocol.parse().expect("a protocol");
            request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        }
        let uri = request.uri();
        let (host, port) = (uri.host().expect("a host"), uri.port_u16().expect("a port"));
        let tcp = TcpStream::connect((host, port)).await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).expect("a socket");
        let stream: Box<dyn Io> = match uri.scheme_str() {
            Some("wss") => Box::new(secure(host, tcp, ca).await?),
            _ => Box::new(tcp),
        };
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (socket, _) = opened.map_err(|e| e.to_string())?;
        Ok(Client { socket, next: 1, pushed: Vec::new() })
    }

    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("sent");
    }

    /// Sends to a server that may end the connection meanwhile.
    pub async fn send_whatever_comes(&mut self, text: &str) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// True when the connection is at its end.
    pub async fn ended(&mut self) -> bool {
        // Pings are no progress.
        let until = Instant::now() + PATIENCE;
        loop {
            match timeout_at(until, self.socket.next()).await.expect("an end in time") {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return true,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends these in as few writes as their bytes allow, and then looks for what comes.
    pub async fn send_together(&mut self, texts: impl Iterator<Item = String>) {
        for text in texts {
            self.socket.feed(Message::text(text)).await.expect("sent");
        }
        self.socket.flush().await.expect("sent");
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// The next message that is not a ping.
    pub async fn message(&mut self) -> Message {
        // Pings are no progress.
        let until = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(until, self.socket.next()).await.expect("a message in time");
            match next.expect("an open connection").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub async fn frame(&mut self) -> Json {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("not a text frame: {other:?}"),
        }
    }

    /// Sends a frame without waiting; its id.
    pub async fn ask(&mut self, mut frame: Json) -> u64 {
        let id = self.next;
        self.next += 1;
        frame["id"] = id.into();
        self.send_text(&frame.to_string()).await;
        id
    }

    /// The answer to an id, whole.
    pub async fn answer(&mut self, id: u64) -> Json {
        loop {
            let frame = self.frame().await;
            if frame["id"] == id {
                return frame;
            }
            self.pushed.push(frame);
        }
    }

    /// Asks, and gives the whole answer; None if the connection ends first. Whoever asks sets a time.
    pub async fn try_ask(&mut self, mut frame: Json) -> Option<Json> {
        let id = self.next;
        self.next += 1;
        frame["id"] = id.into();
        self.socket.send(Message::text(frame.to_string())).await.ok()?;
        loop {
            let Message::Text(text) = self.socket.next().await?.ok()? else { continue };
            let answer: Json = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == id {
                return Some(answer);
            }
        }
    }

    /// Asks and takes what stands in `ok`.
    pub async fn ok(&mut self, frame: Json) -> Json {
        let words = frame.to_string();
        let id = self.ask(frame).await;
        let mut answer = self.answer(id).await;
        assert!(answer["error"].is_null(), "{words}: {answer}");
        answer["ok"].take()
    }

    /// Asks and takes what stands in `error`.
    pub async fn error(&mut self, frame: Json) -> Json {
        let words = frame.to_string();
        let id = self.ask(frame).await;
        let mut answer = self.answer(id).await;
        assert!(answer["ok"].is_null(), "{words}: {answer}");
        answer["error"].take()
    }

    pub async fn put(&mut self, namespace: &str, key: &str, value: Json) -> Json {
        self.ok(json!({"put": {"ns": namespace, "key": key, "value": value}})).await
    }

    pub async fn get(&mut self, namespace: &str, key: &str) -> Json {
        self.ok(json!({"get": {"ns": namespace, "key": key}})).await["value"].take()
    }

    /// Forgets the pushed frames that came while answers were waited for; how many there were.
    pub fn forget_pushed(&mut self) -> usize {
        std::mem::take(&mut self.pushed).len()
    }

    /// The next pushed frame.
    pub async fn push(&mut self) -> Json {
        if !self.pushed.is_empty() {
            return self.pushed.remove(0);
        }
        let frame = self.frame().await;
        assert!(frame["id"].is_null(), "an answer nobody waits for: {frame}");
        frame
    }

    /// The next event of a key: what a watch tells of states is passed over.
    pub async fn change(&mut self) -> Json {
        self.event(|event| !event.is_null() && event["type"] != "state").await
    }

    /// The next event of which this is true; others are passed over.
    pub async fn event(&mut self, wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let mut frame = self.push().await;
            if wanted(&frame["event"]) {
                return frame["event"].take();
            }
        }
    }

    /// Every object of a namespace: name to version and value.
    pub async fn objects(&mut self, namespace: &str) -> Json {
        let mut objects = serde_json::Map::new();
        let mut after = Json::Null;
        loop {
            let mut list = json!({"list": {"ns": namespace, "values": true}});
            if !after.is_null() {
                list["list"]["after"] = after;
            }
            let page = self.ok(list).await;
            for item in page["items"].as_array().expect("items") {
                let name = item["name"].as_str().expect("a name").to_owned();
                objects.insert(name, json!([item["version"], item["value"]]));
            }
            after = page["next"].clone();
            if after.is_null() {
                return objects.into();
            }
        }
    }
}
