//! Lines of a trace, and the kinds of messages, for people.

use keepboth_core::version::Event;
use keepboth_core::wire::{KeyTips, Message};

/// What the message is called.
pub(super) fn kind(message: &Message) -> &'static str {
    match message {
        Message::Greet(_) => "greet",
        Message::Prove(_) => "prove",
        Message::Hello(_) => "hello",
        Message::Notes(_) => "notes",
        Message::Root { .. } => "root",
        Message::Live { .. } => "live",
        Message::Ack { .. } => "ack",
        Message::Conflict(_) => "conflict",
        Message::Compare { .. } => "compare",
        Message::Differ { .. } => "differ",
        Message::Offer { .. } => "offer",
        Message::Fetch { .. } => "fetch",
        Message::Done { .. } => "done",
        Message::Want { .. } => "want",
        Message::Histories { .. } => "histories",
        Message::Forget { .. } => "forget",
        Message::Ask { .. } => "ask",
        Message::Holds { .. } => "holds",
        Message::Refused { .. } => "refused",
    }
}

/// How many events it carries.
pub(super) fn events_of(message: &Message) -> u64 {
    match message {
        Message::Live { events, .. } | Message::Histories { events, .. } => events.len() as u64,
        _ => 0,
    }
}

/// Events with their parents.
pub(super) fn show(events: &[Event]) -> String {
    let parents = |event: &Event| format!("{:?}", event.version.parents);
    let show =
        |event: &Event| format!("{} {:?} on {}", event.key, event.version.id, parents(event));
    events.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// A message with what matters of it.
pub(super) fn show_message(message: &Message) -> String {
    let offered = |keys: &[KeyTips]| {
        let show = |key: &KeyTips| format!("{} {:?}", key.key, key.tips);
        keys.iter().map(show).collect::<Vec<_>>().join(", ")
    };
    match message {
        Message::Root { namespace, root } => format!("root {namespace} {root:?}"),
        Message::Ack { namespace, sequence, root, whole } => {
            format!("ack {namespace} {sequence} {root:?} whole {whole}")
        }
        Message::Live { namespace, sequence, root, maker, events } => {
            format!("live {namespace} {sequence} {root:?} of {maker:?}: {}", show(events))
        }
        Message::Histories { namespace, events, answered } => {
            format!("histories {namespace}: {}; answered {answered:?}", show(events))
        }
        Message::Offer { keys, wanted, .. } => {
            format!("offer {}; wanted {}", offered(keys), wanted.len())
        }
        Message::Forget { keys, .. } => format!("forget {}", offered(keys)),
        Message::Want { key, have, known, .. } => {
            format!("want {key} beyond {have:?}, {} known", known.len())
        }
        Message::Conflict(note) => format!("conflict {:?} of {}", note.id, note.key),
        Message::Refused { code, message } => format!("refused {code}: {message}"),
        Message::Compare { parts, .. } => format!("compare {} ranges", parts.len()),
        Message::Differ { differing, .. } => format!("differ in {} ranges", differing.len()),
        Message::Notes(notes) => {
            let words = |g: &keepboth_core::mesh::Grant| {
                format!("{:?} {} {}", g.node, g.counter, if g.admitted { "in" } else { "out" })
            };
            let grants: Vec<String> = notes.grants.iter().map(words).collect();
            let about = |a: &keepboth_core::mesh::About| {
                format!("{:?} {} links {:?}", a.node, a.counter, a.links)
            };
            let abouts: Vec<String> = notes.abouts.iter().map(about).collect();
            format!("notes {grants:?} {abouts:?}")
        }
        _ => kind(message).into(),
    }
}
