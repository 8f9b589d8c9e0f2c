//! The connections of clients: what they share, and who may connect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use keepboth_core::ids::NodeId;
use keepboth_core::name::Namespace;
use keepboth_core::refusal::{Code, Refusal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::metrics::Metrics;
use crate::namespace::Space;
use crate::peers::Mesh;
use crate::protocol::LimitsInfo;

/// Reading: what the stores answer.
pub mod read;
/// Writing: requests on their way to the door.
pub mod write;
/// A watch: what is there, a mark, and then every change.
pub mod watch;
/// How the node and its namespaces are.
pub mod status;
/// One client from first frame to close.
pub mod connection;
/// The listening socket.
pub mod listener;

/// What all client connections share.
pub struct Clients {
    /// All namespaces of this node.
    pub spaces: BTreeMap<Namespace, Arc<Space>>,
    /// The links to other nodes, for the status.
    pub mesh: Arc<Mesh>,
    /// This node.
    pub node: NodeId,
    /// The bounds of the config.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Ends all connections, after their answers.
    pub stop: CancellationToken,
    /// All tasks of connections.
    pub tasks: TaskTracker,
    /// Room for connections.
    pub slots: Arc<Semaphore>,
    /// When the server started, by the steady clock in milliseconds.
    pub started: u64,
    /// Numbers the connections.
    pub lanes: AtomicU64,
}

impl Clients {
    /// The namespace of this name.
    pub fn space(&self, name: &Namespace) -> Result<&Arc<Space>, Refusal> {
        self.spaces.get(name).ok_or_else(|| {
            Refusal::new(
                Code::UnknownNamespace,
                format!("there is no namespace {:?}", name.as_str()),
            )
            .hint("`status` lists the namespaces of this server")
        })
    }

    /// The bounds as clients are told of them.
    pub fn limits_info(&self) -> LimitsInfo {
        LimitsInfo {
            value_bytes_max: self.limits.value_bytes_max.get(),
            key_bytes_max: keepboth_core::limits::KEY_BYTES_MAX,
            frame_bytes_max: self.limits.frame_bytes_max.get(),
            batch_ops_max: self.limits.batch_ops_max,
            page_items_max: self.limits.page_items_max,
            watches_max: self.limits.watches_max,
            in_flight_max: self.limits.in_flight_max,
        }
    }
}
