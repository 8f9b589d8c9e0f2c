//! What a store is given, and when it is durable: nobody sees or hears of it before, and a crash loses the rest.

use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::refusal::{Code, Refusal};
use keepboth_core::session::{Input, Output, Received, Ticket};
use keepboth_core::version::Event;
use keepboth_core::wire::KeyTips;
use rand::RngExt;

use super::show::show;
use super::{Happening, Network, Place};
use crate::planted::Planted;
use crate::store::Wish;

/// How often a store that answers too early makes good what it has answered.
const SYNC_EVERY: u64 = 1_000;

/// One thing that a store is to do.
pub(super) enum Task {
    Write { namespace: Namespace, name: Name, wish: Wish, now: u64 },
    Take { place: Place, ticket: Ticket, events: Vec<Event>, replaces: Vec<(Key, u64)> },
    Forget { namespace: Namespace, keys: Vec<KeyTips>, local: bool },
    Bury { namespace: Namespace, key: Key, last: u64 },
}

impl Network {
    /// A client's write, which is done when it is durable.
    pub fn ask(&mut self, at: usize, namespace: &Namespace, name: Name, wish: Wish) {
        let now = self.wall(at);
        self.plan(at, Task::Write { namespace: namespace.clone(), name, wish, now });
    }

    /// What a session wants of the stores.
    pub(super) fn work(&mut self, place: Place, output: Output) {
        let task = match output {
            Output::Apply { ticket, events, replaces } => {
                if let Some(end) = self.ends.get_mut(&place) {
                    end.applying += 1;
                }
                Task::Take { place, ticket, events, replaces }
            }
            Output::Forget { namespace, keys } => Task::Forget { namespace, keys, local: false },
            Output::Bury { namespace, key, last } => Task::Bury { namespace, key, last },
            _ => return,
        };
        self.plan(place.0, task);
    }

    fn plan(&mut self, at: usize, task: Task) {
        let own = self.nodes[at].disk.clone();
        let group = self.settings.group || own.is_some();
        let range = own.unwrap_or(self.settings.commit.clone());
        let takes = self.draw(range);
        let (node, now) = (&mut self.nodes[at], self.now);
        node.committed_at = match group {
            true => node.committed_at.max(now + takes),
            false => node.committed_at.max(now) + takes,
        };
        node.tasks.push_back(task);
        let (due, life) = (node.committed_at, node.life);
        self.schedule(due, Happening::Commit { at, life });
    }

    /// The oldest task is durable.
    pub(super) fn commit(&mut self, at: usize) {
        let Some(task) = self.nodes[at].tasks.pop_front() else { return };
        if self.plants(Planted::AnswerBeforeSync) && self.nodes[at].synced.is_none() {
            self.nodes[at].synced = Some(self.nodes[at].stores.clone());
            self.schedule(self.now + SYNC_EVERY, Happening::Sync { at });
        }
        match task {
            Task::Write { namespace, name, wish, now } => {
                self.write(at, &namespace, &name, wish, now);
            }
            Task::Take { place, ticket, events, replaces } => {
                self.take(place, ticket, &events, &replaces);
            }
            Task::Forget { namespace, keys, local } => self.forget(at, &namespace, keys, local),
            Task::Bury { namespace, key, last } => self.bury(at, &namespace, &key, last),
        }
    }

    pub(super) fn sync(&mut self, at: usize) {
        self.nodes[at].synced = None;
    }

    fn take(&mut self, place: Place, ticket: Ticket, events: &[Event], replaces: &[(Key, u64)]) {
        let (at, namespace) = (place.0, ticket.namespace.clone());
        self.come_back(place, &namespace, events);
        let before = (!replaces.is_empty()).then(|| self.store(at, &namespace).clone());
        self.drop_older(at, &namespace, replaces);
        let mut outcomes = self.take_once(at, &namespace, events);
        // All or nothing.
        if let Some(before) = before
            && let Some(refusal) = not_taken(events, &outcomes, replaces)
        {
            self.note(|| format!("{at} takes nothing of that: {refusal}"));
            *self.store_mut(at, &namespace) = before;
            outcomes = vec![Received::Refused(refusal)];
        }
        let endless = self.plants(Planted::EndlessForwarding);
        let is_new = |outcome: &Received| {
            endless || matches!(outcome, Received::New | Received::Quarantined(_))
        };
        let new = events.iter().zip(&outcomes).filter(|(_, outcome)| is_new(outcome));
        let new: Vec<Event> = new.map(|(event, _)| event.clone()).collect();
        if let Some(maker) = ticket.maker.filter(|_| !new.is_empty()) {
            self.plan_dispatch(at, &namespace, maker, new, 0);
        }
        if self.rng.random_bool(self.settings.twice) {
            let again = self.take_once(at, &namespace, events);
            assert!(!again.contains(&Received::New), "what comes twice is known");
            if self.rng.random_bool(0.5) {
                outcomes = again;
            }
        }
        let keys = events.iter().map(|event| event.key.clone()).collect();
        let input = Box::new(Input::Applied { ticket, keys, outcomes });
        // Answers come in the order of the commits.
        let due = self.nodes[at].answered_at.max(self.now + self.rng.random_range(0..2));
        self.nodes[at].answered_at = due;
        self.schedule(due, Happening::Answer { place, input });
    }

    /// What is here of these keys goes, unless it is newer.
    fn drop_older(&mut self, at: usize, namespace: &Namespace, keys: &[(Key, u64)]) {
        for (key, last) in keys {
            let store = self.store_mut(at, namespace);
            if store.last(key).is_some_and(|at| at <= *last) {
                store.drop_key(key);
                // Whoever has not what comes in its place has to be told.
                store.dropped = store.sequence() + 1;
                self.note(|| format!("{at} drops {key} for what its peer has"));
            }
        }
    }

