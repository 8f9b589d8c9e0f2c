//! The server: everything together, from start to graceful stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::name::Namespace;
use keepboth_core::plugin::{Factory, Plugin};
use keepboth_core::wire::SUBPROTOCOL;
use keepboth_store::OpenError;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::listener::Listener;
use crate::clients::{Clients, connection};
use crate::clock;
use crate::config::Config;
use crate::hooks::{Bound, Chain};
use crate::identity;
use crate::metrics::Metrics;
use crate::namespace::door::Write;
use crate::namespace::{Bounds, Space};
use crate::peers::{Mesh, Rules, Spaces, dial, link, socket};
use crate::protocol::Format;

/// The plugins that come with the server, in the order of the documentation.
pub const BUNDLED: &[Factory] =
    &[keepboth_schema::FACTORY, keepboth_lua::FACTORY, keepboth_audit::FACTORY];

/// Bytes that are read from a client's socket at once.
const READ_BUFFER: usize = 8 * 1024;
/// Writes of a namespace's after-hooks that wait for their way in.
const EFFECTS_MAX: usize = 256;

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
    /// A namespace's database.
    #[error("namespace {namespace}: {error}")]
    Open {
        /// Which.
        namespace: Namespace,
        /// Why.
        error: OpenError,
    },
    /// The address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its connections share.
    pub clients: Arc<Clients>,
    mesh: Arc<Mesh>,
    stop_accepting: CancellationToken,
    stop_clients: CancellationToken,
    stop_mesh: CancellationToken,
    stop_router: CancellationToken,
    tasks: TaskTracker,
    grace: std::time::Duration,
}

/// Opens all namespaces, listens, and dials the configured peers.
pub async fn start(
    config: &Config,
    plugins: Vec<(Namespace, Vec<Arc<dyn Plugin>>)>,
) -> Result<Running, StartError> {
    let started = clock::steady();
    let data = &config.server.data;
    let node = identity::load_or_make(data)?;
    let metrics = Arc::new(Metrics::default());
    let (spaces, effects) = open_all(config, plugins)?;
    let address = config.server.listen;
    let listen_error = |error| StartError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;

    let (stop_accepting, stop_clients) = (CancellationToken::new(), CancellationToken::new());
    let (stop_mesh, stop_router) = (CancellationToken::new(), CancellationToken::new());
    let shared = spaces.iter().filter(|(_, space)| space.bounds.replicate);
    let shared = shared.map(|(name, space)| (name.clone(), space.clone())).collect();
    let mesh = Mesh::new(node, shared, rules(config), stop_mesh.clone(), metrics.clone());
    let tasks = TaskTracker::new();
    let clients = Arc::new(Clients {
        spaces,
        mesh: mesh.clone(),
        node,
        limits: config.limits.clone(),
        metrics,
        stop: stop_clients.clone(),
        tasks: TaskTracker::new(),
        slots: Arc::new(Semaphore::new(config.limits.connections_max)),
        started,
        lanes: AtomicU64::new(0),
    });
    for space in clients.spaces.values() {
        let (space, stop) = (space.clone(), stop_router.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = space.tell_states() => {}
            }
        });
    }
    for wanted in effects {
        tasks.spawn(route_effects(clients.clone(), wanted, stop_router.clone()));
    }
    let door = Door { clients: clients.clone(), origins: config.server.origins.clone().into() };
    let app = router(door);
    let accepting = stop_accepting.clone();
    let listener = Listener { tcp: listener, request_within: clients.limits.hello_within.into() };
    tasks.spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(accepting.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!("the listener failed: {error}");
        }
    });
    for url in &config.mesh.peers {
        mesh.tasks.spawn(dial::keep(mesh.clone(), url.clone()));
    }
    let grace = config.server.shutdown_grace.into();
    Ok(Running {
        address,
        clients,
        mesh,
        stop_accepting,
        stop_clients,
        stop_mesh,
        stop_router,
        tasks,
        grace,
    })
}

impl Running {
    /// Stops: takes no more connections, answers what is under way, lets hooks finish, and closes the
    /// databases. What is not done within the grace is cut off. True if all was done in time.
    pub async fn stop(self) -> bool {
        self.stop_accepting.cancel();
        self.stop_clients.cancel();
        let drained = tokio::time::timeout(self.grace, async {
            self.clients.tasks.close();
            self.clients.tasks.wait().await;
            for space in self.clients.spaces.values() {
                space.settle().await;
            }
            self.stop_mesh.cancel();
            self.mesh.tasks.close();
            self.mesh.tasks.wait().await;
        });
        let in_time = drained.await.is_ok();
        self.stop_mesh.cancel();
        self.stop_router.cancel();
        let spaces: Vec<Arc<Space>> = self.clients.spaces.values().cloned().collect();
        let closed = tokio::task::spawn_blocking(move || {
            spaces.iter().for_each(|space| space.store.close());
        });
        let closed = closed.await.is_ok();
        self.tasks.close();
        let _ = tokio::time::timeout(self.grace, self.tasks.wait()).await;
        in_time && closed
    }
}

