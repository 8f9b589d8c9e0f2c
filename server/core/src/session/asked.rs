//! Keys of which the peer was asked what is missing here.
//!
//! A key is asked for once until its answer has come whole: live events without their parents that come
//! meanwhile are part of the answer. Where many write to one key at once, every answer is soon out of
//! date again, so between an answer and the next question lies a pause that grows with each question.

use std::collections::BTreeMap;

use super::live::TIPS_MAX;
use super::shared::Shared;
use super::{ANSWER_WITHIN, Received, Replica, Session};
use crate::ids::VersionId;
use crate::name::{Key, Namespace};
use crate::refusal::Refusal;
use crate::wire::{Answered, Message};

/// Most versions in a message by which a peer finds where two histories part.
const KNOWN_MAX: usize = 10_000;
/// Keys that are kept in mind; beyond it what lacks its parents waits for the next comparison.
const ASKED_MAX: usize = 1_000;
/// After this time all of a key may be asked for once more, whatever came of it, in milliseconds.
const WHOLE_AGAIN: u64 = 5_000;
/// So many known versions in a row show that an answer is out of date.
const KNOWN_ENOUGH: usize = 16;
/// The pause after the first answer, and the longest one, in milliseconds.
const PAUSE_MIN: u64 = 100;
const PAUSE_MAX: u64 = 1_600;

/// A key that was asked for. Times are the caller's, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The number of the question.
    number: u64,
    /// When.
    at: u64,
    /// Whether all of it was asked for, as if nothing of it were here.
    whole: bool,
    /// Something of the answer was not taken, so what stands on it is missing for that reason.
    refused: bool,
    answered: bool,
    /// Until when it is not asked for again.
    until: u64,
    /// How long it rests after the answer.
    pause: u64,
    /// Something was missing again while it rested.
    again: bool,
    /// How many versions in a row the answer brought that were known.
    known: usize,
}

/// What the peer was asked for and has not answered, or answered a moment ago.
#[derive(Debug, Default)]
pub(super) struct Questions {
    keys: BTreeMap<Key, Asked>,
    /// The number of the last question.
    last: u64,
}

impl Questions {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn is_full(&self) -> bool {
        self.keys.len() >= ASKED_MAX
    }

    /// Gives the number of the question.
    fn ask(&mut self, key: &Key, whole: bool, now: u64) -> u64 {
        self.last += 1;
        let (number, before) = (self.last, self.keys.get(key));
        if before.is_none() && self.is_full() {
            return number;
        }
        let pause = before.map_or(PAUSE_MIN, |before| (2 * before.pause).min(PAUSE_MAX));
        let until = now.saturating_add(ANSWER_WITHIN);
        let (at, refused, answered, again, known) = (now, false, false, false, 0);
        let asked = Asked { number, at, whole, refused, answered, until, pause, again, known };
        self.keys.insert(key.clone(), asked);
        number
    }

    /// The answer has come whole; true if it is that of the last question. An earlier one's says nothing
    /// of the one that is open.
    fn answered(&mut self, Answered { key, question }: &Answered, now: u64) -> bool {
        let asked = self.keys.get_mut(key).filter(|asked| asked.number == *question);
        let Some(asked) = asked else { return false };
        let rests = if asked.whole { asked.at.saturating_add(WHOLE_AGAIN) } else { now };
        asked.answered = true;
        asked.until = rests.max(now.saturating_add(asked.pause));
        true
    }

    /// A part of the answer is taken. True if so much of it was known that the peer should hear what is
    /// here by now: this is a long answer to a question that is out of date.
    fn is_stale(&mut self, key: &Key, outcome: &Received, now: u64) -> bool {
        let Some(asked) = self.keys.get_mut(key) else { return false };
        asked.known = if *outcome == Received::Known { asked.known + 1 } else { 0 };
        let asked_long_ago = now >= asked.at.saturating_add(asked.pause);
        asked.known >= KNOWN_ENOUGH && asked_long_ago && !asked.answered && !asked.whole
    }

    /// True if the key may be asked for now; else it is asked for after its answer or its pause.
    fn is_free(&mut self, key: &Key) -> bool {
        match self.keys.get_mut(key) {
            Some(asked) => {
                asked.again |= asked.answered;
                false
            }
            None => !self.is_full(),
        }
    }

