//! The connections of clients: what they share, and who may connect.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::Refusal;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::gates::Gates;
use crate::metrics::Metrics;
use crate::namespace::{Namespaces, Space};
use crate::not_taken::NotTaken;
use crate::peers::Mesh;
use crate::protocol::{LimitsInfo, Reloaded};

/// Whether a client may have its request carried out.
mod authorize;
/// Reading: what the stores answer.
pub mod read;
/// Writing: requests on their way to the door.
pub mod write;
/// A watch: what is there, a mark, and then every change.
pub mod watch;
/// How the node and its namespaces are.
pub mod status;
/// What operators ask for: namespaces come and go, the configuration is read again.
pub mod manage;
/// What operators ask about other nodes.
pub mod members;
/// What operators decide on versions that are hidden and keys that were deleted.
pub mod judge;
/// What clients ask of plugins.
pub mod ask;
/// What operators ask of scripts.
mod hook_log;
/// Two halves of one task that take turns.
mod turns;
/// One client from first frame to close.
pub mod connection;
/// What goes out to a client, and the side that writes it.
pub mod out;
/// Who comes in over HTTP.
pub mod enter;
/// The listening socket.
pub mod listener;

/// What all client connections share.
pub struct Clients {
    /// All namespaces of this node.
    pub namespaces: Arc<Namespaces>,
    /// The links to other nodes, for the status.
    pub mesh: Arc<Mesh>,
    /// This node.
    pub node: NodeId,
    /// Who may connect, and do what.
    pub gates: ArcSwap<Gates>,
    /// The bounds of the config.
    pub limits: ArcSwap<Limits>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Ends all connections, after their answers.
    pub stop: CancellationToken,
    /// All tasks of connections.
    pub tasks: TaskTracker,
    /// Room for connections.
    pub slots: Arc<Semaphore>,
    /// Room for questions to plugins.
    pub questions: Arc<Semaphore>,
    /// When the server started, by the steady clock in milliseconds.
    pub started: u64,
    /// Numbers the connections.
    pub lanes: AtomicU64,
    /// Asks whoever has the configuration to read it again.
    pub reloads: mpsc::Sender<Reload>,
    /// What stands in files and is not in force, for the status.
    pub not_taken: ArcSwap<NotTaken>,
}

/// A request to read the configuration again; the answer goes here.
pub type Reload = oneshot::Sender<Result<Reloaded, Refusal>>;

impl Clients {
    /// The namespace of this name.
    pub fn space(&self, name: &Namespace) -> Result<Arc<Space>, Refusal> {
        self.namespaces.need(name)
    }

    /// The bounds as clients are told of them.
    pub fn limits_info(&self) -> LimitsInfo {
        let limits = self.limits.load();
        LimitsInfo {
            value_bytes_max: limits.value_bytes_max.get(),
            key_bytes_max: keepboth_core::limits::KEY_BYTES_MAX,
            frame_bytes_max: limits.frame_bytes_max.get(),
            batch_ops_max: limits.batch_ops_max,
            page_items_max: limits.page_items_max,
            watches_max: limits.watches_max,
            in_flight_max: limits.in_flight_max,
        }
    }
}
