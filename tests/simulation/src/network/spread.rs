//! What was made is told to sessions, in the order of the commits; conflicts are announced and given to hooks.

use keepboth_core::conflict;
use keepboth_core::ids::NodeId;
use keepboth_core::name::{Key, Name, Namespace};
use keepboth_core::session::Input;
use keepboth_core::value::Value;
use keepboth_core::version::Event;
use keepboth_core::wire::Events;
use rand::RngExt;

use super::node::Commit;
use super::show::show;
use super::{Acked, Happening, Hook, Network};
use crate::planted::Planted;
use crate::store::Wish;

impl Network {
    /// A client's write, durable at once; false if it is refused.
    pub fn write(
        &mut self,
        at: usize,
        namespace: &Namespace,
        name: &Name,
        wish: Wish,
        now: u64,
    ) -> bool {
        let raised = self.store(at, namespace).replica.raised.len();
        let own_name = self.own_name(at, namespace, name);
        let Ok(events) = self.store_mut(at, namespace).write(name, wish.clone(), now) else {
            return false;
        };
        if let Some(branch) = own_name {
            self.check_name(at, namespace, branch, &events[0]);
        }
        self.note(|| format!("{at} writes {namespace}/{name:?} {wish:?}: {}", show(&events)));
        self.wrote = self.now;
        let key = events[0].key.clone();
        let sequence = self.store(at, namespace).sequence();
        for event in &events {
            self.acked.push(Acked {
                at,
                namespace: namespace.clone(),
                key: key.clone(),
                version: event.version.id,
                parents: event.version.parents.to_vec(),
                sequence,
            });
        }
        let maker = self.nodes[at].id;
        let wait = self.draw(0..4);
        self.plan_dispatch(at, namespace, maker, events, wait);
        self.raise(at, namespace, &key, raised);
        true
    }

    /// What was committed waits for its turn to be told.
    pub(super) fn plan_dispatch(
        &mut self,
        at: usize,
        namespace: &Namespace,
        maker: NodeId,
        events: Vec<Event>,
        wait: u64,
    ) {
        let node = &mut self.nodes[at];
        let store = &node.stores.0[namespace];
        let (root, sequence) = (store.root(), store.sequence());
        let namespace = namespace.clone();
        node.commits.push_back(Commit { namespace, sequence, root, maker, events });
        let (due, life) = (node.dispatched_at.max(self.now + wait), node.life);
        node.dispatched_at = due;
        self.schedule(due, Happening::Dispatch { at, life });
    }

    pub(super) fn dispatch(&mut self, at: usize) {
        let Some(commit) = self.nodes[at].commits.pop_front() else { return };
        let own = commit.maker == self.nodes[at].id;
        let endless = self.plants(Planted::EndlessForwarding);
        let route = self.nodes[at].members.route(&commit.maker, &commit.namespace);
        for place in self.ends_of(at) {
            let extra = self.rng.random_bool(self.settings.extra);
            if !own && !endless && !extra && !route.contains(&self.nodes[place.1].id) {
                continue;
            }
            self.told += 1;
            let lags = self.rng.random_bool(self.settings.lag);
            let room = self.has_room(place) && !lags;
            let Commit { namespace, sequence, root, maker, events } = &commit;
            // A link that lags knows that it missed something, and not what.
            let told = if lags { Vec::new() } else { Events::of_messages(events.clone()) };
            let namespace = namespace.clone();
            let (sequence, root, maker) = (*sequence, *root, *maker);
            self.give(place, Input::Made { namespace, sequence, root, maker, told, room });
        }
    }

    /// Announces what was raised since, unless a peer did so first, and asks the hook.
    pub(super) fn raise(&mut self, at: usize, namespace: &Namespace, key: &Key, before: usize) {
        let raised = self.store(at, namespace).replica.raised[before..].to_vec();
        for id in &raised {
            let heard = self.nodes[at].heard.contains(id);
            self.note(|| format!("{at} raises {id:?} of {key}, heard of it: {heard}"));
            if heard {
                continue;
            }
            let note = self.store(at, namespace).note(namespace, key, *id);
            for place in self.ends_of(at) {
                self.announced += 1;
                self.give(place, Input::Conflict(note.clone()));
            }
        }
        if !raised.is_empty() {
            self.ask_hook(at, namespace, key);
        }
    }

    /// A schema does not refuse anything any more: what it hid is shown.
    pub fn lift_schema(&mut self, at: usize) {
        let namespaces: Vec<Namespace> = self.nodes[at].stores.0.keys().cloned().collect();
        for namespace in namespaces {
            for key in self.store_mut(at, &namespace).lift_schema() {
                self.note(|| format!("{at} shows what its schema hid of {key}"));
                let raised = self.store(at, &namespace).replica.raised.len();
                self.store_mut(at, &namespace).replica.look_again(&key);
                self.raise(at, &namespace, &key, raised);
            }
        }
    }

    fn ask_hook(&mut self, at: usize, namespace: &Namespace, key: &Key) {
        let entry = &self.store(at, namespace).replica.keys[key];
        if !conflict::asks_hooks(&entry.history, &entry.view) {
            return;
        }
        let sides: Vec<String> = entry.view.candidates.iter().map(|o| o.data.to_string()).collect();
        let merged = match self.nodes[at].hook {
            Hook::None => return,
            Hook::Alike => format!("{sides:?}"),
            Hook::Unlike => format!("{at} {sides:?}"),
        };
        let wish = Wish::Merge(Value::string(merged));
        let now = self.now;
        let made = self.write(at, namespace, &Name::Key(key.clone()), wish, now);
        self.merged += u64::from(made);
    }
}
