//! Deleted keys that nobody needs any more, and nodes that were away when they were forgotten.
//!
//! A node that was away for longer than the others wait holds keys that they have deleted and forgotten
//! since. It is told so in the peer's hello. What it holds and did not change since it last agreed with
//! the peer, the peer had too; so where the peer has nothing left of it, it was deleted: it is buried
//! here, or forgotten if it was deleted here too. Where the peer has something else that does not go
//! on from what is here, that came after: all of it is asked for, and with the commit that brings it what is
//! here goes. What was changed here meanwhile is given like any other change, and
//! an update beats a delete.

use super::bulk::{Bulk, Missing};
use super::live::TIPS_MAX;
use super::{Held, Output, Received, Replica, Session};
use crate::ids::VersionId;
use crate::name::{Key, Namespace};
use crate::refusal::Refusal;
use crate::version::Event;
use crate::wire::{Answered, EVENTS_BYTES, KeyTips, Message};

/// Most keys that are in doubt, or of which the whole history is waited for, to come in place of what is
/// here.
const REPLACING_MAX: usize = 10_000;
/// Set in the numbers of questions that the session asks for itself.
const OWN_QUESTION: u64 = 1 << 63;

/// How far it has come with a key whose history here may have to go for the peer's. Each holds while the
/// key did not change after the sequence `last`.
#[derive(Debug)]
pub(super) enum Replacing {
    /// The peer was asked whether it knows a tip; these are to be asked for after it.
    Asks { last: u64, tips: Vec<VersionId> },
    /// It does not know one of them, and was asked for all that it has.
    Waits { last: u64 },
}