fn open_all(
    config: &Config,
    plugins: Vec<(Namespace, Vec<Arc<dyn Plugin>>)>,
) -> Result<(Spaces, Vec<Effects>), StartError> {
    let (mut spaces, mut all_effects) = (BTreeMap::new(), Vec::new());
    for (name, plugins) in plugins {
        let own = config.namespaces.get(name.as_str()).cloned().unwrap_or_default();
        let names = own.plugins.iter().map(|plugin| plugin.use_.clone());
        let bound = names.zip(plugins).map(|(name, plugin)| Bound { name, plugin }).collect();
        let limits = &config.limits;
        let bounds = Bounds {
            value_bytes_max: config.value_bytes_max(&own),
            hook_threads: limits.hook_threads,
            queue_writes_max: limits.queue_writes_max,
            after_queue_max: limits.after_queue_max,
            hook_depth_max: limits.hook_depth_max,
            replicate: own.replicate,
        };
        let file = database(&config.server.data, &name);
        let chain = Chain::new(bound);
        let (effects, wanted) = mpsc::channel(EFFECTS_MAX);
        all_effects.push(wanted);
        let opened = Space::open(name.clone(), &file, chain, bounds, effects);
        let space = opened.map_err(|error| StartError::Open { namespace: name.clone(), error })?;
        spaces.insert(name, space);
    }
    Ok((spaces, all_effects))
}

/// The file of a namespace's database.
pub fn database(data: &Path, namespace: &Namespace) -> PathBuf {
    data.join(format!("{namespace}.redb"))
}

fn rules(config: &Config) -> Rules {
    Rules {
        reconnect_min: config.mesh.reconnect_min.into(),
        reconnect_max: config.mesh.reconnect_max.into(),
        compare_every: config.mesh.compare_every.into(),
        outbox_bytes_max: config.mesh.outbox_bytes_max.get(),
        ping_every: config.limits.ping_every.into(),
        hello_within: config.limits.hello_within.into(),
    }
}

/// What the after-hooks of one namespace want written, wherever.
type Effects = mpsc::Receiver<(Namespace, Write)>;

/// Takes what after-hooks want written to the door of its namespace, as any other write. Each
/// namespace has its own, so that it waits only for what its own hooks write to.
async fn route_effects(clients: Arc<Clients>, mut wanted: Effects, stop: CancellationToken) {
    let lane = clients.lanes.fetch_add(1, Ordering::Relaxed);
    loop {
        let wanted = tokio::select! {
            () = stop.cancelled() => return,
            wanted = wanted.recv() => wanted,
        };
        let Some((namespace, mut write)) = wanted else { return };
        match clients.space(&namespace) {
            Ok(space) => {
                write.origin.now = clock::now();
                space.write(write, lane).await;
            }
            Err(refusal) => (write.reply)(Err(refusal)),
        }
    }
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
    let failed = door.clients.spaces.values().find(|space| !space.store.is_healthy());
    match (failed, door.clients.stop.is_cancelled()) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        (Some(space), _) => {
            let words = format!("the store of namespace {} has failed\n", space.name);
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
        (None, false) => "ready\n".into_response(),
    }
}

async fn metrics(State(door): State<Door>) -> Response {
    let text = door.clients.metrics.text(door.clients.spaces.values().map(AsRef::as_ref));
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], text).into_response()
}

const HELP: &str = "This is a Keepboth server. Connect by WebSocket, for instance with\n\
    websocat, and send {\"id\":1,\"status\":{}}. See also /healthz, /readyz and /metrics.\n";

/// Any other path: a WebSocket of a client or of a node.
async fn connect(
    State(door): State<Door>,
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
    let frame = clients.limits.frame_bytes_max.get();
    // A frame somewhat over the limit is read and refused in words; one far over it ends the connection.
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(4 * frame)
        .max_frame_size(4 * frame)
        .protocols([SUBPROTOCOL, Format::Json.subprotocol(), Format::MessagePack.subprotocol()]);
    let protocol = upgrade.selected_protocol().and_then(|name| name.to_str().ok()).unwrap_or("");
    if protocol == SUBPROTOCOL {
        let mesh = clients.mesh.clone();
        // The limit for clients' frames is no limit of what nodes exchange.
        let upgrade = upgrade.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
        return upgrade.on_upgrade(move |socket| async move {
            let tasks = mesh.tasks.clone();
            let _ = tasks.track_future(link::run(mesh, None, socket::answered(socket))).await;
            drop(slot);
        });
    }
    let format = Format::from_subprotocol(protocol).unwrap_or_default();
    upgrade.on_upgrade(move |socket| async move {
        clients.metrics.connections.inc();
        let (tasks, metrics) = (clients.tasks.clone(), clients.metrics.clone());
        tasks.track_future(connection::run(clients, socket, format)).await;
        metrics.connections.dec();
        drop(slot);
    })
}