    /// Forgets what rested long enough, and gives the keys that are to be asked for again: none if both
    /// nodes have the `same`. They stay known until they are asked for, so that their pauses grow.
    fn rested(&mut self, now: u64, same: impl FnOnce() -> bool) -> Vec<Key> {
        let mut due = self.keys.values().filter(|asked| asked.until <= now);
        let again = due.any(|asked| asked.again) && !same();
        self.keys.retain(|_, asked| asked.until > now || again && asked.again);
        let due = self.keys.iter().filter(|(_, asked)| asked.until <= now);
        due.map(|(key, _)| key.clone()).collect()
    }
}

impl Session {
    /// Asks for what is missing of a key, once until it comes. One that may have to go for the peer's is not
    /// asked for beside that.
    pub(super) fn want_once(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let free =
            |shared: &mut Shared| !shared.replacing.contains_key(key) && shared.asked.is_free(key);
        match self.shared.get_mut(namespace).is_some_and(free) {
            true => self.want(namespace, key, replica),
            false => Ok(()),
        }
    }

    /// Asks again for keys of which something was missing so soon after an answer that it had to wait,
    /// unless it has come by other ways.
    pub(super) fn want_again(
        &mut self,
        namespace: &Namespace,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return Ok(()) };
        let same = || shared.theirs == Some(replica.root(namespace));
        let due = shared.asked.rested(now, same);
        due.iter().try_for_each(|key| self.want(namespace, key, replica))
    }

    /// What the peer sent of these keys is taken. Where nearly all was known, it is told what is here now,
    /// and leaves that out of the rest.
    pub(super) fn on_part_of_answer(
        &mut self,
        namespace: &Namespace,
        keys: &[Key],
        outcomes: &[Received],
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let now = self.now;
        for (key, outcome) in keys.iter().zip(outcomes) {
            if self.questions(namespace).is_some_and(|asked| asked.is_stale(key, outcome, now)) {
                self.want(namespace, key, replica)?;
            }
        }
        Ok(())
    }

    /// The peer has answered what it was asked of these keys.
    pub(super) fn on_answered(&mut self, namespace: &Namespace, answered: &[Answered]) {
        let now = self.now;
        let Some(shared) = self.shared.get_mut(namespace) else { return };
        for answered in answered {
            if shared.asked.answered(answered, now) {
                shared.replacing.remove(&answered.key);
            }
        }
    }

    /// Asks for all of a key that was asked for, as if nothing of it were here: the answer leaves out
    /// what the peer had reason to think is here, and was forgotten here. True if it was asked for.
    pub(super) fn want_whole(&mut self, namespace: &Namespace, key: &Key) -> bool {
        let Some(asked) = self.questions(namespace).and_then(|asked| asked.keys.get_mut(key))
        else {
            return false;
        };
        if !asked.whole && !asked.refused {
            self.ask_for_whole(namespace, key);
        }
        true
    }

    /// Something that the peer sent of this key is not taken.
    pub(super) fn on_not_taken(&mut self, namespace: &Namespace, key: &Key) {
        if let Some(asked) = self.questions(namespace).and_then(|asked| asked.keys.get_mut(key)) {
            asked.refused = true;
        }
    }

    /// Asks for what is missing of a key, naming what is there.
    pub(super) fn want(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        replica: &impl Replica,
    ) -> Result<(), Refusal> {
        let mut have = replica.held(namespace, key)?.map(|held| held.tips).unwrap_or_default();
        have.truncate(TIPS_MAX);
        let mut known = if have.is_empty() { Vec::new() } else { replica.known(namespace, key)? };
        known.retain(|id| !have.contains(id));
        known.truncate(KNOWN_MAX);
        self.ask_for(namespace, key, have, known, false);
        Ok(())
    }

    /// Asks for all of a key, as if nothing of it were here.
    pub(super) fn ask_for_whole(&mut self, namespace: &Namespace, key: &Key) {
        self.ask_for(namespace, key, Vec::new(), Vec::new(), true);
    }

    /// Asks, and keeps in mind that the answer is on its way.
    fn ask_for(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        have: Vec<VersionId>,
        known: Vec<VersionId>,
        whole: bool,
    ) {
        let now = self.now;
        let Some(asked) = self.questions(namespace) else { return };
        let question = asked.ask(key, whole, now);
        let (namespace, key) = (namespace.clone(), key.clone());
        self.send(Message::Want { namespace, key, have, known, question });
    }

    fn questions(&mut self, namespace: &Namespace) -> Option<&mut Questions> {
        self.shared.get_mut(namespace).map(|shared: &mut Shared| &mut shared.asked)
    }
}
