//! The one way out: what watchers, peers and hooks are told, in commit order. Telling never waits.
//!
//! A channel with a bound keeps the newest commits. Who lags behind it is not waited for: a watcher
//! catches up from the store's feed of changes, a peer by comparing digests.

use std::sync::{Arc, OnceLock};

use keepboth_core::ids::NodeId;
use keepboth_core::refusal::Refusal;
use keepboth_core::value::Value;
use keepboth_core::version::{Change, Event};
use keepboth_core::wire::Events;
use keepboth_store::{Commit, KeyChange, KeyState, Shown};

use super::Space;
use super::state::{Level, State};
use crate::protocol::{self, Base, Cursor, Notice, PeerStatus, Side, Stalled, Told};

/// Something that happened in a namespace.
pub enum News {
    /// Writes became durable.
    Commit(Published),
    /// The store's state changed.
    State(Box<Told>),
}

/// A commit, with its notices as they are first asked for.
pub struct Published {
    /// The commit.
    pub commit: Commit,
    told: Vec<OnceLock<Arc<Told>>>,
    live: OnceLock<Vec<(NodeId, Vec<Events>)>>,
}

impl News {
    /// A commit whose notices nobody has asked for yet.
    pub fn commit(commit: Commit) -> News {
        let told = commit.changes.iter().map(|_| OnceLock::new()).collect();
        News::Commit(Published { commit, told, live: OnceLock::new() })
    }
}

impl Published {
    /// What watchers are told of the change at this place, made once for all of them.
    pub fn told(&self, at: usize, space: &Space) -> Option<Arc<Told>> {
        let (change, told) = (self.commit.changes.get(at)?, self.told.get(at)?);
        let told = told.get_or_init(|| {
            let value = |shown: &Shown| value_made(&change.made, shown);
            Arc::new(Told::new(notice(space, &change.state, value, true)))
        });
        Some(told.clone())
    }

    /// What peers are told of: the new versions by the node that made them just now, this one or another.
    /// Made once for all of them. What repair has brought is not among them: repair brings it to others too.
    pub fn live(&self, me: NodeId) -> &[(NodeId, Vec<Events>)] {
        self.live.get_or_init(|| {
            let maker = |change: &KeyChange| if change.local { Some(me) } else { change.maker };
            // Most commits have one maker.
            let runs = self.commit.changes.chunk_by(|one, next| maker(one) == maker(next));
            let runs = runs.filter_map(|run| Some((maker(run.first()?)?, run)));
            let events =
                |run: &[KeyChange]| run.iter().flat_map(|c| c.made.iter().cloned()).collect();
            runs.map(|(maker, run)| (maker, Events::of_messages(events(run)))).collect()
        })
    }
}

/// The value of what is shown, if it was made in the same commit.
fn value_made(made: &[Event], shown: &Shown) -> Option<Value> {
    let event = made.iter().find(|event| event.version.id == shown.version)?;
    (event.version.change == Change::Put).then(|| event.value.clone()).flatten()
}

impl Space {
    /// What a watcher is told of a key as it is in the store.
    pub fn notice(&self, state: &KeyState, live: bool) -> Notice {
        notice(self, state, |_| None, live)
    }

    /// The place in the feed after this sequence.
    pub fn cursor(&self, sequence: u64) -> Cursor {
        Cursor { store: self.store.id(), epoch: self.store.epoch(), sequence }
    }

    /// Tells a change of state.
    pub(super) fn tell_state(&self, before: Level, now: &State) {
        let notice = self.state_notice(level(before), now);
        // Nobody listens: nothing is told.
        let _ = self.news.send(Arc::new(News::State(Box::new(Told::new(notice)))));
    }

    /// What a watcher is told of a change of state.
    pub fn state_notice(&self, before: protocol::State, now: &State) -> Notice {
        Notice::State {
            ns: self.name.clone(),
            state: level(now.level),
            before: Some(before),
            reason: now.reason.clone(),
            peers: self.peer_statuses(),
        }
    }

    /// Where each connected peer stands.
    pub fn peer_statuses(&self) -> Vec<PeerStatus> {
        let root = self.store.root();
        let peers = self.peers().into_iter().map(|(node, peer)| PeerStatus {
            node: Some(node),
            url: peer.url.clone(),
            connected: true,
            agrees: peer.agrees(root),
            behind: peer.standing.behind,
            stalled: peer.stall.map(|stall| Stalled {
                since: crate::clock::from_steady(stall.since),
                blocked_on: stall.blocked.words().to_owned(),
                behind: peer.standing.behind,
            }),
            error: None,
            last_exchange: peer.standing.last_exchange.map(crate::clock::from_steady),
        });
        peers.collect()
    }
}

/// The protocol's word for a state.
pub fn level(level: Level) -> protocol::State {
    match level {
        Level::Empty => protocol::State::Empty,
        Level::NotSynced => protocol::State::NotSynced,
        Level::Synced => protocol::State::Synced,
    }
}

/// Sides, and objects besides, that an event names at most: with more it would be no frame.
const SIDES_MAX: usize = 1_500;

/// The present state of one key, as watchers see it.
fn notice(
    space: &Space,
    state: &KeyState,
    made: impl Fn(&Shown) -> Option<Value>,
    live: bool,
) -> Notice {
    let (ns, key) = (space.name.clone(), state.key.clone());
    let cursor = live.then(|| space.cursor(state.sequence));
    let of = |detached| state.shown.iter().filter(move |s| s.detached == detached);
    let shown = |detached| of(detached).map(side).take(SIDES_MAX);
    let detached = shown(true).collect();
    if state.view.in_conflict() {
        let addresses = state.view.conflict_addresses(key.hash());
        let id = keepboth_core::conflict::id(&key, &addresses);
        let base = space.store.snapshot().base(&key).unwrap_or_default();
        let base = base.map(|version| Base { version, value: None });
        return Notice::Conflict {
            ns,
            key,
            id,
            base,
            sides: shown(false).collect(),
            detached,
            cursor,
        };
    }
    match state.object() {
        Some(shown) => {
            let value = made(shown).map_or_else(|| value_of(space, state, shown), Ok);
            if let Err(refusal) = &value {
                tracing::warn!(namespace = ns.as_str(), key = key.as_str(), "watch: {refusal}");
            }
            let value = value.ok();
            Notice::Put {
                ns,
                key,
                version: shown.version,
                kind: value.as_ref().map_or(keepboth_core::value::Kind::Bytes, Value::kind),
                value,
                timestamp: shown.timestamp,
                origin: shown.origin,
                detached,
                cursor,
            }
        }
        None => {
            let (version, timestamp, origin) = match state.deleted {
                Some(by) => (by.version, by.timestamp, by.origin),
                // A split has come and its child has not: for this moment the key shows nothing.
                None => (state.view.tips[0], 0, space.store.id()),
            };
            Notice::Delete { ns, key, version, timestamp, origin, detached, cursor }
        }
    }
}

fn value_of(space: &Space, state: &KeyState, shown: &Shown) -> Result<Value, Refusal> {
    let name = keepboth_core::name::Name::Key(state.key.clone());
    space.store.snapshot().value_of(&name, &shown.version)
}

/// An object that is shown under its address, without its value.
pub fn side(shown: &Shown) -> Side {
    Side {
        address: shown.address,
        version: shown.version,
        value: None,
        timestamp: shown.timestamp,
        origin: shown.origin,
    }
}
