//! From answers, events and refusals to the bytes of a frame.

use keepboth_auth::hide_tokens;
use keepboth_core::refusal::Refusal;
use keepboth_core::version::Change;

use super::PROTOCOL;
use super::about_nodes::{
    put_acks, put_held, put_members, put_reached, put_stalled, put_twin, put_unfit,
};
use super::answer::{
    Answer, Base, Conflict, Hello, LimitsInfo, Listed, NamespaceInfo, NamespaceLimits,
    NamespaceStatus, Object, Page, PeerStatus, Recorded, Reloaded, Side, Status, Trashed, Written,
};
use super::cursor::Cursor;
use super::format::Format;
use super::hook_log::put_hook_log;
use super::notice::Notice;
use super::plugins_told::put_plugins;
use super::sink::{JsonSink, PackSink, Sink};

/// Runs the same words on the sink of a format.
macro_rules! write_as {
    ($format:expr, $out:expr, $sink:ident => $body:expr) => {
        match $format {
            Format::Json => {
                let $sink = &mut JsonSink($out);
                $body
            }
            Format::MessagePack => {
                let $sink = &mut PackSink::new($out);
                $body
            }
        }
    };
}

/// Appends the frame that answers a request. `id` is None if the request's id could not be read.
pub fn encode_answer(
    format: Format,
    id: Option<u64>,
    answer: &Result<Answer, Refusal>,
    out: &mut Vec<u8>,
) {
    write_as!(format, out, sink => sink.map(|s| {
        s.name("id");
        match id {
            Some(id) => s.whole(id),
            None => s.null(),
        }
        match answer {
            Ok(answer) => {
                s.name("ok");
                put_answer(s, answer);
            }
            Err(refusal) => {
                s.name("error");
                put_refusal(s, refusal);
            }
        }
    }));
}

/// Appends the body of an event, which the frames of many watchers share.
pub fn encode_notice(format: Format, notice: &Notice, values: bool, out: &mut Vec<u8>) {
    write_as!(format, out, sink => put_notice(sink, notice, values));
}

/// Appends the frame of an event: `body` is from [`encode_notice`] in the same format.
pub fn encode_event(format: Format, sub: u64, body: &[u8], out: &mut Vec<u8>) {
    pushed(format, sub, out, "event", body);
}

/// Appends the frame that says: what was there is told, from here on come changes.
pub fn encode_live(format: Format, sub: u64, cursor: &Cursor, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(96);
    write_as!(format, &mut body, sink => sink.map(|s| s.show("cursor", cursor)));
    pushed(format, sub, out, "live", &body);
}

/// Appends the frame that says: this watch is over, and why.
pub fn encode_end(format: Format, sub: u64, refusal: &Refusal, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(128);
    write_as!(format, &mut body, sink => put_refusal(sink, refusal));
    pushed(format, sub, out, "end", &body);
}

fn pushed(format: Format, sub: u64, out: &mut Vec<u8>, name: &str, body: &[u8]) {
    write_as!(format, out, sink => sink.map(|s| {
        s.count("sub", sub);
        s.name(name);
        s.raw(body);
    }));
}

