//! What a thread of its own does: looks through the namespace once, follows the feed, and deletes what
//! is due, a few objects at a time and no more than so many in a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepboth_core::name::{Key, Namespace};
use keepboth_core::plugin::{Effect, End, Host, Listed, Now, Origin, Source};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::value::Value;
use keepboth_core::write::Condition;

use crate::clock::Clock;
use crate::rules::Rules;

/// Who deletes, for hooks and the audit trail.
const ACTOR: &str = "expiry";
/// Objects or changes that are looked at with one question.
const PAGE: usize = 1_000;
/// Keys whose objects are deleted at once: they wait for the disk together, and others for no more than these.
const TOGETHER: usize = 64;
/// The shortest round: how late a delete may be when there is little to do.
const ROUND: Duration = Duration::from_millis(100);
/// The longest wait: so late a clock that was set forward is noticed.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// After so many milliseconds a delete that a hook refused is tried again; the log has no more than one
/// of them in that time, the metrics count all.
const AGAIN_MS: u64 = 60_000;

/// The work of one namespace.
pub struct Round {
    host: Arc<dyn Host>,
    namespace: Namespace,
    rules: Arc<Rules>,
    per_second: u32,
    clock: Clock,
    /// True once the whole namespace was looked through.
    known: bool,
    /// Up to where the feed was followed.
    place: u64,
    /// When the log was last told that a delete was refused.
    complained: u64,
}

impl Round {
    /// Work that has not begun.
    pub fn new(
        host: Arc<dyn Host>,
        namespace: Namespace,
        rules: Arc<Rules>,
        per_second: u32,
    ) -> Round {
        let clock = Clock::default();
        let (known, place, complained) = (false, 0, 0);
        Round { host, namespace, rules, per_second, clock, known, place, complained }
    }

    /// Goes on until the server or the plugin ends. What fails is tried again.
    pub fn run(mut self, end: &End) {
        while !end.wait(Duration::ZERO) {
            let outcome = if self.known { self.round(end) } else { self.look_through(end) };
            let Err(refusal) = outcome else {
                self.host.warn("rounds", None);
                continue;
            };
            match refusal.code {
                Code::ShuttingDown | Code::UnknownNamespace => return,
                // The feed has begun anew.
                Code::BadCursor => self.known = false,
                _ => {
                    self.host.count("failed_rounds", 1);
                    let words = format!("nothing is deleted at this moment: {refusal}");
                    self.host.fails("rounds", words);
                }
            }
            end.wait(Duration::from_secs(1));
        }
    }

    /// Looks at every object once. What changes meanwhile comes with the feed.
    fn look_through(&mut self, end: &End) -> Result<(), Refusal> {
        self.clock = Clock::default();
        self.place = self.host.feed(&self.namespace)?.last;
        let mut after: Option<Key> = None;
        loop {
            let page = self.host.list(&self.namespace, "", after.as_ref(), PAGE)?;
            for object in &page.items {
                let time = self.end_of(&object.key, &object.value, object.timestamp);
                self.remember(&object.key, time);
            }
            match page.next {
                Some(next) if !end.wait(Duration::ZERO) => after = Some(next),
                _ => {
                    self.known = true;
                    return Ok(());
                }
            }
        }
    }

    fn round(&mut self, end: &End) -> Result<(), Refusal> {
        let begun = Instant::now();
        self.follow(end)?;
        let deleted = self.delete_due(end)?;
        let now = self.host.now();
        if self.clock.is_beyond(now) {
            self.known = false;
            return Ok(());
        }
        let next = self.clock.next();
        let late = next.map_or(0, |next| now.saturating_sub(next));
        self.host.gauge("late_ms", i64::try_from(late).unwrap_or(i64::MAX));
        // So many deletes take so long; the namespace belongs to others for the rest of it.
        let share = Duration::from_secs(1) * deleted / self.per_second.max(1);
        if end.wait(share.max(ROUND).saturating_sub(begun.elapsed())) {
            return Ok(());
        }
        let until = next.map_or(WAIT_MAX, |next| {
            Duration::from_millis(next.saturating_sub(self.host.now())).min(WAIT_MAX)
        });
        self.host.wait_changed(&self.namespace, self.place, until).map(drop)
    }

