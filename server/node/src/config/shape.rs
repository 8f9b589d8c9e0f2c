//! The settings, each with its default; the JSON Schema and the editors' help are made from this file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use keepboth_core::limits::{BATCH_OPS_MAX, FRAME_BYTES_MAX, VALUE_BYTES_MAX};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::durability::Durability;
use crate::tls::Files;
use keepboth_core::unit::{Bytes, Period};

/// The configuration of one Keepboth node. Every key is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the node listens, keeps its data, and what it logs.
    pub server: Server,
    /// A bound on everything.
    pub limits: Limits,
    /// The other nodes.
    pub mesh: Mesh,
    /// The plugins of the server as a whole, asked in this order: who may connect, and do what.
    pub plugins: Vec<PluginConfig>,
    /// The namespaces that this node hosts, by name: 1 to 64 of `a-z 0-9 . _ -`.
    #[schemars(extend("minProperties" = 1))]
    pub namespaces: BTreeMap<String, NamespaceConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            server: Server::default(),
            limits: Limits::default(),
            mesh: Mesh::default(),
            plugins: Vec::new(),
            namespaces: BTreeMap::from([("default".to_owned(), NamespaceConfig::default())]),
        }
    }
}

impl Config {
    /// Most bytes of a value in this namespace: the smaller of its own limit and the general one.
    pub fn value_bytes_max(&self, namespace: &NamespaceConfig) -> usize {
        let general = self.limits.value_bytes_max;
        namespace.value_bytes_max.unwrap_or(general).min(general).get()
    }

    /// Lets relative paths hold from this folder.
    pub(super) fn resolve_paths(&mut self, folder: &Path) {
        let server = &mut self.server;
        let tls = server.tls.iter_mut().flat_map(|tls| [&mut tls.cert, &mut tls.key]);
        let folders = [&mut server.data, &mut server.scripts, &mut server.schemas];
        for path in folders.into_iter().chain(tls).chain(&mut self.mesh.ca) {
            *path = folder.join(&path);
        }
    }
}

/// Where the node listens, keeps its data, and what it logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address and port for clients and peers. Port 0 takes a free one.
    #[schemars(with = "String", extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// The folder of the databases and of the node's key. Relative to this file, as all paths here.
    pub data: PathBuf,
    /// The folder of the Lua scripts. Nothing outside it is run.
    pub scripts: PathBuf,
    /// The folder of the JSON Schemas. Nothing outside it is read.
    pub schemas: PathBuf,
    /// Takes up scripts and schemas by itself when they are saved. What is faulty is kept out, and the
    /// log says why.
    pub watch: bool,
    /// Allows a `listen` address that other machines reach, although anyone there may then read and
    /// write everything. Not needed once a plugin in `[[plugins]]` says who clients are.
    pub insecure: bool,
    /// The pages that may connect from a browser, as the browser names them in its Origin header:
    /// `https://notes.example.org`. Programs that send no Origin are not concerned.
    #[schemars(inner(length(min = 1)))]
    pub origins: Vec<String>,
    /// How long a stopping server waits for requests under way and for queues to empty.
    pub shutdown_grace: Period,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or by module
    /// (`info,keepboth::peers=debug`).
    pub log: String,
    /// One line of text or one JSON object for each event.
    pub log_format: LogFormat,
    /// The certificate with which the port speaks TLS, and TLS alone; without it the port speaks plain
    /// `ws://` and `http://`.
    #[schemars(with = "Tls")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            data: "data".into(),
            scripts: "scripts".into(),
            schemas: "schemas".into(),
            watch: true,
            insecure: false,
            origins: Vec::new(),
            shutdown_grace: Period::secs(10),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            tls: None,
        }
    }
}

/// The certificate of the port. Both files are read again on SIGHUP, for new connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file: the server's certificate, and behind it those of its authorities, the root left
    /// out.
    pub cert: PathBuf,
    /// A PEM file: the certificate's private key, without a passphrase.
    pub key: PathBuf,
}

