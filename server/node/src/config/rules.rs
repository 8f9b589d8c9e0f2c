//! What a schema cannot say: settings that must fit to each other or to the world.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Uri;
use keepboth_core::limits::{FRAME_BYTES_MAX, VALUE_BYTES_MAX, figure};
use keepboth_core::mesh::ADDRESSES_MAX;
use keepboth_core::name::Namespace;
use tracing_subscriber::EnvFilter;

use super::mistake::Mistake;
use super::shape::{Config, Limits, Mesh, NamespaceConfig, Server};
use super::tree::join;
use keepboth_core::unit::{Bytes, Period};

/// Fewest bytes of a frame: a value of a few hundred bytes with its envelope always fits.
const FRAME_BYTES_MIN: usize = 4_096;

/// All mistakes of settings that are each well formed. Settings in `faulty` were not and now hold
/// their default, so nothing is said that depends on them.
pub(super) fn find(config: &Config, faulty: &BTreeSet<String>) -> Vec<Mistake> {
    let mut found = Vec::new();
    server(&config.server, &mut found);
    limits(&config.limits, &mut found);
    mesh(&config.mesh, &mut found);
    namespaces(config, &mut found);
    let sound = |a: &str, b: &str| !faulty.contains(a) && !faulty.contains(b);
    // With plugins of the server it depends on whether one of them says who clients are.
    if sound("/server/listen", "/server/insecure") && config.plugins.is_empty() {
        found.extend(open_to_all(&config.server));
    }
    if sound("/mesh/reconnect_min", "/mesh/reconnect_max") {
        found.extend(pauses(&config.mesh));
    }
    if sound("/mesh/ping_every", "/mesh/stall_after") && sound("/mesh/cut_after", "/mesh/cut_after")
    {
        found.extend(silences(&config.mesh));
    }
    found
}

fn server(server: &Server, found: &mut Vec<Mistake>) {
    for (i, origin) in server.origins.iter().enumerate().filter(|(_, o)| !o.is_empty()) {
        if !is_origin(origin) {
            let words = format!("{origin:?} is not an Origin as browsers send it");
            found.push(Mistake::new(format!("/server/origins/{i}"), words).hint(
                "an Origin is scheme, host and port without a path: https://notes.example.org",
            ));
        }
    }
    if let Err(why) = EnvFilter::builder().parse(&server.log) {
        found.push(
            Mistake::new("/server/log", format!("{:?} is no log filter: {why}", server.log))
                .hint("for instance \"info\" or \"info,keepboth::peers=debug\""),
        );
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let plain = |c: char| !c.is_ascii_uppercase() && !c.is_whitespace() && !"/?#@*".contains(c);
    !scheme.is_empty() && !host.is_empty() && host.chars().all(plain)
}

/// Nobody keeps strangers out.
pub(super) fn open_to_all(server: &Server) -> Option<Mistake> {
    if server.listen.ip().is_loopback() || server.insecure {
        return None;
    }
    let words = format!(
        "listening on {} would let everyone who reaches it read and write everything: no plugin says who clients are",
        server.listen
    );
    let hint = "listen on 127.0.0.1, use a plugin in [[plugins]] that does, or set insecure = true in \
                [server] if that network is trusted";
    Some(Mistake::new("/server/listen", words).hint(hint))
}

fn limits(limits: &Limits, found: &mut Vec<Mistake>) {
    found.extend(bounds("/limits/value_bytes_max", limits.value_bytes_max, 1, VALUE_BYTES_MAX));
    let frame = limits.frame_bytes_max;
    found.extend(bounds("/limits/frame_bytes_max", frame, FRAME_BYTES_MIN, FRAME_BYTES_MAX));
    found.extend(some_time("/limits/ping_every", limits.ping_every));
    found.extend(some_time("/limits/hello_within", limits.hello_within));
}

fn bounds(pointer: &str, size: Bytes, min: usize, max: usize) -> Option<Mistake> {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    let (is, limit) = match size.get() {
        n if n < min => ("at least", min),
        n if n > max => ("at most", max),
        _ => return None,
    };
    let (limit_text, size_text) = (figure(limit), figure(size.get()));
    let words = format!("{name} is {is} {limit_text} bytes, not {size_text}");
    Some(Mistake::new(pointer, words).hint(format!("the limit is \"{}\"", Bytes(limit))))
}

fn some_time(pointer: &str, period: Period) -> Option<Mistake> {
    let name = pointer.rsplit('/').next().unwrap_or_default();
    (period.get() == Duration::ZERO)
        .then(|| Mistake::new(pointer, format!("{name} is at least 1ms, not {period}")))
}

fn mesh(mesh: &Mesh, found: &mut Vec<Mistake>) {
    for (i, peer) in mesh.peers.iter().enumerate().filter(|(_, peer)| !peer.is_empty()) {
        let pointer = format!("/mesh/peers/{i}");
        if let Err((words, hint)) = peer_url(peer) {
            found.push(Mistake::new(pointer, words).hint(hint));
        } else if mesh.peers[..i].contains(peer) {
            found.push(Mistake::new(pointer, format!("{peer:?} is named twice")));
        }
    }
    let advertised = mesh.advertise.as_deref().unwrap_or_default();
    for (i, url) in advertised.iter().enumerate().filter(|(_, url)| !url.is_empty()) {
        if let Err((words, hint)) = peer_url(url) {
            found.push(Mistake::new(format!("/mesh/advertise/{i}"), words).hint(hint));
        }
    }
    if advertised.len() > ADDRESSES_MAX {
        let words = format!("{} addresses, at most {ADDRESSES_MAX}", advertised.len());
        found.push(Mistake::new("/mesh/advertise", words));
    }
    members(mesh, found);
    found.extend(some_time("/mesh/reconnect_min", mesh.reconnect_min));
    found.extend(some_time("/mesh/compare_every", mesh.compare_every));
    found.extend(some_time("/mesh/ping_every", mesh.ping_every));
    found.extend(some_time("/mesh/expire", mesh.expire));
    // Less than one frame could never be sent at all.
    found.extend(bounds(
        "/mesh/outbox_bytes_max",
        mesh.outbox_bytes_max,
        FRAME_BYTES_MAX,
        usize::MAX,
    ));
}

fn members(mesh: &Mesh, found: &mut Vec<Mistake>) {
    for (i, member) in mesh.members.iter().enumerate() {
        let pointer = format!("/mesh/members/{i}");
        let is_node = !member.node.is_empty();
        if is_node && mesh.members[..i].iter().any(|other| other.node == member.node) {
            let words = format!("node {} is named twice", member.node);
            found.push(Mistake::new(join(&pointer, "node"), words));
        }
        for (n, name) in member.namespaces.iter().flatten().enumerate() {
            if let Err(refusal) = Namespace::new(name) {
                let pointer = format!("{pointer}/namespaces/{n}");
                found.push(Mistake::new(pointer, refusal.message));
            }
        }
    }
}

/// Checks the URL of another node; otherwise says what is wrong, and what would be right.
pub fn peer_url(text: &str) -> Result<(), (String, &'static str)> {
    if !is_peer(text) {
        let words = format!("{text:?} is not the WebSocket URL of a node");
        return Err((words, "for instance \"ws://10.0.0.2:7400\", or \"wss://…\" for TLS"));
    }
    match strange_port(text) {
        Some(port) => Err((format!("{text:?} has the port {port:?}"), "a port is 0 to 65,535")),
        None => Ok(()),
    }
}

/// What stands in the place of a port and is none.
fn strange_port(text: &str) -> Option<String> {
    let uri = text.parse::<Uri>().ok()?;
    let port = uri.authority()?.as_str().strip_prefix(uri.host()?)?.strip_prefix(':')?;
    port.parse::<u16>().is_err().then(|| port.to_owned())
}

fn is_peer(text: &str) -> bool {
    let scheme_is = |uri: &Uri| matches!(uri.scheme_str(), Some("ws" | "wss"));
    let host_is = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty());
    !text.contains(['#', '@'])
        && text.parse::<Uri>().is_ok_and(|uri| scheme_is(&uri) && host_is(&uri))
}

