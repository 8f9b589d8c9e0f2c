//! Dialling a configured peer, again and again, with growing pauses that differ from node to node.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use keepboth_core::ids::NodeId;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::wire::SUBPROTOCOL;

use super::link::{self, End};
use super::{Mesh, one_line, socket};

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Keeps a link to the node at this URL until the mesh stops.
pub async fn keep(mesh: Arc<Mesh>, url: String) {
    let mut pause = mesh.rules.reconnect_min;
    let (mut node, mut complaint) = (None, String::new());
    mesh.note(&url, |_| {});
    loop {
        wait_while_connected(&mesh, node).await;
        let outcome = tokio::select! {
            () = mesh.stop.cancelled() => return,
            outcome = connect(&mesh, &url) => outcome,
        };
        let error = match outcome {
            Ok((Some(peer), end)) => {
                node = Some(peer);
                // One that refuses what this node says, or is refused, would be so again at once.
                if !matches!(end, End::Refused(_) | End::Rejected(_)) {
                    pause = mesh.rules.reconnect_min;
                }
                complaint.clear();
                (end != End::Duplicate).then(|| end.to_string())
            }
            Ok((None, end)) => Some(end.to_string()),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            let error = one_line(&error);
            if error == complaint {
                tracing::debug!(url, "{error}");
            } else {
                tracing::warn!(url, "not connected, and tried again: {error}");
                complaint.clone_from(&error);
            }
            mesh.note(&url, |info| info.error = Some(error));
        }
        // Between half of the pause and all of it, so that nodes do not come back in step.
        let jitter = 0.5 + f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX) / 2.0;
        tokio::select! {
            () = mesh.stop.cancelled() => return,
            () = sleep(pause.mul_f64(jitter)) => {}
        }
        pause = (pause * 2).min(mesh.rules.reconnect_max);
    }
}

/// The other node may have dialled this one: then there is nothing to do until that link ends.
async fn wait_while_connected(mesh: &Mesh, node: Option<NodeId>) {
    let Some(node) = node else { return };
    loop {
        let changed = mesh.changed.notified();
        if !mesh.is_connected(&node) {
            return;
        }
        tokio::select! {
            () = changed => {}
            () = mesh.stop.cancelled() => return,
        }
    }
}

async fn connect(mesh: &Arc<Mesh>, url: &str) -> Result<(Option<NodeId>, End), String> {
    let mut request = url.into_client_request().map_err(|e| format!("{url}: {e}"))?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let dial = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    let (socket, _) = timeout(CONNECT_WITHIN, dial)
        .await
        .map_err(|_| format!("{url}: no answer within {} s", CONNECT_WITHIN.as_secs()))?
        .map_err(|e| format!("{url}: {e}"))?;
    Ok(link::run(mesh.clone(), Some(url.to_owned()), socket::dialled(socket)).await)
}