impl Tls {
    /// The two files.
    pub fn files(&self) -> Files {
        Files { cert: self.cert.clone(), key: self.key.clone() }
    }
}

/// The form of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl JsonSchema for LogFormat {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LogFormat".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["text", "json"] })
    }
}

/// A bound on everything. A full queue refuses or cuts off; it never grows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most bytes of one value; at most 64 KiB. A namespace may set less.
    pub value_bytes_max: Bytes,
    /// Most bytes of one WebSocket message of a client; 4 KiB to 1 MiB. What the server sends may have 1 MiB.
    pub frame_bytes_max: Bytes,
    /// Most connections at once; further ones are turned away with status 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// Most requests of one connection that wait for their answer; then it is not read from.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub in_flight_max: usize,
    /// Most watches of one connection.
    #[schemars(range(min = 1, max = 100_000))]
    pub watches_max: usize,
    /// Most operations in one atomic batch; at most 1000.
    #[schemars(range(min = 1, max = 1_000))]
    pub batch_ops_max: usize,
    /// Most items of one answer to a list or history; the rest follows page by page.
    #[schemars(range(min = 1, max = 10_000))]
    pub page_items_max: usize,
    /// Most writes of one namespace that wait for its hooks, and for the disk; then the connections
    /// that write are not read from until there is room.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_writes_max: usize,
    /// Threads that run the hooks of one namespace.
    #[schemars(range(min = 1, max = 64))]
    pub hook_threads: usize,
    /// Most finished writes of one namespace that wait for their after-hooks; then new writes wait
    /// before they are taken.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub after_queue_max: usize,
    /// How deep writes of after-hooks may cause further ones; 0 allows none.
    #[schemars(range(min = 0, max = 64))]
    pub hook_depth_max: u8,
    /// How often the server pings each connection; one that leaves two unanswered is closed.
    pub ping_every: Period,
    /// How soon after connecting the first request must come.
    pub hello_within: Period,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            value_bytes_max: Bytes(VALUE_BYTES_MAX),
            frame_bytes_max: Bytes(FRAME_BYTES_MAX),
            connections_max: 1024,
            in_flight_max: 1024,
            watches_max: 64,
            batch_ops_max: BATCH_OPS_MAX,
            page_items_max: 1000,
            queue_writes_max: 4096,
            hook_threads: 1,
            after_queue_max: 10_000,
            hook_depth_max: 4,
            ping_every: Period::secs(25),
            hello_within: Period::secs(10),
        }
    }
}

/// The other nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mesh {
    /// The nodes to connect to: `ws://10.0.0.2:7400`, or `wss://` if they speak TLS. A connection
    /// serves both directions, so one of two nodes naming the other is enough.
    #[schemars(inner(length(min = 1)))]
    pub peers: Vec<String>,
    /// The nodes that belong to the mesh, by their ids; `keepboth status` tells a node its id. Others are
    /// admitted by invitation or by command. Whoever is admitted at one node is admitted at all.
    pub members: Vec<MemberConfig>,
    /// Where other nodes can dial this one: `wss://a.example.org:7400`. Without it they are told the
    /// `listen` address, unless that is one that means all addresses; with an empty list, nothing.
    #[schemars(with = "Vec<String>", inner(length(min = 1)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Vec<String>>,
    /// Admits whoever connects from this machine, and whoever answers on it. For trying out only.
    pub dev: bool,
    /// A PEM file with the authorities that must have signed the certificates of `wss://` peers, for
    /// the host of the URL. Without it any certificate will do: nodes know each other by their keys.
    #[schemars(with = "PathBuf")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The pause before the first new attempt to reach a lost peer; it doubles with each.
    pub reconnect_min: Period,
    /// The longest pause between attempts.
    pub reconnect_max: Period,
    /// How often the digests of connected nodes are compared, in case a live event was lost.
    pub compare_every: Period,
    /// Most bytes that wait for a slow peer; then it is marked as behind and repaired later.
    pub outbox_bytes_max: Bytes,
    /// How often a connected peer is pinged.
    pub ping_every: Period,
    /// After so long without a word a peer counts as stalled: nobody waits for it.
    pub stall_after: Period,
    /// After so long without a word the connection is ended and made anew.
    pub cut_after: Period,
    /// A peer that was away longer than this is not waited for when deletes are forgotten, and what
    /// only it still has counts as deleted when it comes back.
    pub expire: Period,
}