    fn take_once(&mut self, at: usize, namespace: &Namespace, events: &[Event]) -> Vec<Received> {
        let mut outcomes = Vec::new();
        for event in events {
            let raised = self.store(at, namespace).replica.raised.len();
            let outcome = self.store_mut(at, namespace).receive(event);
            self.note(|| format!("{at} takes {}: {outcome:?}", show(std::slice::from_ref(event))));
            outcomes.push(outcome);
            self.raise(at, namespace, &event.key, raised);
        }
        outcomes
    }

    /// Forgets deletes that every other member has, and drops what everybody has forgotten.
    pub fn collect(&mut self, at: usize, namespace: &Namespace) {
        let horizon = self.horizon(at, namespace);
        if self.plants(Planted::TombstoneForgottenEarly) {
            let store = self.store_mut(at, namespace);
            for key in store.trash(u64::MAX) {
                store.drop_key(&key.key);
            }
            return;
        }
        self.store_mut(at, namespace).purge(horizon);
        let keys = self.store(at, namespace).trash(horizon);
        if !keys.is_empty() {
            self.plan(at, Task::Forget { namespace: namespace.clone(), keys, local: true });
        }
    }

    fn forget(&mut self, at: usize, namespace: &Namespace, keys: Vec<KeyTips>, local: bool) {
        let mut done = Vec::new();
        for key in keys {
            if self.store_mut(at, namespace).forget(&key) {
                let history = &self.nodes[at].stores.0[namespace].replica.keys[&key.key].history;
                let versions = history.versions().iter();
                self.gone.extend(versions.map(|v| (namespace.clone(), key.key.clone(), v.id)));
                done.push(key);
            }
        }
        self.note(|| format!("{at} forgets {done:?}, first: {local}"));
        if local && !done.is_empty() {
            for place in self.ends_of(at) {
                let (namespace, keys) = (namespace.clone(), done.clone());
                self.give(place, Input::Forgot { namespace, keys });
            }
        }
    }

    /// Deletes what was deleted elsewhere and forgotten while this node was away, or forgets it too.
    fn bury(&mut self, at: usize, namespace: &Namespace, key: &Key, last: u64) {
        let store = self.store(at, namespace);
        if store.last(key).is_some_and(|at| at <= last) && !store.forgotten.contains(key) {
            self.note(|| format!("{at} buries {key}"));
            let (now, names) = (self.wall(at), self.store(at, namespace).names(key));
            if names.is_empty() {
                let tips = self.store(at, namespace).tips(key);
                return self.forget(at, namespace, vec![KeyTips { key: key.clone(), tips }], false);
            }
            self.check_buried(at, namespace, key);
            for name in names {
                self.write(at, namespace, &name, Wish::Delete, now);
            }
        }
    }

    /// The process ends at once. What is committed stays, also what nobody was told of any more.
    pub fn crash(&mut self, at: usize) {
        self.note(|| format!("{at} crashes"));
        let answers = self.rng.random_bool(0.5);
        for (_, peer, epoch) in self.ends_of(at) {
            // A machine that runs on tells the peers; one without power does not.
            match self.settings.life {
                Some(_) if answers => self.reset(at, peer, epoch),
                Some(_) => {}
                None => self.cut(at, peer),
            }
        }
        let committed = match self.nodes[at].tasks.len() {
            0 => 0,
            count => self.rng.random_range(0..=count),
        };
        let tasks: Vec<Task> = self.nodes[at].tasks.drain(..committed).collect();
        if let Some(synced) = self.nodes[at].synced.take() {
            self.nodes[at].stores = synced;
        } else {
            for task in tasks {
                self.commit_unheard(at, task);
            }
        }
        for place in self.ends_of(at) {
            self.finish(place);
        }
        self.end_life(at);
        self.nodes[at].up = self.settings.life.is_none();
    }

    pub(super) fn end_life(&mut self, at: usize) {
        // Who is just dialling finds nobody.
        for happening in std::mem::take(&mut self.nodes[at].parked) {
            if let Happening::Connected { at, life, to } = happening {
                self.schedule(self.now, Happening::Failed { at, life, to });
            }
        }
        self.nodes[at].end_life(at);
    }

    fn commit_unheard(&mut self, at: usize, task: Task) {
        match task {
            Task::Write { namespace, name, wish, now } => {
                let _ = self.store_mut(at, &namespace).write(&name, wish, now);
            }
            Task::Take { place, ticket, events, replaces } => {
                self.come_back(place, &ticket.namespace, &events);
                self.drop_older(at, &ticket.namespace, &replaces);
                for event in &events {
                    self.store_mut(at, &ticket.namespace).receive(event);
                }
            }
            Task::Forget { .. } | Task::Bury { .. } => {}
        }
    }
}

/// Why something of the keys that are replaced is not taken.
fn not_taken(events: &[Event], outcomes: &[Received], replaces: &[(Key, u64)]) -> Option<Refusal> {
    let replaced = |key: &Key| replaces.iter().any(|(replaced, _)| replaced == key);
    let outcomes = events.iter().zip(outcomes).filter(|(event, _)| replaced(&event.key));
    outcomes.into_iter().find_map(|(_, outcome)| match outcome {
        Received::Refused(refusal) => Some(refusal.clone()),
        Received::Missing(_) => Some(Refusal::new(Code::MissingParent, "?")),
        Received::New | Received::Known | Received::Quarantined(_) => None,
    })
}