fn put_answer<S: Sink>(s: &mut S, answer: &Answer) {
    match answer {
        Answer::Hello(hello) => put_hello(s, hello),
        Answer::Object(object) => put_object(s, object),
        Answer::Written(written, reached) => s.map(|s| {
            put_written(s, written);
            put_reached(s, reached.as_ref());
        }),
        Answer::Batch(results, reached) => s.map(|s| {
            s.name("results");
            s.list(results, |s, written| s.map(|s| put_written(s, written)));
            put_reached(s, reached.as_ref());
        }),
        Answer::List(page) => put_page(s, page, "items", put_listed),
        Answer::History(page) => put_page(s, page, "versions", put_recorded),
        Answer::Conflicts(page) => put_page(s, page, "items", put_conflict),
        Answer::Conflict(conflict) => put_conflict(s, conflict),
        Answer::Trash(page) => put_page(s, page, "items", put_trashed),
        Answer::Watch { sub } => s.map(|s| s.count("sub", *sub)),
        Answer::Unwatch => s.map(|_| {}),
        Answer::Status(status) => put_status(s, status),
        Answer::NsInfo(info) => put_info(s, info),
        Answer::NsAdded { ns, store, added } => s.map(|s| {
            s.say("ns", ns.as_str());
            s.show("store", store);
            s.name("added");
            s.truth(*added);
        }),
        Answer::NsRemoved { ns, file } => s.map(|s| {
            s.say("ns", ns.as_str());
            s.say("file", file);
        }),
        Answer::Reloaded(reloaded) => put_reloaded(s, reloaded),
        Answer::Purged { ns, key } => s.map(|s| {
            s.say("ns", ns.as_str());
            s.say("key", key.as_str());
        }),
        Answer::Quarantine(page) => put_page(s, page, "items", put_held),
        Answer::SchemaReport { page, bound, done, checked, unfit } => s.map(|s| {
            for (name, truth) in [("bound", bound), ("done", done)] {
                s.name(name);
                s.truth(*truth);
            }
            s.count("checked", *checked);
            s.count("unfit", *unfit);
            s.name("items");
            s.list(&page.items, put_unfit);
            if let Some(next) = &page.next {
                s.say("next", next.as_str());
            }
        }),
        Answer::Judged { ns, key, version, admitted } => s.map(|s| {
            s.say("ns", ns.as_str());
            s.say("key", key.as_str());
            s.show("version", version);
            s.say("verdict", if *admitted { "admit" } else { "discard" });
        }),
        Answer::Retried { ns, admitted, held } => s.map(|s| {
            s.say("ns", ns.as_str());
            s.count("admitted", *admitted);
            s.count("held", *held);
        }),
        Answer::HookLog(log) => put_hook_log(s, log),
        Answer::Acks(acks) => put_acks(s, acks),
        Answer::Plugin(answer) => s.tree(answer),
        Answer::Peers(members) => put_members(s, members),
        Answer::Invited { token, expires } => s.map(|s| {
            s.say("token", token);
            s.count("expires", *expires);
        }),
        Answer::PeerAdded { node, added } => s.map(|s| {
            s.show("node", node);
            s.name("added");
            s.truth(*added);
        }),
        Answer::PeerRemoved { node, removed } => s.map(|s| {
            s.show("node", node);
            s.name("removed");
            s.truth(*removed);
        }),
    }
}

fn put_reloaded<S: Sink>(s: &mut S, reloaded: &Reloaded) {
    s.map(|s| {
        for (name, names) in [
            ("namespaces_added", &reloaded.namespaces_added),
            ("namespaces_removed", &reloaded.namespaces_removed),
            ("namespaces_changed", &reloaded.namespaces_changed),
            ("plugins_changed", &reloaded.plugins_changed),
            ("peers_added", &reloaded.peers_added),
            ("peers_removed", &reloaded.peers_removed),
            ("restart_needed", &reloaded.restart_needed),
        ] {
            s.name(name);
            s.list(names, |s, name| s.text(name));
        }
    });
}

fn put_info<S: Sink>(s: &mut S, info: &NamespaceInfo) {
    s.map(|s| {
        s.name("status");
        put_namespace(s, &info.status);
        s.count("epoch", info.epoch);
        s.say("made_by", info.made_by);
        s.name("replicate");
        s.truth(info.replicate);
        s.count("file_bytes", info.file_bytes);
        s.name("limits");
        put_namespace_limits(s, &info.limits);
        s.name("plugins");
        s.list(&info.plugins, |s, name| s.text(name));
    });
}

fn put_namespace_limits<S: Sink>(s: &mut S, limits: &NamespaceLimits) {
    s.map(|s| {
        s.count("value_bytes_max", limits.value_bytes_max);
        for (name, bound) in [
            ("objects_max", limits.objects_max),
            ("bytes_max", limits.bytes_max),
            ("writes_per_second", limits.writes_per_second),
        ] {
            if let Some(bound) = bound {
                s.count(name, bound);
            }
        }
        s.count("history_values", limits.history_values);
        s.count("history_records", limits.history_records);
        s.count("trash_keep_ms", limits.trash_keep_ms);
        s.count("trash_forget_ms", limits.trash_forget_ms);
    });
}

fn put_page<S: Sink, T, N: ToString>(
    s: &mut S,
    page: &Page<T, N>,
    name: &str,
    each: impl FnMut(&mut S, &T),
) {
    s.map(|s| {
        s.name(name);
        s.list(&page.items, each);
        if let Some(next) = &page.next {
            s.show("next", next);
        }
    });
}

fn put_hello<S: Sink>(s: &mut S, hello: &Hello) {
    s.map(|s| {
        s.say("server", "keepboth");
        s.say("version", &hello.version);
        s.count("protocol", PROTOCOL.into());
        s.show("node", &hello.node);
        put_twin(s, hello.twin);
        s.name("namespaces");
        s.list(&hello.namespaces, |s, ns| s.text(ns.as_str()));
        s.name("limits");
        put_limits(s, &hello.limits);
    });
}