impl Default for Mesh {
    fn default() -> Mesh {
        Mesh {
            peers: Vec::new(),
            members: Vec::new(),
            advertise: None,
            dev: false,
            ca: None,
            reconnect_min: Period::millis(250),
            reconnect_max: Period::secs(30),
            compare_every: Period::secs(30),
            outbox_bytes_max: Bytes::kib(8 * 1024),
            ping_every: Period::secs(2),
            stall_after: Period::secs(5),
            cut_after: Period::secs(30),
            expire: Period::days(180),
        }
    }
}

/// A node that belongs to the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Its id: 64 hex characters.
    #[schemars(extend("format" = "node-id", "pattern" = "^[0-9a-f]{64}$"))]
    pub node: String,
    /// The namespaces that it may have; all if absent.
    #[schemars(with = "Vec<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
}

/// One namespace of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceConfig {
    /// Whether it is shared with the peers that host a namespace of the same name.
    pub replicate: bool,
    /// Most bytes of one value here; without it `limits.value_bytes_max` holds.
    #[schemars(with = "Bytes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_bytes_max: Option<Bytes>,
    /// Most objects here; without it there is no bound but the disk.
    #[schemars(with = "u64", range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects_max: Option<u64>,
    /// Most bytes of all values that are stored here; without it there is no bound but the disk.
    #[schemars(with = "Bytes")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<Bytes>,
    /// Most writes of clients in a second, with a burst of one second; without it there is no bound.
    /// Each operation of a batch counts. What hooks write does not.
    #[schemars(with = "u32", range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_per_second: Option<u32>,
    /// When a write is answered: with `sync` when it is on the disk; with `interval 50ms` at once, and a
    /// power cut or a crash of the operating system, though not the end of the server alone, may then
    /// cost the writes of so long before. What peers send is on the disk before they hear so in either
    /// case.
    pub durability: Durability,
    /// How much of the past of each key is kept.
    pub history: History,
    /// How long what was deleted is kept.
    pub trash: Trash,
    /// The plugins that see its writes, asked in this order.
    pub plugins: Vec<PluginConfig>,
}

impl Default for NamespaceConfig {
    fn default() -> NamespaceConfig {
        NamespaceConfig {
            replicate: true,
            value_bytes_max: None,
            objects_max: None,
            bytes_max: None,
            writes_per_second: None,
            durability: Durability::Sync,
            history: History::default(),
            trash: Trash::default(),
            plugins: Vec::new(),
        }
    }
}

/// How much of the past of each key is kept. Heads, sides of conflicts and what a peer has not
/// acknowledged stay in any case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// The values of so many of the newest versions stay.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub values: usize,
    /// The records of so many of the newest versions stay: that they were, when and where.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub records: usize,
}

impl Default for History {
    fn default() -> History {
        History { values: 10, records: 1_000 }
    }
}

/// How long what was deleted is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trash {
    /// How long the last value of a deleted key can be restored.
    pub keep: Period,
    /// How long the delete itself is remembered, once every known peer has it.
    pub forget: Period,
}

impl Default for Trash {
    fn default() -> Trash {
        Trash { keep: Period::days(30), forget: Period::days(90) }
    }
}

/// A plugin bound to a namespace or to the server. All keys but `use` are the plugin's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginConfig {
    /// The plugin's name.
    #[serde(rename = "use")]
    #[schemars(length(min = 1))]
    pub use_: String,
    /// The plugin's settings: a table.
    #[serde(flatten)]
    pub settings: serde_json::Value,
}

/// The JSON Schema of the configuration file, draft 2020-12, without `$ref`.
pub fn schema() -> serde_json::Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}
