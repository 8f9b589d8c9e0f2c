//! The server: everything together, from start to graceful stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use keepboth_core::identity::NodeKey;
use keepboth_core::ids::StoreId;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::mesh::About;
use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Factory, Plugin};
use keepboth_core::session::Side;
use keepboth_core::wire::SUBPROTOCOL;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::ask::QUESTIONS_MAX;
use crate::clients::connection::{self, Entered};
use crate::clients::listener::{self, Listener, Reached};
use crate::clients::{Clients, Reload, enter};
use crate::clock;
use crate::config::{self, Config, NamespaceConfig};
use crate::gates::Gates;
use crate::hooks::{Bound, Chain};
use crate::identity;
use crate::made::Made;
use crate::metrics::Metrics;
use crate::namespace::{Bounds, MadeBy, Namespaces, NotStarted, OpenSpaceError, Setup};
use crate::peers::link::{self, Opening};
use crate::peers::roster::{self, Roster};
use crate::peers::{Me, Mesh, Rules, discover, keep, socket};
use crate::protocol::Format;
use crate::tls::{Faults, PeerTrust, Tls};

/// This software, as other nodes are told of it.
const AGENT: &str = concat!("keepboth/", env!("CARGO_PKG_VERSION"));

/// The plugins that come with the server, in the order of the documentation.
pub const BUNDLED: &[Factory] = &[
    keepboth_schema::FACTORY,
    keepboth_lua::FACTORY,
    keepboth_audit::FACTORY,
    keepboth_expiry::FACTORY,
    keepboth_auth::FACTORY,
    keepboth_index::FACTORY,
    keepboth_webhook::FACTORY,
];

/// Bytes that are read from a client's socket at once. A connection without requests holds as many.
const READ_BUFFER: usize = 7 * 512;
/// Bytes over the limit of a frame that are still read, so that it can be refused in words.
const OVER_LIMIT: usize = 64 * 1024;
/// Bytes of frames that are written to a client's socket at once.
const WRITE_BUFFER: usize = 32 * 1024;
/// Requests to read the configuration again that may wait for their turn.
const RELOADS_MAX: usize = 16;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder or file of the node.
    #[error("{what} {path}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A namespace's database, or the list of namespaces.
    #[error(transparent)]
    Open(#[from] OpenSpaceError),
    /// A plugin.
    #[error(transparent)]
    Plugin(#[from] NotStarted),
    /// The address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A certificate or key.
    #[error("{0}")]
    Tls(#[from] Faults),
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its connections share.
    pub clients: Arc<Clients>,
    /// Requests of clients to read the configuration again.
    pub reloads: mpsc::Receiver<Reload>,
    /// The links to other nodes.
    pub mesh: Arc<Mesh>,
    tls: Option<Arc<Tls>>,
    stop_accepting: CancellationToken,
    stop_clients: CancellationToken,
    stop_mesh: CancellationToken,
    tasks: TaskTracker,
    grace: std::time::Duration,
}

/// Opens all namespaces, listens, and dials the configured peers.
pub async fn start(config: &Config, plugins: config::Bound) -> Result<Running, StartError> {
    let started = clock::steady();
    let data = &config.server.data;
    let key = identity::load_or_make(data)?;
    let node = key.id();
    let metrics = Arc::new(Metrics::default());
    let tls = config.server.tls.as_ref().map(|tls| Tls::load(&tls.files())).transpose()?;
    let tls = tls.map(Arc::new);
    let rules = rules(config)?;
    let config::Bound { namespaces: plugins, gates } = plugins;
    let (wanted, by_command) = setups(config, plugins, &metrics);
    let grace = config.server.shutdown_grace.into();
    let namespaces =
        Namespaces::open(node, data, grace, wanted, by_command, metrics.plugins.clone())?;
    let address = config.server.listen;
    let listen_error = |error| StartError::Listen { address, error };
    let listener = listener::bind(address).map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;

    let (stop_accepting, stop_clients) = (CancellationToken::new(), CancellationToken::new());
    let stop_mesh = CancellationToken::new();
    let (ask_reload, reloads) = mpsc::channel(RELOADS_MAX);
    let secure = tls.is_some();
    let me = about(config, &key, address, secure, &namespaces)?;
    let instance = me.instance;
    let roster = roster(config, me)?;
    let me = Me { key: Arc::new(key), instance, agent: AGENT.to_owned() };
    let (all, counted) = (namespaces.clone(), metrics.clone());
    let mesh = Mesh::new(me, roster, all, rules, stop_mesh.clone(), counted);
    let tasks = TaskTracker::new();
    // Whatever else can go wrong at the start has gone well before a plugin runs.
    let none = Gates::new(Vec::new(), &metrics, &stop_clients);
    let gates = Gates::new(gates, &metrics, &stop_clients).start(&none, &namespaces).await?;
    let gates = gates.unwrap_or(none);
    if let Err(error) = namespaces.begin().await {
        gates.drain().await;
        gates.stop().await;
        return Err(error.into());
    }
    let clients = Arc::new(Clients {
        namespaces,
        mesh: mesh.clone(),
        node,
        gates: ArcSwap::from_pointee(gates),
        limits: ArcSwap::from_pointee(config.limits.clone()),
        metrics,
        stop: stop_clients.clone(),
        tasks: TaskTracker::new(),
        slots: Arc::new(Semaphore::new(config.limits.connections_max)),
        questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
        started,
        lanes: AtomicU64::new(0),
        reloads: ask_reload,
        not_taken: ArcSwap::default(),
    });
    let door = Door { clients: clients.clone(), origins: config.server.origins.clone().into() };
    let app = router(door).into_make_service_with_connect_info::<Reached>();
    let accepting = stop_accepting.clone();
    let within = config.limits.hello_within.into();
    let listener = Listener::new(listener, tls.clone(), within);
    tasks.spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(accepting.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!("the listener failed: {error}");
        }
    });
    config.mesh.peers.iter().for_each(|url| mesh.dial(url, None));
    mesh.tasks.spawn(discover::run(mesh.clone()));
    mesh.tasks.spawn(attend(mesh.clone()));
    Ok(Running {
        address,
        clients,
        reloads,
        mesh,
        tls,
        stop_accepting,
        stop_clients,
        stop_mesh,
        tasks,
        grace,
    })
}