impl Session {
    /// Tells the peer of keys that this node was the first to forget.
    pub(super) fn on_forgot(&mut self, namespace: &Namespace, keys: Vec<KeyTips>) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        shared.moved(now);
        let (mut part, mut bytes) = (Vec::new(), 0);
        for mut key in keys {
            key.tips.truncate(TIPS_MAX);
            bytes += 16 + key.key.as_str().len() + 34 * key.tips.len();
            part.push(key);
            if bytes > EVENTS_BYTES {
                let keys = std::mem::take(&mut part);
                self.send(Message::Forget { namespace: namespace.clone(), keys });
                bytes = 0;
            }
        }
        if !part.is_empty() {
            self.send(Message::Forget { namespace: namespace.clone(), keys: part });
        }
    }

    /// The peer has forgotten keys. What this node knows better it says instead.
    pub(super) fn on_forget(
        &mut self,
        namespace: &Namespace,
        keys: Vec<KeyTips>,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let mut same = Vec::new();
        for key in keys {
            match replica.held(namespace, &key.key)? {
                None | Some(Held { forgotten: true, .. }) => {}
                Some(held) if held.tips == key.tips => same.push(key),
                Some(_) if knows(replica, namespace, &key.key, &key.tips)? => {
                    self.give(Missing::of(namespace, key.key, key.tips), replica)?;
                }
                Some(_) => self.want_once(namespace, &key.key, replica)?,
            }
        }
        if !same.is_empty() {
            self.out.push(Output::Forget { namespace: namespace.clone(), keys: same });
        }
        Ok(())
    }

    /// The peer sent what was known: where this node has forgotten it, the peer missed that, and would
    /// send the same again after every comparison.
    pub(super) fn on_repeated(
        &mut self,
        namespace: &Namespace,
        keys: &[Key],
        outcomes: &[Received],
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if !self.shared.contains_key(namespace) {
            return Ok(());
        }
        let known = keys.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Received::Known);
        let mut keys: Vec<&Key> = known.map(|(key, _)| key).collect();
        keys.dedup();
        for key in keys {
            if let Some(Held { forgotten: true, mut tips, .. }) = replica.held(namespace, key)? {
                tips.truncate(TIPS_MAX);
                let (namespace, key) = (namespace.clone(), KeyTips { key: key.clone(), tips });
                self.queue(Bulk::Forget { namespace, key })?;
            }
        }
        Ok(())
    }

    /// Queues what the peer lacks of a key, unless it is this node that missed something.
    pub(super) fn give(&mut self, missing: Missing, replica: &impl Replica) -> Result<(), Refusal> {
        let Missing { namespace, key, have, .. } = &missing;
        let Some((last, tips)) = self.superseded(namespace, key, replica)? else {
            return self.queue(Bulk::Missing(missing));
        };
        if have.is_empty() {
            self.out.push(Output::Bury { namespace: namespace.clone(), key: key.clone(), last });
        } else if knows(replica, namespace, key, have)? {
            return self.queue(Bulk::Missing(missing));
        } else {
            self.replace(namespace, key, last, tips);
        }
        let Missing { namespace, key, question, .. } = missing;
        if let Some(question) = question {
            // Nothing is sent, and that is the answer.
            let (events, answered) = (Vec::new(), vec![Answered { key, question }]);
            self.send(Message::Histories { namespace, events: events.into(), answered });
        }
        Ok(())
    }

    /// Finds out whether the peer knows what is here of a key: it may have gone on from there, and then
    /// only that is missing. If not, all that it has comes in place of what is here. Where much is in doubt,
    /// it is left to the next comparison.
    fn replace(&mut self, namespace: &Namespace, key: &Key, last: u64, mut tips: Vec<VersionId>) {
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        let Some(version) = tips.pop() else { return };
        let full = shared.replacing.len() >= REPLACING_MAX;
        if full || shared.replacing.contains_key(key) {
            return;
        }
        shared.replacing.insert(key.clone(), Replacing::Asks { last, tips });
        self.doubt(namespace, key, version);
    }

    fn doubt(&mut self, namespace: &Namespace, key: &Key, version: VersionId) {
        self.doubted += 1;
        let question = OWN_QUESTION | self.doubted;
        let (namespace, key) = (namespace.clone(), key.clone());
        self.doubts.insert(question, (namespace.clone(), key.clone()));
        self.send(Message::Ask { question, namespace, key, version });
    }

    /// The peer knows a version, or does not.
    pub(super) fn on_holds(
        &mut self,
        question: u64,
        held: bool,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        if question & OWN_QUESTION == 0 {
            self.out.push(Output::Holds { question, held });
            return Ok(());
        }
        let Some((namespace, key)) = self.doubts.remove(&question) else { return Ok(()) };
        let Some(shared) = self.shared.get_mut(&namespace) else { return Ok(()) };
        let Some(Replacing::Asks { last, tips }) = shared.replacing.get_mut(&key) else {
            return Ok(());
        };
        if !held {
            let last = *last;
            shared.replacing.insert(key.clone(), Replacing::Waits { last });
            self.ask_for_whole(&namespace, &key);
        } else if let Some(version) = tips.pop() {
            self.doubt(&namespace, &key, version);
        } else {
            shared.replacing.remove(&key);
            return self.want(&namespace, &key, replica);
        }
        Ok(())
    }

    /// Asks for what the peer has beyond what is here, or in place of it.
    pub(super) fn catch_up(
        &mut self,
        namespace: &Namespace,
        key: Key,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        match self.superseded(namespace, &key, replica)? {
            Some((last, tips)) => {
                self.replace(namespace, &key, last, tips);
                Ok(())
            }
            None => self.want(namespace, &key, replica),
        }
    }

    /// For a key that did not change since this node, which was away, last agreed with the peer: the
    /// sequence of that, and the tips. None in all other cases.
    pub(super) fn superseded(
        &self,
        namespace: &Namespace,
        key: &Key,
        replica: &impl Replica,
    ) -> Result<Option<(u64, Vec<VersionId>)>, Refusal> {
        let Some(mark) = self.shared.get(namespace).and_then(|shared| shared.i_was_away) else {
            return Ok(None);
        };
        let held = replica.held(namespace, key)?;
        Ok(held.filter(|held| held.last <= mark).map(|held| (mark, held.tips)))
    }

    /// Leaves out of a range of which the peer has nothing what was deleted while this node was away.
    pub(super) fn not_superseded(
        &mut self,
        namespace: &Namespace,
        mut events: Vec<Event>,
        replica: &impl Replica,
    ) -> Result<Vec<Event>, Refusal> {
        if self.shared.get(namespace).is_none_or(|shared| shared.i_was_away.is_none()) {
            return Ok(events);
        }
        let (mut key, mut last) = (None, None);
        let mut kept = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            if key.as_ref() != Some(&event.key) {
                last = self.superseded(namespace, &event.key, replica)?;
                key = Some(event.key.clone());
                if let Some((last, _)) = last {
                    let (namespace, key) = (namespace.clone(), event.key.clone());
                    self.out.push(Output::Bury { namespace, key, last });
                }
            }
            if last.is_none() {
                kept.push(event);
            }
        }
        Ok(kept)
    }
}

/// True if all these versions are known here.
pub(super) fn knows(
    replica: &impl Replica,
    namespace: &Namespace,
    key: &Key,
    versions: &[VersionId],
) -> Result<bool, Refusal> {
    if versions.is_empty() {
        return Ok(true);
    }
    let history = replica.history(namespace, key)?;
    Ok(history.is_some_and(|history| versions.iter().all(|id| history.find(id).is_some())))
}