fn put_limits<S: Sink>(s: &mut S, limits: &LimitsInfo) {
    s.map(|s| {
        s.count("value_bytes_max", limits.value_bytes_max as u64);
        s.count("key_bytes_max", limits.key_bytes_max as u64);
        s.count("frame_bytes_max", limits.frame_bytes_max as u64);
        s.count("batch_ops_max", limits.batch_ops_max as u64);
        s.count("page_items_max", limits.page_items_max as u64);
        s.count("watches_max", limits.watches_max as u64);
        s.count("in_flight_max", limits.in_flight_max as u64);
    });
}

fn put_object<S: Sink>(s: &mut S, object: &Object) {
    s.map(|s| {
        s.say("key", object.key.as_str());
        s.show("name", &object.name);
        s.show("version", &object.version);
        s.say("kind", object.value.kind().as_str());
        s.name("value");
        s.value(&object.value);
        s.count("timestamp", object.timestamp);
        s.show("origin", &object.origin);
    });
}

/// The members of a write's answer.
fn put_written<S: Sink>(s: &mut S, written: &Written) {
    s.show("name", &written.name);
    s.say("key", written.key.as_str());
    s.show("version", &written.version);
    s.count("sequence", written.sequence);
}

fn put_listed<S: Sink>(s: &mut S, listed: &Listed) {
    s.map(|s| {
        s.show("name", &listed.name);
        s.say("key", listed.key.as_str());
        s.show("version", &listed.version);
        if let Some(kind) = listed.kind {
            s.say("kind", kind.as_str());
        }
        if let Some(value) = &listed.value {
            s.name("value");
            s.value(value);
        }
        s.flag("conflict", listed.conflict);
        s.flag("detached", listed.detached);
        s.count("timestamp", listed.timestamp);
        s.show("origin", &listed.origin);
    });
}

fn put_recorded<S: Sink>(s: &mut S, recorded: &Recorded) {
    s.map(|s| {
        s.show("version", &recorded.version);
        s.say("change", change_name(recorded.change));
        s.name("parents");
        s.list(&recorded.parents, |s, parent| s.text(&parent.to_string()));
        s.count("timestamp", recorded.timestamp);
        s.show("origin", &recorded.origin);
        s.name("head");
        s.truth(recorded.head);
        if let Some(kind) = recorded.kind {
            s.say("kind", kind.as_str());
        }
        if let Some(bytes) = recorded.bytes {
            s.count("bytes", bytes as u64);
        }
    });
}

pub(super) fn change_name(change: Change) -> &'static str {
    match change {
        Change::Put => "put",
        Change::Delete => "delete",
        Change::Split => "split",
    }
}

fn put_conflict<S: Sink>(s: &mut S, conflict: &Conflict) {
    s.map(|s| {
        s.say("key", conflict.key.as_str());
        s.show("id", &conflict.id);
        put_base(s, conflict.base.as_ref(), true);
        put_sides(s, "sides", &conflict.sides, true);
    });
}

fn put_base<S: Sink>(s: &mut S, base: Option<&Base>, values: bool) {
    let Some(base) = base else { return };
    s.name("base");
    s.map(|s| {
        s.show("version", &base.version);
        if let (true, Some(value)) = (values, &base.value) {
            s.name("value");
            s.value(value);
        }
    });
}

fn put_sides<S: Sink>(s: &mut S, name: &str, sides: &[Side], values: bool) {
    s.name(name);
    s.list(sides, |s, side| {
        s.map(|s| {
            s.show("address", &side.address);
            s.show("version", &side.version);
            if let (true, Some(value)) = (values, &side.value) {
                s.say("kind", value.kind().as_str());
                s.name("value");
                s.value(value);
            }
            s.count("timestamp", side.timestamp);
            s.show("origin", &side.origin);
        });
    });
}

fn put_trashed<S: Sink>(s: &mut S, trashed: &Trashed) {
    s.map(|s| {
        s.say("key", trashed.key.as_str());
        s.show("version", &trashed.version);
        s.count("timestamp", trashed.timestamp);
        s.show("origin", &trashed.origin);
    });
}