impl Running {
    /// True if the port speaks TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads certificate, key and the authorities of peers again, and gives what puts them in force: new
    /// connections then go by what was in the files, open ones stay as they are.
    pub fn read_certificates(&self) -> Result<impl FnOnce() + use<'_>, Faults> {
        let server = self.tls.as_ref().map(|tls| tls.read_again()).transpose()?;
        let mesh = self.mesh.rules.trust.read_again()?;
        Ok(move || {
            server.into_iter().for_each(|put_in_force| put_in_force());
            mesh();
        })
    }

    /// Stops: takes no more connections, answers what is under way, lets hooks finish, and closes the
    /// databases. What is not done within the grace is cut off. True if all was done in time.
    pub async fn stop(mut self) -> bool {
        // Who waits for a reload hears at once that there will be none.
        self.reloads.close();
        while self.reloads.try_recv().is_ok() {}
        self.stop_accepting.cancel();
        self.stop_clients.cancel();
        let (namespaces, gates) = (&self.clients.namespaces, self.clients.gates.load_full());
        let drained = tokio::time::timeout(self.grace, async {
            namespaces.drain_plugins().await;
            gates.drain().await;
            self.clients.tasks.close();
            self.clients.tasks.wait().await;
            namespaces.settle().await;
            self.stop_mesh.cancel();
            self.mesh.tasks.close();
            self.mesh.tasks.wait().await;
        });
        let in_time = drained.await.is_ok();
        self.stop_mesh.cancel();
        let stopped = tokio::time::timeout(self.grace, async {
            namespaces.stop_plugins().await;
            gates.stop().await;
        });
        let in_time = stopped.await.is_ok() && in_time;
        let closed = self.clients.namespaces.close().await;
        self.tasks.close();
        let _ = tokio::time::timeout(self.grace, self.tasks.wait()).await;
        in_time && closed
    }
}