fn pauses(mesh: &Mesh) -> Option<Mistake> {
    let (min, max) = (mesh.reconnect_min, mesh.reconnect_max);
    let words = format!("reconnect_max ({max}) is shorter than reconnect_min ({min})");
    (min > max).then(|| Mistake {
        or: Some("/mesh/reconnect_min"),
        ..Mistake::new("/mesh/reconnect_max", words)
    })
}

/// A peer is pinged, then counts as stalled, then is cut off: in this order, or a ping comes too late.
fn silences(mesh: &Mesh) -> Option<Mistake> {
    let shorter = |a: (&str, Period), b: (&str, Period), or: &'static str| {
        let words = format!("{} ({}) is shorter than {} ({})", a.0, a.1, b.0, b.1);
        Mistake { or: Some(or), ..Mistake::new(format!("/mesh/{}", a.0), words) }
    };
    let (ping, stall) = (("ping_every", mesh.ping_every), ("stall_after", mesh.stall_after));
    let cut = ("cut_after", mesh.cut_after);
    if stall.1 < ping.1 {
        return Some(shorter(stall, ping, "/mesh/ping_every"));
    }
    (cut.1 < stall.1).then(|| shorter(cut, stall, "/mesh/stall_after"))
}

/// What is kept of the past, of a namespace at this pointer.
fn retention(namespace: &NamespaceConfig, pointer: &str, found: &mut Vec<Mistake>) {
    let (history, trash) = (&namespace.history, &namespace.trash);
    if trash.forget < trash.keep {
        let words = format!("forget ({}) is shorter than keep ({})", trash.forget, trash.keep);
        let hint = "a delete is remembered at least as long as its last value can be restored";
        found.push(Mistake::new(format!("{pointer}/trash"), words).hint(hint));
    }
    if history.records < history.values {
        let (records, values) = (history.records, history.values);
        let words = format!("records ({records}) is less than values ({values})");
        let hint = "the value of a version goes with its record";
        found.push(Mistake::new(format!("{pointer}/history"), words).hint(hint));
    }
}

fn namespaces(config: &Config, found: &mut Vec<Mistake>) {
    for (name, namespace) in &config.namespaces {
        let pointer = join("/namespaces", name);
        if let Err(refusal) = Namespace::new(name) {
            found.push(Mistake::new(pointer.as_str(), refusal.message).on_key());
        }
        retention(namespace, &pointer, found);
        let max = config.limits.value_bytes_max.get().min(VALUE_BYTES_MAX);
        let pointer = join(&pointer, "value_bytes_max");
        found.extend(namespace.value_bytes_max.and_then(|size| bounds(&pointer, size, 1, max)));
    }
}