fn put_status<S: Sink>(s: &mut S, status: &Status) {
    s.map(|s| {
        s.show("node", &status.node);
        put_twin(s, status.twin);
        s.say("version", &status.version);
        s.count("uptime_s", status.uptime_s);
        s.name("namespaces");
        s.list(&status.namespaces, put_namespace);
        s.count("connections", status.connections as u64);
        put_plugins(s, &status.plugins);
    });
}

fn put_namespace<S: Sink>(s: &mut S, namespace: &NamespaceStatus) {
    s.map(|s| {
        s.say("name", namespace.name.as_str());
        s.say("state", namespace.state.as_str());
        s.say("reason", &namespace.reason);
        s.count("keys", namespace.keys);
        s.count("objects", namespace.objects);
        s.count("conflicts", namespace.conflicts);
        s.count("trash", namespace.trash);
        s.count("quarantined", namespace.quarantined);
        s.count("unfit", namespace.unfit);
        put_plugins(s, &namespace.plugins);
        s.count("sequence", namespace.sequence);
        s.show("store", &namespace.store);
        s.name("peers");
        s.list(&namespace.peers, put_peer);
    });
}

fn put_peer<S: Sink>(s: &mut S, peer: &PeerStatus) {
    s.map(|s| {
        if let Some(node) = &peer.node {
            s.show("node", node);
        }
        if let Some(url) = &peer.url {
            s.say("url", url);
        }
        s.name("connected");
        s.truth(peer.connected);
        s.name("agrees");
        s.truth(peer.agrees);
        s.count("behind", peer.behind);
        put_stalled(s, peer.stalled.as_ref());
        if let Some(error) = &peer.error {
            s.say("error", error);
        }
        if let Some(last) = peer.last_exchange {
            s.count("last_exchange", last);
        }
    });
}

fn put_refusal<S: Sink>(s: &mut S, refusal: &Refusal) {
    s.map(|s| {
        s.say("code", refusal.code.as_str());
        // It may repeat what stands in the request: a token that came in the wrong place, for instance.
        s.say("message", &hide_tokens(&refusal.message));
        s.name("retry");
        s.truth(refusal.code.retry());
        if let Some(hint) = &refusal.hint {
            s.say("hint", &hide_tokens(hint));
        }
        if !refusal.addresses.is_empty() {
            s.name("addresses");
            s.list(&refusal.addresses, |s, address| s.text(&address.to_string()));
        }
        if let Some(version) = &refusal.version {
            s.show("version", version);
        }
        if let Some(reason) = &refusal.reason {
            s.say("reason", reason);
        }
    });
}

fn put_notice<S: Sink>(s: &mut S, notice: &Notice, values: bool) {
    match notice {
        Notice::Put { ns, key, version, kind, value, timestamp, origin, detached, cursor } => s
            .map(|s| {
                s.say("type", "put");
                s.say("ns", ns.as_str());
                s.say("key", key.as_str());
                s.show("version", version);
                s.say("kind", kind.as_str());
                if let (true, Some(value)) = (values, value) {
                    s.name("value");
                    s.value(value);
                }
                s.count("timestamp", *timestamp);
                s.show("origin", origin);
                put_tail(s, detached, cursor.as_ref());
            }),
        Notice::Delete { ns, key, version, timestamp, origin, detached, cursor } => s.map(|s| {
            s.say("type", "delete");
            s.say("ns", ns.as_str());
            s.say("key", key.as_str());
            s.show("version", version);
            s.count("timestamp", *timestamp);
            s.show("origin", origin);
            put_tail(s, detached, cursor.as_ref());
        }),
        Notice::Conflict { ns, key, id, base, sides, detached, cursor } => s.map(|s| {
            s.say("type", "conflict");
            s.say("ns", ns.as_str());
            s.say("key", key.as_str());
            s.show("id", id);
            put_base(s, base.as_ref(), values);
            put_sides(s, "sides", sides, values);
            put_tail(s, detached, cursor.as_ref());
        }),
        Notice::State { ns, state, before, reason, peers } => s.map(|s| {
            s.say("type", "state");
            s.say("ns", ns.as_str());
            s.say("state", state.as_str());
            if let Some(before) = before {
                s.say("before", before.as_str());
            }
            s.say("reason", reason);
            s.name("peers");
            s.list(peers, put_peer);
        }),
    }
}

fn put_tail<S: Sink>(s: &mut S, detached: &[Side], cursor: Option<&Cursor>) {
    if !detached.is_empty() {
        put_sides(s, "detached", detached, false);
    }
    if let Some(cursor) = cursor {
        s.show("cursor", cursor);
    }
}