/// What the namespaces of the configuration get, and what those that are made by command get.
pub fn setups(
    config: &Config,
    plugins: Vec<(Namespace, Vec<Made<dyn Plugin>>)>,
    metrics: &Metrics,
) -> (Vec<(Namespace, Setup)>, Setup) {
    let wanted = plugins.into_iter().map(|(name, plugins)| {
        let own = config.namespaces.get(name.as_str()).cloned().unwrap_or_default();
        let bound = plugins.into_iter().map(|made| {
            let meters = Arc::new(metrics.plugins.of(Some(&name), &made.name));
            Arc::new(Bound::new(made, meters))
        });
        let (bounds, chain) = (Bounds::of(config, &own), Chain::new(bound.collect()));
        (name, Setup { bounds, chain, made_by: MadeBy::Config })
    });
    let by_command = Setup {
        bounds: Bounds::of(config, &NamespaceConfig::default()),
        chain: Chain::default(),
        made_by: MadeBy::Command,
    };
    (wanted.collect(), by_command)
}

/// What this node says of itself.
fn about(
    config: &Config,
    key: &NodeKey,
    address: SocketAddr,
    secure: bool,
    namespaces: &Namespaces,
) -> Result<About, StartError> {
    let mut instance = [0; 16];
    getrandom::fill(&mut instance).map_err(|error| StartError::Io {
        what: "no randomness to tell runs of this node apart",
        path: config.server.data.clone(),
        error: std::io::Error::other(error.to_string()),
    })?;
    let addresses = match &config.mesh.advertise {
        Some(advertised) => advertised.clone(),
        None if address.ip().is_unspecified() => {
            tracing::warn!("other nodes are not told where this one is: set mesh.advertise");
            Vec::new()
        }
        None => vec![format!("{}://{address}", if secure { "wss" } else { "ws" })],
    };
    Ok(About {
        node: key.id(),
        counter: 0,
        agent: AGENT.to_owned(),
        addresses,
        namespaces: namespaces.shared().keys().cloned().collect(),
        links: Vec::new(),
        instance,
    })
}

/// The members of the mesh as they are on disk, and those that the config names.
fn roster(config: &Config, me: About) -> Result<Roster, StartError> {
    let path = config.server.data.join(roster::FILE);
    let failed = |error| StartError::Io { what: "the members of the mesh in", path, error };
    let mut roster = Roster::load(&config.server.data, me).map_err(failed.clone())?;
    for member in &config.mesh.members {
        // The config was checked: what is not in good form is not there.
        let Ok(node) = member.node.parse() else { continue };
        let names = member.namespaces.as_deref().map(|names| {
            names.iter().filter_map(|name| Namespace::new(name).ok()).collect::<Vec<_>>()
        });
        match roster.members.grant(&node) {
            _ if node == roster.members.me() => {}
            Some(grant) if !grant.admitted => tracing::warn!(
                %node,
                "mesh.members names a node that was removed from the mesh; `keepboth peer add` takes it back"
            ),
            Some(grant) if grant.namespaces == names => {}
            _ => {
                roster.members.decide(node, true, names, clock::now());
            }
        }
    }
    roster.save().map_err(failed)?;
    Ok(roster)
}

/// Tells the other nodes of namespaces that come and go, and lets each one forget in its time.
async fn attend(mesh: Arc<Mesh>) {
    let mut changed = mesh.namespaces.changed();
    let (mut keepers, mut kept) = (JoinSet::new(), BTreeMap::<Namespace, StoreId>::new());
    loop {
        let spaces = mesh.namespaces.all();
        kept.retain(|name, _| spaces.contains_key(name));
        while keepers.try_join_next().is_some() {}
        for (name, space) in spaces.iter() {
            // One that was removed and made anew has another store.
            if kept.insert(name.clone(), space.id()) != Some(space.id()) {
                keepers.spawn(keep::run(mesh.clone(), space.clone()));
            }
        }
        tokio::select! {
            () = mesh.stop.cancelled() => return,
            gone = changed.changed() => if gone.is_err() { return },
        }
        mesh.say_namespaces();
    }
}

fn rules(config: &Config) -> Result<Rules, Faults> {
    Ok(Rules {
        reconnect_min: config.mesh.reconnect_min.into(),
        reconnect_max: config.mesh.reconnect_max.into(),
        compare_every: config.mesh.compare_every.into(),
        outbox_bytes_max: config.mesh.outbox_bytes_max.get(),
        ping_every: config.mesh.ping_every.into(),
        stall_after: config.mesh.stall_after.into(),
        cut_after: config.mesh.cut_after.into(),
        expire: config.mesh.expire.into(),
        dev: config.mesh.dev,
        hello_within: config.limits.hello_within.into(),
        trust: Arc::new(PeerTrust::load(config.mesh.ca.as_deref())?),
    })
}

