//! Dialling a node, again and again, with growing pauses that differ from node to node.

use std::sync::Arc;
use std::time::Duration;

use keepboth_core::handshake::Token;
use keepboth_core::ids::NodeId;
use keepboth_core::limits::FRAME_BYTES_MAX;
use keepboth_core::session::Side;
use keepboth_core::wire::SUBPROTOCOL;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use super::link::{self, End, Opening};
use super::{Mesh, one_line, socket};
use crate::tls;

/// How long one attempt to connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Whom to dial, and where.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it may be; tried in turn.
    pub urls: Vec<String>,
    /// Who it is, if that is known.
    pub node: Option<NodeId>,
    /// What invites this node, if it is new.
    pub token: Option<Token>,
}

/// The pauses between attempts.
struct Pause {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Pause {
    /// Between half of the pause and all of it, so that nodes do not come back in step.
    fn take(&mut self) -> Duration {
        let jitter = 0.5 + f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX) / 2.0;
        let pause = self.next.mul_f64(jitter);
        self.next = (self.next * 2).min(self.max);
        pause
    }

    fn reset(&mut self) {
        self.next = self.min;
    }
}

/// Keeps a link to a node until `stop`. It ends by itself where this node would dial itself.
pub async fn keep(mesh: Arc<Mesh>, mut target: Target, stop: CancellationToken) {
    let (min, max) = (mesh.rules.reconnect_min, mesh.rules.reconnect_max);
    let mut pause = Pause { next: min, min, max };
    let mut complaint = String::new();
    for attempt in 0_usize.. {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wait_while_connected(&mesh, target.node) => {}
        }
        let Some(url) = target.urls.get(attempt % target.urls.len().max(1)).cloned() else {
            return;
        };
        let Some(outcome) = connect(&mesh, &url, &target, &stop).await else { return };
        if stop.is_cancelled() {
            return;
        }
        let error = match outcome {
            Ok((peer, end)) => {
                if let Some(peer) = peer {
                    target.node = Some(peer);
                    // An invitation is for one use; from now on the node is a member.
                    target.token = None;
                }
                // One that refuses what this node says, or is refused, would be so again at once; and two
                // copies of a node would drive each other out without end.
                let again = matches!(end, End::Refused(_) | End::Rejected(_) | End::Duplicate);
                if peer.is_some() && !again {
                    pause.reset();
                }
                if end == End::Itself {
                    mesh.note(&url, |dialled| dialled.error = Some(end.to_string()));
                    return tracing::info!(url, "this is the node itself, which it will not dial");
                }
                (!matches!(end, End::Duplicate | End::Anew)).then(|| end.to_string())
            }
            Err(error) => Some(error),
        };
        match error.map(|error| one_line(&error)) {
            None => complaint.clear(),
            Some(error) => {
                if error == complaint {
                    tracing::debug!(url, "{error}");
                } else {
                    tracing::warn!(url, "not connected, and tried again: {error}");
                    complaint.clone_from(&error);
                }
                mesh.note(&url, |dialled| dialled.error = Some(error));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause.take()) => {}
        }
    }
}

/// The other node may have dialled this one: then there is nothing to do until that link ends.
async fn wait_while_connected(mesh: &Mesh, node: Option<NodeId>) {
    let Some(node) = node else { return };
    loop {
        let changed = mesh.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if !mesh.is_connected(&node) {
            return;
        }
        changed.await;
    }
}

/// Connects, and stays until the link ends. None if it is told to stop before there is one; a link that
/// is up ends in good order.
async fn connect(
    mesh: &Arc<Mesh>,
    url: &str,
    target: &Target,
    stop: &CancellationToken,
) -> Option<Result<(Option<NodeId>, End), String>> {
    mesh.note(url, |_| {});
    let opened = tokio::select! {
        () = stop.cancelled() => return None,
        opened = timeout(CONNECT_WITHIN, open(mesh, url)) => opened,
    };
    let late = |_| Err(format!("{url}: no answer within {} s", CONNECT_WITHIN.as_secs()));
    let socket = match opened.unwrap_or_else(late) {
        Ok(socket) => socket,
        Err(error) => return Some(Err(error)),
    };
    let address = socket.get_ref().peer_address().map(|address| address.ip());
    let binding = socket.get_ref().binding();
    let side = Side::Dialled { expected: target.node, token: target.token.clone() };
    let stop = stop.child_token();
    let opening = Opening { url: Some(url.to_owned()), side, address, binding, stop };
    Some(Ok(link::run(mesh.clone(), opening, socket::dialled(socket)).await))
}

async fn open(mesh: &Mesh, url: &str) -> Result<WebSocketStream<tls::Stream>, String> {
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let dial = tls::web_socket(url, SUBPROTOCOL, config, || Ok(mesh.rules.trust.now()));
    dial.await.map_err(|e| format!("{url}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_taken_by_half_at_least() {
        let mut pause = Pause { next: ms(100), min: ms(100), max: ms(500) };
        for _ in 0..2 {
            for whole in [100, 200, 400, 500, 500, 500] {
                let taken = pause.take();
                assert!(ms(whole / 2) <= taken && taken <= ms(whole), "{taken:?} of {whole} ms");
            }
            pause.reset();
        }
    }

    #[test]
    fn pauses_of_equal_length_differ() {
        let mut pause = Pause { next: ms(1_000), min: ms(1_000), max: ms(1_000) };
        let first = pause.take();
        assert!((0..100).any(|_| pause.take() != first), "always {first:?}");
    }
}