    /// Takes what had changed when the round began: what is written on and on does not hold it up.
    fn follow(&mut self, end: &End) -> Result<(), Refusal> {
        let until = self.host.feed(&self.namespace)?.last;
        while self.place < until && !end.wait(Duration::ZERO) {
            let changes = self.host.changes(&self.namespace, self.place, PAGE)?;
            let stands = changes.next;
            for changed in changes.items {
                match changed.now {
                    Now::Value { timestamp, value, .. } => {
                        let time = self.end_of(&changed.key, &value, timestamp);
                        self.remember(&changed.key, time);
                    }
                    // Its sides are looked at when it is judged.
                    Now::Conflict(_) => self.remember(&changed.key, Some(0)),
                    Now::Nothing => {}
                }
            }
            if std::mem::replace(&mut self.place, stands) == stands {
                break;
            }
        }
        Ok(())
    }

    /// Judges what is due, as many keys as a round may have, some at a time. Gives how many it has looked at.
    fn delete_due(&mut self, end: &End) -> Result<u32, Refusal> {
        let most = (self.per_second / 10).max(1);
        let mut looked_at = 0;
        while looked_at < most && !end.wait(Duration::ZERO) {
            let (mut keys, mut over) = (Vec::new(), Vec::new());
            let together = TOGETHER.min((most - looked_at) as usize);
            let mut outcome = Ok(());
            while keys.len() < together && outcome.is_ok() {
                // Asked for each: a clock that was set back counts at once.
                let Some(key) = self.clock.due(self.host.now()) else { break };
                outcome = self.judge(&key, &mut over);
                keys.push(key);
            }
            if keys.is_empty() {
                break;
            }
            looked_at += u32::try_from(keys.len()).unwrap_or(u32::MAX);
            if let Err(refusal) = outcome.and_then(|()| self.delete(over)) {
                keys.iter().for_each(|key| self.clock.add(key, self.host.now()));
                return Err(refusal);
            }
        }
        Ok(looked_at)
    }

    /// Finds the objects of a key that have ended, and remembers when the next of them ends.
    fn judge(&mut self, key: &Key, over: &mut Vec<Listed>) -> Result<(), Refusal> {
        // All objects of one key stand in one page, and the key is the first that begins so.
        let page = self.host.list(&self.namespace, key.as_str(), None, 1)?;
        for object in page.items.into_iter().filter(|object| object.key == *key) {
            match self.end_of(key, &object.value, object.timestamp) {
                Some(time) if time <= self.host.now() => over.push(object),
                time => self.remember(key, time),
            }
        }
        Ok(())
    }

    /// Deletes these objects, if each is still what was judged. What a hook does not want to go is remembered
    /// for later.
    fn delete(&mut self, over: Vec<Listed>) -> Result<(), Refusal> {
        let origin = Origin::new(Source::Timer, ACTOR, self.host.now());
        let delete = |object: &Listed| {
            let (namespace, name) = (self.namespace.clone(), object.name.clone());
            (Effect { namespace, name, value: None }, Condition::Is(object.version))
        };
        let outcomes = self.host.write_each(over.iter().map(delete).collect(), &origin);
        for (object, outcome) in over.iter().zip(outcomes) {
            let Err(refusal) = outcome else {
                self.host.count("deleted", 1);
                continue;
            };
            match refusal.code {
                Code::ShuttingDown | Code::UnknownNamespace | Code::StoreFailed => {
                    return Err(refusal);
                }
                // Somebody was quicker. The feed tells what there is now.
                Code::VersionMismatch | Code::NotFound | Code::InConflict => {}
                _ => {
                    self.host.count("refused", 1);
                    let now = self.host.now();
                    self.clock.add(&object.key, now.saturating_add(AGAIN_MS));
                    if now.abs_diff(self.complained) >= AGAIN_MS {
                        self.complained = now;
                        let (namespace, object) =
                            (self.namespace.as_str(), object.name.to_string());
                        tracing::warn!(namespace, object, "expiry: not deleted: {refusal}");
                    }
                }
            }
        }
        Ok(())
    }

    fn end_of(&self, key: &Key, value: &Value, timestamp: u64) -> Option<u64> {
        let tree = if self.rules.look_into_values() { value.to_json() } else { None };
        self.rules.end(key.as_str(), tree.as_ref(), timestamp)
    }

    fn remember(&mut self, key: &Key, time: Option<u64>) {
        if let Some(time) = time {
            self.clock.add(key, time);
        }
    }
}