/// What the HTTP side shares.
#[derive(Clone)]
struct Door {
    clients: Arc<Clients>,
    origins: Arc<[String]>,
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(get(connect))
        .layer(DefaultBodyLimit::max(0))
        .layer(map_response(no_second_request))
        .with_state(door)
}

/// A connection that became no WebSocket is closed after its answer, so none is held for nothing.
async fn no_second_request(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn ready(State(door): State<Door>) -> Response {
    if door.clients.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    // All are asked: one that has failed is tried again.
    let all = door.clients.namespaces.all();
    match all.values().filter(|space| !space.store.is_healthy()).count() {
        0 => "ready\n".into_response(),
        // Everybody may ask here: which one it is says `status`, to those who may know it.
        _ => {
            let words = "the store of a namespace has failed; see `keepboth status`\n";
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}

async fn metrics(
    State(door): State<Door>,
    ConnectInfo(reached): ConnectInfo<Reached>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = door.clients.let_see_metrics(&reached, &headers).await {
        return refused.into_response();
    }
    let (clients, peers) = (&door.clients, door.clients.peer_figures());
    let text = clients.metrics.text(&clients.namespaces.all(), &peers);
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], text).into_response()
}

const HELP: &str = "This is a Keepboth server. Connect by WebSocket, for instance with\n\
    websocat, and send {\"id\":1,\"status\":{}}. See also /healthz, /readyz and /metrics.\n";

/// Any other path: a WebSocket of a client or of a node.
async fn connect(
    State(door): State<Door>,
    ConnectInfo(reached): ConnectInfo<Reached>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return (StatusCode::UPGRADE_REQUIRED, [(header::UPGRADE, "websocket")], HELP)
            .into_response();
    };
    if let Some(origin) = headers.get(header::ORIGIN)
        && !door.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    {
        door.clients.metrics.connections_refused.inc();
        let words = "this Origin is not on the server's list (server.origins)\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let clients = door.clients;
    let Ok(slot) = clients.slots.clone().try_acquire_owned() else {
        clients.metrics.connections_refused.inc();
        let words = "the server has as many connections as it may (limits.connections_max)\n";
        return (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    };
    let frame = clients.limits.load().frame_bytes_max.get();
    // A frame somewhat over the limit is read and refused in words; one further over it ends the connection.
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(frame + OVER_LIMIT)
        .max_frame_size(frame + OVER_LIMIT)
        .protocols([SUBPROTOCOL, Format::Json.subprotocol(), Format::MessagePack.subprotocol()]);
    let protocol = upgrade.selected_protocol().and_then(|name| name.to_str().ok()).unwrap_or("");
    let node = protocol == SUBPROTOCOL;
    let gates = match clients.let_in(&reached, &headers, node).await {
        Ok(gates) => gates,
        Err(refused) => return refused.into_response(),
    };
    let Reached { address, binding } = reached;
    if node {
        let mesh = clients.mesh.clone();
        // The limit for clients' frames is no limit of what nodes exchange.
        let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
        return upgrade.on_upgrade(move |socket| async move {
            let (tasks, stop) = (mesh.tasks.clone(), mesh.stop.child_token());
            let (url, side) = (None, Side::Answered);
            let opening = Opening { url, side, address: Some(address), binding, stop };
            let link = link::run(mesh, opening, socket::answered(socket));
            let _ = tasks.track_future(link).await;
            drop(slot);
        });
    }
    let format = Format::from_subprotocol(protocol).unwrap_or_default();
    let access = match enter::access(&gates, &headers, address).await {
        Ok(access) => access,
        Err(refused) => {
            clients.metrics.connections_refused.inc();
            return refused.into_response();
        }
    };
    let entered = Entered { format, address, gates, access };
    upgrade.write_buffer_size(WRITE_BUFFER).on_upgrade(move |socket| {
        clients.metrics.connections.inc();
        let (tasks, metrics) = (clients.tasks.clone(), clients.metrics.clone());
        // Boxed: every future around it would hold its room twice.
        let served = Box::pin(tasks.track_future(connection::run(clients, socket, entered)));
        async move {
            served.await;
            metrics.connections.dec();
            drop(slot);
        }
    })
}
