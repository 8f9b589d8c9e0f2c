//! What is said of other nodes, written into a sink.

use super::encode::change_name;
use super::members::{Ack, Acks, Held, Member, Members, Reached, Shared, Stalled, Unfit};
use super::sink::Sink;

/// What an operator has to be told in words that nobody overlooks.
pub const TWIN_WARNING: &str = "A COPY OF THIS NODE RUNS ELSEWHERE: both have the same node.key. Stop one of \
                                them and remove node.key from its data folder.";

/// Says that a copy of this node runs elsewhere; nothing if none does.
pub(super) fn put_twin<S: Sink>(s: &mut S, twin: bool) {
    if twin {
        s.flag("twin", true);
        s.say("warning", TWIN_WARNING);
    }
}

pub(super) fn put_members<S: Sink>(s: &mut S, members: &Members) {
    s.map(|s| {
        s.show("node", &members.node);
        put_twin(s, members.twin);
        s.name("items");
        s.list(&members.page.items, put_member);
        if let Some(next) = &members.page.next {
            s.say("next", next);
        }
    });
}

fn put_member<S: Sink>(s: &mut S, member: &Member) {
    s.map(|s| {
        if let Some(node) = &member.node {
            s.show("node", node);
        }
        s.name("urls");
        s.list(&member.urls, |s, url| s.text(url));
        if let Some(agent) = &member.agent {
            s.say("agent", agent);
        }
        s.name("admitted");
        s.truth(member.admitted);
        if let Some(granted) = &member.granted {
            s.name("granted");
            s.list(granted, |s, ns| s.text(ns.as_str()));
        }
        s.name("connected");
        s.truth(member.connected_since.is_some());
        let error_at = member.error_at.filter(|_| member.error.is_some());
        for (name, number) in [
            ("connected_since", member.connected_since),
            ("round_trip_us", member.round_trip_us),
            ("error_at", error_at),
        ] {
            if let Some(number) = number {
                s.count(name, number);
            }
        }
        put_stalled(s, member.stalled.as_ref());
        if let Some(error) = &member.error {
            s.say("error", error);
        }
        s.name("namespaces");
        s.list(&member.namespaces, put_shared);
    });
}

/// The member `stalled`, if there is something to say.
pub(super) fn put_stalled<S: Sink>(s: &mut S, stalled: Option<&Stalled>) {
    let Some(stalled) = stalled else { return };
    s.name("stalled");
    s.map(|s| {
        s.count("since", stalled.since);
        s.say("blocked_on", &stalled.blocked_on);
        s.count("behind", stalled.behind);
    });
}

fn put_shared<S: Sink>(s: &mut S, shared: &Shared) {
    s.map(|s| {
        s.say("ns", shared.ns.as_str());
        s.name("agrees");
        s.truth(shared.agrees);
        s.count("behind", shared.behind);
        if let Some(agreed) = shared.agreed {
            s.count("agreed", agreed);
        }
        if let Some(seen) = shared.seen {
            s.count("seen", seen);
        }
        s.flag("expired", shared.expired);
        if !shared.policy_differs.is_empty() {
            s.name("policy_differs");
            s.list(&shared.policy_differs, |s, part| s.text(part));
        }
    });
}

pub(super) fn put_acks<S: Sink>(s: &mut S, acks: &Acks) {
    s.map(|s| {
        s.say("key", acks.key.as_str());
        s.show("version", &acks.version);
        s.name("everywhere");
        s.truth(acks.everywhere());
        s.name("members");
        s.list(&acks.members, put_ack);
    });
}

fn put_ack<S: Sink>(s: &mut S, ack: &Ack) {
    s.map(|s| {
        s.show("node", &ack.node);
        if let Some(held) = ack.held {
            s.name("held");
            s.truth(held);
        }
        s.say("why", &ack.why);
    });
}

/// The member `reached`, if it was waited for.
pub(super) fn put_reached<S: Sink>(s: &mut S, reached: Option<&Reached>) {
    let Some(reached) = reached else { return };
    s.name("reached");
    s.map(|s| {
        s.name("nodes");
        s.list(&reached.nodes, |s, node| s.text(&node.to_string()));
        s.name("missing");
        s.list(&reached.missing, |s, node| s.text(&node.to_string()));
        s.name("enough");
        s.truth(reached.enough);
    });
}

pub(super) fn put_unfit<S: Sink>(s: &mut S, unfit: &Unfit) {
    s.map(|s| {
        s.say("key", unfit.key.as_str());
        s.show("name", &unfit.name);
        s.show("version", &unfit.version);
        s.say("code", unfit.refusal.code.as_str());
        s.say("message", &unfit.refusal.message);
    });
}

pub(super) fn put_held<S: Sink>(s: &mut S, held: &Held) {
    s.map(|s| {
        s.say("key", held.key.as_str());
        s.show("version", &held.version);
        s.say("change", change_name(held.change));
        if let Some((kind, bytes)) = held.value {
            s.say("kind", kind.as_str());
            s.count("bytes", bytes as u64);
        }
        s.count("since", held.since);
        s.show("from", &held.from);
        s.say("code", held.refusal.code.as_str());
        s.say("message", &held.refusal.message);
    });
}
